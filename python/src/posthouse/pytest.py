"""Fixtures for tests: a broker in the test's own process, empty before each test.

``posthouse_server`` starts once a session, in memory, with a clock that ``advance`` moves; ``posthouse_client`` and
``posthouse_async_client`` are connected to it. Pytest finds them by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from posthouse import AsyncClient, Client, Server


@pytest.fixture(scope="session")
def _posthouse_session_server() -> Iterator[Server]:
    import posthouse

    with posthouse.Server.embedded(clock="manual") as server:
        yield server


@pytest.fixture
def posthouse_server(_posthouse_session_server: Server) -> Server:
    """A broker in this process, in memory, with a manual clock; without messages, groups and offsets."""
    _posthouse_session_server.reset()
    return _posthouse_session_server


@pytest.fixture
def posthouse_client(posthouse_server: Server) -> Iterator[Client]:
    """A client of ``posthouse_server``."""
    with posthouse_server.client() as client:
        yield client


@pytest.fixture
async def posthouse_async_client(posthouse_server: Server) -> AsyncIterator[AsyncClient]:
    """The same for asyncio; needs ``pytest-asyncio`` in its auto mode, or anyio's plugin."""
    async with posthouse_server.async_client() as client:
        yield client
