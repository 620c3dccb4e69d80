"""The form that these tests run, pure Python or compiled, is the same from end to end."""

import copy
import importlib
import inspect
import os
import pickle
import tomllib
import traceback
from pathlib import Path

import msgspec
import pytest

from statelessd.amqp import frames
from statelessd.amqp.errors import FrameError
from statelessd.amqp.events import BasicAck, Settlement, Start
from statelessd.form import FORM
from statelessd.gateway.properties import NAMES
from statelessd.message import Outcome, Problem, problem
from statelessd.pages import openapi_document

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
LISTED = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]


def test_it_is_the_one_that_is_to_be_tested():
    assert os.environ.get("FORM", "pure Python") == FORM


@pytest.mark.parametrize("name", LISTED)
def test_every_listed_module_has_it(name):
    module = importlib.import_module(f"statelessd.{name.replace('/', '.')}")
    is_source = module.__file__.endswith(".py")
    assert is_source == (FORM == "pure Python")


def test_a_traceback_names_the_line_of_the_source(pytestconfig):
    with pytest.raises(FrameError) as caught:
        list(frames.FrameSplitter(4096).feed(b"no frame at all"))
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert last.filename.endswith("statelessd/amqp/frames.py")
    assert last.name == "feed"
    source = (pytestconfig.rootpath / "src/statelessd/amqp/frames.py").read_text().splitlines()
    assert "raise _fault(" in source[last.lineno - 1]


def test_types_are_checked_when_values_are_converted():
    assert msgspec.convert({"properties": {}, "mechanisms": "PLAIN"}, Start).mechanisms == "PLAIN"
    with pytest.raises(msgspec.ValidationError, match=r"\$.mechanisms"):
        msgspec.convert({"properties": {}, "mechanisms": 1}, Start)


def test_classes_with_keywords_have_kept_them():
    assert len(NAMES) == 13
    assert "request_id" not in msgspec.to_builtins(problem(Outcome.NACKED, "full"))


def test_values_are_copied_and_pickled():
    ack = BasicAck(7, multiple=True, positive=True)
    assert pickle.loads(pickle.dumps(ack)) == copy.deepcopy(ack) == ack
    assert pickle.loads(pickle.dumps(Settlement.ACKED)) is Settlement.ACKED


def test_openapi_describes_each_member_of_a_problem():
    """A compiled module would lose it, see docs/development/compiled.md."""
    schema = openapi_document.document()["components"]["schemas"]["Problem"]
    assert schema["description"] == inspect.getdoc(Problem)
    assert "mypyc" not in schema["description"]
    assert [name for name, each in schema["properties"].items() if "description" not in each] == []
