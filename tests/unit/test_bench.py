"""The benchmark's arithmetic: a figure that is wrong is worse than none."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakebroker import FakeBroker

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import compare
import docs
import gateways
import goals
import load
import php
import processes
import publisher
import results

LOAD = load.Load(seconds=8.0, confirmed=80_000, non_204=0, socket_errors=0, p50_ms=1.5, p99_ms=3.0)
CPU = {"gateway_us": 2.0, "broker_us": 4.0}


def run(of: load.Load = LOAD, name: str = "32", found: int = 80_000, **figures: Any) -> results.Run:
    return results.run(("singles", name, "ours"), 32, of, CPU, 50 * 2**20, found) | figures


def document(*runs: results.Run, **more: Any) -> results.Document:
    return {
        "kind": "quick",
        "command": "make bench",
        "date": "2026-11-26T08:00:00+00:00",
        "commit": "0123456789ab",
        "cores": "The gateway runs on cores [0], broker and load on [1]",
        "machine": {"cores": 2, "cpu": "some", "memory_mib": 2048, "kernel": "Linux 6.1 x86_64"},
        "versions": {"RabbitMQ": "3.10.8", "statelessd": {"python": "3.11.7"}},
        "options": {"seconds": 3},
        "failures": [],
        "runs": list(runs),
        "medians": results.medians(runs),
        **more,
    }


def test_output_of_a_load_is_read_from_its_json_line() -> None:
    output = (
        "Running 8s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n"
        '{"seconds": 8.1, "confirmed": 9, "non_204": 1, "socket_errors": 10, '
        '"p50_ms": 1.5, "p99_ms": 2.5}\n'
    )
    result = load.parse(output)
    assert (result.requests, result.socket_errors, result.p99_ms) == (10, 10, 2.5)
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1\n")


def test_cpu_is_divided_by_every_answered_request() -> None:
    result = run(replace(LOAD, confirmed=70_000, non_204=10_000), found=70_000)
    assert result["gateway_us"] == pytest.approx(25.0)
    assert result["broker_us"] == pytest.approx(50.0)
    assert result["requests_per_second"] == pytest.approx(8_750)
    assert result["resident_mib"] == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("found", "lost", "surplus"),
    [(80_000, 0, 0), (79_999, 1, 0), (80_032, 0, 0), (80_033, 0, 1)],
)
def test_messages_are_counted_against_the_answers(found: int, lost: int, surplus: int) -> None:
    result = run(found=found)
    assert (result["lost"], result["surplus"]) == (lost, surplus)
    assert len(result["faults"]) == lost + surplus


def test_no_run_hides_its_faults_behind_a_median() -> None:
    bad = replace(LOAD, non_204=3, socket_errors=1)
    (median,) = results.medians([run(), run(bad), run()])
    assert (median["non_204"], median["socket_errors"]) == (3, 1)
    assert len(median["faults"]) == 2


def test_medians_keep_gateways_and_points_apart() -> None:
    slow = run(requests_per_second=1.0)
    runs = [run(), slow, run(), slow | {"gateway": "peer"}, run(name="1", gateway_us=None)]
    medians = {(each["gateway"], each["point"]): each for each in results.medians(runs)}
    assert medians["ours", "32"]["requests_per_second"] == pytest.approx(10_000)
    assert medians["ours", "32"]["confirmed"] == 240_000
    assert medians["ours", "32"]["rounds"] == 3
    assert medians["peer", "32"]["requests_per_second"] == pytest.approx(1.0)
    assert medians["ours", "1"]["gateway_us"] is None
    assert len(medians) == 3


def test_goals_are_met_at_their_limits_and_not_beyond() -> None:
    plain = run(gateway=results.PIPELINED, requests_per_second=10_000.0, broker_us=40.0)
    ours = run(gateway="statelessd", gateway_us=20.0, requests_per_second=9_500.0, broker_us=40.1)
    assert [(value, met) for _, value, _, met in goals.verdicts([ours, plain])] == [
        ("20.00", "met"),
        ("0.95", "met"),
        ("1.00", "not met"),
    ]


def spread_over(values: Sequence[float], **more: Any) -> results.Document:
    return document(*(run(gateway_us=value, **more) for value in values))


PEER = {"gateway": "mq-bridge-basic"}


@pytest.mark.parametrize(
    ("before", "after", "told", "status"),
    [
        (spread_over([29, 30, 31]), spread_over([39, 40, 41]), "30.00 -> 40.00, 1.33 times", 1),
        (spread_over([29, 30, 31]), spread_over([32, 33, 34]), "", 0),  # a tenth is noise here
        (spread_over([29, 30, 31]), spread_over([19, 20, 21]), "", 0),  # better
        (spread_over([29, 30, 31], **PEER), spread_over([59, 60, 61], **PEER), "", 0),
        (spread_over([29, 30, 31]), spread_over([60, 61]), "nothing is judged", 2),
        (document(run()), document(run(name="1")), "", 1),  # nothing in common
        (
            document(run(), run(), run()),
            document(run(), run(), run(found=79_999)),
            "1 confirmed messages that are not in the queue",
            1,
        ),
        (document(run()), document(run(), machine={"cpu": "another"}), "some | another", 2),
    ],
)
def test_only_a_change_of_ours_beyond_the_spread_of_the_rounds_is_a_regression(
    before: results.Document,
    after: results.Document,
    told: str,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert compare.compare(before, after) == status
    assert told in capsys.readouterr().out


def test_what_every_peer_became_slower_by_is_no_regression_of_ours() -> None:
    def both(ours: float, theirs: float) -> results.Document:
        near = (0.98, 1.0, 1.02)
        peer = [run(gateway="mq-bridge-basic", gateway_us=theirs * each) for each in near]
        return document(*(run(gateway_us=ours * each) for each in near), *peer)

    assert compare.compare(both(30.0, 40.0), both(45.0, 60.0)) == 0
    assert compare.compare(both(30.0, 40.0), both(45.0, 40.0)) == 1
    assert compare.compare(both(30.0, 40.0), both(60.0, 60.0)) == 1


def test_page_shows_what_its_result_has_and_its_faults(tmp_path: Path) -> None:
    ours = run(gateway="statelessd", gateway_us=30.0)
    users = run(name="10 in turn at 32", gateway="statelessd") | {"scenario": "users"}
    text = docs.page(document(ours, users))
    assert "| command | `make bench` |" in text
    assert "from [bench/results/reference.json](../../bench/results/reference.json)" in text
    assert "| 32 | statelessd | 10,000 | 1 | 30.0 |" in text
    assert "## Users in turn" in text
    assert "## TLS" not in text
    assert "Every confirmed message was in the queue" in text
    assert "Faults" not in text
    bad = document(run(found=79_999), failures=["php failed: no php"])
    text = docs.page(bad, tmp_path / "mine.json")
    assert "from `mine.json`" in text
    assert "- php failed" in text
    assert "**1 confirmed messages were not in the queue.**" in text
    assert f"- {bad['runs'][0]['faults'][0]}\n" in text


def test_page_compares_what_ran_beside_one_another_round_by_round() -> None:
    def rounds(gateway: str, *rates: float) -> list[results.Run]:
        more = {"scenario": "php", "point": "16 processes", "gateway": gateway}
        return [run(requests_per_second=rate) | more for rate in rates]

    # The machine was four times as fast in the second round; the ratio of medians would be 4.
    ours, theirs = rounds("statelessd", 100, 400, 110), rounds("php-amqp", 10, 40, 11)
    text = docs.page(document(*ours, *theirs))
    assert "| 16 processes | statelessd | 10 (10 to 10) |" in text
    assert "differed by up to\n  4.0 times" in text
    assert "### amqproxy" in text
    text = docs.page(document(*ours, *theirs, *rounds("amqproxy", 20, 80, 22)))
    assert "| 16 processes | amqproxy | 2.0 (2.0 to 2.0) |" in text
    assert "### amqproxy" not in text  # what was measured apart gives way to the command's run


def test_the_page_of_figures_is_what_its_command_writes() -> None:
    assert docs.PAGE.read_text() == docs.page(results.read(results.REFERENCE))


BENCH = Path(docs.__file__).with_name("bench.py")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["php", "--amqproxy", "/nowhere/amqproxy"], "/nowhere/amqproxy is not a program"),
        (["php", "--amqproxy", str(BENCH)], "is not a program"),  # a file that cannot be run
        (["singles", "--amqproxy", sys.executable], "--amqproxy is for the scenario php"),
    ],
)
def test_amqproxy_has_to_be_a_program_of_its_scenario(arguments: list[str], told: str) -> None:
    line = [sys.executable, str(BENCH), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, told in done.stderr) == (2, True)


def test_a_program_that_is_not_amqproxy_is_refused() -> None:
    with pytest.raises(RuntimeError, match="not amqproxy"):
        php.version("false")


STAND_IN = Path(__file__).resolve().parents[1] / "support" / "amqproxy_stand_in.py"


def test_clients_reach_the_broker_through_amqproxy(tmp_path: Path) -> None:
    """A TCP forwarder with the arguments of amqproxy stands in for it."""
    assert php.version(str(STAND_IN)) == "0.0.0"

    def gateway(name: str, *command: str, kind: Any, **more: Any) -> gateways.Gateway:
        return kind(name, command, tmp_path / "log", cores=(), **more)

    async def logins_through_it() -> int:
        async with FakeBroker() as broker:
            at = SimpleNamespace(amqp_port=broker.port)
            proxy: Any = php.amqproxy(SimpleNamespace(gateway=gateway, broker=at), str(STAND_IN))
            try:
                await asyncio.to_thread(proxy.wait_until_it_publishes)
                return len(broker.peers)
            finally:
                await asyncio.to_thread(proxy.stop)

    assert asyncio.run(logins_through_it()) == 1


def test_the_name_of_a_result_says_nothing_of_where_amqproxy_was() -> None:
    given = ["php", "--amqproxy", "/home/me/amqproxy", "--json", "x.json"]
    assert results.command(given) == 'make bench BENCH="php --amqproxy PATH"'


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = results.write(document(run(), run()), tmp_path / "result.json")
    assert results.read(file)["medians"][0]["rounds"] == 2
    for content in (b"[]", b"{", b"\xff", b'{"medians": []}'):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"result\.json is not a result"):
            results.read(file)


def test_cpu_and_memory_of_a_process_tree() -> None:
    # It ends by itself in the end, so that a broken end() leaves nothing busy for ever.
    child = "import time\nend = time.monotonic() + 40\nwhile time.monotonic() < end: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent])
    try:
        deadline = time.monotonic() + 30
        while len(pids := processes.tree_of(process.pid)) < 2:
            assert time.monotonic() < deadline
        before = processes.cpu_seconds(pids)
        while processes.cpu_seconds(pids) < before + 0.05:  # the child's, for its parent waits
            assert time.monotonic() < deadline
        assert processes.resident_bytes(pids) > processes.resident_bytes(pids[:1]) > 0
    finally:
        processes.end(process)
    assert not any(map(processes.alive, pids))


def test_confirms_take_what_they_are_for_out_of_what_waits() -> None:
    waiting = {tag: float(tag) for tag in range(1, 7)}
    assert publisher.settle(waiting, 3, multiple=False) == [3.0]
    assert publisher.settle(waiting, 4, multiple=True) == [1.0, 2.0, 4.0]
    assert list(waiting) == [5, 6]


def test_a_share_of_latencies_is_the_nearest_rank_above() -> None:
    ordered = [float(number) for number in range(1, 1001)]
    assert load.nearest_rank(ordered, 0.5) == 500.0
    assert load.nearest_rank(ordered, 0.999) == 999.0
    assert load.nearest_rank([7.0], 0.99) == 7.0
    assert load.nearest_rank([], 0.5) == 0.0
