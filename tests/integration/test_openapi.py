"""schemathesis makes requests out of /openapi.json, and finds no answer that is not in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gateway import running

HERE = Path(__file__).parent
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,missing_required_header"
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, broker):
    settings = {"Application": {"publish": {"timeout": 2}}}
    with running(tmp_path_factory.mktemp("gateway"), broker, settings) as started:
        yield started


def explore(gateway, *options, examples=30, **environment):
    """Its report, when it has found nothing wrong."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("STATELESSD_")}
    done = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "--config-file",
         HERE / "schemathesis.toml", "run", f"{gateway.url}/openapi.json", "--checks", CHECKS,
         "--phases", "coverage,fuzzing", "--max-examples", str(examples), "--seed", "1",
         "--warnings", "off", "--continue-on-failure", "--no-color", *options],
        env={**kept, **environment, "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
             "PYTHONPATH": str(HERE.parent / "support")},
        cwd=gateway.config.parent, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_no_answer_is_undocumented(gateway):
    explore(gateway, "--auth", "guest:guest")
    assert gateway.answered(500) == 0
    assert gateway.answered(404) > 0


def test_nor_where_messages_are_published(gateway):
    before = gateway.answered(204)
    options = "--auth", "guest:guest", "--include-tag", "publish"
    explore(gateway, *options, examples=60, STATELESSD_EXISTING="1")
    assert gateway.answered(204) > before  # how many is left to chance
    assert gateway.answered(200) > 0
    assert gateway.answered(207) > 0
    assert gateway.stats()["connections"]["test:guest"]["publishes"] > 10


def test_nor_for_a_stranger(gateway):
    explore(gateway, "--auth", "stranger:wrong", "--include-tag", "publish", examples=20,
            STATELESSD_EXISTING="1")  # fmt: skip
    assert gateway.answered(401) + gateway.answered(429) > 0
