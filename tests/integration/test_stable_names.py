"""Names that only a running gateway shows are stable as well: those of /stats and of the log."""

import json
import re

import pytest
from gateway import running
from stable import differences

# Names of users, statuses and methods.
VARIABLE = re.compile(r"^(connections|requests\.response|requests\.method)\.[^.]+")


def key_paths(document, path=""):
    """Return the path of each value; a variable part is an asterisk."""
    found = set()
    for name, value in document.items():
        here = VARIABLE.sub(r"\1.*", f"{path}{name}")
        found |= key_paths(value, f"{here}.") if isinstance(value, dict) else {here}
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory, broker):
    """The keys and members of a gateway that has published one message and failed with another."""
    directory = tmp_path_factory.mktemp("told")
    application = {"log": "json", "access_log": 1, "publish": {"max_bytes": 1000}}
    with running(directory, broker, {"Application": application}) as gateway:
        assert gateway.publish().status_code == 204
        batch = [{"routing_key": "k", "body": "x"}]
        assert gateway.publish("/test/test", json=batch).status_code == 200
        assert gateway.publish(data={"body": "x" * 2000}).status_code == 503
        stats = key_paths(gateway.stats())
        lines = [json.loads(line) for line in gateway.text.splitlines()]
    return {
        "keys of /stats": sorted(stats),
        "members of a JSON log line": sorted({name for line in lines for name in line}),
    }


@pytest.mark.parametrize("kind", ["keys of /stats", "members of a JSON log line"])
def test_stable_names_are_those_that_are_listed(told, kind):
    assert differences(kind, told[kind]) == []
