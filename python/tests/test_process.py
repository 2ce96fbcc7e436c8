"""Signals, forks and ends of processes: no hang, no crash, nothing lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

import posthouse

from conftest import ROOT, run_python

WAITS = {
    "receive": "client.simple_consumer('g', 't').receive(wait=60)",
    "poll": "c = client.pull_consumer('g'); c.subscribe('t'); c.poll(60)",
    "iterate": "next(iter(client.push_consumer('g', 't')))",
    "run": "client.push_consumer('g', 't', print).run()",
    "close, for results": """s = socket.create_server(('127.0.0.1', 0))
    p = posthouse.Client(f'127.0.0.1:{s.getsockname()[1]}', request_timeout=60).producer(send_timeout=60)
    p.submit(posthouse.Message('t', b'x'))
    p.close(60)""",
    "close, for another thread's send": """s = socket.create_server(('127.0.0.1', 0))
    p = posthouse.Client(f'127.0.0.1:{s.getsockname()[1]}', request_timeout=60).producer(send_timeout=60)
    threading.Thread(target=p.send, args=('t', b'x'), daemon=True).start()
    try:
        while True:
            p.flush(0)
    except TimeoutError:
        pass
    p.close(60)""",
    "send": "silent().producer(send_timeout=60).send('t', 'x')",
    "request": "client.producer().request(posthouse.Message('t', 'x'), timeout=60)",
    "await send": "asyncio.run(awaiting(silent(posthouse.AsyncClient).producer(send_timeout=60).send('t', 'x')))",
    "async for": "asyncio.run(awaiting(anext(aiter(server.async_client().push_consumer('g', 't')))))",
    "await poll": "asyncio.run(polling(server.async_client().pull_consumer('g')))",
    "await run": "asyncio.run(awaiting(server.async_client().push_consumer('g', 't', print).run()))",
    "flush": "client.producer().flush(); next(iter(client.push_consumer('g', 't')))",
}


@pytest.mark.parametrize("name", WAITS)
def test_ctrl_c_ends_a_wait(name: str) -> None:
    code = f"""
import asyncio, posthouse, socket, threading, time
server = posthouse.Server.embedded(topics=['t'])
client = server.client()
def silent(kind=posthouse.Client):
    global listening
    listening = socket.create_server(('127.0.0.1', 0))
    return kind(f'127.0.0.1:{{listening.getsockname()[1]}}', request_timeout=60)
async def awaiting(what):
    print('ready', flush=True)
    await what
async def polling(consumer):
    await consumer.subscribe('t')
    await awaiting(consumer.poll(60))
if {"asyncio" not in WAITS[name]}:
    print('ready', flush=True)
try:
    {WAITS[name]}
except KeyboardInterrupt:
    print('interrupted', time.monotonic(), flush=True)
"""
    # 250 ms are promised. A loaded machine takes more now and then, but not each time; a wait that ignores the signal
    # takes a minute.
    for _ in range(10):
        took = interrupted(code)
        assert took < 5
        if took < 0.25:
            return
    raise AssertionError(f"{took} s")


def interrupted(code: str) -> float:
    """How long a program's wait goes on after Ctrl-C."""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    # The wait begins right behind that line.
    deadline = time.monotonic() + 30
    while state_of(child.pid) != "S" and time.monotonic() < deadline:
        os.sched_yield()
    before = time.monotonic()
    child.send_signal(signal.SIGINT)
    told = child.stdout.readline()
    assert told.startswith("interrupted")
    assert child.wait(30) == 0
    return float(told.split()[1]) - before


@pytest.mark.parametrize("how", ["for", "async for"])
def test_the_message_in_whose_middle_ctrl_c_comes_is_delivered_again(how: str) -> None:
    with posthouse.Server.embedded(clock="manual", listen="127.0.0.1:0") as server, server.client() as client:
        client.producer().send("t", "x")
        loop = {
            "for": """
    with posthouse.Client(address) as client, client.push_consumer('g', 't', start_from=first) as consumer:
        for message in consumer:
            print(message.attempt, flush=True)
            time.sleep(60)
""",
            "async for": """
    async def main():
        async with posthouse.AsyncClient(address) as client, client.push_consumer('g', 't', start_from=first) as consumer:
            async for message in consumer:
                print(message.attempt, flush=True)
                await asyncio.sleep(60)
    asyncio.run(main())
""",
        }[how]
        code = f"""
import asyncio, posthouse, time
address, first = {server.namesrv_addr!r}, posthouse.StartFrom.FIRST
try:{loop}except KeyboardInterrupt:
    print('interrupted')
"""
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "1\n"
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=60)[0] == "interrupted\n"
        # It was given back: it waits its first interval.
        assert server.advance(10) == 1
        with client.push_consumer("g", "t", start_from=posthouse.StartFrom.FIRST) as consumer:
            message = next(iter(consumer))
            assert (message.text(), message.attempt) == ("x", 2)


