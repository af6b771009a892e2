#!/usr/bin/env python3
"""Side-by-side benchmark: sluice against haproxy and nginx.

Measures the CPU time each proxy spends per completed request, connection or
datagram, with every proxy limited to one core and one data thread, and runs
interleaved so that each sluice run has an haproxy and an nginx run next to it
in time. One case measures the memory of idle connections instead.

See README.md in this directory for the method and its limits.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import hashlib
import http.client
import http.server
import json
import os
import platform
import random
import re
import resource
import shlex
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import network
import setups
from network import BACKEND, CLIENT, LOOPBACK, PROXY, Network

HOST = "127.0.0.1"
#: Source of the load and echo server that wrk and nginx cannot stand in for.
LOAD_CRATE = Path(__file__).resolve().parent.parent / "load"
#: wrk is given a name rather than an address, because it would otherwise send
#: the address as TLS server name, which TLS forbids and some servers refuse.
LOAD_HOST = "localhost"
LOAD_HEADERS = {"User-Agent": "versus/1", "Accept": "*/*"}
APT_LINE = "apt-get install --no-install-recommends haproxy nginx libnginx-mod-stream wrk openssl"
REFERENCE = "sluice"
#: haproxy variants: "option splice-auto", splicing always, a larger buffer. With
#: 16 KiB bodies haproxy never splices (seen with strace), so they say nothing there.
VARIANTS = ("haproxy-auto", "haproxy-splice", "haproxy-64k")
#: The ``splice`` of each haproxy in setups.py.
SPLICE = {"haproxy-auto": "auto", "haproxy-splice": "always"}
#: Share of the proxy's core used by others above which a run is called noisy.
NOISY = 0.05


@dataclass(frozen=True)
class Case:
    """One workload."""

    name: str
    listener: str  # a field of Ports: plain, secure, l4, echo or datagrams
    path: str  # for wrk
    body: int  # bytes
    connections: int  # or flows
    big: bool = False  # nginx gets big buffers
    variants: tuple[str, ...] = ()  # haproxy variants taking part
    load: str = "wrk"  # or a word of bench/load: connect, udp, hold
    unit: str = "request"
    net: str = "loopback"  # or veth, segments
    window: int = 0  # datagrams under way in each flow

    @property
    def datagrams(self) -> bool:
        """Whether it is about UDP, which haproxy does not forward."""
        return self.listener == "datagrams"

    @property
    def cost(self) -> str:
        """What its figures are."""
        return "bytes/connection" if self.load == "hold" else f"µs/{self.unit}"

    @property
    def places(self) -> int:
        """Digits worth showing behind the point."""
        return 0 if self.body >= 2**20 or self.load == "hold" else 2


MIB10 = 10 * 1024 * 1024
CASES = {
    c.name: c
    for c in (
        Case("h1-small", "plain", "/small", 100, 32),
        Case("h1-16k", "plain", "/16k", 16 * 1024, 32, big=True),
        Case("h1-10m", "plain", "/10m", MIB10, 4, big=True, variants=VARIANTS[1:]),
        Case("https-small", "secure", "/small", 100, 32),
        Case("tcp-small", "l4", "/small", 100, 32, variants=("haproxy-auto",)),
        Case("tcp-10m", "l4", "/10m", MIB10, 4, big=True, variants=VARIANTS),
        Case("tcp-10m-veth", "l4", "/10m", MIB10, 4, big=True, variants=VARIANTS, net="veth"),
        Case("tcp-1m-segments", "l4", "/1m", MIB10 // 10, 4, big=True, variants=VARIANTS,
             net="segments"),
        Case("tcp-connect", "echo", "", 64, 32, load="connect", unit="connection"),
        Case("tcp-idle", "echo", "", 64, 5000, load="hold", unit="connection"),
        Case("udp-echo", "datagrams", "", 64, 256, load="udp", unit="datagram", window=1),
        Case("udp-burst", "datagrams", "", 64, 256, load="udp", unit="datagram", window=8),
    )
}  # fmt: skip
#: Names that stand for several cases.
GROUPS = {
    "l4": [n for n in CASES if n.startswith(("tcp-", "udp-"))],
    "l7": [n for n in CASES if n.startswith("http") or n.startswith("h1-")],
    "all": list(CASES),
}


class Problem(Exception):
    """Something that makes a run, or the whole invocation, meaningless."""


# --------------------------------------------------------------------------
# Child processes


_libc = ctypes.CDLL(None, use_errno=True)


class Children:
    """Starts child processes pinned to a core and makes sure none is left over."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._alive: list[subprocess.Popen[bytes]] = []

    def start(
        self, name: str, argv: Sequence[str | Path], cpu: int, capture: bool = False,
        space: int | None = None, **env: str,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start ``argv`` pinned to ``cpu`` in a session of its own, in a network namespace if given one.

        The kernel ends the child should this process die without cleaning up.
        """
        parent = os.getpid()

        def before_exec() -> None:
            os.sched_setaffinity(0, {cpu})
            if space is not None:
                network.enter(space)
            _libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                os._exit(1)

        environment = {k: v for k, v in os.environ.items() if k != "OPENSSL_CONF"} | env
        with open(self._logs / f"{name}.log", "ab") as log:
            child = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else log,
                stderr=log,
                cwd=self._logs,
                env=environment,
                start_new_session=True,
                preexec_fn=before_exec,
            )
        self._alive.append(child)
        return child

    def stop(self, child: subprocess.Popen[bytes]) -> None:
        """End a child and everything in its session: politely, then not."""
        members = processes_of(child.pid)
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(3)
        for pid in members | processes_of(child.pid):
            # A pid may have been reused since; only touch our own session.
            if pid == child.pid and child.poll() is not None:
                continue
            if session_of(pid) == child.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(3)
        if child.stdout:
            child.stdout.close()
        if child in self._alive:
            self._alive.remove(child)

    def stop_all(self) -> None:
        """End every child still running."""
        for child in list(reversed(self._alive)):
            self.stop(child)


# --------------------------------------------------------------------------
# /proc


def _stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat after the command name, or None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def session_of(pid: int) -> int | None:
    """Session id of a process."""
    fields = _stat_fields(pid)
    return int(fields[3]) if fields else None


def processes_of(leader: int) -> set[int]:
    """Live processes of a proxy: its session, and all descendants of its leader."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat_fields(int(entry))) and fields[0] != "Z":
            parents[int(entry)] = int(fields[1])
            if int(fields[3]) == leader or int(entry) == leader:
                found.add(int(entry))
    grew = True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found


@dataclass(frozen=True)
class CpuSample:
    """CPU time of one proxy at one instant, all in nanoseconds."""

    #: /proc/PID/task/*/schedstat: time run, and time runnable but not running
    threads: dict[tuple[int, int], tuple[int, int]]
    clock: int  # the kernel's per-process CPU clocks; counts ended threads too
    pids: frozenset[int]
    ksoftirqd: int  # the core's ksoftirqd, not part of the above
    core_busy: int  # everything but idle, iowait and steal on the proxy's core
    core_steal: int

    def since(self, before: CpuSample, index: int) -> int:
        """Growth of run (0) or waiting (1) time, over the threads alive now.

        What a thread spent that ended in between is missing here; the
        comparison with ``clock`` shows whether that matters.
        """
        return sum(
            now[index] - before.threads.get(key, (0, 0))[index]
            for key, now in self.threads.items()
        )


def sample_cpu(leader: int, cpu: int, ksoftirqd: int | None) -> CpuSample:
    """Read the CPU time of every thread of every process of a proxy."""
    threads: dict[tuple[int, int], tuple[int, int]] = {}
    clock = 0
    pids = processes_of(leader)
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it just ended
                fields = Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()
                threads[pid, int(task)] = (int(fields[0]), int(fields[1]))
        # CPUCLOCK_SCHED of another process, as clock_getcpuclockid(3) builds it.
        clock += time.clock_gettime_ns((~pid << 3) | 2)
    soft = 0
    if ksoftirqd:
        soft = int(Path(f"/proc/{ksoftirqd}/schedstat").read_text().split()[0])
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    line = re.search(rf"^cpu{cpu} (.*)$", Path("/proc/stat").read_text(), re.M)
    assert line
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line[1].split()[:8])
    return CpuSample(
        threads, clock, frozenset(pids), soft,
        (user + nice + system + irq + softirq) * tick, steal * tick,
    )  # fmt: skip


