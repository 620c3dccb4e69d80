"""The fault suite from the command line: ``make test-faults``, ``test-cluster`` and ``soak``.

Exits with 1 when one of the three numbers is not zero, or, with ``--cluster``, when a
backend answered no 204 for three seconds although the queue had a leader.
"""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(HERE.parent / "support")]

import cluster_play  # noqa: E402 - the path comes first
import play  # noqa: E402 - likewise

import debian  # noqa: E402 - likewise


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", action="store_true", help="the faults of a cluster's nodes")
    parser.add_argument(
        "--seeds", type=int, nargs="*", help="by default three are drawn, or one for a long run"
    )
    parser.add_argument("--minutes", type=float, default=0, help="0: each fault once")
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--suite", help="the Debian release whose RabbitMQ it is: trixie, testing")
    parser.add_argument("--report", type=Path, help="a directory for a table and a plot")
    parser.add_argument("--log", type=Path, help="a file for the gateway's log")
    options = parser.parse_args()
    more = {} if options.cluster else {"length": options.minutes * 60}
    debian.ensure(["rabbitmq-server"] if options.cluster else debian.FOR_TESTS)
    runs = []
    count = 1 if options.minutes or options.cluster else 3
    for seed in options.seeds or [secrets.randbelow(10**6) for _ in range(count)]:
        print(f"seed {seed}", flush=True)
        with tempfile.TemporaryDirectory(prefix="statelessd-faults-") as directory:
            run = (cluster_play if options.cluster else play).play(
                Path(directory),
                seed,
                clients=options.clients,
                suite=options.suite,
                say=lambda line: print(line, flush=True),
                **more,
            )
        print(run, flush=True)
        runs.append(run)
        if options.log:
            options.log.write_text(run.log)
        if options.report:
            import soak_report  # noqa: PLC0415 - only a soak draws

            soak_report.write(run, options.report)
    good = all(run.good for run in runs)
    print("seeds " + ", ".join(str(run.seed) for run in runs) + (": good" if good else ": BAD"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
