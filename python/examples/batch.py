"""Sends messages of one topic in one request; they lie one behind the other in one queue. Prints:

    3 in a row
"""

import posthouse

with posthouse.Server.embedded() as server, server.client() as client:
    lines = [posthouse.Message("invoice", f"line {number}") for number in range(3)]
    results = client.producer().send_batch(lines)
    first = results[0]
    in_a_row = all(
        result.queue == first.queue and result.queue_offset == first.queue_offset + number
        for number, result in enumerate(results)
    )
    print(len(results), "in a row" if in_a_row else "apart")
