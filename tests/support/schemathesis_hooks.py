"""What schemathesis has to be told: how to make lines of JSON, and where messages can go."""

import json
import os

import schemathesis
from hypothesis import strategies as st

EXISTING = {"virtual_host": "test", "exchange": "test", "routing_key": "k"}
ITEMS = st.fixed_dictionaries(
    {"routing_key": st.text(max_size=10)},
    optional={
        "body": st.text(max_size=20),
        "json": st.none() | st.integers() | st.text(max_size=10),
        "id": st.integers(0, 100) | st.text(max_size=10),
        "mandatory": st.booleans(),
        "priority": st.integers(-1, 256),
        "headers": st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)),
    },
)
LINES = st.lists(ITEMS.map(lambda item: json.dumps(item).encode()) | st.binary(max_size=20))

schemathesis.openapi.media_type("application/x-ndjson", LINES.map(b"\n".join))


@schemathesis.serializer("application/x-ndjson")
def lines_as_they_are(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


if os.environ.get("STATELESSD_EXISTING"):

    @schemathesis.hook
    def map_path_parameters(context, path_parameters):
        return {name: EXISTING.get(name, value) for name, value in (path_parameters or {}).items()}

    @schemathesis.hook
    def map_headers(context, headers):
        # Bodies are not compressed here, so each with a coding would be a 400.
        return {name: headers[name] for name in headers or {} if name != "Content-Encoding"}
