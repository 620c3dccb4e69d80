"""``make run``: the development broker and the gateway, in the foreground; Ctrl-C ends both."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import broker as broker_script

HOST = "127.0.0.1"
ANSWER_SECONDS = 10.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

HINT = """\

  statelessd is ready. Publish a message:

    curl -i -d body=hi -d content-type=text/plain http://guest:guest@localhost:{port}/test/test/foo

  Statistics: http://localhost:{port}/stats      Dashboard: http://localhost:{port}/
  RabbitMQ:   {url}
  Ctrl-C ends {what}.
"""


def main() -> int:
    """Run both. Return the gateway's exit status, or 1 if it could not be started."""
    port = int(os.environ.get("PORT", "8000"))
    if _answers(port):
        print(f"run.py: port {port} is in use already; try: make run PORT=8001", file=sys.stderr)
        return 1
    # Until the gateway runs, an interruption has to stop the broker all the same.
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    broker = broker_script.development_broker()
    ours = not broker.running
    try:
        if ours:
            print("Starting RabbitMQ …", flush=True)
            broker.start()
        what = "both" if ours else "the gateway (the broker was there before)"
        hint = HINT.format(port=port, url=broker.url, what=what)
        return _serve(port, broker.host, broker.amqp_port, hint)
    except broker_script.BrokerError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        for number in STOP_SIGNALS:  # the rest takes a second or two, and leaves nothing behind
            signal.signal(number, signal.SIG_IGN)
        if ours:
            broker.stop()


def _serve(port: int, amqp_host: str, amqp_port: int, hint: str) -> int:
    settings = {
        "STATELESSD_HTTPSERVER_PORTS": str(port),
        "STATELESSD_APPLICATION_RABBITMQ_HOST": amqp_host,
        "STATELESSD_APPLICATION_RABBITMQ_PORT": str(amqp_port),
    }
    gateway = subprocess.Popen(
        [Path(sys.executable).parent / "statelessd"],
        env=os.environ | settings,
        start_new_session=True,  # Ctrl-C comes through us, once
    )
    try:
        deadline = time.monotonic() + ANSWER_SECONDS
        while gateway.poll() is None and not _answers(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        if gateway.poll() is None:
            print(hint, flush=True)
        return gateway.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        while gateway.poll() is None:
            try:
                gateway.terminate()  # in order; once more when it has to hurry
                gateway.wait()
            except KeyboardInterrupt:
                continue


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
