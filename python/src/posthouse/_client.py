"""The blocking client."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from os import PathLike

from . import _native
from ._admin import Admin
from ._closing import Closing, close_all, close_at_exit
from ._consumers import PullConsumer, SimpleConsumer
from ._hooks import Hook, Hooks
from ._producer import Producer
from ._push import PushConsumer
from ._transaction import CheckFn, TransactionProducer
from ._types import (
    BatchHandler,
    Credentials,
    Handler,
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


class Client(Closing):
    """A client of one cluster. Safe to use from many threads.

    ``url`` is ``"rocketmq://[access-key:secret-key@]host:port[,host:port][/namespace][?tls=1]"``, ``"host:port"`` or
    ``"embedded:[path]"``; ``None`` reads ``$POSTHOUSE_URL``, then ``$NAMESRV_ADDR``, then takes ``127.0.0.1:9876``.
    ``namespace`` is the part of the cluster whose topics and groups are meant, by their short names (``$POSTHOUSE_NAMESPACE``
    if nobody says one). It, ``credentials`` and ``tls`` go before what the URL says; ``tls`` is whether connections are encrypted, the file of the
    authorities that they trust, or a ``Tls``. ``hooks`` are told what is sent and handled. Nothing is connected before it is
    needed, but ``embedded:`` starts a server in this process: private to this client and in memory, or in a folder
    and shared with every client of that path.
    """

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
        # In the order in which they were made.
        self._made: weakref.WeakKeyDictionary[Closing, None] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._replying: Producer | None = None
        close_at_exit(self)
        self._hooks.made(self)

    @classmethod
    def _inside(cls, native: _native.Client, hooks: Sequence[Hook]) -> Client:
        client = cls.__new__(cls)
        client._begin(native, hooks)
        return client

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
    ) -> Producer:
        """Sends messages. With ``strict_store`` a message that is stored less safely than configured raises. What is
        ``submit``ted waits for more to leave with, up to ``linger``; it leaves sooner with other sends and when nothing
        more may be on its way."""
        native = _native.Producer(
            self._native,
            group,
            retries=retries,
            send_timeout=seconds(send_timeout),
            compress_over=compress_over,
            max_in_flight=max_in_flight,
            max_in_flight_bytes=max_in_flight_bytes,
        )
        producer = Producer(self, native, strict_store, max_in_flight, seconds(linger))
        self._made[producer] = None
        return producer

    def transaction_producer(
        self,
        group: str,
        check: CheckFn,
        *,
        check_threads: int = 1,
        retries: int = 2,
        send_timeout: Seconds = 3.0,
        compress_over: int | None = 4096,
        max_in_flight: int = 1024,
        max_in_flight_bytes: int = 64 << 20,
        linger: Seconds = 0.0,
        strict_store: bool = False,
    ) -> TransactionProducer:
        """Sends transactions. ``check`` is asked, on a thread of its own, about those that nobody decided about:
        also those of other producers of the group."""
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
        producer = TransactionProducer(
            self, native, strict_store, max_in_flight, seconds(linger), check, check_threads
        )
        self._made[producer] = None
        return producer

    def _replier(self) -> Producer:
        with self._lock:
            if self._replying is None:
                self._replying = self.producer("CLIENT_INNER_PRODUCER")
            return self._replying

    def push_consumer(
        self,
        group: str,
        subscribe: Subscriptions,
        handler: Handler | BatchHandler | None = None,
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
    ) -> PushConsumer:
        """Gets messages as they come: with a handler, ``run()`` or ``start()``; without one, iterate. What a handler has
        longer than ``handler_timeout`` comes again; 0 is without end. A member that ``broadcast``s begins where its
        ``offsets_file`` says, which is its own, or without one as a new group does."""
        consumer = PushConsumer(
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
    ) -> PullConsumer:
        """Gets messages when it asks for them, and may go anywhere in a queue. Each
        member of the group reads everything if they ``broadcast``; what it has done it keeps itself, in ``offsets_file`` (in
        Java's format, for it alone) or, without one, as long as it lives."""
        kept = offsets_path(broadcast, offsets_file)
        consumer = PullConsumer(self, group, auto_commit, start_from, broadcast, kept)
        self._made[consumer] = None
        return consumer

    def simple_consumer(
        self, group: str, subscribe: Subscriptions, *, invisible: Seconds = 60.0
    ) -> SimpleConsumer:
        """Gets messages on loan, to be acked one by one within ``invisible`` (RocketMQ's POP)."""
        consumer = SimpleConsumer(self, group, subscribe, invisible)
        self._made[consumer] = None
        return consumer

    def admin(self) -> Admin:
        """Topics, groups, offsets."""
        return Admin(self)

    def metrics(self) -> dict[str, float]:
        """What it has done, and what it holds just now, by name; also when it is closed.

        Counted since the client was made: ``sent`` (brokers have them), ``send_failures``, ``send_retries`` (requests that
        were made again), ``received``, ``redelivered`` (those of them that had been delivered before), ``acknowledged``
        (handled or acked), ``retried`` and ``rejected`` (by push consumers' handlers), and ``wakeups`` of its event loop,
        which a blocking client has none of. As it is just now: ``sends_in_flight``, ``credits_free`` and
        ``credit_bytes_free`` (what producers may send before they wait), ``buffered`` and ``buffered_bytes`` (what push and
        pull consumers have here, not done), and ``connections`` (none to a server in the process).
        """
        return {**self._native.metrics(), "wakeups": 0.0}

    def close(self, timeout: Seconds = 10.0) -> None:
        # Consumers first: their handlers may be sending.
        made = sorted(reversed(list(self._made)), key=lambda thing: isinstance(thing, Producer))
        left = close_all(made, seconds(timeout))
        self._native.close(left)
