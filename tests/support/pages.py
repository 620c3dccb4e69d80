"""A web server of somebody else's: one page, under any name that leads to this machine."""

import html

from webserver import Server


class Pages(Server):
    """Serves ``page`` at every path."""

    def __init__(self):
        super().__init__()
        self.clear()

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

    def respond(self, request):
        page = f"<!doctype html><title>A page</title>{self.page}".encode()
        request.answer(200, page, **{"Content-Type": "text/html; charset=utf-8", **self.headers})
