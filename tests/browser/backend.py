#!/usr/bin/env python3
"""What stands behind the proxy in the browser's trial: a page with its parts, a WebSocket that echoes, uploads that are
hashed, streams, and answers that break off. HTTP/1.1 in the clear, by nothing but Python's own library.

  tests/browser/backend.py NAME=PORT...

Each NAME is a server of its own on 127.0.0.1, and says its name at /who; all share what they know.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import struct
import sys
import zlib

BLOCK = bytes(range(256)) * 1024  # what downloads are made of: 256 KiB
IMAGES = 100
TEXT = "A load balancer that nobody notices is a good one.\n" * 4000

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A homelab's page</title>
<link rel="stylesheet" href="/style.css"><script src="/app.js" defer></script></head>
<body><h1>A homelab's page</h1><p>Served by <b>{name}</b>, asked for as <b>{host}</b> over <b>{scheme}</b>.</p>
<p><img src="/image/1.png" alt="a coloured square" width="64" height="64"></p>
<p><label>A file: <input type="file" id="file"></label></p><p id="said">The script has not run.</p></body></html>
"""
GALLERY = "<!doctype html><title>Gallery</title><h1>Gallery</h1>" + "".join(
    f'<img src="/image/{n}.png?together" alt="{n}" width="64" height="64">' for n in range(IMAGES)
)
STYLE = "body { font-family: sans-serif; margin: 3em; background: #eef6f0 } h1 { color: #17603a }"
SCRIPT = "document.getElementById('said').textContent = 'The script has run.';"


class Broken(Exception):
    """The connection is of no more use."""


class Shared:
    """What all servers know together."""

    def __init__(self):
        self.listening = set()  # queues of the event streams that are open
        self.endless = 0  # endless downloads under way
        self.waiting = []  # images that wait until all of them were asked for


