import contextlib
import datetime as dt
import io
import json
import logging
import socket
import time

import pytest
import yaml

from statelessd.config.settings import Application, Config
from statelessd.process import logs


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """Undo what is done to the loggers, and to pytest's own handlers, of the whole process."""
    names = (None, "statelessd", "asyncio", "starlette", "pika", "tinman")
    loggers = [logging.getLogger(name) for name in names]
    before = [(each, {**vars(each), "handlers": [*each.handlers]}) for each in loggers]
    filters = [(handler, [*handler.filters]) for each in loggers for handler in each.handlers]
    raising = logging.raiseExceptions
    yield
    logging.raiseExceptions = raising
    for handler, before_test in filters:
        handler.filters[:] = before_test
        vars(handler).pop("emit", None)
    for each, state in before:
        for handler in {*each.handlers} - {*state["handlers"]}:
            handler.close()
        vars(each).update(state)
    logging.getLogger("statelessd").setLevel(before[1][1]["level"])  # forgets what was cached


@pytest.fixture
def original(pytestconfig):
    text = (pytestconfig.rootpath / "examples" / "original.yaml").read_text()
    return yaml.safe_load(text)["Logging"]


@pytest.fixture
def syslog(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "log"))
        listener.settimeout(5)
        yield listener


def section(**changes):
    base = {
        "version": 1,
        "formatters": {"plain": {"format": "%(levelname)s %(name)s %(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {"statelessd": {"level": "INFO", "handlers": ["console"]}},
    }
    return base | changes


def with_handlers(**handlers):
    """Return a section with these beside the console."""
    handlers |= section()["handlers"]
    loggers = {"statelessd": {"level": "INFO", "handlers": list(handlers)}}
    return section(handlers=handlers, loggers=loggers)


def config(settings, *, debug=False, form="auto"):
    return Config(logging=settings, application=Application(debug=debug, log=form))


def logged(settings, *, name="statelessd.x", level=logging.INFO, text="hello", error=None, **how):
    """Return what one record writes to standard error."""
    stderr = io.StringIO()
    foreground = how.pop("foreground", True)
    with contextlib.redirect_stderr(stderr):
        logs.configure(config(settings, **how), foreground=foreground)
        logging.getLogger(name).log(level, text, exc_info=error, extra={"request_id": "r"})
    return stderr.getvalue()


def test_the_originals_section_works_with_its_format(original):
    text = logged(original)
    assert "INFO       " in text  # its format has "%(levelname) -10s"
    assert text.count("hello") == 1


def test_a_missing_syslog_socket_is_a_warning(original, tmp_path):
    original["handlers"]["syslog"]["address"] = str(tmp_path / "missing")
    text = logged(original)
    assert "the log handler 'syslog' is not used" in text
    assert "No such file" in text
    assert "Traceback" not in text


def test_a_syslog_socket_that_is_there_is_used(original, syslog):
    original["handlers"]["syslog"]["address"] = syslog.getsockname()
    logged(original)
    assert b"hello" in syslog.recv(4096)


def test_a_directory_that_is_missing_is_a_warning(tmp_path):
    file = {"class": "logging.FileHandler", "filename": str(tmp_path / "no" / "x.log")}
    text = logged(with_handlers(file=file))
    assert "the log handler 'file' is not used" in text
    assert "INFO statelessd.x hello" in text


@pytest.mark.parametrize(
    ("debug", "foreground", "used"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_debug_only_handlers_need_the_foreground_and_debug(debug, foreground, used):
    settings = section()
    settings["handlers"]["console"]["debug_only"] = True
    text = logged(settings, debug=debug, foreground=foreground)
    assert ("INFO statelessd.x hello" in text) is used


def test_disable_existing_loggers_silences_neither_us_nor_our_libraries(original):
    existing = [
        logging.getLogger(f"{n}.there.before") for n in ("statelessd", "asyncio", "starlette")
    ]
    assert original["disable_existing_loggers"] is True
    logged(original)
    assert not any(each.disabled for each in existing)


def test_what_libraries_warn_of_goes_where_our_records_go_but_not_their_chatter(original):
    text = logged(original, name="asyncio.x", level=logging.WARNING)
    assert text.count("hello") == 1
    assert "asyncio.x" in text
    assert "hello" not in logged(original, name="asyncio.x", level=logging.INFO)


def test_debug_lowers_our_level():
    assert "hello" not in logged(section(), level=logging.DEBUG)
    assert "hello" in logged(section(), level=logging.DEBUG, debug=True)


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
@pytest.mark.parametrize("use", [logs.configure, logs.check])
def test_a_section_that_is_wrong_is_told(settings, use):
    with pytest.raises(logs.LoggingError):
        use(config(settings), foreground=True)


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
    told = logged(section(), error=ValueError(text))
    assert told.endswith(f"ValueError: {shown}\n")


NASTY = "a\x1b[2J\x9b1m\r\n2026 ERROR x\u202ey\u2028\x00"


def test_what_a_terminal_would_obey_is_written_as_an_escape():
    text = logged(section(), text=NASTY)
    assert text == r"INFO statelessd.x a\x1b[2J\x9b1m\r\n2026 ERROR x\u202ey\u2028\x00" + "\n"


def test_so_it_is_in_json_where_a_parser_gives_line_ends_back():
    line = logged(None, form="json", text=NASTY)
    assert line.rstrip("\n").isprintable()
    message = json.loads(line)["message"]
    assert message == "a\\x1b[2J\\x9b1m\\r\n2026 ERROR x\\u202ey\\u2028\\x00"


def test_a_traceback_cannot_look_like_a_line_of_the_log():
    first, *others = logged(section(), error=ValueError(NASTY)).split("\n")
    assert first == "INFO statelessd.x hello"
    assert all(line.startswith("    ") and line.isprintable() for line in others[:-1])
    assert others[-1] == ""


def test_what_was_added_to_a_record_is_printable_where_a_format_has_it():
    settings = section(formatters={"plain": {"format": "%(message)s %(request_id)s"}})
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        logs.configure(config(settings), foreground=True)
        logging.getLogger("statelessd.x").info("hello", extra={"request_id": NASTY})
    assert stderr.getvalue().count("\n") == 1
    assert stderr.getvalue().rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "text",
    ["://a:" * 20_000, "@ " + "://a:" * 20_000, "\x1b" * 100_000, "a\n" * 50_000, "@" * 10**5],
)
def test_a_long_text_takes_little_time_and_is_cut(text):
    began = time.process_time()
    written = logged(section(), text=text)
    assert time.process_time() - began < 0.5
    assert len(written) < 100_000


class Flooded:
    """A log with bounded lines, and the time in which they are written."""

    def __init__(self, settings=None, **how):
        self.now = 0.0
        self._stderr = io.StringIO()
        with contextlib.redirect_stderr(self._stderr):
            logs.configure(config(settings or section(), **how), foreground=True)
        logs.bound_lines(lambda: self.now)

    def lines(self):
        return self._stderr.getvalue().splitlines()

    def later(self):
        self.now += 10
        logs.write_left_out()
        return self.lines()[-1]


class TestFlood:
    def test_lines_of_one_kind_are_counted_whatever_they_name(self):
        log = Flooded()
        logger = logging.getLogger("statelessd.x")
        for number in range(5000):
            logger.warning("the broker closed %d", number)
        assert len(log.lines()) == 20
        logger.warning("the broker is back")
        assert log.lines()[-1].endswith("the broker is back")
        assert log.later().endswith(
            "the broker closed 4999 (and 4,979 more like it in the last 10 s)"
        )

    def test_so_are_tracebacks(self):
        log = Flooded()
        for number in range(100):
            error = ValueError(number)
            logging.getLogger("statelessd.x").error("it failed", exc_info=error)
        assert sum("it failed" in line for line in log.lines()) == 20
        assert log.later().endswith("ValueError: 99")

    def test_so_are_the_libraries_whose_texts_all_differ(self):
        log = Flooded(None)
        for number in range(100):
            logging.getLogger("asyncio").error("transport at " + hex(number))  # noqa: G003 - as it does
        assert len(log.lines()) == 20
        assert "(and 79 more like it" in log.later()

    def test_the_access_log_and_debug_have_bounds_of_their_own(self):
        log = Flooded(debug=True)
        for _ in range(50):
            logging.getLogger("statelessd.access").info("request")
            logging.getLogger("statelessd.x").debug("detail")
        assert len(log.lines()) == 100

    def test_each_handler_has_its_own_count(self, tmp_path):
        file = tmp_path / "x.log"
        handler = {"class": "logging.FileHandler", "filename": str(file), "formatter": "plain"}
        log = Flooded(with_handlers(file=handler))
        for _ in range(30):
            logging.getLogger("statelessd.x").info("hello")
        log.later()
        for lines in (log.lines(), file.read_text().splitlines()):
            assert len(lines) == 21
            assert lines[-1].endswith("hello (and 9 more like it in the last 10 s)")

    def test_before_the_end_all_is_written(self):
        log = Flooded()
        for _ in range(30):
            logging.getLogger("statelessd.x").info("hello")
        logs.write_left_out(at_once=True)
        assert log.lines()[-1].endswith("(and 9 more like it in the last 0 s)")


class Raising(logging.Handler):
    def emit(self, record):
        raise PermissionError("may not reopen")


def test_a_handler_that_raises_does_not_reach_who_logs():
    text = logged(with_handlers(a={"()": Raising}))
    assert text == "INFO statelessd.x hello\n"


def test_a_check_writes_nothing(tmp_path):
    kept, missing = tmp_path / "kept.log", tmp_path / "new.log"
    kept.write_text("precious")
    checked = with_handlers(
        a={"class": "logging.FileHandler", "filename": str(kept), "mode": "w"},
        b={"class": "logging.handlers.WatchedFileHandler", "filename": str(missing)},
        c={"class": "logging.FileHandler", "filename": str(tmp_path / "no" / "x.log")},
    )
    [warning] = logs.check(config(checked), foreground=True)
    assert "'c' is not used" in warning
    assert kept.read_text() == "precious"
    assert not missing.exists()


class TestReadyMade:
    def test_lines_go_to_standard_error(self):
        assert "INFO" in logged(None)
        assert "hello" not in logged(None, name="asyncio.x")

    def test_a_section_rules_instead(self):
        assert logged(section(), form="json") == "INFO statelessd.x hello\n"

    def test_json_is_an_object_in_each_line_with_what_was_added_and_no_secrets(self):
        text = "two\nlines “quoted”"
        error = ValueError("amqp://guest:hush@broker/")
        [line] = logged(None, text=text, form="json", error=error).splitlines()
        document = json.loads(line)
        assert document["message"] == text
        assert (document["level"], document["logger"]) == ("INFO", "statelessd.x")
        assert dt.datetime.fromisoformat(document["time"]).tzinfo is not None
        assert document["request_id"] == "r"
        assert "ValueError" in document["exception"]
        assert "hush" not in line

    def test_syslog_says_so_when_there_is_none(self, monkeypatch):
        monkeypatch.setattr(logs, "SYSLOG_SOCKET", "/nowhere/log")
        for use in (logs.configure, logs.check):
            with pytest.raises(logs.LoggingError, match="no syslog"):
                use(config(None, form="syslog"), foreground=True)
        assert logs.check(config(None), foreground=True) == []

    def test_syslog_gets_the_records(self, syslog, monkeypatch):
        monkeypatch.setattr(logs, "SYSLOG_SOCKET", syslog.getsockname())
        assert logged(None, form="syslog") == ""
        assert b"INFO statelessd.x: hello" in syslog.recv(65536)
