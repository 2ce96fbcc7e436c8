"""A name server and a broker in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Literal

from . import _native
from ._client import Client
from ._closing import Closing, close_at_exit
from ._errors import ConfigError
from ._hooks import Hook
from ._types import Seconds, seconds

if TYPE_CHECKING:
    from ._aio import AsyncClient

# What every broker has from the start.
_OWN = ("rmq_sys_", "RMQ_SYS_", "SCHEDULE_TOPIC_", "CID_ONS", "CID_RMQ_SYS_", "TBW102", "SELF_TEST_", "BenchmarkTest")
_OWN_NAMES = {"OFFSET_MOVED_EVENT", "TRANS_CHECK_MAX_TIME_TOPIC", "TOOLS_CONSUMER", "FILTERSRV_CONSUMER"}


class Server(Closing):
    """A whole broker in this process. Other RocketMQ clients may join if it listens."""

    def __init__(self, native: _native.Server, topics: tuple[str, ...], settings: Mapping[str, str]) -> None:
        self._native = native
        cluster = settings.get("brokerClusterName", "DefaultCluster")
        # Topics that are called after the cluster and the broker.
        self._cluster = {cluster, f"{cluster}_REPLY_TOPIC", settings.get("brokerName", "broker-a")}
        self._topics = topics
        close_at_exit(self)
        self._create()

    @classmethod
    def embedded(
        cls,
        path: str | PathLike[str] | None = None,
        *,
        listen: str | None = None,
        topics: Iterable[str] = (),
        auto_create_topics: bool = True,
        clock: Literal["real", "manual"] = "real",
        memory_bytes: int | None = None,
        config: Mapping[str, str | int | bool] | None = None,
    ) -> Server:
        """Starts a server, and returns when clients may use it.

        Without a ``path`` everything is in memory: at most ``memory_bytes`` (256 MiB; 64 at least). When that is full the
        oldest messages go; what cannot go, as messages that come later, has producers refused with code 14. With a
        ``path``, a send is answered when it is on the disk; ``config={"flushDiskType":
        "ASYNC_FLUSH"}`` answers earlier. ``listen="127.0.0.1:0"`` lets any RocketMQ client join at
        ``namesrv_addr``. With ``clock="manual"`` time stands still until ``advance``. ``config`` takes RocketMQ's
        names. There is no HTTP inside: start ``posthouse`` for that.
        """
        settings = {name: _text(value) for name, value in (config or {}).items()}
        settings.setdefault("autoCreateTopicEnable", _text(auto_create_topics))
        if clock not in ("real", "manual"):
            raise ConfigError(f"clock={clock!r} is neither 'real' nor 'manual'", code="config")
        native = _native.Server(
            None if path is None else fspath(path),
            memory_bytes=memory_bytes,
            listen=listen,
            manual_clock=clock == "manual",
            settings=list(settings.items()),
        )
        return cls(native, tuple(topics), settings)

    def _create(self) -> None:
        if self._topics:
            with self.client() as client:
                for topic in self._topics:
                    client.admin().create_topic(topic)

    @property
    def namesrv_addr(self) -> str:
        """``host:port`` for any other RocketMQ client."""
        address = self._native.namesrv_addr
        if address is None:
            raise ConfigError('this server does not listen; start it with listen="127.0.0.1:0"', code="config")
        return address

    @property
    def url(self) -> str:
        """What another client of this process or, if it listens, of any process connects to."""
        path = self._native.path
        return f"embedded:{path}" if path is not None else f"rocketmq://{self.namesrv_addr}"

    def client(
        self,
        *,
        namespace: str | None = None,
        request_timeout: Seconds = 3.0,
        instance: str | None = None,
        hooks: Sequence[Hook] = (),
    ) -> Client:
        """A client that reaches it by plain calls. Arguments as for ``Client``."""
        return Client._inside(self._reached(namespace, request_timeout, instance), hooks)

    def async_client(
        self,
        *,
        namespace: str | None = None,
        request_timeout: Seconds = 3.0,
        instance: str | None = None,
        hooks: Sequence[Hook] = (),
    ) -> AsyncClient:
        """The same for asyncio."""
        from ._aio import AsyncClient

        return AsyncClient._inside(self._reached(namespace, request_timeout, instance), hooks)

    def _reached(self, namespace: str | None, request_timeout: Seconds, instance: str | None) -> _native.Client:
        return _native.Client(
            server=self._native,
            namespace=namespace,
            request_timeout=seconds(request_timeout),
            instance=instance,
        )

    def advance(self, by: Seconds) -> int:
        """Moves a manual clock: what is due on the way is delivered, leases end, checks fire, in order.

        Returns how many delayed messages and transactions no longer wait.
        """
        return self._native.advance(by)

    def reset(self) -> None:
        """Between tests: no messages, no groups, no offsets; the topics it was started with are there, empty."""
        self._native.recall_all()
        with self.client() as client:
            admin = client.admin()
            for topic in filter(self._is_users, admin.topics()):
                admin.delete_topic(topic)
            for group in filter(self._is_users, admin.groups()):
                admin.delete_group(group)
        self._create()

    def _is_users(self, name: str) -> bool:
        own = name in _OWN_NAMES or name in self._cluster or name.startswith(_OWN)
        return not own

    def close(self, timeout: Seconds = 10.0) -> None:
        self._native.close()


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
