"""The short form of ``make test-faults``: most faults once, and the three numbers are zero."""

import os

import pytest
from menu import SHORT
from play import play


@pytest.mark.timeout(600)
def test_every_answer_is_true_whatever_breaks(tmp_path):
    seed = int(os.environ.get("FAULTS_SEED", "1"))
    run = play(tmp_path, seed, menu=SHORT)
    print(f"seed {seed}\n{run}")  # noqa: T201 - shown when the test fails
    assert run.good, str(run)
    assert run.verdict.outcomes["confirmed"] > 1000
    assert "Traceback" not in run.log
