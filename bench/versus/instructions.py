#!/usr/bin/env python3
"""Instructions, allocations and task switches of one request through sluice, counted by callgrind.

One client asks again and again, on one connection or on a fresh one for each
request, one request under way at a time, and a backend written here answers on
connections that it keeps. Two
counts are taken after a warm-up, of N and of 3 N requests; half their
difference over N is one request, and what comes with time alone falls out.
Nothing is probed or scraped meanwhile.

Counts do not depend on what else the machine does: two runs differ by less
than one in a hundred. They leave out the kernel, where more than half of a
small request's time goes; see syscalls.py for how often that is entered.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HOST = "127.0.0.1"
#: As wrk asks.
REQUEST = b"GET /small HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: versus/1\r\nAccept: */*\r\n\r\n"
#: The same on a connection that is to end with it.
LAST = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
#: What is counted by calls: the name shown, and which functions.
CALLS = {
    "allocations": r"^mi_(malloc|zalloc|malloc_aligned|zalloc_aligned|heap_malloc_aligned_at)$|^(malloc|calloc)$",
    "reallocations": r"^mi_realloc(_aligned)?$|^realloc$",
    "polls of tasks": r"^tokio::runtime::task::raw::poll$|tokio::runtime::task::raw::poll::<",
    "clock reads": r"^(clock_gettime|__vdso_clock_gettime)(@@.*)?$",
    "bytes copied (calls)": r"^(__)?mem(cpy|move)",
}

Profile = tuple[collections.Counter[str], collections.Counter[str], collections.Counter[str]]


def answer_of(size: int) -> bytes:
    """As nginx answers for a file of so many bytes."""
    return (
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\nConnection: keep-alive\r\n\r\n"
    ).encode() + b"x" * size


def serve_backend(size: int) -> int:
    """Answer every request on every connection; the port."""
    whole = answer_of(size)
    listening = socket.create_server((HOST, 0))

    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            held = b""
            while piece := connection.recv(65536):
                held += piece
                while b"\r\n\r\n" in held:
                    _, held = held.split(b"\r\n\r\n", 1)
                    connection.sendall(whole)

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listening.getsockname()[1]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server((HOST, 0)) as held:
        return held.getsockname()[1]


def config(root: Path, port: int, admin: int, backend: int, tls: bool) -> Path:
    """sluice's file for one listener and one backend that is not probed."""
    listener = "protocol: http"
    if tls:
        key, cert = root / "key.pem", root / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            check=True, capture_output=True,
        )  # fmt: skip
        listener = f"protocol: https\n    certificates: [{{cert: {cert}, key: {key}}}]"
    path = root / "sluice.yaml"
    path.write_text(f"""process: {{admin: "{HOST}:{admin}", workers: 1}}
listeners:
  web:
    bind: "{HOST}:{port}"
    {listener}
    routes: [{{pool: site}}]
pools:
  site: {{backends: ["{HOST}:{backend}"], probe: none}}
""")
    return path


def connect(port: int, tls: bool, patience: float = 60) -> socket.socket:
    """A connection to the proxy, as soon as it listens."""
    deadline = time.monotonic() + patience
    while True:
        try:
            plain = socket.create_connection((HOST, port), timeout=60)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return plain
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return trust.wrap_socket(plain, server_hostname="localhost")


def ask(connection: socket.socket, request: bytes, size: int) -> None:
    """One request, and all of its answer."""
    connection.sendall(request)
    held = b""
    while len(held.partition(b"\r\n\r\n")[2]) < size:
        piece = connection.recv(65536)
        if not piece:
            raise RuntimeError(f"the proxy hung up after {held[:200]!r}")
        held += piece
    if not held.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not served: {held[:200]!r}")


def load(args: argparse.Namespace, port: int, kept: socket.socket, count: int) -> None:
    """So many requests, one after another."""
    for _ in range(count):
        if not args.close:
            ask(kept, REQUEST, args.body)
            continue
        with connect(port, args.tls) as connection:
            ask(connection, LAST, args.body)
            if connection.recv(1):
                raise RuntimeError("the answer is too long")


