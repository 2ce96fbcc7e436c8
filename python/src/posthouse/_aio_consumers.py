"""Messages, for asyncio: as they come, pulled, or on loan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import _native
from ._aio_closing import Closing
from ._errors import ClosedError, ConfigError, PosthouseError
from ._native import MessageQueue, ReceivedMessage
from ._overdue import Overdue
from ._push import BUFFERED
from ._types import (
    ACK,
    RETRY,
    AsyncBatchHandler,
    AsyncHandler,
    Filter,
    Reply,
    Seconds,
    Start,
    Subscriptions,
    failed,
    seconds,
    start,
    verdict,
    wanted,
)

if TYPE_CHECKING:
    from ._aio import AsyncClient

_log = logging.getLogger("posthouse.consumer")

# Leaving a group gets this much, seconds, however long the rest took.
_LEAVE = 0.5

# Told to be done at once: Rust gets more while the rest of what is here is looked at.
_TOLD = 128


class AsyncPushConsumer(Closing):
    """Gets messages as they come: ``await run()`` with a handler, ``async for`` without one.

    Asking for the next message acks the one before; an exception that leaves the ``async with`` block retries the
    current one. A cancelled wait loses nothing.

    A handler that takes longer than ``handler_timeout`` is cancelled. Its message comes again, and what it says all the
    same does not count; in order it has until its end, and that counts.
    """

    def __init__(
        self,
        client: AsyncClient,
        group: str,
        subscribed: list[tuple[str, Filter]],
        handler: AsyncHandler | AsyncBatchHandler | None,
        *,
        orderly: bool,
        broadcast: bool,
        concurrency: int,
        batch_size: int,
        start_from: Start,
        max_attempts: int,
        cache_messages: int,
        cache_bytes: int,
        handler_timeout: Seconds,
        offsets_file: Path | None,
    ) -> None:
        if concurrency < 1 or batch_size < 1:
            raise ConfigError("concurrency and batch_size begin at 1", code="config")
        self._client = client
        self._handler = handler
        self._concurrency = concurrency
        self._batch_size = batch_size
        self._orderly = orderly
        self._overdue: Overdue[asyncio.Task[None]] = Overdue(seconds(handler_timeout), orderly)
        self._arguments: dict[str, Any] = {
            "group": group,
            "wanted": subscribed,
            "orderly": orderly,
            "broadcast": broadcast,
            "concurrency": concurrency * batch_size if handler else BUFFERED,
            "start_from": start(start_from),
            "max_attempts": None if orderly and max_attempts == 16 else max_attempts,
            "cache_messages": cache_messages,
            "cache_bytes": cache_bytes,
            "offsets_file": offsets_file,
        }
        self._native: _native.PushConsumer | None = None
        self._opening = asyncio.Lock()
        self._waiter: asyncio.Future[None] | None = None
        self._buffer: deque[ReceivedMessage] = deque()
        self._current: ReceivedMessage | None = None
        # Done, and to be told with what else is done until the loop's next turn.
        self._done: list[ReceivedMessage] = []
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        self._hooks = client._hooks
        self._hooked = bool(client._hooks)
        # Of the current message.
        self._tokens: list[Any] | None = None

    def _tell_hooks(self, outcome: object) -> None:
        """The current message is done."""
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            self._hooks.done(tokens, [outcome])

    async def _open(self) -> _native.PushConsumer:
        async with self._opening:
            if self._closed:
                raise ClosedError("the consumer is closed", code="closed")
            if self._native is None:
                loop = self._client._on_loop()
                client = self._client._native
                native: _native.PushConsumer = await loop.call(
                    lambda pump, ident: _native.PushConsumer.open(client, **self._arguments, pump=pump, id=ident),
                    lambda native: native.stop(),
                )
                if self._closed:
                    # In the meantime, by somebody who had nothing to close yet.
                    native.stop()
                    await loop.call(lambda pump, ident: native.close(_LEAVE, pump, ident))
                    raise ClosedError("the consumer is closed", code="closed")
                native.wake(loop.pump)
                loop.woken.add(self)
                self._native = native
            return self._native

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _fill(self) -> bool:
        """Gets messages into the buffer; False when no more come."""
        native = self._native or await self._open()
        # What was done must not wait for what comes.
        self._tell()
        # However much comes, others on this loop have their turn.
        await asyncio.sleep(0)
        while not self._closed:
            try:
                self._buffer.extend(native.take(BUFFERED))
            except ClosedError:
                return False
            if self._buffer:
                return True
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return False

    def __aiter__(self) -> AsyncIterator[ReceivedMessage]:
        if self._handler is not None:
            raise ConfigError("this consumer has a handler; await run()", code="config")
        return self

    async def __anext__(self) -> ReceivedMessage:
        current = self._current
        if current is not None:
            self._current = None
            if self._tokens is not None:
                self._tell_hooks(None)
            done = self._done
            if not done:
                asyncio.get_running_loop().call_soon(self._tell)
            done.append(current)
            if len(done) >= _TOLD:
                self._tell()
        buffer = self._buffer
        if not buffer and not await self._fill():
            raise StopAsyncIteration
        message = buffer.popleft()
        self._current = message
        if self._hooked:
            self._tokens = self._hooks.deliver([message])
        return message

    def _tell(self) -> None:
        done, self._done = self._done, []
        if done and self._native is not None:
            self._native.settle_all(done)

    async def run(self) -> None:
        """Handles messages until ``aclose()``. Cancelling it drains: what is being handled is waited for."""
        handler = self._handler
        if handler is None:
            raise ConfigError("this consumer has no handler; iterate over it", code="config")
        native = await self._open()
        running, buffer = self._running, self._buffer
        # A consumer of its own may be run again.
        watch = asyncio.create_task(self._watch(native)) if self._overdue.limit else None
        try:
            while buffer or await self._fill():
                while len(running) >= self._concurrency:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                messages = [buffer.popleft() for _ in range(min(self._batch_size, len(buffer)))]
                if not messages:
                    # It was closed meanwhile.
                    continue
                task = asyncio.create_task(self._handle(native, handler, messages))
                running.add(task)
                task.add_done_callback(running.discard)
        finally:
            if running:
                await asyncio.wait(set(running))
            if watch is not None:
                watch.cancel()

    async def _watch(self, native: _native.PushConsumer) -> None:
        """Takes from handlers what they have had for too long."""
        left = self._overdue.limit
        while True:
            await asyncio.sleep(left)
            late, left = self._overdue.look()
            for handling in late:
                _log.warning("%s; %r comes again", self._overdue.error(), handling.messages[0])
                if not self._orderly:
                    for message in handling.messages:
                        native.settle(message._delivery, RETRY)
                handling.who.cancel()

    async def _handle(
        self, native: _native.PushConsumer, handler: Any, messages: list[ReceivedMessage]
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        number = self._overdue.begin(messages, task)
        tokens = self._hooks.deliver(messages) if self._hooks else None
        outcome: Any = None
        acked, how, after = 0, RETRY, None
        try:
            result = outcome = await handler(messages if self._batch_size > 1 else messages[0])
            if self._batch_size > 1 and type(result) is int:
                acked = result
            else:
                how, after = verdict(result)
        except Exception as error:
            outcome = error
            how, after = failed(error)
            if after is None and how == RETRY:
                _log.exception("a handler failed; %r comes again", messages[0])
        except BaseException as error:
            # It was cancelled: by the time limit, or by itself.
            outcome = error
            raise
        finally:
            is_in_time = self._overdue.end(number)
            if not is_in_time:
                outcome = self._overdue.error()
            elif isinstance(outcome, Reply):
                await self._reply(messages[0], outcome)
            if tokens is not None:
                self._hooks.done(tokens, [outcome] * len(messages))
            if is_in_time:
                for place, message in enumerate(messages):
                    native.settle(message._delivery, ACK if place < acked else how, after)

    async def _reply(self, request: ReceivedMessage, reply: Reply) -> None:
        try:
            await self._client._replier().reply(request, reply.body, properties=reply.properties)
        except PosthouseError:
            # Who asked may be gone; the request was handled all the same.
            _log.exception("the reply to %r did not get through", request)

    async def pause(self) -> None:
        """Hands out no more messages until ``resume()``."""
        (await self._open()).pause()

    async def resume(self) -> None:
        """Goes on."""
        (await self._open()).resume()

    async def assignment(self) -> list[MessageQueue]:
        """The queues that are its own just now."""
        return (await self._open()).assignment()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        current, self._current = self._current, None
        self._tell_hooks(error)
        if current is not None and self._native is not None:
            how, after = (ACK, None) if error is None else failed(error)
            self._native.settle(current._delivery, how, after)
        await self.aclose()

    async def aclose(self, timeout: Seconds = 10.0) -> None:
        """Waits for the handlers that run, within the time, and leaves the group. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        end = monotonic() + seconds(timeout)
        self._tell()
        self._wake()
        native = self._native
        if native is None:
            return
        native.stop()
        self._buffer.clear()
        # One of them may be who closes.
        handlers = {task for task in self._running if task is not asyncio.current_task()}
        if handlers:
            await asyncio.wait(handlers, timeout=max(0.0, end - monotonic()))
        limit = max(_LEAVE, end - monotonic())
        await self._client._on_loop().call(lambda pump, ident: native.close(limit, pump, ident))


