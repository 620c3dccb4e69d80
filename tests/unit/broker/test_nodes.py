"""In which order nodes are tried: what was reached, what failed, and how long that counts."""

import logging

from hypothesis import given
from hypothesis import strategies as st

from statelessd.broker.nodes import LONGEST_BACK_OFF, STALLED_BACK_OFF, Nodes
from statelessd.config.hosts import Host

NAMES = ("a", "b", "c")


class Cluster:
    """Three nodes of one address each."""

    def __init__(self):
        self.nodes = Nodes([Host(name, 5672) for name in NAMES])
        self.address = {}
        for node in self.nodes:
            [self.address[node.host.name]] = node.addresses([(2, (node.host.name, 5672))], 0)

    def order(self, now):
        return [node.host.name for node in self.nodes.in_order(now)]

    def connect(self, now):
        """To the first; its name."""
        name = self.order(now)[0]
        self.address[name].begin(now)
        self.address[name].is_up()
        return name

    def fail(self, name, now):
        self.address[name].is_down(now, "Connection refused")


def test_the_first_of_all_is_any_of_them():
    assert {Cluster().order(0)[0] for _ in range(200)} == set(NAMES)


def test_the_while_grows_to_a_bound():
    cluster = Cluster()
    cluster.connect(0)
    now, waits = 0.0, []
    for _ in range(12):
        cluster.fail("b", now)
        waits.append(cluster.address["b"].backs_off_until - now)
        now += 100
    assert waits[0] <= 0.5
    assert waits[4] > 2 * waits[0]
    assert LONGEST_BACK_OFF / 2 <= waits[-1] <= LONGEST_BACK_OFF


def test_one_connection_finds_out_whether_a_node_is_back_and_the_others_do_not_wait_for_it():
    cluster = Cluster()
    cluster.fail("b", 0)
    cluster.connect(0)
    cluster.connect(0)
    assert cluster.order(5)[0] == "b"
    cluster.address["b"].begin(5)  # somebody tries
    cluster.address["b"].end()
    assert cluster.order(5)[-1] == "b"
    cluster.address["b"].is_up()
    assert cluster.order(5)[0] == "b"


def test_when_all_have_failed_the_longest_ago_comes_first():
    cluster = Cluster()
    for now, name in enumerate(("c", "a", "b")):
        for _ in range(6):
            cluster.fail(name, now / 10)
    assert cluster.order(0.3) == ["c", "a", "b"]


def test_a_stalled_node_is_left_though_it_takes_logins():
    cluster = Cluster()
    cluster.address["a"].is_down(0, "the broker confirmed nothing", stalled=True)
    cluster.address["a"].is_up()
    assert cluster.order(STALLED_BACK_OFF - 1)[-1] == "a"
    for name in ("b", "c"):
        cluster.address[name].begin(0)
    assert cluster.order(STALLED_BACK_OFF + 1)[0] == "a"


def test_each_address_of_a_name_counts_for_itself():
    [node] = Nodes([Host("rabbit", 5672)])
    resolved = [(2, ("192.0.2.1", 5672)), (2, ("192.0.2.2", 5672))]
    first, second = node.addresses(resolved, 0)
    first.begin(0)
    assert node.addresses(resolved, 0) == [second, first]
    second.is_down(0, "Connection refused")
    assert node.addresses(resolved, 0.1) == [first, second]
    assert node.up
    first.is_down(0.1, "Connection refused")
    assert not node.up
    second.is_up()
    assert node.up
    [moved] = node.addresses([(2, ("192.0.2.3", 5672))], 0.2)  # the name leads elsewhere now
    assert moved not in (first, second)
    first.end()
    assert (node.connections, first.connections) == (0, 0)


def test_a_change_of_state_is_logged_once(caplog):
    caplog.set_level(logging.INFO)
    cluster = Cluster()
    for now in range(3):
        cluster.fail("b", now)
    for _ in range(3):
        cluster.address["b"].is_up()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot reach the broker's node b:5672: Connection refused",
        "the broker's node b:5672 is reachable again",
    ]


def test_a_single_node_is_the_broker_and_told_of_as_that(caplog):
    caplog.set_level(logging.INFO)
    [node] = Nodes([Host("rabbit", 5672)])
    node.is_down(0.0, "Connection refused")
    node.is_up()
    assert caplog.records == []


STEP = st.tuples(
    st.sampled_from(["begin", "end", "down", "up", "stalled"]),
    st.sampled_from(NAMES),
    st.floats(0, 20),
)


@given(st.lists(STEP, max_size=40))
def test_whatever_happens_every_node_is_tried_and_those_in_order_before_those_that_failed(steps):
    cluster, now = Cluster(), 0.0
    for what, name, passed in steps:
        now += passed
        address = cluster.address[name]
        if what == "begin":
            address.begin(now)
        elif what == "end" and address.connections:
            address.end()
        elif what == "down":
            cluster.fail(name, now)
        elif what == "up":
            address.is_up()
        elif what == "stalled":
            address.is_down(now, "x", stalled=True)
        order = cluster.order(now)
        assert sorted(order) == list(NAMES)
        nodes = {node.host.name: node for node in cluster.nodes}
        out = [nodes[name].backs_off_until > now for name in order]
        assert out == sorted(out)
        least = [nodes[name].connections for name, left in zip(order, out, strict=True) if not left]
        assert least == sorted(least)
        for node in cluster.nodes:
            assert node.connections == cluster.address[node.host.name].connections
            assert node.backs_off_until <= now + STALLED_BACK_OFF
