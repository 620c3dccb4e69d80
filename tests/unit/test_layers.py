"""Imports point one way only, and the AMQP core does no I/O."""

import ast
from pathlib import Path

import pytest

# From the bottom up: a module may import from its own rank and from those below.
RANKS = [
    {"statelessd.amqp"},
    {
        "statelessd",
        "statelessd.message",
        "statelessd.config",
        "statelessd.hosts",
        "statelessd.tls",
        "statelessd.histogram",
    },
    {
        "statelessd.config_loader",
        "statelessd.logs",
        "statelessd.listeners",
        "statelessd.handover",
        "statelessd.notify",
    },
    {"statelessd.config_report", "statelessd.broker"},
    {"statelessd.http"},
    {"statelessd.backend"},
    {"statelessd.supervisor", "statelessd.daemon", "statelessd.metrics_report"},
    {"statelessd.cli"},
    {"statelessd.__main__"},
]
IO_MODULES = {
    "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib",
    "random", "select", "selectors", "signal", "socket", "ssl", "subprocess", "sys", "threading",
    "time", "urllib", "uvloop", "uvicorn",
}  # fmt: skip


def rank(module):
    """The rank of a module by its longest known prefix."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        for number, names in enumerate(RANKS):
            if prefix in names:
                return number
    raise AssertionError(f"{module} has no rank: add it to RANKS")


def imports(path, module, package):
    """Every import of a file, as absolute names, with its line; lazy ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = (module if package else module.rpartition(".")[0]).split(".")
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def violations(root):
    found = []
    for path in sorted(root.rglob("*.py")):
        names = list(path.relative_to(root.parent).with_suffix("").parts)
        package = names[-1] == "__init__"
        module = ".".join(names[:-1] if package else names)
        for line, imported in imports(path, module, package):
            where = f"{path.relative_to(root.parent)}:{line} imports {imported}"
            if imported.split(".")[0] == "statelessd":
                lazy = module == "statelessd"  # its names for Routes are loaded when asked for
                if rank(imported) > rank(module) and not lazy:
                    found.append(f"{where}, which is above it")
            elif module.startswith("statelessd.amqp") and imported.split(".")[0] in IO_MODULES:
                found.append(f"{where}: no I/O in amqp")
    return found


def test_no_import_points_upward_and_amqp_does_no_io(pytestconfig):
    assert violations(pytestconfig.rootpath / "src" / "statelessd") == []


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("amqp/x.py", "from ..message import Message", "above it"),
        ("amqp/x.py", "def f():\n    import asyncio", "no I/O"),
        ("amqp/x.py", "from time import monotonic", "no I/O"),
        ("broker/x.py", "from ..http import request", "above it"),
        ("broker/x.py", "import statelessd.http.request", "above it"),
        ("http/endpoints/x.py", "from ...backend import run", "above it"),
        ("config.py", "from . import broker", "above it"),
    ],
)
def test_the_ban_finds_what_it_bans(tmp_path, file, code, complaint):
    path = tmp_path / "statelessd" / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    [found] = violations(Path(tmp_path / "statelessd"))
    assert complaint in found
