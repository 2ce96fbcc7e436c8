"""Values and errors: equal, hashable, matchable, and able to go to another process and back."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timezone

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
