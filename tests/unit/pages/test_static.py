"""The page's modules, tested by node's own runner."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TESTS = Path("tests/unit/pages/static")


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """A place where node takes ``.js`` for modules, as browsers do."""
    place = tmp_path_factory.mktemp("modules")
    for directory in (TESTS, Path("src/statelessd/pages/static")):
        shutil.copytree(ROOT / directory, place / directory)
    (place / "package.json").write_text('{"type": "module"}')
    return place


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / TESTS).glob("*.mjs")))
def test_module(modules, name):
    done = subprocess.run(
        ["node", "--test", TESTS / name],
        check=False,
        cwd=modules,
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": "Europe/Berlin"},
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
