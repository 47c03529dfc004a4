"""A slow link, as a process: `relay.py DELAY_MS FROM=TO ...`, each HOST:PORT.

What comes in at FROM goes to TO, and back, so many milliseconds later each way and in order.
"""

from __future__ import annotations

import asyncio
import signal
import sys

BYTES_MAX = 1 << 16
UNDER_WAY_MAX = 256
"""Pieces under way in one direction; the sender waits for room."""


class Relay:
    """Delays connections to one target. One event loop."""

    def __init__(self, target: str, delay_s: float) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._delay_s = delay_s

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either end closes."""
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        carried = [
            asyncio.create_task(self._carry(reader, far_writer)),
            asyncio.create_task(self._carry(far_reader, writer)),
        ]
        await asyncio.wait(carried, return_when=asyncio.FIRST_COMPLETED)
        for task in carried:
            task.cancel()
        for each in (writer, far_writer):
            each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY_MAX)

        async def deliver() -> None:
            while True:
                due_s, data = await under_way.get()
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                if not data:
                    return
                writer.write(data)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        try:
            data = b"?"
            while data:
                data = await reader.read(BYTES_MAX)
                await under_way.put((loop.time() + self._delay_s, data))
            await delivery
        except OSError:
            return
        finally:
            delivery.cancel()


async def serve(delay_s: float, links: list[str]) -> None:
    """Relay until SIGTERM."""
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    servers = []
    for link in links:
        here, _, target = link.partition("=")
        host, _, port = here.rpartition(":")
        relay = Relay(target, delay_s)
        servers.append(await asyncio.start_server(relay.accept, host, int(port)))
    sys.stdout.write("relaying\n")
    sys.stdout.flush()
    await ending.wait()
    for server in servers:
        server.close()


def main() -> None:
    delay_ms, *links = sys.argv[1:]
    asyncio.run(serve(float(delay_ms) / 1000.0, links))


if __name__ == "__main__":
    main()
