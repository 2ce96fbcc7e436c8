"""Clients of a part of a cluster: short names, and nothing of the other parts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

import posthouse
from posthouse import Message, StartFrom


@pytest.fixture
def address() -> Iterator[str]:
    with posthouse.Server.embedded(listen="127.0.0.1:0") as server:
        yield server.namesrv_addr


def test_namespaces_share_names_and_no_messages(address: str) -> None:
    with (
        posthouse.Client(address, namespace="eu") as eu,
        posthouse.Client(f"rocketmq://{address}/us") as us,
        posthouse.Client(address) as plain,
    ):
        for client, body in [(eu, "eu"), (us, "us"), (plain, "none")]:
            client.admin().create_topic("t", queues=1)
            assert client.producer().send("t", body).queue.topic == "t"
        for client, body in [(eu, "eu"), (us, "us"), (plain, "none")]:
            with client.push_consumer("g", "t", start_from=StartFrom.FIRST) as consumer:
                message = next(iter(consumer))
                assert (message.topic, message.queue.topic, message.text()) == ("t", "t", body)
                assert {queue.topic for queue in consumer.assignment()} <= {"t", "%RETRY%g"}
            assert list(client.admin().lag("g", "t").values()) == [0]
        assert {"t", "eu%t", "us%t"} <= set(plain.admin().topics())
        assert {"g", "eu%g", "us%g"} <= set(plain.admin().groups())


def test_an_admin_sees_its_namespace_alone(address: str) -> None:
    with posthouse.Client(address, namespace="eu") as eu, posthouse.Client(address) as plain:
        plain.admin().create_topic("elsewhere")
        admin = eu.admin()
        admin.create_topic("t", queues=1)
        with pytest.raises(posthouse.ConfigError, match="topic t is there"):
            admin.create_topic("t", exist_ok=False)
        admin.create_group("g")
        sent = eu.producer().send("t", "x", keys="k")
        assert (admin.topics(), admin.groups()) == (["t"], ["g"])
        assert admin.offsets("t") == {sent.queue: (0, 1)}
        assert admin.lag("g", "t") == {sent.queue: 1}
        assert admin.reset_offset("g", "t", StartFrom.LAST) == {sent.queue: 1}
        found = admin.message("t", sent.message_id)
        assert found is not None and (found.topic, found.queue) == ("t", sent.queue)
        assert [message.topic for message in admin.messages_by_key("t", "k")] == ["t"]
        with eu.pull_consumer("pulls", auto_commit=None) as consumer:
            assert consumer.queues("t") == [sent.queue]
            consumer.assign([sent.queue])
            consumer.seek(sent.queue, 0)
            assert [message.text() for message in consumer.poll(60)] == ["x"]
            consumer.commit({sent.queue: 1})
            assert consumer.committed(sent.queue) == 1
        admin.delete_group("g")
        admin.delete_topic("t")
        assert (admin.topics(), admin.groups()) == ([], ["pulls"])
        assert "elsewhere" in plain.admin().topics()


def test_the_keyword_goes_before_the_url_and_that_before_the_environment(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHOUSE_NAMESPACE", "environment")
    url = f"rocketmq://{address}/url"
    for client in [
        posthouse.Client(url, namespace="keyword"),
        posthouse.Client(url),
        posthouse.Client(address),
    ]:
        with client:
            client.producer().send("t", "x")
    monkeypatch.delenv("POSTHOUSE_NAMESPACE")
    with posthouse.Client(address) as plain:
        made = {topic for topic in plain.admin().topics() if topic.endswith("%t")}
    assert made == {"keyword%t", "url%t", "environment%t"}


@pytest.mark.parametrize("name", ["a%b", "a b", "ü"])
def test_what_is_no_namespace_is_refused(name: str) -> None:
    for make in [posthouse.Client, posthouse.AsyncClient]:
        with pytest.raises(posthouse.ConfigError, match="namespace"):
            make("embedded:", namespace=name)


def test_a_servers_own_clients_have_namespaces_and_hooks() -> None:
    sent: list[str] = []

    class Listening(posthouse.Hook):
        def on_sent(self, messages: Sequence[Message], results: object, /) -> None:
            sent.extend(message.topic for message in messages)

    async def main(server: posthouse.Server) -> None:
        async with server.async_client(namespace="eu", hooks=[Listening()]) as eu:
            await eu.producer().send(Message("a", "x"))

    with posthouse.Server.embedded() as server:
        with server.client(namespace="eu", hooks=[Listening()]) as eu, server.client() as plain:
            eu.producer().send("t", "x")
            asyncio.run(main(server))
            assert eu.admin().topics() == ["a", "t"]
            assert {"eu%a", "eu%t"} <= set(plain.admin().topics())
    assert sent == ["t", "a"]


def test_asyncio_has_namespaces_too(address: str) -> None:
    async def main() -> None:
        async with posthouse.AsyncClient(address, namespace="eu") as eu:
            sent = await eu.producer().send(Message("t", "x"))
            assert sent.queue.topic == "t"
            assert await eu.admin().topics() == ["t"]

    asyncio.run(main())
