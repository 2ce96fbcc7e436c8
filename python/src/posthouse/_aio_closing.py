"""What ``async with`` closes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ._types import Seconds


class Closing:
    """Something with ``aclose``; an ``async with`` block calls it."""

    async def aclose(self, timeout: Seconds = 10.0) -> None:
        """Ends it in order, within the time. A second time does nothing."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()
