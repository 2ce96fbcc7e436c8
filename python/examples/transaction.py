"""A message and a database change that happen both or not at all. Prints:

    order 1 is paid
    rolled back: the database says no
    asked about order 3
    order 3 is paid
"""

from datetime import timedelta

import posthouse


def was_it_paid(message: posthouse.ReceivedMessage) -> posthouse.TxState:
    """The broker asks this about a message of which it heard nothing more."""
    print("asked about", message.text().removesuffix(" is paid"))
    return posthouse.TxState.COMMIT


with posthouse.Server.embedded(clock="manual") as server, server.client() as client:
    producer = client.transaction_producer("shop", was_it_paid)
    consumer = client.simple_consumer("shipping", "orders")

    with producer.begin(posthouse.Message("orders", "order 1 is paid")):
        pass  # the change to the database goes here; leaving the block commits
    for message in consumer.receive():
        print(message.text())
        consumer.ack(message)

    try:
        with producer.begin(posthouse.Message("orders", "order 2 is paid")):
            raise RuntimeError("the database says no")
    except RuntimeError as error:
        print("rolled back:", error)

    with producer.begin(posthouse.Message("orders", "order 3 is paid")) as transaction:
        transaction.unknown()  # as if this process had died here
    server.advance(timedelta(seconds=10))
    for message in consumer.receive():
        print(message.text())
        consumer.ack(message)
