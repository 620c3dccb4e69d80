"""What scripts/prose.py finds in the texts of the project, and what it leaves alone."""

import importlib
import sys

import pytest

LONG = "Word " + "word " * 29 + "word."


@pytest.fixture(scope="module")
def prose(pytestconfig):
    sys.path.insert(0, str(pytestconfig.rootpath / "scripts"))
    try:
        yield importlib.import_module("prose")
    finally:
        sys.path.pop(0)


@pytest.fixture
def check(prose, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prose, "ROOT", tmp_path)

    def run(name, text):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setattr(sys, "argv", ["prose.py", str(path)])
        status = prose.main()
        shown = capsys.readouterr().out
        assert status == bool(shown)
        return [line.removeprefix(f"{name}: ") for line in shown.splitlines()]

    return run


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("X is no setting.", '"is no" (is not a)'),
        ("They are no networks.", '"are no" (is not a)'),
        ("There is no queue.", None),
        ("It is no longer open.", None),
        ("The log tells of each login.", '"tells of" (show, report)'),
        ("Tell the clients of it.", None),
        ("What it cannot publish it reports.", '"what it cannot" (name the noun)'),
        ("The client finds what can't be read.", '"what can\'t" (name the noun)'),
        ("Whoever runs it decides.", '"whoever" (the operator, the client)'),
        ("`is no` is a pattern.", None),
    ],
)
def test_patterns(prose, sentence, found):
    faults = list(prose.faults(sentence))
    assert faults == ([] if found is None else [f"{found}: {sentence}"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LONG, 31),
        (LONG.replace("word ", "", 1), None),
        ("Two sentences. " + LONG, 31),
        ("`a b c d e` " + "word " * 29, None),  # code is one word
        ("https://example.com/a " + "word " * 29, None),
        ("[one](a.md) " + "word " * 29, None),  # a link is its text
        ("[one two](a.md) " + "word " * 29, 31),
        ("word " * 20 + "\n- " + "word " * 20, None),  # an item of a list is its own
        ("word " * 20 + "\n1. " + "word " * 20, None),
        ("word " * 20 + "\n\n" + "word " * 20, None),
        ("word " * 20 + "\n" + "word " * 20, 40),
    ],
)
def test_long_sentences(prose, text, words):
    counts = [fault.partition(" words")[0] for fault in prose.faults(text)]
    assert counts == ([] if words is None else [str(words)])


FILES = {
    "a.md": (
        f"# {LONG}\n\n```\n{LONG}\n```\n\n| a | {'word ' * 20}| {'word ' * 20}|\n\n    {LONG}\n",
        f"{LONG}\n",
    ),
    "a.py": (
        f'"""Do it.\n\nSuch as:\n\n    {LONG}\n"""\n# {LONG}\nx = "word"\n',
        f'x = f"{LONG}"\n',
    ),
    "a.yaml": (
        f"expression: statelessd_x {LONG}\n# {'word ' * 20}\na: b\n# {'word ' * 20}\n",
        f"text: {LONG}\n",
    ),
    "a.yml": (f"# Such as:\n#\n#     {LONG}\n", f"# {LONG}\na: b\n"),
    "a.conf": (f"{LONG}\n", f"# {LONG}\n"),
    "a.html": (
        f"<p>{'word ' * 20}</p><p>{'word ' * 20}</p><script>{LONG}</script><code>{LONG}</code>",
        f"<p>{LONG.replace('Word', '<em>Word</em>', 1)}</p>",
    ),
    "a.js": (f"const x = y({', '.join(['word'] * 40)});\n// Short.\n", f"/** {LONG} */\n"),
    "b.js": ("const x = `${a} is not a setting`;\n", 'const x = "That is no setting.";\n'),
    "a.json": (f'{{"expr": "{LONG}"}}', f'{{"panels": [{{"description": "{LONG}"}}]}}'),
}


@pytest.mark.parametrize("name", FILES)
def test_the_texts_of_each_kind_of_file(check, name):
    good, bad = FILES[name]
    assert check(name, good) == []
    assert len(check(name, bad)) == 1


def test_an_exception_stays_as_it_is(prose, monkeypatch):
    monkeypatch.setattr(prose, "EXCEPTIONS", {"X is no setting.": "a reason"})
    assert list(prose.faults("X is no setting.")) == []
    assert len(list(prose.faults("Y is no setting."))) == 1


def test_each_exception_has_a_reason(prose):
    assert all(reason.strip() for reason in prose.EXCEPTIONS.values())


def test_all_kinds_of_files_are_found(prose):
    suffixes = {path.suffix for path in prose.files()}
    assert {".md", ".py", ".yaml", ".yml", ".html", ".js", ".json", ".conf"} <= suffixes