class AsyncPullConsumer(Closing):
    """Gets messages when it asks for them. It reads nothing before ``subscribe`` or ``assign``."""

    def __init__(
        self,
        client: AsyncClient,
        group: str,
        auto_commit: Seconds | None,
        start_from: Start,
        broadcast: bool,
        offsets_file: Path | None,
    ) -> None:
        self._client = client
        self._native = _native.PullConsumer(
            client._native,
            group,
            auto_commit=None if auto_commit is None else seconds(auto_commit),
            broadcast=broadcast,
            offsets_file=offsets_file,
            start_from=start(start_from),
            batch=256,
        )
        self._spare: list[ReceivedMessage] = []
        # Messages that came one by one since others on the loop had their turn.
        self._in_a_row = 0
        # Polls that have no result yet, those that were cancelled among them.
        self._polls = 0
        self._idle = asyncio.Event()
        self._closed = False

    async def subscribe(self, topic: str, filter: Filter = "*") -> None:
        """Shares a topic's queues with the other members of the group."""
        await self._call(lambda pump, ident: self._native.subscribe(topic, filter, pump, ident))

    async def assign(self, queues: Iterable[MessageQueue]) -> None:
        """Reads these queues and no others, whoever else reads them."""
        all_ = list(queues)
        await self._call(lambda pump, ident: self._native.assign(all_, pump, ident))

    async def poll(self, timeout: Seconds = 5.0, max_messages: int = 256) -> list[ReceivedMessage]:
        """The next messages of one queue, as soon as there are some; none when the time is over.

        What a cancelled poll would have returned, the next one returns.
        """
        begun = monotonic()
        if not self._spare:
            self._keep(await self._poll(seconds(timeout), max_messages))
        # In place: a cancelled poll that is under way brings its messages to this very list.
        messages = self._spare[:max_messages]
        del self._spare[:max_messages]
        if self._client._hooks:
            self._client._hooks.receive(messages, monotonic() - begun)
        return messages

    async def _poll(self, limit: float, max_messages: int) -> list[ReceivedMessage]:
        loop = self._client._on_loop()

        def begin(pump: _native.Pump, ident: int) -> None:
            self._native.poll(limit, max_messages, pump, ident)
            self._polls += 1

        messages: list[ReceivedMessage] = await loop.call(begin, self._keep, self._over)
        return messages

    def _keep(self, messages: list[ReceivedMessage]) -> None:
        """Polls that end together may be heard of in any order; messages of a queue keep theirs."""
        is_mixed = bool(self._spare) and bool(messages)
        self._spare.extend(messages)
        if is_mixed:
            self._spare.sort(key=lambda message: (message.queue, message.queue_offset))

    def _over(self) -> None:
        self._polls -= 1
        if self._polls == 0:
            self._idle.set()

    async def seek(self, queue: MessageQueue, to: int | Start) -> None:
        """Goes on at an offset, a time, or an end of a queue."""
        place = to if isinstance(to, int) else start(to)
        await self._call(lambda pump, ident: self._native.seek(queue, place, pump, ident))
        self._spare[:] = [message for message in self._spare if message.queue != queue]

    async def position(self, queue: MessageQueue) -> int:
        """The offset of the next message it gets of a queue; of one that is not its own, what the group has done."""
        spare = (message.queue_offset for message in self._spare if message.queue == queue)
        own = next(spare, None)
        if own is None:
            own = self._native.position(queue)
        return own if own is not None else (await self.committed(queue) or 0)

    async def committed(self, queue: MessageQueue) -> int | None:
        """What the group has done in a queue, as its broker knows it; or this member, if it broadcasts."""
        offset: int | None = await self._call(lambda pump, ident: self._native.committed(queue, pump, ident))
        return offset

    async def commit(self, offsets: Mapping[MessageQueue, int] | None = None) -> None:
        """Tells brokers what it got, or these offsets; a member that broadcasts keeps them itself."""
        pairs = None if offsets is None else list(offsets.items())
        await self._call(lambda pump, ident: self._native.commit(pairs, pump, ident))

    async def offset_at(self, queue: MessageQueue, when: datetime) -> int:
        """The first message stored at this time or later."""
        offset: int = await self._call(lambda pump, ident: self._native.offset_at(queue, when, pump, ident))
        return offset

    async def queues(self, topic: str) -> list[MessageQueue]:
        """A topic's queues that can be read."""
        found: list[MessageQueue] = await self._call(
            lambda pump, ident: self._native.queues(topic, pump, ident)
        )
        return found

    async def assignment(self) -> list[MessageQueue]:
        """The queues that are its own just now."""
        return self._native.assignment()

    async def pause(self, queues: Iterable[MessageQueue]) -> None:
        """Reads nothing more of these queues until they are resumed."""
        self._native.pause(list(queues))

    async def resume(self, queues: Iterable[MessageQueue]) -> None:
        """Goes on with these queues."""
        self._native.resume(list(queues))

    def __aiter__(self) -> AsyncIterator[ReceivedMessage]:
        return self

    async def __anext__(self) -> ReceivedMessage:
        """The next message, got by itself: who leaves the loop has got every message that counts as done."""
        self._in_a_row += 1
        if self._in_a_row > BUFFERED:
            # However much is here, others on this loop have their turn.
            self._in_a_row = 0
            await asyncio.sleep(0)
        while not self._closed:
            try:
                # What cancelled polls got, or are about to get, comes first.
                message = None if self._spare or self._polls else self._native.poll_one()
                if message is None:
                    messages = await self.poll(max_messages=1)
                    if messages:
                        return messages[0]
                    continue
            except ClosedError:
                break
            if self._client._hooks:
                self._client._hooks.receive([message], 0.0)
            return message
        raise StopAsyncIteration

    async def _call(self, begin: Any) -> Any:
        return await self._client._on_loop().call(begin)

    async def _give_back(self, queue: MessageQueue, offset: int) -> None:
        # Of a queue that is another member's by now, that one begins where the group was.
        with contextlib.suppress(PosthouseError):
            await self._call(lambda pump, ident: self._native.seek(queue, offset, pump, ident))

    async def aclose(self, timeout: Seconds = 10.0) -> None:
        if self._closed:
            return
        self._closed = True
        limit = seconds(timeout)
        # A poll that was cancelled may have taken messages just now.
        self._native.end_polls()
        self._idle.clear()
        if self._polls:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), max(limit, _LEAVE))
        # What nobody got is not done: the group goes on there.
        first: dict[MessageQueue, int] = {}
        for message in self._spare:
            first.setdefault(message.queue, message.queue_offset)
        self._spare.clear()
        for queue, offset in first.items():
            await self._give_back(queue, offset)
        await self._call(lambda pump, ident: self._native.close(limit, pump, ident))


