"""Messages as they come, blocking: handlers on Python's own threads, or a plain loop."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import _native
from ._closing import Closing, unlocked_when_forked
from ._errors import ClosedError, ConfigError, PosthouseError
from ._native import MessageQueue, ReceivedMessage
from ._overdue import Overdue
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
    A handler that returns acks; one that raises retries, ``Reject`` dead-letters. It runs in a copy of the context in
    which the consumer was started. One that takes longer than ``handler_timeout`` is too late: its message comes again,
    another thread takes its place, and what it says in the end does not count. In order its message waits for it all
    the same, and what it says counts; the log has it.

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
        handler_timeout: Seconds,
        offsets_file: Path | None,
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
            "offsets_file": offsets_file,
        }
        self._native: _native.PushConsumer | None = None
        # Those that handle messages, and those whose handler is too late.
        self._threads: set[threading.Thread] = set()
        self._late: set[threading.Thread] = set()
        self._begun = 0
        self._orderly = orderly
        self._overdue: Overdue[threading.Thread] = Overdue(seconds(handler_timeout), orderly)
        self._ended = threading.Event()
        self._buffer: deque[ReceivedMessage] = deque()
        self._current: ReceivedMessage | None = None
        self._hooks = client._hooks
        # Of the current message.
        self._tokens: list[Any] | None = None
        unlocked_when_forked(self)

    def _unlock(self) -> None:
        self._lock = threading.Lock()

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
            if self._begun:
                return
            threads = [self._thread(native) for _ in range(self._threads_wanted)]
        if self._overdue.limit:
            # In the same context: so are the threads that it starts.
            watch = threading.Thread(
                target=contextvars.copy_context().run,
                args=(self._watch, native),
                name="posthouse-overdue",
                daemon=True,
            )
            threads.append(watch)
        for thread in threads:
            thread.start()

    def _thread(self, native: _native.PushConsumer) -> threading.Thread:
        """One more that handles messages; the lock is held."""
        work = contextvars.copy_context().run
        name = f"posthouse-handler-{self._begun}"
        thread = threading.Thread(target=work, args=(self._work, native), name=name, daemon=True)
        self._begun += 1
        self._threads.add(thread)
        return thread

    def _watch(self, native: _native.PushConsumer) -> None:
        """Takes from handlers what they have had for too long."""
        left = self._overdue.limit
        while not self._ended.wait(left):
            late, left = self._overdue.look()
            for handling in late:
                if self._orderly:
                    _log.warning("%s; %r waits for it", self._overdue.error(), handling.messages[0])
                    continue
                _log.warning("%s; %r comes again", self._overdue.error(), handling.messages[0])
                for message in handling.messages:
                    native.settle(message._delivery, RETRY)
                self._replace(native, handling.who)

    def _replace(self, native: _native.PushConsumer, late: threading.Thread) -> None:
        with self._lock:
            self._threads.discard(late)
            # One of them may have ended by now.
            self._late = {thread for thread in self._late | {late} if thread.is_alive()}
            # Handlers that never end do not cost ever more threads.
            if self._ended.is_set() or len(self._late) > self._threads_wanted:
                return
            thread = self._thread(native)
        thread.start()

    def _goes_on(self) -> bool:
        """Whether this thread handles more; one that was late does if nobody has its place."""
        thread = threading.current_thread()
        with self._lock:
            self._late.discard(thread)
            if len(self._threads) >= self._threads_wanted:
                return False
            self._threads.add(thread)
            return True

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
            if messages and not self._handle(native, messages) and not self._goes_on():
                return

    def _handle(self, native: _native.PushConsumer, messages: list[ReceivedMessage]) -> bool:
        """Whether it was in time."""
        handler: Any = self._handler
        number = self._overdue.begin(messages, threading.current_thread())
        acked = 0
        tokens = self._hooks.deliver(messages) if self._hooks else None
        outcome: Any = None
        try:
            result = outcome = handler(messages if self._batch_size > 1 else messages[0])
            if self._batch_size > 1 and type(result) is int:
                acked, (how, after) = result, (RETRY, None)
            else:
                how, after = verdict(result)
        except BaseException as error:
            outcome = error
            how, after = failed(error)
            if after is None and how == RETRY:
                _log.exception("a handler failed; %r comes again", messages[0])
        is_in_time = self._overdue.end(number)
        if not is_in_time:
            outcome = self._overdue.error()
        elif isinstance(outcome, Reply):
            self._reply(messages[0], outcome)
        if tokens is not None:
            self._hooks.done(tokens, [outcome] * len(messages))
        if is_in_time:
            for place, message in enumerate(messages):
                native.settle(message._delivery, ACK if place < acked else how, after)
        return is_in_time

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
        with self._lock:
            threads = list(self._threads)
        # Those that are late are not waited for: nothing that they say counts.
        for thread in threads:
            # One whose start was interrupted is not there yet; it finds everything closed.
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(max(0.0, end - monotonic()))
        self._buffer.clear()
        native.close(max(0.5, end - monotonic()))
