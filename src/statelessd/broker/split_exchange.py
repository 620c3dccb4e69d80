"""An exchange whose messages cannot all take one channel: split by routing key over several.

Three things split an exchange:

- A queue, or a channel inside RabbitMQ, does not answer. Later messages with the same routing
  keys wait for what is unconfirmed; the others go on over a new channel of the connection.
- A topic was refused, which closes the channel under its neighbours. For a while each
  routing key travels alone until its first confirm.
- Another connection takes over. It begins when the old one has confirmed what it sent.

Messages with the same routing key do not overtake one another, but for those in doubt.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from ..amqp.events import Settlement
from ..message import Message, Outcome, Public
from .channel import STALL, ChannelOwner, ExchangeChannel, Route, Table
from .pending import SETTLED, Publish
from .state import ChannelPhase

MOST_OLD = 8  # channels of one exchange that do not answer; more for what was never tried
MOST_RETRIED = 5  # so many of them at most for routing keys that were tried in vain
MOST_TRIED = 12  # in all; the login has 16, and its other exchanges need some
# Seconds for the first message of a new channel, doubled with each channel that does not answer.
QUICK, LONGEST_QUICK = 0.4, 3.2
LONE_CHANNELS = 4  # for routing keys that have not proved good
GUARDED = 60.0  # seconds after the last refusal for which they travel alone
MOST_GOOD = 10_000  # routing keys that are remembered as good
GIVEN_UP = 10.0  # likewise, where it is the queue that does not answer
AGAIN = 1.0  # seconds until a routing key is tried, doubled with each time from the third on
OVERTAKEN = Public("The broker did not confirm the message, although it confirmed later ones.")
TOO_MANY = Public(
    "Too many messages are waiting for this exchange: the broker does not confirm them."
)


class SplitTable(Table, Protocol):
    """The session's channels, as a split exchange sees them."""

    session: ChannelOwner

    @property
    def slowness(self) -> float: ...
    @property
    def now(self) -> float: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def may_split(self) -> bool: ...
    def was_slow(self, took: float) -> None: ...
    def open_channels(self) -> None: ...
    def retire(self, channel: ExchangeChannel) -> list[Publish]: ...
    def unretire(self, channel: ExchangeChannel) -> bool: ...
    def join(self, split: "SplitExchange", channel: ExchangeChannel | None) -> None: ...


class Hold:
    """The unconfirmed messages of an old channel, which later messages have to wait for.

    ``everything``: messages with other routing keys wait as well. A message is in doubt while
    nothing behind it was settled: it may be the channel that does not answer, or its queue.
    """

    def __init__(
        self, channel: ExchangeChannel, unsettled: dict[int, Publish], since: float
    ) -> None:
        self.everything = False
        self.since = since
        self.head, self.head_since = channel.oldest, channel.head_since
        self._unsettled = dict.fromkeys(unsettled.values())
        # A channel that hangs does so at its oldest message, unless confirms were under way.
        self.suspect = next((p.message.routing_key for p in self._unsettled), "")
        # The routing keys that have to wait, and how many messages each waits for.
        self.keys = Counter(publish.message.routing_key for publish in self._unsettled)
        settled = next((t for t in range(channel.sent, 0, -1) if t not in unsettled), 0)
        self._in_doubt = {p for tag, p in unsettled.items() if tag > settled}

    def doubts(self, key: str) -> bool:
        """Return whether the channel may be what does not answer, and not this key's queue."""
        return all(publish in self._in_doubt for publish in self._of(key))

    def is_answered(self, key: str) -> bool:
        """Return whether each client with a message of this key has had its answer."""
        return all(publish.state is SETTLED for publish in self._of(key))

    def _of(self, key: str) -> list[Publish]:
        return [publish for publish in self._unsettled if publish.message.routing_key == key]

    def settle(self, publish: Publish) -> bool:
        """Return whether it was the last one with its routing key."""
        key = publish.message.routing_key
        if publish in self._in_doubt:
            for earlier in self._unsettled:
                self._in_doubt.discard(earlier)
                if earlier is publish:
                    break
        if publish not in self._unsettled or key not in self.keys:
            return False
        del self._unsettled[publish]
        self.keys[key] -= 1
        if self.keys[key]:
            return False
        del self.keys[key]
        return True

    def give_up(self, key: str) -> None:
        """Wait no longer for this routing key: answer ``unknown`` to what is unconfirmed."""
        if self.keys.pop(key, 0):
            for publish in self._of(key):
                publish.finish(Outcome.UNCONFIRMED, OVERTAKEN)


