"""What operators do, for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _native
from ._admin import TopicKind
from ._native import MessageQueue, ReceivedMessage
from ._types import Start, start

if TYPE_CHECKING:
    from ._aio import AsyncClient


class AsyncAdmin:
    """Topics, groups, offsets, and messages by id or key; as ``Admin``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._native = _native.Admin(client._native)

    async def _call(self, begin: Any, *arguments: Any) -> Any:
        return await self._client._on_loop().call(lambda pump, ident: begin(*arguments, pump, ident))

    async def create_topic(
        self, topic: str, *, queues: int = 8, exist_ok: bool = True, kind: TopicKind = "mixed"
    ) -> None:
        """Makes a topic, or changes it if it is there. A ``mixed`` one takes every kind of message."""
        await self._call(self._native.create_topic, topic, queues, kind, exist_ok)

    async def delete_topic(self, topic: str, *, missing_ok: bool = True) -> None:
        """Deletes a topic with its messages. One that is not there is deleted already, or raises ``TopicNotFound``."""
        await self._call(self._native.delete_topic, topic, missing_ok)

    async def topics(self) -> list[str]:
        """Every topic, RocketMQ's own included."""
        topics: list[str] = await self._call(self._native.topics)
        return topics

    async def offsets(self, topic: str) -> dict[MessageQueue, tuple[int, int]]:
        """Each queue's first offset, and the one that the next message will get."""
        offsets: dict[MessageQueue, tuple[int, int]] = await self._call(self._native.offsets, topic)
        return offsets

    async def create_group(self, group: str, *, orderly: bool = False, max_attempts: int = 16) -> None:
        """Makes a group, or changes it."""
        await self._call(self._native.create_group, group, orderly, max_attempts)

    async def delete_group(self, group: str) -> None:
        """Deletes a group and its offsets."""
        await self._call(self._native.delete_group, group)

    async def groups(self) -> list[str]:
        """Every group, RocketMQ's own included."""
        groups: list[str] = await self._call(self._native.groups)
        return groups

    async def lag(self, group: str, topic: str | None = None) -> dict[MessageQueue, int]:
        """How many messages a group has to do in each queue of a topic, or of all topics that it has offsets in."""
        lag: dict[MessageQueue, int] = await self._call(self._native.lag, group, topic)
        return lag

    async def reset_offset(self, group: str, topic: str, to: Start) -> dict[MessageQueue, int]:
        """Sends a group without members to another place; where it goes on, queue by queue."""
        moved: dict[MessageQueue, int] = await self._call(self._native.reset_offset, group, topic, start(to))
        return moved

    async def message(self, topic: str, message_id: str) -> ReceivedMessage | None:
        """The message with this id."""
        found: ReceivedMessage | None = await self._call(self._native.message, topic, message_id)
        return found

    async def messages_by_key(self, topic: str, key: str, *, limit: int = 32) -> list[ReceivedMessage]:
        """Messages with this key, newest first."""
        found: list[ReceivedMessage] = await self._call(self._native.messages_by_key, topic, key, limit)
        return found
