"""The benchmark's arithmetic: a figure that is wrong is worse than none."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import environment
import load
import pipelined
import processes
import report
import stage
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


def test_no_run_hides_its_faults_behind_a_median() -> None:
    bad = replace(LOAD, non_204=3, timeouts=1)
    (median,) = report.medians([point(), point(bad), point()])
    assert (median.non_204, median.socket_errors) == (3, 1)
    assert len(report.faults([median])) == 2


def test_medians_keep_gateways_and_connections_apart() -> None:
    slow = replace(point(), requests_per_second=1.0)
    runs = [point(), slow, point(), replace(slow, gateway="peer"), point(connections=1)]
    medians = {(run.gateway, run.connections): run for run in report.medians(runs)}
    assert medians["ours", 32].requests_per_second == pytest.approx(10_000)
    assert medians["ours", 32].confirmed == 240_000
    assert medians["peer", 32].requests_per_second == pytest.approx(1.0)
    assert len(medians) == 3


def test_comparison_is_ours_over_theirs_for_requests_and_theirs_over_ours_for_cpu() -> None:
    peer = replace(point(), gateway="peer", requests_per_second=2_500.0, gateway_cpu_us=250.0)
    (line,) = report.comparison([point(), peer, point(connections=1)], "ours", "peer")
    assert line.startswith("at 32:")
    assert "4.0 times the requests/s" in line
    assert "10.0 times the CPU" in line


def test_table_has_a_line_for_each_point() -> None:
    lines = report.table([point(), point(connections=256)]).splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:2] == ["conns", "gateway"]
    assert lines[2].split()[:3] == ["256", "ours", "10,000"]


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
