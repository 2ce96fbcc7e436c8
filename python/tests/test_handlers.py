"""Handlers: where they run, how long they may take, and what becomes of what they say too late."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest
import uvloop

import posthouse
from posthouse import Message, ReceivedMessage, Reject, StartFrom

FIRST = StartFrom.FIRST
LIMIT = 60.0


class Told:
    """A hook that keeps what became of messages."""

    def __init__(self) -> None:
        self.outcomes: list[Any] = []

    def on_send(self, messages: Sequence[Message], /) -> None:
        return None

    def on_sent(self, messages: Sequence[Message], results: Sequence[Any], /) -> None:
        pass

    def on_receive(self, messages: Sequence[ReceivedMessage], waited: float, /) -> None:
        pass

    def on_deliver(self, messages: Sequence[ReceivedMessage], /) -> str:
        return messages[0].text()

    def on_done(self, token: Any, results: Sequence[Any], /) -> None:
        self.outcomes += [(token, result) for result in results]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def client(server: posthouse.Server, told: Told) -> Iterator[posthouse.Client]:
    with server.client(hooks=[told]) as client:
        yield client


def until(what: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> None:
    end = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < end
        meanwhile()


def handlers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("posthouse-handler")]


def test_what_a_handler_has_too_long_comes_again_and_what_it_says_late_does_not_count(
    server: posthouse.Server, client: posthouse.Client, told: Told
) -> None:
    go_on, again, other = threading.Event(), threading.Event(), threading.Event()
    attempts: list[int] = []

    def handle(message: ReceivedMessage) -> None:
        if message.text() == "other":
            other.set()
            return
        attempts.append(message.attempt)
        if message.attempt == 1:
            assert go_on.wait(LIMIT)
            raise Reject("too late to say so")
        again.set()

    with client.push_consumer("g", "t", handle, start_from=FIRST, concurrency=1, handler_timeout=0.1) as consumer:
        client.producer().send("t", "slow")
        # Its thread still has it when it comes again: another one has the place of that.
        until(again.is_set, lambda: (server.advance(11), again.wait(0.05)))
        client.producer().send("t", "other")
        assert other.wait(LIMIT)
        assert len(handlers()) == 2
        go_on.set()
        until(lambda: len(handlers()) == 1)
        until(lambda: len(told.outcomes) == 3)
        consumer.close()
    assert attempts == [1, 2]
    numbers = client.metrics()
    assert (numbers["retried"], numbers["rejected"], numbers["acknowledged"]) == (1, 0, 2)
    [late] = [outcome for text, outcome in told.outcomes if text == "slow" and outcome is not None]
    assert isinstance(late, posthouse.RequestTimeout) and late.code == "timeout"


def test_handlers_that_never_end_cost_a_place_each_and_no_close_waits_for_them(
    server: posthouse.Server, client: posthouse.Client
) -> None:
    go_on = threading.Event()
    begun: list[str] = []

    def handle(message: ReceivedMessage) -> None:
        begun.append(message.text())
        go_on.wait(LIMIT)

    consumer = client.push_consumer("g", "t", handle, start_from=FIRST, concurrency=2, handler_timeout=0.05)
    client.producer().send_many([Message("t", str(number)) for number in range(20)])
    consumer.start()
    until(lambda: len(begun) == 4)
    # All four are late by now or soon; no fifth one is made.
    until(lambda: client.metrics()["retried"] == 4)
    assert len(begun) == 4
    before = time.monotonic()
    consumer.close(LIMIT)
    assert time.monotonic() - before < LIMIT / 2
    go_on.set()
    until(lambda: not handlers())


def test_in_order_a_message_waits_for_its_handler_however_long_that_takes(
    client: posthouse.Client, caplog: pytest.LogCaptureFixture
) -> None:
    go_on, done = threading.Event(), threading.Event()
    seen: list[tuple[str, int]] = []

    def handle(message: ReceivedMessage) -> None:
        seen.append((message.text(), message.attempt))
        if message.text() == "a":
            assert go_on.wait(LIMIT)
        else:
            done.set()

    for text in "ab":
        client.producer().send(Message("t", text, sharding_key="one"))
    with caplog.at_level(logging.WARNING, "posthouse.consumer"):
        with client.push_consumer("g", "t", handle, start_from=FIRST, orderly=True, handler_timeout=0.05):
            until(lambda: "longer than 0.05 s" in caplog.text)
            assert seen == [("a", 1)]
            go_on.set()
            assert done.wait(LIMIT)
    assert seen == [("a", 1), ("b", 1)]
    assert client.metrics()["retried"] == 0


def test_handlers_run_in_the_context_of_who_started_them(client: posthouse.Client) -> None:
    who = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []
    done = threading.Semaphore(0)

    def handle(message: ReceivedMessage) -> None:
        seen.append(who.get())
        who.set("a handler")
        done.release()

    who.set("the test")
    with client.push_consumer("g", "t", handle, start_from=FIRST, concurrency=3):
        who.set("somebody later")
        client.producer().send_many([Message("t", str(number)) for number in range(50)])
        for _ in range(50):
            assert done.acquire(timeout=LIMIT)
    # Each thread has a copy: what one sets is seen by itself alone.
    assert set(seen) <= {"the test", "a handler"} and 1 <= seen.count("the test") <= 3
    assert who.get() == "somebody later"


Program = Callable[[posthouse.Server, posthouse.AsyncClient], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, server: posthouse.Server, told: Told) -> Callable[[Program], None]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(program: Program) -> None:
        async def main() -> None:
            async with asyncio.timeout(LIMIT), server.async_client(hooks=[told]) as client:
                await program(server, client)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run


async def running_until(
    consumer: posthouse.AsyncPushConsumer, what: Callable[[], object], meanwhile: Callable[[], object] = lambda: None
) -> None:
    task = asyncio.create_task(consumer.run())
    while not what():
        assert not task.done() or task.result()
        meanwhile()
        await asyncio.sleep(0.01)
    await consumer.aclose()
    await task


def test_a_coroutine_that_takes_too_long_is_cancelled_and_its_message_comes_again(
    run: Callable[[Program], None], told: Told
) -> None:
    async def program(server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        attempts: list[int] = []
        cancelled: list[str] = []
        done: list[str] = []

        async def handle(message: ReceivedMessage) -> None:
            if message.attempt == 1:
                attempts.append(1)
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.append(message.text())
                    if message.text() == "stubborn":
                        raise Reject("too late to say so") from None
                    raise
            attempts.append(message.attempt)
            done.append(message.text())

        await client.producer().send_many([Message("t", "meek"), Message("t", "stubborn")])
        consumer = client.push_consumer("g", "t", handle, start_from=FIRST, concurrency=1, handler_timeout=0.05)
        await running_until(consumer, lambda: len(done) == 2, lambda: server.advance(11))
        assert sorted(attempts) == [1, 1, 2, 2] and sorted(cancelled) == ["meek", "stubborn"]
        numbers = client.metrics()
        assert (numbers["retried"], numbers["rejected"], numbers["acknowledged"]) == (2, 0, 2)

    run(program)
    late = [outcome for _, outcome in told.outcomes if outcome is not None]
    assert len(late) == 2 and all(isinstance(outcome, posthouse.RequestTimeout) for outcome in late)


def test_in_order_a_coroutine_has_until_its_end_and_that_counts(run: Callable[[Program], None]) -> None:
    async def program(_server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        seen: list[tuple[str, int]] = []

        async def handle(message: ReceivedMessage) -> None:
            seen.append((message.text(), message.attempt))
            if message.text() == "a":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    await asyncio.sleep(0.2)

        for text in "ab":
            await client.producer().send(Message("t", text, sharding_key="one"))
        consumer = client.push_consumer("g", "t", handle, start_from=FIRST, orderly=True, handler_timeout=0.05)
        await running_until(consumer, lambda: len(seen) == 2)
        assert seen == [("a", 1), ("b", 1)]

    run(program)


def test_a_coroutine_that_is_cancelled_by_what_it_awaits_gives_its_message_back(run: Callable[[Program], None]) -> None:
    async def program(server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        attempts: list[int] = []

        async def handle(message: ReceivedMessage) -> None:
            attempts.append(message.attempt)
            if message.attempt == 1:
                raise asyncio.CancelledError

        await client.producer().send("t", "x")
        consumer = client.push_consumer("g", "t", handle, start_from=FIRST, concurrency=1)
        await running_until(consumer, lambda: len(attempts) == 2, lambda: server.advance(11))
        assert attempts == [1, 2]

    run(program)


def test_coroutines_handle_batches_whole_or_in_part(run: Callable[[Program], None]) -> None:
    async def program(server: posthouse.Server, client: posthouse.AsyncClient) -> None:
        sizes: list[int] = []
        first: list[str] = []
        left: set[str] = set()
        again: set[str] = set()

        async def handle(messages: Sequence[ReceivedMessage]) -> int | None:
            sizes.append(len(messages))
            again.update(message.text() for message in messages if message.attempt > 1)
            new = [message.text() for message in messages if message.attempt == 1]
            first.extend(new)
            if len(new) < len(messages):
                return None
            left.add(new[-1])
            return len(messages) - 1

        await client.producer().send_many([Message("t", str(n)) for n in range(64)])
        consumer = client.push_consumer("g", "t", handle, start_from=FIRST, concurrency=2, batch_size=16)
        await running_until(consumer, lambda: len(first) == 64 and again == left, lambda: server.advance(11))
        assert len(set(first)) == 64 and max(sizes) <= 16

    run(program)
