"""Spans and gauges of OpenTelemetry: ``pip install posthouse[otel]``, then
``Client(url, hooks=[posthouse.otel.Instrument()])``.

A ``send`` span for every message, whose context travels in the message's property ``traceparent`` (W3C); a ``process``
span around every handler, the child of that of its message; and a ``receive`` span of what was polled or received. Each
number of ``metrics()`` is an observable gauge, ``posthouse.client.sent`` and so on, of every client by its id. The names of attributes are those of the semantic conventions for messaging, which stand here alone: for RocketMQ they are
still "development".
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ._errors import PosthouseError
from ._native import Message, ReceivedMessage, SendResult, __version__

if TYPE_CHECKING:
    from ._aio import AsyncClient
    from ._client import Client

__all__ = ["Instrument"]

_W3C = TraceContextTextMapPropagator()
_PARENT = "traceparent"
_Attributes = dict[str, str | int | Sequence[str]]


class Instrument:
    """A hook that makes spans, and gauges of what its clients count. One may serve many, blocking and asyncio."""

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        """Providers: the global ones unless they are given."""
        self._tracer = trace.get_tracer("posthouse", __version__, tracer_provider)
        self._meter = metrics.get_meter("posthouse", __version__, meter_provider)
        self._clients: weakref.WeakSet[Client | AsyncClient] = weakref.WeakSet()
        self._gauges: set[str] = set()
        # Of messages on their way, by the context that travels with them, or the message itself.
        self._sending: dict[str, Span] = {}

    def on_client(self, client: Client | AsyncClient, /) -> None:
        self._clients.add(client)
        for name in client.metrics().keys() - self._gauges:
            self._gauges.add(name)
            unit = "By" if name.endswith("bytes") or name.endswith("bytes_free") else "1"
            self._meter.create_observable_gauge(
                f"posthouse.client.{name}", [_observe(weakref.ref(self), name)], unit, "As metrics() has it"
            )

    def _observed(self, name: str) -> Iterable[Observation]:
        for client in list(self._clients):
            try:
                value = client.metrics()[name]
            except PosthouseError:
                # Its parent's, in a forked child.
                continue
            attributes = {"messaging.system": "rocketmq", "messaging.client.id": client._native.id}
            yield Observation(value, attributes)

    def on_send(self, messages: Sequence[Message], /) -> Sequence[dict[str, str]]:
        return [self._begin(message) for message in messages]

    def _begin(self, message: Message) -> dict[str, str]:
        attributes = _common("send", message.topic)
        attributes["messaging.message.body.size"] = len(message.body)
        _add_tag_and_keys(attributes, message.tag, message.keys)
        span = self._tracer.start_span(f"send {message.topic}", kind=SpanKind.PRODUCER, attributes=attributes)
        carrier: dict[str, str] = {}
        if message.idempotency_key is None:
            _W3C.inject(carrier, trace.set_span_in_context(span))
        self._sending[carrier.get(_PARENT) or _itself(message)] = span
        return carrier

    def on_sent(self, messages: Sequence[Message], results: Sequence[SendResult | PosthouseError], /) -> None:
        for number, message in enumerate(messages):
            span = self._sending.pop(message.properties.get(_PARENT) or _itself(message), None)
            if span is None:
                continue
            if number < len(results):
                _tell(span, results[number])
            span.end()

    def on_receive(self, messages: Sequence[ReceivedMessage], waited: float, /) -> None:
        topic = messages[0].topic
        attributes = _common("receive", topic)
        attributes["messaging.batch.message_count"] = len(messages)
        span = self._tracer.start_span(
            f"receive {topic}",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=_links(messages),
            start_time=time.time_ns() - int(waited * 1e9),
        )
        span.end()

    def on_deliver(self, messages: Sequence[ReceivedMessage], /) -> Any:
        first = messages[0]
        attributes = _common("process", first.topic)
        parent: Context | None = None
        if len(messages) == 1:
            parent = _W3C.extract(first.properties)
            attributes["messaging.message.id"] = first.message_id
            attributes["messaging.message.body.size"] = len(first.memory())
            attributes["messaging.destination.partition.id"] = str(first.queue.queue_id)
            _add_tag_and_keys(attributes, first.tag, first.keys)
        else:
            attributes["messaging.batch.message_count"] = len(messages)
        span = self._tracer.start_span(
            f"process {first.topic}", parent, SpanKind.CONSUMER, attributes, _links(messages)
        )
        return span, context.attach(trace.set_span_in_context(span))

    def on_done(self, token: Any, results: Sequence[Any], /) -> None:
        span, attached = token
        context.detach(attached)
        for result in results:
            if isinstance(result, BaseException):
                _failed(span, result, type(result).__qualname__)
                break
        span.end()


def _observe(
    instrument: weakref.ref[Instrument], name: str
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """For a meter, which keeps what it calls for as long as there is a process."""

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        living = instrument()
        return () if living is None else living._observed(name)

    return observe


def _itself(message: Message) -> str:
    return f"message {id(message)}"


def _common(operation: str, topic: str) -> _Attributes:
    return {
        "messaging.system": "rocketmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def _add_tag_and_keys(attributes: _Attributes, tag: str | None, keys: Sequence[str]) -> None:
    if tag is not None:
        attributes["messaging.rocketmq.message.tag"] = tag
    if keys:
        attributes["messaging.rocketmq.message.keys"] = list(keys)


def _links(messages: Sequence[ReceivedMessage]) -> list[Link]:
    """To the spans that sent them."""
    sent = (trace.get_current_span(_W3C.extract(message.properties, Context())) for message in messages)
    contexts = (span.get_span_context() for span in sent)
    return [Link(context) for context in contexts if context.is_valid]


def _tell(span: Span, result: SendResult | PosthouseError) -> None:
    if isinstance(result, PosthouseError):
        _failed(span, result, result.code)
        return
    span.set_attribute("messaging.message.id", result.message_id)
    span.set_attribute("messaging.destination.partition.id", str(result.queue.queue_id))


def _failed(span: Span, error: BaseException, kind: str) -> None:
    span.record_exception(error)
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, str(error)))
