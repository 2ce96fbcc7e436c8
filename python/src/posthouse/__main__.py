"""``python -m posthouse``: a broker in this process, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import threading
from types import FrameType

from . import Server, __version__
from ._errors import PosthouseError


def main() -> int:
    """Starts a server, prints its address, and waits for Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m posthouse", description="A RocketMQ broker in this process.")
    parser.add_argument("path", nargs="?", help="the data folder; without one everything is in memory")
    parser.add_argument("--listen", default="127.0.0.1:9876", help="where the name server listens (%(default)s)")
    parser.add_argument("--topic", action="append", default=[], help="a topic to create; may be repeated")
    parser.add_argument("--version", action="version", version=f"posthouse {__version__}")
    arguments = parser.parse_args()
    try:
        server = Server.embedded(arguments.path, listen=arguments.listen, topics=arguments.topic)
    except PosthouseError as error:
        parser.exit(1, f"posthouse: {error}\n")
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    with server:
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        kept = arguments.path or "memory"
        print(f"posthouse {__version__}: name server {server.namesrv_addr}, messages in {kept}", flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
