"""Celery tasks that an HTTP request starts, and that a real worker runs."""

import json
import subprocess
import time
import types
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from flaky import CLOSED, PUBLISHED, Flaky, problem
from frameworks import EXAMPLES, runs, variables
from gateway import free_port
from users import add_users
from waiting import wait_until


class Worker:
    """A Celery worker, and what its tasks noted."""

    def __init__(self, log, ran):
        self.log = log
        self.ran = ran

    def runs_of(self, task_id):
        lines = self.ran.read_text().splitlines() if self.ran.exists() else []
        return [run for run in map(json.loads, lines) if run["id"] == task_id]

    def ran_once(self, task_id):
        """Wait for the task, and return its only run."""
        (run,) = wait_until(lambda: self.runs_of(task_id), what=f"task {task_id}")
        return run


@pytest.fixture(scope="module")
def worker(broker, tmp_path_factory):
    directory = tmp_path_factory.mktemp("celery")
    log, ran = directory / "worker.log", directory / "ran.jsonl"
    command = ["-m", "celery", "--app", "celery_shop", "worker", "--pool", "solo",
               "--without-gossip", "--without-mingle", "--loglevel", "INFO"]  # fmt: skip
    with runs(command, log, AMQP_URL=broker.url, RAN=str(ran)) as process:
        wait_until(
            lambda: "ready." in log.read_text() or process.poll() is not None,
            what="the worker to be ready",
        )
        yield Worker(log, ran)


class InPython:
    """Starts tasks by the function of celery_task.py."""

    def __init__(self, url):
        file = EXAMPLES / "celery_task.py"
        self.module = types.ModuleType("celery_task")
        exec(compile(file.read_text(), file, "exec"), vars(self.module))  # leaves no bytecode
        vars(self.module)["URL"] = url

    def start(self, task, args=(), kwargs=None, **options):
        return self.module.start_task(task, args, kwargs, **options)

    def fails(self, *call, **options):
        """Return the reason, and whether the task may run all the same."""
        with pytest.raises(self.module.NotStarted) as failure:
            self.start(*call, **options)
        return str(failure.value), failure.value.perhaps


