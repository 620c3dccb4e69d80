"""A server that keeps its connections, and ends one of them without an answer."""

from webserver import Server


class ForgetfulServer(Server):
    """Answers the first request with 204, the second not at all, and ``last`` from then on."""

    def __init__(self, last):
        super().__init__()
        self.last = last
        self.bodies = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def respond(self, request):
        self.bodies.append(request.body())
        if len(self.bodies) == 1:
            request.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif len(self.bodies) == 2:
            request.close_connection = True
        else:
            request.answer(
                self.last.status, self.last.body, **{"Content-Type": self.last.content_type}
            )
