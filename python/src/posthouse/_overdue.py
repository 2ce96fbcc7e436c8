"""Handlers that take longer than they may: who notices, and what becomes of their messages."""

from __future__ import annotations

from time import monotonic
from typing import Generic, TypeVar

from ._errors import RequestTimeout
from ._native import ReceivedMessage

_Who = TypeVar("_Who")


class Handling(Generic[_Who]):
    """What one handler has."""

    __slots__ = ("messages", "who", "begun", "is_told")

    def __init__(self, messages: list[ReceivedMessage], who: _Who) -> None:
        self.messages = messages
        self.who = who
        self.begun = monotonic()
        # In order: it was told, and goes on.
        self.is_told = False


class Overdue(Generic[_Who]):
    """Who handles what, and since when. Of each, either its handler says what becomes of it, or the time limit does."""

    def __init__(self, limit: float, orderly: bool) -> None:
        # 0: without end.
        self.limit = limit
        self._orderly = orderly
        # In the order in which they began.
        self._handling: dict[int, Handling[_Who]] = {}

    def begin(self, messages: list[ReceivedMessage], who: _Who) -> int:
        """A handler has these now; by this number it ends."""
        number = messages[0]._delivery
        self._handling[number] = Handling(messages, who)
        return number

    def end(self, number: int) -> bool:
        """Its handler has ended; whether what it says still counts."""
        return self._handling.pop(number, None) is not None

    def look(self) -> tuple[list[Handling[_Who]], float]:
        """Those whose time is over since the last look, and after how many seconds to look again.

        In order they stay their handler's: nothing behind them may be handled while it goes on.
        """
        now = monotonic()
        late: list[Handling[_Who]] = []
        for number, handling in list(self._handling.items()):
            if handling.begun + self.limit > now:
                return late, handling.begun + self.limit - now
            if handling.is_told:
                continue
            if self._orderly:
                handling.is_told = True
            elif not self.end(number):
                continue
            late.append(handling)
        return late, self.limit

    def error(self) -> RequestTimeout:
        """What is said of it."""
        return RequestTimeout(f"a handler took longer than {self.limit:g} s", code="timeout", retryable=True)
