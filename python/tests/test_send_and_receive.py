"""Messages through a real broker in this process, blocking."""

from __future__ import annotations

import json
import socket
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

import posthouse
from posthouse import Message, Reject, Result, Retry, Sql, StartFrom

FIRST = StartFrom.FIRST


def receive_all(client: posthouse.Client, group: str, topic: str, count: int) -> list[posthouse.ReceivedMessage]:
    consumer = client.simple_consumer(group, topic)
    found: list[posthouse.ReceivedMessage] = []
    while len(found) < count:
        batch = consumer.receive(wait=20)
        assert batch, f"{len(found)} of {count} came"
        consumer.ack(batch)
        found += batch
    return found


def test_everything_that_a_message_has_arrives(client: posthouse.Client) -> None:
    producer = client.producer()
    sent = producer.send(
        "orders",
        b'{"id": \x31}\n',
        tag="eu",
        keys=["k1", "k2"],
        properties={"colour": "red"},
        sharding_key="user-7",
    )
    [message] = receive_all(client, "g", "orders", 1)
    assert sent.status == "ok"
    assert message.message_id == sent.message_id
    assert message.offset_message_id == sent.offset_message_id
    assert (message.queue, message.queue_offset) == (sent.queue, sent.queue_offset)
    assert (message.topic, message.tag, message.keys) == ("orders", "eu", ("k1", "k2"))
    assert message.json() == {"id": 1}
    assert message.properties["colour"] == "red"
    assert message.sharding_key == "user-7"
    assert message.attempt == 1
    assert message.born_at.tzinfo is timezone.utc
    assert bytes(message.memory()) == message.body
    assert message.store_size > len(message.body)


def test_a_send_with_a_key_is_stored_once(client: posthouse.Client) -> None:
    producer = client.producer()
    first = producer.send("once", b"x", idempotency_key="order-17")
    again = producer.send(Message("once", b"x", idempotency_key="order-17"))
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.message_id, again.offset_message_id) == (first.message_id, first.offset_message_id)
    with pytest.raises(posthouse.InvalidMessage):
        producer.send("once", b"y", idempotency_key="order-17")
    many = producer.send_many([Message("once", b"x", idempotency_key="order-17"), Message("once", b"z")])
    assert [result.replayed for result in many if isinstance(result, posthouse.SendResult)] == [True, False]
    assert {message.body for message in receive_all(client, "g", "once", 2)} == {b"x", b"z"}
    message = Message("once", b"x", idempotency_key="order-17")
    assert message.idempotency_key == "order-17"
    assert message != message.replace(idempotency_key=None)


@pytest.mark.parametrize("body", [b"\0", b"a\0b\0", bytes(range(256)) * 16, b"x" * (4 << 20)])
def test_a_body_is_bytes_and_nothing_else(client: posthouse.Client, body: bytes) -> None:
    client.producer().send("bytes", body)
    [message] = receive_all(client, "g", "bytes", 1)
    assert message.body == body


def test_bodies_come_in_every_kind_of_buffer(client: posthouse.Client) -> None:
    bodies: list[bytes | bytearray | memoryview | str] = [b"plain", bytearray(b"array"), memoryview(b"..view..")[2:6], "täxt"]
    results = client.producer().send_many([Message("kinds", body) for body in bodies])
    assert all(isinstance(result, posthouse.SendResult) for result in results)
    found = receive_all(client, "g", "kinds", 4)
    assert {m.body for m in found} == {b"plain", b"array", b"view", "täxt".encode()}
    with pytest.raises(TypeError, match="not int"):
        Message("kinds", 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["flush", "close"])
def test_what_was_submitted_has_its_result_when_a_producer_is_flushed_or_closed(
    client: posthouse.Client, end: str
) -> None:
    for _ in range(20):
        # Two bodies are more than may be on their way: nearly all of them wait for credit.
        producer = client.producer(max_in_flight_bytes=1000, compress_over=None)
        futures = [producer.submit(Message("t", b"x" * 600)) for _ in range(50)]
        getattr(producer, end)()
        assert all(future.done() for future in futures)
        assert {future.result().status for future in futures} == {"ok"}
    assert sum(end for _, end in client.admin().offsets("t").values()) == 1000
    producer.close()
    with pytest.raises(posthouse.ClosedError):
        producer.submit(Message("t", b"x"))


