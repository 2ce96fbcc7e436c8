"""What Python confirms a second, beside confluent-kafka with the broker that librdkafka mocks in the process.

    python bench/beside.py [--count 200000] [--size 1024]

Both send the same bodies to a broker in their own process, by turns; the best of some rounds each. Ours writes them to
a temporary folder, with asynchronous flush; the mock keeps none. A confirmation is counted message by message, and what
was counted wrong has no figures. What stands in the last column is our rate by theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable

import confluent_kafka
import posthouse
from posthouse import Message

ROUNDS = 3
IN_FLIGHT = 1000
BURST = 256


async def gathered(producer: posthouse.AsyncProducer, count: int, body: bytes) -> int:
    """Awaits each send, with a thousand in flight; how many were stored."""
    message = Message("speed", body)
    stored = 0
    for _ in range(count // IN_FLIGHT):
        results = await asyncio.gather(*[producer.send_nowait(message) for _ in range(IN_FLIGHT)])
        stored += sum(result.status == "ok" for result in results)
    return stored


def many(producer: posthouse.Producer, count: int, body: bytes) -> int:
    """The same from a thread that blocks, so many a call."""
    messages = [Message("speed", body) for _ in range(BURST)]
    stored = 0
    for begun in range(0, count, BURST):
        for result in producer.send_many(messages[: count - begun]):
            stored += isinstance(result, posthouse.SendResult) and result.status == "ok"
    return stored


class Confluent:
    """A producer of confluent-kafka, with its own settings but for the broker; waits for all replicas, as it does unasked."""

    def __init__(self) -> None:
        self.producer = confluent_kafka.Producer({"test.mock.num.brokers": 1})
        self.acked = 0

    def told(self, error: object, _message: object) -> None:
        self.acked += error is None

    def send(self, count: int, body: bytes) -> int:
        begun = self.acked
        for _ in range(count):
            while True:
                try:
                    self.producer.produce("speed", body, on_delivery=self.told)
                    break
                except BufferError:
                    self.producer.poll(0.01)
            self.producer.poll(0)
        self.producer.flush()
        return self.acked - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=1024)
    arguments = parser.parse_args()
    count, body = arguments.count // IN_FLIGHT * IN_FLIGHT, os.urandom(arguments.size)
    confluent = Confluent()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as loop:
        server = posthouse.Server.embedded(folder, config={"flushDiskType": "ASYNC_FLUSH"})
        blocking = server.client().producer(compress_over=None)

        async def connected() -> posthouse.AsyncProducer:
            return server.async_client().producer(compress_over=None)

        awaited = loop.run(connected())
        contestants: dict[str, Callable[[int], int]] = {
            f"confluent-kafka {confluent_kafka.version()}, its mock broker": lambda n: confluent.send(n, body),
            f"posthouse, asyncio: {IN_FLIGHT} in flight": lambda n: loop.run(gathered(awaited, n, body)),
            f"posthouse, send_many of {BURST}": lambda n: many(blocking, n, body),
        }
        for send in contestants.values():
            send(IN_FLIGHT)
        best: dict[str, tuple[float, float]] = {}
        for _ in range(ROUNDS):
            for name, send in contestants.items():
                wall, cpu = time.perf_counter(), time.process_time()
                confirmed = send(count)
                took = time.perf_counter() - wall, time.process_time() - cpu
                if confirmed != count:
                    raise SystemExit(f"{name}: {confirmed} of {count} are confirmed")
                best[name] = min(took, best.get(name, took))
        server.close()
    theirs = next(iter(best.values()))[0]
    for name, (wall, cpu) in best.items():
        print(f"| {name} | {count / wall:,.0f}/s | {cpu / count * 1e6:.2f} µs | {theirs / wall:.2f} |", flush=True)


if __name__ == "__main__":
    main()
