"""What both clients share: results of handlers, starts, and how arguments are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from ._errors import ConfigError
from ._native import Message, ReceivedMessage, Sql

Seconds: TypeAlias = float | timedelta
Body: TypeAlias = bytes | bytearray | memoryview | str
SendStatus: TypeAlias = Literal["ok", "flush_disk_timeout", "flush_replica_timeout", "replica_not_available"]
Filter: TypeAlias = str | Sql
Subscriptions: TypeAlias = str | Iterable[str] | Mapping[str, Filter]


@dataclass(frozen=True)
class Credentials:
    """Whose requests they are: they are signed with it."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Tls:
    """Whom encrypted connections trust."""

    ca: bytes | str | PathLike[str] | None = None
    """The authorities, PEM, or a file of them; ``None``: the system's."""
    name: str | None = None
    """The name that servers' certificates are for; ``None``: their addresses."""
    verify: bool = True
    """``False``: any certificate will do, and neither ``ca`` nor ``name`` is said.

    What is sent is sealed, but who reads it is not known.
    """


TlsChoice: TypeAlias = bool | str | PathLike[str] | Tls | None


def access(credentials: Credentials | None) -> tuple[str, str, str | None] | None:
    """As the native part wants it."""
    if credentials is None:
        return None
    return credentials.access_key, credentials.secret_key, credentials.security_token


def sealed(tls: TlsChoice) -> tuple[bool, bytes | None, str | None, bool] | None:
    """As the native part wants it: whether at all, the authorities, the name, whether certificates are looked at."""
    if tls is None:
        return None
    if isinstance(tls, bool):
        return tls, None, None, True
    if not isinstance(tls, Tls):
        tls = Tls(ca=tls)
    ca = tls.ca
    try:
        pem = ca if ca is None or isinstance(ca, bytes) else Path(ca).read_bytes()
    except OSError as error:
        raise ConfigError(f"tls: the authorities cannot be read: {error}", code="config") from error
    return True, pem, tls.name, tls.verify


class Result(Enum):
    """What a handler says of a message."""

    ACK = "ack"
    """It is done."""
    RETRY = "retry"
    """Deliver it again later; in order, the queue waits for it."""


class Retry(Exception):
    """Raised by a handler: deliver it again, if told so after this time.

    Posthouse's brokers keep the time to the millisecond. Apache's know levels only (1 s, 5 s, 10 s, 30 s, 1 to 10 min,
    20 min, 30 min, 1 h, 2 h) and take the next one up. An orderly consumer tries again itself, after this time or else
    a second, and nothing behind it before.
    """

    after: float | None

    def __init__(self, after: Seconds | None = None, reason: str = "") -> None:
        super().__init__(reason)
        self.after = None if after is None else seconds(after)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Retry, (self.after, str(self)))


class Reject(Exception):
    """Raised by a handler: to the group's dead-letter topic with it, now."""


class StartFrom(Enum):
    """Where a group without an offset begins."""

    LAST = "last"
    FIRST = "first"


class Reply:
    """What a handler answers a request with; the message is done."""

    def __init__(self, body: Body, *, properties: Mapping[str, str] | None = None) -> None:
        self.body = body
        self.properties = dict(properties or {})


class RecallResult(NamedTuple):
    """What the broker said to a recall; ``recalled`` is ``None`` if it does not say (Apache's does not)."""

    message_id: str
    recalled: bool | None


class TxState(Enum):
    """What becomes of a half message."""

    COMMIT = "commit"
    ROLLBACK = "rollback"
    UNKNOWN = "unknown"


HandlerResult: TypeAlias = Result | Reply | bool | None
Handler: TypeAlias = Callable[[ReceivedMessage], HandlerResult]
AsyncHandler: TypeAlias = Callable[[ReceivedMessage], Awaitable[HandlerResult]]
BatchHandler: TypeAlias = Callable[[Sequence[ReceivedMessage]], HandlerResult | int]
AsyncBatchHandler: TypeAlias = Callable[[Sequence[ReceivedMessage]], Awaitable[HandlerResult | int]]
Start: TypeAlias = StartFrom | datetime

ACK = 0
RETRY = 1
REJECT = 2


def seconds(value: Seconds) -> float:
    """Float seconds, or a ``timedelta``."""
    number = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not 0 <= number < 1e12:
        raise ConfigError(f"{value!r} is no span of time", code="config")
    return number


def wanted(subscribe: Subscriptions) -> list[tuple[str, Filter]]:
    """Topics with their filters."""
    if isinstance(subscribe, str):
        return [(subscribe, "*")]
    if isinstance(subscribe, Mapping):
        return list(subscribe.items())
    return [(topic, "*") for topic in subscribe]


def start(value: Start) -> str | datetime:
    """Where to begin, as the native half reads it."""
    return value.value if isinstance(value, StartFrom) else value


def offsets_path(broadcast: bool, path: str | PathLike[str] | None) -> Path | None:
    """The file of a broadcasting member."""
    if path is None:
        return None
    if not broadcast:
        raise ConfigError("offsets_file: only a member that broadcasts keeps its offsets itself", code="config")
    return Path(path)


def verdict(result: HandlerResult) -> tuple[int, float | None]:
    """What a handler's answer means."""
    if result is None or result is True or result is Result.ACK or isinstance(result, Reply):
        return ACK, None
    if result is False or result is Result.RETRY:
        return RETRY, None
    raise TypeError(f"a handler returns None, a bool, a Result or a Reply, not {type(result).__name__}")


def failed(error: BaseException) -> tuple[int, float | None]:
    """What an exception of a handler means."""
    if isinstance(error, Reject):
        return REJECT, None
    if isinstance(error, Retry):
        return RETRY, error.after
    return RETRY, None


def message_of(
    message: Message | str,
    body: Body | None,
    tag: str | None,
    keys: Iterable[str] | str,
    properties: Mapping[str, str] | None,
    sharding_key: str | None,
    deliver_after: Seconds | None,
    deliver_at: datetime | None,
    idempotency_key: str | None = None,
) -> Message:
    """The message that ``send`` was given, whole or in parts."""
    if isinstance(message, Message):
        if body is not None:
            raise TypeError("send takes a Message, or a topic and a body")
        return message
    if body is None:
        raise TypeError("send takes a Message, or a topic and a body")
    return make_message(
        message,
        body,
        tag=tag,
        keys=keys,
        properties=properties,
        sharding_key=sharding_key,
        deliver_after=deliver_after,
        deliver_at=deliver_at,
        idempotency_key=idempotency_key,
    )


def make_message(
    topic: str,
    body: Body,
    *,
    tag: str | None = None,
    keys: Iterable[str] | str = (),
    properties: Mapping[str, str] | None = None,
    sharding_key: str | None = None,
    deliver_after: Seconds | None = None,
    deliver_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> Message:
    """A message from its parts."""
    return Message(
        topic,
        body,
        tag=tag,
        keys=keys,
        properties=properties,
        sharding_key=sharding_key,
        deliver_after=deliver_after,
        deliver_at=deliver_at,
        idempotency_key=idempotency_key,
    )
