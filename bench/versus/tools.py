"""What the bench needs around it: tools, free ports, descriptors, and facts of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import setups
from ask import HOST, Problem

#: Source of the load and echo server that wrk and nginx cannot stand in for.
LOAD_CRATE = Path(__file__).resolve().parent.parent / "load"

APT_LINE = "apt-get install --no-install-recommends haproxy nginx libnginx-mod-stream wrk nghttp2-client openssl"


def note(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


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


def preflight() -> None:
    """End with status 2 when something needed is not there."""
    # Debian keeps haproxy and nginx where only root's PATH looks.
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    missing = [t for t in ("haproxy", "nginx", "wrk", "h2load", "openssl") if not shutil.which(t)]
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
    """Build bench/load, which takes cargo a minute or two the first time; its path."""
    # The versions of sluice's own dependencies, which are vetted.
    shutil.copyfile(LOAD_CRATE.parent.parent / "Cargo.lock", LOAD_CRATE / "Cargo.lock")
    done = subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--message-format", "json",
         "--manifest-path", LOAD_CRATE / "Cargo.toml",
         "--target-dir", LOAD_CRATE.parent.parent / "target" / "load"],
        stdout=subprocess.PIPE, text=True, timeout=1200,
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
