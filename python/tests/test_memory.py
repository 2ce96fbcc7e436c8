"""Views of bodies: no copy, and theirs for as long as they live."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from pathlib import Path

import pytest

import posthouse
from posthouse import Message, ReceivedMessage, StartFrom

FIRST = StartFrom.FIRST
MIB = 1 << 20


def test_a_view_is_no_copy_and_cannot_be_written_to(client: posthouse.Client) -> None:
    body = bytes(range(256)) * (4 * MIB // 256)
    client.producer().send("t", body)
    [message] = client.simple_consumer("g", "t").receive()
    tracemalloc.start()
    try:
        view = message.memory()
        first = view[:10].tobytes()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < MIB, "it was copied"
    assert first == bytes(range(10)) and view.nbytes == len(body)
    assert view.readonly and view.format == "B" and view.contiguous
    with pytest.raises(TypeError):
        view[0] = 1
    assert view == body == message.body
    assert bytearray(view) == body
    with view[1:3] as part:
        assert part.tobytes() == b"\1\2"


@pytest.mark.parametrize("body", [b"", b"\0", b"a\0b"])
def test_every_body_has_one(client: posthouse.Client, body: bytes) -> None:
    if not body:
        with pytest.raises(posthouse.InvalidMessage):
            client.producer().send("t", body)
        return
    client.producer().send("t", body)
    [message] = client.simple_consumer("g", "t").receive()
    assert message.memory().tobytes() == body


def test_a_view_outlives_its_message_its_consumer_its_client_and_its_server() -> None:
    body = bytes(range(256)) * 4096
    views: list[memoryview] = []
    with posthouse.Server.embedded() as server, server.client() as client:
        client.producer().send_many([Message("t", body) for _ in range(4)])
        with client.push_consumer("g", "t", start_from=FIRST) as consumer:
            for message in consumer:
                views.append(message.memory())
                if len(views) == 4:
                    break
        del message, consumer
        gc.collect()
        assert all(view == body for view in views)
    del client, server
    gc.collect()
    # What was freed would be other people's by now.
    noise = [bytes([n]) * len(body) for n in range(64)]
    assert all(view == body for view in views)
    assert len(noise) == 64


def test_asyncio_has_the_same() -> None:
    async def main() -> memoryview:
        async with posthouse.AsyncClient("embedded:") as client:
            await client.producer().send("t", b"x" * MIB)
            consumer = client.pull_consumer("g", start_from=FIRST)
            await consumer.subscribe("t")
            async for message in consumer:
                return message.memory()
        raise AssertionError

    view = asyncio.run(asyncio.wait_for(main(), 60))
    gc.collect()
    assert view == b"x" * MIB


def test_who_lets_go_of_views_has_its_memory_back(client: posthouse.Client) -> None:
    client.producer().send_many([Message("t", b"x" * MIB) for _ in range(8)])
    consumer = client.pull_consumer("g", auto_commit=None)
    queues = consumer.queues("t")
    consumer.assign(queues)

    def round_() -> None:
        for queue in queues:
            consumer.seek(queue, FIRST)
        kept: list[tuple[ReceivedMessage, memoryview]] = []
        while len(kept) < 8:
            kept += [(message, message.memory()) for message in consumer.poll()]
        assert all(view[-1] == ord("x") for _, view in kept)

    for _ in range(5):
        round_()
    before = resident()
    for _ in range(40):
        round_()
    # 320 MiB went by.
    assert resident() - before < 64 * MIB


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
