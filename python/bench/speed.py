"""How fast the package is: messages a second through a broker in this process, or one elsewhere.

    python bench/speed.py [--count 200000] [--size 1024] [--url HOST:PORT]

Each row is the best of some rounds. Figures of a shared machine are ratios, not promises.
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


def rate(count: int, seconds: float, cpu: float) -> str:
    return f"{count / seconds:10,.0f}/s  {cpu / count * 1e6:6.2f} us CPU a message"


def measured(name: str, count: int, work: Callable[[], object]) -> None:
    best: tuple[float, float] | None = None
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        took = time.perf_counter() - wall, time.process_time() - cpu
        best = min(best or took, took)
    assert best is not None
    print(f"{name:44} {rate(count, *best)}", flush=True)


async def awaited(name: str, count: int, work: Callable[[], Awaitable[object]]) -> None:
    best: tuple[float, float] | None = None
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        took = time.perf_counter() - wall, time.process_time() - cpu
        best = min(best or took, took)
    assert best is not None
    print(f"{name:44} {rate(count, *best)}", flush=True)


def blocking(client: posthouse.Client, count: int, body: bytes) -> None:
    producer = client.producer(compress_over=None)
    messages = [Message("speed", body) for _ in range(256)]

    def many() -> None:
        for _ in range(count // 256):
            producer.send_many(messages)

    def one_by_one() -> None:
        for message in messages * 4:
            producer.send(message)

    measured("send_many of 256", count // 256 * 256, many)
    measured("send, one after the other", 1024, one_by_one)


async def asynchronous(client: posthouse.AsyncClient, count: int, body: bytes) -> None:
    producer = client.producer(compress_over=None)
    message = Message("speed", body)

    async def gathered() -> None:
        for _ in range(count // 1000):
            await asyncio.gather(*[producer.send_nowait(message) for _ in range(1000)])

    await awaited("asyncio, 1000 in flight", count, gathered)
    group = iter(range(ROUNDS))

    async def iterated() -> None:
        first = StartFrom.FIRST
        async with client.push_consumer(f"speed-{next(group)}", "speed", start_from=first) as consumer:
            left = count
            async for received in consumer:
                left -= 1
                if received is None or not left:
                    return

    await awaited("async for", count, iterated)


def leak(client: posthouse.Client, body: bytes) -> None:
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
    grown = (sizes[-1] - sizes[2]) >> 10
    print(f"anonymous memory grew by {grown} MiB from the third to the tenth 100,000 messages", flush=True)


def anonymous() -> int:
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Anonymous:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--url", help="a broker elsewhere; without one, one in this process on a temporary folder")
    parser.add_argument("--leak", action="store_true", help="how memory grows, instead")
    arguments = parser.parse_args()
    body = os.urandom(arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.url
        server = None
        if url is None:
            server = posthouse.Server.embedded(folder, config={"flushDiskType": "ASYNC_FLUSH"})
            url = server.url
        try:
            with posthouse.Client(url) as client:
                if arguments.leak:
                    leak(client, body)
                    return
                blocking(client, arguments.count, body)

            async def run() -> None:
                async with posthouse.AsyncClient(url) as client:
                    await asynchronous(client, arguments.count, body)

            asyncio.run(run())
        finally:
            if server is not None:
                server.close()


if __name__ == "__main__":
    main()
