"""``bindings/scenarios.json``, played with the blocking client: inside the process, and over TCP."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import posthouse
from posthouse import Message, ReceivedMessage, Reply, Retry, StartFrom, TxState

from scenarios import LIMIT, TABLE, Refused, differences, filter_of, message_of, seen, seen_bodies

FIRST = StartFrom.FIRST


class Play:
    """One scenario, with names that nobody else has."""

    def __init__(self, server: posthouse.Server, url: str | None) -> None:
        self.server = server
        self.url = url
        self.ending = uuid.uuid4().hex[:12]
        self.saw: dict[str, Any] = {}
        self.handles: dict[str, str | None] = {}
        self.open = ExitStack()
        self.client = self.new_client()

    def new_client(self) -> posthouse.Client:
        client = self.server.client() if self.url is None else posthouse.Client(self.url)
        return self.open.enter_context(client)

    def name(self, short: str) -> str:
        return f"{short}-{self.ending}"

    def step(self, step: dict[str, Any]) -> Any:
        try:
            return getattr(self, step["do"])(step)
        except posthouse.PosthouseError as error:
            if error.response_code is None:
                raise
            raise Refused(error.response_code) from error

    def topic(self, step: dict[str, Any]) -> None:
        self.client.admin().create_topic(self.name(step["topic"]), queues=step.get("queues", 4))

    def send(self, step: dict[str, Any]) -> dict[str, Any]:
        producer = self.client.producer()
        messages = [message_of(self.name(step["topic"]), asked) for asked in step["messages"]]
        if step.get("how") == "oneway":
            for message in messages:
                producer.send_oneway(message)
            return {}
        batch = step.get("how") == "batch"
        results = producer.send_batch(messages) if batch else [producer.send(message) for message in messages]
        self.handles[step.get("as", "")] = results[-1].recall_handle
        return {"count": len(results), "queues": len({result.queue for result in results})}

    def recall(self, step: dict[str, Any]) -> dict[str, Any]:
        handle = self.handles[step["of"]]
        if handle is None:
            raise Refused("no handle")
        return {"recalled": self.client.producer().recall(handle).recalled}

    def transaction(self, step: dict[str, Any]) -> dict[str, Any]:
        asked: list[str] = []
        answered = threading.Event()

        def check(message: ReceivedMessage) -> TxState:
            asked.append(message.text())
            answered.set()
            return TxState(step["check"])

        producer = self.client.transaction_producer(self.name("tx"), check)
        with producer.begin(Message(self.name(step["topic"]), step["body"])) as transaction:
            match step["decide"]:
                case "commit":
                    transaction.commit()
                case "rollback":
                    transaction.rollback()
                case _:
                    transaction.unknown()
        if "check" in step:
            assert answered.wait(LIMIT), "nobody asked"
        return seen_bodies(sorted(set(asked)))

    def push(self, step: dict[str, Any]) -> dict[str, Any]:
        fails = dict(step.get("fails", {}))
        orderly = step.get("orderly", False)
        lock, done = threading.Lock(), threading.Event()
        acked: list[ReceivedMessage] = []
        attempts: dict[str, int] = {}
        deliveries = itertools.count(1)

        def handle(message: ReceivedMessage) -> None:
            with lock:
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

        broadcasting = step.get("model") == "broadcasting"
        members = step.get("members", 1)
        wanted = {self.name(step["topic"]): filter_of(step.get("filter"))}
        with ExitStack() as consumers:
            for number in range(members):
                client = self.client if number == 0 else self.new_client()
                consumers.enter_context(
                    client.push_consumer(
                        self.name(step["group"]),
                        wanted,
                        handle,
                        orderly=orderly,
                        broadcast=broadcasting,
                        start_from=FIRST,
                        max_attempts=step.get("maxAttempts", 16),
                    )
                )
            assert done.wait(LIMIT), f"{len(acked)} of {step['until']} came"
        return seen(acked, attempts)

    def pull(self, step: dict[str, Any]) -> dict[str, Any]:
        short = step["topic"]
        topic = f"%DLQ%{self.name(short[5:])}" if short.startswith("%DLQ%") else self.name(short)
        found: list[ReceivedMessage] = []
        with self.client.pull_consumer(self.name(step["group"]), auto_commit=None) as consumer:
            queues = queues_of(consumer, topic)
            consumer.assign(queues)
            for queue in queues:
                consumer.seek(queue, step.get("offset", 0))
            while len(found) < step["until"]:
                batch = consumer.poll(LIMIT)
                assert batch
                found += batch
        return seen(found, {})

    def pop(self, step: dict[str, Any]) -> dict[str, Any]:
        consumer = self.client.simple_consumer(self.name(step["group"]), self.name(step["topic"]))
        found: list[ReceivedMessage] = []
        while len(found) < step["until"]:
            batch = consumer.receive(wait=LIMIT, invisible=step.get("invisibleMs", 60_000) / 1000)
            assert batch
            found += batch
        for message in found:
            change = step.get("change", {}).get(message.text())
            if change is not None:
                consumer.extend(message, change / 1000)
            elif message.text() in step.get("ack", [message.text()]):
                consumer.ack(message)
        return seen(found, {message.text(): message.attempt for message in found})

    def reply(self, step: dict[str, Any]) -> None:
        def answer(message: ReceivedMessage) -> Reply:
            return Reply(step["with"].replace("{}", message.text()))

        consumer = self.client.push_consumer(
            self.name(step["group"]), self.name(step["topic"]), answer, start_from=FIRST
        )
        self.open.enter_context(consumer)

    def request(self, step: dict[str, Any]) -> dict[str, Any]:
        producer = self.new_client().producer()
        for _ in range(6):
            try:
                message = Message(self.name(step["topic"]), step["body"])
                return seen_bodies([producer.request(message, timeout=10).text()])
            except posthouse.RequestTimeout:
                continue
        raise AssertionError("no reply")


def queues_of(consumer: posthouse.PullConsumer, topic: str) -> list[posthouse.MessageQueue]:
    """A topic's queues. A dead-letter topic is made when the first message is given up, a moment after that."""
    end = time.monotonic() + LIMIT
    while True:
        try:
            return consumer.queues(topic)
        except posthouse.TopicNotFound:
            if time.monotonic() > end:
                raise


@pytest.fixture(scope="module")
def broker() -> Iterator[posthouse.Server]:
    # The first check after a second, as the table's other runners have it.
    quick = {"transactionTimeOut": 1000, "transactionCheckInterval": 1000}
    with posthouse.Server.embedded(listen="127.0.0.1:0", config=quick) as server:
        yield server


@pytest.mark.parametrize("way", ["inside", "tcp"])
@pytest.mark.parametrize("scenario", TABLE, ids=lambda scenario: scenario["name"])
def test_scenario(broker: posthouse.Server, way: str, scenario: dict[str, Any]) -> None:
    play = Play(broker, None if way == "inside" else broker.namesrv_addr)
    saw: dict[str, Any] = {}
    with play.open:
        for step in scenario["steps"]:
            name = step.get("as")
            try:
                result = play.step(step)
            except Refused as refused:
                assert name is not None, f"{step['do']} is refused: {refused}"
                saw[name] = {"refused": refused.args[0]}
                break
            if name is not None:
                saw[name] = result
    assert differences(scenario, saw) == []
