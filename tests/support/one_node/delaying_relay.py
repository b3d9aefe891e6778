"""A relay that passes every byte on a given time later, whatever it is: a network that is far.

python -m tests.support.one_node.delaying_relay PORT TO_ADDRESS TO_PORT SECONDS
"""

from __future__ import annotations

import asyncio
import sys

CHUNK = 1 << 20


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Reads go on meanwhile: it is a delay, and no limit of what passes in a second."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def write() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    writing = asyncio.ensure_future(write())
    data = b"begin"
    while data:
        try:
            data = await reader.read(CHUNK)
        except ConnectionError:
            data = b""
        under_way.put_nowait((asyncio.get_running_loop().time() + seconds, data))
    await asyncio.gather(writing, return_exceptions=True)


async def main(port: int, to_address: str, to_port: int, seconds: float) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(to_address, to_port)
        await asyncio.gather(pump(reader, to_writer, seconds), pump(to_reader, writer, seconds))

    server = await asyncio.start_server(relay, "0.0.0.0", port)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
