"""A web server of somebody else's: one page, under any name that leads to this machine."""

import html
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pages(ThreadingHTTPServer):
    """Serves ``page`` at every path."""

    daemon_threads = False  # so that leaving waits for them

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.clear()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self._thread.join()
        self.server_close()

    def clear(self):
        self.page = ""
        self.headers = {}

    def origin(self, host):
        return f"http://{host}:{self.server_port}"

    def submit_at_once(self, action, *, enctype="application/x-www-form-urlencoded", **fields):
        """Let the page be a form that submits itself."""
        inputs = "".join(
            f'<input name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in fields.items()
        )
        self.page = (
            f'<form method="post" action="{html.escape(action)}" enctype="{enctype}">{inputs}'
            "</form><script>document.forms[0].submit()</script>"
        )


class _Handler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self):
        page = f"<!doctype html><title>A page</title>{self.server.page}".encode()
        self.send_response(200)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_):
        """Log nothing: standard error belongs to pytest."""
