"""Spans: what is sent, received and handled is one trace."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import posthouse
import posthouse.otel
from posthouse import Message, ReceivedMessage, StartFrom

FIRST = StartFrom.FIRST


class Traced:
    """A server's address, and the spans that ended."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ended = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.ended))
        self.tracer = provider.get_tracer("test")
        self.hooks = [posthouse.otel.Instrument(provider)]

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.ended.get_finished_spans() if span.name == name]

    def only(self, name: str) -> ReadableSpan:
        [span] = self.spans(name)
        return span


@pytest.fixture
def traced() -> Iterator[Traced]:
    with posthouse.Server.embedded(listen="127.0.0.1:0") as server:
        yield Traced(server.namesrv_addr)


def ids(span: ReadableSpan) -> tuple[int, int]:
    return span.context.trace_id, span.context.span_id


def test_sending_and_handling_is_one_trace(traced: Traced) -> None:
    inside: list[tuple[int, int]] = []
    came: list[ReceivedMessage] = []
    done = threading.Event()

    def handle(message: ReceivedMessage) -> None:
        context = trace.get_current_span().get_span_context()
        inside.append((context.trace_id, context.span_id))
        came.append(message)
        done.set()

    with posthouse.Client(traced.address, hooks=traced.hooks) as client:
        with traced.tracer.start_as_current_span("order") as order:
            sent = client.producer().send("t", "x", tag="eu", keys=["k"], properties={"own": "1"})
        with client.push_consumer("g", "t", handle, start_from=FIRST):
            assert done.wait(60)
    send, process = traced.only("send t"), traced.only("process t")
    assert send.kind == SpanKind.PRODUCER and process.kind == SpanKind.CONSUMER
    assert send.parent is not None and send.parent.span_id == order.get_span_context().span_id
    assert process.parent is not None and (process.parent.trace_id, process.parent.span_id) == ids(send)
    assert inside == [ids(process)]
    assert send.attributes is not None and process.attributes is not None
    assert send.attributes["messaging.message.id"] == sent.message_id == process.attributes["messaging.message.id"]
    expected = {
        "messaging.system": "rocketmq",
        "messaging.destination.name": "t",
        "messaging.rocketmq.message.tag": "eu",
        "messaging.rocketmq.message.keys": ("k",),
        "messaging.message.body.size": 1,
    }
    for span in [send, process]:
        assert expected.items() <= dict(span.attributes or {}).items()
    # As the W3C writes it, for whoever reads it.
    trace_id, span_id = ids(send)
    assert set(came[0].properties) == {"own", "traceparent"}
    assert came[0].properties["traceparent"].startswith(f"00-{trace_id:032x}-{span_id:016x}-")


def test_every_way_to_send_has_its_spans(traced: Traced) -> None:
    with posthouse.Client(traced.address, hooks=traced.hooks) as client:
        producer = client.producer()
        producer.send(Message("t", "send"))
        producer.submit(Message("t", "submit")).result(60)
        producer.send_many([Message("t", "many"), Message("t", "many")])
        producer.send_batch([Message("t", "batch"), Message("t", "batch")])
        producer.send_oneway(Message("t", "oneway"))
        with client.transaction_producer("tx", lambda message: None).begin(Message("t", "half")):
            pass
        # Named, it is not changed: sent again, it is the same message.
        for _ in range(2):
            replayed = producer.send(Message("t", "named", idempotency_key="once")).replayed
        assert replayed
        client.push_consumer("clerks", "q", lambda message: posthouse.Reply("7"), start_from=FIRST).start()
        assert ask(producer) == "7"
        consumer = client.simple_consumer("g", "t")
        got = 0
        while got < 9:
            messages = consumer.receive(wait=60)
            consumer.ack(messages)
            got += len(messages)
    sent = traced.spans("send t")
    assert len(sent) == 10 and len(traced.spans("send q")) >= 1
    assert all(span.status.status_code == StatusCode.UNSET for span in sent)
    received = traced.spans("receive t")
    assert {ids(span) for span in sent} >= {
        (link.context.trace_id, link.context.span_id) for span in received for link in span.links
    }
    assert sum(len(span.links) for span in received) == 8
    assert all(span.start_time is not None and span.end_time is not None for span in received)


def ask(producer: posthouse.Producer) -> str:
    while True:
        try:
            return producer.request(Message("q", "?"), timeout=10).text()
        except posthouse.RequestTimeout:
            continue


