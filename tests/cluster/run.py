"""A cluster under traffic while its nodes go and come: ``make test-cluster``.

Exits with 1 when one of the three numbers is not zero, or when a backend
answered no 204 for three seconds although the queue had a leader.
"""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(HERE.parent / "support"), str(HERE.parent / "faults")]

from cluster_play import play  # noqa: E402

import debian  # noqa: E402 - the path comes first


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", help="by default one is drawn")
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--suite", help="the Debian release whose RabbitMQ it is: trixie, testing")
    parser.add_argument("--log", type=Path, help="a file for the gateway's log")
    options = parser.parse_args()
    debian.ensure(["rabbitmq-server"])
    runs = []
    for seed in options.seeds or [secrets.randbelow(10**6)]:
        print(f"seed {seed}", flush=True)
        with tempfile.TemporaryDirectory(prefix="statelessd-cluster-") as directory:
            run = play(
                Path(directory),
                seed,
                clients=options.clients,
                suite=options.suite,
                say=lambda line: print(line, flush=True),
            )
        print(run, flush=True)
        if options.log:
            options.log.write_text(run.log)
        runs.append(run)
    good = all(run.good for run in runs)
    print("seeds " + ", ".join(str(run.seed) for run in runs) + (": good" if good else ": BAD"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
