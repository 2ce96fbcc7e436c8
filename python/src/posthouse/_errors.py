"""Every error of the package, by kind. Each has a stable ``code``; the classes are chosen by it."""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuthError",
    "ClosedError",
    "ConfigError",
    "ConnectError",
    "FilterError",
    "ForkedError",
    "GroupNotFound",
    "InvalidMessage",
    "MessageTooLarge",
    "NotFoundError",
    "OffsetOutOfRange",
    "PosthouseError",
    "QueueFull",
    "RequestTimeout",
    "ThrottledError",
    "TopicNotFound",
    "TransactionError",
    "UnsupportedError",
]


class PosthouseError(Exception):
    """Any error of this package.

    ``code`` is stable; ``response_code`` is the broker's, if it answered; ``retryable`` says whether the same
    call may work later or elsewhere; ``topic`` and ``broker`` are what it is about, if it is about one.
    """

    code: str
    response_code: int | None
    retryable: bool
    topic: str | None
    broker: str | None

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "internal",
        response_code: int | None = None,
        retryable: bool = False,
        topic: str | None = None,
        broker: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.response_code = response_code
        self.retryable = retryable
        self.topic = topic
        self.broker = broker

    def __reduce__(self) -> tuple[Any, ...]:
        facts = (self.code, str(self), self.response_code, self.retryable, self.topic, self.broker)
        return (_make, facts)


class ConfigError(PosthouseError, ValueError):
    """An argument, a URL, a variable or a setting is wrong."""


class ClosedError(PosthouseError):
    """It was closed."""


class ForkedError(ClosedError):
    """It was made before a fork, by the parent. Make a client in each process."""


class ConnectError(PosthouseError, ConnectionError):
    """Nobody answers at an address."""


class RequestTimeout(PosthouseError, TimeoutError):
    """No answer in time. What was asked for may have been done."""


class AuthError(PosthouseError, PermissionError):
    """The broker does not permit it."""


class NotFoundError(PosthouseError, LookupError):
    """There is no such thing."""


class TopicNotFound(NotFoundError):
    """There is no such topic."""


class GroupNotFound(NotFoundError):
    """There is no such group."""


class InvalidMessage(PosthouseError, ValueError):
    """No broker would take this message; it was not sent."""


class MessageTooLarge(InvalidMessage):
    """The body is longer than 4 MiB."""


class FilterError(PosthouseError, ValueError):
    """A filter that is none; the text says where and why."""


class ThrottledError(PosthouseError):
    """Not now: the broker is busy, or its disk is full."""


class QueueFull(ThrottledError):
    """``send_nowait`` with ``max_in_flight`` messages on their way."""


class OffsetOutOfRange(PosthouseError, ValueError):
    """An offset or a queue that is not this consumer's."""


class TransactionError(PosthouseError):
    """A transaction was decided otherwise."""


class UnsupportedError(PosthouseError, NotImplementedError):
    """Not possible here."""


_BY_CODE: dict[str, type[PosthouseError]] = {
    "config": ConfigError,
    "closed": ClosedError,
    "forked": ForkedError,
    "connect": ConnectError,
    "timeout": RequestTimeout,
    "auth": AuthError,
    "topic_not_found": TopicNotFound,
    "group_not_found": GroupNotFound,
    "invalid_message": InvalidMessage,
    "message_too_large": MessageTooLarge,
    "filter": FilterError,
    "throttled": ThrottledError,
    "queue_full": QueueFull,
    "offset": OffsetOutOfRange,
    "transaction": TransactionError,
    "unsupported": UnsupportedError,
}


def _make(
    code: str,
    message: str,
    response_code: int | None = None,
    retryable: bool = False,
    topic: str | None = None,
    broker: str | None = None,
) -> PosthouseError:
    """The error for a code; called by the native half, and by pickle."""
    return _BY_CODE.get(code, PosthouseError)(
        message,
        code=code,
        response_code=response_code,
        retryable=retryable,
        topic=topic,
        broker=broker,
    )