def test_what_goes_wrong_is_in_its_span(traced: Traced) -> None:
    attempts: list[int] = []
    done = threading.Event()

    def handle(message: ReceivedMessage) -> None:
        attempts.append(message.attempt)
        if len(attempts) == 2:
            done.set()
            return
        raise posthouse.Retry(after=0.01)

    with posthouse.Client(traced.address, hooks=traced.hooks) as client:
        with pytest.raises(posthouse.InvalidMessage):
            client.producer().send("t", b"")
        client.producer().send("t", "x")
        with client.push_consumer("g", "t", handle, start_from=FIRST):
            assert done.wait(60)
    failed, sent = traced.spans("send t")
    assert failed.status.status_code == StatusCode.ERROR
    assert failed.attributes is not None and failed.attributes["error.type"] == "invalid_message"
    assert sent.status.status_code == StatusCode.UNSET
    first, second = traced.spans("process t")
    assert first.status.status_code == StatusCode.ERROR and second.status.status_code == StatusCode.UNSET
    assert [event.name for event in first.events] == ["exception"]


def test_a_batch_and_a_loop_are_processed_in_spans(traced: Traced) -> None:
    sizes: list[int] = []
    done = threading.Event()

    def handle(messages: Sequence[ReceivedMessage]) -> None:
        sizes.append(len(messages))
        if sum(sizes) == 3:
            done.set()

    with posthouse.Client(traced.address, hooks=traced.hooks) as client:
        client.admin().create_topic("t", queues=1)
        client.producer().send_batch([Message("t", str(n)) for n in range(3)])
        with client.push_consumer("g", "t", handle, batch_size=3, concurrency=1, start_from=FIRST):
            assert done.wait(60)
        links = sum(len(span.links) for span in traced.spans("process t"))
        assert links == 3
        traced.ended.clear()
        seen = []
        with client.push_consumer("loop", "t", start_from=FIRST) as loop:
            for message in loop:
                span = trace.get_current_span()
                assert isinstance(span, ReadableSpan) and span.name == "process t" and not span.end_time
                seen.append(message.text())
                if len(seen) == 3:
                    break
    assert len(traced.spans("process t")) == 3


def test_asyncio_has_the_same_spans(traced: Traced) -> None:
    async def main() -> None:
        async with posthouse.AsyncClient(traced.address, hooks=traced.hooks) as client:
            producer = client.producer()

            async def order(number: int) -> None:
                with traced.tracer.start_as_current_span(f"order {number}"):
                    await producer.send(Message("t", str(number)))

            # Sent in one turn of the loop, each has its own parent.
            await asyncio.gather(order(1), order(2))
            await producer.send_many([Message("t", "3"), Message("t", "4")])
            await producer.send_nowait(Message("t", "5"))
            await producer.send_batch([Message("t", "6"), Message("t", "7")])
            await producer.send_oneway(Message("t", "8"))
            names: list[str] = []

            async def handle(message: ReceivedMessage) -> None:
                await asyncio.sleep(0)
                span = trace.get_current_span()
                assert isinstance(span, ReadableSpan)
                names.append(span.name)
                if len(names) == 8:
                    await consumer.aclose(0)

            consumer = client.push_consumer("g", "t", handle, start_from=FIRST)
            async with asyncio.timeout(60):
                await consumer.run()
            assert names == ["process t"] * 8

    asyncio.run(main())
    orders = {span.context.span_id for n in (1, 2) for span in traced.spans(f"order {n}")}
    sent = traced.spans("send t")
    assert len(sent) == 8
    assert {span.parent.span_id for span in sent if span.parent} == orders
    processed = traced.spans("process t")
    assert {span.parent.span_id for span in processed if span.parent} == {span.context.span_id for span in sent}


def test_what_clients_count_are_gauges(traced: Traced) -> None:
    reader = InMemoryMetricReader()
    hooks = [posthouse.otel.Instrument(meter_provider=MeterProvider([reader], shutdown_on_exit=False))]

    def gauges(name: str) -> list[float]:
        data = reader.get_metrics_data()
        found: list[float] = []
        for resource in data.resource_metrics if data else []:
            for scope in resource.scope_metrics:
                assert scope.scope.name == "posthouse"
                for metric in scope.metrics:
                    if metric.name == f"posthouse.client.{name}":
                        for point in metric.data.data_points:
                            assert (point.attributes or {})["messaging.system"] == "rocketmq"
                            assert isinstance(point, NumberDataPoint)
                            found.append(point.value)
        return sorted(found)

    with posthouse.Client(traced.address, hooks=hooks, instance="one") as client:
        client.producer().send_many([Message("t", str(n)) for n in range(3)])
        assert gauges("sent") == [3]

        async def main() -> None:
            async with posthouse.AsyncClient(traced.address, hooks=hooks, instance="two") as other:
                await other.producer().send("t", "x")
                assert gauges("sent") == [1, 3]
                for name in other.metrics():
                    assert len(gauges(name)) == 2, name

        asyncio.run(main())
    del client
    gc.collect()
    assert gauges("sent") == []


def test_a_hook_that_fails_breaks_nothing(server: posthouse.Server, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    del server
    with posthouse.Client("embedded:", hooks=[Broken()]) as client:  # type: ignore[list-item]
        assert client.producer().send("t", "x").status == "ok"
        assert client.simple_consumer("g", "t").receive()[0].text() == "x"
    assert "a hook failed" in caplog.text
