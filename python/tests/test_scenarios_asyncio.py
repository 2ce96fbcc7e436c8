"""``bindings/scenarios.json``, played with the asyncio client, all of it at the same time.

Inside the process and over TCP, on asyncio's loop and on uvloop's, and in a namespace; or, if ``POSTHOUSE_SCENARIOS_AT`` names a server,
against that one alone. ``POSTHOUSE_SCENARIOS_APACHE`` is its release then, if it is Apache's.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest
import uvloop

import posthouse
from posthouse import Message, ReceivedMessage, Reply, Retry, StartFrom, TxState

from scenarios import LIMIT, TABLE, THERE, Refused, differences, filter_of, message_of, seen, seen_bodies

FIRST = StartFrom.FIRST
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
HERE = [*itertools.product(LOOPS, ["inside", "tcp"]), ("asyncio", "namespace")]
WAYS = HERE if THERE is None else [("asyncio", "there")]


class Play:
    """One scenario, with names that nobody else has."""

    def __init__(self, connect: Callable[[], posthouse.AsyncClient]) -> None:
        self.connect = connect
        self.ending = uuid.uuid4().hex[:12]
        self.handles: dict[str, str | None] = {}
        self.open = AsyncExitStack()
        self.replying: list[asyncio.Task[None]] = []

    async def steps(self, scenario: dict[str, Any]) -> dict[str, Any]:
        """What its steps saw, up to the first that was refused."""
        saw: dict[str, Any] = {}
        async with self.open:
            self.client = await self.new_client()
            for step in scenario["steps"]:
                name = step.get("as")
                try:
                    result = await self.step(step)
                except Refused as refused:
                    assert name is not None, f"{step['do']} is refused: {refused}"
                    saw[name] = {"refused": refused.args[0]}
                    break
                if name is not None:
                    saw[name] = result
        await asyncio.gather(*self.replying)
        return saw

    async def step(self, step: dict[str, Any]) -> Any:
        try:
            return await getattr(self, step["do"])(step)
        except posthouse.PosthouseError as error:
            if error.response_code is None:
                raise
            raise Refused(error.response_code) from error

    async def new_client(self) -> posthouse.AsyncClient:
        return await self.open.enter_async_context(self.connect())

    def name(self, short: str) -> str:
        return f"{short}-{self.ending}"

    async def topic(self, step: dict[str, Any]) -> None:
        await self.client.admin().create_topic(self.name(step["topic"]), queues=step.get("queues", 4))

    async def send(self, step: dict[str, Any]) -> dict[str, Any]:
        producer = self.client.producer(send_timeout=10)
        messages = [message_of(self.name(step["topic"]), asked) for asked in step["messages"]]
        if step.get("how") == "oneway":
            for message in messages:
                await producer.send_oneway(message)
            return {}
        if step.get("how") == "batch":
            results = await producer.send_batch(messages)
        else:
            results = [await producer.send(message) for message in messages]
        self.handles[step.get("as", "")] = results[-1].recall_handle
        return {"count": len(results), "queues": len({result.queue for result in results})}

    async def recall(self, step: dict[str, Any]) -> dict[str, Any]:
        handle = self.handles[step["of"]]
        if handle is None:
            raise Refused("no handle")
        return {"recalled": (await self.client.producer().recall(handle)).recalled}

    async def transaction(self, step: dict[str, Any]) -> dict[str, Any]:
        asked: list[str] = []
        answered = asyncio.Event()

        async def check(message: ReceivedMessage) -> TxState:
            asked.append(message.text())
            answered.set()
            return TxState(step["check"])

        producer = self.client.transaction_producer(self.name("tx"), check, send_timeout=10)
        async with producer.begin(Message(self.name(step["topic"]), step["body"])) as transaction:
            match step["decide"]:
                case "commit":
                    await transaction.commit()
                case "rollback":
                    await transaction.rollback()
                case _:
                    transaction.unknown()
        if "check" in step:
            await answered.wait()
        return seen_bodies(sorted(set(asked)))

    async def push(self, step: dict[str, Any]) -> dict[str, Any]:
        fails = dict(step.get("fails", {}))
        orderly = step.get("orderly", False)
        done = asyncio.Event()
        acked: list[ReceivedMessage] = []
        attempts: dict[str, int] = {}
        deliveries = itertools.count(1)

        async def handle(message: ReceivedMessage) -> None:
            made, body = next(deliveries), message.text()
            attempts[body] = max(message.attempt, attempts.get(body, 0))
            fail = fails.get(body, 0) > 0
            if fail:
                fails[body] -= 1
            else:
                acked.append(message)
            if len(acked) >= step["until"] and made >= step.get("deliveries", 0):
                done.set()
            if fail:
                raise Retry(after=None if orderly else 1)

        members = []
        async with AsyncExitStack() as consumers:
            for number in range(step.get("members", 1)):
                client = self.client if number == 0 else await self.new_client()
                member = client.push_consumer(
                    self.name(step["group"]),
                    {self.name(step["topic"]): filter_of(step.get("filter"))},
                    handle,
                    orderly=orderly,
                    broadcast=step.get("model") == "broadcasting",
                    start_from=FIRST,
                    max_attempts=step.get("maxAttempts", 16),
                )
                members.append(await consumers.enter_async_context(member))
            async with asyncio.TaskGroup() as running:
                for member in members:
                    running.create_task(member.run())
                await done.wait()
                for member in members:
                    await member.aclose()
        return seen(acked, attempts)

    async def pull(self, step: dict[str, Any]) -> dict[str, Any]:
        short = step["topic"]
        topic = f"%DLQ%{self.name(short[5:])}" if short.startswith("%DLQ%") else self.name(short)
        found: list[ReceivedMessage] = []
        async with self.client.pull_consumer(self.name(step["group"]), auto_commit=None) as consumer:
            queues = await queues_of(consumer, topic)
            await consumer.assign(queues)
            for queue in queues:
                await consumer.seek(queue, step.get("offset", 0))
            while len(found) < step["until"]:
                found += await consumer.poll(LIMIT)
        return seen(found, {})

    async def pop(self, step: dict[str, Any]) -> dict[str, Any]:
        consumer = self.client.simple_consumer(self.name(step["group"]), self.name(step["topic"]))
        found: list[ReceivedMessage] = []
        while len(found) < step["until"]:
            # Not longer: nobody tells a receive that waits at Apache's brokers of a message whose loan ended.
            found += await consumer.receive(wait=5, invisible=step.get("invisibleMs", 60_000) / 1000)
        for message in found:
            change = step.get("change", {}).get(message.text())
            if change is not None:
                await consumer.extend(message, change / 1000)
            elif message.text() in step.get("ack", [message.text()]):
                await consumer.ack(message)
        return seen(found, {message.text(): message.attempt for message in found})

    async def reply(self, step: dict[str, Any]) -> None:
        async def answer(message: ReceivedMessage) -> Reply:
            return Reply(step["with"].replace("{}", message.text()))

        consumer = self.client.push_consumer(
            self.name(step["group"]), self.name(step["topic"]), answer, start_from=FIRST
        )
        await self.open.enter_async_context(consumer)
        self.replying.append(asyncio.create_task(consumer.run()))

    async def request(self, step: dict[str, Any]) -> dict[str, Any]:
        producer = (await self.new_client()).producer()
        while True:
            try:
                message = Message(self.name(step["topic"]), step["body"])
                return seen_bodies([(await producer.request(message, timeout=10)).text()])
            except posthouse.RequestTimeout:
                continue


async def queues_of(consumer: posthouse.AsyncPullConsumer, topic: str) -> list[posthouse.MessageQueue]:
    """A topic's queues. A dead-letter topic is made when the first message is given up, a moment after that."""
    while True:
        try:
            return await consumer.queues(topic)
        except posthouse.TopicNotFound:
            continue


