"""A request that waits for the reply of whoever consumes it. Prints:

    pong
"""

import posthouse


def answer(message: posthouse.ReceivedMessage) -> posthouse.Reply:
    return posthouse.Reply(b"pong")


with posthouse.Server.embedded(topics=["pings"]) as server, server.client() as client, server.client() as asker:
    with client.push_consumer("answerers", "pings", answer, start_from=posthouse.StartFrom.FIRST):
        print(asker.producer().request(posthouse.Message("pings", b"ping"), timeout=10).text())
