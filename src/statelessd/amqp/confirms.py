"""The ledger of one confirm-mode channel: which delivery tag belongs to which message.

Tags count from 1 in the order of publishing. Acks and nacks may come out of
order and may be ``multiple``. A return has no tag. It comes before the ack of
its message, perhaps with an earlier ``multiple`` ack between them.
"""

from typing import Final, Generic, TypeVar

from . import decode
from .errors import FrameError, ProtocolError
from .events import Settlement

MOST_ADDED: Final = 8192  # bytes that a broker may add to the properties of a returned message

T = TypeVar("T")
# Python 3.11 is slow to find enum members.
ACKED: Final = Settlement.ACKED
NACKED: Final = Settlement.NACKED


class Confirms(Generic[T]):
    """The unsettled messages of one channel, by delivery tag."""

    def __init__(self) -> None:
        self.oldest = 1  # the tag of the oldest unsettled message, or else the next tag
        # The messages from that tag on; None: settled before an older one.
        self._entries: list[T | None] = []
        # These hold mandatory messages only: the key of each tag, and for each key the
        # tags in order, with the messages' properties.
        self._keys: dict[int, bytes] = {}
        self._mandatory: dict[bytes, dict[int, bytes]] = {}
        self._parts: dict[int, decode.Parts] = {}  # the decoded properties of some tags
        self._returned: set[int] = set()  # returned, and not acked yet
        self._doubtful: set[int] = set()  # perhaps returned, and not acked yet

    def __len__(self) -> int:
        return len(self._entries) - self._entries.count(None)

    @property
    def unsettled(self) -> dict[int, T]:
        """Return the messages that the broker has not settled, by delivery tag and in order."""
        numbered = enumerate(self._entries, self.oldest)
        return {tag: entry for tag, entry in numbered if entry is not None}

    def publish(self, entry: T, key: bytes | None = None, header: bytes = b"") -> int:
        """Record the message that is about to be sent, and return its delivery tag.

        For a mandatory message, ``key`` is its ``encode.content_key`` and
        ``header`` its encoded properties as they would be returned.
        """
        tag = self.oldest + len(self._entries)
        self._entries.append(entry)
        if key is not None:
            self._keys[tag] = key
            self._mandatory.setdefault(key, {})[tag] = header
        return tag

    def returned(self, key: bytes, header: bytes) -> None:
        """Apply a return to the oldest mandatory message with this content.

        Identical messages are interchangeable, because the broker returns all of them.
        If several that differ may be meant, each of them is in doubt.
        Raise ProtocolError if there is none at all, because ignoring the return would
        turn "no queue took it" into a confirm.
        """
        tags = self._mandatory.get(key)
        if not tags:
            raise ProtocolError("a return of a message that was not sent as mandatory")
        tag = next(iter(tags))
        if tags[tag] != header and len(tags) > 1:
            tag = self._recognise(tags, header)
        if tag:
            self._forget(key, tag)
            self._returned.add(tag)

    def _recognise(self, tags: dict[int, bytes], header: bytes) -> int:
        """Return the tag of the message that the broker returned with these properties.

        RabbitMQ sorts the headers from 3.13 on, and its message interceptors (4.2) add
        some. So the oldest message with equal properties is meant, whatever their order,
        and not a younger one that happens to have the broker's order. Return 0 if the
        messages that may be meant differ; each of them is in doubt then.
        """
        if len(header) > max(map(len, tags.values())) + MOST_ADDED:
            return self._any_of(list(tags), tags)  # decoding it would take long
        try:
            theirs = decode.parts(header)
        except FrameError:
            return self._any_of(list(tags), tags)
        same_bytes = header in tags.values()
        for tag, sent in tags.items():
            if sent == header:
                return tag
            # The order does not change the length, so other lengths cannot be equal.
            alike = not same_bytes or len(sent) == len(header)
            if alike and self._parts_of(tag, sent) == theirs:
                return tag
        meant = [t for t in tags if self._parts_of(t, tags[t]).items() <= theirs.items()]
        return self._any_of(meant or list(tags), tags)

    def _any_of(self, meant: list[int], tags: dict[int, bytes]) -> int:
        """Return the oldest of these tags if their messages are equal. Else doubt all, return 0."""
        ours = [self._parts_of(tag, tags[tag]) for tag in meant]
        if all(each == ours[0] for each in ours):
            return meant[0]
        self._doubtful.update(meant)
        return 0

    def _parts_of(self, tag: int, header: bytes) -> decode.Parts:
        found = self._parts.get(tag)
        if found is None:
            found = self._parts[tag] = decode.parts(header)
        return found

    def settle(self, tag: int, multiple: bool, positive: bool) -> list[tuple[T, Settlement]]:
        """Return in order what an ack or nack settles, or raise ProtocolError for unknown tags."""
        entries = self._entries
        oldest = self.oldest
        if multiple:
            # Tag 0 stands for all so far (section 1.8.3.13).
            count = tag + 1 - oldest if tag else len(entries)
            if count > len(entries):
                raise ProtocolError(f"a confirm of delivery tag {tag}, which was not sent")
            if count <= 0:
                return []
            taken = entries[:count]
            self._drop(count)
            if not self._keys:  # the usual case: no message is mandatory
                settlement = ACKED if positive else NACKED
                return [(entry, settlement) for entry in taken if entry is not None]
            numbered = enumerate(taken, oldest)
            return [
                (entry, self._settlement(number, positive))
                for number, entry in numbered
                if entry is not None
            ]
        index = tag - oldest
        found = entries[index] if 0 <= index < len(entries) else None
        if found is None:
            raise ProtocolError(f"a confirm of delivery tag {tag}, which is not outstanding")
        if index:
            entries[index] = None
        else:
            self._drop(1)
        return [(found, self._settlement(tag, positive))]

    def lost(self) -> list[T]:
        """Forget and return what the broker will never settle, in the order of publishing."""
        entries = [entry for entry in self._entries if entry is not None]
        self.oldest += len(self._entries)
        self._entries.clear()
        self._keys.clear()
        self._mandatory.clear()
        self._parts.clear()
        self._returned.clear()
        self._doubtful.clear()
        return entries

    def _drop(self, count: int) -> None:
        """Drop so many of the oldest entries, and those behind them that are settled."""
        entries = self._entries
        while count < len(entries) and entries[count] is None:
            count += 1
        del entries[:count]
        self.oldest += count

    def _settlement(self, tag: int, positive: bool) -> Settlement:
        """Return what the broker's word means for the message with this tag."""
        settlement = ACKED if positive else NACKED
        if self._keys and (key := self._keys.pop(tag, None)) is not None:
            if tag not in self._returned:
                self._forget(key, tag)
                if tag in self._doubtful:
                    self._doubtful.remove(tag)
                    settlement = Settlement.DOUBTFUL if positive else settlement
            else:
                self._returned.remove(tag)
                self._doubtful.discard(tag)
                settlement = Settlement.RETURNED if positive else settlement
        return settlement

    def _forget(self, key: bytes, tag: int) -> None:
        tags = self._mandatory[key]
        del tags[tag]
        if self._parts:
            self._parts.pop(tag, None)
        if not tags:
            del self._mandatory[key]