def test_what_waits_for_the_credit_of_another_threads_send_is_sent(client: posthouse.Client) -> None:
    producer = client.producer(max_in_flight_bytes=1000, compress_over=None)
    sender = threading.Thread(target=lambda: [producer.send("t", b"x" * 600) for _ in range(200)])
    sender.start()
    futures = [producer.submit(Message("t", b"y" * 600)) for _ in range(20)]
    sender.join()
    assert {future.result(30).status for future in futures} == {"ok"}


def test_an_ack_that_fails_keeps_no_other_from_counting(client: posthouse.Client) -> None:
    with posthouse.Server.embedded(config={"brokerName": "elsewhere"}) as other, other.client() as its:
        its.producer().send("t", "foreign")
        [foreign] = its.simple_consumer("g", "t").receive()
    client.producer().send_batch([Message("t", str(n)) for n in range(8)])
    consumer = client.simple_consumer("g", "t")
    mine = consumer.receive()
    assert len(mine) == 8
    with pytest.raises(posthouse.PosthouseError, match="elsewhere"):
        consumer.ack([foreign, *mine])
    assert sum(client.admin().lag("g", "t").values()) == 0


def test_a_closing_client_lets_handlers_send_to_their_end(server: posthouse.Server) -> None:
    client = server.client()
    producers = [client.producer(f"p{n}") for n in range(8)]
    begun = threading.Event()
    statuses: list[str] = []

    def handle(_message: posthouse.ReceivedMessage) -> None:
        begun.set()
        try:
            while True:
                consumer.pause()
        except posthouse.ClosedError:
            # The client has begun to close.
            statuses.extend(producer.send("out", "x").status for producer in producers)

    producers[0].send("in", "x")
    consumer = client.push_consumer("g", "in", handle, start_from=FIRST)
    consumer.start()
    assert begun.wait(30)
    client.close(30)
    assert statuses == ["ok"] * 8


def test_a_client_closes_within_one_time_however_much_it_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = posthouse.Client(f"127.0.0.1:{silent.getsockname()[1]}", request_timeout=60)
        producers = [client.producer(f"p{n}", send_timeout=60) for n in range(16)]
        futures = [producer.submit(Message("t", b"x")) for producer in producers]
        begun = time.monotonic()
        client.close(1)
        # Each of them within a second would be 16.
        assert time.monotonic() - begun < 8
        assert all(isinstance(future.exception(0), posthouse.ClosedError) for future in futures)


def test_what_no_broker_takes_is_refused_before_it_is_sent(client: posthouse.Client) -> None:
    producer = client.producer()
    with pytest.raises(posthouse.InvalidMessage, match="body"):
        producer.send("t", b"")
    with pytest.raises(posthouse.MessageTooLarge) as caught:
        producer.send("t", b"x" * ((4 << 20) + 1))
    assert caught.value.code == "message_too_large"
    assert not caught.value.retryable
    with pytest.raises(posthouse.InvalidMessage, match="reserved"):
        producer.send("t", b"x", properties={"TAGS": "a"})
    with pytest.raises(posthouse.ConfigError, match="illegal"):
        producer.send("no topic", b"x")
    with pytest.raises(posthouse.ConfigError, match="time zone"):
        producer.send("t", b"x", deliver_at=datetime(2030, 1, 1))
    with pytest.raises(posthouse.ConfigError, match="one of"):
        Message("t", b"x", deliver_after=1, delay_level=2)


def test_many_are_sent_at_once_and_each_has_its_own_result(client: posthouse.Client) -> None:
    producer = client.producer(max_in_flight=16)
    messages = [Message("many", str(n)) for n in range(500)]
    messages[7] = Message("many", b"")
    results = producer.send_many(messages)
    assert isinstance(results[7], posthouse.InvalidMessage)
    assert sum(isinstance(result, posthouse.SendResult) for result in results) == 499
    bodies = {m.text() for m in receive_all(client, "g", "many", 499)}
    assert bodies == {str(n) for n in range(500) if n != 7}


