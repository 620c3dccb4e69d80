"""SIGHUP: a good configuration is taken up without a request lost, a bad one changes nothing."""

import contextlib
import os
import signal
import socket
import subprocess

import requests
from clients import (
    LOGIN,
    PATH,
    Clients,
    all_are_204,
    kept_alive,
    one_request_each,
    tcp,
    unix_socket,
)
from gateway import free_port, listens
from waiting import wait_until

import statelessd
from statelessd.form import FORM


def steady(port, pause=0.1):
    """Return a keep-alive client that asks ten times a second."""

    def ask(stopping):
        for told in kept_alive(tcp(port), nobody_there=())(stopping):
            yield told
            stopping.wait(pause)

    return ask


def fresh(port):
    def connect():
        return socket.create_connection(("127.0.0.1", port), timeout=60)

    return one_request_each(connect, nobody_there=())


def test_a_rolling_reload_under_traffic_loses_no_request(start_gateway):
    """200 requests a second on kept connections, and as many clients as can with new ones."""
    gateway = start_gateway(ports=2)
    parent, first = gateway.process.pid, gateway.backends()
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(Clients(10, steady(port))) for port in gateway.ports]
        others = [stack.enter_context(Clients(1, fresh(port))) for port in gateway.ports]
        for clients in kept:
            clients.go_on(50)
        for app_id in ("one", "two"):
            gateway.reload(Application={"publish": {"stamp_app_id": app_id}})
        for clients in (*kept, *others):
            clients.go_on(50)
    all_are_204([*kept, *others])
    assert gateway.process.pid == parent
    assert not set(first) & set(gateway.backends())


def test_the_new_settings_hold(start_gateway, queue):
    gateway = start_gateway()
    gateway.reload(Application={"publish": {"stamp_app_id": "new"}})
    assert gateway.publish(f"/test/{queue.name}/k").status_code == 204
    assert queue.get()[0].app_id == "new"


def test_an_upgraded_package_is_taken_up(start_gateway, installed):
    gateway = start_gateway()
    parent = gateway.process.pid
    version = installed / "version.py"
    version.write_text(version.read_text().replace(statelessd.__version__, "99.0"))
    gateway.reload()
    assert 'version="99.0"' in gateway.get("/metrics").text
    assert f"statelessd 99.0 ({FORM}) on" in gateway.text
    assert gateway.process.pid == parent


def test_half_an_upgrade_changes_nothing(start_gateway, installed):
    """What only the backends import would be missed after the exec, when there is no way back."""
    gateway = start_gateway()
    before = gateway.backends()
    (installed / "process" / "backend.py").write_text("import a_package_that_is_not_there\n")
    gateway.hang_up()
    gateway.says("nothing changes")
    gateway.says("cannot start: No module named 'a_package_that_is_not_there'")
    assert gateway.backends() == before
    assert gateway.publish().status_code == 204


def test_a_reload_whose_backends_do_not_start_can_be_mended_by_another(start_gateway, installed):
    """The former ones serve until then, however often it is tried."""
    gateway = start_gateway(ports=2)
    before = gateway.backends()
    backend = installed / "process" / "backend.py"
    good = backend.read_text()
    backend.write_text(
        good.replace("    with asyncio.Runner", "    return 7\n    with asyncio.Runner")
    )
    for attempts in (1, 2):
        gateway.hang_up()
        gateway.says("SIGHUP: reloading\n", attempts)
        gateway.says("restarting it", 2 * attempts)
    for port in gateway.ports:
        assert gateway.get("/healthz", port).ok
    assert set(before) <= set(gateway.backends())
    backend.write_text(good)
    gateway.reload()
    assert not set(before) & set(gateway.backends())


def test_a_configuration_that_does_not_validate_changes_nothing_and_says_why(start_gateway):
    gateway = start_gateway()
    before = gateway.backends()
    with Clients(4, steady(gateway.port)) as clients:
        gateway.hang_up(HTTPServer={"max_bdoy_bytes": 1})
        gateway.says("nothing changes")
        gateway.says("max_bdoy_bytes: unknown setting (did you mean")
        clients.go_on(40)
    assert gateway.backends() == before
    all_are_204([clients])


