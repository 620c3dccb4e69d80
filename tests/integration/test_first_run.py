"""README's and the tutorial's commands, in a copy of the checkout, as a user types them."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pika
import pytest
from gateway import free_port
from queues import channel_to
from waiting import wait_until

import broker as broker_script

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy whose environment is the tests' own: another file is about how it is made."""
    copy = tmp_path_factory.mktemp("first") / "statelessd"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("scripts", "src"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "requirements-dev.txt"):
        shutil.copy2(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(Path(sys.prefix))
    return copy


@pytest.fixture(scope="module")
def make(checkout):
    """Runs make with these words."""

    def make(*words, seconds=100, **variables):
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            # Whatever the times of the files are: make must not renew the tests' environment.
            ["make", "--no-print-directory", "--old-file=.venv/.runtime", *words],
            cwd=checkout, env=keep | variables, capture_output=True, text=True, timeout=seconds,
            check=False,
        )  # fmt: skip

    return make


def commands_of(text):
    """Return the commands of a page's consoles, each with the output that is shown below it."""
    consoles = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    each = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
    return [found for console in consoles for found in each.findall(console)]


@pytest.fixture(scope="module")
def running(checkout, tmp_path_factory):
    """``make run`` on a port of its own: the port, and the file with what it prints."""
    port = free_port()
    log = tmp_path_factory.mktemp("run") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "--old-file=.venv/.runtime", "run", f"PORT={port}"],
            cwd=checkout, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(
            lambda: "Ctrl-C ends" in log.read_text() or process.poll() is not None,
            what="make run's hint", seconds=150,
        )  # fmt: skip
        assert process.poll() is None, log.read_text()
        yield port, log
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
        process.wait(100)
    broker = broker_script.Broker(checkout / ".run" / "broker")
    assert not broker.running
    assert not broker.epmd_runs


VARIES = [
    (r"date: .*", "date: some day"),
    (r"(request[-_]id[: \"]+)[0-9a-f]{12}-[0-9a-f]+", r"\1its-id"),
    (r"content-length: \d+", "content-length: N"),
    (r"runs on port \d+", "runs on port N"),
]


def as_shown(text):
    """Return an output without what differs each time, and without its line breaks."""
    for varying, same in VARIES:
        text = re.sub(varying, same, text)
    return "".join(text.split())


