"""A stable name that is removed or renamed is noticed (see docs/reference/policy.md).

The names that only a running gateway shows are in tests/integration/test_stable_names.py.
"""

import contextlib
import io
import re

import pytest
from stable import FILE, NAMES, differences

from statelessd import cli
from statelessd.config.loader import ROUTE_CLASSES, TOP_LEVEL, environment_name, leaves
from statelessd.config.settings import SECTIONS
from statelessd.config.webhooks import Webhook
from statelessd.message import TABLE, Outcome, Problem, Properties, type_of
from statelessd.pages.figures import BACKEND_UP, METRICS, PREFIX, Kind


def settings():
    """Return the key paths of all settings that are not in a list."""
    return [path for section, (_, cls) in SECTIONS.items() for path, *_ in leaves(cls, section)]


def options():
    """Return the options that --help shows."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        cli.main(["--help"])
    return sorted(set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", shown.getvalue())))


def metric(figure):
    """Return a metric as /metrics shows it: name, labels and type."""
    total = "_total" if figure.kind is Kind.COUNTER else ""
    labels = f"{{{', '.join(figure.labels)}}}" if figure.labels else ""
    return f"{PREFIX}{figure.name}{total}{labels}: {figure.kind.value}"


def problem_types():
    """Return each type with its status."""
    rows = (each for each in Outcome if each is not Outcome.CONFIRMED)
    return sorted({f"{TABLE[each].status} {type_of(each)}" for each in rows})


KINDS = {
    "sections": lambda: list(TOP_LEVEL),
    "settings": settings,
    "environment variables": lambda: [environment_name(path) for path in settings()],
    "webhook settings": lambda: [path for path, *_ in leaves(Webhook, "Webhooks[]")],
    "classes for Routes": lambda: list(ROUTE_CLASSES),
    "options": options,
    "exit statuses": lambda: [f"{getattr(cli, n)} {n}" for n in ("OK", "FAILED", "USAGE")],
    "message properties": lambda: sorted(Properties.__annotations__),
    "problem types": problem_types,
    "members of a problem": lambda: list(Problem.__struct_fields__),
    "metrics": lambda: [metric(each) for each in (*METRICS, BACKEND_UP)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_stable_names_are_those_that_are_listed(kind):
    assert differences(kind, KINDS[kind]()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_removed_and_a_renamed_name_are_noticed(kind):
    *kept, last = NAMES[kind]
    [gone] = differences(kind, kept)
    assert repr(last) in gone
    assert "docs/reference/policy.md" in gone
    assert len(differences(kind, [*kept, "renamed"])) == 2


def test_the_page_names_every_kind(pytestconfig):
    page = (pytestconfig.rootpath / "docs/reference/policy.md").read_text()
    assert FILE.name in page
    assert [kind for kind in NAMES if kind not in page] == []
