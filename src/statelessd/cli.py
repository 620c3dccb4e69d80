"""The command ``statelessd``: from its arguments to a configuration, and to the supervisor."""

import argparse
import functools
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .config.exposure import exposure
from .config.hosts import hosts_of
from .config.loader import ConfigError, Loaded, load
from .config.machine import doubtful_here, wrong_here
from .config.report import print_config
from .config.secrets import redacted
from .config.settings import Config, HTTPServer, Listener
from .config.webhook_files import FileError, read_files
from .config.wording import Wrong
from .form import FORM
from .process import logs
from .process.daemon import DaemonError, PidFile, StartReport, check_user, detach, resume
from .process.limits import make_room
from .process.reexec import Former, Program
from .process.sockets import ListenError, activated, addresses, bind, close, name_of
from .process.supervisor import RunBackend, Supervisor
from .telemetry.scoreboard import Scoreboard
from .tls.client import Trust
from .tls.files import TlsError
from .tls.server import Certificate
from .version import __version__

OK, FAILED, USAGE = 0, 1, 2
WRITING_SECONDS = 10.0  # for a file that is being written; the unit's watchdog waits for 30 s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 0 if it did its work, 1 if it failed, 2 if it was used wrongly."""
    if os.getpid() == 1:
        # This is process 1 of a container. The kernel drops signals that it does not handle
        # yet, so an early stop would be lost. A blocked signal waits for the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    options = _parser().parse_args(arguments)
    try:
        former = Former.received()
        loaded = _load(options, former)
        if options.print_config:
            print(print_config(loaded), end="")  # noqa: T201 - what was asked for
            return OK
        if options.check_config:
            return _check(loaded, former, daemon=options.daemon)
        if options.reload:
            return _reload(loaded)
        return _start(loaded, former, daemon=options.daemon)
    except ConfigError as error:
        for line in error.errors:
            _complain(line)
        return USAGE
    except logs.LoggingError as error:
        _complain(f"{options.config}: Logging: {error}")
        return USAGE
    except (TlsError, FileError) as error:  # valid a moment ago
        _complain(str(error))
        return USAGE
    except (ListenError, DaemonError) as error:
        _complain(str(error))
        return FAILED


def _load(options: argparse.Namespace, former: Former | None) -> Loaded:
    """Load the settings. Raise ConfigError if they cannot go on from those of ``former``.

    After the exec of a reload there is no way back. A file that was complete a moment ago may
    be half written again; then wait for the rest, while the backends serve.
    """
    deadline = time.monotonic() + WRITING_SECONDS
    while True:
        try:
            loaded = load(options.config, os.environ)
            _check_webhooks(loaded)
            _check_sections(loaded, () if former is None else former.sections)
        except ConfigError:
            if former is None or options.check_config or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return loaded


def _check_webhooks(loaded: Loaded) -> None:
    """Raise ConfigError for templates and secrets that endpoints cannot use."""
    if not loaded.config.webhooks:
        return
    from .gateway.webhook import wrong_with  # noqa: PLC0415 - as in _backend

    if errors := [loaded.told(wrong) for wrong in wrong_with(loaded.config.webhooks)]:
        raise ConfigError(errors)


def _check_sections(loaded: Loaded, former: Sequence[str]) -> None:
    """Raise ConfigError for a section that is gone: the file may be half written."""
    errors = [
        f"{loaded.file}: the section {section} was removed or is empty. If that is intended, "
        "restart to apply it"
        for section in former
        if section not in loaded.sections
    ]
    if errors:
        raise ConfigError(errors)


def _check(loaded: Loaded, former: Former | None, *, daemon: bool) -> int:
    """Print that the configuration is valid, also for a program that would reload into it."""
    if former is not None:
        _check_beside(former, loaded.config, daemon=daemon)
    if errors := [loaded.told(wrong) for wrong in wrong_here(loaded.config, daemon=daemon)]:
        raise ConfigError(errors)
    doubts = [loaded.told(wrong) for wrong in doubtful_here(loaded.config, daemon=daemon)]
    doubts += [loaded.told(wrong) for wrong in _hidden(loaded.config)]
    logging = logs.check(loaded.config, foreground=not daemon)
    if loaded.config.application.tracing.enabled:
        _check_tracing(loaded.config)
    exposed = filter(None, [exposure(loaded.config.http_server)])
    for warning in [*loaded.warnings, *doubts, *exposed, *logging]:
        _complain(f"warning: {warning}")
    print("The configuration is valid.")  # noqa: T201 - the answer
    return OK


