"""The licences of what statelessd needs: which ones are accepted, and who states which."""

import re

# What these packages' own licence files say: their metadata has no SPDX expression.
STATED = {
    "brotli": "MIT",
    "certifi": "MPL-2.0",
    "charset-normalizer": "MIT",
    "jinja2": "BSD-3-Clause",
    "lockfile": "MIT",
    "multipart": "MIT",
    "protobuf": "BSD-3-Clause",
    "python-daemon": "Apache-2.0",
    "pyyaml": "MIT",
    "requests": "Apache-2.0",
    "uvloop": "MIT OR Apache-2.0",
}
KNOWN = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MPL-2.0", "PSF-2.0"}


class LicenceError(Exception):
    """A package states no licence, or one that nobody has looked at."""


def licence_of(name: str, expression: str = "") -> str:
    """Return the SPDX expression of a package's licence. Raise LicenceError if it is not known."""
    licence = expression or STATED.get(name)
    if not licence:
        raise LicenceError(f"{name} states no licence by SPDX: read it, and name it in STATED")
    if unknown := set(re.split(r" AND | OR ", re.sub(r"[()]", "", licence))) - KNOWN:
        raise LicenceError(f"{name} has the licence {' '.join(sorted(unknown))}, not in KNOWN")
    return licence
