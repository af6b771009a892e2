"""The programs that make the load: their commands, and what they report."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import setups
from ask import HOST, LOAD_HEADERS, LOAD_HOST, Problem
from cases import Case

#: Kinds of errors a load tells of.
ERRORS = ("connect", "read", "write", "status", "timeout")
#: Words of the open loop, in the order in which it tells the shares.
SHARES = ("p50 µs", "p99 µs", "p99.9 µs", "most µs")


@dataclass(frozen=True)
class Load:
    """What one run of a load reported; ``requests`` counts the case's unit."""

    requests: int
    bytes: int
    seconds: float
    errors: dict[str, int]
    lost: int = 0  # datagrams
    seeds: int = 0  # full handshakes that gave the first tickets
    latency: dict[str, float] = field(default_factory=dict)  # by the words of SHARES
    late: dict[str, float] = field(default_factory=dict)  # the load's own lateness


def command(
    case: Case, at: tuple[str, int], seconds: int, built: str, cert: Path, lua: Path, rate: int
) -> list[str]:
    """The command that makes the load of a case at an address and port; ``rate`` is of an open loop."""
    host, port = at
    reach, connections, span = f"{host}:{port}", str(case.connections), str(seconds)
    match case.load:
        case "connect":
            return [built, "connect", reach, connections, span]
        case "udp":
            return [built, "udp", reach, connections, str(case.window), span]
        case "http-close":
            return [built, case.load, reach, case.path, connections, span]
        case "tls-full" | "tls-resumed":
            return [built, case.load, reach, str(cert), case.path, connections, span]
        case "http-open":
            return [built, case.load, reach, case.path, connections, str(rate), span]
        case "hold":
            return [built, case.load, reach, connections]
        case "http-hold":
            return [built, case.load, reach, case.path, connections]
        case "https-hold":
            return [built, case.load, reach, str(cert), case.path, connections]
    scheme = "https" if case.listener == "secure" else "http"
    headers = [x for k, v in LOAD_HEADERS.items() for x in ("-H", f"{k}: {v}")]
    url = f"{scheme}://{LOAD_HOST if host == HOST else host}:{port}{case.path}"
    if case.load == "h2load":
        return [
            "h2load", "-t", "1", "-c", connections, "-m", str(case.window), "-D", span,
            f"--groups={setups.TLS_GROUP}", f"--tls13-ciphers={setups.TLS_SUITE}", *headers, url,
        ]  # fmt: skip
    return [
        "wrk", "-t", "1", "-c", connections, "-d", f"{seconds}s",
        "--timeout", "10s", "-s", str(lua), *headers, url,
    ]  # fmt: skip


def parse(case: Case, text: str) -> Load:
    """What the load of a case reported in its output."""
    return _of_h2load(text) if case.load == "h2load" else _of_ours(text)


def _of_ours(text: str) -> Load:
    """The report of bench/load, and of wrk with our hook."""
    match = re.search(r"^VERSUS ([\d ]+)$", text, re.M)
    if not match:
        raise Problem(f"the load reported nothing: {text[-300:]!r}")
    n = [int(x) for x in match[1].split()]
    told = {
        word: dict(zip(SHARES, map(float, values.split()), strict=True))
        for word, values in re.findall(r"^(LATENCY|LATE) ([\d. ]+)$", text, re.M)
    }
    lost, seeds = (re.search(rf"^{word} (\d+)$", text, re.M) for word in ("LOST", "SEEDS"))
    return Load(
        n[0], n[1], n[2] / 1e6, dict(zip(ERRORS, n[3:], strict=True)),
        int(lost[1]) if lost else 0, int(seeds[1]) if seeds else 0,
        told.get("LATENCY", {}), told.get("LATE", {}),
    )  # fmt: skip


def _of_h2load(text: str) -> Load:
    """The report of h2load, which must have spoken what it was told to."""
    for line in (
        "TLS Protocol: TLSv1.3", f"Cipher: {setups.TLS_SUITE}",
        f"Server Temp Key: {setups.TLS_GROUP} 253 bits", "Application protocol: h2",
    ):  # fmt: skip
        if line not in text.splitlines():
            raise Problem(f"h2load did not report {line!r}: {text[-300:]!r}")
    time = re.search(r"^finished in ([\d.]+)(s|ms)", text, re.M)
    requests = re.search(
        r"^requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, "
        r"(\d+) failed, (\d+) errored, (\d+) timeout$", text, re.M,
    )  # fmt: skip
    codes = re.search(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$", text, re.M)
    traffic = re.search(r"^traffic: \S+ \((\d+)\) total", text, re.M)
    if not (time and requests and codes and traffic):
        raise Problem(f"h2load reported something else: {text[-300:]!r}")
    # "failed" contains the errored and the timed out ones.
    done, failed, _, timeouts = map(int, requests.groups())
    status = sum(map(int, codes.groups()[1:]))
    seconds = float(time[1]) / (1 if time[2] == "s" else 1000)
    errors = dict(zip(ERRORS, (0, failed - timeouts, 0, status, timeouts), strict=True))
    return Load(done, int(traffic[1]), seconds, errors)