async def play(connect: Callable[[], posthouse.AsyncClient], scenario: dict[str, Any]) -> list[str]:
    """What was otherwise than it must be."""
    try:
        async with asyncio.timeout(LIMIT):
            saw = await Play(connect).steps(scenario)
    except Exception as error:
        return [f"it ended with {error!r}"]
    return differences(scenario, saw)


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def played(request: pytest.FixtureRequest) -> Iterator[dict[str, list[str]]]:
    """Of each scenario, by its name, what was wrong."""
    loop, way = request.param

    async def all_of_them(connect: Callable[[], posthouse.AsyncClient]) -> dict[str, list[str]]:
        wrong = await asyncio.gather(*(play(connect, scenario) for scenario in TABLE))
        return {scenario["name"]: one for scenario, one in zip(TABLE, wrong, strict=True)}

    with ExitStack() as servers, asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        if way == "there":
            yield runner.run(all_of_them(lambda: posthouse.AsyncClient(THERE)))
            return
        # The first check after a second, as the table's other runners have it.
        quick = {"transactionTimeOut": 1000, "transactionCheckInterval": 1000}
        server = servers.enter_context(posthouse.Server.embedded(listen="127.0.0.1:0", config=quick))
        ways = {
            "inside": server.async_client,
            "tcp": functools.partial(posthouse.AsyncClient, server.namesrv_addr),
            "namespace": functools.partial(posthouse.AsyncClient, server.namesrv_addr, namespace="eu"),
        }
        yield runner.run(all_of_them(ways[way]))


@pytest.mark.parametrize("name", [scenario["name"] for scenario in TABLE])
def test_scenario(played: dict[str, list[str]], name: str) -> None:
    assert played[name] == []
