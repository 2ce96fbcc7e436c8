"""Sends, blocking."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, cast, overload

from . import _native
from ._closing import Closing
from ._errors import ClosedError, PosthouseError
from ._native import Message, MessageQueue, ReceivedMessage, SendResult
from ._types import Body, RecallResult, Seconds, message_of, seconds

if TYPE_CHECKING:
    from ._client import Client


def checked(result: SendResult, strict: bool) -> SendResult:
    """A result that ``strict_store`` accepts, or the error that says why not."""
    if strict and result.status != "ok":
        raise unsafe(result)
    return result


def unsafe(result: SendResult) -> PosthouseError:
    return PosthouseError(
        f"the message is stored as {result.queue!r} @{result.queue_offset}, but not as safely as configured: "
        f"{result.status}",
        code=result.status,
        topic=result.queue.topic,
        broker=result.queue.broker,
    )


class Producer(Closing):
    """Sends messages. Safe to use from many threads."""

    def __init__(self, client: Client, native: _native.Producer, strict: bool) -> None:
        self._client = client
        self._native = native
        self._strict = strict
        self._lock = threading.Lock()
        self._futures: dict[int, Future[SendResult]] = {}
        self._next = 1
        self._pump: _native.Pump | None = None

    @overload
    def send(
        self, message: Message, /, *, queue: MessageQueue | None = None, timeout: Seconds | None = None
    ) -> SendResult: ...
    @overload
    def send(
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
        queue: MessageQueue | None = None,
        timeout: Seconds | None = None,
    ) -> SendResult: ...
    def send(
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
        queue: MessageQueue | None = None,
        timeout: Seconds | None = None,
    ) -> SendResult:
        """Sends a message, and returns when the broker has it as safely as it is configured to."""
        whole = message_of(message, body, tag, keys, properties, sharding_key, deliver_after, deliver_at)
        limit = None if timeout is None else seconds(timeout)
        return checked(self._native.send(whole, queue, limit), self._strict)

    def submit(self, message: Message, /) -> Future[SendResult]:
        """Sends a message without waiting for the answer. Blocks only while ``max_in_flight`` are on their way."""
        future: Future[SendResult] = Future()
        future.set_running_or_notify_cancel()
        self._native.wait_credit()
        with self._lock:
            pump = self._pumped()
            ident = self._next
            self._next += 1
            self._futures[ident] = future
            self._native.submit([message], ident, pump)
        return future

    def _pumped(self) -> _native.Pump:
        if self._pump is None:
            self._pump = _native.Pump()
            run = threading.Thread(target=self._resolve, args=(self._pump,), name="posthouse-results", daemon=True)
            run.start()
        return self._pump

    def _resolve(self, pump: _native.Pump) -> None:
        while self._pump is pump:
            done = pump.wait(0.5)
            for ident, outcome in done:
                with self._lock:
                    future = self._futures.pop(ident, None)
                if future is None:
                    continue
                if not isinstance(outcome, SendResult):
                    future.set_exception(cast(BaseException, outcome))
                elif self._strict and outcome.status != "ok":
                    future.set_exception(unsafe(outcome))
                else:
                    future.set_result(outcome)
            if done:
                with self._lock:
                    if self._pump is pump:
                        self._native.resume(pump)

    def send_many(self, messages: Iterable[Message], /) -> list[SendResult | PosthouseError]:
        """Sends messages to wherever each belongs, all at once; what became of each, in their order."""
        return self._native.send_many(list(messages))

    def send_batch(self, messages: Sequence[Message], /) -> list[SendResult]:
        """RocketMQ's batch: messages of one topic into one queue, in one request for each 4 MiB."""
        return self._native.send_batch(list(messages))

    def send_oneway(self, message: Message, /) -> None:
        """Sends a message and does not ask what became of it."""
        self._native.send_oneway(message)

    def request(self, message: Message, /, *, timeout: Seconds = 3.0) -> ReceivedMessage:
        """Sends a request, and returns the reply of whoever consumes it."""
        return _native.request(self._native, message, seconds(timeout))

    def reply(
        self, request: ReceivedMessage, body: Body, /, *, properties: Mapping[str, str] | None = None
    ) -> None:
        """Answers a request. A handler may return a ``Reply`` instead."""
        _native.reply(self._native, request, body, properties)

    def recall(self, recall_handle: str, /) -> RecallResult:
        """Calls a delayed message back, by its result's ``recall_handle``."""
        return RecallResult(*_native.recall(self._native, recall_handle))

    def flush(self, timeout: Seconds | None = None) -> None:
        """Returns when nothing is on its way any more."""
        limit = None if timeout is None else seconds(timeout)
        if not self._native.flush(limit):
            raise TimeoutError("messages are still on their way")

    def close(self, timeout: Seconds = 10.0) -> None:
        limit = seconds(timeout)
        if self._futures:
            # What waits for credit is handed over while others' results come in.
            self._native.flush(limit)
        with self._lock:
            self._pump = None
            left, self._futures = self._futures, {}
        self._native.close(limit)
        for future in left.values():
            future.set_exception(ClosedError("the producer was closed", code="closed"))