def run_as_shown(command, output, port, checkout, make):
    """Run a command of a page, for the port in use. It has to print what the page shows."""
    if command.startswith("make "):
        done = make(*command.split()[1:], seconds=250)
    else:
        done = subprocess.run(
            command.replace("localhost:8000", f"localhost:{port}"),
            shell=True, cwd=checkout, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert as_shown(done.stdout) == as_shown(output), command


def save(program, name, port, checkout):
    """Write a program of a page to a file, for the port in use."""
    (checkout / name).write_text(program.replace("localhost:8000", f"localhost:{port}"))


def test_the_commands_of_readme_work_as_it_shows(running, checkout, make):
    port, log = running
    (clone, _), (run, hint), *others = commands_of(README)
    assert clone.startswith("git clone ")
    assert run == "make run"
    assert as_shown(hint.replace("…", "").replace(":8000", f":{port}")) in as_shown(log.read_text())
    (curl, _), (read, _), _ = others
    for command in (curl, read):  # make run suggests what README shows
        assert command.replace(":8000", f":{port}") in log.read_text()
    assert f"http://localhost:{port}/ " in log.read_text()  # the dashboard
    for command, output in others:
        run_as_shown(command, output, port, checkout, make)
    assert make("read", "QUEUE=test").returncode != 0  # it was taken


def test_the_program_of_readme_works(running, checkout, make):
    port, _ = running
    (program,) = re.findall(r"^```php\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    save(program, "readme.php", port, checkout)
    run_as_shown("php readme.php", "RabbitMQ has the message.\n", port, checkout, make)
    assert make("read", "QUEUE=test").stdout.endswith('\n{"order":42}\n')


@pytest.fixture
def queue(running, checkout):
    """A channel to the virtual host / of make run's broker, whose queue test is empty."""
    with channel_to(broker_script.Broker(checkout / ".run" / "broker"), "/") as channel:
        channel.queue_purge("test")
        yield channel
        channel.queue_purge("test")


def test_properties_and_headers_are_printed(queue, make):
    headers = {"name": "Grüße", "list": [1, -2, None, True, {"a": "b"}], "day": 2**40}
    properties = pika.BasicProperties(
        content_type="application/json", priority=3, timestamp=1700000000, headers=headers
    )
    queue.basic_publish("test", "foo.bar", '{"größe": 1}\n'.encode(), properties)
    lines = make("read", "QUEUE=test").stdout.splitlines()
    assert lines[2:] == [
        "virtual host:     /",
        "exchange:         test",
        "routing key:      foo.bar",
        "content_type:     application/json",
        "priority:         3",
        "timestamp:        1700000000 (2023-11-14T22:13:20+00:00)",
        'header name:      "Grüße"',
        'header list:      [1, -2, null, true, {"a": "b"}]',
        f"header day:       {2**40}",
        "",
        '{"größe": 1}',
    ]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", "(the body is empty)"),
        (b"a\r\nb\n", "a\nb"),
        (b"\x00\xff A", "(4 bytes that are not text)\n00000000  00 ff 20 41" + " " * 38 + ".. A"),
        ("a\u202e\u009b".encode(), "a\\u202e\\x9b"),
        (b"\x1b]0;title\x07", "00000000  1b 5d 30 3b 74 69 74 6c 65 07" + " " * 20 + ".]0;title."),
        (b"x" * 300_000, "x" * 300_000),
    ],
    ids=["empty", "lines", "binary", "hidden", "escape", "frames"],
)
def test_a_body_does_nothing_to_the_terminal(queue, make, body, shown):
    queue.basic_publish("test", "foo", body)
    assert make("read", "QUEUE=test").stdout.endswith(f"{shown}\n")


def test_a_long_body_that_is_not_text_is_cut(queue, make):
    queue.basic_publish("test", "foo", b"\xff" * 5000)
    shown = make("read", "QUEUE=test").stdout
    assert "(5000 bytes that are not text; the first 4096 of them:)" in shown
    assert shown.splitlines()[-1].startswith("00000ff0  ff")


def test_a_message_that_is_not_printed_to_its_end_stays(queue, checkout):
    queue.basic_publish("", "test", b"a line\n" * 100_000)
    done = subprocess.run(
        "make --no-print-directory read QUEUE=test VHOST=/ | head -1",
        shell=True, cwd=checkout, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.count("\n") == 1
    assert "read.py: not all was printed, so the message stays" in done.stderr
    assert "Traceback" not in done.stderr
    wait_until(lambda: queue.queue_declare("test", passive=True).method.message_count == 1,
               what="the message back in the queue")  # fmt: skip


def test_keep_leaves_the_message(queue, make):
    for body in (b"first", b"second"):
        queue.basic_publish("", "test", body)
    for words in (["KEEP=1"], []):
        done = make("read", "QUEUE=test", "VHOST=/", *words)
        assert done.stdout.endswith("\nfirst\n")
        assert "; 1 more behind it" in done.stdout
    assert make("read", "QUEUE=test").stdout.endswith("\nsecond\n")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["QUEUE=test"], 1, 'the queue "test" is empty'),
        (["QUEUE=missing"], 2, 'there is no queue "missing" in the virtual host "test" or "/"'),
        (["QUEUE=test", "VHOST=missing"], 2, 'there is no queue "test"'),
        (["QUEUE=" + "x" * 256], 2, "at most 255 bytes"),
        (["AMQP_URL=amqp://guest:guest@127.0.0.1:1"], 2, "Connection refused"),
        (["AMQP_URL=https://127.0.0.1"], 2, "amqp://"),
    ],
    ids=["empty", "no-queue", "no-host", "long", "no-broker", "no-url"],
)
def test_it_says_why_there_is_no_message(queue, make, words, status, said):
    done = make("read", *words)
    assert f"Error {status}" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_in_use_is_named(running, make):
    port, _ = running
    done = make("run", f"PORT={port}")
    assert done.returncode != 0
    assert f"another program uses port {port}" in done.stderr


