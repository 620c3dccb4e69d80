"""The benchmark's arithmetic: a figure that is wrong is worse than none."""

import asyncio
import contextlib
import json
import random
import shutil
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
import forms
import gateways
import goals
import instructions
import load
import open_loop
import php
import processes
import publisher
import ratios
import results
import stage
import suite_root

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


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # The ranks of a table of binomial probabilities: 10 values, the 2nd and the 9th.
    [(6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (12, 3, 10), (20, 6, 15), (30, 10, 21)],
)
def test_interval_of_a_ratio_has_no_more_than_5_percent_outside(
    count: int, low: int, high: int
) -> None:
    values = [float(number) for number in range(1, count + 1)]
    random.shuffle(values)
    ratio = ratios.of(values)
    assert ratio == ((count + 1) / 2, low, high, count)


def test_interval_holds_the_true_median_as_often_as_it_says() -> None:
    """For figures that are far from normal: one run in ten takes three times as long."""
    draw = random.Random(21)
    true, missed = 1.0, 0
    for _ in range(2000):
        values = [draw.choice([-1, 1]) * draw.random() ** 3 + true for _ in range(10)]
        values = [each * 3 if draw.random() < 0.1 and each > true else each for each in values]
        ratio = ratios.of(values)
        assert ratio
        missed += not ratio.low <= true <= ratio.high
    assert 0 < missed / 2000 < 0.05


@pytest.mark.parametrize("count", [1, 5])
def test_too_few_pairs_decide_nothing(count: int) -> None:
    ratio = ratios.of([0.1] * count)
    assert ratio
    assert (ratio.low, ratio.high) == (0, float("inf"))
    assert str(ratio) == f"0.10 ({count} of 6 rounds)"
    assert ratios.of([]) is None


def paired(
    name: str, times: Sequence[float], *, point: str = "32", figure: str = "gateway_us"
) -> list[results.Run]:
    """Return a gateway's runs of pairs on a machine whose speed changes from round to round."""
    return [
        run(name=point, gateway=name) | {"scenario": "pairs", figure: 100.0 * (at % 3 + 1) * each}
        for at, each in enumerate(times)
    ]


def judged(document: results.Document) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the columns of pure, compiled and verdict by the ratio's text and point."""
    rows = goals.rows(list(goals.verdicts(document)))
    return {(text, at): (pure, compiled, word) for text, at, pure, compiled, _, word in rows[1:]}


OVER_RUST = "gateway CPU over mq-bridge-basic"


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ([0.43, 0.40, 0.44, 0.42, 0.41, 0.43, 0.44, 0.42, 0.43, 0.9], "met"),  # one outlier
        ([0.45] * 10, "met"),  # at the bound
        ([0.43, 0.44, 0.46, 0.47] * 2 + [0.44, 0.46], "not decided"),
        ([0.46, 0.50, 0.48] * 3 + [0.2], "not met"),
        ([0.1] * 5, "not decided"),  # too few
    ],
)
def test_a_goal_is_decided_by_the_whole_interval(ours: list[float], verdict: str) -> None:
    peer = paired("mq-bridge-basic", [1.0] * len(ours))
    found = judged(document(*paired("statelessd", ours), *peer))
    assert found[OVER_RUST, "32"][2] == verdict


def test_the_compiled_form_is_judged_where_it_was_measured() -> None:
    peer, pure = paired("mq-bridge-basic", [1.0] * 10), paired("statelessd", [0.8] * 10)
    compiled = paired("statelessd, compiled", [0.4] * 10)
    found = judged(document(*peer, *pure, *compiled))
    assert found[OVER_RUST, "32"] == ("0.80 (0.80 to 0.80)", "0.40 (0.40 to 0.40)", "met")
    assert found["gateway CPU over pure statelessd", "32"] == ("", "0.50 (0.50 to 0.50)", "met")
    assert judged(document(*peer, *pure))[OVER_RUST, "32"][2] == "not met"


