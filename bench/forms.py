"""The two forms of statelessd: the source as it is, and what mypyc made of the same files."""

import os
import sysconfig
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PURE = ROOT / "src"
COMPILED = "BENCH_COMPILED"  # in the environment: where the other one is
# Else it is where "make compiled" puts it.
DEFAULT = Path(os.environ.get(COMPILED) or ROOT / ".run" / "compiled")
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")  # of what this Python can load
NAMES = ("pure", "compiled")


def missing(compiled: Path) -> str:
    """Return why there is no compiled form for this Python, or nothing if there is one.

    One that was made from other files than those of the checkout does not count.
    """
    if not any(compiled.glob(f"statelessd/**/*{SUFFIX}")):
        return f"there is no statelessd/**/*{SUFFIX} in {compiled}"
    for file in PURE.glob("statelessd/**/*.py"):
        copy = compiled / file.relative_to(PURE)
        if not copy.exists() or copy.read_bytes() != file.read_bytes():
            return f"{copy} differs from the checkout's file"
    return ""


def there() -> list[str]:
    """Return the forms that can be measured; print why the compiled one cannot."""
    if why := missing(DEFAULT):
        print(f'only the pure form: {why}; "make compiled" makes the other one')
        return ["pure"]
    return list(NAMES)


def check(source: Path, pids: Iterable[int]) -> None:
    """Raise RuntimeError if these processes run another form than that of the source."""
    loaded = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    of_ours = {line.split(maxsplit=5)[-1] for line in loaded.splitlines() if SUFFIX in line}
    runs = any(Path(file).is_relative_to(source) for file in of_ours)
    if runs is (source == PURE):
        raise RuntimeError(f"the gateway does not run the form in {source}")
