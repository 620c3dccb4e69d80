"""Which stage of a publish a profiler's sample was taken in."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

KERNEL = {
    "read": "kernel: read",
    "recv": "kernel: read",
    "write": "kernel: write",
    "writev": "kernel: write",
    "sendmsg": "kernel: write",
    "epoll_wait": "kernel: wait for what comes next",
    "epoll_pwait": "kernel: wait for what comes next",
}
# Of a module, or of one function of it; the first that fits.
OURS = (
    ("http/head.py", "request head"),
    ("http/protocol.py", "request head"),
    ("http/router.py", "request head"),
    ("http/gateway.py request_id", "answer"),
    ("http/gateway.py refresh", "answer"),
    ("http/gateway.py", "request head"),
    ("http/cycle.py settled", "answer"),
    ("http/cycle.py", "request head"),
    ("http/request.py", "form to message"),
    ("http/forms.py", "form to message"),
    ("http/properties.py", "form to message"),
    ("message.py", "form to message"),
    ("broker/publish.py finish", "outcome, counters"),
    ("broker/publish.py", "publisher: bounds, login"),
    ("broker/publisher.py", "publisher: bounds, login"),
    ("broker/pool.py", "publisher: bounds, login"),
    ("broker/channel.py settled", "outcome, counters"),
    ("broker/connection.py data_received", "broker's confirm"),
    ("broker/connection.py _flush", "write to the broker"),
    ("broker/", "session, channel, connection"),
    ("amqp/encode.py", "AMQP frames"),
    ("amqp/protocol.py publish", "AMQP frames"),
    ("amqp/protocol.py data_to_send", "write to the broker"),
    ("amqp/confirms.py publish", "AMQP frames"),
    ("amqp/", "broker's confirm"),
    ("http/statistics.py", "answer"),
    ("http/turns.py", "answer"),
    ("http/answers.py", "answer"),
    ("", "sweeps and snapshots, a few times a second"),
)
ANYWHERE = "histogram.py"  # counts for whoever calls it
_FRAME = re.compile(r"(?P<function>.*) \((?P<file>[^()]*?)(?::(?P<line>\d+))?\)$")


def stages(profile: Iterable[str]) -> Counter[str]:
    """Samples by stage; ``profile``: lines of py-spy's format ``raw``, with ``--native``."""
    counted: Counter[str] = Counter()
    for line in profile:
        stack, _, samples = line.rpartition(" ")
        counted[stage(stack.split(";"))] += int(samples)
    return counted


def stage(stack: Sequence[str]) -> str:
    """Of the innermost frame that says something; ``stack`` begins with the outermost."""
    frames = [match for text in reversed(stack) if (match := _FRAME.match(text))]
    if frames and frames[0]["file"].startswith("libc") and frames[0]["function"] in KERNEL:
        name = KERNEL[frames[0]["function"]]
        if name != "kernel: write":
            return name
        to_broker = any(each["file"].endswith("broker/connection.py") for each in frames[:20])
        answering = any(each["file"].endswith("http/answers.py") for each in frames[:20])
        return f"{name} to the {'broker' if to_broker and not answering else 'client'}"
    for frame in frames:
        file, function = frame["file"], frame["function"].rpartition(".")[2]
        if "statelessd/" in file:
            where = f"{file.partition('statelessd/')[2]} {function}"
            if not where.startswith(ANYWHERE):
                return next(name for prefix, name in OURS if where.startswith(prefix))
        elif file in ("loop.c", "core.c", "linux.c", "stream.c") or "uvloop" in file:
            return "uvloop"
        elif file in ("parser.c", "llhttp.c", "api.c") or "httptools" in file:
            return "httptools"
        elif file.endswith("asyncio/runners.py"):
            break
        elif "uvicorn/" in file or "asyncio/" in file:
            return "uvicorn and asyncio"
    return "uvloop"  # which runs all the rest
