"""Who is told what is sent and handled, and may add to it: for traces and figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ._errors import PosthouseError
from ._native import Message, ReceivedMessage, SendResult
from ._types import HandlerResult

if TYPE_CHECKING:
    from ._aio import AsyncClient
    from ._client import Client

_log = logging.getLogger("posthouse.hooks")


class Hook(Protocol):
    """Is told, once a batch, on the thread or task that sends or handles it. What it raises is logged. One that has a
    method ``on_client(client)`` as well is told of each client that has it, when that is made."""

    def on_send(self, messages: Sequence[Message], /) -> Sequence[Mapping[str, str]] | None:
        """Messages are about to be sent. It may return properties to add, for each message. To one with an idempotency
        key nothing is added: sent again, it would be another message."""

    def on_sent(self, messages: Sequence[Message], results: Sequence[SendResult | PosthouseError], /) -> None:
        """What became of messages, as they were sent. There are no results of one-way sends, and of requests whose
        reply came."""

    def on_receive(self, messages: Sequence[ReceivedMessage], waited: float, /) -> None:
        """A ``poll`` or ``receive`` got messages after so many seconds."""

    def on_deliver(self, messages: Sequence[ReceivedMessage], /) -> Any:
        """Messages are handed to a handler, or to who iterates. What it returns is given to ``on_done``."""

    def on_done(self, token: Any, results: Sequence[HandlerResult | int | BaseException], /) -> None:
        """They are done: of each, what the handler returned or raised."""


class Hooks:
    """The hooks of one client. False if there are none."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = tuple(hooks)

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def made(self, client: Client | AsyncClient) -> None:
        for hook in self._hooks:
            # Of its class: what an object makes up for any name is not meant.
            if hasattr(type(hook), "on_client"):
                _told(hook, "on_client", client)

    def send(self, messages: list[Message]) -> list[Message]:
        """The messages with what hooks add."""
        for hook in self._hooks:
            added = _told(hook, "on_send", messages)
            if added:
                messages = [
                    message.replace(properties={**message.properties, **more})
                    if more and message.idempotency_key is None
                    else message
                    for message, more in zip(messages, added, strict=True)
                ]
        return messages

    def sent(self, messages: Sequence[Message], results: Sequence[SendResult | PosthouseError]) -> None:
        for hook in self._hooks:
            _told(hook, "on_sent", messages, results)

    def failed(self, messages: Sequence[Message], error: BaseException) -> None:
        """The same if all of them ended alike."""
        if not isinstance(error, PosthouseError):
            error = PosthouseError(f"it was broken off by {error!r}", code="internal")
        self.sent(messages, [error] * len(messages))

    def receive(self, messages: Sequence[ReceivedMessage], waited: float) -> None:
        if messages:
            for hook in self._hooks:
                _told(hook, "on_receive", messages, waited)

    def deliver(self, messages: Sequence[ReceivedMessage]) -> list[Any]:
        """A token of each hook."""
        return [_told(hook, "on_deliver", messages) for hook in self._hooks]

    def done(self, tokens: list[Any], results: Sequence[Any]) -> None:
        # The last that began ends first.
        for hook, token in zip(reversed(self._hooks), reversed(tokens), strict=True):
            _told(hook, "on_done", token, results)


def _told(hook: Hook, what: str, *arguments: Any) -> Any:
    try:
        return getattr(hook, what)(*arguments)
    except Exception:
        _log.exception("a hook failed; what it was told of goes on")
        return None
