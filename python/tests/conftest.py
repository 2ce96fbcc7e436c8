"""What the tests share: servers in this process, and the pieces of the tree they read."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

import posthouse

ROOT = Path(__file__).resolve().parents[1]

# Who starts the tests in the background of a script has them ignore Ctrl-C, and so would every process that is interrupted
# here: what is ignored is handed down, a handler is not.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def server() -> Iterator[posthouse.Server]:
    """A server in memory with a clock that stands still."""
    with posthouse.Server.embedded(clock="manual") as server:
        yield server


@pytest.fixture
def client(server: posthouse.Server) -> Iterator[posthouse.Client]:
    with server.client() as client:
        yield client


def run_python(code: str, *, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=timeout, check=False
    )


class Turns:
    """Counts how often others have their turn on an event loop."""

    count = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._take())
        return self

    async def _take(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)

    async def __aexit__(self, *raised: object) -> None:
        self._task.cancel()