def test_futures_resolve_and_flush_waits_for_them(client: posthouse.Client) -> None:
    producer = client.producer(max_in_flight=8)
    futures = [producer.submit(Message("futures", str(n))) for n in range(200)]
    producer.flush(30)
    assert {future.result(30).status for future in futures} == {"ok"}
    assert isinstance(producer.submit(Message("futures", b"")).exception(30), posthouse.InvalidMessage)


def test_one_way_and_batch(client: posthouse.Client) -> None:
    producer = client.producer()
    producer.send_oneway(Message("plain", "one-way"))
    results = producer.send_batch([Message("plain", str(n)) for n in range(3)])
    assert [result.queue_offset - results[0].queue_offset for result in results] == [0, 1, 2]
    assert {m.text() for m in receive_all(client, "g", "plain", 4)} == {"one-way", "0", "1", "2"}


def test_the_same_sharding_key_keeps_its_order(client: posthouse.Client) -> None:
    producer = client.producer()
    keyed = [Message("steps", f"{n}", sharding_key="user-7") for n in range(100)]
    assert len({result.queue for result in map(producer.send, keyed)}) == 1
    with client.push_consumer("g", "steps", orderly=True, start_from=FIRST) as consumer:
        seen = [int(message.text()) for _, message in zip(range(100), consumer)]
    assert seen == list(range(100))


def test_delays_follow_the_clock(server: posthouse.Server, client: posthouse.Client) -> None:
    producer = client.producer()
    producer.send("later", "an hour", deliver_after=timedelta(hours=1))
    producer.send(Message("later", "level", delay_level=3))
    consumer = client.simple_consumer("g", "later")
    assert consumer.receive(wait=0) == []
    assert server.advance(10) == 1
    [level] = consumer.receive()
    assert level.text() == "level"
    consumer.ack(level)
    assert server.advance(timedelta(minutes=59)) == 0
    assert server.advance(timedelta(minutes=1)) == 1
    assert [m.text() for m in consumer.receive()] == ["an hour"]


def test_a_loan_ends_by_the_clock_and_can_be_extended(server: posthouse.Server, client: posthouse.Client) -> None:
    client.producer().send("loans", "x")
    consumer = client.simple_consumer("g", "loans", invisible=30)
    [message] = consumer.receive()
    consumer.extend(message, 300)
    server.advance(60)
    assert consumer.receive(wait=0) == []
    server.advance(300)
    [again] = consumer.receive()
    assert again.attempt == 2
    consumer.ack(again)
    server.advance(3600)
    assert consumer.receive(wait=0) == []


def test_an_ack_says_whether_the_message_is_done(server: posthouse.Server, client: posthouse.Client) -> None:
    client.producer().send("lent", "x")
    consumer = client.simple_consumer("g", "lent", invisible=30)
    [first] = consumer.receive()
    server.advance(31)
    [second] = consumer.receive()
    assert second.attempt == 2
    # Whoever has the loan of before has come too late: the message is out on another one.
    assert consumer.ack(first) is False
    with pytest.raises(posthouse.OffsetOutOfRange, match="lease") as caught:
        consumer.extend(first, 60)
    assert caught.value.code == "offset" and not caught.value.retryable
    server.advance(31)
    [third] = consumer.receive()
    assert third.attempt == 3
    # A loan that was extended is the message's own.
    consumer.extend(third, 300)
    server.advance(60)
    assert consumer.ack(third) is True
    # What is done is done: again is no mistake.
    assert consumer.ack(third) is True
    server.advance(3600)
    assert consumer.receive(wait=0) == []


def test_an_ack_of_many_says_whether_all_of_them_are_done(server: posthouse.Server, client: posthouse.Client) -> None:
    client.producer().send_batch([Message("lent", str(n)) for n in range(4)])
    consumer = client.simple_consumer("g", "lent", invisible=30)
    late = consumer.receive()
    assert len(late) == 4
    consumer.ack(late[0])
    server.advance(31)
    again = consumer.receive()
    assert {message.text() for message in again} == {"1", "2", "3"}
    assert consumer.ack([again[0], *late]) is False
    # Those that were in time count all the same.
    assert consumer.ack(again) is True
    assert consumer.ack([]) is True
    server.advance(3600)
    assert consumer.receive(wait=0) == []


