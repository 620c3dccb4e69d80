"""The names that docs/reference/policy.md promises to keep, and how a test compares them."""

import json
from pathlib import Path

FILE = Path(__file__).parents[1] / "stable_names.json"
POLICY = "docs/reference/policy.md"
NAMES = json.loads(FILE.read_text())


def differences(kind, found):
    """Return a sentence for each name that was removed, renamed or added."""
    listed = NAMES[kind]
    where = f"{kind} in tests/{FILE.name}"
    gone = [
        f"{name!r} is stable, and gone or renamed. {POLICY} says how to deprecate it; only a "
        f"major release may remove it from {where}."
        for name in listed
        if name not in found
    ]
    return gone + [
        f"{name!r} is new. With the next release it is stable ({POLICY}): add it to {where}."
        for name in found
        if name not in listed
    ]