@pytest.mark.parametrize(
    ("version", "rate", "verdict"),
    [("4.3.6", 0.81, "met"), ("4.3.6", 0.79, "not met"), ("3.10.8", 0.79, "")],
)
def test_the_rate_beside_the_plain_publisher_is_a_goal_of_rabbitmq_4(
    version: str, rate: float, verdict: str
) -> None:
    ours = paired("statelessd", [rate] * 10, figure="requests_per_second")
    plain = paired("pipelined AMQP", [1.0] * 10, figure="requests_per_second")
    found = judged(document(*ours, *plain, versions={"RabbitMQ": version}))
    assert found["rate over pipelined AMQP", "32"][2] == verdict


def test_two_backends_are_enough_if_the_broker_is_full_first() -> None:
    plain = [
        each | {"requests_per_second": 20_000.0} for each in paired("pipelined AMQP", [1] * 10)
    ]
    for cost, word in ((90.0, "met"), (110.0, "not met")):
        two = [each | {"gateway_us": cost} for each in paired("statelessd, 2 backends", [1] * 10)]
        found = judged(document(*two, *plain))
        assert found["cores of two backends at the rate of pipelined AMQP", "32"][2] == word


def beside(ours: Sequence[float], theirs: float = 1.0) -> results.Document:
    """Return a result with runs of ours and of a peer whose cost changes with the machine."""
    peer = paired("mq-bridge-basic", [theirs] * len(ours))
    return document(*paired("statelessd", [theirs * each for each in ours]), *peer)


NEAR = [0.98, 1.0, 1.02, 0.99, 1.01, 1.0]