def find_ksoftirqd(cpu: int) -> int | None:
    """Pid of the core's softirq thread, where network work may end up uncounted."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{entry}/comm").read_text().strip() == f"ksoftirqd/{cpu}":
                    return int(entry)
    return None


def listener_owner_ok(port: int, pids: frozenset[int], datagrams: bool) -> bool:
    """Whether the socket that is open for all on the port belongs to one of the processes."""
    wanted = set()
    table, open_state = ("udp", "07") if datagrams else ("tcp", "0A")
    for pid in pids:
        # Through /proc/PID, because the proxy may be in another network namespace.
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == open_state and int(fields[1].split(":")[1], 16) == port:
                wanted.add(f"socket:[{fields[9]}]")
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(fd) in wanted:
                    return True
    return False


def proportional_memory(leader: int) -> int:
    """User memory of a proxy in bytes: the PSS of all its processes, shared pages divided fairly."""
    total = 0
    for pid in processes_of(leader):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)
        total += int(match[1]) * 1024 if match else 0
    return total


def affinities(pids: frozenset[int]) -> set[str]:
    """The distinct allowed-core lists among all threads."""
    found = set()
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            text = ""
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it just ended
                text = Path(f"/proc/{pid}/task/{task}/status").read_text()
            if match := re.search(r"^Cpus_allowed_list:\s*(\S+)", text, re.M):
                found.add(match[1])
    return found


# --------------------------------------------------------------------------
# Small HTTP helpers


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


# --------------------------------------------------------------------------
# The bench


@dataclass(frozen=True)
class Load:
    """What one run of wrk or bench/load reported; ``requests`` counts the case's unit."""

    requests: int
    bytes: int
    seconds: float
    errors: dict[str, int]
    lost: int = 0  # datagrams


@dataclass
class Run:
    """One measured window of one proxy."""

    case: str
    proxy: str
    round: int
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    requests: int = 0
    us_per_request: float = 0.0  # or per what the case counts; bytes in tcp-idle
    us_per_mib: float = 0.0
    rate: float = 0.0
    core_used: float = 0.0  # share of the window the proxy was running
    waited: float = 0.0  # share of the window it was runnable but not running
    others: float = 0.0  # share of the core taken by anything else
    steal: float = 0.0
    ksoftirqd_us: float = 0.0  # per request, not included in us_per_request
    accepts: int = 0  # connections the backend accepted during the window
    threads: int = 0
    scrapes: int = 0
    lost: int = 0  # datagrams that did not come back


