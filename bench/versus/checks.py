"""What is checked before a proxy is measured: its headers, its TLS, its handshakes, and the way through it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence

import loads
import setups
from ask import HOST, LOAD_HOST, Capture, Problem, get
from cases import CASES, Case
from network import CLIENT
from proc import affinities, listener_owner_ok, pipes_of
from stand import Bench

#: Connections at once in the check of handshakes.
SHAKING = 4


def headers(bench: Bench, proxies: Sequence[str]) -> None:
    """Record what each proxy sends upstream, as a capturing backend sees it.

    Called while the real backend is not running. Raises when an opponent
    does not add the agreed headers; when sluice does not, that is a caution.
    """
    case = CASES["h1-small"]
    with Capture(bench.ports.backend).running():
        for proxy in proxies:
            child = bench.start_proxy(proxy, case)
            try:
                for tls, port in ((False, bench.ports.plain), (True, bench.ports.secure)):
                    status, body, _ = get(port, "/headers", tls)
                    if status != 200:
                        raise Problem(f"{proxy}: the header check got status {status}")
                    pairs = {k.lower(): v for k, v in json.loads(body)}
                    wrong = [h for h in setups.ADDED_HEADERS if not pairs.get(h)]
                    scheme = "https" if tls else "http"
                    if pairs.get("x-forwarded-proto", scheme) != scheme:
                        wrong.append(f"x-forwarded-proto {scheme}")
                    if wrong:
                        text = f"{proxy} over {scheme} does not send {', '.join(wrong)}"
                        if proxy not in bench.sluices:
                            raise Problem(text)
                        bench.cautions.append(text)
                bench.headers[proxy] = sorted(pairs)
                bench.tls[proxy] = _negotiated(bench)
            finally:
                bench.children.stop(child)
    for kind, seen in (("TLS parameters", bench.tls), ("header count", bench.headers)):
        if len({v if isinstance(v, str) else len(v) for v in seen.values()}) > 1:
            bench.cautions.append(f"{kind} not the same on all proxies, see below")


def _negotiated(bench: Bench) -> str:
    """What the TLS listener negotiates with the client settings wrk uses."""
    env = os.environ | {"OPENSSL_CONF": str(bench.root / "openssl.cnf")}
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{HOST}:{bench.ports.secure}",
         "-servername", LOAD_HOST],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, env=env,
    )  # fmt: skip
    suite = re.search(r"^New, (\S+), Cipher is (\S+)", done.stdout, re.M)
    group = re.search(r"^Server Temp Key: (.*)$", done.stdout, re.M)
    key = re.search(r"^Peer signature type: (.*)$", done.stdout, re.M)
    bits = re.search(r"^Server public key is (.*)$", done.stdout, re.M)
    parts = [suite[1], suite[2]] if suite else ["no TLS"]
    parts += [m[1] for m in (group, key, bits) if m]
    return ", ".join(parts)


def handshakes(bench: Bench, proxies: Sequence[str]) -> None:
    """Have the load's count of full and resumed handshakes confirmed by those who are not the load.

    haproxy and nginx count their own (sluice's own count is not asked), and OpenSSL
    as a client must be resumed on its second connection, and not on its first.
    Called while the backend runs. Raises when the counts do not agree.
    """
    for proxy in proxies:
        told = []
        for name in ("tls-full", "tls-resumed"):
            case = CASES[name]
            child = bench.start_proxy(proxy, case, tell=True)
            try:
                _resumes(bench, proxy)
                log = bench.root / ("nginx.kinds" if proxy == "nginx" else f"{proxy}.log")
                before = _kinds(log.read_text()) if log.exists() else (0, 0)
                argv = [bench.args.load, name, f"{HOST}:{bench.ports.secure}", str(bench.site.cert)]
                argv += [case.path, str(SHAKING), "1"]
                done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
                if done.returncode:
                    raise Problem(f"{name} through {proxy}: {done.stderr.strip()}")
            finally:
                bench.children.stop(child)  # and its log is whole
            load = loads.parse(case, done.stdout)
            told.append(f"{load.requests} {name.removeprefix('tls-')}")
            if proxy in bench.sluices:
                continue
            after = _kinds(log.read_text())
            full, resumed = after[0] - before[0], after[1] - before[1]
            units = (load.requests, 0) if name == "tls-full" else (load.seeds, load.requests)
            for counted, seen, kind in zip(
                units, (full, resumed), ("full", "resumed"), strict=True
            ):
                # The load ends in the midst of some that the proxy has counted already.
                if not counted <= seen <= counted + (SHAKING if counted else 0):
                    raise Problem(
                        f"{name}: the load counts {counted} {kind} handshakes, {proxy} {seen}"
                    )
        by = "by the load alone" if proxy in bench.sluices else "by the load and by itself"
        bench.handshakes[proxy] = f"{' and '.join(told)} {by}"


def _kinds(log: str) -> tuple[int, int]:
    """Full and resumed handshakes a proxy has told of."""
    kinds = re.findall(rf"^{setups.KIND}(.)$", log, re.M)
    resumed = sum(kind in setups.RESUMED for kind in kinds)
    return len(kinds) - resumed, resumed


def _resumes(bench: Bench, proxy: str) -> None:
    """OpenSSL resumes the session of its first connection on its second."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    session: ssl.SSLSession | None = None
    for turn in (False, True):
        raw = socket.create_connection((HOST, bench.ports.secure), 5)
        with context.wrap_socket(raw, server_hostname=LOAD_HOST, session=session) as client:
            client.sendall(b"GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := client.recv(4096):  # the ticket comes in between
                answer += piece
            session, reused = client.session, client.session_reused
        if not answer.startswith(b"HTTP/1.1 200") or reused is not turn:
            raise Problem(
                f"OpenSSL's connection through {proxy} was{'' if reused else ' not'} resumed"
            )


def path(bench: Bench, case: Case, pids: frozenset[int]) -> None:
    """Make sure traffic goes through these very processes, on their core."""
    port = bench.listener_port(case)
    net = bench.network(case)
    tls = case.listener == "secure"
    if not listener_owner_ok(port, pids, case.datagrams):
        raise Problem(f"port {port} is not held by the processes being measured")
    if (allowed := affinities(pids)) != {str(bench.proxy_cpu)}:
        raise Problem(f"threads may run on cores {sorted(allowed)}")
    if case.echoes:
        _echo(bench, case)
        return
    with net.inside(CLIENT):
        status, body, _ = get(port, case.path, tls, host=net.proxy)
    if status != 200 or _digest(body) != _digest(bench.bodies[case.path]):
        raise Problem(f"{case.path}: status {status}, or a changed body")
    with net.inside(CLIENT):
        status, body, local = get(port, "/whoami", tls, host=net.proxy)
    remote, forwarded, request_id = body.decode().split("|")
    if status != 200 or int(remote) == local:
        raise Problem("the request reached the backend without the proxy")
    if case.http and (forwarded != HOST or not request_id):
        raise Problem(f"forwarding headers at the backend: {forwarded!r} {request_id!r}")


def splices(bench: Bench, case: Case, leader: int) -> None:
    """A body whose reader pauses waits in a pipe: one more than the proxy has for other purposes."""
    before, net = pipes_of(leader), bench.network(case)
    with net.inside(CLIENT), socket.create_connection(bench.at(case), 5) as client:
        client.sendall(f"GET {case.path} HTTP/1.1\r\nHost: {LOAD_HOST}\r\n\r\n".encode())
        deadline = time.monotonic() + 5
        while pipes_of(leader) <= before:
            if time.monotonic() > deadline:
                raise Problem("no pipe was opened for a large body, so nothing is spliced")
            time.sleep(0.02)


def _digest(body: bytes) -> str:
    """Short fingerprint of a body."""
    return hashlib.sha256(body).hexdigest()


def _echo(bench: Bench, case: Case) -> None:
    """One message there and back, which the echo server must have counted."""
    net = bench.network(case)
    kind = socket.SOCK_DGRAM if case.datagrams else socket.SOCK_STREAM
    _, before = bench.backend_counts(case)
    with net.inside(CLIENT), socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(5)
        client.connect((net.proxy, bench.listener_port(case)))
        client.send(b"is anybody there?")
        if (answer := client.recv(100)) != b"is anybody there?":
            raise Problem(f"the echo is {answer!r}")
    if bench.backend_counts(case)[1] <= before:
        raise Problem("the echo did not come from the echo server")
