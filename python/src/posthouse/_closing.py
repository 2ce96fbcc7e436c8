"""What is closed by ``with``, by its owner, and at exit."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, Self

from ._types import Seconds

_EXIT_SECONDS = 2.0
# In the order in which they were made.
_open: weakref.WeakKeyDictionary[Closing, None] = weakref.WeakKeyDictionary()


class Closing:
    """Something with ``close``; a ``with`` block calls it."""

    def close(self, timeout: Seconds = 10.0) -> None:
        """Ends it in order, within the time. A second time does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        name = type(self).__name__
        raise TypeError(f"a {name} belongs to its process and cannot be pickled; make one in each worker")


def close_at_exit(thing: Closing) -> None:
    """Closes it when the interpreter ends, unless that was done before."""
    _open[thing] = None


def close_all(things: Iterable[Closing], timeout: float) -> float:
    """Closes them in this order, all within the time; what is left of it, seconds."""
    end = monotonic() + timeout
    for thing in things:
        thing.close(max(0.0, end - monotonic()))
    return max(0.0, end - monotonic())


class Locked(Protocol):
    """Something with a lock."""

    def _unlock(self) -> None:
        """Makes its lock, free."""


_locked: weakref.WeakSet[Locked] = weakref.WeakSet()


def unlocked_when_forked(thing: Locked) -> None:
    """Makes its lock, now and in every child: there nobody would give back what a thread of the parent's held."""
    thing._unlock()
    _locked.add(thing)


def _forked() -> None:
    for thing in _locked:
        thing._unlock()


os.register_at_fork(after_in_child=_forked)


@atexit.register
def _at_exit() -> None:
    # What was made last first: clients before their servers.
    close_all(reversed(list(_open)), _EXIT_SECONDS)
