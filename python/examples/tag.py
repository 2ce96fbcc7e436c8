"""A consumer that wants some tags of a topic. Prints:

    eu: 1
    us: 2
"""

import posthouse

with posthouse.Server.embedded() as server, server.client() as client:
    producer = client.producer()
    for tag, body in [("eu", "1"), ("us", "2"), ("asia", "3")]:
        producer.send("orders", body, tag=tag)

    first = posthouse.StartFrom.FIRST
    with client.push_consumer("billing", {"orders": "eu || us"}, start_from=first) as consumer:
        wanted = [message for _, message in zip(range(2), consumer)]
    for message in sorted(wanted, key=lambda message: message.text()):
        print(f"{message.tag}: {message.text()}")
