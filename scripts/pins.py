"""Write requirements.txt and one such file for each extra, from constraints.txt: make hashes.

They have the versions of constraints.txt, and the hashes of all files of each version. So
"pip install --require-hashes" works with each Python and each processor. uv resolves them
for all of those at once. It is in the environment that runs this script.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("compression", "otel")
HEADER = """\
# {what}, pinned and with hashes, for pip install --require-hashes.
# "make hashes" writes this file from constraints.txt and pyproject.toml.
"""


def main() -> int:
    """Write the files. Return 1 if uv fails, which says why."""
    try:
        base = _pins()
        extras = {extra: _pins("--extra", extra) for extra in EXTRAS}
    except subprocess.CalledProcessError as error:
        print(f"pins.py: uv failed with status {error.returncode}", file=sys.stderr)
        return 1
    _write(path(), HEADER.format(what="What statelessd needs"), base)
    for extra, pins in extras.items():
        header = HEADER.format(what=f"What statelessd[{extra}] needs") + f"-r {path().name}\n"
        _write(path(extra), header, {name: pins[name] for name in pins if name not in base})
    return 0


def path(extra: str = "") -> Path:
    """Return the file of the requirements, or of an extra's."""
    return ROOT / (f"requirements-{extra}.txt" if extra else "requirements.txt")


def read(file: Path) -> dict[str, list[str]]:
    """Return the lines of each package that a file pins, by its normalized name."""
    return parse(file.read_text())


def parse(text: str) -> dict[str, list[str]]:
    """Return the lines of each package in the text of a requirements file with hashes."""
    pins: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("    --hash=") and pins:
            pins[next(reversed(pins))].append(line)
        elif "==" in line and not line.startswith("#"):
            pins[line.partition("==")[0]] = [line]
    return pins


def _pins(*options: str) -> dict[str, list[str]]:
    command = [
        *(str(Path(sys.executable).parent / "uv"), "pip", "compile", "pyproject.toml", *options),
        *("--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--constraint", "constraints.txt", "--no-header", "--no-annotate", "--quiet"),
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return parse(done.stdout)


def _write(file: Path, header: str, pins: dict[str, list[str]]) -> None:
    text = header + "".join(f"{line}\n" for lines in pins.values() for line in lines)
    print(f"{file.name}: {len(pins)} packages")
    # make installs anew when one is younger than what it installed.
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