@pytest.mark.parametrize(
    ("before", "after", "told", "status"),
    [
        (NEAR, [each * 1.1 for each in NEAR], "gateway us, beside mq-bridge-basic: 1.00 (0.98", 1),
        (NEAR, [each * 1.03 for each in NEAR], "0 regressions", 0),  # the intervals overlap
        (NEAR, [each / 2 for each in NEAR], "0.50 (0.48 to 0.52)+", 0),  # better
        (NEAR, [2.0] * 5, "fewer than 6 rounds", 0),  # of these rates are judged, but not the CPU
    ],
)
def test_only_intervals_that_part_are_a_regression(
    before: list[float],
    after: list[float],
    told: str,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The second one was measured on a machine of half the speed.
    assert compare.compare(beside(before), beside(after, 2.0)) == (status or 2 * (len(after) < 6))
    assert told in capsys.readouterr().out


def test_a_figure_without_a_peer_is_shown_and_not_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = document(*(run(gateway_us=30.0 * each) for each in NEAR))
    after = document(*(run(gateway_us=60.0 * each) for each in NEAR))
    assert compare.compare(before, after) == 2
    told = capsys.readouterr().out
    assert "2.0 (1.92 to 2.1)-" in told
    assert "1 figures are worse that had no peer beside them" in told


@pytest.mark.parametrize(
    ("before", "after", "told", "status"),
    [
        (document(run()), document(run(name="1")), "no point in common", 1),
        (document(run()), document(run(found=79_999)), "that are not in the queue", 1),
        (document(run()), document(run(), machine={"cpu": "another"}), "some | another", 2),
    ],
)
def test_what_makes_a_comparison_worthless_is_said(
    before: results.Document,
    after: results.Document,
    told: str,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert compare.compare(before, after) == status
    assert told in capsys.readouterr().out


def test_page_has_the_ratios_and_latencies_of_each_broker_and_python() -> None:
    pure, peer = paired("statelessd", [0.8] * 10), paired("mq-bridge-basic", [1.0] * 10)
    late = [
        run(name="10 % load", gateway="statelessd", p50_ms=0.8) | {"scenario": "latency"}
        for _ in range(10)
    ]
    other = {"RabbitMQ": "4.3.6", "statelessd": {"python": "3.14.8"}}
    more = document(*pure, *peer, *late, versions=other)
    text = docs.page(document(*pure, *peer), others=[more])
    assert "### Pairs with RabbitMQ 3.10.8, Python 3.11.7" in text
    assert "### Pairs with RabbitMQ 4.3.6, Python 3.14.8" in text
    row = f"| {OVER_RUST} | 32 | 0.80 (0.80 to 0.80) |  | at most 0.45 | not met |"
    assert text.count(row) == 2
    assert "### Latency with RabbitMQ 4.3.6, Python 3.14.8" in text
    assert "| 10 % load | statelessd | 10,000 | 0.80 (0.80 to 0.80) | 3.0 (3.0 to 3.0) |" in text
    assert "`make bench`, 2026-11-26, commit 0123456789ab, 2 cores (some); 10 rounds of 8 s" in text


def test_the_compiled_form_is_that_of_the_checkout(tmp_path: Path) -> None:
    assert "there is no statelessd/" in forms.missing(tmp_path)
    shutil.copytree(forms.PURE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "statelessd" / f"some{forms.SUFFIX}").touch()
    assert forms.missing(tmp_path) == ""
    with (tmp_path / "statelessd" / "message.py").open("a") as file:
        file.write("# older\n")
    assert "message.py differs" in forms.missing(tmp_path)


def test_a_compiled_form_without_figures_may_not_cost_more_than_the_pure_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instructions, "KEPT", tmp_path / "instructions.json")
    monkeypatch.setattr(instructions, "PYTHON", "3.11")
    pure, compiled = (dict.fromkeys(instructions.GUARDED, each) for each in (0.6, 0.2))
    instructions.KEPT.write_text(json.dumps({"3.11": pure, "3.12": dict(pure)}))
    assert instructions.agreed("compiled") == pure
    instructions.KEPT.write_text(json.dumps({"3.11": pure, "3.11 compiled": compiled}))
    assert instructions.agreed("compiled") == compiled
    assert instructions.agreed() == pure
    monkeypatch.setattr(instructions, "PYTHON", "3.15")  # it has those of the others of its form
    assert (instructions.agreed(), instructions.agreed("compiled")) == (pure, compiled)


@pytest.mark.parametrize("kind", ["http", "amqp"])
def test_a_steady_load_keeps_its_rate_and_counts_every_answer(kind: str) -> None:
    """The latencies are those since the due time, so a server that is slow does not hide them."""

    async def publish() -> load.Load:
        server = await asyncio.start_server(answer_late, "127.0.0.1", 0)
        async with FakeBroker() as broker, server:
            port = broker.port if kind == "amqp" else server.sockets[0].getsockname()[1]
            return await asyncio.to_thread(open_loop.run, kind, port, 200.0, 0.5)

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"text%2Fplain"):
                await asyncio.sleep(0.02)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    found = asyncio.run(publish())
    assert (found.confirmed, found.non_204, found.socket_errors) == (100, 0, 0)
    assert found.seconds >= 0.49
    assert found.p99_ms >= found.p50_ms > (20 if kind == "http" else 0)


@pytest.mark.parametrize(
    ("cores", "backends", "ours", "others"),
    [
        ([0, 1], 2, [0], [1]),
        ([0, 1, 2, 3], 1, [0], [1, 2, 3]),
        ([0, 1, 2, 3], 2, [0, 1], [2, 3]),
        ([2, 3, 4, 5], 4, [2, 3], [4, 5]),
        ([7], 2, [7], [7]),
    ],
)
def test_backends_have_cores_of_their_own_if_half_of_them_are_enough(
    cores: list[int], backends: int, ours: list[int], others: list[int]
) -> None:
    assert stage.divide(cores, pin=True, backends=backends) == (ours, others)


def test_a_suite_is_measured_in_its_root(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not suite_root.inside()
    monkeypatch.setenv(results.COMMIT, "0123456789ab")
    assert suite_root.inside()
    assert results.commit() == "0123456789ab"  # there is no git in the root


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
    first, *others = map(results.read, results.references())
    assert docs.PAGE.read_text() == docs.page(first, results.REFERENCE, others)


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


def test_the_name_of_a_result_says_nothing_of_where_files_were() -> None:
    given = ["php", "--amqproxy", "/home/me/amqproxy", "--json", "x.json", "--compiled", "/home/me"]
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
