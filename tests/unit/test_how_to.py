"""The settings that how-to guides show are settings, with values that the gateway takes."""

import re
import textwrap

from statelessd.config.loader import ConfigError, load

SECTION = re.compile(r"(?:Daemon|Application|HTTPServer):")
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
