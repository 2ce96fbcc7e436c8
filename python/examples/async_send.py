"""Sends a thousand messages at once, without waiting for one before the next. Prints:

    1000 stored
"""

import asyncio

import posthouse


async def main() -> None:
    with posthouse.Server.embedded() as server:
        async with server.async_client() as client, client.producer("shop") as producer:
            sends = (producer.send("orders", f"parcel {number}") for number in range(1000))
            results = await asyncio.gather(*sends)
            print(sum(result.status == "ok" for result in results), "stored")


asyncio.run(main())
