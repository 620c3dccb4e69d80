"""The description that machines read: OpenAPI 3.1, made of what the code itself goes by."""

from collections.abc import Iterable
from typing import Any

import msgspec

from ..gateway import response
from ..gateway.items import JSON, NDJSON
from ..gateway.response import PROBLEM_JSON
from ..message import TABLE, Outcome
from ..message import problem as problem_of
from ..version import __version__
from .schemas import MANDATORY, PROPERTIES, Schema, components, ref

O = Outcome  # noqa: E741 - the lists below read better with it

# What any request can be told.
ANY = {
    O.BAD_REQUEST, O.REQUEST_TIMEOUT, O.HEADERS_TOO_LARGE, O.INTERNAL_ERROR, O.OVERLOADED,
    O.SHUTTING_DOWN, O.METHOD_NOT_ALLOWED,
}  # fmt: skip
BATCH = ANY | {O.UNAUTHORIZED, O.FORBIDDEN, O.CROSS_SITE, O.LENGTH_REQUIRED, O.TOO_LARGE}
PUBLISH = set(Outcome) - {O.CONFIRMED, O.NOT_FOUND}

_NAME: Schema = {"type": "string", "maxLength": 255}
_HEADERS: dict[str, Schema] = {
    "X-Request-ID": {
        "description": "The request's own, or one made here; logs name it.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "How to log in.", "schema": {"type": "string"}},
    "Allow": {"description": "The methods of this path.", "schema": {"type": "string"}},
    "AMQP-Message-Id": {
        "description": "The message_id that was stamped on the message here.",
        "schema": {"type": "string"},
    },
}
_EXAMPLE_ID = b"5f0c9a3b7d21-2a"
_ITEM = {"routing_key": "orders.new", "json": {"order": 42}, "message_id": "order-42", "id": 1}


def document() -> dict[str, Any]:
    """The whole of it, as JSON takes it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "statelessd",
            "version": __version__,
            "summary": "HTTP in, RabbitMQ out: one POST becomes one confirmed message.",
            "description": "204 means that the broker has confirmed exactly one copy. Every other "
            "answer says whether there is none (not-published) or none or one (unknown).",
            "license": {"name": "BSD 3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "publish", "description": "Messages to RabbitMQ."},
            {"name": "watch", "description": "How it goes."},
        ],
        "paths": {
            "/{virtual_host}/{exchange}/{routing_key}": {
                "parameters": [*_path_parameters(), _in_path("routing_key", "May be empty.")],
                "post": _publish(),
            },
            "/{virtual_host}/{exchange}": {
                "parameters": _path_parameters(),
                "post": _batch(),
            },
            **_pages(),
        },
        "components": {
            "schemas": components(),
            "headers": _HEADERS,
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The broker's user name and password.",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token for RabbitMQ's OAuth 2 back end.",
                },
            },
        },
    }


# Publishing


def _publish() -> Schema:
    form = {"schema": ref("Form"), "example": {"body": "hi", "content_type": "text/plain"}}
    return {
        "tags": ["publish"],
        "operationId": "publish",
        "summary": "Publish one message",
        "description": "A form has the message in its field body; any other body is the message "
        "itself, with the request's Content-Type and Content-Encoding. Properties come from the "
        "form, else from the query, else, for a body that is no form, from AMQP-* headers.",
        "security": [{"basic": []}, {"bearer": []}],
        "parameters": [
            *(_parameter(name, "query", schema) for name, schema in PROPERTIES.items()),
            _parameter("mandatory", "query", MANDATORY),
            *(
                _parameter(f"AMQP-{name.replace('_', '-').title()}", "header", schema)
                for name, schema in PROPERTIES.items()
            ),
            *_request_headers(),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": form,
                "multipart/form-data": form,
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "text/plain": {"schema": {"type": "string"}, "example": "hi"},
                JSON: {"schema": {}, "example": {"order": 42}},
            },
        },
        "responses": {
            "204": {
                "description": "The broker has confirmed exactly one copy.",
                "headers": _header_refs("X-Request-ID", "AMQP-Message-Id"),
            },
            **problems(PUBLISH, "AMQP-Message-Id"),
        },
    }


def _batch() -> Schema:
    failed = msgspec.to_builtins(_result(O.NO_ROUTE))
    counts = {"published": 1, "failed": 1, "unknown": 0}
    confirmed = {"index": 0, "status": 204, "id": 1}
    results = {"schema": ref("Results"), "example": {**counts, "results": [confirmed, failed]}}
    summary = {**counts, "failures": [failed], "failures_left_out": 0}
    return {
        "tags": ["publish"],
        "operationId": "publishBatch",
        "summary": "Publish many messages, each with its own outcome",
        "description": "JSON is read whole before anything is published. NDJSON is published as "
        "it arrives, and always answered with 200: by a summary at the end, or with Prefer: "
        "results=stream by one line for each item, in order, and the summary as the last line. An "
        "answer without its summary means that the rest is unknown.",
        "security": [{"basic": []}, {"bearer": []}],
        "parameters": _request_headers(),
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": ref("Batch"), "example": [_ITEM]},
                NDJSON: {
                    "schema": {"type": "string", "description": "One Item in each line."},
                    "example": '{"routing_key": "orders.new", "body": "x"}\n',
                },
            },
        },
        "responses": {
            "200": {
                "description": "JSON: every item was confirmed. NDJSON: see the summary.",
                "headers": _header_refs("X-Request-ID"),
                "content": {
                    JSON: {
                        "schema": {"anyOf": [ref("Results"), ref("Summary")]},
                        "example": summary,
                    },
                    NDJSON: {
                        "schema": {
                            "type": "string",
                            "description": "A Result in each line; the last line is the summary.",
                        }
                    },
                },
            },
            "207": {
                "description": "JSON: not every item was confirmed.",
                "headers": _header_refs("X-Request-ID"),
                "content": {JSON: results},
            },
            **problems(BATCH),
        },
    }


def _result(outcome: Outcome) -> dict[str, Any]:
    problem = msgspec.to_builtins(problem_of(outcome, ""))
    return {"index": 1, "id": 2, **problem}


def _path_parameters() -> list[Schema]:
    return [
        {
            **_in_path("virtual_host", "Percent-encoded; %2f is RabbitMQ's default one."),
            "example": "%2f",
            "schema": {**_NAME, "minLength": 1},
        },
        {
            **_in_path("exchange", "amq.default is AMQP's default exchange."),
            "example": "amq.topic",
        },
    ]


def _in_path(name: str, description: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": _NAME,
    }


def _parameter(name: str, place: str, schema: Schema) -> Schema:
    return {"name": name, "in": place, "required": False, "schema": schema}


def _request_headers() -> list[Schema]:
    text = {"type": "string"}
    told = {
        "Prefer": "wait=SECONDS bounds the wait for each message; results=stream: see batches.",
        "X-Request-ID": "Taken over into the answer and the log.",
        "Idempotency-Key": "The message_id to stamp, where the settings have it so.",
        "traceparent": "Becomes a header of the message, as do the next two (W3C Trace Context).",
        "tracestate": "",
        "baggage": "",
    }
    return [
        {**_parameter(name, "header", text), "description": description}
        for name, description in told.items()
    ]


# Answers


def problems(outcomes: Iterable[Outcome], *headers: str) -> dict[str, Schema]:
    """The answers with a problem document, by status, with an example of each type."""
    by_status: dict[int, list[Outcome]] = {}
    for outcome in Outcome:
        if outcome in outcomes:
            by_status.setdefault(TABLE[outcome].status, []).append(outcome)
    return {str(status): _problem(those, headers) for status, those in sorted(by_status.items())}


def _problem(outcomes: list[Outcome], headers: tuple[str, ...]) -> Schema:
    sent = {name.decode().title() for o in outcomes for name, _ in response.headers(o)}
    sent.discard("Content-Type")
    named = [n for n in _HEADERS if n.title() in sent or n in ("X-Request-ID", *headers)]
    return {
        "description": " ".join(f"{TABLE[outcome].title}." for outcome in outcomes),
        "headers": _header_refs(*named),
        "content": {
            PROBLEM_JSON.decode(): {
                "schema": ref("Problem"),
                "examples": {
                    outcome.value: {
                        "summary": TABLE[outcome].title,
                        "value": msgspec.to_builtins(
                            problem_of(outcome, "", request_id=_EXAMPLE_ID)
                        ),
                    }
                    for outcome in outcomes
                },
            }
        },
    }


def _header_refs(*names: str) -> dict[str, Schema]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


# Pages


def _pages() -> dict[str, Schema]:
    html = {"text/html": {"schema": {"type": "string"}}}
    readiness = {JSON: {"schema": ref("Readiness")}}
    restricted = {O.FORBIDDEN, O.NOT_FOUND}  # where HTTPServer.pages says so
    return {
        "/stats": _scoped(
            "stats",
            "Figures of this process, or of all",
            {JSON: {"schema": {"anyOf": [ref("Stats"), ref("AllStats")]}}},
            restricted,
        ),
        "/metrics": _scoped(
            "metrics",
            "Figures of this process, or of all, for Prometheus",
            {
                "text/plain": {"schema": {"type": "string"}},
                "application/openmetrics-text": {"schema": {"type": "string"}},
            },
            restricted,
        ),
        "/healthz": _page("healthz", "This process lives", {JSON: {"schema": ref("Health")}}),
        "/readyz": _page("readyz", "This process takes publishes", readiness, not_ready=readiness),
        "/openapi.json": _page("openapi", "This description", {JSON: {"schema": {}}}, restricted),
        "/docs": _page("docs", "This description, for people", html, restricted),
        "/": _page("dashboard", "The dashboard", html, restricted),
        "/dashboard.json": _overview(restricted),
        "/details.json": _page(
            "details",
            "Connections and recent errors of all backends",
            {JSON: {"schema": ref("Details")}},
            restricted,
        ),
        "/static/{file}": _file(),
    }


def _overview(outcomes: Iterable[Outcome]) -> Schema:
    page = _page(
        "overview",
        "Figures of all backends now, and of the last ten minutes",
        {JSON: {"schema": ref("Overview")}},
        outcomes,
    )
    second = {"type": "integer", "minimum": 0, "maximum": 10**12 - 1}
    page["get"]["parameters"] = [
        {
            **_parameter("backend", "query", {"type": "string"}),
            "description": "Whose series, instead of that of all; a name as in backends.",
        },
        {
            **_parameter("since", "query", second),
            "description": "Unix time: of the series only the seconds after this one.",
        },
    ]
    return page


def _file() -> Schema:
    page = _page("static", "What pages load", {"*/*": {}}, {O.NOT_FOUND})
    unchanged = {
        "description": "What the client has is still right.",
        "headers": _header_refs("X-Request-ID"),
    }
    page["get"]["responses"]["304"] = unchanged
    return {"parameters": [_in_path("file", "A file of the pages.")], **page}


def _scoped(name: str, summary: str, content: Schema, outcomes: Iterable[Outcome]) -> Schema:
    page = _page(name, summary, content, outcomes)
    scope = _parameter("scope", "query", {"type": "string", "enum": ["all"]})
    page["get"]["parameters"] = [{**scope, "description": "All backends of this parent."}]
    return page


def _page(
    name: str,
    summary: str,
    content: Schema,
    outcomes: Iterable[Outcome] = (),
    *,
    not_ready: Schema | None = None,
) -> Schema:
    answers = problems(ANY | set(outcomes))
    if not_ready is not None:
        answers["503"]["content"] |= not_ready
    return {
        "get": {
            "tags": ["watch"],
            "operationId": name,
            "summary": summary,
            "responses": {
                "200": {
                    "description": summary,
                    "headers": _header_refs("X-Request-ID"),
                    "content": content,
                },
                **answers,
            },
        }
    }
