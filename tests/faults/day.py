"""A day of a gateway in minutes: its traffic and its events, and whether it grows.

The timers of the settings are divided by the same factor as the day. What depends on the
network, such as deadlines, is not: so an hour has fewer requests than a real one.
"""

import contextlib
import dataclasses
import os
import random
import statistics
import time
from functools import partial
from pathlib import Path

import day_events
from background import in_background
from certificates import Authority
from day_clients import (
    HOOK,
    HOOK_USER,
    NEWCOMERS,
    STEADY,
    Accounts,
    WebhookClient,
    dashboard,
    steady_task,
)
from gateway import At, GatewayProcess
from growth import Size, complaints, trend_of
from hostile import BODIES
from http_clients import BatchClient, CurlClient, HttpClient, Place
from proxy import Proxy
from queues import count_ids
from traffic import Traffic
from users import add_users
from verdict import Verdict, judge
from waiting import wait_until
from world import FaultyWorld

import broker as broker_script

PROCESSES = ("parent", "backend 1", "backend 2")
PAUSE = 0.02  # seconds that a client waits after an answer
HISTORY = 600.0  # seconds in which a new backend's history of the dashboard fills
QUIET = 2.0  # seconds at the end of an hour in which sizes are taken
PAGE = os.sysconf("SC_PAGE_SIZE")
# Setting: its default in seconds, and the least that it becomes.
TIMERS = {
    "Application.rabbitmq.idle_timeout": (600, 1),
    "Application.rabbitmq.reverify_after": (300, 1),
    "Application.rabbitmq.heartbeat": (30, 4),
    "Application.rabbitmq.probe.interval": (30, 1),
    "HTTPServer.idle_timeout": (75, 2),
    "HTTPServer.header_timeout": (10, 2),
    "HTTPServer.body_timeout": (10, 2),
    "HTTPServer.linger_timeout": (30, 2),
}


@dataclasses.dataclass
class Hour:
    """One hour: its events, its counts, and the sizes in the quiet moment at its end."""

    number: int
    ended_at: float  # by the monotonic clock
    events: list
    verdict: Verdict
    connections: int  # at the broker, at most
    channels: int
    sizes: dict  # of each process, by its id, the parent's first
    files: int  # temporary ones


@dataclasses.dataclass
class Run:
    """What happened. ``wrong``: what the verdict about growth complains of."""

    seed: int
    factor: float
    timers: dict
    hours: list = dataclasses.field(default_factory=list)
    steady: Verdict = dataclasses.field(default_factory=Verdict.nothing)
    wrong: list = dataclasses.field(default_factory=list)
    log: str = ""

    @property
    def verdict(self):
        return sum((hour.verdict for hour in self.hours), self.steady)

    @property
    def warm_up(self):
        """Return the hours after which nothing may grow.

        Backends are replaced in the first third, and each then fills its history.
        """
        filled_at = self.hours[len(self.hours) // 3 - 1].ended_at + HISTORY
        return sum(hour.ended_at < filled_at for hour in self.hours)

    @property
    def good(self):
        return self.verdict.true and not self.wrong

    def sizes(self):
        """Return by process what it held at the end of each hour after the warm-up."""
        after = [hour.sizes for hour in self.hours[self.warm_up :]]
        return {pid: [each[pid] for each in after if pid in each] for pid in after[0]}

    def __str__(self):
        lines = [str(self.verdict), "after the warm-up, in quiet moments:"]
        for name, each in zip(PROCESSES, self.sizes().values(), strict=True):
            lines.append(f"  {name}: memory {trend_of([size.memory for size in each])}")
        return "\n".join([*lines, *(f"WRONG: {each}" for each in self.wrong)])


class DayWorld(FaultyWorld):
    """One node behind a proxy; a gateway with TLS on a port, a Unix socket and a webhook."""

    queues = (*FaultyWorld.queues, STEADY)

    def __init__(self, directory, suite, timers, leak, secret):
        super().__init__(directory, suite)
        self._timers, self._leak = timers, leak
        self.authority = Authority(directory / "tls")
        self.secrets_file, self.password_file = directory / "secrets", directory / "password"
        self.secrets_file.write_text(f"{secret}\n")
        self.password_file.write_text(HOOK_USER)
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        self.log = directory / "statelessd.log"

    def declare(self, channel):
        super().declare(channel)
        channel.exchange_declare(STEADY, "topic", durable=True)
        channel.queue_bind(STEADY, STEADY, "#")
        add_users(self.broker, {HOOK_USER: HOOK_USER})

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.broker)
            with self.channel() as channel:
                self.declare(channel)
            self.proxy = stack.enter_context(Proxy(self.broker.host, self.broker.amqp_port))
            where, socket = At(self.proxy.host, self.proxy.port), self._directory / "unix"
            self.gateway = GatewayProcess(
                self._directory, where, self._settings(), unix=[socket], ca=self.authority.ca
            )
            self.gateway.log = self.log
            environment = {"TMPDIR": str(self.temporary), "PYTHONPATH": str(Path(__file__).parent)}
            stack.enter_context(_environment(environment))
            self.gateway.start()
            stack.callback(self.gateway.kill)
            wait_until(socket.exists, what="the Unix socket")
            self.places = [Place(self.gateway.port, self.authority.ca), Place(socket=socket)]
            self._stack = stack.pop_all()
        return self

    def _settings(self):
        webhook = {
            "name": "github", "path": HOOK, "virtual_host": "test", "exchange": "traffic",
            "routing_key": "ok.0", "username": HOOK_USER, "password_file": str(self.password_file),
            "verify": {"scheme": "github", "secrets_file": str(self.secrets_file)},
        }  # fmt: skip
        handler = "leaking.LeakingHandler" if self._leak else "logging.handlers.WatchedFileHandler"
        log = {
            "version": 1,
            "handlers": {"file": {"class": handler, "filename": str(self.log)}},
            "loggers": {"statelessd": {"handlers": ["file"], "level": "INFO"}},
        }
        settings = {
            "Application": {"access_log": 1 if self._leak else 10, "metrics": {"exchanges": 8}},
            "HTTPServer": {"tls": self.authority.settings},
            "Webhooks": [webhook],
            "Logging": log,
        }
        for path, seconds in self._timers.items():
            *sections, name = path.split(".")
            section = settings
            for each in sections:
                section = section.setdefault(each, {})
            section[name] = seconds
        return settings

    def found_in(self, queues):
        """Return how often each message id is in these queues; empty them."""
        with self.channel() as channel:
            return count_ids(channel, queues)

    def processes(self):
        """Return the process ids of the parent and of its backends."""
        return [self.gateway.process.pid, *self.gateway.backends()]