class InShell:
    """Starts tasks by celery_task.sh."""

    auth = "guest:guest"

    def __init__(self, url):
        self.url = url

    def run(self, task, args=(), kwargs=None, *, task_id="", countdown="", queue="celery"):
        call = [task, json.dumps(args, ensure_ascii=False)]
        if kwargs is not None:
            call.append(json.dumps(kwargs, ensure_ascii=False))
        settings = {"TASK_ID": task_id, "COUNTDOWN": str(countdown), "CELERY_QUEUE": queue}
        return subprocess.run(
            ["sh", EXAMPLES / "celery_task.sh", *call],
            env=variables(STATELESSD_URL=self.url, STATELESSD_AUTH=self.auth, **settings),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def start(self, *call, **options):
        done = self.run(*call, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(params=[InPython, InShell])
def sender(request, gateway):
    return request.param(gateway.url)


@pytest.fixture
def python(gateway):
    return InPython(gateway.url)


@pytest.fixture
def shell(gateway):
    return InShell(gateway.url)


def test_a_worker_runs_the_task(sender, worker):
    args, kwargs = ["Zoë & 東京 50 %", 1.5, None], {"größe": {"a": [True]}, "plus": "1+1=2"}
    task_id = sender.start("shop.send_receipt", args, kwargs)
    run = worker.ran_once(task_id)
    assert (run["args"], run["kwargs"]) == (args, kwargs)
    assert run["root_id"] == run["correlation_id"] == task_id
    assert run["retries"] == 0


def test_a_task_without_arguments(sender, worker):
    task_id = sender.start("shop.charge", task_id=str(uuid.uuid4()))
    run = worker.ran_once(task_id)
    assert (run["args"], run["kwargs"]) == ([], {})


def test_a_countdown_delays_it(sender, worker):
    before = time.time()
    run = worker.ran_once(sender.start("shop.send_receipt", ["Zoë"], countdown=2))
    assert run["at"] >= before + 2


def test_an_eta_delays_it(python, worker):
    eta = datetime.now(UTC) + timedelta(seconds=2)
    run = worker.ran_once(python.start("shop.send_receipt", ["Zoë"], eta=eta))
    assert run["at"] >= eta.timestamp()


def test_the_worker_retries_it_with_the_same_id(sender, worker):
    task_id = sender.start("shop.charge", [42])
    wait_until(lambda: len(worker.runs_of(task_id)) == 2, what="the second run")
    runs = worker.runs_of(task_id)
    assert [run["retries"] for run in runs] == [0, 1]
    assert [run["root_id"] for run in runs] == [task_id] * 2
    assert [run["args"] for run in runs] == [[42]] * 2


def test_a_request_that_is_repeated_runs_twice_with_one_id(sender, worker):
    task_id = str(uuid.uuid4())
    assert [sender.start("shop.send_receipt", ["Zoë"], task_id=task_id) for _ in "ab"] == [
        task_id
    ] * 2
    wait_until(lambda: len(worker.runs_of(task_id)) == 2, what="the second run")


def test_the_result_goes_to_the_queue_of_reply_to(python, worker, amqp):
    channel = amqp("/")
    queue = channel.queue_declare("", exclusive=True).method.queue
    task_id = python.start("shop.send_receipt", ["Zoë"], reply_to=queue)
    _, properties, body = wait_until(
        lambda: (reply := channel.basic_get(queue, auto_ack=True))[0] and reply, what="the result"
    )
    assert properties.correlation_id == task_id
    assert json.loads(body)["result"] == "a receipt for Zoë"


def test_the_worker_discards_a_task_that_it_does_not_have(python, worker):
    python.start("shop.misspelt")
    said = "Received unregistered task of type 'shop.misspelt'"
    wait_until(lambda: said in worker.log.read_text(), what=said)
    worker.ran_once(python.start("shop.send_receipt", ["Zoë"]))


def test_an_account_that_may_only_write_to_the_exchange_is_enough(shell, worker, broker):
    add_users(broker, {"cron": "secret"}, virtual_host="/", write="^celery$")
    shell.auth = "cron:secret"
    worker.ran_once(shell.start("shop.send_receipt", ["Zoë"]))
    assert "/docs#forbidden" in shell.run("x", queue="test").stderr


def test_every_try_has_the_same_id():
    with Flaky(problem(503, retry_after=0), CLOSED, PUBLISHED) as server:
        task_id = InPython(server.url).start("shop.charge")
    assert [request.message_id.decode() for request in server.requests] == [task_id] * 3


def test_every_try_of_curl_has_the_same_id():
    with Flaky(problem(503, retry_after=0), problem(504), PUBLISHED) as server:
        task_id = InShell(server.url).start("shop.charge")
    assert [request.message_id.decode() for request in server.requests] == [task_id] * 3


def test_what_was_unknown_once_stays_unknown():
    refusal = problem(403, detail="Not any more", retryable=False)
    with Flaky(problem(504, outcome="unknown", retry_after=0), refusal) as server:
        assert InPython(server.url).fails("shop.charge") == ("Flaky: Not any more", True)


def test_nobody_listens():
    reason, perhaps = InPython(f"http://127.0.0.1:{free_port()}").fails("shop.charge")
    assert reason.startswith("No answer: ")
    assert perhaps


def test_no_worker_has_made_the_queue(python):
    reason, perhaps = python.fails("shop.charge", queue="no worker yet/ü")
    assert reason.startswith("The exchange does not exist: ")
    assert not perhaps


def test_no_worker_has_made_the_queue_of_curl(shell):
    done = shell.run("shop.charge", queue="none")
    assert (done.stdout, done.returncode) == ("", 22)
    assert "no exchange 'none' in vhost '/'" in done.stderr
