"""What was used is let go: objects that the garbage collector knows of, threads, and descriptors."""

from __future__ import annotations

import pytest

from conftest import run_python

BEGIN = """
import asyncio, concurrent.futures, gc, os, threading, posthouse
from posthouse import Message, StartFrom
FIRST = StartFrom.FIRST
def counts():
    for _ in range(3):
        gc.collect()
    return [len(gc.get_objects()), threading.active_count(), len(os.listdir('/proc/self/fd'))]
def judge(rounds):
    # The first rounds make what is kept for good.
    early, late = [min(each) for each in zip(*rounds[2:5])], [min(each) for each in zip(*rounds[7:])]
    print([after - before for before, after in zip(early, late)])
"""
PROGRAMS = {
    "blocking": """
def turn(server, number):
    group = f'g{number}'
    with server.client() as client, client.producer() as producer:
        for n in range(100):
            producer.send('t', str(n))
        futures = [producer.submit(Message('t', str(n), keys='k', properties={'a': 'b'})) for n in range(400)]
        assert all(isinstance(sent, posthouse.SendResult) for sent in producer.send_many([Message('t', 'x')] * 500))
        assert all(future.result().status == 'ok' for future in futures)
        with client.push_consumer(group, 't', start_from=FIRST) as consumer:
            assert sum(len(message.body) > 0 for _, message in zip(range(1000), consumer))
        done = threading.Semaphore(0)
        with client.push_consumer(group + 'h', 't', lambda message: done.release(), start_from=FIRST):
            for _ in range(1000):
                assert done.acquire(timeout=60)
        with client.pull_consumer(group + 'p', start_from=FIRST) as consumer:
            consumer.subscribe('t')
            for _, message in zip(range(500), consumer):
                message.properties, message.memory(), message.queue, message.born_at
            left = 500
            while left > 0:
                left -= len(consumer.poll(60))
        simple = client.simple_consumer(group + 's', 't')
        for _ in range(8):
            messages = simple.receive()
            simple.extend(messages[0], 120)
            assert simple.ack(messages)
        client.admin().topics()
    server.reset()
with posthouse.Server.embedded(topics=['t']) as server:
    rounds = []
    for number in range(10):
        turn(server, number)
        rounds.append(counts())
judge(rounds)
""",
    "asyncio": """
async def turn(server, number):
    group = f'g{number}'
    async with server.async_client() as client, client.producer() as producer:
        for n in range(100):
            await producer.send('t', str(n))
        await asyncio.gather(*(producer.send_nowait(Message('t', str(n), keys='k')) for n in range(400)))
        await producer.send_many([Message('t', 'x')] * 500)
        cancelled = [asyncio.ensure_future(producer.send('gone', 'x')) for _ in range(50)]
        await asyncio.sleep(0)
        for waiting in cancelled:
            waiting.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        async with client.push_consumer(group, 't', start_from=FIRST) as consumer:
            left = 1000
            async for message in consumer:
                left -= 1
                if left == 0:
                    break
        left, all_done = 1000, asyncio.Event()
        async def handle(message):
            nonlocal left
            left -= 1
            if left == 0:
                all_done.set()
        consumer = client.push_consumer(group + 'h', 't', handle, start_from=FIRST)
        running = asyncio.create_task(consumer.run())
        await all_done.wait()
        await consumer.aclose()
        await running
        async with client.pull_consumer(group + 'p', start_from=FIRST) as consumer:
            await consumer.subscribe('t')
            left = 500
            async for message in consumer:
                message.properties, message.memory(), message.queue
                left -= 1
                if left == 0:
                    break
            left = 500
            while left > 0:
                left -= len(await consumer.poll(60))
        simple = client.simple_consumer(group + 's', 't')
        for _ in range(8):
            messages = await simple.receive()
            assert await simple.ack(messages)
        waiting = asyncio.ensure_future(simple.receive(wait=0.1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await client.admin().topics()
    server.reset()
async def main():
    # What closes blocks in a thread of the loop's executor, which makes new ones up to its limit.
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    rounds = []
    with posthouse.Server.embedded(topics=['t']) as server:
        for number in range(10):
            await turn(server, number)
            rounds.append(counts())
    judge(rounds)
asyncio.run(main())
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_rounds_of_everything_leave_nothing_behind(name: str) -> None:
    done = run_python(BEGIN + PROGRAMS[name], timeout=300)
    assert done.returncode == 0, done.stderr
    objects, threads, descriptors = (int(number) for number in done.stdout.strip(" []\n").split(","))
    # From the third to the tenth round, each of a few thousand messages and all kinds of consumers.
    assert objects < 50 and threads == 0 and descriptors == 0, done.stdout
