"""Arguments -> Config -> supervisor."""

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__, logs
from .config import Config, HTTPServer
from .config_loader import ConfigError, Loaded, load
from .config_report import print_config
from .daemon import DaemonError, PidFile, check_user, detach
from .descriptors import make_room
from .listeners import ListenError, bind
from .supervisor import RunBackend, Supervisor
from .tls import Certificate, TlsError

OK, FAILED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``statelessd``. Exit status: 0 done, 1 it failed, 2 told the wrong thing."""
    options = _parser().parse_args(arguments)
    try:
        loaded = load(options.config, os.environ)
        if options.print_config:
            print(print_config(loaded), end="")  # noqa: T201 - what was asked for
            return OK
        return _start(loaded, options)
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


def _start(loaded: Loaded, options: argparse.Namespace) -> int:
    config = loaded.config
    debug = config.application.debug
    if options.check_config:
        for warning in [*loaded.warnings, *logs.check(config.logging, debug=debug)]:
            _complain(f"warning: {warning}")
        print("The configuration is valid.")  # noqa: T201 - the answer
        return OK
    foreground = not options.daemon
    logs.configure(config.logging, debug=debug, foreground=foreground, form=config.application.log)
    for warning in loaded.warnings:
        logs.logger.warning("%s", warning)
    if foreground:
        return _run_in_foreground(config)
    return _run_as_daemon(config)


def _run_in_foreground(config: Config) -> int:
    if os.getuid() == 0:
        logs.logger.warning(
            "running as root: in the foreground Daemon.user and Daemon.pidfile do not apply"
        )
    backend = _backend(config)
    return _supervise(config, Supervisor(config, bind(config.http_server), backend))


def _run_as_daemon(config: Config) -> int:
    user = config.daemon.user
    check_user(user)
    backend = _backend(config)
    pidfile = None
    if config.daemon.pidfile is not None:
        pidfile = PidFile(Path(config.daemon.pidfile))
        pidfile.acquire()
    listeners = bind(config.http_server)
    supervisor = Supervisor(
        config,
        listeners,
        backend,
        user=user,
        private=() if pidfile is None else (pidfile.descriptor,),
        reload_is_stop=False,
    )
    sockets = [listener for group in listeners.values() for listener in group]
    return detach(
        lambda: _supervise(config, supervisor),
        pidfile=pidfile,
        keep=[*sockets, *logs.open_files()],
    )


def _supervise(config: Config, supervisor: Supervisor) -> int:
    broker = config.application.rabbitmq
    logs.logger.info(
        "statelessd %s on %s; publishing to %s:%d",
        __version__,
        _places(config.http_server),
        broker.host,
        broker.port,
    )
    make_room(config)
    return supervisor.run()


def _places(settings: HTTPServer) -> str:
    """``127.0.0.1, port 8000, 8001, unix:/run/statelessd.sock``."""
    ports = [str(port) for port in settings.ports if isinstance(port, int)]
    places = [str(path) for path in settings.ports if isinstance(path, str)]
    if ports:
        places.insert(0, f"{settings.address or 'all interfaces'}, port {', '.join(ports)}")
    return ", ".join(places)


def _backend(config: Config) -> RunBackend:
    # Loaded once, here, and not in each process; and not for --help.
    from .backend import run  # noqa: PLC0415

    tls = config.http_server.tls
    certificate = None if tls.certificate is None else Certificate(tls)
    return functools.partial(run, certificate=certificate)


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
        "--check-config", action="store_true", help="say what is wrong with the file, and stop"
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the effective settings and where each comes from, and stop",
    )
    parser.add_argument("--version", action="version", version=f"statelessd {__version__}")
    return parser
