"""Sends, for asyncio: what one tick of the loop sends crosses to Rust together, or as soon as it is enough to keep Rust
busy while the tick goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, TypeVar, overload

from . import _native
from ._aio_closing import Closing
from ._errors import ClosedError, PosthouseError, QueueFull
from ._native import Message, MessageQueue, ReceivedMessage, SendResult
from ._producer import checked, told
from ._types import Body, RecallResult, Seconds, message_of, seconds

if TYPE_CHECKING:
    from ._aio import AsyncClient, Loop


_T = TypeVar("_T")

# As many as leave in one write.
_CROSSING = 128


def _look(message: object) -> None:
    """Raises if it is no message: it would cross with others of the same tick, who must not suffer from it."""
    if not isinstance(message, Message):
        raise TypeError(f"a message must be a Message, not {type(message).__name__}")


class AsyncProducer(Closing):
    """Sends messages."""

    def __init__(
        self,
        client: AsyncClient,
        native: _native.Producer,
        number: int,
        max_in_flight: int,
        strict: bool,
        linger: float,
    ) -> None:
        self._client = client
        self._native = native
        self._number = number
        self._next = number << 40
        self._max = max_in_flight
        self._strict = strict
        self._linger = linger
        self._hooks = client._hooks
        self._hooked = bool(client._hooks)
        self._loop: Loop | None = None
        self._open: dict[int, asyncio.Future[SendResult]] = {}
        self._pending: list[Message] = []
        self._drained: asyncio.Event | None = None
        self._closed = False

    def _on_loop(self) -> Loop:
        if self._loop is None:
            self._loop = self._client._on_loop()
            self._loop.sends[self._number] = self._open
        return self._loop

    def _ready(self) -> Loop:
        loop = self._loop or self._on_loop()
        if self._closed:
            raise ClosedError("the producer is closed", code="closed")
        return loop

    def _submit(self, message: Message) -> asyncio.Future[SendResult]:
        loop = self._loop
        if loop is None or self._closed:
            loop = self._ready()
        # Nobody can derive from it.
        if type(message) is not Message:
            _look(message)
        pending = self._pending
        if not pending:
            if self._linger:
                loop.loop.call_later(self._linger, self._flush)
            else:
                loop.loop.call_soon(self._flush)
        future: asyncio.Future[SendResult] = loop.create_future()
        ident = self._next
        self._open[ident] = future
        self._next = ident + 1
        pending.append(message)
        if len(pending) >= _CROSSING:
            self._flush()
        return future

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        loop = self._on_loop()
        first = self._next - len(pending)
        try:
            if self._native.submit(pending, first, loop.pump):
                loop.blocked.add(self)
        except PosthouseError as error:
            for ident in range(first, self._next):
                future = self._open.pop(ident, None)
                if future is not None and not future.done():
                    future.set_exception(error)

    def _resume(self) -> None:
        loop = self._on_loop()
        if not self._native.resume(loop.pump):
            loop.blocked.discard(self)

    def _look_drained(self) -> None:
        if not self._open and self._drained is not None:
            self._drained.set()

    @overload
    async def send(
        self, message: Message, /, *, queue: MessageQueue | None = None, timeout: Seconds | None = None
    ) -> SendResult: ...
    @overload
    async def send(
        self,
        topic: str,
        body: Body,
        /,
        *,
        tag: str | None = None,
        keys: Iterable[str] | str = (),
        properties: Mapping[str, str] | None = None,
        sharding_key: str | None = None,
        deliver_after: Seconds | None = None,
        deliver_at: datetime | None = None,
        idempotency_key: str | None = None,
        queue: MessageQueue | None = None,
        timeout: Seconds | None = None,
    ) -> SendResult: ...
    async def send(
        self,
        message: Message | str,
        body: Body | None = None,
        /,
        *,
        tag: str | None = None,
        keys: Iterable[str] | str = (),
        properties: Mapping[str, str] | None = None,
        sharding_key: str | None = None,
        deliver_after: Seconds | None = None,
        deliver_at: datetime | None = None,
        idempotency_key: str | None = None,
        queue: MessageQueue | None = None,
        timeout: Seconds | None = None,
    ) -> SendResult:
        """Sends a message, and returns when the broker has it as safely as it is configured to.

        A cancelled wait takes back the wait, not the message: it may be on its way already.
        """
        whole = message_of(
            message, body, tag, keys, properties, sharding_key, deliver_after, deliver_at, idempotency_key
        )
        if self._hooks:
            return checked(await self._watched(whole, queue, timeout), self._strict)
        return checked(await self._send(whole, queue, timeout), self._strict)

    async def _watched(
        self, message: Message, queue: MessageQueue | None, timeout: Seconds | None
    ) -> SendResult:
        [message] = self._hooks.send([message])
        try:
            result = await self._send(message, queue, timeout)
        except asyncio.CancelledError:
            # The wait was given up: what became of the message is not known.
            self._hooks.sent([message], [])
            raise
        except BaseException as error:
            self._hooks.failed([message], error)
            raise
        self._hooks.sent([message], [result])
        return result

    async def _send(
        self, whole: Message, queue: MessageQueue | None, timeout: Seconds | None
    ) -> SendResult:
        if queue is None and timeout is None:
            return await self._submit(whole)
        loop = self._ready()
        limit = None if timeout is None else seconds(timeout)
        self._flush()
        ident = self._next
        if self._native.submit([whole], ident, loop.pump, queue, limit):
            loop.blocked.add(self)
        self._next += 1
        future: asyncio.Future[SendResult] = loop.loop.create_future()
        self._open[ident] = future
        return await future

    def send_nowait(self, message: Message, /) -> asyncio.Future[SendResult]:
        """Sends a message and returns what can be awaited, or gathered, for its result.

        Raises ``QueueFull`` instead of waiting when ``max_in_flight`` messages are on their way.
        """
        if len(self._open) >= self._max:
            raise QueueFull(f"{self._max} messages are on their way", code="queue_full", retryable=True)
        if not self._hooked:
            return self._submit(message)
        self._ready()
        _look(message)
        [message] = self._hooks.send([message])
        future = self._submit(message)
        future.add_done_callback(lambda ended: told(self._hooks, message, ended))
        return future

    async def send_many(self, messages: Iterable[Message], /) -> list[SendResult | PosthouseError]:
        """Sends messages to wherever each belongs, all at once; what became of each, in their order."""
        batch = list(messages)
        for message in batch:
            _look(message)
        if self._hooks:
            self._ready()
            batch = self._hooks.send(batch)
        futures = [self._submit(message) for message in batch]
        try:
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
        except asyncio.CancelledError:
            self._hooks.sent(batch, [])
            raise
        results: list[SendResult | PosthouseError] = []
        for outcome in outcomes:
            if not isinstance(outcome, (SendResult, PosthouseError)):
                raise outcome
            results.append(outcome)
        self._hooks.sent(batch, results)
        return results

    async def send_batch(self, messages: Sequence[Message], /) -> list[SendResult]:
        """RocketMQ's batch: messages of one topic into one queue, in one request for each 4 MiB."""
        async def send(batch: list[Message]) -> list[SendResult]:
            results: list[SendResult] = await self._on_loop().call(
                lambda pump, ident: self._native.send_batch(batch, pump, ident)
            )
            return results

        return await self._told(list(messages), send, lambda results: results)

    async def _told(
        self,
        messages: list[Message],
        send: Callable[[list[Message]], Awaitable[_T]],
        results: Callable[[_T], list[SendResult]],
    ) -> _T:
        """Sends messages that all end together, and tells the hooks their results."""
        if not self._hooks:
            return await send(messages)
        messages = self._hooks.send(messages)
        try:
            outcome = await send(messages)
        except asyncio.CancelledError:
            self._hooks.sent(messages, [])
            raise
        except BaseException as error:
            self._hooks.failed(messages, error)
            raise
        self._hooks.sent(messages, results(outcome))
        return outcome

    async def send_oneway(self, message: Message, /) -> None:
        """Sends a message and does not ask what became of it."""

        async def send(messages: list[Message]) -> None:
            await self._on_loop().call(lambda pump, ident: self._native.send_oneway(messages[0], pump, ident))

        await self._told([message], send, lambda _: [])

    async def request(self, message: Message, /, *, timeout: Seconds = 3.0) -> ReceivedMessage:
        """Sends a request, and returns the reply of whoever consumes it."""
        limit = seconds(timeout)

        async def send(messages: list[Message]) -> ReceivedMessage:
            reply: ReceivedMessage = await self._on_loop().call(
                lambda pump, ident: _native.request(self._native, messages[0], limit, pump, ident)
            )
            return reply

        return await self._told([message], send, lambda _: [])

    async def reply(
        self, request: ReceivedMessage, body: Body, /, *, properties: Mapping[str, str] | None = None
    ) -> None:
        """Answers a request. A handler may return a ``Reply`` instead."""
        await self._on_loop().call(
            lambda pump, ident: _native.reply(self._native, request, body, properties, pump, ident)
        )

    async def recall(self, topic: str, recall_handle: str | None = None, /) -> RecallResult:
        """Calls a delayed message back, by its result's ``recall_handle``; that says its topic as well, which may be
        left out."""
        handle = topic if recall_handle is None else recall_handle
        told = await self._on_loop().call(
            lambda pump, ident: _native.recall(self._native, handle, pump, ident)
        )
        return RecallResult(*told)

    async def flush(self) -> None:
        """Returns when nothing is on its way any more."""
        loop = self._on_loop()
        self._flush()
        while self._open:
            self._drained = self._drained or asyncio.Event()
            self._drained.clear()
            loop.drained.add(self)
            await self._drained.wait()
        loop.drained.discard(self)

    async def aclose(self, timeout: Seconds = 10.0) -> None:
        if self._closed:
            return
        self._closed = True
        limit = seconds(timeout)
        end = monotonic() + limit
        loop = self._loop
        if loop is not None and self._open:
            self._flush()
            try:
                await asyncio.wait_for(self.flush(), limit)
            except TimeoutError:
                pass
        if loop is not None:
            loop.blocked.discard(self)
        await asyncio.to_thread(self._native.close, max(0.0, end - monotonic()))
        if loop is not None:
            # What has come is taken first: only what has no result by now was closed upon.
            loop.take()
            left = list(self._open.values())
            self._open.clear()
            for future in left:
                if not future.done():
                    future.set_exception(ClosedError("the producer was closed", code="closed"))
            self._look_drained()
