"""Pull consumers that broadcast, and loops that are left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import posthouse
from conftest import Turns
from posthouse import Message, StartFrom

FIRST = StartFrom.FIRST
ALL = {str(number) for number in range(20)}


def sent(client: posthouse.Client) -> None:
    client.producer().send_many([Message("t", text) for text in sorted(ALL)])


def polled(consumer: posthouse.PullConsumer, count: int) -> list[str]:
    texts: list[str] = []
    while len(texts) < count:
        texts += [message.text() for message in consumer.poll(60)]
    return texts


def test_each_member_of_a_broadcasting_group_reads_all_and_keeps_its_own_offsets(
    server: posthouse.Server, client: posthouse.Client
) -> None:
    sent(client)
    with server.client() as other:
        members = [
            each.pull_consumer("g", broadcast=True, start_from=FIRST, auto_commit=None) for each in (client, other)
        ]
        for member in members:
            member.subscribe("t")
            assert set(polled(member, 20)) == ALL
        one, two = members
        queues = one.queues("t")
        ends = {queue: end for queue, (_, end) in client.admin().offsets("t").items() if end}
        assert all(member.committed(queue) is None for member in members for queue in queues)
        one.commit()
        assert {queue: one.committed(queue) for queue in ends} == ends
        assert all(two.committed(queue) is None for queue in queues)
        queue = next(iter(ends))
        one.commit({queue: 0})
        assert one.committed(queue) == 0 and one.position(queue) == ends[queue]
        for member in members:
            member.close()
    # No broker was told: a group that shares begins anew.
    shares = client.pull_consumer("g", start_from=FIRST)
    shares.subscribe("t")
    assert set(polled(shares, 20)) == ALL


def test_a_broadcasting_member_goes_on_where_its_file_says(client: posthouse.Client, tmp_path: Path) -> None:
    sent(client)
    file = tmp_path / "folder" / "offsets.json"

    def member(auto_commit: float | None = 3600) -> posthouse.PullConsumer:
        consumer = client.pull_consumer("g", broadcast=True, start_from=FIRST, auto_commit=auto_commit, offsets_file=file)
        consumer.subscribe("t")
        return consumer

    with member() as consumer:
        first = polled(consumer, 20)
    # Its end wrote it.
    assert set(first) == ALL and '"offsetTable"' in file.read_text()
    client.producer().send("t", "new")
    with member(auto_commit=None) as consumer:
        assert polled(consumer, 1) == ["new"]
    with member(auto_commit=None) as consumer:
        assert polled(consumer, 1) == ["new"]
        consumer.commit()
    client.producer().send("t", "last")
    with member() as consumer:
        assert polled(consumer, 1) == ["last"]
    with pytest.raises(posthouse.ConfigError, match="offsets_file"):
        client.pull_consumer("g", offsets_file=file)
    with pytest.raises(posthouse.ConfigError, match="offsets_file"):
        client.push_consumer("g", "t", offsets_file=file)
    file.write_text("nonsense")
    with client.pull_consumer("g", broadcast=True, offsets_file=file) as consumer:
        with pytest.raises(posthouse.ConfigError, match="offsets.json"):
            consumer.subscribe("t")


def test_a_broadcasting_push_consumer_has_a_file_too(client: posthouse.Client, tmp_path: Path) -> None:
    file = tmp_path / "offsets.json"
    sent(client)
    for expected in (ALL, {"new"}):
        with client.push_consumer("g", "t", broadcast=True, start_from=FIRST, offsets_file=file) as consumer:
            seen = {message.text() for _, message in zip(expected, consumer, strict=False)}
            assert seen == expected
        client.producer().send("t", "new")


def test_asyncio_broadcasts_too(server: posthouse.Server, client: posthouse.Client, tmp_path: Path) -> None:
    sent(client)

    async def main() -> None:
        async with server.async_client() as one, server.async_client() as two:
            for each, file in ((one, None), (two, tmp_path / "offsets.json")):
                async with each.pull_consumer("g", broadcast=True, start_from=FIRST, offsets_file=file) as consumer:
                    await consumer.subscribe("t")
                    texts: set[str] = set()
                    while len(texts) < 20:
                        texts |= {message.text() for message in await consumer.poll(60)}
                    assert texts == ALL
                    await consumer.commit()
                    for queue in await consumer.queues("t"):
                        assert await consumer.committed(queue) == await consumer.position(queue) or not await (
                            consumer.position(queue)
                        )

    asyncio.run(asyncio.wait_for(main(), 60))
    assert (tmp_path / "offsets.json").exists()


def test_who_leaves_a_loop_has_got_what_counts_as_done(server: posthouse.Server, client: posthouse.Client) -> None:
    sent(client)
    with client.pull_consumer("g", start_from=FIRST) as consumer:
        consumer.subscribe("t")
        seen = [message.text() for _, message in zip(range(5), consumer, strict=False)]

    async def main() -> None:
        async with server.async_client() as other:
            async with other.pull_consumer("g") as consumer:
                await consumer.subscribe("t")
                async for message in consumer:
                    seen.append(message.text())
                    if len(seen) == 12:
                        break
            async with other.pull_consumer("g") as consumer:
                await consumer.subscribe("t")
                await consumer.pause([])
                await consumer.resume([])
                while len(seen) < 20:
                    seen.extend(message.text() for message in await consumer.poll(60))
                assert await consumer.assignment()

    asyncio.run(asyncio.wait_for(main(), 60))
    assert set(seen) == ALL and len(seen) == 20


def test_a_loop_may_be_left_at_any_message_and_loses_and_repeats_none(
    server: posthouse.Server, client: posthouse.Client
) -> None:
    client.producer().send_many([Message("t", text, sharding_key=text) for text in sorted(ALL)])
    order: list[list[str]] = []
    for count in range(1, 20):
        group, seen = f"g{count}", list[str]()
        # Twice by loops that are left, in one consumer and then another; then by polls.
        for end in (count, min(2 * count, 20)):
            with client.pull_consumer(group, start_from=FIRST) as consumer:
                consumer.subscribe("t")
                for message in consumer:
                    seen.append(message.text())
                    assert consumer.position(message.queue) == message.queue_offset + 1
                    if len(seen) in (1, end):
                        break
                for message in consumer if len(seen) < end else ():
                    seen.append(message.text())
                    if len(seen) == end:
                        break
                consumer.commit()
                for queue in consumer.queues("t"):
                    assert (consumer.committed(queue) or 0) == consumer.position(queue)
        with client.pull_consumer(group) as consumer:
            consumer.subscribe("t")
            while len(seen) < 20:
                seen += [message.text() for message in consumer.poll(60, 3)]
        assert sorted(seen) == sorted(ALL)
        order.append(seen)
    assert len(order) == 19


def test_an_async_loop_may_be_left_at_any_message_and_loses_and_repeats_none(
    server: posthouse.Server, client: posthouse.Client
) -> None:
    sent(client)

    async def main() -> None:
        async with server.async_client() as other:
            for count in range(1, 20):
                seen: list[str] = []
                async with other.pull_consumer(f"g{count}", start_from=FIRST) as consumer:
                    await consumer.subscribe("t")
                    for end in (1, count):
                        async for message in consumer if len(seen) < end else nothing():
                            seen.append(message.text())
                            assert await consumer.position(message.queue) == message.queue_offset + 1
                            if len(seen) == end:
                                break
                        # A wait that is broken off between two loops takes none along.
                        waiting = asyncio.ensure_future(consumer.poll(60, 2))
                        await asyncio.sleep(0)
                        waiting.cancel()
                        for polled in await asyncio.gather(waiting, return_exceptions=True):
                            # What was here already, it has got.
                            seen += [message.text() for message in polled] if isinstance(polled, list) else []
                    await consumer.commit()
                async with other.pull_consumer(f"g{count}") as consumer:
                    await consumer.subscribe("t")
                    while len(seen) < 20:
                        seen.extend(message.text() for message in await consumer.poll(60, 3))
                assert sorted(seen) == sorted(ALL), count

    asyncio.run(asyncio.wait_for(main(), 120))


async def nothing() -> AsyncIterator[posthouse.ReceivedMessage]:
    return
    yield


def test_others_have_their_turn_while_a_loop_has_messages(server: posthouse.Server, client: posthouse.Client) -> None:
    # Fewer of a queue than are read ahead.
    count = 3000
    client.producer().send_many([Message("t", "x") for _ in range(count)])

    async def main() -> None:
        async with server.async_client() as client, client.pull_consumer("g", start_from=FIRST) as consumer:
            await consumer.subscribe("t")
            # All are here: the loop waits for none.
            while client.metrics()["buffered"] < count:
                await asyncio.sleep(0.01)
            left = count
            async with Turns() as turns:
                async for _ in consumer:
                    left -= 1
                    if not left:
                        break
            assert turns.count >= count // 1024

    asyncio.run(asyncio.wait_for(main(), 60))


def test_an_offset_is_found_by_time(server: posthouse.Server, client: posthouse.Client) -> None:
    client.admin().create_topic("t", queues=1)
    producer = client.producer()
    producer.send(Message("t", "early"))
    server.advance(10)
    producer.send(Message("t", "late"))
    with client.pull_consumer("g", start_from=FIRST) as consumer:
        consumer.subscribe("t")
        early, late = consumer.poll(60)
        queue, between = early.queue, early.stored_at + (late.stored_at - early.stored_at) / 2
        times = [early.stored_at, between, late.stored_at]
        assert [consumer.offset_at(queue, when) for when in times] == [0, 1, 1]
        consumer.seek(queue, between)
        assert [message.text() for message in consumer.poll(60)] == ["late"]
