"""Debian's nginx before gateways, with its defaults for what to try again."""

import contextlib
import os
import signal
import socket
import subprocess

from gateway import free_ports
from waiting import wait_until

CONFIGURATION = """
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
    upstream statelessd {{
        # Else a gateway that was away for a moment is left out for ten seconds, and
        # nginx has none when the other one is replaced meanwhile.
        {servers}
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://statelessd;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Real-IP $remote_addr;
        }}
    }}
}}
"""


def _takes_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def nginx(directory, *servers):
    """``servers``: ``127.0.0.1:8000`` or ``unix:/path``; its port."""
    [port] = free_ports(1)
    lines = "".join(f"server {server} max_fails=0;" for server in servers)
    config = directory / "nginx.conf"
    config.write_text(CONFIGURATION.format(directory=directory, servers=lines, port=port))
    command = ["/usr/sbin/nginx", "-c", str(config), "-e", "stderr"]
    if os.getuid() == 0:  # else its workers become somebody who may not look into ``directory``
        command += ["-g", "user root;"]
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: _takes_connections(port), what="nginx")
        yield port
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)