class Bench:
    """Holds the scratch directory, the backend and the settings of an invocation."""

    def __init__(self, args: argparse.Namespace, root: Path) -> None:
        self.args = args
        self.root = root
        cores = sorted(os.sched_getaffinity(0))
        self.proxy_cpu, self.load_cpu = cores[0], cores[1]
        self.ksoftirqd = find_ksoftirqd(self.proxy_cpu)
        self.children = Children(root)
        self.ports = setups.Ports(*free_ports(12))
        self.networks = {"loopback": LOOPBACK}
        self.backends: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.site = self._prepare_site()
        self.bodies: dict[str, bytes] = {}
        self._write_bodies()
        self.tls: dict[str, str] = {}
        self.headers: dict[str, list[str]] = {}
        self.cautions: list[str] = []  # what a reader must know before the figures

    def _prepare_site(self) -> setups.Site:
        """Make the certificate and find nginx's modules."""
        self.root.chmod(0o755)
        cert, key, pem = (self.root / n for n in ("tls.crt", "tls.key", "tls.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "30", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", key, "-out", cert],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
        pem.write_bytes(cert.read_bytes() + key.read_bytes())
        (self.root / "openssl.cnf").write_text(setups.openssl_client())
        (self.root / "done.lua").write_text(setups.WRK_LUA)
        described = output_of("nginx", "-V")
        match = re.search(r"--modules-path=(\S+)", described)
        modules = Path(match[1] if match else "/usr/lib/nginx/modules")
        return setups.Site(self.root, cert, key, pem, modules, os.geteuid() == 0)

    def _write_bodies(self) -> None:
        """Create the bodies the backend serves."""
        www = self.root / "www"
        www.mkdir()
        seed = random.Random(1)
        for case in CASES.values():
            if not case.path:
                continue
            if case.path == "/small":
                self.bodies[case.path] = b"x" * case.body
            else:
                self.bodies[case.path] = seed.randbytes(case.body)
                (www / case.path[1:]).write_bytes(self.bodies[case.path])

    # -- processes

    def network(self, case: Case) -> Network:
        """Where the case takes place; made when it is first asked for."""
        if case.net not in self.networks:
            try:
                made = network.cables(single_segments=case.net == "segments")
            except (OSError, subprocess.SubprocessError) as error:
                raise Problem(f"network namespaces are not permitted here: {error}") from error
            self.networks[case.net] = made
        return self.networks[case.net]

    def start_backends(self, case: Case) -> None:
        """Start what answers in the network of the case, once: nginx and the two echo servers."""
        net = self.network(case)
        if net.name in self.backends:
            return
        space = net.spaces.get(BACKEND)
        text = setups.backend(self.site, self.ports, net, self.bodies["/small"].decode())
        conf = self._write(f"backend-{net.name}.conf", text)
        argv: list[str | Path] = ["nginx", "-p", self.root, "-e", self.root / "backend.err"]
        argv += ["-c", conf]
        started = [self.children.start("backend", argv, self.load_cpu, space=space)]
        self.backends[net.name] = started
        with net.inside(BACKEND):
            wait_ready(self.ports.backend, "/small", started[0], "backend", net.backend)
        for word, port, status in (
            ("tcp-echo", self.ports.echo_backend, self.ports.echo_status),
            ("udp-echo", self.ports.datagrams_backend, self.ports.datagrams_status),
        ):
            argv = [self.args.load, word, f"{net.backend}:{port}", f"{net.backend}:{status}"]
            started.append(self.children.start(word, argv, self.load_cpu, space=space))
            with net.inside(BACKEND):
                wait_ready(status, "/status", started[-1], word, net.backend)

    def _write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(text)
        return path

    def start_proxy(self, proxy: str, case: Case) -> subprocess.Popen[bytes]:
        """Start a proxy on its core with the configuration for the case."""
        argv: list[str | Path]
        net = self.network(case)
        ready = [(CLIENT, net.proxy, self.ports.plain, "/small")]
        stem = f"{proxy}.{net.name}.{'big' if case.big else 'small'}"
        if proxy == "nginx":
            conf = self._write(f"{stem}.conf", setups.nginx(self.site, self.ports, net, case.big))
            argv = ["nginx", "-p", self.root, "-e", self.root / "nginx.err", "-c", conf]
        elif proxy == "haproxy" or proxy in VARIANTS:
            text = setups.haproxy(
                self.site, self.ports, net, SPLICE.get(proxy, ""),
                65536 if proxy == "haproxy-64k" else None,
            )  # fmt: skip
            conf = self._write(f"{stem}.cfg", text)
            argv = ["haproxy", "-db", "-f", conf]
        else:
            conf = self._write(
                "sluice.yaml", setups.sluice(self.site, self.ports, net, case.datagrams)
            )
            argv = [self.args.sluice, "run", "--config", conf]
            ready.insert(0, (PROXY, HOST, self.ports.admin, "/readyz"))
        child = self.children.start(proxy, argv, self.proxy_cpu, space=net.spaces.get(PROXY))
        try:
            for who, host, port, path in ready:
                with net.inside(who):
                    wait_ready(port, path, child, proxy, host)
        except Problem:
            self.children.stop(child)
            raise
        return child

    # -- checks

    def listener_port(self, case: Case) -> int:
        """Port of the listener the case uses."""
        return int(getattr(self.ports, case.listener))

    def check_headers(self, proxies: Sequence[str]) -> None:
        """Record what each proxy sends upstream, as a capturing backend sees it.

        Called while the real backend is not running. Raises when an opponent
        does not add the agreed headers; when sluice does not, that is a caution.
        """
        case = CASES["h1-small"]
        with Capture(self.ports.backend).running():
            for proxy in proxies:
                child = self.start_proxy(proxy, case)
                try:
                    for tls, port in ((False, self.ports.plain), (True, self.ports.secure)):
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
                            if proxy != REFERENCE:
                                raise Problem(text)
                            self.cautions.append(text)
                    self.headers[proxy] = sorted(pairs)
                    self.tls[proxy] = self.negotiated()
                finally:
                    self.children.stop(child)
        for kind, seen in (("TLS parameters", self.tls), ("header count", self.headers)):
            if len({v if isinstance(v, str) else len(v) for v in seen.values()}) > 1:
                self.cautions.append(f"{kind} not the same on all proxies, see below")

    def negotiated(self) -> str:
        """What the TLS listener negotiates with the client settings wrk uses."""
        env = os.environ | {"OPENSSL_CONF": str(self.root / "openssl.cnf")}
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"{HOST}:{self.ports.secure}",
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

    def check_path(self, proxy: str, case: Case, pids: frozenset[int]) -> None:
        """Make sure traffic goes through these very processes, on their core."""
        port = self.listener_port(case)
        net = self.network(case)
        tls = case.listener == "secure"
        if not listener_owner_ok(port, pids, case.datagrams):
            raise Problem(f"port {port} is not held by the processes being measured")
        if (allowed := affinities(pids)) != {str(self.proxy_cpu)}:
            raise Problem(f"threads may run on cores {sorted(allowed)}")
        if case.load != "wrk":
            self._check_echo(case)
            return
        with net.inside(CLIENT):
            status, body, _ = get(port, case.path, tls, host=net.proxy)
        if status != 200 or digest(body) != digest(self.bodies[case.path]):
            raise Problem(f"{case.path}: status {status}, or a changed body")
        with net.inside(CLIENT):
            status, body, local = get(port, "/whoami", tls, host=net.proxy)
        remote, forwarded, request_id = body.decode().split("|")
        if status != 200 or int(remote) == local:
            raise Problem("the request reached the backend without the proxy")
        if case.listener != "l4" and (forwarded != HOST or not request_id):
            raise Problem(f"forwarding headers at the backend: {forwarded!r} {request_id!r}")

    def _check_echo(self, case: Case) -> None:
        """One message there and back, which the echo server must have counted."""
        net = self.network(case)
        kind = socket.SOCK_DGRAM if case.datagrams else socket.SOCK_STREAM
        _, before = self.backend_counts(case)
        with net.inside(CLIENT), socket.socket(socket.AF_INET, kind) as client:
            client.settimeout(5)
            client.connect((net.proxy, self.listener_port(case)))
            client.send(b"is anybody there?")
            if (answer := client.recv(100)) != b"is anybody there?":
                raise Problem(f"the echo is {answer!r}")
        if self.backend_counts(case)[1] <= before:
            raise Problem("the echo did not come from the echo server")

    def backend_counts(self, case: Case) -> tuple[int, int]:
        """Connections accepted and requests (or messages) seen by the case's backend so far."""
        status_port = {
            "echo": self.ports.echo_status, "datagrams": self.ports.datagrams_status,
        }.get(case.listener, self.ports.status)  # fmt: skip
        net = self.network(case)
        with net.inside(BACKEND):
            status, body, _ = get(status_port, "/status", host=net.backend)
        match = re.search(r"^ *(\d+) (\d+) (\d+) *$", body.decode(), re.M)
        if status != 200 or not match:
            raise Problem("the backend's counters could not be read")
        return int(match[1]), int(match[3])

    # -- load

    def load_command(self, case: Case, seconds: int) -> list[str]:
        """The command that makes the load of a case."""
        net, port = self.network(case), self.listener_port(case)
        at = f"{net.proxy}:{port}"
        if case.load == "connect":
            return [self.args.load, "connect", at, str(case.connections), str(seconds)]
        if case.load == "udp":
            flows, window = str(case.connections), str(case.window)
            return [self.args.load, "udp", at, flows, window, str(seconds)]
        scheme = "https" if case.listener == "secure" else "http"
        headers = [x for k, v in LOAD_HEADERS.items() for x in ("-H", f"{k}: {v}")]
        host = LOAD_HOST if net.proxy == HOST else net.proxy
        return [
            "wrk", "-t", "1", "-c", str(case.connections), "-d", f"{seconds}s",
            "--timeout", "10s", "-s", str(self.root / "done.lua"), *headers,
            f"{scheme}://{host}:{port}{case.path}",
        ]  # fmt: skip

    def load(self, case: Case, seconds: int, admin: int | None) -> tuple[Load, int]:
        """Run the load; meanwhile scrape /metrics once a second if given an admin port."""
        argv = self.load_command(case, seconds)
        conf = str(self.root / "openssl.cnf")
        net = self.network(case)
        name = Path(argv[0]).name
        child = self.children.start(
            name, argv, self.load_cpu, True, net.spaces.get(CLIENT), OPENSSL_CONF=conf
        )
        started = time.monotonic()
        scrapes = 0
        try:
            while child.poll() is None:
                elapsed = time.monotonic() - started
                if elapsed > seconds + 20:
                    raise Problem(f"{name} did not stop by itself")
                if admin and scrapes < seconds and elapsed >= scrapes + 0.5:
                    with net.inside(PROXY):
                        status, body, _ = get(admin, "/metrics")
                    if status != 200 or not body:
                        raise Problem(f"/metrics answered {status}")
                    scrapes += 1
                time.sleep(0.02)
            assert child.stdout
            text = child.stdout.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise Problem(f"while scraping: {error}") from error
        finally:
            self.children.stop(child)
        match = re.search(r"^VERSUS ([\d ]+)$", text, re.M)
        if child.returncode or not match:
            raise Problem(f"{name} failed with status {child.returncode}: {text[-300:]!r}")
        n = [int(x) for x in match[1].split()]
        names = ("connect", "read", "write", "status", "timeout")
        lost = re.search(r"^LOST (\d+)$", text, re.M)
        errors = dict(zip(names, n[3:], strict=True))
        return Load(n[0], n[1], n[2] / 1e6, errors, int(lost[1]) if lost else 0), scrapes

    def measure(self, proxy: str, case: Case, number: int) -> Run:
        """Start a proxy, check it, warm it up, measure one window, stop it."""
        run = Run(case.name, proxy, number)
        child: subprocess.Popen[bytes] | None = None
        try:
            child = self.start_proxy(proxy, case)
            self.check_path(proxy, case, frozenset(processes_of(child.pid)))
            if case.load == "hold":
                self._weigh(run, case, child)
            else:
                self.load(case, self.args.warmup, None)
                time.sleep(0.2)
                self._window(run, case, child)
        except (Problem, OSError, http.client.HTTPException) as problem:
            run.problems.append(str(problem))
        finally:
            if child:
                self.children.stop(child)
        return run

    @contextlib.contextmanager
    def _held(self, case: Case, connections: int) -> Iterator[None]:
        """So many connections are open through the proxy, each after one message, for the block."""
        net = self.network(case)
        at = f"{net.proxy}:{self.listener_port(case)}"
        child = self.children.start(
            "load", [self.args.load, "hold", at, str(connections)], self.load_cpu, True,
            net.spaces.get(CLIENT),
        )  # fmt: skip
        assert child.stdout
        try:
            line = child.stdout.readline().decode()  # it gives up by itself
            if line != f"READY {connections}\n":
                raise Problem(f"{connections} connections could not be opened, see load's log")
            yield
        finally:
            self.children.stop(child)

    def _weigh(self, run: Run, case: Case, child: subprocess.Popen[bytes]) -> None:
        """The growth of the proxy's memory while it holds idle connections, for each of them."""
        with self._held(case, 200):  # what the first connections cost once
            pass
        time.sleep(0.5)
        before = proportional_memory(child.pid)
        with self._held(case, case.connections):
            time.sleep(1)
            grown = proportional_memory(child.pid) - before
        run.requests = case.connections
        run.us_per_request = grown / case.connections

    def _window(self, run: Run, case: Case, child: subprocess.Popen[bytes]) -> None:
        """The measured window: counters, load, counters."""
        admin = self.ports.admin if run.proxy == REFERENCE else None
        accepts0, requests0 = self.backend_counts(case)
        before = sample_cpu(child.pid, self.proxy_cpu, self.ksoftirqd)
        started = time.monotonic_ns()
        load, run.scrapes = self.load(case, self.args.seconds, admin)
        # The proxy is idle on both edges, so no running thread's time is stale.
        time.sleep(0.05)
        after = sample_cpu(child.pid, self.proxy_cpu, self.ksoftirqd)
        wall = time.monotonic_ns() - started
        accepts1, requests1 = self.backend_counts(case)

        ran = after.since(before, 0)
        soft = after.ksoftirqd - before.ksoftirqd
        run.requests = load.requests
        run.rate = load.requests / load.seconds
        run.us_per_request = ran / 1e3 / max(load.requests, 1)
        run.us_per_mib = ran / 1e3 / max(load.bytes / 2**20, 1e-9)
        run.core_used = ran / (load.seconds * 1e9)
        run.waited = after.since(before, 1) / wall
        run.others = max(0.0, (after.core_busy - before.core_busy - ran - soft) / wall)
        run.steal = (after.core_steal - before.core_steal) / wall
        run.ksoftirqd_us = soft / 1e3 / max(load.requests, 1)
        # nginx counts our own read of its counters.
        own = 1 if case.load == "wrk" else 0
        run.accepts = accepts1 - accepts0 - own
        run.threads = len(after.threads)
        run.lost = load.lost
        self._judge(run, case, load, before, after, requests1 - requests0 - own)

    def _judge(
        self, run: Run, case: Case, load: Load, before: CpuSample, after: CpuSample, seen: int
    ) -> None:
        """Decide whether the window may be used; note why if not."""
        bad = run.problems
        if errors := {k: v for k, v in load.errors.items() if v}:
            bad.append(f"the load saw errors: {errors}")
        if load.lost:
            text = f"{load.lost} datagrams lost"
            (bad if load.lost > load.requests / 100 else run.warnings).append(text)
        if load.requests < case.connections:
            bad.append(f"only {load.requests} requests completed")
        elif load.bytes / load.requests < case.body:
            bad.append(f"responses of {load.bytes / load.requests:.0f} bytes are too short")
        if load.seconds < self.args.seconds * 0.95:
            bad.append(f"the load ran for {load.seconds:.2f} s only")
        if before.pids != after.pids:
            bad.append("the proxy's processes changed during the window")
        ran, clock = after.since(before, 0), after.clock - before.clock
        if abs(ran - clock) > max(0.01 * clock, 5e6):
            bad.append(f"schedstat says {ran / 1e9:.3f} s of CPU, the CPU clock {clock / 1e9:.3f}")
        if run.proxy == REFERENCE and run.scrapes < self.args.seconds - 1:
            bad.append(f"/metrics was scraped only {run.scrapes} times")
        # Probes add to what the backend saw: at most one a second per listener pool.
        probes = 3 * (self.args.seconds + 3)
        under_way = case.connections * max(case.window, 1) + load.lost
        if not load.requests <= seen <= load.requests + under_way + probes:
            bad.append(f"the load counts {load.requests}, the backend {seen}")
        if case.load == "wrk" and run.accepts > 3 * case.connections + probes:
            text = f"{run.accepts} upstream connections: they are not being reused"
            # For an opponent that is our mistake; for sluice it is a finding.
            (run.warnings if run.proxy == REFERENCE else bad).append(text)
        if run.others > NOISY:
            run.warnings.append(f"noisy: others had {100 * run.others:.0f} % of the core")
        if run.steal > NOISY:
            run.warnings.append(f"noisy: {100 * run.steal:.0f} % stolen by the hypervisor")


# --------------------------------------------------------------------------
# Report


def spread(values: Sequence[float], places: int) -> str:
    """Median (minimum–maximum), or a dash."""
    if not values:
        return "–"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{places}f} ({low:.{places}f}–{high:.{places}f})"


