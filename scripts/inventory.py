"""The SBOM (CycloneDX 1.6) and the list of licences of what statelessd needs to run.

They name the packages that requirements.txt and the files of the extras pin, for the Python
that runs this script. The metadata is that of the installed packages.
"""

import datetime as dt
import email
import hashlib
import importlib.metadata
import sys
import uuid
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import licences
import pins


class Package(NamedTuple):
    """A package that statelessd needs, or an extra of it."""

    name: str
    version: str
    licence: str
    extra: str
    hashes: list[str]
    needs: list[str]


def packages() -> list[Package]:
    """Return the pinned packages, of all extras, that the running Python needs.

    Raise LicenceError if the licence of one is not known.
    """
    found = []
    for extra in ("", *pins.EXTRAS):
        for name, (first, *rest) in pins.read(pins.path(extra)).items():
            requirement = Requirement(first.rstrip(" \\"))
            if requirement.marker and not requirement.marker.evaluate():
                continue
            hashes = [line.strip(" \\").rpartition(":")[2] for line in rest]
            needs = sorted(_needs(importlib.metadata.requires(name) or []))
            about = importlib.metadata.metadata(name)
            stated = about.get_all("License-Expression", [])
            licence = licences.licence_of(name, *stated)
            version = str(requirement.specifier).removeprefix("==")
            found.append(Package(name, version, licence, extra, hashes, needs))
    return found


def compiler() -> Package:
    """Return mypy, whose C library the compiled wheel contains. Raise LicenceError as above."""
    about = importlib.metadata.metadata("mypy")
    licence = licences.licence_of("mypy", *about.get_all("License-Expression", []))
    return Package("mypy", about["Version"], licence, "the compiled wheel", [], [])


def licence_list(found: list[Package]) -> str:
    """Return the list of licences as text, one package a line."""
    lines = [
        f"{each.name:40} {each.version:12} {each.licence:28} {each.extra and f'[{each.extra}]'}"
        for each in found
    ]
    head = f"{'package':40} {'version':12} {'licence (SPDX)':28} only with"
    return "".join(f"{line.rstrip()}\n" for line in [head, *lines])


def sbom(found: list[Package], wheel: Path, epoch: int) -> str:
    """Return the SBOM as JSON: the wheel as the subject, and what it depends on."""
    about = _metadata(wheel)
    subject = _component(
        about["Name"], about["Version"], about["License-Expression"], [_digest(wheel)]
    )
    subject.type = ComponentType.APPLICATION
    components = {
        each.name: _component(
            each.name,
            each.version,
            each.licence,
            each.hashes,
            ComponentScope.OPTIONAL if each.extra else ComponentScope.REQUIRED,
        )
        for each in found
    }
    bom = Bom(
        components=components.values(),
        # Built from the same commit it is the same document, byte for byte.
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, _digest(wheel)),
    )
    bom.metadata.component = subject
    bom.metadata.timestamp = dt.datetime.fromtimestamp(epoch, dt.UTC)
    own = sorted(set(_needs(about.get_all("Requires-Dist", []), ("", *pins.EXTRAS))))
    bom.register_dependency(subject, [components[name] for name in own if name in components])
    for each in found:
        needs = [components[name] for name in each.needs if name in components]
        bom.register_dependency(components[each.name], needs)
    document: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return f"{document}\n"


def _component(
    name: str,
    version: str,
    licence: str,
    hashes: list[str],
    scope: ComponentScope | None = None,
) -> Component:
    purl = PackageURL("pypi", name=name, version=version)
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        scope=scope,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseExpression(licence)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in hashes],
    )


def _needs(requirements: list[str], extras: tuple[str, ...] = ("",)) -> Iterator[str]:
    """Yield the names of the requirements that hold for this Python and one of the extras."""
    for each in map(Requirement, requirements):
        if each.marker is None or any(each.marker.evaluate({"extra": name}) for name in extras):
            yield canonicalize_name(each.name)


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main() -> int:
    """Print the list of licences. Return 1 if one is not known."""
    try:
        print(licence_list(packages()), end="")
    except licences.LicenceError as error:
        print(f"inventory.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