def profile_of(path: Path) -> Profile:
    """Self cost, inclusive cost and calls of each function in a file of callgrind."""
    names: dict[str, str] = {}
    own: collections.Counter[str] = collections.Counter()
    inclusive: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    here = callee = ""
    is_call = False

    def named(text: str) -> str:
        match = re.match(r"(\(\d+\))(?: (.*))?$", text)
        if not match:
            return text
        if match[2] is not None:
            names[match[1]] = match[2]
        return names[match[1]]

    with open(path, errors="replace") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith("fn="):
                here = named(line[3:])
            elif line.startswith("cfn="):
                callee = named(line[4:])
            elif line.startswith("calls="):
                calls[callee] += int(line[6:].split()[0])
                is_call = True
            elif line[:1] in "0123456789+-*" and line:
                parts = line.split()
                cost = int(parts[1]) if len(parts) > 1 else 0
                if is_call:
                    is_call = False
                    # What calls itself would be counted twice.
                    if plain(callee) != plain(here):
                        inclusive[plain(callee)] += cost
                else:
                    own[plain(here)] += cost
    return own, inclusive, calls


def plain(name: str) -> str:
    """A function's name without the mark of a recursion and the hash."""
    return re.sub(r"'\d+$|::h[0-9a-f]{16}$", "", name)


def count(args: argparse.Namespace, sluice: str, root: Path) -> tuple[float, Profile]:
    """Instructions of one request, and per function."""
    port, admin, backend = free_port(), free_port(), serve_backend(args.body)
    out = root / "callgrind.out"
    valgrind = subprocess.Popen(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-line=no",
         sluice, "run", "--config", config(root, port, admin, backend, args.tls)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(root / "log", "wb"),
    )  # fmt: skip
    profiles: list[Profile] = []
    try:
        with connect(port, args.tls) as connection:
            load(args, port, connection, 300)
            for times in (1, 3):
                before = set(root.glob("callgrind.out.*"))
                subprocess.run(["callgrind_control", "-z", str(valgrind.pid)], check=True, capture_output=True)
                load(args, port, connection, times * args.requests)
                subprocess.run(["callgrind_control", "-d", str(valgrind.pid)], check=True, capture_output=True)
                (new,) = set(root.glob("callgrind.out.*")) - before
                profiles.append(profile_of(new))
    finally:
        valgrind.terminate()
        try:
            valgrind.wait(20)
        except subprocess.TimeoutExpired:
            valgrind.kill()
    requests = 2 * args.requests
    own, inclusive, calls = (
        collections.Counter({name: (more[name] - less.get(name, 0)) / requests for name in more})  # type: ignore[misc]
        for less, more in zip(*profiles, strict=True)
    )
    return sum(own.values()), (own, inclusive, calls)


def show(args: argparse.Namespace, total: float, profile: Profile) -> None:
    """Print what a request costs."""
    own, inclusive, calls = profile
    print(f"{total:,.0f} instructions a request")
    for title, pattern in CALLS.items():
        found = {name: n for name, n in calls.items() if re.search(pattern, name) and n >= 0.05}
        print(f"  {sum(found.values()):6.1f} {title}")
    print(f"\n{'inclusive':>9}  functions like /{args.like}/")
    ours = [(cost, name) for name, cost in inclusive.items() if re.search(args.like, name) and cost >= 50]
    for cost, name in sorted(ours, reverse=True)[: args.top]:
        print(f"{cost:9,.0f}  {name[:150]}")
    print(f"\n{'self':>9}  all functions")
    for name, cost in own.most_common(args.top):
        print(f"{cost:9,.0f}  {name[:150]}")


def main() -> int:
    """Count and print; 0 when all went well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sluice", metavar="PATH", action="append", required=True, help="sluice binary; may be repeated")
    parser.add_argument("--tls", action="store_true", help="ask over TLS")
    parser.add_argument("--close", action="store_true", help="a fresh connection for each request")
    parser.add_argument("--body", type=int, default=100, metavar="BYTES", help="of the answer")
    parser.add_argument("--requests", type=int, default=500, metavar="N")
    parser.add_argument("--like", default="sluice::|hyper::proto", metavar="REGEX", help="whose inclusive cost is shown")
    parser.add_argument("--top", type=int, default=25, metavar="N")
    parser.add_argument("--keep", action="store_true", help="keep callgrind's files, for callgrind_annotate, and say where")
    args = parser.parse_args()
    missing = [tool for tool in ("valgrind", "openssl") if not shutil.which(tool)]
    if missing:
        print(f"missing: {', '.join(missing)}. On Debian:\n  apt-get install valgrind openssl", file=sys.stderr)
        return 2
    for sluice in args.sluice:
        root = Path(tempfile.mkdtemp(prefix="instructions-", dir=os.environ.get("TMPDIR")))
        try:
            print(f"## {sluice}")
            show(args, *count(args, str(Path(sluice).resolve()), root))
        finally:
            if args.keep:
                print(f"kept: {root}", file=sys.stderr)
            else:
                shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
