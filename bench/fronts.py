"""What the way to the gateway costs: new connections, backends, TLS, nginx, Unix sockets."""

import contextlib
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import trustme

import load
import processes
from gateways import free_port
from results import Run
from stage import DIRECTORY, Stage, publishing

CONNECTIONS = 32
BACKENDS = (1, 2, 4)
NGINX_POINTS = (
    ("kept", True, False),
    ("new", False, False),
    ("kept, Unix socket", True, True),
    ("new, Unix socket", False, True),
)
NGINX = "/usr/sbin/nginx"
CONFIGURATION = Path(__file__).resolve().parent.parent / "deploy" / "nginx.conf"


def no_keep_alive(stage: Stage) -> Iterator[Run]:
    """A new TCP connection for each request, with 1, 2 and 4 backends."""
    yield from _spread(stage, "no-keep-alive", close=True)


def backends(stage: Stage) -> Iterator[Run]:
    """1, 2 and 4 backends; the clients are shared out among their ports."""
    yield from _spread(stage, "backends", close=False)


def _spread(stage: Stage, scenario: str, *, close: bool) -> Iterator[Run]:
    for count in BACKENDS:
        ports = [free_port() for _ in range(count)]
        cores, http = stage.of_backends(count), {"ports": ports}
        with stage.statelessd(port=ports[0], cores=cores, http=http) as gateway:
            publish = publishing(gateway, CONNECTIONS, load.Shape(ports=ports, close=close))
            for _ in stage.rounds:
                yield stage.measure(scenario, f"{count}", CONNECTIONS, publish, gateway)


def tls(stage: Stage) -> Iterator[Run]:
    """TLS on the client's side beside none: kept, and with a handshake for each request."""
    authority = trustme.CA()
    file = DIRECTORY / "certificate.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(file))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    encrypt = stage.statelessd(tls=context, http={"tls": {"certificate": str(file)}})
    with stage.statelessd() as plain, encrypt as encrypted:
        for _ in stage.rounds:
            for kind, close in (("kept", False), ("new", True)):
                for name, gateway in (("plain", plain), ("TLS", encrypted)):
                    publish = publishing(gateway, CONNECTIONS, load.Shape(close=close))
                    yield stage.measure("tls", f"{name}, {kind}", CONNECTIONS, publish, gateway)


def nginx(stage: Stage) -> Iterator[Run]:
    """``deploy/nginx.conf``, and the same without kept connections to the gateway."""
    for point, keep, unix in NGINX_POINTS:
        port = free_port()
        where: str | int = f"unix:{DIRECTORY / 'statelessd.sock'}" if unix else port
        upstream = f"{where}" if unix else f"127.0.0.1:{port}"
        with contextlib.ExitStack() as stack:
            front, pid = stack.enter_context(_nginx(upstream, keep=keep))
            gateway = stack.enter_context(stage.statelessd(port=front, http={"ports": [where]}))
            publish = publishing(gateway, CONNECTIONS)
            for _ in stage.rounds:
                also = {"nginx_us": processes.tree_of(pid)}
                yield stage.measure("nginx", point, CONNECTIONS, publish, gateway, also=also)


@contextlib.contextmanager
def _nginx(upstream: str, *, keep: bool) -> Iterator[tuple[int, int]]:
    """Start nginx with one worker, beside the load; give its port and its master's process id."""
    front = free_port()
    directory = DIRECTORY / "nginx"
    directory.mkdir(exist_ok=True)
    file = directory / "nginx.conf"
    file.write_text(_configuration(directory, front, upstream, keep=keep))
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [NGINX, "-c", file, "-e", "stderr"], stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield front, server.pid
    finally:
        processes.end(server)


def _configuration(directory: Path, front: int, upstream: str, *, keep: bool) -> str:
    """Return the project's file with these addresses; or as nginx is without its kept ones."""
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
