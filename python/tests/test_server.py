"""The server in the process: where it keeps things, who may join, how it is shared."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import posthouse
from posthouse import Message


def test_a_folder_keeps_messages_and_has_one_server(tmp_path: Path) -> None:
    with posthouse.Server.embedded(tmp_path) as server, server.client() as client:
        client.producer().send("kept", "one")
        with pytest.raises(posthouse.ConfigError, match="already"):
            posthouse.Server.embedded(tmp_path / ".." / tmp_path.name)
        with posthouse.Client(server.url) as shared:
            shared.producer().send("kept", "two")
    with posthouse.Client(f"embedded:{tmp_path}") as client:
        found = {m.text() for m in client.simple_consumer("g", "kept").receive()}
        while len(found) < 2:
            found |= {m.text() for m in client.simple_consumer("g", "kept").receive()}
    assert found == {"one", "two"}
    with posthouse.Server.embedded(tmp_path):
        pass


def test_a_private_server_ends_with_its_client() -> None:
    with posthouse.Client("embedded:") as one, posthouse.Client("embedded:") as two:
        one.producer().send("mine", "x")
        assert "mine" in one.admin().topics()
        assert "mine" not in two.admin().topics()


def test_others_join_a_server_that_listens() -> None:
    with posthouse.Server.embedded(listen="127.0.0.1:0", topics=["open"]) as server:
        with posthouse.Client(server.namesrv_addr) as outside, server.client() as inside:
            sent = outside.producer().send("open", "over tcp")
            [message] = inside.simple_consumer("g", "open").receive()
            assert message.message_id == sent.message_id
            results = inside.producer().send_many([Message("open", str(n)) for n in range(100)])
            assert all(isinstance(result, posthouse.SendResult) for result in results)
            seen = {m.text() for _, m in zip(range(101), iterate(outside))}
            assert seen == {"over tcp"} | {str(n) for n in range(100)}


def iterate(client: posthouse.Client) -> posthouse.PushConsumer:
    return client.push_consumer("far", "open", start_from=posthouse.StartFrom.FIRST)


def test_a_server_that_does_not_listen_says_so(server: posthouse.Server) -> None:
    with pytest.raises(posthouse.ConfigError, match="listen="):
        _ = server.namesrv_addr


def test_reset_leaves_nothing_but_the_topics_it_began_with() -> None:
    with posthouse.Server.embedded(topics=["own"], clock="manual") as server, server.client() as client:
        producer = client.producer()
        producer.send("own", "x")
        producer.send("made", "x")
        producer.send("own", "later", deliver_after=60)
        client.simple_consumer("g", "own").receive()
        server.reset()
        admin = client.admin()
        assert "made" not in admin.topics()
        assert "g" not in admin.groups()
        assert all(end == 0 for _, end in admin.offsets("own").values())
        server.advance(120)
        with server.client() as fresh:
            assert fresh.simple_consumer("g", "own").receive(wait=0) == []


def test_settings_are_rocketmqs_and_a_wrong_one_is_named() -> None:
    with pytest.raises(posthouse.ConfigError, match="flushDiskTyp"):
        posthouse.Server.embedded(config={"flushDiskTyp": "ASYNC_FLUSH"})
    with pytest.raises(posthouse.ConfigError, match="listen="):
        posthouse.Server.embedded(listen="nowhere")
    with posthouse.Server.embedded(auto_create_topics=False) as server, server.client() as client:
        with pytest.raises(posthouse.TopicNotFound):
            client.producer().send("unknown", "x")


def test_a_clock_of_the_system_cannot_be_moved() -> None:
    with posthouse.Server.embedded() as server:
        with pytest.raises(posthouse.ConfigError, match="clock"):
            server.advance(1)


def test_a_full_memory_gives_up_its_oldest_messages_and_sends_go_on() -> None:
    with posthouse.Server.embedded(memory_bytes=64 << 20) as server, server.client() as client:
        producer = client.producer(retries=0, compress_over=None)
        body = b"x" * ((1 << 20) - 3)
        sent = [producer.send("t", f"{number:03}".encode() + body, sharding_key="one") for number in range(256)]
        assert {result.status for result in sent} == {"ok"}
        [queue] = {result.queue for result in sent}
        assert [result.queue_offset for result in sent] == list(range(256))
        first, end = client.admin().offsets("t")[queue]
        assert end == 256 and 192 <= first <= 240
        # Who begins now gets those that are there, in order, to the newest; nothing says that there was more.
        with client.pull_consumer("g", start_from=posthouse.StartFrom.FIRST) as consumer:
            consumer.subscribe("t")
            seen: list[int] = []
            for message in consumer:
                seen.append(int(message.memory()[:3].tobytes()))
                if seen[-1] == 255:
                    break
        # More may have gone since, but no gap is left.
        assert first <= seen[0] <= 240 and seen == list(range(seen[0], 256))
        # And so does who was in the middle of what went.
        with client.pull_consumer("late", auto_commit=None) as consumer:
            consumer.assign([queue])
            consumer.seek(queue, 0)
            assert consumer.poll(60)[0].queue_offset >= first


def test_full_memory_refuses_with_code_14() -> None:
    with posthouse.Server.embedded(memory_bytes=64 << 20) as server, server.client() as client:
        producer = client.producer(retries=0, compress_over=None)
        body = b"x" * (1 << 20)
        with pytest.raises(posthouse.ThrottledError) as caught:
            for _ in range(4096):
                # What is to come later cannot go before.
                producer.send("full", body, deliver_after=3600)
        assert caught.value.response_code == 14
        assert caught.value.retryable


def test_what_was_closed_says_so(server: posthouse.Server) -> None:
    client = server.client()
    producer, consumer = client.producer(), client.simple_consumer("g", "t")
    client.close()
    client.close()
    with pytest.raises(posthouse.ClosedError):
        producer.send("t", "x")
    with pytest.raises(posthouse.ClosedError):
        consumer.receive()
    with pytest.raises(posthouse.ClosedError):
        client.producer()


def test_an_address_that_nobody_answers_and_one_that_is_none() -> None:
    with posthouse.Client("127.0.0.1:1", request_timeout=2) as client:
        with pytest.raises(posthouse.ConnectError) as caught:
            client.producer(send_timeout=2).send("t", "x")
        assert caught.value.code == "connect"
    for url in ["http://a:1", "a", "a:1?x=1"]:
        with pytest.raises(posthouse.ConfigError, match="URL"):
            posthouse.Client(url)


def test_two_servers_of_a_process_have_ports_clocks_and_threads_of_their_own() -> None:
    before = threads()
    with (
        posthouse.Server.embedded(listen="127.0.0.1:0", clock="manual") as one,
        posthouse.Server.embedded(listen="127.0.0.1:0", clock="manual") as two,
        one.client() as ones,
        two.client() as twos,
    ):
        assert one.namesrv_addr != two.namesrv_addr
        for client in (ones, twos):
            client.producer().send("t", "later", deliver_after=60)
        assert one.advance(60) == 1
        assert [message.text() for message in ones.simple_consumer("g", "t").receive()] == ["later"]
        assert twos.simple_consumer("g", "t").receive(wait=0) == []
        assert two.advance(60) == 1
    # What stays is the package's own, shared by all that is made later.
    with posthouse.Server.embedded() as server, server.client() as client:
        client.producer().submit(Message("t", "x")).result(60)
        client.push_consumer("g", "t", lambda _: None, handler_timeout=1).start()
    end = time.monotonic() + 60
    while len(left := threads() - before) > 2:
        assert time.monotonic() < end, left


def threads() -> set[str]:
    return {f"{task.name} {(task / 'comm').read_text().strip()}" for task in Path("/proc/self/task").iterdir()}
