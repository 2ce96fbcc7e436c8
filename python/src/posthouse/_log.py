"""What the native half says of itself, handed to ``logging``: loggers ``posthouse.client``, ``posthouse.server`` and so on."""

from __future__ import annotations

import logging
import os
import threading

from . import _native

_LOGGERS = {area: logging.getLogger(f"posthouse.{area}") for area in _native.LOG_AREAS}
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
_wanted: list[int] = []
# One thread at a time, so that lines keep their order; nobody waits for it: a handler of a logger may come by here.
_busy = threading.Lock()


def look() -> bool:
    """Hands the lines that there are to their loggers, and says what these want from now on. False: another thread is at it."""
    global _wanted
    if not _busy.acquire(blocking=False):
        return False
    try:
        wanted = [
            next((level for level in _LEVELS if logger.isEnabledFor(level)), logging.CRITICAL)
            for logger in _LOGGERS.values()
        ]
        if wanted != _wanted:
            _native.log_wanted(wanted)
            _wanted = wanted
        lines, lost = _native.log_lines()
        for area, level, when, text, file, number in lines:
            logger = _LOGGERS[area]
            if not logger.isEnabledFor(level):
                continue
            record = logger.makeRecord(logger.name, level, file, number, text, (), None)
            # It was said before it was taken.
            record.relativeCreated += (when - record.created) * 1000
            record.created, record.msecs = when, float(int(when % 1 * 1000))
            logger.handle(record)
        if lost:
            _LOGGERS["client"].warning("%d log lines were lost: too many came at once", lost)
    finally:
        _busy.release()
    return True


def _forked() -> None:
    global _busy
    _busy = threading.Lock()


os.register_at_fork(after_in_child=_forked)