def picture(n):
    """A PNG of 8 by 8 dots in the colour of its number."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    dot = bytes((n * 53 % 256, n * 97 % 256, 160))
    rows = b"".join(b"\0" + dot * 8 for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


async def read_body(reader, fields):
    """The body of a request, piece by piece."""
    if fields.get("transfer-encoding", "").lower() == "chunked":
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            if size == 0:
                while (await reader.readline()).strip():
                    pass
                return
            while size:
                piece = await reader.read(min(size, 1 << 20))
                if not piece:
                    raise Broken
                size -= len(piece)
                yield piece
            await reader.readline()
    left = int(fields.get("content-length", 0))
    while left:
        piece = await reader.read(min(left, 1 << 20))
        if not piece:
            raise Broken
        left -= len(piece)
        yield piece


async def answer(writer, body, kind="text/plain; charset=utf-8", status="200 OK"):
    body = body if isinstance(body, bytes) else body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def echo(reader, writer, fields):
    """A WebSocket (RFC 6455) that says what it is told: text, binary, pings, the close."""
    key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    while True:
        first, second = await reader.readexactly(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack(">H", await reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await reader.readexactly(8))
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(size)
        pad = (mask * (size // 4 + 1))[:size]
        data = (int.from_bytes(masked, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
        opcode = first & 15
        if opcode == 9:
            first = (first & 0xF0) | 10
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536 else (
            b"\x7f" + struct.pack(">Q", size))
        writer.write(bytes([first]) + length + data)
        await writer.drain()
        if opcode == 8:
            return


async def download(writer, size):
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        b'Content-Disposition: attachment; filename="large.bin"\r\n' + f"Content-Length: {size}\r\n\r\n".encode()
    )
    for at in range(0, size, len(BLOCK)):
        writer.write(BLOCK[: size - at])
        await writer.drain()


async def endless(writer, shared):
    """Bytes until nobody takes them any more."""
    shared.endless += 1
    try:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(f"{len(BLOCK):x}\r\n".encode() + BLOCK + b"\r\n")
            await writer.drain()
            if writer.transport.is_closing():
                raise Broken
    finally:
        shared.endless -= 1


async def events(reader, writer, shared):
    """Server-sent events: what is told to /say, as soon as it is told."""
    said = asyncio.Queue()
    shared.listening.add(said)
    gone = asyncio.ensure_future(reader.read(1))
    try:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            waiting = asyncio.ensure_future(said.get())
            await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                waiting.cancel()
                raise Broken
            event = f"data: {waiting.result()}\n\n".encode()
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            await writer.drain()
    finally:
        gone.cancel()
        shared.listening.discard(said)


async def image(writer, path, query, shared):
    """A picture; `?together` waits until all of the gallery were asked for."""
    if query == "together":
        come = asyncio.get_running_loop().create_future()
        shared.waiting.append(come)
        if len(shared.waiting) == IMAGES:
            for each in shared.waiting:
                each.set_result(None)
            shared.waiting = []
        # Who is alone is served all the same, so that the page says how many were missing.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(come, 20)
        if come.cancelled():
            shared.waiting = [each for each in shared.waiting if each is not come]
            return await answer(writer, "not all were asked for at once", status="500 Internal Server Error")
    number = int(path.removeprefix("/image/").removesuffix(".png"))
    return await answer(writer, picture(number), "image/png")


async def respond(reader, writer, name, shared, method, target, fields):
    """One request; raises where the connection cannot go on."""
    path, _, query = target.partition("?")
    if path == "/ws":
        await echo(reader, writer, fields)
        raise Broken
    hashed, size = hashlib.sha256(), 0
    if method == "GET" and path == "/events":
        return await events(reader, writer, shared)
    async for piece in read_body(reader, fields):
        hashed.update(piece)
        size += len(piece)
    match path:
        case "/" | "/page":
            page = PAGE.format(name=name, host=fields.get("host"), scheme=fields.get("x-forwarded-proto"))
            return await answer(writer, page, "text/html; charset=utf-8")
        case "/gallery":
            return await answer(writer, GALLERY, "text/html; charset=utf-8")
        case "/style.css":
            return await answer(writer, STYLE, "text/css")
        case "/app.js":
            return await answer(writer, SCRIPT, "text/javascript")
        case "/who":
            return await answer(writer, name)
        case "/upload":
            return await answer(writer, json.dumps({"sha256": hashed.hexdigest(), "bytes": size}), "application/json")
        case "/download":
            return await download(writer, int(query))
        case "/endless":
            return await endless(writer, shared)
        case "/under-way":
            return await answer(writer, json.dumps({"endless": shared.endless, "events": len(shared.listening)}))
        case "/say":
            for each in shared.listening:
                each.put_nowait(query)
            return await answer(writer, str(len(shared.listening)))
        case "/broken":  # promises more than it sends
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n"
            writer.write(head + b"so far, so good")
            await writer.drain()
            raise Broken
        case "/silent":  # hangs up without a word
            raise Broken
        case _ if path.startswith("/image/"):
            return await image(writer, path, query, shared)
        case _ if path.startswith(("/text/", "/private")):
            return await answer(writer, TEXT)
        case _:
            return await answer(writer, "the backend has no such page\n", status="404 Not Found")


async def serve(reader, writer, name, shared):
    """One connection from the proxy, request after request."""
    with contextlib.suppress(Broken, ConnectionError, asyncio.IncompleteReadError):
        while line := (await reader.readline()).decode("latin-1").strip():
            method, target, _ = line.split(" ")
            fields = {}
            while field := (await reader.readline()).decode("latin-1").strip():
                key, _, value = field.partition(":")
                fields[key.lower()] = value.strip()
            await respond(reader, writer, name, shared, method, target, fields)
    writer.close()


async def main():
    shared = Shared()
    for name, port in (each.split("=") for each in sys.argv[1:]):
        async def connected(reader, writer, name=name):
            await serve(reader, writer, name, shared)
        await asyncio.start_server(connected, "127.0.0.1", int(port), limit=1 << 20, backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
