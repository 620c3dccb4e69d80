"""The data of the HTTP interface as JSON Schema, from the declarations that the code goes by."""

from typing import Any

import msgspec

from ..broker.statistics import BrokerStatus
from ..gateway import properties
from ..gateway.batch import Result
from ..gateway.items import Item
from ..message import MEMBERS, Outcome, Problem, type_of
from .details import Details
from .overview import Overview

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "maxLength": 255}

# Of each property, as clients write it in forms, in the query and in request headers.
PROPERTIES: dict[str, Schema] = {
    "app_id": {**_TEXT, "description": "The application that publishes."},
    "content_encoding": {**_TEXT, "description": "Such as gzip; nothing is encoded here."},
    "content_type": {**_TEXT, "description": "The media type of the message's body."},
    "correlation_id": {**_TEXT, "description": "Connects a reply with its request."},
    "delivery_mode": {
        "type": "integer", "minimum": 1, "maximum": 2,
        "description": "2: the message survives a restart of the broker; 1: it may not.",
    },
    "expiration": {
        "type": "integer", "minimum": 0, "maximum": properties.MAX_EXPIRATION,
        "description": "Milliseconds for which it may wait in a queue. Also: expire.",
    },
    "headers": {
        "type": "string", "contentMediaType": "application/json",
        "description": "The message's headers, a JSON object. In forms also headers[name]=value.",
    },
    "message_id": {**_TEXT, "description": "By which consumers can tell a second copy."},
    "priority": {
        "type": "integer", "minimum": 0, "maximum": 255,
        "description": "For queues with priorities.",
    },
    "reply_to": {**_TEXT, "description": "Where a reply is wanted."},
    "timestamp": {
        "type": "integer", "minimum": 0, "maximum": 2**64 - 1,
        "description": "Seconds of Unix time.",
    },
    "type": {**_TEXT, "description": "The kind of the message."},
    "user_id": {**_TEXT, "description": "Has to be the name of the user who is logged in."},
}  # fmt: skip
MANDATORY: Schema = {
    "type": "string",
    "enum": ["true", "false", "1", "0"],
    "description": "Whether it is a 404 when no queue takes the message.",
}

_COUNT: Schema = {"type": "integer", "minimum": 0}
_SUMMARY: Schema = {"published": _COUNT, "failed": _COUNT, "unknown": _COUNT}


def ref(name: str) -> Schema:
    """A reference to one of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def form() -> Schema:
    """A form of the publish path."""
    fields = {"body": {"type": "string", "description": "The message's body, byte for byte."}}
    return {
        "type": "object",
        "required": ["body"],
        "properties": {**fields, **PROPERTIES, "mandatory": MANDATORY},
    }


def components() -> dict[str, Schema]:
    """All named schemas."""
    _, found = msgspec.json.schema_components(
        [Item, Result, Problem, Overview, Details],
        ref_template="#/components/schemas/{name}",
    )
    problem = found["Problem"]
    problem["properties"]["type"]["enum"] = [
        type_of(outcome) for outcome in Outcome if outcome is not Outcome.CONFIRMED
    ]
    problem["properties"]["outcome"]["enum"] = ["not-published", "unknown"]
    _describe(problem, MEMBERS)
    return {
        **found,
        "Form": form(),
        "Batch": {
            "oneOf": [
                {"type": "array", "items": ref("Item")},
                {
                    "type": "object",
                    "required": ["messages"],
                    "properties": {"messages": {"type": "array", "items": ref("Item")}},
                    "additionalProperties": False,
                },
            ]
        },
        "Results": _object({**_SUMMARY, "results": {"type": "array", "items": ref("Result")}}),
        "Summary": {
            **_object(
                {
                    **_SUMMARY,
                    "failures": {"type": "array", "items": ref("Result")},
                    "failures_left_out": _COUNT,
                }
            ),
            "properties": {
                **_SUMMARY,
                "failures": {"type": "array", "items": ref("Result")},
                "failures_left_out": _COUNT,
                "error": ref("Problem"),
            },
        },
        "Stats": _stats(),
        "AllStats": _object(
            {"backends": {"type": "array", "items": ref("Stats")}, "total": {"type": "object"}}
        ),
        "Health": _object({"status": {"type": "string"}}),
        "Readiness": _object(
            {
                "status": {"type": "string", "enum": ["ready", "not-ready", "draining"]},
                "broker": _broker(),
            }
        ),
    }


def _describe(schema: Schema, members: dict[str, str]) -> None:
    for name, description in members.items():
        schema["properties"][name]["description"] = description


def _broker() -> Schema:
    states = [status.value for status in BrokerStatus]
    return _object({"state": {"type": "string", "enum": states}, "reason": {"type": "string"}})


def _object(members: dict[str, Schema]) -> Schema:
    return {"type": "object", "required": list(members), "properties": members}


def _stats() -> Schema:
    number: Schema = {"type": "number"}
    pair = _object({"opened": _COUNT, "closed": _COUNT})
    connection = _object(
        {
            "connections": pair,
            "channels": pair,
            "connected": {"type": "boolean"},
            "publishes": {**_COUNT, "description": "Messages that the broker confirmed."},
            "queue_size": {**_COUNT, "description": "Messages that wait to be sent."},
        }
    )
    return _object(
        {
            "host": {"type": "string"},
            "port": {"type": ["integer", "string"], "description": "Or a Unix socket."},
            "timestamp": _COUNT,
            "connections": {
                "type": "object",
                "additionalProperties": connection,
                "description": "By virtual host and user, with a colon between.",
            },
            "broker": _broker(),
            "requests": {"type": "object", "additionalProperties": number},
            "cpu_time": _object({"user": number, "system": number}),
            "memory_usage": {**_COUNT, "description": "KiB, at most so far."},
            "page_size": _COUNT,
            "page_faults": _object({"minor": _COUNT, "major": _COUNT}),
            "context_switches": _COUNT,
            "swap_outs": _COUNT,
            "block": _object({"input": _COUNT, "output": _COUNT}),
            "signals_received": _COUNT,
        }
    )