def test_half_a_file_changes_nothing_and_says_why(start_gateway):
    """As it is while somebody writes it: the defaults would take the place of what is missing."""
    gateway = start_gateway()
    before, whole = gateway.backends(), gateway.config.read_text()
    cut = whole[: whole.index("HTTPServer:")]
    for text, words in (
        ("", "the file is empty"),
        (cut, "the section HTTPServer was removed or is empty. If that is intended, restart"),
        (f"{cut}HTTPServer:\n", "the section HTTPServer was removed or is empty"),
        (None, "cannot be read: No such file or directory"),
    ):
        told = gateway.text.count(words)
        if text is None:
            gateway.config.unlink()
        else:
            gateway.config.write_text(text)
        gateway.process.send_signal(signal.SIGHUP)
        gateway.says(words, told + 1)
    assert gateway.text.count("the new configuration is not valid; nothing changes") == 4
    assert gateway.backends() == before
    assert gateway.publish().status_code == 204
    gateway.config.write_text(whole)
    gateway.reload()
    assert gateway.publish().status_code == 204


def test_an_address_cannot_change(start_gateway):
    gateway = start_gateway()
    gateway.hang_up(HTTPServer={"address": ""})
    gateway.says("HTTPServer.address cannot change")
    assert gateway.publish().status_code == 204


def test_a_listener_that_cannot_be_had_changes_nothing(start_gateway, tmp_path):
    """After its exec the parent could only end, and the backends with it."""
    gateway = start_gateway()
    before = gateway.backends()
    new = tmp_path / "new.sock"
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        gateway.hang_up(HTTPServer={"ports": [gateway.port, f"unix:{new}", taken]})
        gateway.says("nothing changes")
    gateway.says(f"cannot listen on port {taken} of 127.0.0.1")
    assert gateway.backends() == before
    assert not new.exists()
    gateway.reload()  # the port is free now
    assert gateway.get("/healthz", taken).ok
    unix_socket(new).close()


def test_listeners_come_and_go(start_gateway, tmp_path):
    gateway = start_gateway(ports=2)
    gone, stays = gateway.ports
    added = free_port()
    path = tmp_path / "added.sock"
    with Clients(10, steady(stays)) as clients:
        clients.go_on(50)
        gateway.reload(HTTPServer={"ports": [stays, added, f"unix:{path}"]})
        clients.go_on(50)
    all_are_204([clients])
    gateway.ports = [stays, added]
    for port in gateway.ports:
        assert gateway.stats(port)["port"] == port
    unix_socket(path).close()
    wait_until(lambda: not listens(gone), what="the removed port to be closed")
    gateway.reload(HTTPServer={"ports": [stays]})
    wait_until(lambda: not path.exists(), what="the socket's file to be removed")
    gateway.ports = [stays]


def test_a_reload_during_another_one_is_not_lost(start_gateway):
    """It waits for the backend of a listener that went: nobody but this parent could end it."""
    patient = {"body_timeout": 60, "drain_timeout": 60}  # a reload takes long on a busy machine
    gateway = start_gateway({"HTTPServer": patient}, ports=2)
    stays, gone = gateway.ports
    with socket.create_connection(("127.0.0.1", gone), timeout=60) as client:
        client.sendall(b"POST /test/test/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
                       b"Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\nhalf")  # fmt: skip
        gateway.hang_up(HTTPServer={"ports": [stays]})
        gateway.says(f"old backend on port {stays}: ended")
        gateway.hang_up(HTTPServer={"max_body_bytes": 1})
        gateway.says("another reload is in progress")
        assert gateway.publish().status_code == 204
        client.sendall(b" rest")
        assert b" 204 " in client.recv(1000)
    gateway.says(f"old backend on port {gone}: ended with status 0")
    gateway.says(f"old backend on port {stays}: ended", 2)
    gateway.ports = [stays]
    assert gateway.publish().status_code == 413


