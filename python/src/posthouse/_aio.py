"""The client for asyncio: results come in bursts, by one wake-up of the event loop each."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from os import PathLike
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeAlias

from . import _native
from ._aio_admin import AsyncAdmin
from ._aio_consumers import AsyncPullConsumer, AsyncPushConsumer, AsyncSimpleConsumer
from ._aio_producer import AsyncProducer
from ._aio_transaction import AsyncCheckFn, AsyncTransactionProducer
from ._errors import ConfigError
from ._hooks import Hook, Hooks
from ._types import (
    AsyncBatchHandler,
    AsyncHandler,
    Credentials,
    Seconds,
    Start,
    StartFrom,
    Subscriptions,
    TlsChoice,
    access,
    offsets_path,
    sealed,
    seconds,
    wanted,
)

# Who waits for a call, who gets what nobody waits for any more, and who is told that it is over.
_Call: TypeAlias = tuple[asyncio.Future[Any], Callable[[Any], None] | None, Callable[[], None] | None]

# A producer's messages have ids of their own, so that a slab of them is numbered through; pump.rs has the same.
SHIFT = 40


class Loop:
    """What one client has on one event loop: the ids of what is under way, and who is woken."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.create_future = loop.create_future
        self.pump = _native.Pump()
        self._calls: dict[int, _Call] = {}
        self._next = 1
        self.sends: dict[int, dict[int, asyncio.Future[Any]]] = {}
        self.blocked: set[AsyncProducer] = set()
        self.drained: weakref.WeakSet[AsyncProducer] = weakref.WeakSet()
        self.woken: weakref.WeakSet[AsyncPushConsumer | AsyncTransactionProducer] = weakref.WeakSet()
        loop.add_reader(self.pump.fileno(), self.take)

    async def call(
        self,
        start: Callable[[_native.Pump, int], object],
        lost: Callable[[Any], None] | None = None,
        over: Callable[[], None] | None = None,
    ) -> Any:
        """Starts a call and waits for it. If the wait is cancelled, ``lost`` gets the result all the same. ``over`` is told
        when the call, once started, has an outcome, whatever it is and whoever waits."""
        ident = self._next
        self._next += 1
        future: asyncio.Future[Any] = self.loop.create_future()
        self._calls[ident] = (future, lost, over)
        try:
            start(self.pump, ident)
        except BaseException:
            del self._calls[ident]
            raise
        try:
            return await future
        except asyncio.CancelledError:
            # The result may have come in the turn of the loop in which the wait was cancelled.
            if lost is not None and future.done() and not future.cancelled() and future.exception() is None:
                lost(future.result())
            raise

    def take(self) -> None:
        """Hands out the results that have come."""
        sent, others = self.pump.drain()
        for number, idents, results in sent:
            pop = self.sends[number].pop
            for ident, result in zip(idents, results):
                try:
                    pop(ident).set_result(result)
                except (KeyError, asyncio.InvalidStateError):
                    # Nobody waits any more: it was closed, or the wait was cancelled.
                    pass
        for ident, outcome in others:
            producer = ident >> SHIFT
            if producer:
                future, lost, over = self.sends[producer].pop(ident, None), None, None
            else:
                future, lost, over = self._calls.pop(ident, (None, None, None))
            if future is None:
                continue
            if future.done():
                if lost is not None and not isinstance(outcome, BaseException):
                    lost(outcome)
            elif isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
            if over is not None:
                over()
        if self.blocked:
            for blocked in list(self.blocked):
                blocked._resume()
        for drained in self.drained:
            drained._look_drained()
        for consumer in self.woken:
            consumer._wake()

    def close(self) -> None:
        if not self.loop.is_closed():
            self.loop.remove_reader(self.pump.fileno())
        for future, _, over in self._calls.values():
            future.cancel()
            if over is not None:
                over()