def _hidden(config: Config) -> Iterator[Wrong]:
    """Yield the endpoints whose paths hide a page, or a place to publish at."""
    if config.webhooks:
        from .pages.app import hidden_by_webhooks  # noqa: PLC0415 - as in _backend

        yield from hidden_by_webhooks(config)


def _check_beside(former: Former, config: Config, *, daemon: bool) -> None:
    """Raise the error that would end a program which goes on from ``former``."""
    errors = []
    server = config.http_server
    for each in former.served:
        where = name_of(each.listener)
        listens = isinstance(each.listener, int) and each.listener in server.listeners
        if listens and each.address not in (None, server.address_of(each.listener)):
            section = "HTTPServer.pages" if each.listener == server.pages.listener else "HTTPServer"
            errors.append(
                f"{section}.address cannot change on a reload while {where} stays: restart"
            )
    if daemon and former.pidfile_path != config.daemon.pidfile:
        errors.append("Daemon.pidfile cannot change on a reload: restart")
    if errors:
        raise ConfigError(errors)
    if daemon:
        check_user(config.daemon.user)
    close(bind(server, {each.listener: [] for each in former.served}))
    try:
        _backend(config, Scoreboard.make())
    except (ImportError, SyntaxError) as error:
        raise DaemonError(f"the installed package cannot start: {error}") from error


def _reload(loaded: Loaded) -> int:
    """Let the daemon of the pidfile reload. Raise DaemonError if none runs."""
    logs.check(loaded.config, foreground=False)
    path = loaded.config.daemon.pidfile
    if path is None:
        raise DaemonError("Daemon.pidfile is not set; send SIGHUP to the parent process instead")
    pid = PidFile(Path(path)).owner()
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        raise DaemonError(f"cannot send SIGHUP to process {pid}: {error.strerror}") from error
    print(f"Process {pid} reloads; its log shows the result.")  # noqa: T201 - the answer
    return OK


def _start(loaded: Loaded, former: Former | None, *, daemon: bool) -> int:
    """Serve until stopped, or start a daemon and wait until it serves. Return the exit status."""
    config = loaded.config
    logs.configure(config, foreground=not daemon)
    for warning in loaded.warnings:
        logs.logger.warning("%s", warning)
    if daemon:
        check_user(config.daemon.user)
    elif os.getuid() == 0:
        logs.logger.warning(
            "running as root: Daemon.user and Daemon.pidfile apply to --daemon only"
        )
    # A terminal that is closed sends SIGHUP, which must end what runs in it.
    in_terminal = not daemon and sys.stdin is not None and sys.stdin.isatty()
    scoreboard = Scoreboard.make() if former is None else Scoreboard(former.scoreboard)
    backend = _backend(config, scoreboard)
    pidfile = _pidfile(config, former) if daemon else None
    locked = [] if pidfile is None else [pidfile.descriptor]
    try:
        listeners = _listeners(config, former)
    except ListenError:
        if pidfile is not None:
            pidfile.release()
        raise
    if exposed := exposure(config.http_server, addresses(listeners)):
        logs.logger.warning("%s", exposed)
    report = StartReport(*os.pipe()) if daemon and former is None else None
    supervisor = Supervisor(
        config,
        listeners,
        backend,
        user=config.daemon.user if daemon else None,
        private=locked,
        former={} if former is None else former.backends(),
        program=None if in_terminal else Program(loaded, scoreboard.descriptor, *locked),
        report=report,
    )
    run = functools.partial(_supervise, config, supervisor)
    if report is not None:
        sockets = [each for group in listeners.values() for each in group]
        keep = [*sockets, *locked, scoreboard.descriptor, *logs.open_files()]
        return detach(run, pidfile=pidfile, keep=keep, report=report)
    return resume(run, pidfile=pidfile) if daemon else run()


