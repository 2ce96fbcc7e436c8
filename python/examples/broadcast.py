"""Every member of a group gets every message. Prints:

    one: new prices
    two: new prices
"""

import posthouse

with posthouse.Server.embedded(topics=["news"]) as server:
    with server.client() as one, server.client() as two, server.client() as sender:
        first = posthouse.StartFrom.FIRST
        readers = {
            name: client.push_consumer("caches", "news", broadcast=True, start_from=first)
            for name, client in [("one", one), ("two", two)]
        }
        sender.producer().send("news", "new prices")
        for name, reader in readers.items():
            print(f"{name}: {next(iter(reader)).text()}")
