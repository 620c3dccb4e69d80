"""What the way to the gateway costs: new connections, backends, TLS, nginx, Unix sockets.

``bench/README.md``, "The whole range", says what the points are.
"""

import argparse
import contextlib
import http.client
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import trustme

import gateways
import load
import processes
from stage import DIRECTORY, Run, Scenarios, Stage, Usage, command, debian, play

CONNECTIONS = 32
BACKENDS = (1, 2, 4)
NGINX = "/usr/sbin/nginx"
CONFIGURATION = Path(__file__).resolve().parent.parent / "deploy" / "nginx.conf"


def no_keep_alive(stage: Stage) -> Iterator[Run]:
    yield from _spread(stage, "no-keep-alive", close=True)


def backends(stage: Stage) -> Iterator[Run]:
    yield from _spread(stage, "backends", close=False)


def _spread(stage: Stage, scenario: str, *, close: bool) -> Iterator[Run]:
    """As many backends as each point has, the clients shared out among their ports."""
    for count in BACKENDS:
        ports = [gateways.free_port() for _ in range(count)]
        # A core for each backend, where half of the cores are enough for that.
        cores = stage.available[: max(1, min(count, len(stage.available) // 2))]
        settings = {"ports": ports}
        with stage.statelessd(cores=cores, front=ports[0], http=settings) as gateway:
            for port in ports:
                _wait_for(port)
            shape = load.Shape(ports=ports, close=close)
            for _ in range(stage.rounds):
                publish = stage.wrk(gateway, CONNECTIONS, shape)
                run = stage.measure(scenario, f"{count}", gateway, CONNECTIONS, publish)
                yield run | _connections(run) if close else run


def _connections(run: Run) -> Run:
    """Of clients, one for each request."""
    return {"connections_per_second": run["requests_per_second"]}


def _wait_for(port: int, patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while True:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            client.request("GET", "/healthz")
            client.getresponse().read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
        finally:
            client.close()


def tls(stage: Stage) -> Iterator[Run]:
    """The client's side; on kept connections, and with a handshake for each request."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    file = DIRECTORY / "certificate.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(file))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    settings = {"tls": {"certificate": str(file)}}
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(stage.statelessd())
        gateway = stack.enter_context(stage.statelessd(tls=context, http=settings))
        for _ in range(stage.rounds):
            for point, to, close in (
                ("plain, kept", plain, False),
                ("TLS, kept", gateway, False),
                ("plain, new", plain, True),
                ("TLS, new", gateway, True),
            ):
                publish = stage.wrk(to, CONNECTIONS, load.Shape(close=close))
                run = stage.measure("tls", point, to, CONNECTIONS, publish)
                yield run | _connections(run) if close else run


def nginx(stage: Stage) -> Iterator[Run]:
    """``deploy/nginx.conf``, with and without its kept connections to the gateway."""
    yield from _behind(stage, "nginx", unix=False)


def unix(stage: Stage) -> Iterator[Run]:
    """The same, with a Unix socket between nginx and the gateway."""
    yield from _behind(stage, "unix", unix=True)


def _behind(stage: Stage, scenario: str, *, unix: bool) -> Iterator[Run]:
    debian.ensure(["nginx"])
    for point, keep in (("kept", True), ("new", False)):
        where = f"unix:{DIRECTORY / 'statelessd.sock'}" if unix else gateways.free_port()
        upstream = where if unix else f"127.0.0.1:{where}"
        with contextlib.ExitStack() as stack:
            front, server = stack.enter_context(_nginx(upstream, keep=keep))
            gateway = stack.enter_context(stage.statelessd(front=front, http={"ports": [where]}))
            pids = processes.tree_of(server.pid)
            publish = stage.wrk(gateway, CONNECTIONS)
            for _ in range(stage.rounds):
                publish(1)
                usage = Usage(pids, [])
                run = stage.measure(scenario, point, gateway, CONNECTIONS, publish, warm_up=0)
                spent = usage.since()[0] / max(run["confirmed"], 1) * 1e6
                print(f"  nginx {spent:.1f} us", flush=True)
                yield run | {"nginx_us": spent}


@contextlib.contextmanager
def _nginx(upstream: str, *, keep: bool) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """One worker, beside the load; its port and its master process."""
    front = gateways.free_port()
    directory = DIRECTORY / "nginx"
    directory.mkdir(exist_ok=True)
    file = directory / "nginx.conf"
    file.write_text(_configuration(directory, front, upstream, keep=keep))
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen([NGINX, "-c", file, "-e", "stderr"], stdout=log, stderr=log,
                                  start_new_session=True)  # fmt: skip
    try:
        yield front, server
    finally:
        processes.end(server)


def _configuration(directory: Path, front: int, upstream: str, *, keep: bool) -> str:
    """The project's file with these addresses; or as nginx is without its lines on keeping."""
    text = CONFIGURATION.read_text()
    text = re.sub(r"server 127\.0\.0\.1:8000", f"server {upstream}", text)
    text = re.sub(r".*server unix:/run/.*\n", "", text)
    text = text.replace("listen 80;", f"listen 127.0.0.1:{front};")
    if not keep:
        text = re.sub(r".*(keepalive 32|proxy_http_version|Connection \"\").*\n", "", text)
    user = "user root;" if os.getuid() == 0 else ""
    paths = "\n".join(
        f"{kind}_temp_path {directory / kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off;\npid {directory / 'pid'};\nworker_processes 1;\n{user}\n"
        f"events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\n{paths}\n{text}}}\n"
    )


SCENARIOS: Scenarios = {
    "no-keep-alive": no_keep_alive,
    "backends": backends,
    "tls": tls,
    "nginx": nginx,
    "unix": unix,
}


def measure(options: argparse.Namespace) -> list[Run]:
    """As ``stage.play``."""
    return play(SCENARIOS, options)


if __name__ == "__main__":
    sys.exit(command("bench/fronts.py", __doc__ or "", measure, list(SCENARIOS)))