def test_a_unix_socket_is_reloaded_without_a_gap(start_gateway, tmp_path):
    path = tmp_path / "gateway.sock"
    gateway = start_gateway(ports=0, unix=[path])
    inode = path.stat().st_ino

    gateway.change(HTTPServer={"unix_mode": "0600"})
    with Clients(2, one_request_each(lambda: unix_socket(path), nobody_there=())) as clients:
        clients.go_on(50)
        gateway.reload()
        clients.go_on(50)
    all_are_204([clients])
    assert path.stat().st_ino == inode
    assert path.stat().st_mode & 0o777 == 0o600
    assert gateway.stop() == 0
    assert not path.exists()


def test_what_is_under_way_gets_its_answer(start_gateway, amqp):
    gateway = start_gateway()
    connection = tcp(gateway.port)()
    connection.putrequest("POST", PATH)
    for name, value in {**LOGIN, "Content-Length": "4"}.items():
        connection.putheader(name, value)
    connection.endheaders(b"ha")
    gateway.hang_up()
    gateway.says(": draining")
    connection.send(b"lf")
    with connection.getresponse() as answer:
        assert (answer.status, answer.headers["Connection"]) == (204, "close")
    connection.close()


def test_the_terminals_hangup_is_the_end(start_gateway):
    gateway = start_gateway()
    primary, secondary = os.openpty()
    try:
        # With a terminal as its standard input a second one is started, and hung up.
        gateway.change(HTTPServer={"ports": [free_port()]})
        process = subprocess.Popen(
            gateway.command,
            stdin=secondary, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in process.stderr:
            if "listening on" in line:
                break
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 0
        process.stderr.close()
    finally:
        os.close(primary)
        os.close(secondary)


def test_a_daemon_is_told_by_the_command(tmp_path, broker, start_gateway):
    pidfile = tmp_path / "statelessd.pid"
    gateway = start_gateway({"Daemon": {"pidfile": str(pidfile)}})
    complaint = gateway.run("--reload")
    assert (complaint.returncode, "statelessd is not running" in complaint.stderr) == (1, True)
    port = free_port()
    log = tmp_path / "daemon.log"
    handler = {"class": "logging.FileHandler", "filename": str(log), "formatter": "line"}
    logging = {
        "version": 1,
        "formatters": {"line": {"format": "%(levelname)s %(message)s"}},
        "handlers": {"file": handler},
        "loggers": {"statelessd": {"level": "INFO", "handlers": ["file"]}},
    }
    gateway.change(HTTPServer={"ports": [port]}, Logging=logging)
    assert gateway.run("-d").returncode == 0
    try:
        wait_until(lambda: "listening on" in log.read_text(), what="the daemon")
        parent = int(pidfile.read_text())
        gateway.change(Application={"publish": {"timeout": 3}})
        told = gateway.run("--reload")
        assert (told.returncode, str(parent) in told.stdout) == (0, True)
        wait_until(lambda: " ended with status 0" in log.read_text(), what="the reload")
        assert int(pidfile.read_text()) == parent
        assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
        gateway.change(Daemon={"pidfile": f"{pidfile}.new", "user": "nobody-at-all"})
        for complaint in ("Daemon.pidfile cannot change", "Daemon.user: there is no user"):
            os.kill(parent, signal.SIGHUP)
            wait_until(lambda text=complaint: text in log.read_text(), what=complaint)
            gateway.change(Daemon={"pidfile": str(pidfile)})
        assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
        gateway.change(Daemon={"user": None}, Application={"publish": {"timeout": "soon"}})
        told = gateway.run("--reload")
        assert (told.returncode, "Application.publish.timeout" in told.stderr) == (2, True)
    finally:
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
        wait_until(lambda: not pidfile.exists(), what="the daemon's end")