def state_of(pid: int) -> str:
    """What the system says of a process's main thread: ``S`` while it waits."""
    return Path(f"/proc/{pid}/task/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_forked_child_is_told_at_once_and_the_parent_goes_on(server: posthouse.Server) -> None:
    with server.client() as client:
        producer = client.producer()
        producer.send("t", "before")
        consumer = client.push_consumer("g", "t", start_from=posthouse.StartFrom.FIRST)
        iterator = iter(consumer)
        next(iterator)
        child = os.fork()
        if child == 0:
            told = 0
            calls: list[Callable[[], object]] = [
                lambda: producer.send("t", "child"),
                lambda: client.simple_consumer("g", "t").receive(),
                consumer.assignment,
                client.admin().topics,
            ]
            for call in calls:
                try:
                    call()
                except posthouse.ForkedError:
                    told += 1
            client.close()
            consumer.close()
            # And its own client works.
            with posthouse.Client("embedded:") as own:
                told += own.producer().send("t", "own").status == "ok"
            os._exit(told)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        producer.send("t", "after")
        assert next(iterator).text() == "after"
        consumer.close()


def test_a_child_neither_frees_nor_keeps_its_parents_folder(tmp_path: Path) -> None:
    server = posthouse.Server.embedded(tmp_path)
    begin, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        del server
        os.read(begin, 1)
        os._exit(0)
    # While the parent has it, nobody else gets it, whatever its child dropped.
    taken = run_python(f"import posthouse; posthouse.Server.embedded({str(tmp_path)!r})")
    assert "ConfigError" in taken.stderr and f"process {os.getpid()}" in taken.stderr
    server.close()
    free = run_python(f"import posthouse; posthouse.Server.embedded({str(tmp_path)!r}).close()")
    assert free.returncode == 0, free.stderr
    os.close(end)
    os.waitpid(child, 0)
    os.close(begin)


@pytest.mark.parametrize("folder", [False, True], ids=["in memory", "in a folder"])
def test_a_child_is_told_that_a_server_is_its_parents(folder: bool, tmp_path: Path) -> None:
    with posthouse.Server.embedded(tmp_path if folder else None, clock="manual") as server:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            told = 0
            calls: list[Callable[[], object]] = [server.client, server.async_client, server.reset, lambda: server.advance(1)]
            for call in calls:
                try:
                    call()
                except posthouse.ForkedError:
                    told += 1
            server.close()
            if folder:
                try:
                    posthouse.Client(server.url)
                except posthouse.ConfigError as error:
                    told += f"process {os.getppid()}" in str(error)
            os._exit(told)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4 + folder
        with server.client() as client:
            assert client.producer().send("t", "after").status == "ok"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import multiprocessing, posthouse
def work(_):
    with posthouse.Client('embedded:') as client:
        return client.producer().send('t', 'x').status
if __name__ == '__main__':
    with posthouse.Client('embedded:') as client:
        client.producer().send('t', 'x')
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            print(pool.map(work, range(4)))
"""
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == str(["ok"] * 4), done.stderr


ENDS = {
    "a live push consumer": "next(iter(client.push_consumer('g', 't', start_from=first)))",
    "handlers": "client.push_consumer('g', 't', lambda m: None, start_from=first).start()",
    "sends on their way": "p = client.producer(); [p.submit(posthouse.Message('t', b'x')) for _ in range(2000)]",
    "a daemon thread that waits": """
import threading
def wait():
    try:
        client.simple_consumer('g', 'nothing').receive()
    except posthouse.ClosedError:
        pass
threading.Thread(target=wait, daemon=True).start()
""",
    "an exception": "raise SystemExit(0)",
    "nothing closed": "import gc; gc.collect()",
}


@pytest.mark.parametrize("name", ENDS)
def test_a_process_ends_with(name: str) -> None:
    code = f"""
import posthouse
first = posthouse.StartFrom.FIRST
server = posthouse.Server.embedded(topics=['t', 'nothing'])
client = server.client()
client.producer().send('t', b'x')
{ENDS[name]}
"""
    for _ in range(3):
        done = run_python(code)
        assert done.returncode == 0, done.stderr
        assert "panicked" not in done.stderr
        assert "Error" not in done.stderr, done.stderr


def test_nothing_is_lost_by_forks_signals_and_ends_at_any_moment() -> None:
    # `cargo xtask soak` has the long form.
    command = [sys.executable, "-X", "dev", ROOT / "bench" / "soak.py", "--rounds", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0 and "none lost" in done.stdout, done.stdout + done.stderr


def test_the_module_starts_a_server_and_prints_its_address() -> None:
    command = [sys.executable, "-m", "posthouse", "--listen", "127.0.0.1:0", "--topic", "t"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    line = child.stdout.readline()
    found = re.search(r"name server (\S+),", line)
    assert found, line
    address = found[1]
    assert urllib.parse.urlsplit(f"//{address}").port
    with posthouse.Client(address) as client:
        assert client.producer().send("t", "x").status == "ok"
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
