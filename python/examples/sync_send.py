"""Sends messages and waits for each answer. Prints:

    orders ok
    3 parcels
"""

import posthouse

with posthouse.Server.embedded() as server, server.client() as client:
    producer = client.producer("shop")
    for number in range(3):
        result = producer.send("orders", f"parcel {number}", tag="eu", keys=f"order-{number}")
    print(result.queue.topic, result.status)

    consumer = client.simple_consumer("billing", "orders")
    received: list[posthouse.ReceivedMessage] = []
    while len(received) < 3:
        messages = consumer.receive()
        consumer.ack(messages)
        received += messages
    print(len(received), "parcels")
