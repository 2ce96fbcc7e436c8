"""What the fuzzer's requests say before they are sent: none waits for long, and most name what exists.

A generated topic or group is hardly ever one that exists, and every answer would be a 404. So three of four requests
name `orders` and `billing`, which are made here; the fourth keeps what was generated.
"""

import re
import zlib
from urllib.parse import quote

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

# The longest that a request may ask the server to take, in milliseconds, by parameter.
CAPS = {"wait": 50, "timeout": 50, "max_duration": 1_000}
# Where the parameter is left out, the server's own default would be longer.
SAID = {
    "receiveMessages": "wait",
    "receiveChecks": "wait",
    "requestReply": "timeout",
    "tailTopic": "max_duration",
    "streamGroup": "max_duration",
    "streamChecks": "max_duration",
}
UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Longer targets are not read at all, and the answer has no body: the contract says so in its description.
TARGET_MAX = 32_768

KNOWN = {"topic": "orders", "group": "billing", "broker": "broker-a"}
# What these operations change or delete, the others should not have to live with.
APART = {
    "patchTopic": ("topic", "topics"),
    "deleteTopic": ("topic", "topics"),
    "patchGroup": ("group", "groups"),
    "deleteGroup": ("group", "groups"),
}
# So often the known topic and group are made again, should something have taken them away.
RENEWED_EACH = 200
calls = 0


def milliseconds(text):
    """How long a duration is; None if it is none, which the server must find out."""
    if not isinstance(text, str) or len(text) > 32 or not re.fullmatch(r"([0-9]+(ms|s|m|h|d))+", text, re.ASCII):
        return None
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h|d)", text))


def capped(value, most):
    if isinstance(value, list):
        return [capped(one, most) for one in value]
    length = milliseconds(value)
    return f"{most}ms" if length is not None and length > most else value


def is_positive(case, location):
    return case.meta is None or not case.meta.is_negative_at(location)


def make_known(base):
    requests.put(f"{base}/v1/topics/orders", timeout=10)
    requests.put(f"{base}/v1/groups/billing", timeout=10)
    requests.post(f"{base}/v1/topics/orders/messages", json={"body": "known", "keys": ["o-17"]}, timeout=10)
    subscribed = {"topic": "orders", "tag": "*", "wait": "0s", "max": 1, "lease": "1s"}
    requests.post(f"{base}/v1/groups/billing/messages:receive", params=subscribed, timeout=10)


def name_known(case):
    """Names what exists, three times of four, and the same for the same request."""
    given = case.path_parameters
    if not given or not is_positive(case, ParameterLocation.PATH):
        return
    # There a name comes from an answer before.
    if case.meta is not None and case.meta.phase.name == TestPhase.STATEFUL:
        return
    if zlib.crc32(repr(sorted(given.items())).encode()) % 4 == 3:
        return
    for name, value in KNOWN.items():
        if name in given:
            given[name] = value


def call_nobody(case):
    """A webhook's URL leads to the one host that this server trusts, and that nobody has: nothing is called."""
    body = case.body
    url = body.get("url") if isinstance(body, dict) else None
    if isinstance(url, str) and re.fullmatch(r"https?://[!-~]+", url, re.ASCII | re.IGNORECASE):
        body["url"] = re.sub(r"//[^/?#]*", "//receiver.invalid", url, count=1)


@schemathesis.hook
def before_call(context, case, kwargs):
    global calls
    base = case.operation.base_url
    if calls % RENEWED_EACH == 0:
        make_known(base)
    calls += 1
    identity = case.operation.definition.raw.get("operationId")
    query = case.query
    if isinstance(query, dict):
        for name, most in CAPS.items():
            if name in query:
                query[name] = capped(query[name], most)
        if identity in SAID:
            name = SAID[identity]
            query.setdefault(name, f"{CAPS[name]}ms")
        for name, value in query.items():
            if isinstance(value, list) and sum(len(quote(str(one))) for one in value) > TARGET_MAX:
                query[name] = value[:8]
            elif isinstance(value, str) and len(quote(value)) > TARGET_MAX:
                # As many characters, of one byte each.
                query[name] = "x" * min(len(value), TARGET_MAX)
    name_known(case)
    if identity == "putChecker":
        call_nobody(case)
    if identity in APART and is_positive(case, ParameterLocation.PATH):
        parameter, resource = APART[identity]
        name = f"apart-{parameter}"
        if case.path_parameters.get(parameter) == KNOWN[parameter]:
            case.path_parameters[parameter] = name
            if isinstance(query, dict) and query.get("confirm") in ("orders", "billing"):
                query["confirm"] = name
            requests.put(f"{base}/v1/{resource}/{name}", timeout=10)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # Every request has headers that the contract does not name; that is how HTTP is used.
    return "in header - object with unexpected properties" not in str(failure.message)
