"""The environment of the Python recipes, with Celery, Django and FastAPI in it."""

import contextlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PROGRAMS = ROOT / "tests/recipes/programs"
PYTHON = ROOT / ".run/recipes/bin/python"


def variables(**more):
    """Return an environment in which the examples can be imported."""
    path = os.pathsep.join(map(str, (EXAMPLES, PROGRAMS)))
    settings = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {"PATH": os.environ["PATH"], **settings, **more}


@contextlib.contextmanager
def runs(arguments, log, **more):
    """Run a program of that environment, with its log in a file; ask it to end at the end."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [PYTHON, *arguments], stdout=file, stderr=file, env=variables(**more), cwd=log.parent
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        print(log.read_text())  # noqa: T201 - shown when the test fails
