"""``make run``: the development broker and the gateway, in the foreground; Ctrl-C ends both."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import broker as broker_script
import debian
from process import STOP_SIGNALS, interrupt_on_signals, uninterrupted
from progress import Step

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
ANSWER_SECONDS = 60.0  # on a machine that is busy with other work

HINT = """\

  statelessd is ready. Publish a message, in another terminal:

    curl -i -d body=hi -d content-type=text/plain http://guest:guest@localhost:{port}/test/test/foo

  RabbitMQ puts it into the queue "test". Read it back:

    make read QUEUE=test

  Dashboard:  http://localhost:{port}/      Statistics: http://localhost:{port}/stats
  RabbitMQ:   {where}
  Ctrl-C ends {what}.
"""
NO_CURL = "\n  The program curl is missing: apt-get install curl\n"


class RunError(Exception):
    """The gateway cannot be started; the text says what to do."""


def main() -> int:
    """Run both. Return the gateway's exit status, or 1 if it could not be started."""
    # Until the gateway runs, an interruption has to stop the broker all the same.
    interrupt_on_signals()
    broker = None
    ours = False
    try:
        port = _port()
        if not os.environ.get("AMQP_URL") and debian.missing(["rabbitmq-server"]):
            debian.ensure(["rabbitmq-server", "curl"])  # the first message is curl's
        broker = broker_script.development_broker()
        ours = not broker.running
        if ours:
            with Step("Starting RabbitMQ"):
                broker.start()
        return _serve(port, broker, ours=ours)
    except (RunError, broker_script.BrokerError, debian.MissingPackagesError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        for number in STOP_SIGNALS:  # the rest takes a second or two, and leaves nothing behind
            signal.signal(number, signal.SIG_IGN)
        if broker and ours:
            broker.stop()


def _port() -> int:
    """Return the port to serve on. Raise RunError if it cannot be that."""
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise RunError(f"PORT is {text!r}; it has to be a number from 1 to 65535")
    port = int(text)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise RunError(f"only root may use port {port}; try: make run PORT=8001") from error
        except OSError as error:
            other = 8001 if port != 8001 else 8002
            raise RunError(
                f"another program uses port {port}, perhaps another make run; "
                f"try: make run PORT={other}"
            ) from error
    return port


def _serve(
    port: int, broker: broker_script.Broker | broker_script.GivenBroker, *, ours: bool
) -> int:
    settings = {
        "STATELESSD_HTTPSERVER_PORTS": str(port),
        "STATELESSD_APPLICATION_RABBITMQ_HOST": broker.host,
        "STATELESSD_APPLICATION_RABBITMQ_PORT": str(broker.amqp_port),
        "PYTHONPATH": str(ROOT / "src"),  # the environment has what the package needs, but not it
    }
    gateway: subprocess.Popen[bytes] | None = None
    try:
        with uninterrupted():
            gateway = subprocess.Popen(
                [sys.executable, "-m", "statelessd"],
                env=os.environ | settings,
                start_new_session=True,  # Ctrl-C comes through us, once
            )
        deadline = time.monotonic() + ANSWER_SECONDS
        while gateway.poll() is None and not _answers(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        if gateway.poll() is None:
            _say_what_to_do(port, broker, ours=ours)
        return gateway.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        while gateway and gateway.poll() is None:
            try:
                gateway.terminate()  # in order; once more when it has to hurry
                gateway.wait()
            except KeyboardInterrupt:
                continue


def _say_what_to_do(
    port: int, broker: broker_script.Broker | broker_script.GivenBroker, *, ours: bool
) -> None:
    given = isinstance(broker, broker_script.GivenBroker)  # whose URL has a password
    where = f"{broker.host}:{broker.amqp_port}" if given else broker.url
    what = "both" if ours else "the gateway (the broker was there before)"
    curl = NO_CURL if debian.missing(["curl"]) else ""
    print(HINT.format(port=port, where=where, what=what) + curl, flush=True)


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
