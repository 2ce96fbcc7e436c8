"""What a client has done, in numbers: blocking and asyncio, in this process and over TCP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

import posthouse
from posthouse import Message, Reject, Retry, StartFrom

FIRST = StartFrom.FIRST
NAMES = {
    "sent", "send_failures", "send_retries", "sends_in_flight", "received", "redelivered", "acknowledged", "retried",
    "rejected", "buffered", "buffered_bytes", "connections", "credits_free", "credit_bytes_free", "wakeups",
}  # fmt: skip


@pytest.fixture(params=["embedded", "over TCP"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[posthouse.Server, str | None]]:
    """A server, and where it is; None: in this process."""
    over_tcp = request.param == "over TCP"
    with posthouse.Server.embedded(listen="127.0.0.1:0" if over_tcp else None) as server:
        yield server, server.namesrv_addr if over_tcp else None


def test_a_blocking_client_counts(place: tuple[posthouse.Server, str | None]) -> None:
    server, address = place
    with posthouse.Client(address) if address else server.client() as client:
        assert client.metrics() == dict.fromkeys(NAMES, 0.0)
        producer = client.producer(max_in_flight=16, max_in_flight_bytes=1000)
        producer.send("t", "again")
        producer.send("t", "never")
        with pytest.raises(posthouse.InvalidMessage):
            producer.send("t", "")
        producer.send_many([Message("t", str(n)) for n in range(100)])
        producer.submit(Message("t", "one more")).result(60)
        metrics = client.metrics()
        assert set(metrics) == NAMES and all(type(value) is float for value in metrics.values())
        assert (metrics["sent"], metrics["send_failures"], metrics["sends_in_flight"]) == (103, 1, 0)
        assert (metrics["credits_free"], metrics["credit_bytes_free"]) == (16, 1000)
        assert (metrics["connections"] > 0) == (address is not None)

        seen: list[float] = []

        def handle(message: posthouse.ReceivedMessage) -> None:
            seen.append(client.metrics()["buffered"])
            if message.text() == "again" and message.attempt == 1:
                raise Retry(after=0.01)
            if message.text() == "never":
                raise Reject

        with client.push_consumer("g", "t", handle, start_from=FIRST):
            end = time.monotonic() + 60
            while metrics["acknowledged"] < 102 or metrics["rejected"] < 1 or metrics["buffered"] > 0:
                assert time.monotonic() < end, metrics
                metrics = client.metrics()
        assert (metrics["received"], metrics["redelivered"]) == (104, 1)
        assert (metrics["retried"], metrics["rejected"], metrics["buffered_bytes"]) == (1, 1, 0)
        assert min(seen) >= 1
    assert client.metrics()["sent"] == 103, "also when it is closed"


def test_an_asyncio_client_counts(place: tuple[posthouse.Server, str | None]) -> None:
    server, address = place

    async def main() -> None:
        async with posthouse.AsyncClient(address) if address else server.async_client() as client:
            assert client.metrics() == dict.fromkeys(NAMES, 0.0)
            producer = client.producer()
            await asyncio.gather(*(producer.send("t", str(n)) for n in range(500)))
            metrics = client.metrics()
            assert set(metrics) == NAMES and all(type(value) is float for value in metrics.values())
            assert (metrics["sent"], metrics["credits_free"]) == (500, 1024)
            assert 1 <= metrics["wakeups"] <= 500
            left = 500
            async with client.push_consumer("g", "t", start_from=FIRST) as consumer:
                async for _ in consumer:
                    left -= 1
                    if left == 0:
                        assert client.metrics()["buffered"] >= 1
                        break
            assert client.metrics()["acknowledged"] == 500
            simple = client.simple_consumer("other", "t")
            loans = await simple.receive()
            await simple.ack(loans)
            metrics = client.metrics()
            assert metrics["acknowledged"] == 500 + len(loans)
            assert metrics["received"] == 500 + len(loans)
            assert (metrics["connections"] > 0) == (address is not None)
        assert client.metrics()["wakeups"] >= metrics["wakeups"], "also when it is closed"

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_producer_that_lingers_sends_less_often(server: posthouse.Server) -> None:
    async def main() -> None:
        async with server.async_client() as client:
            # Longer than the test: only a flush, or as many as leave in one write, ends it.
            producer = client.producer(linger=3600)
            sends = [producer.send_nowait(Message("t", str(n))) for n in range(100)]
            for _ in range(100):
                await asyncio.sleep(0)
            assert client.metrics()["sent"] == 0
            await producer.flush()
            assert all(send.result().status == "ok" for send in sends)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_blocking_producer_that_lingers_does_so_too(server: posthouse.Server) -> None:
    with server.client() as client:
        producer = client.producer(linger=3600, max_in_flight=200)
        one = producer.submit(Message("t", "one"))
        assert client.metrics()["sent"] == 0 and not one.done()
        # A send takes along what was submitted before, and overtakes nothing.
        queue = producer.send("t", "two").queue
        assert one.result(60).status == "ok"
        # As many as leave in one write do.
        many = [producer.submit(Message("t", str(n))) for n in range(130)]
        assert all(future.result(60).status == "ok" for future in many[:128])
        assert not any(future.done() for future in many[128:])
        producer.flush(60)
        assert all(future.result(0).status == "ok" for future in many)
        with pytest.raises(TypeError):
            producer.submit("no message")  # type: ignore[arg-type]
        last = producer.submit(Message("t", "last"))
        producer.close()
        assert last.result(0).status == "ok"
        assert client.metrics()["sent"] == 133 and queue.topic == "t"
        # So does what would wait for the credit of those that wait for it.
        few = client.producer(linger=3600, max_in_flight=4)
        futures = [few.submit(Message("t", str(n))) for n in range(10)]
        assert all(future.result(60).status == "ok" for future in futures[:4])
        soon = client.producer(linger=0.01)
        assert soon.submit(Message("t", "soon")).result(60).status == "ok"
