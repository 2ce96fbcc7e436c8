"""A broker that says nothing for a while: what is on its way is bounded, and so is memory; nothing that was taken is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

import posthouse

# Each stops the broker's process, offers 1.2 GiB or as much as is taken, and lets it go on.
BEGIN = """
import asyncio, os, signal, sys, threading, time, posthouse
from posthouse import Message
address, broker = sys.argv[1], int(sys.argv[2])
body = bytes(1 << 16)
def message(number): return Message('t', number.to_bytes(4, 'big') + body)
def stop():
    os.kill(broker, signal.SIGSTOP)
    # Its threads end what they are at, each in its time.
    while any(state(task) != 'T' for task in os.listdir(f'/proc/{broker}/task')):
        time.sleep(0.001)
def state(task):
    with open(f'/proc/{broker}/task/{task}/stat') as file:
        return file.read().rpartition(') ')[2][0]
def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096
"""
PROGRAMS = {
    "asyncio": """
async def main():
    async with posthouse.AsyncClient(address, request_timeout=120) as client:
        producer = client.producer(max_in_flight=64, send_timeout=120, compress_over=None)
        for _ in range(10):
            await asyncio.gather(*(producer.send(message(n)) for n in range(64)))
        stop()
        before, taken, refused, waiting = resident(), [], 0, 0
        for number in range(20_000):
            try:
                taken.append(producer.send_nowait(message(number)))
            except posthouse.QueueFull as error:
                assert error.retryable
                refused += 1
            if number % 100 == 0:
                await asyncio.sleep(0)
        # Who waits for it waits.
        try:
            await asyncio.wait_for(producer.send(message(0)), 1)
        except TimeoutError:
            waiting += 1
        grown = resident() - before
        os.kill(broker, signal.SIGCONT)
        statuses = {result.status for result in await asyncio.gather(*taken)}
        assert (await producer.send(message(0))).status == 'ok'
        print(len(taken), refused, waiting, statuses, grown >> 20)
asyncio.run(main())
""",
    "threads": """
with posthouse.Client(address, request_timeout=120) as client:
    producer = client.producer(max_in_flight=64, send_timeout=120, compress_over=None)
    for _ in range(10):
        producer.send_many([message(n) for n in range(64)])
    stop()
    before, taken, waiting = resident(), [], 0
    def submit():
        for number in range(1000):
            taken.append(producer.submit(message(number)))
    thread = threading.Thread(target=submit)
    thread.start()
    end = time.monotonic() + 60
    while len(taken) < 64 and time.monotonic() < end:
        time.sleep(0.01)
    for _ in range(3):
        try:
            producer.flush(0.5)
        except TimeoutError:
            waiting += 1
    grown, there = resident() - before, len(taken)
    os.kill(broker, signal.SIGCONT)
    thread.join()
    statuses = {future.result(120).status for future in taken}
    # It blocks while there is no credit, not behind that.
    print(there, 1000 - len(taken), waiting // 3, statuses, grown >> 20)
""",
}


@pytest.fixture
def broker() -> Iterator[tuple[str, int]]:
    """Its address and its process."""
    command = [sys.executable, "-m", "posthouse", "--listen", "127.0.0.1:0", "--topic", "t"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child.stdout.readline().split("name server ")[1].split(",")[0], child.pid
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_paused_broker_costs_no_more_memory_than_what_may_be_on_its_way(name: str, broker: tuple[str, int]) -> None:
    address, process = broker
    command = [sys.executable, "-X", "dev", "-c", BEGIN + PROGRAMS[name], address, str(process)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    taken, refused, waiting, statuses, grown = done.stdout.split()
    assert int(taken) == 64
    assert (int(refused), int(waiting)) == (20_000 - 64 if name == "asyncio" else 0, 1)
    assert statuses == "{'ok'}"
    # 64 bodies are 4 MiB; they cross into a buffer, and into the socket's.
    assert int(grown) < 32
    # All that was taken is there, once.
    expected = 640 + (64 + 1 + 1 if name == "asyncio" else 1000)
    with posthouse.Client(address) as client:
        assert sum(end for _, end in client.admin().offsets("t").values()) == expected
