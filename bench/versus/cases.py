"""The workloads, and who takes part in them."""

from __future__ import annotations

from dataclasses import dataclass

#: Whom the others are compared with.
REFERENCE = "sluice"
#: haproxy variants: "option splice-auto", splicing always, a larger buffer. With
#: 16 KiB bodies haproxy never splices (seen with strace), so they say nothing there.
VARIANTS = ("haproxy-auto", "haproxy-splice", "haproxy-64k")
#: The ``splice`` of each haproxy in setups.py.
SPLICE = {"haproxy-auto": "auto", "haproxy-splice": "always"}


@dataclass(frozen=True)
class Case:
    """One workload."""

    name: str
    listener: str  # a field of Ports: plain, secure, l4, echo or datagrams
    path: str  # of the request
    body: int  # bytes
    connections: int  # or flows
    big: bool = False  # nginx gets big buffers
    variants: tuple[str, ...] = ()  # haproxy variants taking part
    load: str = "wrk"  # or h2load, or a word of bench/load
    unit: str = "request"
    net: str = "loopback"  # or veth, segments
    window: int = 1  # requests or datagrams under way on each connection or flow

    @property
    def datagrams(self) -> bool:
        """Whether it is about UDP, which haproxy does not forward."""
        return self.listener == "datagrams"

    @property
    def echoes(self) -> bool:
        """Whether an echo server stands behind it, and not nginx."""
        return self.listener in ("echo", "datagrams")

    @property
    def http(self) -> bool:
        """Whether the proxy looks at requests."""
        return self.listener in ("plain", "secure")

    @property
    def holds(self) -> bool:
        """Whether it is about the memory of connections that rest."""
        return self.load in ("hold", "http-hold", "https-hold")

    @property
    def open(self) -> bool:
        """Whether requests come at a constant rate, and their latency is what counts."""
        return self.load == "http-open"

    @property
    def figures(self) -> tuple[str, ...]:
        """What is measured, each with its unit; the first says most."""
        if self.holds:
            return ("bytes/connection",)
        cost = f"µs/{self.unit}"
        return ("p99.9 µs", "p99 µs", "p50 µs", cost) if self.open else (cost,)

    @property
    def places(self) -> int:
        """Digits worth showing behind the point."""
        return 0 if self.body >= 2**20 or self.holds else 2


MIB10 = 10 * 1024 * 1024
CASES = {
    c.name: c
    for c in (
        Case("h1-small", "plain", "/small", 100, 32),
        Case("h1-16k", "plain", "/16k", 16 * 1024, 32, big=True),
        Case("h1-10m", "plain", "/10m", MIB10, 4, big=True, variants=VARIANTS[1:]),
        Case("h1-close", "plain", "/small", 100, 32, load="http-close", unit="connection"),
        Case("https-small", "secure", "/small", 100, 32),
        Case("https-10m", "secure", "/10m", MIB10, 4, big=True, variants=VARIANTS[2:]),
        Case("tls-full", "secure", "/small", 100, 32, load="tls-full", unit="connection"),
        Case("tls-resumed", "secure", "/small", 100, 32, load="tls-resumed", unit="connection"),
        Case("h2-small", "secure", "/small", 100, 4, load="h2load", window=16),
        Case("open-loop", "plain", "/small", 100, 64, load="http-open"),
        Case("http-idle", "plain", "/small", 100, 5000, load="http-hold", unit="connection"),
        Case("https-idle", "secure", "/small", 100, 5000, load="https-hold", unit="connection"),
        Case("tcp-small", "l4", "/small", 100, 32, variants=("haproxy-auto",)),
        Case("tcp-10m", "l4", "/10m", MIB10, 4, big=True, variants=VARIANTS),
        Case("tcp-10m-veth", "l4", "/10m", MIB10, 4, big=True, variants=VARIANTS, net="veth"),
        Case("tcp-1m-segments", "l4", "/1m", MIB10 // 10, 4, big=True, variants=VARIANTS,
             net="segments"),
        Case("tcp-connect", "echo", "", 64, 32, load="connect", unit="connection"),
        Case("tcp-idle", "echo", "", 64, 5000, load="hold", unit="connection"),
        Case("udp-echo", "datagrams", "", 64, 256, load="udp", unit="datagram"),
        Case("udp-burst", "datagrams", "", 64, 256, load="udp", unit="datagram", window=8),
    )
}  # fmt: skip
#: Names that stand for several cases.
GROUPS = {
    "l4": [n for n in CASES if n.startswith(("tcp-", "udp-"))],
    "l7": [n for n, c in CASES.items() if c.http],
    "all": list(CASES),
}
