import contextlib
import itertools
import os
import socket
import stat

import msgspec
import pytest
from gateway import free_ports

from statelessd.config.http_server import HTTPServer, Pages
from statelessd.process.sockets import ListenError, bind, close, hold_off


@pytest.fixture
def bound():
    """Binds, and closes at the end."""
    with contextlib.ExitStack() as opened:

        def run(settings):
            listeners = bind(settings)
            for each in itertools.chain.from_iterable(listeners.values()):
                opened.enter_context(each)
            return listeners

        yield run


def settings(address, *ports, **others):
    return msgspec.structs.replace(HTTPServer(), address=address, ports=tuple(ports), **others)


def test_one_address(bound):
    ports = free_ports(2)
    listeners = bound(settings("127.0.0.1", *ports))
    assert list(listeners) == ports
    for port in ports:
        assert [each.getsockname() for each in listeners[port]] == [("127.0.0.1", port)]
        socket.create_connection(("127.0.0.1", port), timeout=2).close()


def test_an_empty_address_is_every_interface(bound):
    [port] = free_ports(1)
    addresses = {each.getsockname()[0] for each in bound(settings("", port))[port]}
    assert "0.0.0.0" in addresses
    assert addresses <= {"0.0.0.0", "::"}


def test_the_pages_port_may_have_an_address_of_its_own(bound):
    port, own, second, third = free_ports(4)
    listeners = bound(settings("", port, pages=Pages(listener=own, address="127.0.0.1")))
    assert [each.getsockname() for each in listeners[own]] == [("127.0.0.1", own)]
    assert ("0.0.0.0", port) in [each.getsockname() for each in listeners[port]]
    without = bound(settings("127.0.0.1", third, pages=Pages(listener=second)))
    assert [each.getsockname() for each in without[second]] == [("127.0.0.1", second)]


def test_a_port_in_use_is_named_and_leaves_nothing_open(bound):
    free, taken = free_ports(2)
    with socket.create_server(("127.0.0.1", taken)):
        with pytest.raises(ListenError, match=f"port {taken} of 127.0.0.1: Address already in use"):
            bind(settings("127.0.0.1", free, taken))
        bound(settings("127.0.0.1", free))  # it was given back


def test_an_address_of_another_machine_is_told():
    with pytest.raises(ListenError, match="Cannot assign requested address"):
        bind(settings("192.0.2.1", 8000))


class TestUnixSockets:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "8000.sock"

    @pytest.fixture
    def place(self, path):
        return f"unix:{path}"

    def test_beside_a_port(self, bound, place, path):
        [port] = free_ports(1)
        listeners = bound(settings("127.0.0.1", port, place))
        assert list(listeners) == [port, place]
        [listener] = listeners[place]
        assert listener.getsockname() == str(path)
        # The filter that holds new connections off is for TCP.
        hold_off([listener])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"x")
            with listener.accept()[0] as accepted:
                assert accepted.recv(1) == b"x"

    @pytest.mark.parametrize(("text", "mode"), [("0660", 0o660), ("600", 0o600), ("0666", 0o666)])
    def test_its_mode_whatever_the_umask(self, bound, place, path, text, mode):
        before = os.umask(0o077)
        try:
            bound(settings("", place, unix_mode=text))
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_an_unknown_group_is_named_and_nothing_is_left(self, place, path):
        with pytest.raises(ListenError, match=f"{place}: there is no group 'no-such-group'"):
            bind(settings("", place, unix_group="no-such-group"))
        assert not path.exists()

    @pytest.mark.parametrize("waiting", [0, 1])
    def test_one_that_somebody_listens_on_is_refused(self, place, path, waiting):
        with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as client:
            live.bind(str(path))
            live.listen(0)
            if waiting:  # its queue is full
                client.connect(str(path))
            with pytest.raises(ListenError, match="another process listens there"):
                bind(settings("", place))
            assert path.exists()

    def test_a_path_that_is_no_socket_is_refused_and_kept(self, place, path):
        path.write_text("precious")
        with pytest.raises(ListenError, match="the file is not a socket"):
            bind(settings("", place))
        assert path.read_text() == "precious"

    def test_a_symbolic_link_is_refused_and_its_socket_stays(self, place, path, tmp_path):
        stale = tmp_path / "of-somebody-else.sock"
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(stale))
        path.symlink_to(stale)
        with pytest.raises(ListenError, match="the file is not a socket"):
            bind(settings("", place))
        assert stale.exists()
        assert path.is_symlink()

    def test_a_link_that_comes_while_it_binds_is_not_followed(
        self, bound, place, path, tmp_path, monkeypatch
    ):
        """In a directory where somebody else may write, the file may change after each look."""
        precious = tmp_path / "precious"
        precious.touch(0o600)
        lstat, looks = os.lstat, itertools.count(1)

        def somebody_is_quick(name):
            found = lstat(name)
            if next(looks) == 2:  # the last one before it sets the mode
                path.unlink()
                path.symlink_to(precious)
            return found

        monkeypatch.setattr(os, "lstat", somebody_is_quick)
        bound(settings("", place, unix_mode="0666"))
        assert next(looks) > 2
        assert path.is_symlink()
        assert stat.S_IMODE(precious.stat().st_mode) == 0o600

    def test_a_stale_socket_that_is_replaced_meanwhile_stays(self, place, path, monkeypatch):
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
        with socket.socket(socket.AF_UNIX) as rival:
            lstat, looks = os.lstat, itertools.count(1)

            def rival_is_quick(name):
                if next(looks) == 1:  # the stale one was found to be stale
                    path.unlink()
                    rival.bind(str(path))
                    rival.listen()
                return lstat(name)

            monkeypatch.setattr(os, "lstat", rival_is_quick)
            with pytest.raises(ListenError, match="Address already in use"):
                bind(settings("", place))
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))

    def test_a_directory_that_is_not_there_is_told_and_nothing_is_left(self, place, path, tmp_path):
        with pytest.raises(ListenError, match="nowhere/x: No such file or directory"):
            bind(settings("", place, f"unix:{tmp_path}/nowhere/x"))
        assert not path.exists()

    def test_closing_removes_the_file_unless_it_is_of_somebody_else(self, place, path):
        ours = bind(settings("", place))
        path.unlink()
        theirs = bind(settings("", place))
        close(ours)
        assert path.exists()
        close(theirs)
        assert not path.exists()
