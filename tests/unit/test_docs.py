"""The documents' links and file names exist, and the architecture names what a request enters."""

import re
import subprocess
import sys

import pytest

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MODULE = re.compile(r"`((?:amqp|http1|broker|gateway|pages|telemetry|config|tls|process)/\w+\.py)`")


def documents(root):
    """Return every Markdown file of the project, without what was installed or built."""
    hidden = {".venv", ".run", "node_modules"}
    return [p for p in root.rglob("*.md") if not hidden & set(p.relative_to(root).parts)]


def anchors(path):
    """Return the anchors of a document's headings, as its host makes them."""
    words = [re.sub(r"[^\w\- ]", "", h.lower()) for h in HEADING.findall(path.read_text())]
    return {each.strip().replace(" ", "-") for each in words}


def broken_links(path):
    """Yield each relative link of a document that leads nowhere."""
    for link in LINK.findall(FENCED.sub("", path.read_text())):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"{path.name}: {link}"


def test_links_lead_somewhere(pytestconfig):
    found = documents(pytestconfig.rootpath)
    assert len(found) > 20
    assert [link for path in found for link in broken_links(path)] == []


@pytest.mark.parametrize("link", ["missing.md", "a.md#nowhere", "#nowhere"])
def test_a_broken_link_is_found(tmp_path, link):
    document = tmp_path / "a.md"
    document.write_text(f"# A title, here\n[good](#a-title-here) [bad]({link})\n")
    assert list(broken_links(document)) == [f"a.md: {link}"]


def test_files_that_documents_name_exist(pytestconfig):
    root = pytestconfig.rootpath
    names = {name for path in documents(root) for name in MODULE.findall(path.read_text())}
    assert [name for name in sorted(names) if not (root / "src/statelessd" / name).exists()] == []


def test_the_architecture_names_the_files_that_a_request_enters(pytestconfig):
    root = pytestconfig.rootpath
    command = [sys.executable, root / "scripts" / "trip.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    entered = set(re.findall(r"\S+\.py", printed))
    assert entered
    text = (root / "docs" / "architecture.md").read_text()
    assert [name for name in sorted(entered) if f"`{name}`" not in text] == []
