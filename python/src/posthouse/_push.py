"""Messages as they come, blocking: handlers on Python's own threads, or a plain loop."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import _native
from ._closing import Closing
from ._errors import ClosedError, ConfigError, PosthouseError
from ._native import MessageQueue, ReceivedMessage
from ._types import (
    ACK,
    RETRY,
    BatchHandler,
    Filter,
    Handler,
    Reply,
    Seconds,
    Start,
    failed,
    seconds,
    start,
    verdict,
)

if TYPE_CHECKING:
    from ._client import Client

_log = logging.getLogger("posthouse.consumer")

# Without a handler messages wait here, in this process: as many as make a crossing worth it.
BUFFERED = 1024


class PushConsumer(Closing):
    """Gets messages as they come.

    With a handler: ``run()`` handles messages until ``close()`` or Ctrl-C, ``start()`` does so in the background.
    A handler that returns acks; one that raises retries, ``Reject`` dead-letters.

    Without one, iterate: asking for the next message acks the one before. An exception that leaves the ``with``
    block retries the current one.
    """

    def __init__(
        self,
        client: Client,
        group: str,
        subscribed: list[tuple[str, Filter]],
        handler: Handler | BatchHandler | None,
        *,
        orderly: bool,
        broadcast: bool,
        concurrency: int,
        batch_size: int,
        start_from: Start,
        max_attempts: int,
        cache_messages: int,
        cache_bytes: int,
    ) -> None:
        if concurrency < 1 or batch_size < 1:
            raise ConfigError("concurrency and batch_size begin at 1", code="config")
        self._client = client
        self._handler = handler
        self._batch_size = batch_size
        self._threads_wanted = concurrency
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
        }
        self._native: _native.PushConsumer | None = None
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()
        self._buffer: deque[ReceivedMessage] = deque()
        self._current: ReceivedMessage | None = None
        self._hooks = client._hooks
        # Of the current message.
        self._tokens: list[Any] | None = None

    def _tell(self, outcome: object) -> None:
        """The current message is done."""
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            self._hooks.done(tokens, [outcome])

    def _open(self) -> _native.PushConsumer:
        with self._lock:
            if self._ended.is_set():
                raise ClosedError("the consumer is closed", code="closed")
            if self._native is None:
                self._native = _native.PushConsumer.open(self._client._native, **self._arguments)
            return self._native

    def start(self) -> None:
        """Handles messages on background threads, until ``close()``."""
        if self._handler is None:
            raise ConfigError("this consumer has no handler; iterate over it", code="config")
        native = self._open()
        with self._lock:
            if self._threads:
                return
            for number in range(self._threads_wanted):
                name = f"posthouse-handler-{number}"
                thread = threading.Thread(target=self._work, args=(native,), name=name, daemon=True)
                self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    def run(self) -> None:
        """Handles messages until ``close()``, or until Ctrl-C: then it drains first."""
        self.start()
        try:
            self._ended.wait()
        finally:
            self.close()

    def _work(self, native: _native.PushConsumer) -> None:
        while not self._ended.is_set():
            try:
                messages = native.wait(self._batch_size, None)
            except ClosedError:
                return
            if messages:
                self._handle(native, messages)

    def _handle(self, native: _native.PushConsumer, messages: list[ReceivedMessage]) -> None:
        handler: Any = self._handler
        acked = 0
        tokens = self._hooks.deliver(messages) if self._hooks else None
        outcome: Any = None
        try:
            result = outcome = handler(messages if self._batch_size > 1 else messages[0])
            if isinstance(result, Reply):
                self._reply(messages[0], result)
            if self._batch_size > 1 and type(result) is int:
                acked, (how, after) = result, (RETRY, None)
            else:
                how, after = verdict(result)
        except BaseException as error:
            outcome = error
            how, after = failed(error)
            if after is None and how == RETRY:
                _log.exception("a handler failed; %r comes again", messages[0])
        if tokens is not None:
            self._hooks.done(tokens, [outcome] * len(messages))
        for number, message in enumerate(messages):
            native.settle(message._delivery, ACK if number < acked else how, after)

    def _reply(self, request: ReceivedMessage, reply: Reply) -> None:
        try:
            self._client._replier().reply(request, reply.body, properties=reply.properties)
        except PosthouseError:
            # Who asked may be gone; the request was handled all the same.
            _log.exception("the reply to %r did not get through", request)

    def __iter__(self) -> Iterator[ReceivedMessage]:
        if self._handler is not None:
            raise ConfigError("this consumer has a handler; use run() or start()", code="config")
        self._open()
        return self

    def __next__(self) -> ReceivedMessage:
        native = self._native or self._open()
        current = self._current
        if current is not None:
            self._current = None
            self._tell(None)
            native.settle(current._delivery, ACK)
        if not self._buffer:
            try:
                self._buffer.extend(native.wait(BUFFERED, None))
            except ClosedError:
                raise StopIteration from None
            if not self._buffer:
                raise StopIteration
        message = self._buffer.popleft()
        self._current = message
        if self._hooks:
            self._tokens = self._hooks.deliver([message])
        return message

    def pause(self) -> None:
        """Hands out no more messages until ``resume()``."""
        self._open().pause()

    def resume(self) -> None:
        """Goes on."""
        self._open().resume()

    def assignment(self) -> list[MessageQueue]:
        """The queues that are its own just now."""
        return self._open().assignment()

    def __enter__(self) -> Self:
        if self._handler is not None:
            self.start()
        else:
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        current, self._current = self._current, None
        self._tell(error)
        if current is not None and self._native is not None:
            how, after = (ACK, None) if error is None else failed(error)
            self._native.settle(current._delivery, how, after)
        self.close()

    def close(self, timeout: Seconds = 10.0) -> None:
        limit = seconds(timeout)
        end = monotonic() + limit
        with self._lock:
            native = self._native
            first = not self._ended.is_set()
            self._ended.set()
        if native is None or not first:
            return
        native.stop()
        for thread in self._threads:
            # One whose start was interrupted is not there yet; it finds everything closed.
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(max(0.0, end - monotonic()))
        self._buffer.clear()
        native.close(max(0.5, end - monotonic()))