class AsyncSimpleConsumer(Closing):
    """Gets messages on loan. A message that is not acked within ``invisible`` comes again."""

    def __init__(self, client: AsyncClient, group: str, subscribe: Subscriptions, invisible: Seconds) -> None:
        self._client = client
        self._native = _native.SimpleConsumer(client._native, group, wanted(subscribe))
        self._invisible = seconds(invisible)
        # What cancelled receives got, and who waits for messages.
        self._spare: list[ReceivedMessage] = []
        self._waiting: list[asyncio.Future[list[ReceivedMessage]]] = []

    async def receive(
        self, max_messages: int = 32, *, wait: Seconds = 15.0, invisible: Seconds | None = None
    ) -> list[ReceivedMessage]:
        """The next messages, up to 32, as soon as there are some; none when the wait is over.

        What a cancelled receive would have returned, the next one returns; its loan runs from the first.
        """
        begun = monotonic()
        if not self._spare:
            self._keep(await self._receive(max_messages, seconds(wait), invisible))
        messages, self._spare[:] = self._spare[:max_messages], self._spare[max_messages:]
        if self._client._hooks:
            self._client._hooks.receive(messages, monotonic() - begun)
        return messages

    async def _receive(
        self, max_messages: int, limit: float, invisible: Seconds | None
    ) -> list[ReceivedMessage]:
        """What comes first: its own messages, or those of a receive that was cancelled."""
        lent = self._invisible if invisible is None else seconds(invisible)
        loop = self._client._on_loop()
        found: asyncio.Future[list[ReceivedMessage]] = loop.loop.create_future()
        self._waiting.append(found)
        asked = asyncio.ensure_future(
            loop.call(lambda pump, ident: self._native.receive(max_messages, limit, lent, pump, ident), self._give)
        )
        own: list[ReceivedMessage] | None = None
        try:
            await asyncio.wait((asked, found), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                own = asked.result()
            return own or []
        finally:
            self._waiting.remove(found)
            # It goes on, and what it brings, or has brought just when this wait was cancelled, is given to who
            # waits next.
            asked.cancel()
            if own is None and asked.done() and not asked.cancelled() and asked.exception() is None:
                self._give(asked.result())
            if found.done():
                self._keep(found.result())

    def _keep(self, messages: list[ReceivedMessage]) -> None:
        self._spare.extend(messages)

    def _give(self, messages: list[ReceivedMessage]) -> None:
        """Messages that nobody waits for any more go to who waits now, or are kept."""
        waiting = next((found for found in self._waiting if not found.done()), None)
        if waiting is None or not messages:
            self._keep(messages)
        else:
            waiting.set_result(messages)

    async def ack(self, messages: ReceivedMessage | Iterable[ReceivedMessage], /) -> bool:
        """They are done.

        False: one of them is not, and comes again, because its loan was over and it was lent anew, or is about to be.
        Only Posthouse's brokers say so.
        """
        done = [messages] if isinstance(messages, ReceivedMessage) else list(messages)
        all_done: bool = await self._client._on_loop().call(lambda pump, ident: self._native.ack(done, pump, ident))
        return all_done

    async def extend(self, message: ReceivedMessage, invisible: Seconds, /) -> None:
        """Lends a message for so long from now on; ``OffsetOutOfRange`` if its loan was over and it was lent anew."""
        lent = seconds(invisible)
        await self._client._on_loop().call(lambda pump, ident: self._native.extend(message, lent, pump, ident))

    async def aclose(self, timeout: Seconds = 10.0) -> None:
        """There is nothing to end: what is not acked comes again when its loan is over."""
