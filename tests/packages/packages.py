"""The built wheel and source distribution: what is in them, and that they install and publish.

``make test-packages`` builds them and runs this with each Python at hand. Installing takes
minutes, so this is not part of ``make test``: pytest finds it by its name only.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import brotli
import pytest
import pythons
import requests
from codings import zstd
from gateway import free_port
from pythons import ROOT
from queues import Queue, channel_to
from waiting import wait_until

import broker as broker_script
import pins

DIST = ROOT / "dist"
PURE, COMPILED = "*-none-any.whl", "*-linux_*.whl"
RELEASE = ROOT / ".run" / "release" / "bin" / "python"
NOT_PUBLISHED = {".ci/run"}
CURL = re.compile(r"^\$ (curl .*localhost:8000/test/.*)$", re.MULTILINE)
EXTRAS = "[compression,otel]"
# Every module, with what its extras bring, and with warnings as errors.
IMPORT_ALL = """
import importlib, pkgutil, statelessd
for module in pkgutil.walk_packages(statelessd.__path__, "statelessd."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(statelessd.__file__)
"""
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(error) if error else 0)
"""


def the_only(pattern):
    (file,) = DIST.glob(pattern)
    return file


def tracked(folder="."):
    """Return the files that git knows, and those that are new, below a folder."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def modules():
    """Return the modules that pyproject.toml lists to be compiled."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    return build["targets"]["wheel"]["hooks"]["custom"]["modules"]


def metadata():
    wheel = zipfile.ZipFile(the_only(PURE))
    (name,) = (each for each in wheel.namelist() if each.endswith("dist-info/METADATA"))
    return wheel.read(name).decode()


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    with broker_script.Broker(tmp_path_factory.mktemp("broker")) as started:
        yield started


class Installed:
    """A fresh virtual environment of a Python, away from the checkout."""

    def __init__(self, python, directory):
        self._python = python
        self._directory = directory
        self._files = directory / "files"
        self._files.mkdir()
        for file in (*DIST.glob("statelessd-*"), *DIST.glob("requirements*.txt")):
            (self._files / file.name).write_bytes(file.read_bytes())
        constraints = ROOT / "constraints.txt"
        (self._files / "constraints.txt").write_bytes(constraints.read_bytes())
        self._run(python.program, "-m", "venv", directory / "venv")

    def start(self, *arguments, stderr=subprocess.PIPE, **variables):
        """Start one of its programs, somewhere that is not the checkout."""
        return subprocess.Popen(
            self._python.command(self._directory, *arguments),
            env=self._python.environment(self._directory) | variables,
            cwd=self._directory,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def _run(self, *arguments, **variables):
        """Return what it prints, and fail with that if it fails."""
        process = self.start(*arguments, stderr=subprocess.STDOUT, **variables)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return said

    def program(self, name):
        return self._directory / "venv" / "bin" / name

    def pip(self, *arguments, **variables):
        """Let pip install these; names of files are of those in dist/."""
        given = [
            self._files / each if (self._files / each).exists() else each for each in arguments
        ]
        pip = (self.program("python"), "-m", "pip", "--disable-pip-version-check")
        self._run(*pip, "install", "--quiet", *given, **variables)

    def file(self, name):
        return self._files / name

    def form(self):
        """Return the form of the package that ``--version`` shows."""
        return re.search(r"\((.*)\)$", self._run(self.program("statelessd"), "--version"))[1]

    def imports_all(self):
        """Import every module with warnings as errors, and return where the package is."""
        return self._run(self.program("python"), "-W", "error", "-c", IMPORT_ALL).splitlines()[-1]

    def serves(self, broker, *command, **variables):
        return Serving(self, broker, command, variables)


class Serving:
    """A gateway of an environment, until the end of the block; it has to end in order."""

    def __init__(self, installed, broker, command, variables):
        self.port = free_port()
        self._process = installed.start(
            *command,
            stderr=subprocess.STDOUT,
            STATELESSD_HTTPSERVER_PORTS=str(self.port),
            STATELESSD_APPLICATION_RABBITMQ_HOST=broker.host,
            STATELESSD_APPLICATION_RABBITMQ_PORT=str(broker.amqp_port),
            STATELESSD_APPLICATION_PUBLISH_TIMEOUT="60",  # for a busy machine
            **variables,
        )

    def _answers(self):
        assert self._process.poll() is None, self._process.stdout.read()
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=30).ok
        except requests.ConnectionError:
            return False

    def __enter__(self):
        try:
            wait_until(self._answers, what="the gateway to answer")
        except BaseException:
            self._process.kill()
            self._process.communicate()
            raise
        return self

    def __exit__(self, kind, *_):
        self._process.terminate()
        said, _ = self._process.communicate(timeout=60)
        if kind is None:
            assert self._process.returncode == 0, said
            assert "Traceback" not in said


@pytest.fixture(params=pythons.at_hand().items(), ids=lambda each: each[0])
def installed(request, tmp_path):
    _version, python = request.param
    return Installed(python, tmp_path)


@pytest.fixture
def queue(broker):
    with channel_to(broker) as channel:
        channel.queue_purge("test")
        yield Queue(channel)


def curl_of_the_readme(port):
    """Run the README's first command, with the port of a gateway, and return what it prints."""
    line = CURL.search((ROOT / "README.md").read_text())[1].replace(":8000", f":{port}")
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout


def publish_compressed(port, coding, body):
    return requests.post(
        f"http://127.0.0.1:{port}/test/test/foo",
        data=body,
        auth=("guest", "guest"),
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Encoding": coding,
        },
        timeout=60,
    ).status_code


