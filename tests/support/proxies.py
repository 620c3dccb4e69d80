"""Debian's nginx and HAProxy before gateways, with the configurations that deploy/ has."""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

from gateway import free_port, listens
from waiting import wait_until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
AROUND = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {site}
}}
"""


def _replaced(text, pattern, lines):
    """Return the text with other lines in place of those that match."""
    found = re.findall(pattern, text, re.MULTILINE)
    assert found, pattern
    for line in found[1:]:
        text = text.replace(line + "\n", "", 1)
    return text.replace(found[0], "\n".join(lines), 1)


@contextlib.contextmanager
def nginx(directory, *servers, location="", tls=None):
    """Run nginx, and yield its port.

    ``servers``: each ``127.0.0.1:8000`` or ``unix:/path``.

    ``location``: one more, before the others.

    ``tls``: an authority whose certificate it shows; else it speaks without TLS.
    """
    port = free_port()
    site = (DEPLOY / "nginx.conf").read_text()
    lines = [f"    server {server} max_fails=0;" for server in servers]
    site = _replaced(site, r"^    server \S+ max_fails=0;$", lines)
    listen = f"    listen 127.0.0.1:{port}{' ssl' if tls else ''};"
    site = _replaced(site, r"^    listen .*$", [listen])
    if tls:
        site = site.replace("/etc/ssl/certs/gateway.pem", str(tls.certificate))
        site = site.replace("/etc/ssl/private/gateway.key", str(tls.key))
    else:
        site = re.sub(r"^    ssl_certificate.*\n", "", site, flags=re.MULTILINE)
    site = _replaced(site, r"^    location / \{$", [location, "    location / {"])
    config = directory / "nginx.conf"
    config.write_text(AROUND.format(directory=directory, site=site))
    command = ["/usr/sbin/nginx", "-c", str(config), "-e", "stderr"]
    if os.getuid() == 0:  # else its workers become somebody who may not look into ``directory``
        command += ["-g", "user root;"]
    try:
        with _running(command, port, signal.SIGQUIT):
            yield port
    finally:
        print((directory / "error.log").read_text())  # noqa: T201 - shown when the test fails


@contextlib.contextmanager
def haproxy(directory, *servers):
    """Run HAProxy likewise."""
    port = free_port()
    text = (DEPLOY / "haproxy.cfg").read_text()
    lines = [
        f"    server s{n} {server.replace('unix:', 'unix@')}" for n, server in enumerate(servers)
    ]
    text = _replaced(text, r"^    server .*$", lines)
    text = _replaced(text, r"^    bind :80$", [f"    bind 127.0.0.1:{port}"])
    config = directory / "haproxy.cfg"
    config.write_text(text)
    with _running(["/usr/sbin/haproxy", "-db", "-f", str(config)], port, signal.SIGTERM):
        yield port


@contextlib.contextmanager
def _running(command, port, end):
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: listens(port), what=f"{command[0]} to listen")
        yield
    finally:
        process.send_signal(end)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
