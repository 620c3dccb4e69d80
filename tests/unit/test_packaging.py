"""What is pinned, accepted and said about installing agrees with itself."""

import re
import tomllib

import pytest

import licences
import pins

# What pip would look for on the package index, where this name is the program of 2013.
BY_NAME = re.compile(
    r"(?:\bpipx?3? (?:install|download|wheel|run)|\buv (?:pip install|add|tool install)|\buvx)\b"
    r"(?!.*--no-index)(?:.*[ \t\"'=])?statelessd"
    r"(?:\[[\w,-]+\])?\s*(?:[=<>~!]=?[\w.*]+)?(?=[\"'\s`),;]|\.\s|\.?$)(?!\s*@)(?! file)",
    re.MULTILINE,
)
FOLDERS = ("docs", "deploy", "src", "examples", "scripts")
NO_TEXT = {".png", ".pyc", ".json"}


def commands(text):
    """Return the text with the lines of a command joined, as the shell does."""
    return re.sub(r"\\\n\s*|\"\s*\n\s*f?\"", "", text)


def texts(root):
    """Yield the name and the text of each document and program that a user reads or runs."""
    below = (path for each in FOLDERS for path in sorted((root / each).rglob("*")))
    for path in (*root.glob("*.md"), *below):
        if path.is_file() and path.suffix not in NO_TEXT:
            yield path.name, path.read_text()


def test_nobody_is_told_to_install_the_program_of_2013(pytestconfig):
    found = list(texts(pytestconfig.rootpath))
    assert len(found) > 150
    assert {name: BY_NAME.findall(commands(text)) for name, text in found
            if BY_NAME.search(commands(text))} == {}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "pip install statelessd",
        'run pip install "statelessd[otel]"',
        "pip install --upgrade 'statelessd[compression,otel]>=1.0' brotli",
        "`pip3 install statelessd==1.0.0`",
        "pip install \\\n    --constraint constraints.txt statelessd",
        "/opt/statelessd/bin/pip install statelessd.",
        "pipx install statelessd",
        "uv pip install statelessd",
        '"libraries: pip install "\n    "statelessd[compression]"',
    ],
)
def test_a_command_that_takes_the_name_is_found(command):
    assert BY_NAME.search(commands(command))


@pytest.mark.parametrize(
    "command",
    [
        "pip install '.[otel]'",
        "/opt/statelessd/bin/pip install --constraint constraints.txt '.[compression]'",
        "pip install dist/statelessd-1.0.0-py3-none-any.whl",
        "pip install 'dist/statelessd-1.0.0-py3-none-any.whl[otel]'",
        'pip install "statelessd[otel] @ file:///tmp/statelessd-1.0.0-py3-none-any.whl"',
        "pip install --no-index --find-links /wheels 'statelessd[compression]'",
        "pip install -r requirements.txt\nstatelessd --check-config",
    ],
)
def test_a_command_that_takes_a_checkout_or_a_file_is_not(command):
    assert not BY_NAME.search(commands(command))


def pinned(root):
    """Return the version of each package in constraints.txt, by its normalized name."""
    lines = (root / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {normalized(name): version for name, version in pairs}


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_hashed_requirements_have_the_versions_that_are_tested(pytestconfig):
    tested = pinned(pytestconfig.rootpath)
    for extra in ("", *pins.EXTRAS):
        for name, (first, *hashes) in pins.read(pins.path(extra)).items():
            assert first.split()[0].partition("==")[2] == tested[name], "make hashes"
            assert len(hashes) > 0
            assert all(
                re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", each) for each in hashes
            )


def test_the_hashed_requirements_have_what_the_project_names(pytestconfig):
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == set(pins.EXTRAS)
    for extra, needed in {"": project["dependencies"], **extras}.items():
        names = {normalized(re.match(r"[\w.-]+", each)[0]) for each in needed}
        assert names <= set(pins.read(pins.path(extra))), "make hashes"


def test_no_requirements_name_a_package_index(pytestconfig):
    for file in pytestconfig.rootpath.glob("requirements*.txt"):
        assert not re.search(r"https?:|index-url|find-links", file.read_text()), file


@pytest.mark.parametrize(
    ("name", "expression", "licence"),
    [
        ("new", "MIT", "MIT"),
        ("new", "(MIT OR Apache-2.0) AND PSF-2.0", "(MIT OR Apache-2.0) AND PSF-2.0"),
        ("jinja2", "", "BSD-3-Clause"),
    ],
)
def test_a_known_licence(name, expression, licence):
    assert licences.licence_of(name, expression) == licence


@pytest.mark.parametrize("expression", ["", "UNKNOWN", "GPL-3.0-only", "MIT AND Other"])
def test_an_unknown_licence_fails_by_the_name_of_the_package(expression):
    with pytest.raises(licences.LicenceError, match="new"):
        licences.licence_of("new", expression)