def test_the_wheel_installs_with_hashes_and_publishes(installed, broker, queue):
    hashed = ("--require-hashes", "--only-binary=:all:")
    installed.pip(*hashed, "-r", "requirements.txt")
    wheel = the_only(PURE).name
    installed.pip("--no-index", "--no-deps", wheel)
    assert installed.form() == "pure Python"
    with installed.serves(broker, installed.program("statelessd")) as gateway:
        assert curl_of_the_readme(gateway.port).startswith("HTTP/1.1 204 ")
        assert publish_compressed(gateway.port, "br", brotli.compress(b"body=br")) == 415
        assert requests.get(f"http://127.0.0.1:{gateway.port}/", timeout=60).status_code == 200
    assert queue.bodies() == [b"hi"]
    installed.pip(*hashed, "-r", "requirements-compression.txt", "-r", "requirements-otel.txt")
    assert installed.imports_all().startswith(str(installed.program("python").parent.parent))
    traced = {"STATELESSD_APPLICATION_TRACING_ENABLED": "true"}
    with installed.serves(broker, installed.program("statelessd"), **traced) as gateway:
        assert publish_compressed(gateway.port, "br", brotli.compress(b"body=br")) == 204
        assert publish_compressed(gateway.port, "zstd", zstd.compress(b"body=zstd")) == 204
    assert queue.bodies() == [b"br", b"zstd"]


def test_the_source_distribution_installs_with_its_extras_and_publishes(installed, broker, queue):
    source = installed.file(the_only("*.tar.gz").name)
    installed.pip("--constraint", "constraints.txt", f"statelessd{EXTRAS} @ file://{source}")
    assert installed.imports_all().startswith(str(installed.program("python").parent.parent))
    as_module = (installed.program("python"), "-W", "error", "-m", "statelessd")
    with installed.serves(broker, *as_module) as gateway:
        assert curl_of_the_readme(gateway.port).startswith("HTTP/1.1 204 ")
    assert queue.bodies() == [b"hi"]


def test_the_source_distribution_is_compiled_where_it_is_asked_for(installed, broker, queue):
    source = installed.file(the_only("*.tar.gz").name)
    wanted = ("--constraint", "constraints.txt", f"statelessd{EXTRAS} @ file://{source}")
    installed.pip(*wanted, HATCH_BUILD_HOOKS_ENABLE="1")
    assert installed.form() == "compiled"
    assert installed.imports_all().startswith(str(installed.program("python").parent.parent))
    with installed.serves(broker, installed.program("statelessd")) as gateway:
        assert curl_of_the_readme(gateway.port).startswith("HTTP/1.1 204 ")
        shown = requests.get(f"http://127.0.0.1:{gateway.port}/stats", timeout=60).json()
        assert shown["form"] == "compiled"
    assert queue.bodies() == [b"hi"]