class _Peaks:
    """The largest numbers of the broker's connections and channels that were seen."""

    def __init__(self, broker):
        self.connections = self.channels = 0
        self._broker = broker

    def watch(self, stopping):
        """Ask the broker every two seconds."""
        while not stopping.wait(2):
            with contextlib.suppress(broker_script.BrokerError):  # it is being restarted
                connections, channels = self._counts()
                self.connections = max(self.connections, connections)
                self.channels = max(self.channels, channels)

    def _counts(self):
        names = "length(rabbit_networking:connections())", "length(rabbit_channel:list())"
        return map(int, self._broker.evaluate(f"{{{', '.join(names)}}}.").strip("{}").split(","))


class Day:
    """Plays the hours. ``accounts``: what clients log in with; ``slow``: connections to close.

    ``bodies``: how many expensive ones are sent when clients are hostile the next time.
    """

    newcomers = NEWCOMERS

    def __init__(self, world, run, accounts, seconds, say):
        self.world, self.accounts, self.slow = world, accounts, []
        self.bodies = len(BODIES)
        self._run, self._seconds, self._say = run, seconds, say
        self._rng = random.Random(run.seed)
        self._begun = time.monotonic()

    def play(self, hours):
        """Play so many hours with the steady clients and the dashboard, and count these too."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(in_background(partial(dashboard, self.world.places[0])))
            steady = [
                stack.enter_context(self._traffic(f"steady-{n}", [place]))
                for n, place in enumerate(self.world.places)
            ]
            for each in steady:
                each.steady(steady_task, 1, 0.5)
            for number in range(hours):
                self._run.hours.append(self._hour(number, hours // 3))
                self._say(row(self._run.hours[-1]))
        self._settle(0)
        answers = [answer for each in steady for answer in each.answers]
        self._run.steady = judge(answers, self.world.found_in([STEADY]))

    def _traffic(self, number, places):
        return Traffic(self._run.seed, places, self._begun, number)

    def _hour(self, number, warm_up):
        ends = time.monotonic() + self._seconds
        clients, events = day_events.DAY[number % 24]
        events = [e for e in events if number < warm_up or e not in day_events.RENEWALS]
        day_events.newcomers_come(self, number)
        peaks = _Peaks(self.world.broker)
        with in_background(peaks.watch):
            with self._traffic(number, self.world.places) as traffic:
                if clients:
                    self._begin(traffic, clients)
                for event in events:
                    event(self, traffic, self._rng)
                    time.sleep(self._rng.uniform(0.2, 1.5))
                self.world.heal()
                quiet = self._run.timers["Application.rabbitmq.idle_timeout"] + QUIET
                time.sleep(max(1.0, ends - quiet - time.monotonic()))
            for connection in self.slow:
                connection.close()
            self.slow.clear()
            day_events.newcomers_go(self, number)
            self._settle(2)
        sizes = self._sizes()
        verdict = judge(traffic.answers, self.world.found_in(FaultyWorld.queues))
        files = sum(1 for _ in self.world.temporary.iterdir())
        names = [event.__name__.replace("_", " ") for event in events]
        counts = peaks.connections, peaks.channels
        return Hour(number, time.monotonic(), names, verdict, *counts, sizes, files)

    def _begin(self, traffic, clients):
        for kind in (CurlClient, BatchClient):
            traffic.begin(kind, 1, self.accounts.task, PAUSE * 10)
        traffic.begin(HttpClient, clients, self.accounts.task, PAUSE)
        traffic.begin(WebhookClient, 1, self.accounts.delivery, PAUSE * 5)

    def _settle(self, connections):
        """Wait until the gateway has closed its idle connections to the broker but so many."""
        count = "length(rabbit_networking:connections())."
        wait_until(
            lambda: int(self.world.broker.evaluate(count)) <= connections,
            120,
            what="the end of idle connections",
        )

    def _sizes(self):
        """Return the size of each process: the medians and least values of some seconds.

        The steady clients' connections are sometimes being replaced, so the least count of
        descriptors is that of a quiet process.
        """
        sizes = {pid: [] for pid in self.world.processes()}
        ends = time.monotonic() + QUIET
        while time.monotonic() < ends:
            for pid, taken in sizes.items():
                taken.append(_size(pid))
            time.sleep(0.1)
        return {
            pid: Size(
                int(statistics.median(each.memory for each in taken)),
                min(each.descriptors for each in taken),
                min(each.threads for each in taken),
            )
            for pid, taken in sizes.items()
        }

    def end(self):
        """Reload once more: the parent has to hold what it held. Stop the gateway."""
        held = self._run.hours[-1].sizes[self.world.gateway.process.pid].descriptors
        self.world.gateway.reload(day_events.RELOAD)
        parent = _size(self.world.gateway.process.pid).descriptors
        if parent != held:
            self._run.wrong.append(f"parent: {held} descriptors before a reload, {parent} after it")
        self.world.end_gateway()
        logs = self.world.log.parent.glob(f"{self.world.log.name}*")
        self._run.log = "".join(log.read_text() for log in logs)
        assert "Traceback" not in self._run.log, self._run.log


def _size(pid):
    proc = Path(f"/proc/{pid}")
    status = (proc / "status").read_text().partition("\nThreads:")[2].split()
    memory = int((proc / "statm").read_text().split()[1]) * PAGE
    return Size(memory, len(list((proc / "fd").iterdir())), int(status[0]))


def is_long_enough(hours, minutes):
    """Return whether enough hours are left for a trend when backends have filled their history."""
    return (minutes * 2 / 3 - HISTORY / 60) * hours / minutes >= 5


def play(directory, seed, *, hours, minutes, suite=None, leak=False, say=print):
    """Play so many hours in so many minutes."""
    factor = hours * 60 / minutes
    timers = {name: max(least, round(real / factor, 1)) for name, (real, least) in TIMERS.items()}
    timers["Application.rabbitmq.heartbeat"] = int(timers["Application.rabbitmq.heartbeat"])
    run, accounts = Run(seed, factor, timers), Accounts()
    say(f"an hour is {3600 / factor:.0f} s: timers and counts are those of a day / {factor:.0f}")
    say("\n".join(HEAD))
    with DayWorld(directory, suite, timers, leak, accounts.secret) as world:
        day = Day(world, run, accounts, 3600 / factor, say)
        day.play(hours)
        day.end()
    for name, sizes in zip(PROCESSES, run.sizes().values(), strict=True):
        if len(sizes) < hours - run.warm_up:
            run.wrong.append(f"{name} ended")
        else:
            run.wrong += complaints(name, sizes)
    if any(hour.files != run.hours[0].files for hour in run.hours):
        run.wrong.append("there are more temporary files")
    return run


HEAD = [
    "| hour | answers | confirmed | not published | unknown | lost, denied, doubled "
    "| MiB: parent, backends | descriptors | threads | at the broker: connections, channels "
    "| temporary files | events |",
    "|---:|---:|---:|---:|---:|---|---|---|---|---|---:|---|",
]


def row(hour):
    """Return the hour as a row of the table."""
    outcomes, sizes = hour.verdict.outcomes, hour.sizes.values()
    wrong = (hour.verdict.lost, hour.verdict.denied, hour.verdict.doubled)
    cells = (
        hour.number,
        outcomes.total(),
        *(outcomes[name] for name in ("confirmed", "not-published", "unknown")),
        ", ".join(str(len(each)) for each in wrong),
        ", ".join(f"{size.memory / 2**20:.1f}" for size in sizes),
        ", ".join(str(size.descriptors) for size in sizes),
        ", ".join(str(size.threads) for size in sizes),
        f"{hour.connections}, {hour.channels}",
        hour.files,
        ", ".join(hour.events),
    )
    return f"| {' | '.join(map(str, cells))} |"


def report(run, seconds):
    """Return the run as a document."""
    lines = [
        f"# A day in {seconds / 60:.0f} minutes, seed {run.seed}",
        "",
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores.",
        f"Timers and counts are those of a day, divided by {run.factor:.0f}:",
        *(f"`{name}: {value:g}`" for name, value in run.timers.items()),
        "",
        *HEAD,
        *map(row, run.hours),
        "",
        "```",
        str(run),
        "```",
    ]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _environment(variables):
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
