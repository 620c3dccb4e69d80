"""Arguments -> Config -> supervisor."""

import argparse
import functools
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .config.hosts import hosts_of
from .config.loader import ConfigError, Loaded, load
from .config.report import print_config
from .config.settings import Config, HTTPServer, Listener
from .process import logs
from .process.daemon import DaemonError, PidFile, StartReport, check_user, detach, resume
from .process.limits import make_room
from .process.reexec import Handover, Program, Running
from .process.sockets import ListenError, activated, bind, close, name_of
from .process.supervisor import RunBackend, Supervisor
from .telemetry.scoreboard import Board
from .tls.client import Trust
from .tls.files import TlsError
from .tls.server import Certificate
from .version import __version__

OK, FAILED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``statelessd``. Exit status: 0 done, 1 it failed, 2 told the wrong thing."""
    if os.getpid() == 1:
        # Of a container: what it does not handle yet the kernel would throw away, and
        # the one signal to stop would be lost. Blocked, it waits for the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    options = _parser().parse_args(arguments)
    try:
        handover = Handover.received()
        loaded = load(options.config, os.environ)
        if options.print_config:
            print(print_config(loaded), end="")  # noqa: T201 - what was asked for
            return OK
        if options.check_config:
            return _check(loaded, Running.told(), daemon=options.daemon)
        if options.reload:
            return _reload(loaded)
        return _start(loaded, options, handover)
    except ConfigError as error:
        for line in error.errors:
            _complain(line)
        return USAGE
    except logs.LoggingError as error:
        _complain(f"{options.config}: Logging: {error}")
        return USAGE
    except TlsError as error:  # valid a moment ago
        _complain(str(error))
        return USAGE
    except (ListenError, DaemonError) as error:
        _complain(str(error))
        return FAILED


def _check(loaded: Loaded, running: Running | None, *, daemon: bool) -> int:
    config = loaded.config
    if running is not None:
        _check_beside(running, config, daemon=daemon)
    for warning in [*loaded.warnings, *_check_logging(config, foreground=not daemon)]:
        _complain(f"warning: {warning}")
    print("The configuration is valid.")  # noqa: T201 - the answer
    return OK


def _check_logging(config: Config, *, foreground: bool) -> list[str]:
    """Warnings. Raises logs.LoggingError."""
    return logs.check(
        config.logging,
        debug=config.application.debug,
        foreground=foreground,
        form=config.application.log,
    )


def _check_beside(running: Running, config: Config, *, daemon: bool) -> None:
    """Whatever would end a program that takes this up: after its exec there is no way back."""
    errors = []
    server = config.http_server
    for listener in server.listeners:
        if running.address_of(listener) not in (None, server.address_of(listener)):
            section = "HTTPServer.pages" if listener == server.pages.listener else "HTTPServer"
            where = name_of(listener)
            errors.append(f"{section}.address cannot change while {where} is listened on: restart")
    if daemon and running.pidfile != config.daemon.pidfile:
        errors.append("Daemon.pidfile cannot change while the daemon runs: restart")
    if errors:
        raise ConfigError(errors)
    if daemon:
        check_user(config.daemon.user)
    close(bind(server, {listener: [] for listener in running.listeners}))
    try:
        _backend(config, Board.make())
    except (ImportError, SyntaxError) as error:
        raise DaemonError(f"the package as it is installed now cannot start: {error}") from error


def _reload(loaded: Loaded) -> int:
    _check_logging(loaded.config, foreground=False)
    path = loaded.config.daemon.pidfile
    if path is None:
        raise DaemonError("there is no Daemon.pidfile; send SIGHUP to the parent process")
    pid = PidFile(Path(path)).owner()
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        raise DaemonError(f"process {pid} cannot be told: {error.strerror}") from error
    print(f"Process {pid} was told to reload; its log says how that went.")  # noqa: T201 - the answer
    return OK


def _start(loaded: Loaded, options: argparse.Namespace, handover: Handover | None) -> int:
    config = loaded.config
    foreground = not options.daemon
    logs.configure(
        config.logging,
        debug=config.application.debug,
        foreground=foreground,
        form=config.application.log,
    )
    for warning in loaded.warnings:
        logs.logger.warning("%s", warning)
    if foreground:
        return _run_in_foreground(config, handover)
    return _run_as_daemon(config, handover)


def _run_in_foreground(config: Config, handover: Handover | None) -> int:
    if os.getuid() == 0:
        logs.logger.warning(
            "running as root: in the foreground Daemon.user and Daemon.pidfile do not apply"
        )
    # SIGHUP from a terminal that is closed is the end of what runs in it.
    in_terminal = sys.stdin is not None and sys.stdin.isatty()
    board = _board(handover)
    backend = _backend(config, board)
    listeners = _listeners(config, handover)
    supervisor = Supervisor(
        config,
        listeners,
        backend,
        former=None if handover is None else handover.backends(),
        program=None if in_terminal else Program(config, board.descriptor),
    )
    return _supervise(config, supervisor)


def _run_as_daemon(config: Config, handover: Handover | None) -> int:
    check_user(config.daemon.user)
    board = _board(handover)
    backend = _backend(config, board)
    pidfile = _pidfile(config, handover)
    listeners = _listeners(config, handover)
    held = -1 if pidfile is None else pidfile.descriptor
    report = None if handover is not None else StartReport()
    supervisor = Supervisor(
        config,
        listeners,
        backend,
        user=config.daemon.user,
        private=() if pidfile is None else (held,),
        former=None if handover is None else handover.backends(),
        program=Program(config, board.descriptor, held),
        report=report,
    )
    if report is None:  # detached long ago, before a reload
        return resume(lambda: _supervise(config, supervisor), pidfile=pidfile)
    sockets = [listener for group in listeners.values() for listener in group]
    return detach(
        lambda: _supervise(config, supervisor),
        pidfile=pidfile,
        keep=[*sockets, board.descriptor, *logs.open_files()],
        report=report,
    )


def _pidfile(config: Config, handover: Handover | None) -> PidFile | None:
    """Locked; None where the settings name none."""
    if config.daemon.pidfile is None:
        return None
    pidfile = PidFile(Path(config.daemon.pidfile))
    if handover is not None and handover.pidfile >= 0:
        pidfile.adopt(handover.pidfile)
    else:
        pidfile.acquire()
    return pidfile


def _board(handover: Handover | None) -> Board:
    return Board.make() if handover is None else Board(handover.board)


def _listeners(config: Config, handover: Handover | None) -> dict[Listener, list[socket.socket]]:
    """Those of the settings: left by the program before us, given by systemd, or bound now."""
    there = activated() if handover is None else handover.sockets()
    bound = bind(config.http_server, there)
    close({listener: each for listener, each in there.items() if listener not in bound})
    return bound


def _supervise(config: Config, supervisor: Supervisor) -> int:
    broker = config.application.rabbitmq
    logs.logger.info(
        "statelessd %s on %s; publishing to %s%s",
        __version__,
        _places(config.http_server),
        ", ".join(map(str, hosts_of(broker))),
        " over TLS" if broker.tls.enabled else "",
    )
    make_room(config)
    return supervisor.run()


def _places(settings: HTTPServer) -> str:
    """``127.0.0.1, port 8000, 8001, unix:/run/statelessd.sock; pages on 127.0.0.1, port 9000``."""
    ports = [str(port) for port in settings.ports if isinstance(port, int)]
    places = [str(path) for path in settings.ports if isinstance(path, str)]
    if ports:
        places.insert(0, f"{settings.address or 'all interfaces'}, port {', '.join(ports)}")
    told, own = ", ".join(places), settings.pages.listener
    if isinstance(own, int):
        return f"{told}; pages on {settings.address_of(own) or 'all interfaces'}, port {own}"
    return told if own is None else f"{told}; pages on {own}"


def _backend(config: Config, board: Board) -> RunBackend:
    # Loaded once, here, and not in each process; and not for --help.
    from .process.backend import Inheritance, run  # noqa: PLC0415

    tls, to_broker = config.http_server.tls, config.application.rabbitmq.tls
    inheritance = Inheritance(
        certificate=None if tls.certificate is None else Certificate(tls),
        trust=Trust(to_broker) if to_broker.enabled else None,
        board=board,
        loaded_at=time.time(),
    )
    return functools.partial(run, inheritance)


def _complain(line: str) -> None:
    print(f"statelessd: {line}", file=sys.stderr)  # noqa: T201 - before there is a log


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="statelessd",
        description="HTTP in, RabbitMQ out: one POST becomes one confirmed message.",
        epilog="Without a configuration file it listens on 127.0.0.1:8000 and publishes to "
        "the RabbitMQ on localhost:5672. Every setting can be overridden from the "
        "environment: STATELESSD_APPLICATION_RABBITMQ_HOST=… and so on.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="the YAML file")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "-f", "--foreground", action="store_true", help="stay in the foreground (the default)"
    )
    mode.add_argument(
        "-d",
        "--daemon",
        action="store_true",
        help="detach, with Daemon.pidfile and Daemon.user of the file",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="check FILE, then tell the daemon of its pidfile to take it up",
    )
    parser.add_argument(
        "--check-config", action="store_true", help="say what is wrong with the file, and stop"
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the effective settings and where each comes from, and stop",
    )
    parser.add_argument("--version", action="version", version=f"statelessd {__version__}")
    return parser
