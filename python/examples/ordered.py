"""Messages with the same sharding key go to one queue, and an orderly consumer handles them in order. Prints:

    created
    paid
    shipped
"""

import posthouse

STEPS = ["created", "paid", "shipped"]

with posthouse.Server.embedded() as server, server.client() as client:
    producer = client.producer()
    for step in STEPS:
        producer.send("orders", step, sharding_key="order-17")

    first = posthouse.StartFrom.FIRST
    with client.push_consumer("warehouse", "orders", orderly=True, start_from=first) as consumer:
        for _, message in zip(STEPS, consumer):
            print(message.text())
