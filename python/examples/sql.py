"""A consumer that filters by an expression over properties. Prints:

    50 from eu
"""

import posthouse

with posthouse.Server.embedded() as server, server.client() as client:
    producer = client.producer()
    for region, price in [("eu", 5), ("eu", 50), ("us", 500)]:
        producer.send("orders", str(price), properties={"region": region, "price": str(price)})

    dear = posthouse.Sql("price > 10 AND region = 'eu'")
    consumer = client.simple_consumer("audit", {"orders": dear})
    for message in consumer.receive():
        print(message.text(), "from", message.properties["region"])
        consumer.ack(message)
