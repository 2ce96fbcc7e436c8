"""What operators do, blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from . import _native
from ._native import MessageQueue, ReceivedMessage
from ._types import Start, start

if TYPE_CHECKING:
    from ._client import Client

TopicKind: TypeAlias = Literal["normal", "fifo", "delay", "transaction", "mixed"]


class Admin:
    """Topics, groups, offsets, and messages by id or key."""

    def __init__(self, client: Client) -> None:
        self._native = _native.Admin(client._native)
        self._client = client

    def create_topic(
        self, topic: str, *, queues: int = 8, exist_ok: bool = True, kind: TopicKind = "mixed"
    ) -> None:
        """Makes a topic, or changes it if it is there. A ``mixed`` one takes every kind of message."""
        self._native.create_topic(topic, queues, kind, exist_ok)

    def delete_topic(self, topic: str, *, missing_ok: bool = True) -> None:
        """Deletes a topic with its messages. One that is not there is deleted already, or raises ``TopicNotFound``."""
        self._native.delete_topic(topic, missing_ok)

    def topics(self) -> list[str]:
        """Every topic, RocketMQ's own included."""
        return self._native.topics()

    def offsets(self, topic: str) -> dict[MessageQueue, tuple[int, int]]:
        """Each queue's first offset, and the one that the next message will get."""
        return self._native.offsets(topic)

    def create_group(self, group: str, *, orderly: bool = False, max_attempts: int = 16) -> None:
        """Makes a group, or changes it."""
        self._native.create_group(group, orderly, max_attempts)

    def delete_group(self, group: str) -> None:
        """Deletes a group and its offsets."""
        self._native.delete_group(group)

    def groups(self) -> list[str]:
        """Every group, RocketMQ's own included."""
        return self._native.groups()

    def lag(self, group: str, topic: str | None = None) -> dict[MessageQueue, int]:
        """How many messages a group has to do in each queue of a topic, or of all topics that it has offsets in."""
        return self._native.lag(group, topic)

    def reset_offset(self, group: str, topic: str, to: Start) -> dict[MessageQueue, int]:
        """Sends a group without members to another place; where it goes on, queue by queue."""
        return self._native.reset_offset(group, topic, start(to))

    def message(self, topic: str, message_id: str) -> ReceivedMessage | None:
        """The message with this id."""
        return self._native.message(topic, message_id)

    def messages_by_key(self, topic: str, key: str, *, limit: int = 32) -> list[ReceivedMessage]:
        """Messages with this key, newest first."""
        return self._native.messages_by_key(topic, key, limit)
