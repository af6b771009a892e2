"""Single requests: is a server ready, what does it answer, what does a backend get to see."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

HOST = "127.0.0.1"

#: wrk is given a name rather than an address, because it would otherwise send
#: the address as TLS server name, which TLS forbids and some servers refuse.
LOAD_HOST = "localhost"

LOAD_HEADERS = {"User-Agent": "versus/1", "Accept": "*/*"}


class Problem(Exception):
    """Something that makes a run, or the whole invocation, meaningless."""


def get(
    port: int, path: str, tls: bool = False, timeout: float = 5, host: str = HOST
) -> tuple[int, bytes, int]:
    """One GET: status, body, and the local port the request left from."""
    conn: http.client.HTTPConnection
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        conn = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    else:
        conn = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        conn.connect()
        local = conn.sock.getsockname()[1]
        # Python's own default headers are left out: send what wrk sends.
        conn.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": f"{LOAD_HOST}:{port}", **LOAD_HEADERS}.items():
            conn.putheader(name, value)
        conn.endheaders()
        answer = conn.getresponse()
        return answer.status, answer.read(), local
    finally:
        conn.close()


def wait_ready(
    port: int, path: str, child: subprocess.Popen[bytes], name: str, host: str = HOST
) -> None:
    """Wait until a GET answers 200; give up when the child ends or after 10 s."""
    deadline = time.monotonic() + 10
    last = "no answer"
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise Problem(f"{name} ended at start with status {child.returncode}, see its log")
        try:
            status, _, _ = get(port, path, timeout=1, host=host)
            if status == 200:
                return
            last = f"status {status}"
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        time.sleep(0.05)
    raise Problem(f"{name} was not ready within 10 s: {last}")


@dataclass
class Capture:
    """A stand-in backend that answers with the request head it received."""

    port: int

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve in a thread for the duration of the block."""

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.dumps(list(self.headers.items())).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_OPTIONS = do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer((HOST, self.port), Handler)
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)