def test_tags_and_sql_filter(client: posthouse.Client) -> None:
    producer = client.producer()
    for region, price in [("eu", 5), ("eu", 50), ("us", 500)]:
        producer.send("prices", f"{region} {price}", tag=region, properties={"price": str(price)})
    tagged = client.simple_consumer("by-tag", {"prices": "us || asia"})
    assert [m.text() for m in tagged.receive()] == ["us 500"]
    dear = client.push_consumer("by-sql", {"prices": Sql("price > 10 AND TAGS = 'eu'")}, start_from=FIRST)
    with dear:
        assert next(iter(dear)).text() == "eu 50"
    with pytest.raises(posthouse.FilterError) as caught:
        client.push_consumer("bad", {"prices": Sql("price >")}).assignment()
    assert caught.value.code == "filter"


def test_handlers_run_on_threads_and_decide(server: posthouse.Server, client: posthouse.Client) -> None:
    producer = client.producer()
    handled: list[tuple[str, int]] = []
    enough = threading.Semaphore(0)

    def handle(message: posthouse.ReceivedMessage) -> Result | None:
        handled.append((message.text(), message.attempt))
        enough.release()
        assert threading.current_thread().name.startswith("posthouse-handler")
        if message.text() == "poison":
            raise Reject("never")
        if message.text() == "later" and message.attempt == 1:
            raise Retry(after=60)
        if message.text() == "fails" and message.attempt == 1:
            raise RuntimeError("boom")
        return Result.ACK

    consumer = client.push_consumer("g", "work", handle, start_from=FIRST, concurrency=4)
    consumer.start()
    for text in ["fine", "poison", "later", "fails"]:
        producer.send("work", text)
    for _ in range(4):
        assert enough.acquire(timeout=30)
    # What comes again waits at the broker: for its first interval (10 s), or the minute asked for.
    while len(handled) < 6:
        server.advance(61)
        enough.acquire(timeout=0.2)
    consumer.close()
    assert sorted(handled) == [("fails", 1), ("fails", 2), ("fine", 1), ("later", 1), ("later", 2), ("poison", 1)]
    dead = client.simple_consumer("dead", "%DLQ%g")
    assert [m.text() for m in dead.receive()] == ["poison"]


def test_a_retry_comes_after_exactly_the_time_that_was_asked_for(
    server: posthouse.Server, client: posthouse.Client
) -> None:
    seen: list[posthouse.ReceivedMessage] = []
    twice = threading.Event()

    def handle(message: posthouse.ReceivedMessage) -> None:
        seen.append(message)
        if message.attempt == 1:
            raise Retry(after=timedelta(milliseconds=2500))
        twice.set()

    queue = client.producer().send("exact", "x").queue
    with client.push_consumer("g", "exact", handle, start_from=FIRST):
        # The clock stands still until the message waits at the broker: it is done where it was.
        end = time.monotonic() + 60
        while client.admin().lag("g", "exact").get(queue) != 0:
            assert time.monotonic() < end, "it was never sent back"
        assert server.advance(timedelta(milliseconds=2499)) == 0
        assert server.advance(timedelta(milliseconds=1)) == 1
        assert twice.wait(60)
    assert seen[1].stored_at - seen[0].stored_at == timedelta(milliseconds=2500)


def test_batches_are_handled_whole_or_in_part(client: posthouse.Client) -> None:
    client.producer().send_many([Message("batches", str(n)) for n in range(64)])
    seen: list[int] = []
    done = threading.Event()

    def handle(messages: list[posthouse.ReceivedMessage]) -> bool:
        seen.extend(int(message.text()) for message in messages)
        if len(seen) >= 64:
            done.set()
        return True

    with client.push_consumer("g", "batches", handle, batch_size=16, concurrency=2, start_from=FIRST):  # type: ignore[arg-type]
        assert done.wait(30)
    assert sorted(seen) == list(range(64))


