#!/usr/bin/env python3
"""System calls of each proxy per connection and per message, counted with strace.

Two loads pass through each proxy under ``strace -c``: many connections with one
message each, and few connections with many messages. From the two counts follow
those of one connection and of one message. For UDP the calls of a window are
divided by the datagrams that came back. One connection or message is under way
at a time, so each is paid for in full: under load, one epoll_wait serves
several, and a proxy that batches saves more.

Counts do not depend on what else the machine does, so this needs no quiet one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ask import Problem
from cases import CASES
from network import LOOPBACK
from proc import processes_of
from report import table
from stand import Bench
from tools import build_load, note, preflight, raise_descriptors

#: The two loads: connections, and messages on each.
MANY_CONNECTIONS = (500, 1)
MANY_MESSAGES = (4, 1000)
#: Flows and seconds of the UDP load.
FLOWS, SECONDS = 64, 2

Counts = dict[str, int]


def counted(bench: Bench, child: subprocess.Popen[bytes], argv: list[str]) -> tuple[Counts, str]:
    """Run a load while every thread of the proxy is traced; calls by name, and what the load wrote."""
    counts = bench.root / "strace.txt"
    pids = [x for pid in sorted(processes_of(child.pid)) for x in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", "-U", "calls,name", "-o", counts, *pids],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=os.setsid,
    )  # fmt: skip
    assert tracer.stderr
    try:
        wait_attached(child.pid)
        note(f"tracing: {' '.join(argv[1:])}")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        time.sleep(0.3)  # the ends of the last connections
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    if done.returncode:
        raise Problem(f"load failed: {done.stderr}")
    rows = re.findall(r"^ *(\d+) +(\w+)$", counts.read_text(), re.M)
    return {name: int(calls) for calls, name in rows if name != "total"}, done.stdout


def wait_attached(leader: int) -> None:
    """Wait until every thread of the proxy has a tracer."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        tasks = [
            Path(f"/proc/{pid}/task/{task}/status").read_text()
            for pid in processes_of(leader)
            for task in os.listdir(f"/proc/{pid}/task")
        ]
        if tasks and all(not re.search(r"^TracerPid:\s*0$", text, re.M) for text in tasks):
            return
        time.sleep(0.02)
    raise Problem("strace could not attach; is ptrace permitted?")


def of_streams(bench: Bench, proxy: str) -> tuple[dict[str, float], dict[str, float]]:
    """Calls per connection and per message, there and back, of a proxy."""
    case = CASES["tcp-connect"]
    at = f"{LOOPBACK.proxy}:{bench.ports.echo}"
    child = bench.start_proxy(proxy, case)
    try:
        subprocess.run([bench.args.load, "ping", at, "50", "10"], check=True, capture_output=True)
        (c1, m1), (c2, m2) = MANY_CONNECTIONS, MANY_MESSAGES
        first, _ = counted(bench, child, [bench.args.load, "ping", at, str(c1), str(m1)])
        second, _ = counted(bench, child, [bench.args.load, "ping", at, str(c2), str(m2)])
    finally:
        bench.children.stop(child)
    # connections * x + messages * y = calls, twice.
    connection, message = {}, {}
    m1, m2 = c1 * m1, c2 * m2
    for name in first.keys() | second.keys():
        a, b = first.get(name, 0), second.get(name, 0)
        connection[name] = (a * m2 - b * m1) / (c1 * m2 - c2 * m1)
        message[name] = (b - c2 * connection[name]) / m2
    return connection, message


def of_datagrams(bench: Bench, proxy: str, window: int) -> dict[str, float]:
    """Calls per datagram, there and back, of a proxy under as much load as it takes."""
    case = CASES["udp-echo"]
    at = f"{LOOPBACK.proxy}:{bench.ports.datagrams}"
    child = bench.start_proxy(proxy, case)
    try:
        argv = [bench.args.load, "udp", at, str(FLOWS), str(window)]
        subprocess.run([*argv, "1"], check=True, capture_output=True)
        calls, told = counted(bench, child, [*argv, str(SECONDS)])
    finally:
        bench.children.stop(child)
    match = re.search(r"^VERSUS (\d+)", told, re.M)
    units = int(match[1]) if match else 1
    return {name: count / units for name, count in calls.items()}


def show(title: str, found: dict[str, dict[str, float]]) -> str:
    """One table: a row for each call that is made at least once in twenty units by anybody."""
    proxies = list(found)
    names = {name for calls in found.values() for name, n in calls.items() if n >= 0.05}
    ordered = sorted(names, key=lambda name: -max(calls.get(name, 0) for calls in found.values()))
    rows = [
        [f"`{name}`", *(f"{n:.2f}" if (n := found[p].get(name, 0)) >= 0.005 else "–" for p in proxies)]
        for name in ordered
    ]  # fmt: skip
    rows.append(["all", *(f"{sum(max(n, 0) for n in found[p].values()):.2f}" for p in proxies)])
    return f"### {title}\n\n" + table([f"{title}", *proxies], rows) + "\n"


def main() -> int:
    """Count and print; 0 when all went well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sluice", metavar="PATH", required=True, help="sluice binary")
    parser.add_argument("--load", metavar="PATH", help="built bench/load; left out: it is built")
    args = parser.parse_args()
    args.sluice = str(Path(args.sluice).resolve())
    preflight()
    if not shutil.which("strace"):
        print("missing: strace. On Debian:\n  apt-get install strace", file=sys.stderr)
        return 2
    raise_descriptors()
    args.load = str(Path(args.load).resolve()) if args.load else build_load()
    root = Path(tempfile.mkdtemp(prefix="syscalls-"))
    bench = Bench(args, root)
    try:
        bench.start_backends(CASES["tcp-connect"])
        streams = {p: of_streams(bench, p) for p in ("sluice", "haproxy", "nginx")}
        print(show("per connection", {p: found[0] for p, found in streams.items()}))
        print(show("per message there and back", {p: found[1] for p, found in streams.items()}))
        for window in (1, 8):
            found = {p: of_datagrams(bench, p, window) for p in ("sluice", "nginx")}
            title = f"per datagram there and back, {FLOWS} flows, {window} under way in each"
            print(show(title, found))
        return 0
    except (Problem, OSError, subprocess.SubprocessError) as problem:
        print(f"cannot go on: {problem}", file=sys.stderr)
        return 1
    finally:
        bench.children.stop_all()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
