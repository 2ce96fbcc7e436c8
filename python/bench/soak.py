"""Forks, signals and ends of processes at any moment: no hang, no crash, no message lost that was confirmed.

    python bench/soak.py [--rounds 100] [--seed N]

Each round forks a process that is sending and consuming, interrupts one, and lets one end, each at a moment of chance.
The tests run a few rounds.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import posthouse
from posthouse import ForkedError, Message, StartFrom

LIMIT = 60.0

# What an interrupted process was doing. It prints a line when it begins, and one for each message that was confirmed.
DOING = {
    "sends": "while True: print(producer.send('t', name()).status and last, flush=True)",
    "receives": "consumer = client.simple_consumer('g', 't')\n    while True: consumer.ack(consumer.receive(wait=60))",
    "polls": "consumer = client.pull_consumer('g'); consumer.subscribe('t')\n    while True: consumer.poll(60)",
    "iterates": "for message in client.push_consumer('g', 't'): pass",
    "handles": "client.push_consumer('g', 't', lambda message: time.sleep(0.001)).run()",
    "awaits": "asyncio.run(main())",
}
PROGRAM = """
import asyncio, itertools, os, time, posthouse
numbers = itertools.count()
def name():
    global last
    last = f'{{os.getpid()}}-{{next(numbers)}}'
    return last
async def main():
    async with posthouse.AsyncClient({address!r}) as client:
        producer = client.producer()
        while True:
            bodies = [name() for _ in range(16)]
            await asyncio.gather(*(producer.send('t', body) for body in bodies))
            print(*bodies, sep='\\n', flush=True)
client = posthouse.Client({address!r})
producer = client.producer()
producer.send('t', 'warm')
try:
    print('ready', flush=True)
    {doing}
except KeyboardInterrupt:
    {end}
"""
# How a process ends: by itself, as it is interrupted, or by a signal that nobody handles.
ENDS = {
    "closes": ("client.close()", 0),
    "leaves all open": ("pass", 0),
    "exits": ("raise SystemExit(3)", 3),
    "exits at once": ("os._exit(4)", 4),
    "raises": ("raise", -signal.SIGINT),
}


class Soak:
    """A server, and what was confirmed of its topic."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.server = posthouse.Server.embedded(listen="127.0.0.1:0", topics=["t"])
        self.client = posthouse.Client(self.server.namesrv_addr)
        self.producer = self.client.producer()
        self.confirmed: set[str] = set()
        self.lock = threading.Lock()
        self.came: set[str] = set()
        self.consumer = self.client.push_consumer("all", "t", self.handle, start_from=StartFrom.FIRST)
        self.consumer.start()

    def handle(self, message: posthouse.ReceivedMessage) -> None:
        with self.lock:
            self.came.add(message.text())

    def send(self, body: str) -> None:
        assert self.producer.send("t", body).status == "ok"
        self.confirmed.add(body)

    def forks(self, number: int) -> None:
        """A child of a process that is sending and consuming is told at once, works by itself, and ends."""
        stop = threading.Event()

        def send_on() -> None:
            n = 0
            while not stop.is_set():
                self.send(f"parent-{number}-{n}")
                n += 1

        sender = threading.Thread(target=send_on)
        sender.start()
        time.sleep(self.chance.random() * 0.02)
        ends = self.chance.choice(["at once", "as scripts do"])
        child = os.fork()
        if child == 0:
            signal.alarm(int(LIMIT))
            begun = time.monotonic()
            told = 0
            calls: list[Callable[[], object]] = [
                lambda: self.producer.send("t", "child"),
                lambda: self.producer.submit(Message("t", b"child")),
                lambda: self.client.simple_consumer("g", "t").receive(),
                self.consumer.assignment,
                self.server.client,
            ]
            for call in calls:
                try:
                    call()
                except ForkedError:
                    told += 1
            in_time = time.monotonic() - begun < 10
            own = posthouse.Client(self.server.namesrv_addr)
            sent = own.producer().send("t", f"child-{number}").status == "ok"
            code = 7 if (told, in_time, sent) == (len(calls), True, True) else 8
            if ends == "at once":
                os._exit(code)
            sys.exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        stop.set()
        sender.join(LIMIT)
        assert code == 7, f"the child ended with {code}"
        self.confirmed.add(f"child-{number}")

    def ends(self) -> None:
        """A process that is interrupted at any moment ends, as it was written to, and quietly."""
        doing, (name, (end, code)) = self.chance.choice(list(DOING)), self.chance.choice(list(ENDS.items()))
        program = PROGRAM.format(address=self.server.namesrv_addr, doing=DOING[doing], end=end)
        interrupt = self.chance.choice([signal.SIGINT, signal.SIGINT, signal.SIGTERM])
        child = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "ignore", "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        what = f"{doing}, {name}, {signal.Signals(interrupt).name}"
        try:
            assert child.stdout.readline() == "ready\n", what
            time.sleep(self.chance.random() * 0.2)
            child.send_signal(interrupt)
            out, err = child.communicate(timeout=LIMIT)
        finally:
            child.kill()
        expected = code if interrupt == signal.SIGINT else -signal.SIGTERM
        assert child.returncode == expected, f"{what}: {child.returncode}\n{err}"
        assert "panicked" not in err and "Fatal Python error" not in err, f"{what}: {err}"
        # The last line may be half a line.
        self.confirmed.update(out.split("\n")[:-1])

    def look(self) -> None:
        """All that was confirmed comes."""
        deadline = time.monotonic() + LIMIT
        while missing := self.confirmed - self.came:
            assert time.monotonic() < deadline, f"{len(missing)} lost: {sorted(missing)[:5]}"
            time.sleep(0.01)

    def close(self) -> None:
        self.client.close()
        self.server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    soak = Soak(given.seed)
    for number in range(given.rounds):
        soak.forks(number)
        soak.ends()
        soak.look()
    soak.close()
    print(f"{given.rounds} rounds, {len(soak.confirmed)} confirmed, none lost")


if __name__ == "__main__":
    main()
