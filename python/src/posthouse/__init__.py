"""Posthouse: a RocketMQ client, with the whole broker inside if you want it.

>>> import posthouse
>>> with posthouse.Server.embedded() as server, server.client() as client:
...     with client.producer() as producer:
...         result = producer.send("orders", b"one parcel", tag="eu")
...     with client.simple_consumer("billing", "orders") as consumer:
...         for message in consumer.receive():
...             print(message.tag, message.text())
...             consumer.ack(message)
eu one parcel

``Client`` blocks, ``AsyncClient`` awaits; names and arguments are the same. Nothing happens at import: no file, no
thread, no log line (``logging.getLogger("posthouse")`` is where lines go).
"""

import logging as _logging
import os as _os

from . import _native
from ._aio import AsyncClient
from ._aio_admin import AsyncAdmin
from ._aio_consumers import AsyncPullConsumer, AsyncPushConsumer, AsyncSimpleConsumer
from ._aio_producer import AsyncProducer
from ._aio_transaction import AsyncCheckFn, AsyncTransaction, AsyncTransactionProducer
from ._admin import Admin
from ._client import Client
from ._consumers import PullConsumer, SimpleConsumer
from ._errors import (
    AuthError,
    ClosedError,
    ConfigError,
    ConnectError,
    FilterError,
    ForkedError,
    GroupNotFound,
    InvalidMessage,
    MessageTooLarge,
    NotFoundError,
    OffsetOutOfRange,
    PosthouseError,
    QueueFull,
    RequestTimeout,
    ThrottledError,
    TopicNotFound,
    TransactionError,
    UnsupportedError,
)
from ._hooks import Hook
from ._native import Message, MessageQueue, ReceivedMessage, SendResult, Sql
from ._producer import Producer
from ._push import PushConsumer
from ._server import Server
from ._transaction import CheckFn, Transaction, TransactionProducer
from ._types import (
    AsyncBatchHandler,
    AsyncHandler,
    BatchHandler,
    Body,
    Credentials,
    Filter,
    Handler,
    HandlerResult,
    RecallResult,
    Reject,
    Reply,
    Result,
    Retry,
    Seconds,
    SendStatus,
    StartFrom,
    Subscriptions,
    Tls,
    TxState,
)

__version__ = _native.__version__

__all__ = [
    "Admin",
    "AsyncAdmin",
    "AsyncBatchHandler",
    "AsyncCheckFn",
    "AsyncClient",
    "AsyncHandler",
    "AsyncProducer",
    "AsyncPullConsumer",
    "AsyncPushConsumer",
    "AsyncSimpleConsumer",
    "AsyncTransaction",
    "AsyncTransactionProducer",
    "AuthError",
    "BatchHandler",
    "Body",
    "CheckFn",
    "Client",
    "ClosedError",
    "ConfigError",
    "ConnectError",
    "Credentials",
    "Filter",
    "FilterError",
    "ForkedError",
    "GroupNotFound",
    "Handler",
    "HandlerResult",
    "Hook",
    "InvalidMessage",
    "Message",
    "MessageQueue",
    "MessageTooLarge",
    "NotFoundError",
    "OffsetOutOfRange",
    "PosthouseError",
    "Producer",
    "PullConsumer",
    "PushConsumer",
    "QueueFull",
    "RecallResult",
    "ReceivedMessage",
    "Reject",
    "Reply",
    "RequestTimeout",
    "Result",
    "Retry",
    "Seconds",
    "SendResult",
    "SendStatus",
    "Server",
    "SimpleConsumer",
    "Sql",
    "StartFrom",
    "Subscriptions",
    "ThrottledError",
    "Tls",
    "TopicNotFound",
    "Transaction",
    "TransactionError",
    "TransactionProducer",
    "TxState",
    "UnsupportedError",
    "__version__",
]

_logging.getLogger("posthouse").addHandler(_logging.NullHandler())
_os.register_at_fork(after_in_child=_native.after_fork_in_child)
