"""The stand: scratch directory, certificate, bodies, backends, and the start of a proxy."""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
from pathlib import Path

import network
import setups
from ask import HOST, Problem, get, wait_ready
from cases import CASES, REFERENCE, SPLICE, VARIANTS, Case
from network import BACKEND, CLIENT, LOOPBACK, PROXY, Network
from proc import Children, find_ksoftirqd
from tools import free_ports, output_of


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
        self.handshakes: dict[str, str] = {}  # how the kinds were counted, and by whom
        #: Requests a second of each open loop, and the rates it was made from.
        self.rates: dict[str, int] = {}
        self.closed: dict[str, float] = {}
        #: Binaries of sluice by the name they run under.
        self.sluices: dict[str, str] = {REFERENCE: args.sluice} if args.sluice else {}
        self.sluices |= getattr(args, "also", {})

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
            if not case.path or case.path in self.bodies:
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

    def start_proxy(self, proxy: str, case: Case, tell: bool = False) -> subprocess.Popen[bytes]:
        """Start a proxy on its core with the configuration for the case.

        With ``tell`` an opponent writes for each request over TLS whether its
        session was resumed; that is for checks only.
        """
        argv: list[str | Path]
        net = self.network(case)
        ready = [(CLIENT, net.proxy, self.ports.plain, "/small")]
        stem = f"{proxy}.{net.name}.{'big' if case.big else 'small'}"
        if proxy == "nginx":
            text = setups.nginx(self.site, self.ports, net, case.big, tell)
            conf = self._write(f"{stem}.conf", text)
            argv = ["nginx", "-p", self.root, "-e", self.root / "nginx.err", "-c", conf]
        elif proxy == "haproxy" or proxy in VARIANTS:
            text = setups.haproxy(
                self.site, self.ports, net, SPLICE.get(proxy, ""),
                65536 if proxy == "haproxy-64k" else None, tell,
            )  # fmt: skip
            conf = self._write(f"{stem}.cfg", text)
            argv = ["haproxy", "-db", "-f", conf]
        else:
            conf = self._write(
                f"{proxy}.yaml", setups.sluice(self.site, self.ports, net, case.datagrams)
            )
            argv = [self.sluices[proxy], "run", "--config", conf]
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

    def listener_port(self, case: Case) -> int:
        """Port of the listener the case uses."""
        return int(getattr(self.ports, case.listener))

    def at(self, case: Case) -> tuple[str, int]:
        """Where the load of the case reaches the proxy."""
        return self.network(case).proxy, self.listener_port(case)

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
