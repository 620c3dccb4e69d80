"""The fault suite from the command line: ``make test-faults`` and ``make soak``.

Exits with 1 when one of the three numbers is not zero.
"""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(HERE.parent / "support")]

from play import play  # noqa: E402

import debian  # noqa: E402 - the path comes first


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seeds", type=int, nargs="*", help="by default three are drawn, one for a soak"
    )
    parser.add_argument("--minutes", type=float, default=0, help="0: each fault once")
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--suite", help="the Debian release whose RabbitMQ it is: trixie, testing")
    parser.add_argument("--report", type=Path, help="a directory for a table and a plot")
    options = parser.parse_args()
    debian.ensure(debian.FOR_TESTS)
    runs = []
    drawn = [secrets.randbelow(10**6) for _ in range(1 if options.minutes else 3)]
    for seed in options.seeds or drawn:
        print(f"seed {seed}", flush=True)
        with tempfile.TemporaryDirectory(prefix="statelessd-faults-") as directory:
            run = play(
                Path(directory),
                seed,
                length=options.minutes * 60,
                clients=options.clients,
                suite=options.suite,
                say=lambda line: print(line, flush=True),
            )
        print(run.verdict, flush=True)
        runs.append(run)
        if options.report:
            import soak_report  # noqa: PLC0415 - only a soak draws

            soak_report.write(run, options.report)
    good = all(run.verdict.true for run in runs)
    print("seeds " + ", ".join(str(run.seed) for run in runs) + (": true" if good else ": FALSE"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
