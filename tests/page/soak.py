"""The dashboard's page for half a day, fast-forwarded: ``make soak-dashboard``.

A real page of a real gateway in Chromium, whose clock goes as fast as it can work and
whose documents come from ``fast_forward.js``. Exits with 1 when the page has grown.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "scripts"), str(HERE.parent / "support")]

from chromium import Chromium  # noqa: E402
from gateway import At, free_port, running  # noqa: E402

STEP = 25  # seconds that a busy machine can play before DevTools gives up on an answer
PERIOD = 150  # seconds, after which fast_forward.js does everything again


def nobody():
    """Return a broker that is not there: the documents tell of another."""
    return At("127.0.0.1", free_port())


def run(page, seconds):
    """Play so many seconds, in steps, and return how far the page has come."""
    for begun in range(0, seconds, STEP):
        ran = page.evaluate(f"Fast.run({min(STEP, seconds - begun)})")
    return ran


def weights(page, url, *, seconds, every):
    """Yield the page's weight after each ``every`` seconds, a multiple of the period."""
    page.run_first((HERE / "fast_forward.js").read_text())
    page.open(url)
    run(page, PERIOD - 5)  # to the end of one, where all is quiet
    for elapsed in range(every, seconds + 1, every):
        yield {"second": elapsed} | run(page, every) | page.weight()


def growth(taken):
    """Return the growth from one weight to the next: the median of all of them.

    That of the heap is in bytes for each update. What leaks does so in each period; what
    a busy machine does late, such as the first layout of a table, happens once.
    """

    def rise(name):
        return statistics.median(
            later[name] - earlier[name] for earlier, later in itertools.pairwise(taken)
        )

    found = {name: rise(name) for name in ("nodes", "listeners", "timers")}
    return {"heap": rise("heap") / rise("updates")} | found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=12)
    options = parser.parse_args()
    taken = []
    with (
        tempfile.TemporaryDirectory(prefix="statelessd-dashboard-") as directory,
        Chromium(Path(directory)) as chromium,
        chromium.user() as page,
    ):
        with running(Path(directory), nobody()) as gateway:
            for weight in weights(page, gateway.url, seconds=options.hours * 3600, every=3600):
                taken.append(weight)
                print(
                    f"hour {weight['second'] / 3600:4.0f}  updates {weight['updates']:6}  "
                    f"heap {weight['heap'] / 1e6:6.3f} MB  nodes {weight['nodes']:5}  "
                    f"listeners {weight['listeners']:4}  timers {weight['timers']:3}",
                    flush=True,
                )
        complaints = page.complaints
    found = growth(taken)
    print("growth: " + ", ".join(f"{name} {value:.1f}" for name, value in found.items()))
    for complaint in complaints:
        print(f"soak.py: {complaint}", file=sys.stderr)
    return 1 if complaints or not bounded(found) else 0


def bounded(found, heap=10):
    """Return whether nothing has grown but the heap, by so many bytes for each update."""
    return found["heap"] < heap and max(found[n] for n in ("nodes", "listeners", "timers")) <= 0


if __name__ == "__main__":
    sys.exit(main())