class SplitExchange(Route):
    """Takes the messages of one exchange in place of its channel, and watches its channels.

    ``limit`` bounds the messages held for it; ``channel`` is the one that it has had until now.
    """

    def __init__(
        self, table: SplitTable, exchange: str, limit: int, channel: ExchangeChannel | None
    ) -> None:
        self.exchange = exchange
        self.used_at = 0.0  # loop time, to the second
        self._limit = limit
        self._table = table
        self._channel = channel  # for routing keys that wait for nothing
        if channel is not None:
            channel.watcher = self
        self._old: dict[ExchangeChannel, Hold] = {}
        self._held: dict[Publish, None] = {}
        self._lone: dict[int, ExchangeChannel] = {}
        self._good: set[str] = set()
        self._guarded_until = 0.0
        self._trial: ExchangeChannel | None = None  # for one message whose key is in doubt
        self._trial_key = ""
        self._try_at = 0.0  # loop time of the next trial, at the earliest

    def __repr__(self) -> str:
        return (
            f"<SplitExchange {self.exchange!r}: {len(self._old)} old channels, "
            f"{len(self._held)} messages held, {len(self._good)} good routing keys>"
        )

    @property
    def channels(self) -> list[ExchangeChannel]:
        """Return those that still send; the old ones are the session's to know."""
        return [c for c in (self._channel, self._trial, *self._lone.values()) if c is not None]

    def submit(self, publish: Publish) -> None:
        """Send the message now, or when its turn comes; refuse it if too many wait already."""
        must_wait = self._must_wait(publish)
        waits = must_wait or (self._channel is not None and bool(self._channel.waiting))
        if waits and self._is_full():
            publish.refuse(Outcome.OVERLOADED, TOO_MANY)
        elif must_wait:
            publish.wait_in(self._held)
        else:
            self._send(publish)

    def _is_full(self) -> bool:
        """Return whether a channel does not answer and the exchange has its share of messages."""
        if all(hold.everything for hold in self._old.values()):
            return False  # a channel that is only replaced does answer
        channels = [*self.channels, *self._old]
        held = len(self._held) + sum(len(c.waiting) + c.in_flight for c in channels)
        return held >= self._limit

    def _hold(self, earlier: Iterable[Publish]) -> None:
        """Hold messages that came before all that are held."""
        held, self._held = self._held, {}
        for publish in (*earlier, *held):
            publish.wait_in(self._held)

    def lost(self) -> list[Publish]:
        """Return what waits, in order, when the connection is gone."""
        held, self._held = self._held, {}
        self._old = {}
        waiting = [publish for channel in self.channels for publish in channel.lost()]
        return [*waiting, *held]

    # What splits it

    def _abandon(self, channel: ExchangeChannel, now: float, *, everything: bool = False) -> None:
        """Send nothing more on a channel; its messages go first, or those of the same keys."""
        connection = self._table.session.connection
        unsettled = connection.amqp.unsettled(channel.number) if connection is not None else {}
        self._old[channel] = hold = Hold(channel, unsettled, now)
        hold.everything = everything
        if len(self._old) > 1 and not everything:
            self.guard(now)  # or each routing key that is stuck takes one more channel with it
        self._forget(channel)
        channel.watcher = self
        self._hold(self._table.retire(channel))

    def guard(self, now: float) -> None:
        """Let routing keys prove themselves alone for a while."""
        self._guarded_until = now + GUARDED

    def follow(self, table: SplitTable, now: float) -> None:
        """Let another session's connection take over."""
        for channel in self.channels:
            self._abandon(channel, now, everything=True)
        self._table = table
        for publish in self._held:
            publish.belong_to(table.session)
        self._release()

    # Time

    def check(self, now: float) -> None:
        """Abandon a channel that does not answer, and try a routing key that is in doubt."""
        for channel in self.channels:
            patience = STALL
            if channel.phase is ChannelPhase.FRESH and self._old:
                patience = min(QUICK * 2 ** (len(self._old) - 1), LONGEST_QUICK)
            is_stuck = channel.look(now, max(patience, self._table.slowness))
            if is_stuck and self._may_abandon(channel):
                self._abandon(channel, now)
                if self._channel is None:
                    # Whether the broker opens the next channel tells if it still reads.
                    self._channel = self._new_channel(is_question=True)
                    self._table.open_channels()
        is_asked = self._channel is not None and self._channel.is_question
        for channel, hold in self._old.items():
            hold.everything &= not channel.look(now)
            if is_asked:  # while the broker answers nothing, no single channel is in doubt
                hold.since = now
        if self._trial is not None and self._trial.idle:  # its message was given up
            self._table.retire(self._trial)
        self._release()
        self._try_again(now)
        self._settle_down(now)

    def _may_abandon(self, channel: ExchangeChannel) -> bool:
        few = len(self._old) < MOST_OLD or channel is self._trial
        return few and self._table.may_split

    def _try_again(self, now: float) -> None:
        """Send one message whose key is in doubt, on a channel of its own.

        A channel that hangs inside RabbitMQ also holds messages whose queues do answer.
        """
        if not self._held or self._trial is not None or now < self._try_at:
            return
        if len(self._old) >= MOST_TRIED or not self._table.may_split:
            return
        doubtful: dict[str, Publish] = {}
        for publish in self._held:
            doubtful.setdefault(publish.message.routing_key, publish)
        suspects = {hold.suspect for hold in self._old.values()}
        tries = {p: (self._tries(key, now), key in suspects) for key, p in doubtful.items()}
        most = 1 if len(self._old) >= MOST_RETRIED else len(self._old)
        due = (publish for publish, (count, _) in tries.items() if 1 <= count <= most)
        chosen = min(due, key=tries.__getitem__, default=None)
        if chosen is not None:
            del self._held[chosen]
            self._trial_key = chosen.message.routing_key
            self._trial = self._new_channel(alone=True)
            self._hand(chosen, self._trial)

    def _tries(self, key: str, now: float) -> int:
        """Return on how many channels the key was tried in vain; 0 if it has to wait longer."""
        in_vain = {c: h for c, h in self._old.items() if h.everything or key in h.keys}
        if any(now - channel.settled_at < STALL for channel in in_vain):
            return 0
        holds = in_vain.values()
        if all(hold.doubts(key) for hold in holds):
            # A broker that only paused gets time to confirm what it has before a message that
            # came later: its confirm makes the older ones ``unknown``.
            pause = AGAIN * 2 ** max(len(holds) - 2, 0)
        elif all(hold.is_answered(key) for hold in holds):
            # A channel may never settle what it has: RabbitMQ forgets the messages to a
            # quorum queue that is deleted by force.
            pause = GIVEN_UP * 2 ** (len(holds) - 1)
        else:
            return 0
        return len(holds) if now - max(hold.since for hold in holds) >= pause else 0

    def _settle_down(self, now: float) -> None:
        """Give the exchange back to one channel once nothing parts it any more."""
        guarded = now < self._guarded_until or not all(c.idle for c in self._lone.values())
        if self._old or self._held or self._trial is not None or guarded:
            return
        for channel in list(self._lone.values()):
            self._table.retire(channel)
        if self._channel is not None:
            self._channel.watcher = None
        self._table.join(self, self._channel)

    # What the channels report (broker.channel.Watcher)

    def settled(self, channel: ExchangeChannel, settled: list[tuple[Publish, Settlement]]) -> None:
        """Send the messages that waited for the settled ones."""
        if hold := self._old.get(channel):
            if channel.oldest > hold.head and not hold.everything:
                self._table.was_slow(self._table.now - hold.head_since)
                self._go_back(channel)
            freed = [hold.settle(publish) for publish, _ in settled]
            if any(freed):
                self._release()
        elif channel is self._trial:
            self._trial = None
            self._table.retire(channel)
            self._tried(*settled[0])
        elif channel in self._lone.values():
            for publish, _ in settled:
                self._prove(channel, publish.message)

    def _go_back(self, channel: ExchangeChannel) -> None:
        """Use a channel that was just slow, if nothing was sent on a younger one yet."""
        younger = [each for each in (self._channel, self._trial) if each is not None]
        if (
            channel.phase is not ChannelPhase.PIPELINED
            or len(self._old) > 1
            or any(each.sent for each in younger)
            or not self._table.unretire(channel)
        ):
            return
        back = [publish for each in younger for publish in self._table.retire(each)]
        del self._old[channel]
        self._channel = channel
        self._hold(back)
        self._release()

    def gone(self, channel: ExchangeChannel, again: Sequence[Publish]) -> None:
        """Forget a channel that ended; send again what the broker discarded of it."""
        self._forget(channel)
        self._old.pop(channel, None)
        self._hold(again)
        self._release()

    def _tried(self, publish: Publish, settlement: Settlement) -> None:
        if settlement is Settlement.NACKED:
            self._try_at = self._table.now + AGAIN
        else:
            for hold in self._old.values():
                hold.give_up(publish.message.routing_key)
        self._release()

    def _prove(self, channel: ExchangeChannel, message: Message) -> None:
        """Note that a routing key was confirmed, so that its messages need not travel alone."""
        if _has_more_keys(message):
            return
        if len(self._good) >= MOST_GOOD:
            self._good.clear()
        self._good.add(message.routing_key)
        alike = [p for p in channel.waiting if p.message.routing_key == message.routing_key]
        for publish in alike:
            del channel.waiting[publish]
        self._hold(alike)
        self._release()

    # Helpers

    def _must_wait(self, publish: Publish) -> bool:
        key = publish.message.routing_key
        is_tried = self._trial is not None and key == self._trial_key
        return is_tried or any(hold.everything or key in hold.keys for hold in self._old.values())

    def _release(self) -> None:
        """Send what is held and has nothing left to wait for, in order."""
        if not self._held or not self._table.is_open:
            return
        held, self._held = self._held, {}
        for publish in held:
            publish.queue = None
            if self._must_wait(publish):
                publish.wait_in(self._held)
            else:
                self._send(publish)

    def _send(self, publish: Publish) -> None:
        key = publish.message.routing_key
        if self._guarded_until and (key not in self._good or _has_more_keys(publish.message)):
            number = hash(key) % LONE_CHANNELS
            if number not in self._lone:
                self._lone[number] = self._new_channel(alone=True)
            channel = self._lone[number]
        else:
            channel = self._channel = self._channel or self._new_channel()
        self._hand(publish, channel)

    def _hand(self, publish: Publish, channel: ExchangeChannel) -> None:
        channel.used_at = self.used_at
        channel.submit(publish)
        if channel.phase is ChannelPhase.QUEUED:
            self._table.open_channels()

    def _new_channel(self, **how: bool) -> ExchangeChannel:
        table = self._table
        return ExchangeChannel(table.session, table, self.exchange, watcher=self, **how)

    def _forget(self, channel: ExchangeChannel) -> None:
        if channel is self._channel:
            self._channel = None
        if channel is self._trial:
            self._trial = None
        self._lone = {n: each for n, each in self._lone.items() if each is not channel}


def _has_more_keys(message: Message) -> bool:
    """Return whether the message may have other routing keys in its headers CC and BCC."""
    return b"\x02CC" in message.header or b"\x03BCC" in message.header
