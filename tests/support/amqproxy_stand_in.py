#!/usr/bin/env python3
"""Forward TCP connections, with the arguments of amqproxy: for where that is not at hand."""

import argparse
import asyncio
from urllib.parse import urlsplit


async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main(options):
    upstream = urlsplit(options.upstream)

    async def serve(reader, writer):
        to_broker = await asyncio.open_connection(upstream.hostname, upstream.port)
        await asyncio.gather(pump(reader, to_broker[1]), pump(to_broker[0], writer))

    server = await asyncio.start_server(serve, options.listen, options.port)
    await server.serve_forever()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--listen")
parser.add_argument("--port", type=int)
parser.add_argument("--version", action="version", version="0.0.0")
parser.add_argument("upstream")
asyncio.run(main(parser.parse_args()))
