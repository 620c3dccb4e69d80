"""``GET /``: the dashboard; ``/dashboard.json`` and ``/details.json``: what it shows."""

import re
import time
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..gateway.items import JSON
from ..message import TABLE, Outcome, Public, problem
from ..version import __version__
from .details import details
from .monitoring import Monitoring
from .overview import Document, later, listeners, overview, recent_overview
from .page import Page, monitoring_of, problem_response, root_of
from .single_flight import SingleFlight
from .stats import document

PACKAGED = Path(__file__).parent / "templates"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
OVERVIEWS = 1  # seconds for which a document is kept
DETAILS = 2  # likewise
NEAR = 30  # seconds; history before is read once for all who ask
FRESH = {"cache-control": "no-cache"}

encode = msgspec.json.encode
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


class Documents:
    """The rendered documents of one backend: fifty open pages cost no more than one."""

    def __init__(self, monitoring: Monitoring) -> None:
        self._monitoring = monitoring
        self._overviews = SingleFlight[bytes](OVERVIEWS)
        self._whole = SingleFlight[Document](OVERVIEWS)
        self._details = SingleFlight[bytes](DETAILS)

    async def overview(self, backend: str | None, since: int | None) -> bytes:
        """Return ``/dashboard.json``."""

        async def make() -> bytes:
            if since is not None and since >= time.time() - NEAR:
                return encode(await overview(self._monitoring, backend, since))
            whole = await self._whole.get(backend, lambda: overview(self._monitoring, backend))
            series = whole["series"]
            return encode(whole | {"series": series if since is None else later(series, since)})

        return await self._overviews.get((backend, since), make)

    async def details(self) -> bytes:
        """Return ``/details.json``."""

        async def make() -> bytes:
            return encode(await details(self._monitoring))

        return await self._details.get(None, make)


class Dashboard(Page):
    """The page: ``dashboard.html``, the packaged one or that of ``Application.paths.templates``."""

    async def get(self, request: Request) -> Response:
        monitoring = monitoring_of(request)
        monitoring.watch()
        await monitoring.gateway.publisher.ask_broker()
        template = request.state.templates.get_template("dashboard.html")
        page = template.render(
            root=root_of(request),
            stats=document(monitoring.gateway),
            version=__version__,
            now=msgspec.to_builtins(await recent_overview(monitoring)),
            details=msgspec.to_builtins(await details(monitoring)),
            problems=PROBLEMS,
        )
        headers = {**FRESH, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
        # A user's own page may need another policy, and can name it itself.
        if template.filename is not None and PACKAGED in Path(template.filename).parents:
            headers["content-security-policy"] = POLICY
        return HTMLResponse(page, headers=headers)


class DashboardData(Page):
    """The figures of now, and those of the last ten minutes, as JSON."""

    async def get(self, request: Request) -> Response:
        monitoring = monitoring_of(request)
        backend = request.query_params.get("backend") or None
        since = request.query_params.get("since")
        wrong = ""
        if backend is not None and backend not in listeners(monitoring.gateway):
            wrong = "There is no backend of that name."
        elif since is not None and not _SECOND.fullmatch(since):
            wrong = "since must be an integer: seconds of Unix time."
        if wrong:
            return problem_response(request.scope, Outcome.BAD_REQUEST, Public(wrong))
        monitoring.watch()
        documents: Documents = request.state.documents
        found = await documents.overview(backend, None if since is None else int(since))
        return Response(found, media_type=JSON, headers=FRESH)


class DetailsData(Page):
    """The connections and the last errors, as JSON."""

    async def get(self, request: Request) -> Response:
        monitoring_of(request).watch()
        documents: Documents = request.state.documents
        return Response(await documents.details(), media_type=JSON, headers=FRESH)
