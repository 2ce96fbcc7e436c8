"""Transactions, blocking: a half message is seen by nobody until somebody decides."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from . import _native
from ._errors import ClosedError
from ._native import Message, ReceivedMessage, SendResult
from ._producer import Producer
from ._types import Seconds, TxState, seconds

if TYPE_CHECKING:
    from ._client import Client

_log = logging.getLogger("posthouse.transaction")

CheckFn: TypeAlias = Callable[[ReceivedMessage], TxState | bool | None]
DECISIONS = {TxState.COMMIT: 0, TxState.ROLLBACK: 1, TxState.UNKNOWN: 2}


def decided(answer: TxState | bool | None) -> int:
    """What a check's answer means: ``True`` commits, ``False`` rolls back, ``None`` waits on."""
    if answer is None:
        return DECISIONS[TxState.UNKNOWN]
    if isinstance(answer, bool):
        return DECISIONS[TxState.COMMIT if answer else TxState.ROLLBACK]
    return DECISIONS[answer]


class Transaction:
    """A half message. Leaving ``with`` commits; an exception rolls back, and goes on."""

    def __init__(self, producer: TransactionProducer, half: _native.Half) -> None:
        self._producer = producer
        self._half = half
        self._decided = False

    @property
    def result(self) -> SendResult:
        """What the broker said of the half message."""
        return self._half.result

    @property
    def text(self) -> str:
        """By this, ``TransactionProducer.resolve`` decides in any process."""
        return self._half.text

    def commit(self) -> None:
        """Consumers get it."""
        self._decide(TxState.COMMIT)

    def rollback(self) -> None:
        """Nobody gets it."""
        self._decide(TxState.ROLLBACK)

    def unknown(self) -> None:
        """Leaves it to the check."""
        self._decided = True

    def _decide(self, state: TxState) -> None:
        self._producer.resolve(self.text, state)
        self._decided = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._decided:
            return
        if error is None:
            self.commit()
            return
        try:
            self.rollback()
        except Exception:
            # The error that is on its way matters more; the broker will ask.
            _log.exception("a rollback did not get through; the broker will ask")


class TransactionProducer(Producer):
    """Sends transactions. Its function is asked about those of its group that nobody decided about."""

    def __init__(
        self,
        client: Client,
        native: _native.Producer,
        strict: bool,
        max_in_flight: int,
        linger: float,
        check: CheckFn,
        check_threads: int,
    ) -> None:
        super().__init__(client, native, strict, max_in_flight, linger)
        self._check = check
        self._ended = threading.Event()
        self._checkers = [
            threading.Thread(target=self._answer, name=f"posthouse-check-{number}", daemon=True)
            for number in range(check_threads)
        ]
        for thread in self._checkers:
            thread.start()

    def _answer(self) -> None:
        while not self._ended.is_set():
            try:
                questions = _native.wait_checks(self._native, 0.5)
            except ClosedError:
                return
            for question in questions:
                try:
                    answer = decided(self._check(question))
                except Exception:
                    _log.exception("a check failed; the broker asks about %r again", question)
                    answer = DECISIONS[TxState.UNKNOWN]
                _native.answer_check(self._native, question._delivery, answer)

    def begin(self, message: Message, /, *, check_after: Seconds | None = None) -> Transaction:
        """Sends a half message. The broker asks about it after ``check_after``, or as it is configured."""
        after = None if check_after is None else seconds(check_after)
        half = self._told(
            [message],
            lambda messages: _native.begin(self._native, messages[0], after),
            lambda half: [half.result],
        )
        return Transaction(self, half)

    def resolve(self, transaction: str, state: TxState) -> None:
        """Decides about a half message by its ``text``, whoever sent it."""
        _native.resolve(self._native, transaction, DECISIONS[state])

    def close(self, timeout: Seconds = 10.0) -> None:
        self._ended.set()
        super().close(timeout)
