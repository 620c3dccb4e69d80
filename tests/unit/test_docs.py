"""What the documents and comments refer to exists: links, anchors and file names."""

import json
import re
import subprocess
import sys

import pytest
from stable import NAMES

from statelessd.message import TABLE, Outcome

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


def table_of(page, first):
    """Return the first cells of the table whose heading begins with this name."""
    rows = page.split(f"\n| {first} |")[1].split("\n\n")[0].splitlines()[2:]
    return [row.split(" | ")[0].removeprefix("| ") for row in rows]


def test_the_page_of_the_command_has_each_option(pytestconfig):
    page = (pytestconfig.rootpath / "docs/reference/command-line.md").read_text()
    command = [sys.executable, "-m", "statelessd", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
    listed = set(names.findall(" ".join(table_of(page, "option"))))
    assert listed == set(names.findall(text.split("options:")[1].split("\n\n")[0])) - {"-"}
    assert table_of(page, "status") == ["0", "1", "2"]


def test_the_page_of_http_has_the_table_of_outcomes(pytestconfig):
    """Each answer is there with its status, type, outcome and whether to try again."""
    page = (pytestconfig.rootpath / "docs/reference/http.md").read_text()
    rows = {
        tuple(cell.strip() for cell in row.strip("|").split("|")[1:])
        for row in page.split("| what happened |")[1].split("\n\n")[0].splitlines()[2:]
    }
    for outcome, row in TABLE.items():
        published = "unknown" if row.unknown else "not-published"
        if outcome is Outcome.INTERNAL_ERROR:
            published = "it says which"
        told = ("204", "", "", "")
        if outcome is not Outcome.CONFIRMED:
            told = (
                str(row.status),
                f"`{row.type or outcome.value}`",
                published,
                "yes" if row.retryable else "no",
            )
        assert told in rows
        rows.discard(told)
    assert rows == set()


def test_the_page_of_stats_shows_each_key(pytestconfig):
    page = (pytestconfig.rootpath / "docs/reference/stats.md").read_text()
    shown = json.loads(page.split("/stats\n")[1].split("```")[0])
    other = {"test:guest": "*", "response.204": "response.*", "method.POST": "method.*"}

    def keys(document, path=""):
        for name, value in document.items():
            here = f"{path}{other.get(name, name)}"
            if isinstance(value, dict):
                yield from keys(value, f"{here}.")
            else:
                yield here

    assert sorted(keys(shown)) == NAMES["keys of /stats"]


def test_the_page_of_the_log_has_each_member(pytestconfig):
    page = (pytestconfig.rootpath / "docs/reference/logs.md").read_text()
    listed = set(re.findall(r"`(\w+)`", " ".join(table_of(page, "member"))))
    assert listed - {"exception"} == set(NAMES["members of a JSON log line"])
