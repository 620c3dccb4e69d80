"""Files that are no configuration at all: too large, too deep, and YAML that goes too far."""

import os
import time

import pytest

from statelessd.config.document import MAX_BYTES, DocumentError, read

BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "statelessd.yml"


def refusal(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DocumentError) as error:
        read(path)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: \xff", "cannot be read: is not UTF-8"),
        ("a: 1".encode("utf-16"), "cannot be read: is not UTF-8"),
        (b"a: 1\nb: \x00\n", "not valid YAML at line 2: a control character"),
        ("a:\n\tb: 1", "at line 2, column 1: a tab; YAML is indented with spaces"),
        ("a: 1\n---\nb: 2", "a second document (---)"),
        ("a: [1, 2", "a bracket without its end"),
        ("a: 'x", "a quote without its end"),
        ("a: b: c", "a colon that is not expected here"),
        ("a: 1\nb\n", "a key without a colon after it"),
        ("a: @x", "text that begins with this character needs quotes"),
        ('a: "\\q"', "a backslash in double quotes"),
        ("a: |\n  x\n y", "wrong indentation"),
        ("? [a]\n: 1", "a key that is not a single value"),
        ("a: 1\nb: {c: 1, c: 2}", "at line 2, column 11: the key 'c' is given twice"),
        ("a: !!bool maybe", "not a valid bool"),
        ("a: !!int x", "not a valid int"),
        (f"a: {'9' * 5000}", "not a valid int"),
        ("&a [*a]", "an alias (*) that contains itself"),
        ("x" * (MAX_BYTES + 1), f"is larger than {MAX_BYTES} bytes"),
    ],
)
def test_what_is_refused(path, text, words):
    assert words in refusal(path, text)


# The password may be the reason why it is not YAML.
@pytest.mark.parametrize(
    "text", ["*hush", "!hush", "!!python/object:hush x", "!hush!x y", "'hush", "{hush", "@hush"]
)
def test_a_value_is_not_quoted(path, text):
    assert "hush" not in refusal(path, f"password: {text}")
    assert "hush" not in refusal(path, f"a: &hush 1\npassword: &hush {text}")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!binary", "!!set", "!own"])
def test_tags(path, tag):
    assert "tags are not supported; text that begins with ! needs" in refusal(path, f"a: {tag} x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "aliases (*) that expand to too much"),
        (MERGES, "aliases (*) that expand to too much"),
        (CHAIN, "more than 50 levels"),
        ("{a: " * 200 + "1" + "}" * 200, "more than 50 levels"),
        ("[" * 100_000, "more than 50 levels"),
        ("- " * 50_000, "more than 50 levels"),
        ("".join(f"k{i % 5000}: 1\n" for i in range(10_000)), "is given twice"),
    ],
)
def test_a_bomb_costs_little(path, text, words):
    start = time.process_time()
    assert words in refusal(path, text)
    assert time.process_time() - start < 20


def test_what_cannot_be_opened(tmp_path):
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "x", "No such file")):
        with pytest.raises(DocumentError, match=f"cannot be read: {words}"):
            read(path)


def test_a_pipe_is_a_file_too(path):
    reader, writer = os.pipe()
    try:
        os.write(writer, b"a: 1")
        os.close(writer)
        assert read(path.parent / f"/dev/fd/{reader}").value == {"a": 1}
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10:00", "10:00"),
        ("1:30.5", "1:30.5"),
        ("2026-11-27", "2026-11-27"),
        ("2026-13-45", "2026-13-45"),
        ("0660", 0o660),
        ("!!str 0660", "0660"),
        ("10_000", 10_000),
        ("0x10", 16),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("on", True),
        ("=", "="),
        ("~", None),
        ("[1, a]", [1, "a"]),
        ("&x [1]\nb: *x", [1]),
        ("{<<: {k: 1, l: 1}, k: 2}", {"k": 2, "l": 1}),
    ],
)
def test_values(path, text, value):
    for start in ("", "\ufeff", "%YAML 1.2\n---\n"):
        path.write_text(f"{start}a: {text}", encoding="utf-8")
        assert read(path).value["a"] == value


def test_a_scalar_as_it_is_written(path):
    path.write_text("a: {b: 0660, c: [1]}\n")
    document = read(path)
    assert document.written("a.b") == "0660"
    assert {document.written(each) for each in ("a.c", "a.x", "a.b.x", "x")} == {""}
