"""Checks Containerfile, compose.yaml and deploy/kubernetes against their schemas and good practice.

It needs no container engine: hadolint, dclint, compose-lint and the schemas of Kubernetes come in
Python and npm packages.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from kubernetes_validate.utils import (
    SchemaNotFoundError,
    ValidationError,
    all_versions,
    validate,
)

import debian
import javascript

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CONTAINERFILES = ("Containerfile", "deploy/Containerfile.debian")
MANIFESTS = ROOT / "deploy" / "kubernetes"
OLDEST_KUBERNETES = (1, 30)  # the first where preStop may sleep without a feature gate
DCLINT = [
    *("node", str(javascript.DCLINT)),
    *("--config", str(javascript.DECLARATION.with_name("dclint.json"))),
    *("--quiet", "compose.yaml"),
]
COMPOSE_LINT = [
    *(str(BIN / "compose-lint"), "--fail-on", "medium"),
    *("--config", str(ROOT / "deploy" / "compose" / "compose-lint.yml"), "compose.yaml"),
]


def check_manifests() -> list[str]:
    """Return what is wrong with the Kubernetes manifests in any supported version's schema."""
    wrong, versions = [], kubernetes_versions()
    for file in sorted(MANIFESTS.glob("*.yaml")):
        for manifest in yaml.safe_load_all(file.read_text()):
            if manifest["kind"] != "Kustomization":  # the API server never sees it
                found = wrong_with(manifest, versions)
                wrong += [f"{file.relative_to(ROOT)}: {each}" for each in found]
    return wrong


def wrong_with(manifest: dict[str, Any], versions: list[str]) -> list[str]:
    """Return what is wrong with a manifest in each of these versions of Kubernetes."""
    wrong = []
    for version in versions:
        try:
            validate(manifest, version, strict=True)
        except ValidationError as error:
            wrong.append(f"Kubernetes {version}: {error.json_path}: {error.message}")
        except SchemaNotFoundError as error:
            wrong.append(error.message)
    return wrong


def kubernetes_versions() -> list[str]:
    """Return the versions of Kubernetes that the manifests are checked against."""
    known = [each.split(".") for each in all_versions()]
    numbers = sorted({(int(major), int(minor)) for major, minor, *_ in known})
    return [f"{major}.{minor}" for major, minor in numbers if (major, minor) >= OLDEST_KUBERNETES]


def _run(*command: str) -> bool:
    """Return whether the command succeeds in the top directory. Print what it says if not."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    """Run all checks. Return 1 if one fails, or if its program cannot be installed."""
    try:
        javascript.ensure()
    except (javascript.JavaScriptError, debian.MissingPackagesError) as error:
        print(f"containers.py: {error}", file=sys.stderr)
        return 1
    passed = [
        _run(str(BIN / "hadolint"), *CONTAINERFILES),
        _run(*DCLINT),
        _run(*COMPOSE_LINT),
    ]
    wrong = check_manifests()
    for each in wrong:
        print(each, file=sys.stderr)
    return 0 if all(passed) and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
