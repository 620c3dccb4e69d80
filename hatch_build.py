"""Compiles the modules that pyproject.toml lists, with mypyc: the build hook of the compiled wheel.

Their source is the same for both forms. The hook runs only where the build asks for it, see
docs/how-to/installing.md. It needs a C compiler; everything else pip installs for it.
"""

import os
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROJECT = Path(__file__).resolve().parent / "pyproject.toml"


class CompileHook(BuildHookInterface[Any]):
    """Adds the compiled modules to the wheel, beside their source, whose lines tracebacks name."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the wheel is only to point to a checkout."""
        if version == "editable":
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True  # the running Python and its platform
        self._directory = TemporaryDirectory()  # until the wheel is written
        target = Path(self._directory.name)
        for file in compile_modules(target):
            build_data["force_include"][str(file)] = str(file.relative_to(target / "lib"))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what the compiler wrote."""
        if version != "editable":
            self._directory.cleanup()


def modules() -> list[str]:
    """Return the files of the modules that are compiled, relative to src/."""
    build = tomllib.loads(PROJECT.read_text())["tool"]["hatch"]["build"]
    hook = build["targets"]["wheel"]["hooks"]["custom"]
    return [f"statelessd/{module}.py" for module in hook["modules"]]


def compile_modules(target: Path) -> list[Path]:
    """Compile into target/lib, and return the files there. Raise SystemExit if mypy refuses.

    All of them are one group, so one module calls another's functions directly. What did not
    change since the last time is taken from ``target``.
    """
    from mypyc.build import mypycify  # noqa: PLC0415 - only this form of the build has it
    from setuptools import Distribution  # noqa: PLC0415

    # Tracebacks have the paths as they are given here: statelessd/amqp/frames.py.
    os.chdir(PROJECT.parent / "src")
    options = [f"--config-file={PROJECT}", f"--cache-dir={target / 'mypy'}", *modules()]
    extensions = mypycify(
        options,
        opt_level="3",
        debug_level="0",
        group_name="statelessd.compiled",
        target_dir=str(target),
    )
    command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(target / "lib"), str(target / "objects")
    command.ensure_finalized()
    command.run()
    return [Path(output) for output in command.get_outputs()]