def _pidfile(config: Config, former: Former | None) -> PidFile | None:
    """Return the pidfile, locked; None if the settings name none."""
    if config.daemon.pidfile is None:
        return None
    path = Path(config.daemon.pidfile)
    if former is not None and former.pidfile >= 0:
        os.set_inheritable(former.pidfile, False)
        return PidFile(path, former.pidfile)
    pidfile = PidFile(path)
    pidfile.acquire()
    return pidfile


def _listeners(config: Config, former: Former | None) -> dict[Listener, list[socket.socket]]:
    """Return the sockets by listener: the former program's, systemd's, or bound now."""
    there = activated() if former is None else former.sockets()
    bound = bind(config.http_server, there)
    close({listener: each for listener, each in there.items() if listener not in bound})
    return bound


def _supervise(config: Config, supervisor: Supervisor) -> int:
    """Log what is started, and keep it running. Return the exit status."""
    broker = config.application.rabbitmq
    logs.logger.info(
        "statelessd %s (%s) on %s; publishing to %s%s",
        __version__,
        FORM,
        _places(config.http_server),
        ", ".join(map(str, hosts_of(broker))),
        " over TLS" if broker.tls.enabled else "",
    )
    make_room(config)
    # What is loaded by now stays. A full collection of it would hold a backend's event loop, copy
    # the memory that the backends share, and delay the end of the parent.
    gc.freeze()
    return supervisor.run()


def _places(settings: HTTPServer) -> str:
    """Return a description such as ``127.0.0.1, port 8000, unix:/run/x.sock; pages on …``."""
    ports = [str(port) for port in settings.ports if isinstance(port, int)]
    places = [str(path) for path in settings.ports if isinstance(path, str)]
    if ports:
        places.insert(0, f"{settings.address or 'all interfaces'}, port {', '.join(ports)}")
    told, own = ", ".join(places), settings.pages.listener
    if isinstance(own, int):
        return f"{told}; pages on {settings.address_of(own) or 'all interfaces'}, port {own}"
    return told if own is None else f"{told}; pages on {own}"


def _backend(config: Config, scoreboard: Scoreboard) -> RunBackend:
    """Return the function that serves a listener, with everything that backends share."""
    # Imported here, because --help does not need it, and before the parent forks.
    from .process.backend import Inheritance, run  # noqa: PLC0415

    if config.application.tracing.enabled:
        _check_tracing(config)
    tls, to_broker = config.http_server.tls, config.application.rabbitmq.tls
    inheritance = Inheritance(
        certificate=None if tls.certificate is None else Certificate(tls),
        trust=Trust(to_broker) if to_broker.enabled else None,
        scoreboard=scoreboard,
        webhook_files=read_files(config.webhooks),
        loaded_at=time.time(),
    )
    return functools.partial(run, inheritance)


def _check_tracing(config: Config) -> None:
    """Raise ConfigError if the SDK cannot use the settings or its own variables."""
    try:
        # Imported here, because OpenTelemetry is not installed everywhere. It reads some of its
        # variables when it is imported.
        from .gateway.tracing import check  # noqa: PLC0415

        check(config.application.tracing)
    except Exception as error:  # of any type that the SDK and its plugins raise
        raise ConfigError([f"Application.tracing: {error}"]) from error


def _complain(line: str) -> None:
    print(f"statelessd: {redacted(line)}", file=sys.stderr)  # noqa: T201 - before there is a log


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="statelessd",
        description="HTTP in, RabbitMQ out: one POST becomes one confirmed message.",
        epilog="Without a configuration file, statelessd listens on 127.0.0.1:8000 and publishes "
        "to RabbitMQ on localhost:5672. Environment variables override settings: for example, "
        "STATELESSD_APPLICATION_RABBITMQ_HOST overrides Application.rabbitmq.host.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="the configuration file")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "-f", "--foreground", action="store_true", help="stay in the foreground (the default)"
    )
    mode.add_argument(
        "-d",
        "--daemon",
        action="store_true",
        help="run in the background, with Daemon.pidfile and Daemon.user",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="check FILE, then let the daemon of its Daemon.pidfile apply it",
    )
    parser.add_argument(
        "--check-config", action="store_true", help="check the settings, report errors, and exit"
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print all settings and where each comes from, and exit",
    )
    parser.add_argument("--version", action="version", version=f"statelessd {__version__} ({FORM})")
    return parser
