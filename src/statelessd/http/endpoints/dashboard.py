"""``GET /``: the figures of ``/stats`` as a page."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ... import __version__
from .page import Page, gateway_of
from .stats import document


class Dashboard(Page):
    """Renders ``dashboard.html``, the packaged one or that of ``Application.paths.templates``."""

    async def get(self, request: Request) -> Response:
        template = request.state.templates.get_template("dashboard.html")
        page = template.render(stats=document(gateway_of(request)), version=__version__)
        return HTMLResponse(page, headers={"cache-control": "no-cache"})
