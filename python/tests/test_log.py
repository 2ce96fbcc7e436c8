"""What Rust says of itself comes to Python's loggers: of clients and of servers in the process."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

import posthouse
from conftest import run_python

LIMIT = 60


def said(caplog: pytest.LogCaptureFixture, text: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if text in record.getMessage()]


def test_lines_go_to_a_logger_for_each_area_and_say_when_and_where(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "posthouse")
    begun = time.time()
    with posthouse.Server.embedded(listen="127.0.0.1:0", topics=["t"]) as server, server.client() as client:
        client.producer().send("t", "x")
        with client.push_consumer("g", "t", start_from=posthouse.StartFrom.FIRST) as consumer:
            assert next(iter(consumer)).text() == "x"
    [registered, *_] = said(caplog, "a broker registered")
    assert (registered.name, registered.levelno) == ("posthouse.server", logging.INFO)
    [reads, *_] = said(caplog, "reads a queue")
    assert (reads.name, reads.levelno) == ("posthouse.consumer", logging.DEBUG)
    assert "group=g" in reads.getMessage() and reads.pathname.endswith("rebalance.rs") and reads.lineno > 1
    assert begun - 1 <= registered.created <= reads.created <= time.time()


def test_only_what_a_logger_wants_is_made_also_when_it_changes_its_mind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "posthouse")
    caplog.set_level(logging.DEBUG, "posthouse.server")
    with posthouse.Server.embedded(listen="127.0.0.1:0", topics=["t"]) as server, server.client() as client:
        consumer = client.pull_consumer("g")
        consumer.subscribe("t")
        consumer.poll(0.5)
        assert said(caplog, "a broker registered")
        assert not [record for record in caplog.records if record.name == "posthouse.consumer"]
        caplog.set_level(logging.DEBUG, "posthouse.consumer")
        # A blocking call looks ten times a second.
        consumer.poll(0.3)
        second = client.pull_consumer("other")
        second.subscribe("t")
        end = time.monotonic() + LIMIT
        while not said(caplog, "reads a queue"):
            assert time.monotonic() < end
            second.poll(0.1)


def test_an_event_loop_is_woken_for_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "posthouse")

    async def main() -> None:
        async with server.async_client() as client:
            consumer = client.pull_consumer("g")
            await consumer.subscribe("t")
            # The consumer reads on its own; nothing is awaited that would have a result.
            end = time.monotonic() + LIMIT
            while not said(caplog, "reads a queue"):
                assert time.monotonic() < end
                await asyncio.sleep(0.01)

    with posthouse.Server.embedded(listen="127.0.0.1:0", topics=["t"]) as server:
        asyncio.run(main())


def test_nothing_is_printed_unless_the_program_asks() -> None:
    quiet = run_python(
        "import posthouse\n"
        "with posthouse.Server.embedded(listen='127.0.0.1:0') as s, s.client() as c: c.producer().send('t', 'x')\n"
    )
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    loud = run_python(
        "import logging, sys, posthouse\n"
        "logging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(levelname)s %(name)s %(message)s')\n"
        "with posthouse.Server.embedded(listen='127.0.0.1:0') as s: pass\n"
    )
    assert loud.returncode == 0 and loud.stderr == ""
    assert "INFO posthouse.server a broker registered" in loud.stdout


def test_a_handler_of_a_logger_may_use_posthouse_itself(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[posthouse.SendResult] = []

    class Sends(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            sent.append(producer.send("log", record.getMessage()))

    caplog.set_level(logging.DEBUG, "posthouse")
    logger, handler = logging.getLogger("posthouse"), Sends()
    with posthouse.Server.embedded(topics=["t", "log"]) as server, server.client() as client:
        producer = client.producer()
        logger.addHandler(handler)
        try:
            consumer = client.pull_consumer("g")
            consumer.subscribe("t")
            end = time.monotonic() + LIMIT
            while not sent:
                assert time.monotonic() < end
                consumer.poll(0.1)
        finally:
            logger.removeHandler(handler)
        assert all(result.status == "ok" for result in sent)
