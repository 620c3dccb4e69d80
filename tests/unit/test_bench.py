"""The benchmark's arithmetic: a figure that is wrong is worse than none."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import ceiling
import compare
import docs_page
import environment
import goals
import load
import needs
import pipelined
import processes
import report
import results
import stage
import stages
import steady

LOAD = load.Load(
    seconds=8.0,
    confirmed=80_000,
    non_204=0,
    p50_ms=1.5,
    p99_ms=3.0,
    connect_errors=0,
    read_errors=0,
    write_errors=0,
    timeouts=0,
)


def point(of: load.Load = LOAD, found: int = 80_000, connections: int = 32) -> report.Point:
    return report.point("ours", connections, of, 2.0, 4.0, 50 * 2**20, found)


def test_wrk_output_is_read_from_its_json_line() -> None:
    output = (
        "Running 8s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n"
        '{"seconds": 8.1, "confirmed": 9, "non_204": 1, "p50_ms": 1.5, "p99_ms": 2.5, '
        '"connect_errors": 1, "read_errors": 2, "write_errors": 3, "timeouts": 4}\n'
    )
    result = load.parse(output)
    assert (result.requests, result.socket_errors, result.p99_ms) == (10, 10, 2.5)


def test_wrk_output_without_result_is_an_error_that_shows_it() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1\n")


def test_cpu_is_divided_by_every_answered_request() -> None:
    result = point(replace(LOAD, confirmed=70_000, non_204=10_000), found=70_000)
    assert result.gateway_cpu_us == pytest.approx(25.0)
    assert result.broker_cpu_us == pytest.approx(50.0)
    assert result.requests_per_second == pytest.approx(8_750)
    assert result.resident_mib == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("found", "lost", "surplus"),
    [(80_000, 0, 0), (79_999, 1, 0), (80_032, 0, 0), (80_033, 0, 1)],
)
def test_messages_are_counted_against_the_answers(found: int, lost: int, surplus: int) -> None:
    result = point(found=found)
    assert (result.lost, result.surplus) == (lost, surplus)
    assert len(report.faults([result])) == lost + surplus


def run(of: report.Point | None = None, name: str = "32", **figures: Any) -> report.Run:
    counted = stage.as_run("singles", name, of or point())
    return counted | {"p999_ms": 9.0, "body_bytes": 100} | figures


def document(*runs: report.Run, **more: Any) -> results.Document:
    return {
        "kind": "quick",
        "command": "make bench",
        "date": "2026-11-26T08:00:00+00:00",
        "commit": "0123456789ab",
        "cores": "pinned: the gateway to core 0; broker and wrk to core 1",
        "machine": {"cores": 2, "cpu": "some", "memory_mib": 2048, "kernel": "Linux 6.1 x86_64"},
        "versions": {"RabbitMQ": "3.10.8", "statelessd": {"python": "3.11.7"}},
        "options": {"seconds": 3},
        "runs": list(runs),
        "medians": report.medians(runs),
        **more,
    }


def test_no_run_hides_its_faults_behind_a_median() -> None:
    bad = replace(LOAD, non_204=3, timeouts=1)
    (median,) = report.medians([run(), run(point(bad)), run()])
    assert (median["non_204"], median["socket_errors"]) == (3, 1)
    assert len(median["faults"]) == 2


def test_medians_keep_gateways_and_points_apart() -> None:
    slow = run(requests_per_second=1.0)
    runs = [run(), slow, run(), slow | {"gateway": "peer"}, run(name="1", gateway_us=None)]
    medians = {(each["gateway"], each["point"]): each for each in report.medians(runs)}
    assert medians["ours", "32"]["requests_per_second"] == pytest.approx(10_000)
    assert medians["ours", "32"]["confirmed"] == 240_000
    assert medians["ours", "32"]["rounds"] == 3
    assert medians["peer", "32"]["requests_per_second"] == pytest.approx(1.0)
    assert medians["ours", "1"]["gateway_us"] is None
    assert len(medians) == 3


def test_table_has_each_rate_beside_the_ceiling_of_its_point() -> None:
    plain = run(gateway="plain", requests_per_second=20_000.0, gateway_us=None)
    lines = report.table(report.rows([run(), plain, run(name="256")], "plain")).splitlines()
    assert len(lines) == 4
    assert lines[1].split()[:4] == ["ours", "32", "10,000", "50%"]
    assert lines[3].split()[:4] == ["ours", "256", "10,000", "1.50"]


def test_goals_are_met_at_their_limits_and_not_beyond() -> None:
    plain = run(gateway="pipelined AMQP", requests_per_second=10_000.0, broker_us=40.0)
    ours = run(gateway="statelessd", gateway_us=20.0, requests_per_second=9_500.0, broker_us=40.1)
    found = {goal.text: goal.met for goal in goals.goals([ours, plain])}
    assert found == {
        "CPU of the gateway for a publish at 32 connections": True,
        "rate beside the pipelined publisher's at 32 connections": True,
        "CPU of the broker for a publish at 32 connections": False,
    }


def test_cost_is_flat_when_no_number_of_users_is_much_dearer_than_one() -> None:
    def users(count: int, cost: float) -> report.Run:
        return run(name=f"{count} kept at 32", gateway_us=cost) | {"scenario": "users"}

    (flat,) = goals.flatness([users(1, 30.0), users(1000, 36.0)])
    (steep,) = goals.flatness([users(1, 30.0), users(1000, 36.1)])
    assert (flat.met, steep.met) == (True, False)
    assert goals.flatness([users(1000, 36.0)]) == []  # there is nothing that it is as dear as


def spread_over(values: Sequence[float], **more: Any) -> results.Document:
    return document(*(run(gateway_us=value, **more) for value in values))


def test_a_change_beyond_the_spread_of_the_rounds_is_a_regression(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = spread_over([29.0, 30.0, 31.0])
    assert compare.compare(before, spread_over([39.0, 40.0, 41.0])) == 1
    assert "gateway us 30.00 -> 40.00, 1.33 times" in capsys.readouterr().out
    assert compare.compare(before, spread_over([32.0, 33.0, 34.0])) == 0  # a tenth is noise here
    assert compare.compare(before, spread_over([19.0, 20.0, 21.0])) == 0  # better


def test_a_peer_that_became_slower_is_no_regression_of_ours() -> None:
    before = spread_over([29.0, 30.0, 31.0], gateway="mq-bridge-basic")
    assert compare.compare(before, spread_over([59.0, 60.0, 61.0], gateway="mq-bridge-basic")) == 0


def test_what_every_peer_became_slower_by_is_no_regression_of_ours() -> None:
    def both(ours: float, theirs: float) -> results.Document:
        near = (0.98, 1.0, 1.02)
        peer = [run(gateway="mq-bridge-basic", gateway_us=theirs * each) for each in near]
        return document(*(run(gateway_us=ours * each) for each in near), *peer)

    assert compare.compare(both(30.0, 40.0), both(45.0, 60.0)) == 0
    assert compare.compare(both(30.0, 40.0), both(45.0, 40.0)) == 1
    assert compare.compare(both(30.0, 40.0), both(60.0, 60.0)) == 1


def test_rounds_that_differ_by_chance_are_seldom_a_regression(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chance = random.Random(7)

    def noisy() -> results.Document:
        points = [(name, who) for name in ("1", "32", "256") for who in ("ours", "php-amqp")]
        return document(*(
            run(name=name, gateway=who, **{key: chance.gauss(100, 7) for key in compare.FIGURES})
            for name, who in points for _ in range(3)
        ))  # fmt: skip

    flagged = sum(compare.compare(noisy(), noisy()) for _ in range(100))
    assert flagged <= 10
    capsys.readouterr()


def test_too_few_rounds_judge_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = spread_over([29.0, 30.0, 31.0])
    assert compare.compare(before, spread_over([60.0, 61.0])) == 2
    printed = capsys.readouterr().out
    assert "2.02 " in printed
    assert "nothing is judged" in printed


def test_a_run_with_a_fault_is_told_and_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    three = [run(), run(), run()]
    bad = document(run(), run(), run(point(found=79_999)))
    assert compare.compare(document(*three), bad) == 1
    assert "1 confirmed messages that are not in the queue" in capsys.readouterr().out


def test_less_throughput_is_a_regression_and_more_is_not() -> None:
    fast = document(*(run(requests_per_second=rate) for rate in (9_900.0, 10_000.0, 10_100.0)))
    slow = document(*(run(requests_per_second=rate) for rate in (7_900.0, 8_000.0, 8_100.0)))
    assert (compare.compare(fast, slow), compare.compare(slow, fast)) == (1, 0)


def test_rounds_that_agree_by_chance_have_the_spread_of_the_others() -> None:
    def both(values: Sequence[float]) -> results.Document:
        wide = [run(name=name, gateway_us=us) for name in ("1", "256") for us in (20.0, 30.0, 40.0)]
        return document(*wide, *(run(gateway_us=value) for value in values))

    assert compare.compare(both([30.0, 30.0, 30.0]), both([36.0, 36.0, 36.0])) == 0


def test_other_machines_and_versions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    other = document(run())
    other["machine"] = other["machine"] | {"cpu": "another"}
    other["options"] = {"seconds": 8}
    other["versions"] = {"RabbitMQ": "4.0.1", "statelessd": {"python": "3.13.1"}, "peer": {}}
    compare.compare(document(run()), other)
    printed = capsys.readouterr().out
    assert "machine cpu differs: some | another" in printed
    assert "options seconds differs: 3 | 8" in printed
    assert "versions RabbitMQ differs: 3.10.8 | 4.0.1" in printed
    assert "versions statelessd python differs: 3.11.7 | 3.13.1" in printed


def test_results_with_nothing_in_common_are_no_success() -> None:
    assert compare.compare(document(run()), document(run(name="1"))) == 1


def test_capacity_leaves_room_on_every_core() -> None:
    each = needs.needs(100_000, 30.0, 60.0, {"request": 310.0})
    assert each.gateway_cores == pytest.approx(100_000 * 30 / 1e6 / 0.6)
    assert (each.backends, each.queues, each.nodes) == (5, 10, 2)
    assert each.network["request"] == pytest.approx(100_000 * 400 / 1e6)
    assert needs.needs(1_000, 30.0, 60.0, {}).backends == 2  # one may die


def test_page_has_the_figures_of_its_result_and_no_more_sections_than_those() -> None:
    sizes = {"request": 310.0, "answer": 110.0, "to_broker": 160.0, "from_broker": 2.0}
    ours = run(gateway="statelessd", gateway_us=30.0, broker_us=60.0)
    users = run(name="10 kept at 32", gateway="statelessd") | {"scenario": "users"}
    alone = run(name="1", gateway="statelessd", gateway_us=90.0, broker_us=300.0)
    slow = run(name="1,000/s", gateway="statelessd", requests_per_second=1_000.0, gateway_us=50.0)
    slow |= {"scenario": "capacity", "broker_us": 100.0}
    text = docs_page.page(document(ours, alone, users, slow, bytes=sizes))
    assert "`make bench` made on 2026-11-26" in text
    assert "| statelessd | 32 | 10,000 |" in text
    assert "## Users" in text
    assert "## PHP" not in text
    assert "10,000 x 30.0 / 1 M / 0.6 = 0.5" in text
    assert "| 1,000 | 3.0 to 9.0 % | 5.0 % | 6.0 to 30.0 % | 10.0 % |" in text


def test_page_shows_what_its_result_has_and_its_faults(tmp_path: Path) -> None:
    alone = docs_page.page(document(run(name="1")), tmp_path / "mine.json")
    assert "![" not in alone
    assert "from `mine.json`" in alone
    assert "- php failed" in docs_page.page(document(run(), failures=["php failed: no php"]))
    bad = run(point(found=79_999))
    assert f"- {bad['faults'][0]}\n" in docs_page.page(document(run(), bad))
    single = docs_page.page(document(run()))
    assert "Faults" not in single
    assert "bench-cpu.svg" in single
    assert "bench-rate.svg" not in single  # there is no pipelined publisher
    assert "from [bench/results/reference.json](../bench/results/reference.json)" in single


def test_points_that_differ_in_their_first_number_are_one_line() -> None:
    runs = [run(name=name, gateway_us=us) for name, us in
            (("1 at 32", 1.0), ("10 at 32", 2.0), ("1 at 256", 3.0))]  # fmt: skip
    lines = docs_page.series(runs, "gateway_us")
    assert lines == {"at 32": [(1.0, 1.0), (10.0, 2.0)], "at 256": [(1.0, 3.0)]}


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = results.write(document(run(), run()), tmp_path / "result.json")
    assert results.read(file)["medians"][0]["rounds"] == 2
    for content in (b"[]", b"{", b"\xff", b'{"medians": []}'):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"result\.json is no result"):
            results.read(file)


def test_command_is_what_one_gives_to_make() -> None:
    assert results.command([]) == "make bench"
    given = ["--full", "--rounds", "2", "--json", "/tmp/x.json"]
    assert results.command(given) == 'make bench-full BENCH="--rounds 2"'
    assert results.command(["--json=x", "--full"]) == "make bench-full"


def test_parent_is_found_behind_a_name_with_parentheses_and_spaces() -> None:
    assert processes.parent_of("12 (a) R 1 (b) S 77 12 12 0") == 77


def test_tree_holds_every_descendant_and_nobody_else() -> None:
    assert sorted(processes.descend(10, {11: 10, 12: 11, 13: 12, 20: 1, 10: 1})) == [10, 11, 12, 13]


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


def test_cpu_clock_agrees_with_the_process_s_own() -> None:
    before = processes.cpu_seconds([os.getpid()])
    own = time.process_time()
    assert before <= own <= processes.cpu_seconds([os.getpid()])


def test_cpu_of_a_process_that_ended_is_an_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(OSError, match="Invalid argument"):
        processes.cpu_seconds([process.pid])


def test_gateway_gets_a_core_of_its_own_where_there_are_two() -> None:
    assert environment.divide([2, 0, 1], pin=True).gateway == [0]
    assert environment.divide([2, 0, 1], pin=True).others == [1, 2]
    assert not environment.divide([0], pin=True).pinned
    assert environment.divide([0, 1], pin=False).gateway == [0, 1]


def test_confirms_count_however_they_come() -> None:
    confirmed = pipelined.Confirmed()
    counts = []
    for tag, multiple in ((2, False), (1, False), (5, False), (4, True), (7, False), (6, True)):
        confirmed.add(tag, multiple=multiple)
        counts.append(confirmed.count)
    assert counts == [0, 2, 2, 5, 5, 7]


def test_confirms_take_what_they_are_for_out_of_what_waits() -> None:
    waiting = {tag: float(tag) for tag in range(1, 7)}
    assert ceiling.settle(waiting, 3, multiple=False) == [3.0]
    assert ceiling.settle(waiting, 4, multiple=True) == [1.0, 2.0, 4.0]
    assert list(waiting) == [5, 6]


def test_a_sample_belongs_to_the_innermost_frame_that_says_something() -> None:
    begin = "run (statelessd/backend.py:1);Runner.run (asyncio/runners.py:118);uv_run (core.c:1)"
    settle = "ExchangeChannel.settled (statelessd/broker/channel.py:1)"
    answer = "Answering._answer (statelessd/http/answers.py:1)"
    data = "BrokerConnection.data_received (statelessd/broker/connection.py:1)"
    flush = "BrokerConnection._flush (statelessd/broker/connection.py:1)"
    found = stages.stages(
        [
            f"{begin};{data};{settle} 2\n",
            f"{begin};{data};{settle};{answer};Histogram.observe (statelessd/histogram.py:1) 3\n",
            f"{begin};{data};{settle};{answer};UVStream_write (loop.c:1) 4\n",
            f"{begin};{data};{settle};{answer};UVStream_write (loop.c:1);write (libc.so.6) 5\n",
            f"{begin};{flush};UVStream_write (loop.c:1);write (libc.so.6) 6\n",
        ]
    )
    assert found == {
        "outcome, counters": 2,
        "answer": 3,
        "uvloop": 4,
        "kernel: write to the client": 5,
        "kernel: write to the broker": 6,
    }


def test_a_share_of_latencies_is_the_nearest_rank_above() -> None:
    ordered = [float(number) for number in range(1, 1001)]
    assert steady.nearest_rank(ordered, 0.5) == 500.0
    assert steady.nearest_rank(ordered, 0.999) == 999.0
    assert steady.nearest_rank([7.0], 0.99) == 7.0
    assert steady.nearest_rank([], 0.5) == 0.0


def test_a_run_of_a_scenario_tells_its_faults() -> None:
    assert stage.as_run("users", "10", point())["faults"] == []
    run = stage.as_run("users", "10", point(found=79_999))
    assert run["faults"] == [
        "users, 10: ours at 32: 1 confirmed messages that are not in the queue"
    ]
    assert (run["gateway_us"], run["broker_us"]) == (25.0, 50.0)


def test_a_scenarios_table_has_the_median_of_each_point() -> None:
    runs = [
        stage.as_run("users", "10", point(replace(LOAD, confirmed=count), found=count))
        for count in (8_000, 80_000, 16_000)
    ]
    [_, line] = stage.table(runs).splitlines()
    assert line.split()[:4] == ["users", "10", "ours", "2,000"]