@pytest.mark.parametrize("port", ["eight", "0", "65536"])
def test_a_port_that_is_none_is_named(make, port):
    done = make("run", f"PORT={port}")
    assert f"PORT is '{port}'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_about_other_languages_shows_what_happens(running, checkout, make, queue):
    port, _ = running
    page = (ROOT / "docs/how-to/publish-from-other-languages.md").read_text()
    (program, said), (read, message) = commands_of(page)
    (checkout / "examples").exists() or (checkout / "examples").symlink_to(ROOT / "examples")
    url = f"STATELESSD_URL=http://localhost:{port}"
    run_as_shown(f"{url} {program}", said, port, checkout, make)
    run_as_shown(read, message, port, checkout, make)


def first_command(example):
    """Return the command that an example's first lines show for make run, without make read."""
    head = (ROOT / "examples" / example).read_text()[:900]
    line = re.search(r"^[#/\s]*(\S.*) && make read QUEUE=test$", head, re.MULTILINE)
    assert line, f"{example} does not show how to run it"
    return line[1]


@pytest.mark.parametrize(
    "example",
    [
        *("publish.sh", "publish_wget.sh", "publish.pl", "publish.mjs", "cron-job.sh"),
        *("publish_curl.php", "publish_multipart.php", "publish_stream.php", "publish_kept.php"),
        *("publish_requests.py", "publish_httpx.py", "celery_task.sh", "celery_task.py"),
    ],
)
def test_the_first_lines_of_an_example_work(running, checkout, make, queue, example):
    port, _ = running
    (checkout / "examples").exists() or (checkout / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        first_command(example).replace(".venv/bin/python", sys.executable),
        env=os.environ | {"STATELESSD_URL": f"http://localhost:{port}"},
        shell=True, cwd=checkout, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    read = make("read", "QUEUE=test")
    assert read.returncode == 0, done.stdout + done.stderr + read.stderr


def test_every_example_names_the_gateway():
    for example in sorted((ROOT / "examples").glob("*.*")):
        if example.name != "original.yaml":  # the gateway's own configuration
            head = example.read_text()[:1100]
            assert "STATELESSD_URL" in head, example.name
            assert "make run" in head, example.name


@pytest.mark.parametrize("script", ["celery_task.sh", "shovel.sh", "cron-job.sh"])
def test_a_script_without_arguments_shows_how_to_call_it(script):
    command = ["sh", ROOT / "examples" / script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert done.stderr.startswith("usage: ")
    assert script in done.stderr


@pytest.mark.timeout(600)  # it stops and starts RabbitMQ
def test_the_tutorial_works_as_it_shows(running, checkout, make):
    """Its commands, in their order. The message of each language is read."""
    port, log = running
    page = (ROOT / "docs/tutorial/first-message.md").read_text()
    programs = re.findall(r"as `(\S+)`[^`]*```\w+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in programs] == ["first.php", "first.py"]
    for name, program in programs:
        save(program, name, port, checkout)
    (run, hint), php, curl, python, read, *others = commands_of(page)
    assert run == "make run"
    for line in hint.replace("…", "").splitlines():
        assert line in log.read_text()
    for command, output in (php, read, curl, read, python, read):
        run_as_shown(command, output, port, checkout, make)
    try:
        for command, output in others:
            run_as_shown(command, output, port, checkout, make)
    finally:
        make("broker")
    assert make("read", "QUEUE=test").returncode != 0  # the 503 left nothing behind
