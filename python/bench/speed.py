"""How fast the package is: messages a second through a broker in this process, or one elsewhere.

    python bench/speed.py [--count 200000] [--size 1024] [--url HOST:PORT [--pid PID]] [--memory]

A row of a Markdown table each, the best of some rounds: messages a second, and CPU a message: of this process (the
embedded server's included), and of process PID. ``--memory``: whether memory grows, instead; 16 MiB are too much.
Figures of a shared machine are ratios, not promises.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable

import posthouse
from posthouse import Message, StartFrom

ROUNDS = 3
IN_FLIGHT = 1000
SINGLE = 5000


class Table:
    """Prints what was measured."""

    def __init__(self, where: str, pid: int | None) -> None:
        self.where = where
        self.pid = pid

    def used(self) -> tuple[float, float, float]:
        """The time, and seconds of CPU: this process', and the server's."""
        theirs = 0.0
        if self.pid is not None:
            with open(f"/proc/{self.pid}/stat") as file:
                fields = file.read().rpartition(") ")[2].split()
            theirs = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), time.process_time(), theirs

    def row(self, name: str, count: int, rounds: list[tuple[float, float, float]]) -> None:
        wall, own, theirs = min(rounds)
        cpu = f"{own / count * 1e6:.2f}"
        if self.pid is not None:
            cpu += f" + {theirs / count * 1e6:.2f}"
        print(f"| {self.where} | {name} | {count / wall:,.0f}/s | {cpu} µs |", flush=True)

    def measured(self, name: str, count: int, work: Callable[[], object]) -> None:
        rounds = []
        for _ in range(ROUNDS):
            begun = self.used()
            work()
            rounds.append(since(begun, self.used()))
        self.row(name, count, rounds)

    async def awaited(self, name: str, count: int, work: Callable[[], Awaitable[object]]) -> None:
        rounds = []
        for _ in range(ROUNDS):
            begun = self.used()
            await work()
            rounds.append(since(begun, self.used()))
        self.row(name, count, rounds)


def since(begun: tuple[float, float, float], now: tuple[float, float, float]) -> tuple[float, float, float]:
    return now[0] - begun[0], now[1] - begun[1], now[2] - begun[2]


def blocking(table: Table, client: posthouse.Client, count: int, body: bytes) -> None:
    producer = client.producer(compress_over=None)
    messages = [Message("speed", body) for _ in range(256)]

    def many() -> None:
        for _ in range(count // 256):
            producer.send_many(messages)

    def one_by_one() -> None:
        for _ in range(SINGLE):
            producer.send(messages[0])

    producer.send(messages[0])
    table.measured("send, one after the other", SINGLE, one_by_one)
    table.measured("send_many of 256", count // 256 * 256, many)


async def asynchronous(table: Table, client: posthouse.AsyncClient, count: int, body: bytes) -> None:
    producer = client.producer(compress_over=None)
    message = Message("speed", body)

    async def one_by_one() -> None:
        for _ in range(SINGLE):
            await producer.send(message)

    async def gathered() -> None:
        for _ in range(count // IN_FLIGHT):
            await asyncio.gather(*[producer.send_nowait(message) for _ in range(IN_FLIGHT)])

    await table.awaited("asyncio: send, one after the other", SINGLE, one_by_one)
    await table.awaited(f"asyncio: {IN_FLIGHT} in flight", count, gathered)
    group = iter(range(ROUNDS))

    async def iterated() -> None:
        name, first = f"speed-{os.getpid()}-{next(group)}", StartFrom.FIRST
        async with client.push_consumer(name, "speed", start_from=first) as consumer:
            left = count
            async for _ in consumer:
                left -= 1
                if not left:
                    return

    await table.awaited("async for", count, iterated)


def growth(client: posthouse.Client, body: bytes) -> None:
    producer = client.producer(compress_over=None)
    consumer = client.push_consumer("leak", "leak", start_from=StartFrom.FIRST)
    iterator = iter(consumer)
    sizes: list[int] = []
    for _ in range(10):
        for _ in range(100_000 // 1000):
            producer.send_many([Message("leak", body) for _ in range(1000)])
            for _, _received in zip(range(1000), iterator):
                pass
        sizes.append(anonymous())
    consumer.close()
    # What is given back late makes single rounds jump.
    grown = (min(sizes[7:]) - min(sizes[2:5])) >> 10
    print(f"anonymous memory grew by {grown} MiB from the third to the tenth 100,000 messages", flush=True)
    if grown >= 16:
        raise SystemExit(1)


def anonymous() -> int:
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Anonymous:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--url", help="a broker elsewhere; without one, one in this process on a temporary folder")
    parser.add_argument("--pid", type=int, help="its process, whose CPU is measured too")
    parser.add_argument("--memory", action="store_true", help="how memory grows, instead")
    arguments = parser.parse_args()
    body = os.urandom(arguments.size)
    table = Table("Python, over TCP" if arguments.url else "Python, embedded", arguments.pid)
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.url
        server = None
        if url is None:
            server = posthouse.Server.embedded(folder, config={"flushDiskType": "ASYNC_FLUSH"})
            url = server.url
        try:
            with posthouse.Client(url) as client:
                if arguments.memory:
                    growth(client, body)
                    return
                blocking(table, client, arguments.count, body)

            async def run() -> None:
                async with posthouse.AsyncClient(url) as client:
                    await asynchronous(table, client, arguments.count, body)

            asyncio.run(run())
        finally:
            if server is not None:
                server.close()


if __name__ == "__main__":
    main()
