"""The description that machines read (OpenAPI 3.1): openapi.yaml, and what follows the code."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ..broker.figures import BrokerStatus
from ..gateway import response
from ..gateway.batch import Result
from ..gateway.items import Item
from ..gateway.properties import MAX_EXPIRATION
from ..gateway.response import PROBLEM_JSON
from ..gateway.webhook import HANDSHAKE, OUTCOMES, WebhookEndpoint
from ..message import TABLE, Outcome, Problem, problem, type_of
from ..version import __version__
from .details import Details
from .figures import HISTOGRAM, HISTORY, NOW

Json = dict[str, Any]

PUBLISH = "/{virtual_host}/{exchange}/{routing_key}"
# What any request can be told.
ANY = {
    Outcome.BAD_REQUEST, Outcome.REQUEST_TIMEOUT, Outcome.HEADERS_TOO_LARGE,
    Outcome.INTERNAL_ERROR, Outcome.OVERLOADED, Outcome.SHUTTING_DOWN, Outcome.METHOD_NOT_ALLOWED,
}  # fmt: skip
PROBLEMS = [outcome for outcome in Outcome if outcome is not Outcome.CONFIRMED]
CONFIRMED = Outcome.CONFIRMED.value
EXAMPLE_ID = b"5f0c9a3b7d21-2a"
# What openapi.yaml names with the tag !code.
VALUES: dict[str, Any] = {
    "version": __version__,
    "max_expiration": MAX_EXPIRATION,
    "broker_states": [status.value for status in BrokerStatus],
    "publish_problems": [
        each.value
        for each in PROBLEMS
        if each not in (Outcome.NOT_FOUND, Outcome.SIGNATURE_INVALID)
    ],
}


def _value(_: Any, node: yaml.ScalarNode) -> Any:
    return VALUES[node.value]


def _example(loader: Any, node: yaml.MappingNode) -> Json:
    members = loader.construct_mapping(node)
    outcome = Outcome(members.pop("outcome"))
    return {**members, **msgspec.to_builtins(problem(outcome, ""))}


# With libyaml, which wheels of PyYAML have, it takes a tenth of the time: the loop waits for it.
_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
_Loader.add_constructor("!code", _value)
_Loader.add_constructor("!problem", _example)


@functools.cache
def document() -> Json:
    """Return the whole of it, as JSON takes it; it is made once, and shared."""
    text = Path(__file__).with_name("openapi.yaml").read_text(encoding="utf-8")
    whole: Json = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader, with two tags more
    parts, publish = whole["components"], whole["paths"][PUBLISH]["post"]
    for path in whole["paths"].values():
        for method, operation in path.items():
            if method != "parameters":
                _add_problems(operation, parts["headers"])
    properties = parts["schemas"]["Form"]["properties"]
    publish["parameters"] = [*_property_parameters(properties), *publish["parameters"]]
    _add_figures(parts["schemas"]["Overview"]["properties"])
    parts["schemas"] |= _declared_schemas()
    return whole


def webhooks(endpoints: Iterable[WebhookEndpoint]) -> Json:
    """Describe webhook endpoints by their names. Their paths may be secret, and are left out."""
    return {each.name: {"post": _webhook(each)} for each in endpoints}


def _webhook(endpoint: WebhookEndpoint) -> Json:
    settings, headers = endpoint.settings, document()["components"]["headers"]
    scheme = settings.verify.scheme
    how = (
        "The request is not verified."
        if scheme == "none"
        else f"The request is verified by the scheme {scheme}."
    )
    always = {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID",)}
    operation: Json = {
        "tags": ["publish"],
        "operationId": f"webhook-{endpoint.name}",
        "summary": f"A request to the webhook endpoint {endpoint.name}",
        "description": f"{how} Its body, of at most {settings.max_body_bytes} bytes, becomes the "
        "body of a message. The endpoint has its own account at the broker.",
        "security": [],
        "requestBody": {"required": True, "content": {"*/*": {}}},
        "responses": {
            str(settings.status): {
                "description": "The broker has confirmed exactly one copy.",
                "headers": always,
            }
        },
        "problems": [each for each in OUTCOMES if each not in (CONFIRMED, HANDSHAKE)],
    }
    _add_problems(operation, headers)
    return operation


def _add_problems(operation: Json, headers: Json) -> None:
    """Add the answers with a problem document, by status, with those of ``headers`` they have."""
    possible = ANY | {Outcome(name) for name in operation.pop("problems")}
    by_status: dict[str, list[Outcome]] = {}
    for outcome in PROBLEMS:
        if outcome in possible:
            by_status.setdefault(str(TABLE[outcome].status), []).append(outcome)
    responses = operation["responses"]
    always = next(iter(responses.values()))["headers"]
    for status, outcomes in by_status.items():
        sent = {name.decode().lower() for each in outcomes for name, _ in response.headers(each)}
        named = [name for name in headers if name in always or name.lower() in sent]
        content = responses.get(status, {}).get("content", {})
        responses[status] = _answer(outcomes, named, content)
    operation["responses"] = dict(sorted(responses.items()))


def _answer(outcomes: list[Outcome], headers: list[str], content: Json) -> Json:
    """Describe the answer to these outcomes, beside other ``content`` of the same status."""
    examples = {
        outcome.value: {
            "summary": TABLE[outcome].title,
            "value": msgspec.to_builtins(problem(outcome, "", request_id=EXAMPLE_ID)),
        }
        for outcome in outcomes
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": " ".join(f"{TABLE[outcome].title}." for outcome in outcomes),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {PROBLEM_JSON.decode(): {"schema": schema, "examples": examples}, **content},
    }


def _property_parameters(fields: Json) -> list[Json]:
    """Return the parameters for a form's fields: of the query, and of the request's headers."""
    query = {name: schema for name, schema in fields.items() if name != "body"}
    header = {
        f"AMQP-{name.replace('_', '-').title()}": schema
        for name, schema in query.items()
        if name != "mandatory"
    }
    return [
        {"name": name, "in": place, "required": False, "schema": schema}
        for place, named in (("query", query), ("header", header))
        for name, schema in named.items()
    ]


def _add_figures(overview: Json) -> None:
    """Add the figures of the dashboard as they are declared."""
    number = {"type": ["number", "boolean", "null"]}
    column = {"type": "array", "items": number}
    for figures, schema, plain in (
        (NOW, overview["backends"]["items"], number),
        (HISTORY, overview["series"], column),
    ):
        for figure in figures:
            labelled = {"type": "object", "additionalProperties": plain}
            described = (labelled if figure.labels else plain) | {"description": figure.help}
            for name in ("p50", "p99") if figure.kind is HISTOGRAM else (figure.dashboard,):
                schema["properties"][name] = described
                schema["required"].append(name)


def _declared_schemas() -> Json:
    """Return the schemas of what is declared in Python."""
    _, schemas = msgspec.json.schema_components(
        [Item, Result, Problem, Details], ref_template="#/components/schemas/{name}"
    )
    schemas["Problem"]["properties"]["type"]["enum"] = list(dict.fromkeys(map(type_of, PROBLEMS)))
    return schemas
