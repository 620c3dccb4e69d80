"""The sample for production in deploy/: safe, and with the defaults that the program has."""

import re

import msgspec
import pytest
import yaml

from statelessd.config.exposure import exposure
from statelessd.config.loader import leaves, load
from statelessd.config.report import print_config
from statelessd.config.settings import SECTIONS, Config

DECLARED = {
    path: (hint, default)
    for section, (_, cls) in SECTIONS.items()
    for path, hint, default in leaves(cls, section)
}
SETTING = re.compile(r"^( *)#(?=[a-z_]+: )", re.MULTILINE)


@pytest.fixture(scope="module")
def sample(pytestconfig):
    return pytestconfig.rootpath / "deploy" / "statelessd.yml"


def settings_of(section, path):
    """Yield the key path and the value of each setting in a section of YAML."""
    for name, value in (section or {}).items():
        here = f"{path}.{name}" if path else name
        if isinstance(value, dict) or value is None:
            yield from settings_of(value, here)
        else:
            yield here, value


def commented_out(text):
    """Yield the key path, value and comment of each setting that is a comment."""
    lines = text.splitlines()
    given = dict(settings_of(yaml.safe_load(text), ""))
    written = [settings_of(yaml.safe_load(SETTING.sub(r"\1", text)), "")]
    comments = [lines[i - 1].strip() for i, line in enumerate(lines) if SETTING.match(line)]
    offered = [(path, value) for path, value in written.pop() if path not in given]
    assert len(offered) == len(comments)
    for (path, value), comment in zip(offered, comments, strict=True):
        yield path, value, comment


def test_it_means_the_defaults_and_so_listens_on_loopback(sample):
    loaded = load(sample, {})
    assert loaded.config == Config()
    assert loaded.config.http_server.address == "127.0.0.1"
    assert loaded.warnings == []
    assert exposure(loaded.config.http_server) is None
    shown = [line for line in print_config(loaded).splitlines() if line.endswith("# file")]
    assert [line.split(":")[0].strip() for line in shown] == ["ports", "address"]


def test_what_it_offers_is_a_setting_with_its_default_or_an_example(sample):
    offered = list(commented_out(sample.read_text()))
    assert len(offered) > 15
    for path, value, comment in offered:
        assert re.fullmatch(r"# [A-Z].*[.a-z]", comment), f"{path} has no comment"
        hint, default = DECLARED[path]
        converted = msgspec.convert(value, hint)
        if "Example" in comment:
            assert converted != default, path
        else:
            assert converted == default, path


def test_the_loader_takes_each_setting_once_its_comment_sign_is_gone(sample, write):
    text = sample.read_text()
    for match in SETTING.finditer(text):
        line = text[match.end() :].partition("\n")[0]
        if not line.startswith(("certificate:", "key:", "ca:", "password:")):
            load(write(text[: match.start()] + match[1] + text[match.end() :]), {})


def test_the_unit_uses_its_path(sample):
    path = "/etc/statelessd.yml"
    assert sample.read_text().startswith(f"# {path}:")
    assert f" -c {path}\n" in (sample.parent / "statelessd.service").read_text()
