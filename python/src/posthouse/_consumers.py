"""Messages for who asks, blocking: pulled, or on loan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from . import _native
from ._closing import Closing
from ._errors import ClosedError
from ._native import MessageQueue, ReceivedMessage
from ._types import Filter, Seconds, Start, Subscriptions, seconds, start, wanted

if TYPE_CHECKING:
    from ._client import Client


class PullConsumer(Closing):
    """Gets messages when it asks for them. It reads nothing before ``subscribe`` or ``assign``."""

    def __init__(
        self,
        client: Client,
        group: str,
        auto_commit: Seconds | None,
        start_from: Start,
        broadcast: bool,
        offsets_file: Path | None,
    ) -> None:
        self._native = _native.PullConsumer(
            client._native,
            group,
            auto_commit=None if auto_commit is None else seconds(auto_commit),
            broadcast=broadcast,
            offsets_file=offsets_file,
            start_from=start(start_from),
            batch=256,
        )
        self._client = client
        self._closed = False

    def subscribe(self, topic: str, filter: Filter = "*") -> None:
        """Shares a topic's queues with the other members of the group."""
        self._native.subscribe(topic, filter)

    def assign(self, queues: Iterable[MessageQueue]) -> None:
        """Reads these queues and no others, whoever else reads them."""
        self._native.assign(list(queues))

    def poll(self, timeout: Seconds = 5.0, max_messages: int = 256) -> list[ReceivedMessage]:
        """The next messages of one queue, as soon as there are some; none when the time is over."""
        begun = monotonic()
        messages = self._native.poll(seconds(timeout), max_messages)
        if self._client._hooks:
            self._client._hooks.receive(messages, monotonic() - begun)
        return messages

    def seek(self, queue: MessageQueue, to: int | Start) -> None:
        """Goes on at an offset, a time, or an end of a queue."""
        self._native.seek(queue, to if isinstance(to, int) else start(to))

    def position(self, queue: MessageQueue) -> int:
        """The offset of the next message it gets of a queue; of one that is not its own, what the group has done."""
        own = self._native.position(queue)
        return own if own is not None else (self.committed(queue) or 0)

    def committed(self, queue: MessageQueue) -> int | None:
        """What the group has done in a queue, as its broker knows it; or this member, if it broadcasts."""
        return self._native.committed(queue)

    def commit(self, offsets: Mapping[MessageQueue, int] | None = None) -> None:
        """Tells brokers what it got, or these offsets; a member that broadcasts keeps them itself."""
        self._native.commit(None if offsets is None else list(offsets.items()))

    def offset_at(self, queue: MessageQueue, when: datetime) -> int:
        """The first message stored at this time or later."""
        return self._native.offset_at(queue, when)

    def queues(self, topic: str) -> list[MessageQueue]:
        """A topic's queues that can be read."""
        return self._native.queues(topic)

    def assignment(self) -> list[MessageQueue]:
        """The queues that are its own just now."""
        return self._native.assignment()

    def pause(self, queues: Iterable[MessageQueue]) -> None:
        """Reads nothing more of these queues until they are resumed."""
        self._native.pause(list(queues))

    def resume(self, queues: Iterable[MessageQueue]) -> None:
        """Goes on with these queues."""
        self._native.resume(list(queues))

    def __iter__(self) -> Iterator[ReceivedMessage]:
        """Gets them one by one: who leaves the loop has got every message that counts as done."""
        while not self._closed:
            try:
                message = self._native.poll_one()
                # Of what is polled, hooks are told there.
                messages = self.poll(max_messages=1) if message is None else [message]
            except ClosedError:
                return
            if message is not None and self._client._hooks:
                self._client._hooks.receive(messages, 0.0)
            yield from messages

    def close(self, timeout: Seconds = 10.0) -> None:
        if not self._closed:
            self._closed = True
            self._native.close(seconds(timeout))


class SimpleConsumer(Closing):
    """Gets messages on loan. A message that is not acked within ``invisible`` comes again."""

    def __init__(self, client: Client, group: str, subscribe: Subscriptions, invisible: Seconds) -> None:
        self._native = _native.SimpleConsumer(client._native, group, wanted(subscribe))
        self._client = client
        self._invisible = seconds(invisible)

    def receive(
        self, max_messages: int = 32, *, wait: Seconds = 15.0, invisible: Seconds | None = None
    ) -> list[ReceivedMessage]:
        """The next messages, up to 32, as soon as there are some; none when the wait is over."""
        lent = self._invisible if invisible is None else seconds(invisible)
        begun = monotonic()
        messages = self._native.receive(max_messages, seconds(wait), lent)
        if self._client._hooks:
            self._client._hooks.receive(messages, monotonic() - begun)
        return messages

    def ack(self, messages: ReceivedMessage | Iterable[ReceivedMessage], /) -> bool:
        """They are done.

        False: one of them is not, and comes again, because its loan was over and it was lent anew, or is about to be.
        Only Posthouse's brokers say so.
        """
        return self._native.ack([messages] if isinstance(messages, ReceivedMessage) else list(messages))

    def extend(self, message: ReceivedMessage, invisible: Seconds, /) -> None:
        """Lends a message for so long from now on; ``OffsetOutOfRange`` if its loan was over and it was lent anew."""
        self._native.extend(message, seconds(invisible))

    def close(self, timeout: Seconds = 10.0) -> None:
        """There is nothing to end: what is not acked comes again when its loan is over."""