class AsyncClient:
    """A client of one cluster, for one event loop: that of its first ``await``. Arguments as for ``Client``."""

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        credentials: Credentials | None = None,
        tls: TlsChoice = None,
        request_timeout: Seconds = 3.0,
        instance: str | None = None,
        hooks: Sequence[Hook] = (),
    ) -> None:
        native = _native.Client(
            url,
            namespace=namespace,
            request_timeout=seconds(request_timeout),
            instance=instance,
            access=access(credentials),
            tls=sealed(tls),
        )
        self._begin(native, hooks)

    def _begin(self, native: _native.Client, hooks: Sequence[Hook] = ()) -> None:
        self._native = native
        self._hooks = Hooks(hooks)
        self._loop: Loop | None = None
        # Of a loop that it was closed on.
        self._wakeups = 0
        self._producers = 0
        self._replying: AsyncProducer | None = None
        # In the order in which they were made.
        self._made: weakref.WeakKeyDictionary[Any, None] = weakref.WeakKeyDictionary()
        self._hooks.made(self)

    @classmethod
    def _inside(cls, native: _native.Client, hooks: Sequence[Hook]) -> AsyncClient:
        client = cls.__new__(cls)
        client._begin(native, hooks)
        return client

    def _on_loop(self) -> Loop:
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = Loop(running)
        elif self._loop.loop is not running:
            raise ConfigError("an AsyncClient belongs to one event loop; make one in each", code="config")
        return self._loop

    def producer(
        self,
        group: str = "DEFAULT_PRODUCER",
        *,
        retries: int = 2,
        send_timeout: Seconds = 3.0,
        compress_over: int | None = 4096,
        max_in_flight: int = 1024,
        max_in_flight_bytes: int = 64 << 20,
        linger: Seconds = 0.0,
        strict_store: bool = False,
    ) -> AsyncProducer:
        """As ``Client.producer``. What one tick of the loop sends leaves together; ``linger`` waits for more."""
        native = _native.Producer(
            self._native,
            group,
            retries=retries,
            send_timeout=seconds(send_timeout),
            compress_over=compress_over,
            max_in_flight=max_in_flight,
            max_in_flight_bytes=max_in_flight_bytes,
        )
        self._producers += 1
        producer = AsyncProducer(
            self, native, self._producers, max_in_flight, strict_store, seconds(linger)
        )
        self._made[producer] = None
        return producer

    def transaction_producer(
        self,
        group: str,
        check: AsyncCheckFn,
        *,
        retries: int = 2,
        send_timeout: Seconds = 3.0,
        compress_over: int | None = 4096,
        max_in_flight: int = 1024,
        max_in_flight_bytes: int = 64 << 20,
        linger: Seconds = 0.0,
        strict_store: bool = False,
    ) -> AsyncTransactionProducer:
        """As ``Client.transaction_producer``, with a coroutine function to be asked."""
        native = _native.Producer(
            self._native,
            group,
            retries=retries,
            send_timeout=seconds(send_timeout),
            compress_over=compress_over,
            max_in_flight=max_in_flight,
            max_in_flight_bytes=max_in_flight_bytes,
            transactional=True,
        )
        self._producers += 1
        producer = AsyncTransactionProducer(
            self, native, self._producers, max_in_flight, strict_store, seconds(linger)
        )
        producer._begin_checks(check)
        self._made[producer] = None
        return producer

    def _replier(self) -> AsyncProducer:
        if self._replying is None:
            self._replying = self.producer("CLIENT_INNER_PRODUCER")
        return self._replying

    def push_consumer(
        self,
        group: str,
        subscribe: Subscriptions,
        handler: AsyncHandler | AsyncBatchHandler | None = None,
        *,
        orderly: bool = False,
        broadcast: bool = False,
        concurrency: int = 20,
        batch_size: int = 1,
        start_from: Start = StartFrom.LAST,
        max_attempts: int = 16,
        cache_messages: int = 1000,
        cache_bytes: int = 64 << 20,
        handler_timeout: Seconds = 900.0,
        offsets_file: str | PathLike[str] | None = None,
    ) -> AsyncPushConsumer:
        """As ``Client.push_consumer``, with a coroutine function as handler."""
        consumer = AsyncPushConsumer(
            self,
            group,
            wanted(subscribe),
            handler,
            orderly=orderly,
            broadcast=broadcast,
            concurrency=concurrency,
            batch_size=batch_size,
            start_from=start_from,
            max_attempts=max_attempts,
            cache_messages=cache_messages,
            cache_bytes=cache_bytes,
            handler_timeout=handler_timeout,
            offsets_file=offsets_path(broadcast, offsets_file),
        )
        self._made[consumer] = None
        return consumer

    def pull_consumer(
        self,
        group: str,
        *,
        auto_commit: Seconds | None = 5.0,
        broadcast: bool = False,
        start_from: Start = StartFrom.LAST,
        offsets_file: str | PathLike[str] | None = None,
    ) -> AsyncPullConsumer:
        """As ``Client.pull_consumer``."""
        kept = offsets_path(broadcast, offsets_file)
        consumer = AsyncPullConsumer(self, group, auto_commit, start_from, broadcast, kept)
        self._made[consumer] = None
        return consumer

    def simple_consumer(
        self, group: str, subscribe: Subscriptions, *, invisible: Seconds = 60.0
    ) -> AsyncSimpleConsumer:
        """As ``Client.simple_consumer``."""
        return AsyncSimpleConsumer(self, group, subscribe, invisible)

    def admin(self) -> AsyncAdmin:
        """Topics, groups, offsets."""
        return AsyncAdmin(self)

    def metrics(self) -> dict[str, float]:
        """As ``Client.metrics``."""
        wakeups = self._wakeups if self._loop is None else self._loop.pump.wakeups
        return {**self._native.metrics(), "wakeups": float(wakeups)}

    async def aclose(self, timeout: Seconds = 10.0) -> None:
        """Closes what was made from it, and takes leave. A second time does nothing."""
        end = monotonic() + seconds(timeout)
        # Consumers first: their handlers may be sending.
        for thing in sorted(reversed(list(self._made)), key=lambda thing: isinstance(thing, AsyncProducer)):
            await thing.aclose(max(0.0, end - monotonic()))
        loop, self._loop = self._loop, None
        await asyncio.to_thread(self._native.close, max(0.0, end - monotonic()))
        if loop is not None:
            self._wakeups = loop.pump.wakeups
            loop.close()

    async def __aenter__(self) -> Self:
        self._on_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an AsyncClient belongs to its process and cannot be pickled; make one in each worker")
