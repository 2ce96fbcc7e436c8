"""Messages through a real broker in this process, awaited; on asyncio's own loop and on uvloop's."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

import posthouse
from conftest import Turns
from posthouse import Message, Reject, StartFrom

FIRST = StartFrom.FIRST
Program = Callable[[posthouse.Server, posthouse.AsyncClient], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, server: posthouse.Server) -> Callable[[Program], None]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(program: Program) -> None:
        async def main() -> None:
            async with asyncio.timeout(60), server.async_client() as client:
                await program(server, client)

        with asyncio.Runner(loop_factory=factory, debug=False) as runner:
            runner.run(main())

    return run


def test_sends_are_gathered_and_received(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        async with client.producer(max_in_flight=64) as producer:
            sends = (producer.send("t", str(n), tag="a") for n in range(500))
            results = await asyncio.gather(*sends)
            assert {result.status for result in results} == {"ok"}
            outcomes = await producer.send_many([Message("t", "x"), Message("t", b"")])
            assert isinstance(outcomes[0], posthouse.SendResult)
            assert isinstance(outcomes[1], posthouse.InvalidMessage)
            await producer.send_batch([Message("t", "y"), Message("t", "z")])
            await producer.send_oneway(Message("t", "w"))
        consumer = client.simple_consumer("g", "t")
        bodies: set[str] = set()
        while len(bodies) < 504:
            messages = await consumer.receive()
            await consumer.ack(messages)
            bodies |= {message.text() for message in messages}
        assert bodies == {str(n) for n in range(500)} | {"w", "x", "y", "z"}

    run(program)


def test_iterating_acks_and_stops(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        producer = client.producer()
        await producer.send_many([Message("t", str(n)) for n in range(100)])
        seen: set[str] = set()
        async with client.push_consumer("g", "t", start_from=FIRST) as consumer:
            async for message in consumer:
                seen.add(message.text())
                if len(seen) == 100:
                    break
        assert sum((await client.admin().lag("g", "t")).values()) == 0

    run(program)


def test_what_is_sent_begins_to_leave_before_the_loop_has_its_turn(run: Callable[[Program], None]) -> None:
    async def program(server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        async with client.producer() as producer, client.producer() as first:
            await first.send("t", "first")
            futures = [producer.send_nowait(Message("t", str(n))) for n in range(128)]
            # The loop gets no turn here.
            with server.client() as blocking:
                consumer = blocking.simple_consumer("g", "t")
                bodies: set[str] = set()
                while len(bodies) < 129:
                    messages = consumer.receive(wait=30.0)
                    assert messages
                    consumer.ack(messages)
                    bodies |= {message.text() for message in messages}
            assert not any(future.done() for future in futures)
            assert {result.status for result in await asyncio.gather(*futures)} == {"ok"}

    run(program)


def test_others_have_their_turn_however_much_comes(run: Callable[[Program], None]) -> None:
    count = 5000

    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        await client.producer().send_many([Message("t", "x") for _ in range(count)])
        left = count
        async with client.push_consumer("g", "t", start_from=FIRST) as consumer, Turns() as turns:
            async for _ in consumer:
                left -= 1
                if not left:
                    break
        # One each time that more is fetched, which are 1024 messages at most.
        assert turns.count >= count // 1024

    run(program)


def test_an_ack_says_whether_the_message_is_done(run: Callable[[Program], None]) -> None:
    async def program(server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        await client.producer().send("t", "x")
        consumer = client.simple_consumer("g", "t", invisible=30)
        [first] = await consumer.receive()
        server.advance(31)
        [second] = await consumer.receive()
        assert await consumer.ack(first) is False
        with pytest.raises(posthouse.OffsetOutOfRange):
            await consumer.extend(first, 60)
        assert await consumer.ack([first, second]) is False
        assert await consumer.ack(second) is True
        server.advance(3600)
        assert await consumer.receive(wait=0) == []

    run(program)


def test_a_cancelled_wait_loses_nothing(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        producer = client.producer()
        simple = client.simple_consumer("simple", "t")
        await client.admin().create_topic("t")
        async with client.push_consumer("pushed", "t", start_from=FIRST) as pushed:
            iterator = aiter(pushed)
            for _ in range(3):
                waits = [asyncio.ensure_future(anext(iterator)), asyncio.create_task(simple.receive())]
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                for waiting in waits:
                    waiting.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
            sent = [await producer.send("t", str(n)) for n in range(3)]
            by_id = {result.message_id for result in sent}
            assert {(await anext(iterator)).message_id for _ in sent} == by_id
            found: set[str] = set()
            while found != by_id:
                messages = await simple.receive()
                assert messages
                found |= {message.message_id for message in messages}

    run(program)


def test_a_receive_that_is_cancelled_as_its_messages_come_loses_none(run: Callable[[Program], None]) -> None:
    async def program(server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        await client.admin().create_topic("t")
        simple = client.simple_consumer("g", "t")
        come = client._on_loop().pump.fileno()
        with server.client() as blocking, blocking.producer() as producer:
            # So many turns of the loop lie between the messages and the end of the wait for them.
            for turns in range(8):
                receiving = asyncio.create_task(simple.receive(60))
                for _ in range(3):
                    await asyncio.sleep(0)
                sent = producer.send("t", str(turns))
                assert select.select([come], [], [], 60)[0]
                for _ in range(turns):
                    await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)
                messages = await simple.receive() if receiving.cancelled() else receiving.result()
                assert [message.message_id for message in messages] == [sent.message_id], turns
                await simple.ack(messages)

    run(program)


def test_a_poll_brings_what_a_cancelled_one_would_have(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        await client.admin().create_topic("t", queues=1)
        consumer = client.pull_consumer("g", start_from=FIRST)
        await consumer.assign(await consumer.queues("t"))
        cancelled = asyncio.create_task(consumer.poll(60))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        # The next one begins before the message comes that the cancelled one gets.
        polling = asyncio.create_task(consumer.poll(1))
        await asyncio.sleep(0)
        sent = await client.producer().send("t", "x")
        found = await polling
        while not found:
            found = await consumer.poll(1)
        assert [message.message_id for message in found] == [sent.message_id]

    run(program)


def test_what_a_cancelled_poll_takes_while_its_consumer_closes_goes_to_the_next_member(
    run: Callable[[Program], None],
) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        await client.admin().create_topic("t", queues=1)
        producer = client.producer()
        for number in range(40):
            consumer = client.pull_consumer("g", start_from=FIRST)
            await consumer.subscribe("t")
            polls = [asyncio.create_task(consumer.poll(60, 2)) for _ in range(2)]
            await asyncio.sleep(0)
            bodies = [f"{number}-{place}" for place in range(5)]
            sending = asyncio.gather(*(producer.send("t", body) for body in bodies))
            if number % 2 == 0:
                await sending
            for poll in polls:
                poll.cancel()
            polled = await asyncio.gather(*polls, return_exceptions=True)
            got = [message.text() for messages in polled if isinstance(messages, list) for message in messages]
            await consumer.aclose()
            await sending
            async with client.pull_consumer("g", start_from=FIRST) as following:
                await following.subscribe("t")
                while len(got) < len(bodies):
                    more = await following.poll(30)
                    assert more, f"round {number}: after {got} nothing came"
                    got += [message.text() for message in more]
            assert sorted(got) == bodies

    run(program)


def test_a_push_consumer_that_is_cancelled_as_it_opens_in_vain_takes_nobody_along(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        await client.admin().create_topic("t", queues=1)
        producer = client.producer()
        problems: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, problem: problems.append(problem))
        async with client.pull_consumer("g") as other:
            await other.subscribe("t")
            # The group has a member in this client: the open is refused.
            opening = asyncio.ensure_future(anext(aiter(client.push_consumer("g", "t"))))
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await asyncio.gather(*(producer.send("t", str(number)) for number in range(20)))
        assert problems == []

    run(program)


def test_a_cancelled_send_gives_its_credit_back(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        producer = client.producer(max_in_flight=4)
        for _ in range(50):
            wait = asyncio.ensure_future(producer.send("t", "x"))
            await asyncio.sleep(0)
            wait.cancel()
        await producer.flush()
        assert (await producer.send("t", "y")).status == "ok"
        for _ in range(4):
            producer.send_nowait(Message("t", "z"))
        with pytest.raises(posthouse.QueueFull) as caught:
            producer.send_nowait(Message("t", "z"))
        assert caught.value.retryable
        await producer.flush()

    run(program)


def test_what_is_no_message_is_refused_and_harms_no_other(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        producer = client.producer()
        sending = producer.send_nowait(Message("t", "x"))
        with pytest.raises(TypeError, match="not str"):
            producer.send_nowait("x")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not int"):
            await producer.send_many([Message("t", "never"), 7])  # type: ignore[list-item]
        assert (await sending).status == "ok"
        assert sum(end for _, end in (await client.admin().offsets("t")).values()) == 1

    run(program)


def test_a_closed_producer_ends_every_send(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, other: posthouse.AsyncClient) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            client = posthouse.AsyncClient(address, request_timeout=60)
            producer = client.producer(send_timeout=60, max_in_flight=1)
            sends = [asyncio.create_task(producer.send("t", str(n))) for n in range(3)]
            await asyncio.sleep(0)
            await producer.aclose(0.1)
            outcomes = await asyncio.gather(*sends, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [posthouse.ClosedError] * 3
            with pytest.raises(posthouse.ClosedError):
                await producer.send("t", "x", queue=posthouse.MessageQueue("t", "broker-a", 0))
            await producer.flush()
            # Others of the same loop go on.
            assert (await other.producer().send("t", "x")).status == "ok"
            await client.aclose(0.1)

    run(program)


def test_handlers_are_coroutines(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        seen: list[str] = []
        all_seen = asyncio.Event()

        async def handle(message: posthouse.ReceivedMessage) -> None:
            seen.append(message.text())
            if len(seen) == 50:
                all_seen.set()
            if message.text() == "0":
                raise Reject("zero")

        await client.producer().send_many([Message("t", str(n)) for n in range(50)])
        consumer = client.push_consumer("g", "t", handle, start_from=FIRST)
        running = asyncio.create_task(consumer.run())
        await all_seen.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await consumer.aclose()
        dead = client.simple_consumer("dead", "%DLQ%g")
        assert [message.text() for message in await dead.receive()] == ["0"]

    run(program)


def test_a_closing_consumer_waits_for_its_handlers(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()
        handled: list[str] = []

        async def handle(message: posthouse.ReceivedMessage) -> None:
            begun.set()
            await go_on.wait()
            handled.append(message.text())

        await client.producer().send("t", "x")
        consumer = client.push_consumer("g", "t", handle, start_from=FIRST)
        running = asyncio.create_task(consumer.run())
        await begun.wait()
        closing = asyncio.create_task(consumer.aclose())
        # Its first step is to end the wait for messages.
        await asyncio.sleep(0)
        assert not handled
        go_on.set()
        await closing
        assert handled == ["x"]
        await running
        # And its ack counted.
        assert sum((await client.admin().lag("g", "t")).values()) == 0

    run(program)


def test_a_handler_may_close_its_consumer(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        async def handle(_message: posthouse.ReceivedMessage) -> None:
            await consumer.aclose(30)

        await client.producer().send("t", "x")
        consumer = client.push_consumer("g", "t", handle, start_from=FIRST)
        async with asyncio.timeout(20):
            await consumer.run()

    run(program)


def test_a_consumer_that_is_closed_while_it_opens_is_closed(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        await client.admin().create_topic("t")
        consumer = client.push_consumer("g", "t")
        opening = asyncio.create_task(consumer.assignment())
        await asyncio.sleep(0)
        await consumer.aclose()
        with pytest.raises(posthouse.ClosedError):
            await opening
        # It left the group: another one may join, where a second one of a client is refused.
        async with client.push_consumer("g", "t", start_from=FIRST) as again:
            with pytest.raises(posthouse.ConfigError):
                await client.push_consumer("g", "t").assignment()
            await client.producer().send("t", "x")
            async for message in again:
                assert message.text() == "x"
                break

    run(program)


def test_pulling(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        await client.producer().send_many([Message("t", str(n)) for n in range(20)])
        consumer = client.pull_consumer("g", auto_commit=None, start_from=FIRST)
        queues = await consumer.queues("t")
        await consumer.assign(queues)
        seen: set[str] = set()
        async for message in consumer:
            seen.add(message.text())
            if len(seen) == 20:
                break
        await consumer.commit()
        ends = await client.admin().offsets("t")
        for queue in queues:
            if ends[queue][1]:
                assert await consumer.committed(queue) == ends[queue][1] == await consumer.position(queue)

    run(program)


def test_a_client_belongs_to_one_loop(server: posthouse.Server) -> None:
    client = server.async_client()
    producer = client.producer()

    async def send() -> None:
        await producer.send("t", "x")

    asyncio.run(send())
    with pytest.raises(posthouse.ConfigError, match="one event loop"):
        asyncio.run(client.admin().topics())
