"""What the documents and comments refer to exists: links, anchors and file names."""

import re
import subprocess
import sys

import pytest

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?<![\w/])(?:docs|bench|deploy|examples|scripts|tests)/[\w/.-]+\.\w+\b")
MODULE = re.compile(r"`((?:amqp|http1|broker|gateway|pages|telemetry|config|tls|process)/\w+\.py)`")


def documents(root):
    """Return every Markdown file of the project."""
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("bench/*.md")])


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
    assert [link for path in found for link in broken_links(path)] == []


@pytest.mark.parametrize("link", ["missing.md", "a.md#nowhere", "#nowhere"])
def test_a_broken_link_is_found(tmp_path, link):
    document = tmp_path / "a.md"
    document.write_text(f"# A title, here\n[good](#a-title-here) [bad]({link})\n")
    assert list(broken_links(document)) == [f"a.md: {link}"]


def test_files_that_are_named_exist(pytestconfig):
    root = pytestconfig.rootpath
    code = [path for each in ("src", "scripts", "bench") for path in (root / each).rglob("*.py")]
    named = {
        root / name for path in documents(root) + code for name in FILE.findall(path.read_text())
    }
    for path in documents(root):
        named |= {root / "src/statelessd" / name for name in MODULE.findall(path.read_text())}
    assert [path for path in sorted(named) if not path.exists()] == []


def test_the_architecture_names_the_files_that_a_request_enters(pytestconfig):
    root = pytestconfig.rootpath
    command = [sys.executable, root / "scripts/trip.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text = (root / "docs/explanation/architecture.md").read_text()
    assert [name for name in re.findall(r"\S+\.py", printed) if f"`{name}`" not in text] == []