def ratios(runs: Sequence[Run], case: str, opponent: str) -> list[float]:
    """sluice's cost over the opponent's, one value per round where both are valid."""
    cost = {
        (r.round, r.proxy): r.us_per_request
        for r in runs
        if r.case == case and not r.problems
    }  # fmt: skip
    return [
        ours / cost[number, opponent]
        for (number, proxy), ours in sorted(cost.items())
        if proxy == REFERENCE and cost.get((number, opponent))
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column left, the others right aligned."""
    rule = [":--"] + ["--:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(r) + " |" for r in (head, rule, *rows))


def report(bench: Bench, runs: list[Run], facts: dict[str, str], proxies: list[str]) -> str:
    """The whole Markdown report."""
    cases = list(dict.fromkeys(r.case for r in runs))
    columns = [REFERENCE, "haproxy", "nginx", *(p for p in proxies if p in VARIANTS)]
    with_sluice = REFERENCE in proxies

    def picked(case: str, proxy: str) -> list[Run]:
        return [r for r in runs if (r.case, r.proxy) == (case, proxy) and not r.problems]

    summary = []
    for case in cases:
        row = [f"{case}, {CASES[case].cost}"]
        places = CASES[case].places
        row += [spread([r.us_per_request for r in picked(case, p)], places) for p in columns]
        row += [spread(ratios(runs, case, p), 3) for p in columns[1:]]
        summary.append(row)
    units = list(columns)
    if with_sluice:
        units += [f"sluice/{p}" for p in columns[1:]]
    else:
        summary = [row[: 1 + len(columns)] for row in summary]

    aside = []
    for case in (c for c in cases if CASES[c].load != "hold"):
        for proxy in columns:
            if good := picked(case, proxy):
                med = {
                    k: statistics.median(getattr(r, k) for r in good)
                    for k in ("rate", "us_per_mib", "core_used", "waited", "others", "steal",
                              "ksoftirqd_us", "accepts", "threads", "lost")
                }  # fmt: skip
                per_mib = f"{med['us_per_mib']:.1f}" if CASES[case].body >= 16384 else "–"
                shares = ("core_used", "waited", "others", "steal")
                aside.append([
                    case, proxy, f"{med['rate']:.0f}", per_mib,
                    *(f"{100 * med[k]:.1f} %" for k in shares),
                    f"{med['ksoftirqd_us']:.2f}", f"{med['accepts']:.0f}", f"{med['threads']:.0f}",
                    f"{med['lost']:.0f}",
                ])  # fmt: skip

    every = [
        [r.case, str(r.round), r.proxy, str(r.requests), f"{r.us_per_request:.2f}",
         f"{100 * r.core_used:.1f} %", f"{100 * r.waited:.1f} %", f"{100 * r.steal:.1f} %",
         "INVALID: " + "; ".join(r.problems) if r.problems else "; ".join(r.warnings) or "ok"]
        for r in runs
    ]  # fmt: skip
    invalid = sum(bool(r.problems) for r in runs)
    noisy = sum(not r.problems and max(r.others, r.steal) > NOISY for r in runs)
    lines = ["# sluice, haproxy and nginx side by side", ""]
    lines += [f"- {k}: {v}" for k, v in facts.items()]
    lines += [f"- **caution**: {c}" for c in bench.cautions]
    lines += [
        "",
        f"Cost is CPU time of the proxy per completed request, connection or datagram (there and "
        f"back), as median (min–max) over the "
        f"rounds: the growth of `/proc/PID/task/*/schedstat` over a window of "
        f"{bench.args.seconds} s, summed over every thread of every process of that proxy, "
        f"divided by what the load completed; in tcp-idle, growth of its memory (PSS) over the "
        f"connections held. A ratio is formed within each round; its "
        f"median (min–max) is shown. Below 1 sluice is cheaper.",
        "",
        f"**{invalid} of {len(runs)} runs were invalid and are left out.**"
        if invalid
        else f"All {len(runs)} runs were valid.",
        *([f"**{noisy} of them shared the proxy's core with other work** (more than "
           f"{100 * NOISY:.0f} % of it); trust the ratios more than the absolute costs, and "
           "neither very far."] if noisy else []),
        "",
        table(["case", *units], summary),
        "",
        "## Alongside",
        "",
        "Medians. *core used*: the proxy's CPU time over the window; below about 95 % the proxy "
        "was not the limit, so units/s is not its capacity. *waited*: runnable but not "
        "running. *others* and *steal*: the proxy's core taken by other processes here, or by "
        "the hypervisor. *ksoftirqd*: network work on the proxy's core outside the proxy, not "
        "in the cost. *accepts*: connections the backend accepted during the window, health "
        "checks included.",
        "",
        table(["case", "proxy", "units/s", "µs/MiB", "core used", "waited", "others", "steal",
               "ksoftirqd µs", "accepts", "threads", "lost"], aside),
        "",
        "## What was checked",
        "",
        "Every path by a whole body or an echo, and that it leads through the processes measured."
        if not bench.tls
        else "TLS as negotiated with the load's client settings: "
        + "; ".join(f"{p}: {v}" for p, v in bench.tls.items()) + ".",
        "",
        *(["Request headers at the backend, over TLS: "
           + "; ".join(f"{p} ({len(v)}): {', '.join(v)}" for p, v in bench.headers.items())
           + ".", ""] if bench.headers else []),
        "## Every run",
        "",
        table(["case", "round", "proxy", "units", "cost", "core used", "waited", "steal",
               "verdict"], every),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


# --------------------------------------------------------------------------
# Start


def output_of(*argv: str) -> str:
    """Standard output and error of a short command, whatever its exit status."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10
    )
    return done.stdout + done.stderr


