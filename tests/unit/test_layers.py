"""Imports point one way only, every module has a room, and the protocol cores do no I/O."""

import ast
import graphlib

import pytest

PACKAGE = "statelessd"
# From the bottom up. A module may import from its own room and from the rooms of lower ranks.
RANKS = [
    {"details", "failures", "form", "message", "version"},
    {"config.settings", "config.http_server", "config.webhooks"},
    {"tls"},
    {"config"},
    {"amqp", "http1", "parsing", "telemetry"},
    {"broker", "webhooks"},
    {"gateway"},
    {"pages"},
    {"process"},
    {"cli"},
    {"__main__"},
]
RANK_OF = {name: rank for rank, names in enumerate(RANKS) for name in names}
ALONE = {"amqp", "http1", "parsing", "telemetry"}  # of ours they import nothing but these
FOR_ALL = {"details", "failures", "form", "message", "version"}
SANS_IO = {"amqp", "parsing", "webhooks"}
IO_MODULES = {
    "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib",
    "random", "select", "selectors", "signal", "socket", "ssl", "subprocess", "sys", "threading",
    "time", "urllib", "uvloop",
}  # fmt: skip


def room_of(module):
    """Return the name in ``RANKS`` that ``module`` belongs to, or None if it has no room."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in RANK_OF), None)


def imports(tree, module, is_package):
    """Yield the line and the absolute name of every import, lazy ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = [PACKAGE, *(module.split(".") if module else [])]
                kept = len(parts) - node.level + is_package
                base = ".".join([*parts[:kept], *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def modules_of(root):
    """Return name -> path of every module below ``root``; the package itself has no name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        names = path.relative_to(root).with_suffix("").parts
        found[".".join(names[:-1] if names[-1] == "__init__" else names)] = path
    return found


def violations(root):
    """Return a sentence for each import that the rules forbid, and for each unknown module."""
    modules = modules_of(root)
    graph = {module: set() for module in modules}
    found = [
        f"{path.relative_to(root)} has no room: RANKS does not know it"
        for module, path in modules.items()
        if module and room_of(module) is None
    ]
    for module, path in modules.items():
        tree = ast.parse(path.read_text())
        for line, imported in imports(tree, module, path.name == "__init__.py"):
            where = f"{path.relative_to(root)}:{line} imports {imported}"
            top, _, name = imported.partition(".")
            if top != PACKAGE:
                if module.split(".")[0] in SANS_IO and top in IO_MODULES:
                    found.append(f"{where}: no I/O here")
                continue
            target = name if name in modules else name.rpartition(".")[0]
            if target != module:
                graph[module].add(target)
            found += complaints(module, target, where)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        found.append(f"the imports {' -> '.join(error.args[1])} are a circle")
    return found


def complaints(module, target, where):
    """Return what is wrong with ``module`` importing ``target``, in a list."""
    ours, theirs = room_of(module), room_of(target)
    if not target:
        return [f"{where}: the package itself may import any module"]
    if ours is None or theirs is None:
        return [] if theirs in FOR_ALL else [f"{where}, which has no room"]
    if RANK_OF[theirs] > RANK_OF[ours]:
        return [f"{where}, which is above it"]
    if ours in ALONE and theirs not in {ours, *FOR_ALL}:
        return [f"{where}: {ours} stands alone"]
    return []


def test_the_package_keeps_the_rules(pytestconfig):
    assert violations(pytestconfig.rootpath / "src" / PACKAGE) == []


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"amqp/x.py": "from ..gateway.x import y", "gateway/x.py": ""}, "above it"),
        ({"broker/x.py": "import statelessd.pages.x", "pages/x.py": ""}, "above it"),
        ({"config/settings.py": "def f():\n    from ..tls import x", "tls/x.py": ""}, "above it"),
        ({"telemetry/x.py": "from ..config.settings import X", "config/settings.py": ""}, "alone"),
        ({"http1/x.py": "from ..amqp import x", "amqp/x.py": ""}, "alone"),
        ({"http1/x.py": "from .. import x"}, "the package itself"),
        ({"gateway/x.py": "from statelessd import __version__"}, "the package itself"),
        ({"__init__.py": "from .pages import x", "pages/__init__.py": ""}, "no room"),
        ({"new.py": ""}, "new.py has no room"),
        ({"room/x.py": ""}, "room/x.py has no room"),
        ({"amqp/x.py": "def f():\n    import asyncio"}, "no I/O"),
        ({"amqp/x.py": "from time import monotonic"}, "no I/O"),
        ({"broker/x.py": "from .y import z", "broker/y.py": "from .x import a"}, "a circle"),
        (
            {
                "gateway/x.py": "from . import y",
                "gateway/y.py": "from . import z",
                "gateway/z.py": "def f():\n    from . import x",
            },
            "a circle",
        ),
    ],
)
def test_the_rules_find_what_they_forbid(tmp_path, files, complaint):
    for name, code in {"__init__.py": "", **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    assert any(complaint in each for each in violations(tmp_path))
