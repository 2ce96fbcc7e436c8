"""A message that is delivered later, and one that is called back before. Prints:

    nothing yet
    recalled: True
    after half an hour: pay
"""

from datetime import timedelta

import posthouse

with posthouse.Server.embedded(clock="manual") as server, server.client() as client:
    producer = client.producer()
    producer.send("reminders", "pay", deliver_after=timedelta(minutes=30))
    regretted = producer.send("reminders", "hurry up", deliver_after=timedelta(minutes=10))
    consumer = client.simple_consumer("mailer", "reminders")
    print("nothing yet" if not consumer.receive(wait=0) else "too early")

    assert regretted.recall_handle is not None
    print("recalled:", producer.recall(regretted.recall_handle).recalled)

    server.advance(timedelta(minutes=30))
    for message in consumer.receive():
        print("after half an hour:", message.text())
        consumer.ack(message)
