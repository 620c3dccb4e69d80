"""The property tests with many new examples, seed after seed, until the time is up.

fuzz.py MINUTES [SEED]: the first seed is a random one unless it is told. A
failure ends the run, with the command that repeats it.

fuzz.py replay FILE: what an input costs that an earlier run has kept, because it cost too much.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Return exit status 1 when an example failed."""
    if sys.argv[1] == "replay":
        sys.path.append(str(HERE.parent / "support"))
        from cost import replay  # noqa: PLC0415 - it needs all of the gateway

        print(replay(Path(sys.argv[2])))
        return 0
    minutes = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    started = time.monotonic()
    while True:
        command = [sys.executable, "-m", "pytest", str(HERE), f"--hypothesis-seed={seed}"]
        run = subprocess.run(
            [*command, "-q", "-p", "no:cacheprovider"],
            env={**os.environ, "FUZZ": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        elapsed = time.monotonic() - started
        if run.returncode:
            print(run.stdout + run.stderr)
            print(f"seed {seed} failed; again: FUZZ=1 {' '.join(command)}")
            return 1
        print(f"seed {seed}: {run.stdout.splitlines()[-1]}; {elapsed:.0f} s so far", flush=True)
        if elapsed >= minutes * 60:
            return 0
        seed += 1


if __name__ == "__main__":
    sys.exit(main())
