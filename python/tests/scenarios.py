"""What both runners of ``bindings/scenarios.json`` have in common: the table, and what is told of what was seen."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from posthouse import Message, ReceivedMessage, Sql

from conftest import ROOT

TABLE: list[dict[str, Any]] = json.loads((ROOT.parent / "bindings" / "scenarios.json").read_text())["scenarios"]
LIMIT = 60

# A server that somebody else started, to play against that one alone; and its release, if it is Apache's.
THERE = os.environ.get("POSTHOUSE_SCENARIOS_AT")
APACHE = os.environ.get("POSTHOUSE_SCENARIOS_APACHE")


class Refused(Exception):
    """A step that the broker refused, with its code."""


def expected(scenario: dict[str, Any]) -> dict[str, Any]:
    """What must be seen, the deviations of Apache's release put over it."""
    deviation = scenario.get("expectApache", {}).get(APACHE, {"expect": {}})
    return {**scenario["expect"], **deviation["expect"]}


def differences(scenario: dict[str, Any], saw: dict[str, Any]) -> list[str]:
    """What was not seen as it must be."""
    wrong = []
    for step, fields in expected(scenario).items():
        if fields is None:
            if step in saw:
                wrong.append(f"{step} was not to be reached, but saw {saw[step]}")
            continue
        for field, value in fields.items():
            found = saw.get(step, {}).get(field)
            if field not in saw.get(step, {}) or found != value:
                wrong.append(f"{step}.{field}: expected {value!r}, saw {found!r}")
    return wrong


def message_of(topic: str, asked: dict[str, Any]) -> Message:
    """A message as the table says it."""
    delay = asked.get("delayMs")
    return Message(
        topic,
        asked["body"] * asked.get("repeat", 1),
        tag=asked.get("tag"),
        keys=asked.get("keys", ()),
        properties=asked.get("properties"),
        sharding_key=asked.get("shardingKey"),
        delay_level=asked.get("delayLevel"),
        deliver_after=None if delay is None else delay / 1000,
    )


def filter_of(asked: dict[str, str] | None) -> str | Sql:
    if asked is None:
        return "*"
    return Sql(asked["sql"]) if "sql" in asked else asked["tags"]


def seen_bodies(bodies: Iterable[str]) -> dict[str, Any]:
    return {"bodies": list(bodies)}


def seen(messages: list[ReceivedMessage], attempts: dict[str, int]) -> dict[str, Any]:
    by_key: dict[str, list[str]] = {}
    for message in messages:
        by_key.setdefault(message.sharding_key or "", []).append(message.text())
    return {
        "bodies": sorted(message.text() for message in messages),
        "inOrder": [message.text() for message in messages],
        "byShardingKey": by_key,
        "attempts": attempts,
        "tags": [message.tag for message in messages],
        "keys": [list(message.keys) for message in messages],
        "properties": [message.properties for message in messages],
        "lengths": [len(message.body) for message in messages],
    }
