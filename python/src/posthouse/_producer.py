"""Sends, blocking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, TypeVar, cast, overload

from . import _native
from ._closing import Closing, unlocked_when_forked
from ._errors import ClosedError, PosthouseError
from ._hooks import Hooks
from ._native import Message, MessageQueue, ReceivedMessage, SendResult
from ._types import Body, RecallResult, Seconds, message_of, seconds

if TYPE_CHECKING:
    from ._client import Client

_T = TypeVar("_T")


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


def told(hooks: Hooks, message: Message, ended: Future[SendResult] | asyncio.Future[SendResult]) -> None:
    """Tells the hooks how a send ended."""
    if ended.cancelled():
        # The wait was given up: what became of the message is not known.
        hooks.sent([message], [])
        return
    error = ended.exception()
    if error is None:
        hooks.sent([message], [ended.result()])
    else:
        hooks.failed([message], error)


# As many as leave in one write.
CROSSING = 128


class Producer(Closing):
    """Sends messages. Safe to use from many threads."""

    def __init__(
        self, client: Client, native: _native.Producer, strict: bool, max_in_flight: int, linger: float
    ) -> None:
        self._client = client
        self._native = native
        self._strict = strict
        self._hooks = client._hooks
        self._futures: dict[int, Future[SendResult]] = {}
        self._next = 1
        self._pump: _native.Pump | None = None
        self._resolver: threading.Thread | None = None
        self._closed = False
        self._max = max_in_flight
        # Submitted, and waiting for others to leave with: the last ones that have numbers.
        self._linger = linger
        self._lingering: list[Message] = []
        self._since = 0.0
        self._lingerer: threading.Thread | None = None
        unlocked_when_forked(self)

    def _unlock(self) -> None:
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)

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
        idempotency_key: str | None = None,
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
        idempotency_key: str | None = None,
        queue: MessageQueue | None = None,
        timeout: Seconds | None = None,
    ) -> SendResult:
        """Sends a message, and returns when the broker has it as safely as it is configured to."""
        whole = message_of(
            message, body, tag, keys, properties, sharding_key, deliver_after, deliver_at, idempotency_key
        )
        limit = None if timeout is None else seconds(timeout)
        self._leave()
        if self._hooks:
            sent = self._told(
                [whole], lambda messages: self._native.send(messages[0], queue, limit), lambda sent: [sent]
            )
        else:
            sent = self._native.send(whole, queue, limit)
        return checked(sent, self._strict)

    def _told(
        self,
        messages: list[Message],
        send: Callable[[list[Message]], _T],
        results: Callable[[_T], Sequence[SendResult | PosthouseError]],
    ) -> _T:
        """Sends messages that all end together, and tells the hooks their results."""
        self._leave()
        if not self._hooks:
            return send(messages)
        messages = self._hooks.send(messages)
        try:
            outcome = send(messages)
        except BaseException as error:
            self._hooks.failed(messages, error)
            raise
        self._hooks.sent(messages, results(outcome))
        return outcome

    def submit(self, message: Message, /) -> Future[SendResult]:
        """Sends a message without waiting for the answer. Blocks only while ``max_in_flight`` are on their way."""
        future: Future[SendResult] = Future()
        if self._hooks:
            [message] = self._hooks.send([message])
            future.add_done_callback(lambda ended: told(self._hooks, message, ended))
        try:
            return self._submit(message, future)
        except BaseException as error:
            if self._hooks:
                self._hooks.failed([message], error)
            raise

    def _submit(self, message: Message, future: Future[SendResult]) -> Future[SendResult]:
        future.set_running_or_notify_cancel()
        if self._lingering and len(self._futures) >= self._max:
            # It would wait for the credit of those that wait for it.
            self._leave()
        self._native.wait_credit()
        with self._lock:
            if self._closed:
                raise ClosedError("the producer is closed", code="closed")
            ident = self._next
            if not self._linger:
                self._native.submit([message], ident, self._pumped())
                self._next += 1
                self._futures[ident] = future
                return future
            if type(message) is not Message:
                raise TypeError(f"a message must be a Message, not {type(message).__name__}")
            self._next += 1
            self._futures[ident] = future
            self._lingering.append(message)
            if len(self._lingering) == 1:
                self._lingers()
            is_enough = len(self._lingering) >= CROSSING
        if is_enough:
            self._leave()
        return future

    def _lingers(self) -> None:
        """Something waits for more; the lock is held."""
        self._since = monotonic()
        if self._lingerer is None:
            self._lingerer = threading.Thread(target=self._wait_for_more, name="posthouse-linger", daemon=True)
            self._lingerer.start()
        self._more.notify()

    def _wait_for_more(self) -> None:
        while True:
            with self._lock:
                if self._closed:
                    return
                # Others may take them along meanwhile, and what is here then has come later.
                left = self._since + self._linger - monotonic() if self._lingering else None
                if left is None or left > 0:
                    self._more.wait(left)
                    continue
            self._leave()

    def _leave(self) -> None:
        """What waits for more leaves now: nothing overtakes it."""
        if not self._lingering:
            return
        refused: dict[Future[SendResult], PosthouseError] = {}
        with self._lock:
            messages, self._lingering = self._lingering, []
            first = self._next - len(messages)
            try:
                if messages:
                    self._native.submit(messages, first, self._pumped())
            except PosthouseError as error:
                refused = {self._futures.pop(ident): error for ident in range(first, self._next)}
        # Without the lock: who hears of it may send.
        for future, reason in refused.items():
            future.set_exception(reason)

    def _pumped(self) -> _native.Pump:
        if self._pump is None:
            self._pump = _native.Pump()
            self._resolver = threading.Thread(
                target=self._resolve, args=(self._pump,), name="posthouse-results", daemon=True
            )
            self._resolver.start()
        return self._pump

    def _resolve(self, pump: _native.Pump) -> None:
        while True:
            ending = self._pump is not pump
            done = pump.wait(0.5)
            if ending and not done:
                break
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
            # Also when nothing came: it may be another thread's send that gave its credit back.
            with self._lock:
                if self._pump is pump and not self._closed:
                    self._native.resume(pump)
        with self._lock:
            left, self._futures = self._futures, {}
        for future in left.values():
            future.set_exception(ClosedError("the producer was closed", code="closed"))

    def send_many(self, messages: Iterable[Message], /) -> list[SendResult | PosthouseError]:
        """Sends messages to wherever each belongs, all at once; what became of each, in their order."""
        return self._told(list(messages), self._native.send_many, lambda results: results)

    def send_batch(self, messages: Sequence[Message], /) -> list[SendResult]:
        """RocketMQ's batch: messages of one topic into one queue, in one request for each 4 MiB."""
        return self._told(list(messages), self._native.send_batch, lambda results: results)

    def send_oneway(self, message: Message, /) -> None:
        """Sends a message and does not ask what became of it."""
        self._told([message], lambda messages: self._native.send_oneway(messages[0]), lambda _: [])

    def request(self, message: Message, /, *, timeout: Seconds = 3.0) -> ReceivedMessage:
        """Sends a request, and returns the reply of whoever consumes it."""
        limit = seconds(timeout)
        return self._told(
            [message], lambda messages: _native.request(self._native, messages[0], limit), lambda _: []
        )

    def reply(
        self, request: ReceivedMessage, body: Body, /, *, properties: Mapping[str, str] | None = None
    ) -> None:
        """Answers a request. A handler may return a ``Reply`` instead."""
        _native.reply(self._native, request, body, properties)

    def recall(self, topic: str, recall_handle: str | None = None, /) -> RecallResult:
        """Calls a delayed message back, by its result's ``recall_handle``; that says its topic as well, which may be
        left out."""
        handle = topic if recall_handle is None else recall_handle
        return RecallResult(*_native.recall(self._native, handle))

    def flush(self, timeout: Seconds | None = None) -> None:
        """Returns when nothing is on its way any more."""
        end = None if timeout is None else monotonic() + seconds(timeout)
        self._leave()
        self._wait_results(end)
        if not self._native.flush(None if end is None else max(0.0, end - monotonic())):
            raise TimeoutError("messages are still on their way")

    def _wait_results(self, end: float | None) -> None:
        """Waits until what was submitted has its results: also what still waits for credit."""
        resolver = self._resolver
        # Neither in a forked child, where nobody resolves, nor in a callback of a result.
        if resolver is None or not resolver.is_alive() or resolver is threading.current_thread():
            return
        with self._lock:
            futures = list(self._futures.values())
        wait(futures, None if end is None else max(0.0, end - monotonic()))

    def close(self, timeout: Seconds = 10.0) -> None:
        end = monotonic() + seconds(timeout)
        self._leave()
        self._wait_results(end)
        with self._lock:
            self._closed = True
            self._more.notify_all()
        self._native.close(max(0.0, end - monotonic()))
        with self._lock:
            pump, self._pump = self._pump, None
        if pump is not None:
            # What has come is taken first: only what has no result by now was closed upon.
            pump.close()
            self._wait_results(max(end, monotonic() + 0.5))
