import contextlib
import datetime as dt
import io
import json
import logging
import socket

import pytest
import yaml

from statelessd.process import logs


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """dictConfig changes the whole process."""
    names = ["", "statelessd", "uvicorn", "asyncio", "starlette", "pika", "tinman"]
    before = {}
    for name in names:
        each = logging.getLogger(name)
        before[name] = (each.level, list(each.handlers), each.propagate, each.disabled)
    raising = logging.raiseExceptions
    yield
    logging.raiseExceptions = raising
    for name, (level, handlers, propagate, disabled) in before.items():
        each = logging.getLogger(name)
        for handler in each.handlers:
            if handler not in handlers:
                handler.close()
        each.setLevel(level)
        each.handlers[:] = handlers
        each.propagate, each.disabled = propagate, disabled


@pytest.fixture
def original(pytestconfig):
    text = (pytestconfig.rootpath / "examples" / "original.yaml").read_text()
    return yaml.safe_load(text)["Logging"]


def section(**changes):
    base = {
        "version": 1,
        "formatters": {"plain": {"format": "%(levelname)s %(name)s %(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {"statelessd": {"level": "INFO", "handlers": ["console"]}},
    }
    return base | changes


def logged(settings, *, name="statelessd.x", level=logging.INFO, text="hello", **options):
    """What one record writes to standard error."""
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        logs.configure(settings, **{"debug": False, "foreground": True} | options)
        logging.getLogger(name).log(level, text)
    return stderr.getvalue()


def test_the_originals_section_works_with_its_format(original):
    text = logged(original)
    assert "INFO       " in text  # its format has "%(levelname) -10s"
    assert "hello" in text
    assert text.count("hello") == 1


def test_a_missing_syslog_socket_is_a_warning(original, tmp_path):
    original["handlers"]["syslog"]["address"] = str(tmp_path / "missing")
    text = logged(original)
    assert "the log handler 'syslog' is left out" in text
    assert "No such file" in text
    assert "Traceback" not in text


def test_a_syslog_socket_that_is_there_is_used(original, tmp_path):
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(path)
        syslog.settimeout(5)
        original["handlers"]["syslog"]["address"] = path
        logged(original)
        assert b"hello" in syslog.recv(4096)


def test_a_directory_that_is_missing_is_a_warning(tmp_path):
    handlers = section()["handlers"] | {
        "file": {"class": "logging.FileHandler", "filename": str(tmp_path / "no" / "x.log")}
    }
    loggers = {"statelessd": {"level": "INFO", "handlers": ["file", "console"]}}
    text = logged(section(handlers=handlers, loggers=loggers))
    assert "the log handler 'file' is left out" in text
    assert "INFO statelessd.x hello" in text


@pytest.mark.parametrize(
    ("debug", "foreground", "used"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_debug_only_handlers_need_the_foreground_and_debug(debug, foreground, used):
    handlers = section()["handlers"]
    handlers["console"]["debug_only"] = True
    text = logged(section(handlers=handlers), debug=debug, foreground=foreground)
    assert ("INFO statelessd.x hello" in text) is used


def test_disable_existing_loggers_silences_neither_us_nor_our_libraries(original):
    existing = [
        logging.getLogger(f"{n}.there.before") for n in ("statelessd", "uvicorn", "asyncio")
    ]
    assert original["disable_existing_loggers"] is True
    logged(original)
    assert not any(each.disabled for each in existing)


def test_what_libraries_warn_of_goes_where_our_records_go(original):
    text = logged(original, name="uvicorn.error", level=logging.WARNING)
    assert text.count("hello") == 1
    assert "uvicorn.error" in text


def test_a_librarys_chatter_does_not(original):
    assert "hello" not in logged(original, name="uvicorn.error", level=logging.INFO)


def test_debug_lowers_our_level():
    assert "hello" not in logged(section(), level=logging.DEBUG)
    assert "hello" in logged(section(), level=logging.DEBUG, debug=True)


def test_without_a_section_lines_go_to_standard_error():
    assert "INFO" in logged(None)
    assert "hello" not in logged(None, name="uvicorn.error")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        section(version=2),
        section(handlers={"x": {"class": "no.such.Class"}}),
        section(handlers=[1]),
        section(handlers={"x": 1}),
        section(loggers={"statelessd": {"handlers": ["missing"]}}),
        section(formatters={"x": {"format": "%(", "validate": True}}),
    ],
)
def test_a_section_that_is_wrong_is_told(settings):
    with pytest.raises(logs.LoggingError):
        logs.configure(settings, debug=False, foreground=True)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to http://bob:secret@host/x", "to http://…@host/x"),
        ("to http://bob:se@cr:et@host/x", "to http://…@host/x"),
        ("Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=", "Authorization: Basic …"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer …"),
        ("http://host:8000/stats", "http://host:8000/stats"),
    ],
)
def test_credentials_are_redacted_should_one_ever_get_here(text, shown):
    assert f"INFO statelessd.x {shown}\n" in logged(section(), text=text)


def test_they_are_redacted_in_tracebacks_too():
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        logs.configure(section(), debug=False, foreground=True)
        error = ValueError("Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=")
        logging.getLogger("statelessd.x").error("it failed", exc_info=error)
    assert "ValueError: Authorization: Basic …\n" in stderr.getvalue()
    assert "Z3Vlc3Q6" not in stderr.getvalue()


def test_a_handler_that_raises_does_not_reach_who_logs(tmp_path):
    class Raising(logging.StreamHandler):
        def emit(self, record):
            raise PermissionError("may not reopen")

    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        logs.configure(section(), debug=False, foreground=True)
        raising = Raising()
        logs._contain(raising)
        logging.getLogger("statelessd").addHandler(raising)
        logging.getLogger("statelessd.x").info("hello")
        logging.getLogger("statelessd").removeHandler(raising)
    assert "INFO statelessd.x hello" in stderr.getvalue()


def test_a_check_writes_nothing(tmp_path):
    kept, missing = tmp_path / "kept.log", tmp_path / "new.log"
    kept.write_text("precious")
    handlers = {
        "a": {"class": "logging.FileHandler", "filename": str(kept), "mode": "w"},
        "b": {"class": "logging.handlers.WatchedFileHandler", "filename": str(missing)},
        "c": {"class": "logging.FileHandler", "filename": str(tmp_path / "no" / "x.log")},
    }
    loggers = {"statelessd": {"handlers": ["a", "b", "c"]}}
    checked = section(handlers=handlers, loggers=loggers)
    [warning] = logs.check(checked, debug=False, foreground=True)
    assert "'c' is left out" in warning
    assert kept.read_text() == "precious"
    assert not missing.exists()
    with pytest.raises(logs.LoggingError):
        logs.check({"version": 7}, debug=False, foreground=True)


class TestReadyMade:
    def test_a_section_rules_instead(self):
        assert logged(section(), form="json") == "INFO statelessd.x hello\n"

    def test_json_is_an_object_in_each_line(self):
        lines = logged(None, text="two\nlines “quoted”", form="json").splitlines()
        [line] = lines
        document = json.loads(line)
        assert document["message"] == "two\nlines “quoted”"
        assert (document["level"], document["logger"]) == ("INFO", "statelessd.x")
        assert dt.datetime.fromisoformat(document["time"]).tzinfo is not None

    def test_json_has_what_was_added_and_the_traceback_without_secrets(self):
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr):
            logs.configure(None, debug=False, foreground=True, form="json")
            try:
                int("amqp://guest:hush@broker/")
            except ValueError:
                logging.getLogger("statelessd.x").exception("failed", extra={"request_id": "r"})
        document = json.loads(stderr.getvalue())
        assert document["request_id"] == "r"
        assert "ValueError" in document["exception"]
        assert "hush" not in stderr.getvalue()

    def test_syslog_says_so_when_there_is_none(self, monkeypatch):
        monkeypatch.setattr(logs, "SYSLOG_SOCKET", "/nowhere/log")
        with pytest.raises(logs.LoggingError, match="no syslog"):
            logs.configure(None, debug=False, foreground=True, form="syslog")
        with pytest.raises(logs.LoggingError, match="no syslog"):
            logs.check(None, debug=False, foreground=True, form="syslog")
        assert logs.check(None, debug=False, foreground=True) == []

    def test_syslog_gets_the_records(self, tmp_path, monkeypatch):
        path = str(tmp_path / "log")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(path)
            listener.settimeout(5)
            monkeypatch.setattr(logs, "SYSLOG_SOCKET", path)
            assert logged(None, form="syslog") == ""
            assert b"INFO statelessd.x: hello" in listener.recv(65536)
