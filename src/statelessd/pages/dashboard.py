"""``GET /``: the dashboard; ``/dashboard.json`` and ``/details.json``: what it shows."""

import re
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..gateway.items import JSON
from ..message import TABLE, Outcome, problem
from ..version import __version__
from .details import details
from .overview import listeners, recent_overview
from .page import Page, gateway_of, problem_response, root_of
from .stats import document
from .views import Views

PACKAGED = Path(__file__).parent / "templates"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FRESH = {"cache-control": "no-cache"}

_SECOND = re.compile(r"[0-9]{1,12}")

PROBLEMS = [
    {
        "type": outcome.value,
        **{name: getattr(row, name) for name in (
            "status", "title", "meaning", "remedy", "retryable",
        )},
        "outcome": problem(outcome, "").outcome,
    }
    for outcome, row in TABLE.items()
    if outcome is not Outcome.CONFIRMED
]  # fmt: skip


class Dashboard(Page):
    """Renders ``dashboard.html``, the packaged one or that of ``Application.paths.templates``."""

    async def get(self, request: Request) -> Response:
        gateway = gateway_of(request)
        gateway.watch()
        await gateway.publisher.ask_broker()
        template = request.state.templates.get_template("dashboard.html")
        page = template.render(
            root=root_of(request),
            stats=document(gateway),
            version=__version__,
            now=msgspec.to_builtins(await recent_overview(gateway)),
            details=msgspec.to_builtins(await details(gateway)),
            problems=PROBLEMS,
        )
        headers = {
            **FRESH,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }
        # A user's own page may be made in another way, and can say itself how.
        if template.filename is not None and PACKAGED in Path(template.filename).parents:
            headers["content-security-policy"] = POLICY
        return HTMLResponse(page, headers=headers)


class DashboardData(Page):
    """The figures of now, and those of the last ten minutes."""

    async def get(self, request: Request) -> Response:
        gateway = gateway_of(request)
        backend = request.query_params.get("backend") or None
        since = request.query_params.get("since")
        if backend is not None and backend not in listeners(gateway):
            return problem_response(
                request.scope, Outcome.BAD_REQUEST, "There is no backend of that name."
            )
        if since is not None and not _SECOND.fullmatch(since):
            return problem_response(
                request.scope, Outcome.BAD_REQUEST, "since is a second of Unix time, an integer."
            )
        gateway.watch()
        views: Views = request.state.views
        found = await views.overview(backend, None if since is None else int(since))
        return Response(found, media_type=JSON, headers=FRESH)


class DetailsData(Page):
    """Connections, and the last errors."""

    async def get(self, request: Request) -> Response:
        gateway_of(request).watch()
        views: Views = request.state.views
        return Response(await views.details(), media_type=JSON, headers=FRESH)
