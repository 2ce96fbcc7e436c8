"""Sends without asking what became of it: for measurements that may get lost. Prints:

    temperature 21.5
"""

import posthouse

with posthouse.Server.embedded() as server, server.client() as client:
    client.producer().send_oneway(posthouse.Message("readings", b"21.5", tag="temperature"))
    [message] = client.simple_consumer("dashboard", "readings").receive()
    print(message.tag, message.text())
