"""Routes -> the router and the ASGI application for whatever is not a publish."""

import logging
from collections.abc import Sequence
from pathlib import Path

import jinja2
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from ..config import Paths, Route
from ..config_loader import load_class
from ..message import Outcome
from .endpoints import Dashboard, Publisher, Stats
from .endpoints.health import Health, Readiness
from .endpoints.page import problem_response
from .gateway import Gateway
from .router import BUILT_IN_PUBLISH, ASGIApp, Router

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parent.parent
BUILT_IN_ROUTES: tuple[tuple[str, type], ...] = (
    (BUILT_IN_PUBLISH, Publisher),
    ("/stats", Stats),
    ("/", Dashboard),
)


def build_router(routes: Sequence[Route], paths: Paths) -> Router:
    """The configured routes, or the built-in ones; then the pages that every config gets."""
    if routes:
        classes = [(route.pattern, load_class(route.endpoint)) for route in routes]
    else:
        classes = list(BUILT_IN_ROUTES)
    rules: list[tuple[str, ASGIApp | None]] = [
        (pattern, None if cls is Publisher else cls) for pattern, cls in classes
    ]
    rules += [
        ("/healthz", Health),
        ("/readyz", Readiness),
        ("/static/.+", _static_files(paths)),
    ]
    return Router(rules)


def build_app(gateway: Gateway, paths: Paths) -> ASGIApp:
    """The application that uvicorn calls; its pages find the gateway in the request's state."""
    state = {"gateway": gateway, "templates": _templates(paths)}
    statistics = gateway.statistics

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        statistics.began(scope["method"])
        started_at = gateway.loop.time()
        status = 0

        async def counting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"server", b"statelessd")]
            await send(message)

        scope["state"].update(state)
        page = gateway.router.match(scope["raw_path"]).page or _not_found
        try:
            await page(scope, receive, counting_send)
        except HTTPException as error:  # StaticFiles says it so
            outcome = Outcome.METHOD_NOT_ALLOWED if error.status_code == 405 else Outcome.NOT_FOUND
            answer = problem_response(outcome, f"{error.detail}.", allow="GET, HEAD")
            await answer(scope, receive, counting_send)
        except Exception:
            logger.exception("the page %s failed", scope["path"])
            if not status:
                answer = problem_response(
                    Outcome.INTERNAL_ERROR, "A fault of this program; see its log."
                )
                await answer(scope, receive, counting_send)
        if status:
            statistics.answered(status, gateway.loop.time() - started_at)

    return app


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem_response(Outcome.NOT_FOUND, "There is nothing at this path.")
    await answer(scope, receive, send)


def _directories(configured: str | None, packaged: str) -> list[Path]:
    """The configured directory, where there is one, before the packaged one."""
    own = PACKAGE / packaged
    if configured is None:
        return [own]
    directory = Path(configured)
    if not directory.is_dir():
        logger.warning("%s is no directory; using the packaged %s", directory, packaged)
        return [own]
    return [directory, own]


def _templates(paths: Paths) -> jinja2.Environment:
    directories = _directories(paths.templates, "templates")
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(d) for d in directories]),
        autoescape=True,
        auto_reload=False,
    )


def _static_files(paths: Paths) -> ASGIApp:
    files = StaticFiles(directory=PACKAGE / "static")
    files.all_directories = list(_directories(paths.static, "static"))

    async def static(scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        await files({**scope, "root_path": f"{root}/static"}, receive, send)

    return static
