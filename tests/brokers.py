"""The broker-facing tests against other RabbitMQs than the machine's: ``make test-brokers``.

For each suite the integration tests, and every fault once under traffic. Exits
with 1 when one of them failed, or when a suite cannot be had.
"""

import argparse
import os
import secrets
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "scripts"))

import debian  # noqa: E402 - the path comes first
from suite import Suite, SuiteError  # noqa: E402 - likewise

SUITES = ["trixie", "testing"]  # Debian stable, and what becomes the next one

# What these test is the same whatever the broker: it is HTTP, processes or pages. A new file
# of tests is broker-facing until it is named here. The faults are played by fault_suite.py.
INDIFFERENT = {
    "attacks", "browser", "cloud_events", "compressed", "dashboard", "dashboard_page", "deploy",
    "deployment_page", "drain", "early_answers", "edge", "environment", "examples", "exposure",
    "faults", "first_run", "hostile", "hot_path", "listeners", "log", "metrics", "openapi",
    "original", "pages", "processes", "prometheus", "reload", "stable_names", "tracing", "unit",
    "webhooks",
}  # fmt: skip


def broker_facing():
    """Return the files of the integration tests that are to pass with every broker."""
    files = {file.stem.removeprefix("test_"): file for file in HERE.glob("integration/test_*.py")}
    if unknown := INDIFFERENT - set(files):
        sys.exit(f"brokers.py: no such tests: {', '.join(sorted(unknown))}")
    return [files[name] for name in sorted(set(files) - INDIFFERENT)]


def passes(suite):
    """Run both against a suite's broker, and return whether they passed."""
    environment = os.environ | {"BROKER_SUITE": suite.name}
    pytest = ["-m", "pytest", "--numprocesses=4", "--dist=loadfile", "--no-loadscope-reorder"]
    faults = [HERE / "faults" / "fault_suite.py", "--seeds", str(secrets.randbelow(10**6))]
    commands = [[*pytest, *broker_facing()], faults]
    done = [
        subprocess.run([sys.executable, *each], cwd=ROOT, env=environment, check=False)
        for each in commands
    ]
    return not any(each.returncode for each in done)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", default=SUITES, help="by default all of them")
    options = parser.parse_args()
    failed = []
    try:
        debian.ensure(debian.FOR_TESTS)
        for suite in map(Suite, options.suites):
            suite.ensure()
            print(f"== Debian {suite.name}: RabbitMQ {suite.rabbitmq_version}", flush=True)
            if not passes(suite):
                failed.append(suite.name)
    except (debian.MissingPackagesError, SuiteError) as error:
        print(f"brokers.py: {error}", file=sys.stderr)
        return 1
    print(f"FAILED with {', '.join(failed)}" if failed else "good")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