def test_the_compiled_wheel_installs_and_goes_without_a_trace(tmp_path, broker, queue):
    running = "{}.{}".format(*sys.version_info)
    installed = Installed(pythons.at_hand()[running], tmp_path)
    installed.pip("--require-hashes", "-r", "requirements.txt")
    installed.pip("--no-index", "--no-deps", the_only(COMPILED).name)
    assert installed.form() == "compiled"
    with installed.serves(broker, installed.program("statelessd")) as gateway:
        assert curl_of_the_readme(gateway.port).startswith("HTTP/1.1 204 ")
    assert queue.bodies() == [b"hi"]
    installed.pip("--no-index", "--no-deps", "--force-reinstall", the_only(PURE).name)
    assert installed.form() == "pure Python"
    assert list((tmp_path / "venv").rglob("statelessd/**/*.so")) == []


def test_the_source_distribution_is_what_git_has():
    with tarfile.open(the_only("*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names - {"PKG-INFO"} == tracked() - NOT_PUBLISHED


def test_the_wheel_is_the_package_and_its_licence():
    names = set(zipfile.ZipFile(the_only(PURE)).namelist())
    package = {name for name in names if name.startswith("statelessd/")}
    assert package == {name.removeprefix("src/") for name in tracked("src")}
    compiled = set(zipfile.ZipFile(the_only(COMPILED)).namelist()) - names
    listed = {re.sub(r"\.cpython.*", "", name) for name in compiled if name.endswith(".so")}
    assert listed == {f"statelessd/{each}" for each in [*modules(), "compiled__mypyc"]}
    about = {name.partition(".dist-info/")[2] for name in names - package}
    assert about == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_metadata_is_sound_and_has_no_invented_address():
    files = (the_only(PURE), the_only(COMPILED), the_only("*.tar.gz"))
    check = [RELEASE, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    named = re.findall(r"^(?:Project-URL: [^,]+, |Home-page: )(.*)$", metadata(), re.MULTILINE)
    assert [
        each for each in named if not re.match(r"https://(?!.*example)[\w.-]+\.\w+", each)
    ] == []


def test_the_source_distribution_builds_the_same_files(tmp_path):
    with tarfile.open(the_only("*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    unset = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    build = [RELEASE, folder / "scripts" / "build.py"]
    done = subprocess.run(build, env=unset, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "dist/SHA256SUMS").read_text() == (DIST / "SHA256SUMS").read_text()


def test_the_sums_are_those_of_every_file():
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=DIST, check=True
    )
    named = {line.split()[1] for line in (DIST / "SHA256SUMS").read_text().splitlines()}
    built = {the_only(each).name for each in (PURE, COMPILED, "*.tar.gz")}
    assert built | {"sbom.cdx.json"} < named


def test_the_sbom_is_valid_and_names_what_is_pinned():
    done = subprocess.run(
        [RELEASE, "-c", VALIDATE, DIST / "sbom.cdx.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    components = json.loads((DIST / "sbom.cdx.json").read_text())["components"]
    named = {f"{each['name']}=={each['version']}": each for each in components}
    pinned = {
        re.split(r"[ \\]", lines[0])[0]: lines[1:]
        for extra in ("", *pins.EXTRAS)
        for lines in pins.read(pins.path(extra)).values()
    }
    assert named.keys() == pinned.keys()
    for name, component in named.items():
        assert component["purl"] == f"pkg:pypi/{name.replace('==', '@')}"
        assert len(component["hashes"]) == len(pinned[name])
        assert component["licenses"][0]["expression"]
    listed = (DIST / "licences.txt").read_text().splitlines()[1:]
    of_compiler = [line for line in listed if "[the compiled wheel]" in line]
    assert [line.split()[0] for line in of_compiler] == ["mypy"]
    others = {"==".join(line.split()[:2]) for line in listed if line not in of_compiler}
    assert others == pinned.keys()
