"""A scaled day from the command line: ``make soak HOURS=24 MINUTES=30``.

Exits with 1 when one of the three numbers is not zero, or when the gateway grows after its
backends have warmed up.
"""

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(HERE.parent / "support")]

import day  # noqa: E402 - the path comes first

import debian  # noqa: E402 - likewise


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24, help="hours of the day, at least 5")
    parser.add_argument("--minutes", type=float, default=30, help="how long they take")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--suite", help="the Debian release whose RabbitMQ it is: trixie, testing")
    parser.add_argument("--leak", action="store_true", help="let the gateway's log handler leak")
    parser.add_argument("--report", type=Path, help="a directory for the table")
    options = parser.parse_args()
    if not day.is_long_enough(options.hours, options.minutes):
        parser.error("too short to tell a trend: give it more hours and minutes")
    debian.ensure(debian.FOR_TESTS)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="statelessd-day-") as directory:
        run = day.play(
            Path(directory),
            seed,
            hours=options.hours,
            minutes=options.minutes,
            suite=options.suite,
            leak=options.leak,
            say=lambda line: print(line, flush=True),
        )
    print(run, flush=True)
    if options.report:
        options.report.mkdir(parents=True, exist_ok=True)
        table = options.report / f"day-{seed}.md"
        table.write_text(day.report(run, time.monotonic() - begun))
        print(f"wrote {table}")
    print("good" if run.good else "BAD")
    return 0 if run.good else 1


if __name__ == "__main__":
    sys.exit(main())
