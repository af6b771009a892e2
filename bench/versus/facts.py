"""What a reader needs to know about the machine and the software."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shlex
import sys
from pathlib import Path

from cases import CASES
from stand import Bench
from tools import load_average, output_of, version_of


def collect_facts(bench: Bench) -> dict[str, str]:
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
        "h2load": version_of("h2load", "--version"),
        **(
            {p: version_of(path, "--version") for p, path in bench.sluices.items()}
            or {"sluice": "not run"}
        ),
        "command": f"`{shlex.join(command)}`",
        "pinning": f"proxy on core {bench.proxy_cpu} with one data thread; the load (one thread), "
        f"the backend and this script on core {bench.load_cpu}",
        "networks": "; ".join(
            dict.fromkeys(bench.network(CASES[c]).about for c in bench.args.cases)
        ),
        "windows": f"{bench.args.rounds} round(s) of {bench.args.seconds} s after "
        f"{bench.args.warmup} s of warm-up, order rotated each round, each proxy started "
        f"afresh for each window",
        "metrics": "sluice's /metrics scraped once a second during its windows; haproxy's and "
        "nginx's statistics are off",
    }
    if shared not in (str(bench.proxy_cpu), "unknown"):
        bench.cautions.append("the proxy's core shares hardware with another; see README.md")
    return facts