def test_the_current_message_comes_again_if_an_exception_leaves_the_block(
    server: posthouse.Server, client: posthouse.Client
) -> None:
    client.producer().send("once", "x")
    with pytest.raises(RuntimeError, match="boom"):
        with client.push_consumer("g", "once", start_from=FIRST) as consumer:
            for message in consumer:
                assert message.attempt == 1
                raise RuntimeError("boom")
    server.advance(11)
    with client.push_consumer("g", "once", start_from=FIRST) as consumer:
        assert next(iter(consumer)).attempt == 2
    # Left in peace, it is done.
    assert sum(client.admin().lag("g", "once").values()) == 0


def test_pulling_seeks_and_commits(client: posthouse.Client) -> None:
    client.producer().send_many([Message("log", str(n)) for n in range(40)])
    consumer = client.pull_consumer("g", auto_commit=None)
    queues = consumer.queues("log")
    consumer.assign(queues)
    for queue in queues:
        consumer.seek(queue, FIRST)
    seen: list[posthouse.ReceivedMessage] = []
    while len(seen) < 40:
        batch = consumer.poll(max_messages=7)
        assert 0 < len(batch) <= 7
        seen += batch
    assert {int(m.text()) for m in seen} == set(range(40))
    queue = queues[0]
    end = consumer.position(queue)
    assert end == client.admin().offsets("log")[queue][1]
    consumer.seek(queue, FIRST)
    assert consumer.position(queue) == 0
    consumer.seek(queue, StartFrom.LAST)
    assert consumer.position(queue) == end
    assert not consumer.committed(queue)
    consumer.commit()
    assert consumer.committed(queue) == end
    consumer.seek(queue, end - 1)
    [last] = [m for m in consumer.poll() if m.queue == queue]
    assert last.queue_offset == end - 1
    consumer.commit({queue: 1})
    assert consumer.committed(queue) == 1
    with pytest.raises(posthouse.OffsetOutOfRange):
        consumer.seek(posthouse.MessageQueue("log", "broker-a", 99), 0)


def test_operators_make_find_and_move(client: posthouse.Client) -> None:
    admin = client.admin()
    admin.create_topic("made", queues=3)
    assert "made" in admin.topics()
    with pytest.raises(posthouse.ConfigError, match="already"):
        admin.create_topic("made", exist_ok=False)
    sent = client.producer().send("made", json.dumps({"n": 1}), keys="the-key")
    # A broker's index of ids is a moment behind.
    deadline = time.monotonic() + 30
    while (found := admin.message("made", sent.message_id)) is None:
        assert time.monotonic() < deadline
    assert found.json() == {"n": 1}
    assert admin.message("made", sent.offset_message_id) == found
    by_key = admin.messages_by_key("made", "the-key")
    assert [m.message_id for m in by_key] == [sent.message_id]
    spans = admin.offsets("made")
    assert len(spans) == 3 and spans[sent.queue] == (0, 1)
    # Of a group without offsets everything that is there is to do, whatever its members read.
    with client.push_consumer("newcomers", "elsewhere"):
        lag = admin.lag("newcomers", "made")
    assert len(lag) == 3 and lag[sent.queue] == sum(lag.values()) == 1
    admin.create_group("movers")
    assert "movers" in admin.groups()
    moved = admin.reset_offset("movers", "made", StartFrom.LAST)
    assert moved[sent.queue] == 1
    assert sum(admin.lag("movers", "made").values()) == 0
    assert admin.lag("movers") == admin.lag("movers", "made")
    assert admin.lag("nobody") == {}
    admin.delete_group("movers")
    admin.delete_topic("made")
    assert "made" not in admin.topics()
    with pytest.raises(posthouse.TopicNotFound) as caught:
        client.simple_consumer("g", "made").receive(wait=0)
    assert caught.value.topic == "made"


def test_eight_threads_share_a_producer_and_a_consumer(client: posthouse.Client) -> None:
    producer = client.producer()
    seen: list[str] = []
    done = threading.Event()

    def handle(message: posthouse.ReceivedMessage) -> None:
        seen.append(message.text())
        if len(seen) == 800:
            done.set()

    def send(thread: int) -> None:
        for n in range(100):
            producer.send("shared", f"{thread}-{n}")

    with client.push_consumer("g", "shared", handle, concurrency=8, start_from=FIRST):
        threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done.wait(60)
    assert len(set(seen)) == 800
