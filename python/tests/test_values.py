"""Values and errors: equal, hashable, matchable, and able to go to another process and back."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timezone
from typing import Any

import pytest

import posthouse
from posthouse import Message, MessageQueue, Sql

AT = datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        Message("t", b"\0x", tag="a", keys=["k"], properties={"p": "q"}, sharding_key="s", flag=3),
        Message("t", b"x", deliver_after=90),
        Message("t", b"x", deliver_at=AT),
        Message("t", b"x", delay_level=4),
        MessageQueue("t", "broker-a", 3),
        Sql("price > 10"),
    ],
)
def test_a_value_survives_pickle_and_copy(value: object) -> None:
    again = pickle.loads(pickle.dumps(value))
    assert again == value
    assert hash(again) == hash(value)
    assert copy.copy(value) == value
    assert repr(again) == repr(value)


def test_what_came_and_what_became_of_a_send_survive_pickle_and_copy(
    server: posthouse.Server, client: posthouse.Client
) -> None:
    message = Message("t", b"\0x", tag="a", keys=["k", "l"], properties={"p": "q"}, sharding_key="s", flag=3)
    producer = client.transaction_producer("p", lambda _: None)
    later = producer.send(Message("t", b"y", deliver_after=90))
    assert later.recall_handle
    with producer.begin(message) as transaction:
        half = transaction.result
    assert half.transaction_id and later.transaction_id is None
    for result in (later, half):
        again = pickle.loads(pickle.dumps(result))
        assert again == result and hash(again) == hash(result) and repr(again) == repr(result)
        assert facts(again) == facts(result)
        assert copy.copy(result) is copy.deepcopy(result) is result
    consumer = client.simple_consumer("g", "t")
    [received] = consumer.receive()
    assert received.transaction_id == half.transaction_id
    elsewhere = pickle.loads(pickle.dumps(received))
    assert elsewhere == received and hash(elsewhere) == hash(received) and repr(elsewhere) == repr(received)
    assert facts(elsewhere) == facts(received)
    with pytest.raises(posthouse.ConfigError):
        consumer.ack(elsewhere)
    consumer.ack(copy.deepcopy(received))


def facts(value: object) -> dict[str, object]:
    names = [name for name in dir(value) if not name.startswith("_")]
    return {name: got for name in names if not callable(got := getattr(value, name))}


def test_what_a_handler_raises_survives_pickle() -> None:
    retry = pickle.loads(pickle.dumps(posthouse.Retry(90, "busy")))
    assert (type(retry), retry.after, str(retry)) == (posthouse.Retry, 90, "busy")
    reject = pickle.loads(pickle.dumps(posthouse.Reject("poison")))
    assert (type(reject), str(reject)) == (posthouse.Reject, "poison")


def test_a_message_is_matched_and_changed_by_copy() -> None:
    message = Message("orders", b"x", tag="new", deliver_after=5)
    match message:
        case Message(topic="orders", tag="new"):
            pass
        case _:
            raise AssertionError
    later = message.replace(tag="old", deliver_at=AT)
    assert (later.topic, later.tag, message.tag) == ("orders", "old", "new")
    assert later == Message("orders", b"x", tag="old", deliver_at=AT)
    assert message != later
    with pytest.raises(AttributeError):
        message.tag = "other"  # type: ignore[misc]


@pytest.mark.parametrize("where", [{"body": "\ud800"}, {"body": "x", "properties": {"half": "\ud800"}}])
def test_half_a_character_is_refused_where_it_is_said(where: dict[str, Any]) -> None:
    with pytest.raises(UnicodeEncodeError):
        Message("t", **where)


def test_bytes_are_kept_by_reference() -> None:
    body = b"x" * 1000
    assert Message("t", body).body is body


def test_queues_are_ordered() -> None:
    queues = [MessageQueue("b", "x", 0), MessageQueue("a", "x", 2), MessageQueue("a", "x", 1)]
    assert sorted(queues) == [queues[2], queues[1], queues[0]]


def test_errors_have_kinds_codes_and_a_second_base() -> None:
    error = posthouse.TopicNotFound("gone", code="topic_not_found", response_code=17, topic="t")
    assert isinstance(error, posthouse.NotFoundError | LookupError)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is posthouse.TopicNotFound
    assert (str(again), again.code, again.response_code, again.topic) == ("gone", "topic_not_found", 17, "t")
    for kind, base in [
        (posthouse.ConfigError, ValueError),
        (posthouse.ConnectError, ConnectionError),
        (posthouse.RequestTimeout, TimeoutError),
        (posthouse.AuthError, PermissionError),
        (posthouse.UnsupportedError, NotImplementedError),
        (posthouse.ForkedError, posthouse.ClosedError),
        (posthouse.QueueFull, posthouse.ThrottledError),
    ]:
        assert issubclass(kind, base) and issubclass(kind, posthouse.PosthouseError)


def test_what_belongs_to_a_process_says_so(client: posthouse.Client, server: posthouse.Server) -> None:
    for thing in [client, server, client.producer(), server.async_client()]:
        with pytest.raises(TypeError, match="make one in each worker"):
            pickle.dumps(thing)
