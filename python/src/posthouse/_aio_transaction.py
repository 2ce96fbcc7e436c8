"""Transactions, for asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from . import _native
from ._aio_producer import AsyncProducer
from ._native import Message, ReceivedMessage, SendResult
from ._transaction import DECISIONS, decided
from ._types import Seconds, TxState, seconds

if TYPE_CHECKING:
    from ._aio import AsyncClient

_log = logging.getLogger("posthouse.transaction")

AsyncCheckFn: TypeAlias = Callable[[ReceivedMessage], Awaitable[TxState | bool | None]]


class AsyncTransaction:
    """A half message: ``async with producer.begin(message) as tx``. Leaving commits; an exception rolls back."""

    def __init__(self, producer: AsyncTransactionProducer, message: Message, after: float | None) -> None:
        self._producer = producer
        self._message = message
        self._after = after
        self._half: _native.Half | None = None
        self._decided = False

    async def _begin(self) -> Self:
        if self._half is None:
            native, message, after = self._producer._native, self._message, self._after

            async def send(messages: list[Message]) -> list[_native.Half]:
                half: _native.Half = await self._producer._on_loop().call(
                    lambda pump, ident: _native.begin(native, messages[0], after, pump, ident)
                )
                self._half = half
                return [half]

            await self._producer._told([message], send, lambda halves: [half.result for half in halves])
        return self

    def __await__(self) -> Any:
        return self._begin().__await__()

    def _sent(self) -> _native.Half:
        if self._half is None:
            raise RuntimeError("await the transaction, or enter it with `async with`, before you use it")
        return self._half

    @property
    def result(self) -> SendResult:
        """What the broker said of the half message."""
        return self._sent().result

    @property
    def text(self) -> str:
        """By this, ``AsyncTransactionProducer.resolve`` decides in any process."""
        return self._sent().text

    async def commit(self) -> None:
        """Consumers get it."""
        await self._decide(TxState.COMMIT)

    async def rollback(self) -> None:
        """Nobody gets it."""
        await self._decide(TxState.ROLLBACK)

    def unknown(self) -> None:
        """Leaves it to the check."""
        self._decided = True

    async def _decide(self, state: TxState) -> None:
        await self._producer.resolve(self.text, state)
        self._decided = True

    async def __aenter__(self) -> Self:
        return await self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._decided:
            return
        if error is None:
            await self.commit()
            return
        try:
            await self.rollback()
        except Exception:
            # The error that is on its way matters more; the broker will ask.
            _log.exception("a rollback did not get through; the broker will ask")


class AsyncTransactionProducer(AsyncProducer):
    """Sends transactions. Its function is asked about those of its group that nobody decided about."""

    _check: AsyncCheckFn
    _checking: set[asyncio.Task[None]]

    def _begin_checks(self, check: AsyncCheckFn) -> None:
        self._check = check
        self._checking = set()

    def _on_loop(self) -> Any:
        first = self._loop is None
        loop = super()._on_loop()
        if first:
            loop.woken.add(self)
            _native.wake_checks(self._native, loop.pump)
        return loop

    def _wake(self) -> None:
        for question in _native.take_checks(self._native):
            task = asyncio.get_running_loop().create_task(self._answer(question))
            self._checking.add(task)
            task.add_done_callback(self._checking.discard)

    async def _answer(self, question: ReceivedMessage) -> None:
        try:
            answer = decided(await self._check(question))
        except Exception:
            _log.exception("a check failed; the broker asks about %r again", question)
            answer = DECISIONS[TxState.UNKNOWN]
        _native.answer_check(self._native, question._delivery, answer)

    def begin(self, message: Message, /, *, check_after: Seconds | None = None) -> AsyncTransaction:
        """Sends a half message when it is awaited or entered. The broker asks about it after ``check_after``."""
        return AsyncTransaction(self, message, None if check_after is None else seconds(check_after))

    async def resolve(self, transaction: str, state: TxState) -> None:
        """Decides about a half message by its ``text``, whoever sent it."""
        native = self._native
        await self._on_loop().call(
            lambda pump, ident: _native.resolve(native, transaction, DECISIONS[state], pump, ident)
        )
