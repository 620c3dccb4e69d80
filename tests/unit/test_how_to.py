"""The settings that how-to guides show are settings, with values that the gateway takes."""

import re
import textwrap

from statelessd.config.loader import ConfigError, load

SECTION = re.compile(r"(?:Daemon|Application|HTTPServer):")
# What debug-503-504.md and tls.md tell a reader to look for in answers and in the log.
LOOKED_FOR = (
    "host does not answer",
    "did not accept the connection in time",
    "host name cannot be resolved",
    "did not complete the login in time",
    "Too many other logins are in progress",
    "did not confirm earlier messages in time",
    "The broker did not confirm the message in time.",
    "The broker did not confirm the message, although it confirmed later ones.",
    "The connection to the broker was lost: ",
    "restarting it",
    "the broker accepts publishes again",
    "from an authority that is not trusted",
    "for another name",
    "has expired",
    "does not speak TLS on that port",
    "wants a client certificate",
    "does not accept the gateway's certificate",
)
ELSEWHERE = "webhooks.md"  # its endpoints need files: tests/unit/config/test_webhooks.py


def configurations(root):
    """Yield the name of the page and the text, for each block and each file that a block writes."""
    for page in sorted((root / "docs/how-to").glob("*.md")):
        text = page.read_text()
        blocks = re.findall(r"^ *```yaml\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
        blocks += re.findall(
            r"statelessd\.yml << 'EOF'\n(.*?)^EOF$", text, re.MULTILINE | re.DOTALL
        )
        for block in map(textwrap.dedent, blocks):
            if SECTION.match(block) and page.name != ELSEWHERE:
                yield page.name, block


def test_each_configuration_can_be_loaded(pytestconfig, tmp_path):
    found = list(configurations(pytestconfig.rootpath))
    assert len(found) >= 15
    file = tmp_path / "statelessd.yml"
    for name, block in found:
        file.write_text(block)
        try:
            load(file, {})
        except ConfigError as error:
            lines = str(error).splitlines()
            # The certificates of the examples are not on this machine.
            wrong = [line for line in lines if "No such file or directory" not in line]
            assert (name, block, wrong) == (name, block, [])


def test_the_texts_to_look_for_are_those_of_the_gateway(pytestconfig):
    root = pytestconfig.rootpath
    names = ("debug-503-504.md", "tls.md")
    pages = "".join((root / "docs/how-to" / name).read_text() for name in names)
    code = "".join(path.read_text() for path in (root / "src/statelessd").rglob("*.py"))
    assert [text for text in LOOKED_FOR if text not in pages or text not in code] == []
