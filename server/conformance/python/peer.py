"""The Python half of tests whose other half is a client in another language; `node/peer.mjs` is the same in Node.

`peer.py send|read ADDRESS TOPIC GROUP [COUNT]`, one line of JSON an event, named as `java/common/Mixed.java` names them.
With `PEER_SECURE=user:secret` over TLS, of anybody's certificate, and signed.
"""

import base64
import json
import os
import sys

import posthouse
from posthouse import Credentials, Message, StartFrom, Tls

WAIT = 60


def say(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def client(address: str) -> posthouse.Client:
    secure = os.environ.get("PEER_SECURE")
    if secure is None:
        return posthouse.Client(address)
    user, secret = secure.split(":")
    return posthouse.Client(address, credentials=Credentials(user, secret), tls=Tls(verify=False))


def send(client: posthouse.Client, topic: str) -> None:
    producer = client.producer("python-sends", send_timeout=WAIT)
    full = Message(
        topic,
        "Grüße, 世界 🚀",
        tag="TagA",
        keys=["k-1", "k-2"],
        properties={"region": "hz", "Stadt": "Köln ☕"},
    )
    say("sent", what="full", id=producer.send(full).message_id)
    say("sent", what="bytes", id=producer.send(topic, bytes(range(256)), tag="bytes").message_id)
    for n in range(6):
        producer.send(topic, f"step {n}", tag="step", sharding_key=f"customer-{n % 2}")
    delayed = producer.send(Message(topic, "a second late", tag="delayed", delay_level=1))
    say("sent", what="delayed", id=delayed.message_id)


def read(client: posthouse.Client, topic: str, group: str, count: int) -> None:
    with client.push_consumer(group, topic, start_from=StartFrom.FIRST) as consumer:
        for message in consumer:
            own = {f"p.{name}": value for name, value in message.properties.items()}
            say(
                "got",
                id=message.message_id,
                tag=message.tag,
                keys=list(message.keys),
                key=message.sharding_key,
                bytes=base64.b64encode(message.body).decode(),
                queue=message.queue.queue_id,
                offset=message.queue_offset,
                times=message.attempt - 1,
                late=(message.stored_at - message.born_at).total_seconds(),
                **own,
            )
            count -= 1
            if count == 0:
                return


what, address, topic, group, *more = sys.argv[1:]
with client(address) as peer:
    send(peer, topic) if what == "send" else read(peer, topic, group, int(more[0]))
