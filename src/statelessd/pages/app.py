"""The router for all paths, and the ASGI application for whatever is not a publish."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter_ns

import jinja2
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from ..config.loader import load_class
from ..config.settings import Config, Paths, Route
from ..config.webhook_files import path_of
from ..config.wording import Wrong
from ..failures import Failures, is_shortage
from ..gateway.router import BATCH, BUILT_IN_PUBLISH, NO_WEBHOOKS, ASGIApp, Router
from ..gateway.webhook import WebhookEndpoints
from ..message import FAULT, Outcome, Public
from . import Dashboard, Publisher, Stats
from .batch_page import BatchPage
from .dashboard import DashboardData, DetailsData, Documents
from .health import Health, Readiness
from .metrics import Metrics
from .monitoring import Monitoring
from .openapi import Docs, OpenAPI
from .page import READING, Page, not_found, problem_response
from .restricted import Restricted

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parent
SHORTAGE = Public("The gateway is out of file descriptors or memory.")
BUILT_IN_ROUTES: tuple[tuple[str, type], ...] = (
    (BUILT_IN_PUBLISH, Publisher),
    ("/stats", Stats),
    ("/", Dashboard),
)
PAGES: tuple[tuple[str, type], ...] = (
    ("/healthz", Health),
    ("/readyz", Readiness),
    ("/metrics", Metrics),
    (r"/openapi\.json", OpenAPI),
    ("/docs", Docs),
    (r"/dashboard\.json", DashboardData),
    (r"/details\.json", DetailsData),
)
MOST_OF_A_PATH = 255  # bytes below /static/, because looking up each directory takes its time
EVERYWHERE = (Health, Readiness, BatchPage)
"""The pages that HTTPServer.pages does not restrict."""


def build_router(
    routes: Sequence[Route], paths: Paths, webhooks: WebhookEndpoints = NO_WEBHOOKS
) -> Router:
    """Return a router for the configured routes, or the built-in ones, and the other pages.

    ``webhooks`` come before all of them.
    """
    if routes:
        classes = [(route.pattern, load_class(route.endpoint)) for route in routes]
    else:
        classes = list(BUILT_IN_ROUTES)
    rules: list[tuple[str, ASGIApp | None]] = [
        (pattern, None if cls is Publisher else _placed(cls)) for pattern, cls in (*classes, *PAGES)
    ]
    rules += [("/static/.+", _static_files(paths)), (BATCH, BatchPage)]
    return Router(rules, webhooks)


def _placed(cls: type) -> ASGIApp:
    """Return the page, restricted as the settings say if it is one of ours."""
    ours = issubclass(cls, Page) and not issubclass(cls, EVERYWHERE)
    return Restricted(cls) if ours else cls


def hidden_by_webhooks(config: Config) -> Iterator[Wrong]:
    """Yield the endpoints whose paths hide a page, or a place to publish at that seems wanted.

    That is one whose virtual host the settings name. Most paths of two or three parts could be
    the place of some virtual host.
    """
    router = build_router(config.routes, config.application.paths)
    hosts = {"/", config.application.rabbitmq.probe.virtual_host}
    hosts |= {each.virtual_host for each in config.webhooks}
    for i, webhook in enumerate(config.webhooks):
        match = router.match(webhook.path.encode())
        target = match.target
        what = ""
        if target is not None and target.virtual_host in hosts:
            kind = "batches" if match.is_batch else "messages"
            what = f"hides the path at which {kind} go to the virtual host {target.virtual_host}"
        elif match.page is not None and not match.is_batch:
            what = "hides a page of the gateway"
        if what:
            yield f"{path_of(i)}.path", "", what


class Application:
    """The ASGI application of all pages. They find the gateway in the request's state."""

    def __init__(self, monitoring: Monitoring, paths: Paths) -> None:
        self._gateway = monitoring.gateway
        self._failures = Failures(logger)
        self._state = {
            "gateway": monitoring.gateway,
            "monitoring": monitoring,
            "templates": _templates(paths),
            "documents": Documents(monitoring),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gateway.statistics.began(scope["method"])
        started_at = perf_counter_ns()
        status = size = 0
        headers = dict(scope["headers"])
        request_id = self._gateway.request_id(headers)
        page = scope["state"]["match"].page or not_found
        if self._gateway.cors.is_preflight(scope["method"].encode(), headers):
            page = Response(status_code=204)
            added = self._gateway.cors.preflight_headers(headers)
        else:
            # Otherwise a page of any site could read it through the browser of a permitted user.
            rules = self._gateway.http_server.pages
            kept = isinstance(page, Restricted) and (rules.networks or rules.listener)
            added = self._gateway.cors.answer_headers(headers, to_any=not kept)

        async def completing_send(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                ours = ((b"server", b"statelessd"), (b"x-request-id", request_id))
                message["headers"] = [*message["headers"], *ours, *added]
            else:
                size += len(message.get("body", b""))
            await send(message)

        scope["state"].update(self._state, request_id=request_id)
        try:
            await page(scope, receive, completing_send)
        except HTTPException as error:  # raised by StaticFiles
            outcome = Outcome.METHOD_NOT_ALLOWED if error.status_code == 405 else Outcome.NOT_FOUND
            answer = problem_response(scope, outcome, f"{error.detail}.", allow=READING)
            await answer(scope, receive, completing_send)
        except Exception as error:
            if is_shortage(error):
                outcome, detail = Outcome.OVERLOADED, SHORTAGE
                self._failures.log("a page", error)
            else:
                outcome, detail = Outcome.INTERNAL_ERROR, FAULT
                logger.exception("the page %s failed (%s)", scope["path"], request_id.decode())
            if not status:
                answer = problem_response(scope, outcome, detail)
                await answer(scope, receive, completing_send)
        if status:
            self._count(scope, status, size, perf_counter_ns() - started_at)

    def _count(self, scope: Scope, status: int, size: int, elapsed: int) -> None:
        """Count an answer of ``size`` bytes, which took ``elapsed`` nanoseconds, and log it."""
        method, state, access = scope["method"], scope["state"], self._gateway.access
        problem = state.get("problem", "")
        self._gateway.statistics.answered(method, status, problem, elapsed, size)
        if access is not None and access.due():
            logged = state.get("logged", {})
            outcome = problem or logged.pop("outcome", "")
            request_id, path = state["request_id"], scope["path"]
            access.log(request_id, method, path, status, outcome, elapsed / 1e9, **logged)


def _directories(configured: str | None, packaged: str) -> list[Path]:
    """Return the configured directory, if there is one, before the packaged one."""
    own = PACKAGE / packaged
    if configured is None:
        return [own]
    directory = Path(configured)
    if not directory.is_dir():
        logger.warning("%s is not a directory; using the packaged %s", directory, packaged)
        return [own]
    return [directory, own]


def _templates(paths: Paths) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(_directories(paths.templates, "templates"))
    return jinja2.Environment(loader=loader, autoescape=True, auto_reload=False)


def _static_files(paths: Paths) -> ASGIApp:
    files = StaticFiles(directory=PACKAGE / "static")
    files.all_directories = list(_directories(paths.static, "static"))

    async def static(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            answer = Response(status_code=204, headers={"allow": READING})
            await answer(scope, receive, send)
            return
        if len(scope["raw_path"]) > len("/static/") + MOST_OF_A_PATH:
            raise HTTPException(404)
        root = scope.get("root_path", "")
        # The files are small: no parts of them, and none of the answers that go with parts.
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        start: list[Message] = []

        async def send_whole(message: Message) -> None:
            # The head waits for the body, because the file may turn out to be unreadable.
            if message["type"] == "http.response.start":
                start.append(message)
                return
            while start:
                await send(start.pop())
            await send(message)

        asked = {**scope, "headers": headers, "root_path": f"{root}/static"}
        await files(asked, receive, send_whole)

    return static