def version_of(*argv: str) -> str:
    """The first line a command prints about its version."""
    try:
        lines = output_of(*argv).strip().splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return lines[0].strip() if lines else "unknown"


def digest(body: bytes) -> str:
    """Short fingerprint of a body."""
    return hashlib.sha256(body).hexdigest()


def load_average() -> str:
    """The machine's 1, 5 and 15 minute load averages."""
    return " ".join(Path("/proc/loadavg").read_text().split()[:3])


def free_ports(count: int) -> list[int]:
    """Free loopback ports below the range the kernel uses for outgoing connections."""
    found: list[int] = []
    for port in random.sample(range(18000, 30000), 2000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            found.append(port)
        if len(found) == count:
            return found
    raise Problem("no free ports between 18000 and 30000")


def collect_facts(bench: Bench, proxies: list[str]) -> dict[str, str]:
    """What a reader needs to know about the machine and the software."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.M)
    siblings = Path(f"/sys/devices/system/cpu/cpu{bench.proxy_cpu}/topology/thread_siblings_list")
    shared = siblings.read_text().strip() if siblings.exists() else "unknown"
    command = ["python3", "bench/versus/run.py"]
    for word in sys.argv[1:]:
        name, equals, value = word.rpartition("=")
        command.append(name + equals + (Path(value).name if value.startswith("/") else value))
    about = output_of("haproxy", "-vv")
    haproxy_tls = re.search(r"^Running on OpenSSL version : (.*)$", about, re.M)
    facts = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "CPU": f"{model[1] if model else 'unknown'}, {os.cpu_count()} logical cores; hardware "
        f"threads sharing the proxy's core {bench.proxy_cpu}: {shared}",
        "load average at start": load_average(),
        "haproxy": version_of("haproxy", "-v").removesuffix(" - https://haproxy.org/")
        + (f", {haproxy_tls[1]}" if haproxy_tls else ""),
        "nginx": version_of("nginx", "-v").removeprefix("nginx version: "),
        "wrk": version_of("wrk", "-v").split(" Copyright")[0],
        "sluice": version_of(bench.args.sluice, "--version") if REFERENCE in proxies else "not run",
        "command": f"`{shlex.join(command)}`",
        "pinning": f"proxy on core {bench.proxy_cpu} with one data thread; the load (one thread), "
        f"the backend and this script on core {bench.load_cpu}",
        "networks": "; ".join(dict.fromkeys(
            bench.network(CASES[c]).about for c in bench.args.cases
        )),
        "windows": f"{bench.args.rounds} round(s) of {bench.args.seconds} s after "
        f"{bench.args.warmup} s of warm-up, order rotated each round, each proxy started "
        f"afresh for each window",
        "metrics": "sluice's /metrics scraped once a second during its windows; haproxy's and "
        "nginx's statistics are off",
    }
    if shared not in (str(bench.proxy_cpu), "unknown"):
        bench.cautions.append("the proxy's core shares hardware with another; see README.md")
    return facts


def rotated(items: Sequence[str], by: int) -> list[str]:
    """The items, started ``by`` places further on."""
    by %= len(items)
    return [*items[by:], *items[:by]]


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sluice", metavar="PATH", help="sluice binary; left out: opponents only")
    parser.add_argument("--cases", default="all",
                        help="comma-separated names, or l4, l7, all (default)")  # fmt: skip
    parser.add_argument("--load", metavar="PATH", help="built bench/load; left out: it is built")
    parser.add_argument("--quick", action="store_true",
                        help="one round of one second: whether it works, no figures")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="0: only the checks (default 5)")
    parser.add_argument("--seconds", type=int, default=5, help="measured window (default 5)")
    parser.add_argument("--warmup", type=int, default=1, help="seconds before it (default 1)")
    parser.add_argument("--out", metavar="FILE.md", type=Path, help="write the report here")
    parser.add_argument("--results-dir", metavar="DIR", type=Path,
                        help="write it to DIR/YYYY-MM-DD-versus.md")  # fmt: skip
    parser.add_argument("--bigbuf", action="store_true",
                        help="10m cases: also haproxy with tune.bufsize 65536")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds, args.warmup = 1, 1, 1
    args.cases = [c for word in args.cases.split(",") if word for c in GROUPS.get(word, [word])]
    if unknown := [c for c in args.cases if c not in CASES]:
        parser.error(f"unknown case {', '.join(unknown)}; there are {', '.join([*CASES, *GROUPS])}")
    if args.rounds < 0 or args.seconds < 1 or args.warmup < 1:
        parser.error("--rounds must be 0 or more, --seconds and --warmup 1 or more")
    if args.sluice:
        args.sluice = str(Path(args.sluice).resolve())
        if not os.access(args.sluice, os.X_OK):
            parser.error(f"{args.sluice} cannot be run")
    return args


def preflight() -> None:
    """End with status 2 when something needed is not there."""
    # Debian keeps haproxy and nginx where only root's PATH looks.
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    missing = [t for t in ("haproxy", "nginx", "wrk", "openssl") if not shutil.which(t)]
    if not missing:
        modules = re.search(r"--modules-path=(\S+)", output_of("nginx", "-V"))
        if modules and not Path(modules[1], "ngx_stream_module.so").exists():
            missing.append("nginx's stream module")
    if missing:
        print(f"missing: {', '.join(missing)}. On Debian:\n  {APT_LINE}", file=sys.stderr)
        raise SystemExit(2)
    if len(os.sched_getaffinity(0)) < 2:
        print("needs two cores: one for the proxy, one for the load", file=sys.stderr)
        raise SystemExit(2)


def build_load() -> str:
    """Build bench/load, which cargo does in seconds the first time; its path."""
    done = subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--message-format", "json",
         "--manifest-path", LOAD_CRATE / "Cargo.toml",
         "--target-dir", LOAD_CRATE.parent.parent / "target" / "load"],
        stdout=subprocess.PIPE, text=True, timeout=300,
    )  # fmt: skip
    built = [json.loads(line).get("executable") for line in done.stdout.splitlines()]
    found = [path for path in built if path]
    if done.returncode or not found:
        print("bench/load could not be built", file=sys.stderr)
        raise SystemExit(2)
    return str(found[-1])


def raise_descriptors() -> None:
    """Let the proxies, which inherit it, have two descriptors and half a pipe for each connection."""
    wanted = 3 * setups.CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        except (ValueError, OSError):
            print(f"needs {wanted} descriptors, ulimit -n is {soft}", file=sys.stderr)
            raise SystemExit(2) from None


def destination(args: argparse.Namespace) -> list[Path]:
    """Files to write the report to; never an existing one in the results directory."""
    found = [args.out] if args.out else []
    if args.results_dir:
        stem = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-versus"
        path, number = args.results_dir / f"{stem}.md", 2
        while path.exists():
            path, number = args.results_dir / f"{stem}-{number}.md", number + 1
        found.append(path)
    return found


def note(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def run_rounds(bench: Bench, proxies: list[str]) -> list[Run]:
    """All measured windows, interleaved."""
    runs: list[Run] = []
    for name in bench.args.cases:
        case = CASES[name]
        bench.start_backends(case)
        taking_part = [p for p in proxies if p not in VARIANTS or p in case.variants]
        if case.datagrams:
            taking_part = [p for p in taking_part if not p.startswith("haproxy")]
        for number in range(1, bench.args.rounds + 1):
            for proxy in rotated(taking_part, number - 1):
                run = bench.measure(proxy, case, number)
                runs.append(run)
                verdict = "INVALID: " + "; ".join(run.problems) if run.problems else (
                    f"{run.us_per_request:10.2f} {case.cost}  {run.rate:8.0f}/s  "
                    f"core {100 * run.core_used:5.1f} %  accepts {run.accepts}  "
                    + "; ".join(run.warnings)
                )  # fmt: skip
                note(f"{name:16} round {number} {proxy:15} {verdict}")
    return runs


def main() -> int:
    """Run everything; 0 when all runs were valid, 1 when not, 2 when not possible."""
    args = parse()
    preflight()
    args.load = args.load or build_load()
    raise_descriptors()
    # Explicitly, because a shell starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(
        prefix="versus-", dir=memory if os.access(memory, os.W_OK) else None
    ))  # fmt: skip
    bench: Bench | None = None
    proxies = [REFERENCE] if args.sluice else []
    proxies += ["haproxy", "nginx"]
    if any(CASES[c].variants for c in args.cases):
        proxies += [v for v in VARIANTS if v != "haproxy-64k" or args.bigbuf]
    try:
        bench = Bench(args, root)
        facts = collect_facts(bench, proxies)
        os.sched_setaffinity(0, {bench.load_cpu})
        if any(CASES[c].listener in ("plain", "secure") for c in args.cases):
            bench.check_headers(proxies)
        for caution in bench.cautions:
            note(f"caution: {caution}")
        for proxy in bench.headers:
            names = ", ".join(bench.headers[proxy])
            note(f"{proxy}: {bench.tls[proxy]}; headers upstream: {names}")
        runs = run_rounds(bench, proxies)
        if not runs:
            return 0
        facts["load average at end"] = load_average()
        text = report(bench, runs, facts, proxies)
        print(text)
        for path in destination(args):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            note(f"written to {path}")
        return 1 if any(r.problems for r in runs) else 0
    except (Problem, OSError, http.client.HTTPException, subprocess.SubprocessError) as problem:
        note(f"cannot go on: {problem}")
        for log in sorted(root.glob("*.log")) + sorted(root.glob("*.err")):
            if tail := log.read_text(errors="replace").strip()[-500:]:
                note(f"--- {log.name}\n{tail}")
        return 1
    except KeyboardInterrupt:
        note("interrupted")
        return 130
    finally:
        # A second Ctrl-C must not leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if bench:
            bench.children.stop_all()
        if args.keep:
            note(f"kept: {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
