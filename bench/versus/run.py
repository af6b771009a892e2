#!/usr/bin/env python3
"""Side-by-side benchmark: sluice against haproxy and nginx.

Measures the CPU time each proxy spends per completed request, connection or
datagram, with every proxy limited to one core and one data thread, and runs
interleaved so that each sluice run has an haproxy and an nginx run next to it
in time. Some cases measure the memory of idle connections instead, one the
latency at a constant rate.

See README.md in this directory for the method and its limits.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import checks
from ask import Problem
from cases import CASES, GROUPS, REFERENCE, VARIANTS
from facts import collect_facts
from measure import Run, measure, settle_rate
from report import report
from stand import Bench
from tools import build_load, load_average, note, preflight, raise_descriptors


def rotated(items: Sequence[str], by: int) -> list[str]:
    """The items, started ``by`` places further on."""
    by %= len(items)
    return [*items[by:], *items[:by]]


def _binary(parser: argparse.ArgumentParser, path: str) -> str:
    """The whole path of a binary that can be run; ends with an error if it cannot."""
    whole = str(Path(path).resolve())
    if not os.access(whole, os.X_OK):
        parser.error(f"{whole} cannot be run")
    return whole


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sluice", metavar="PATH", help="sluice binary; left out: opponents only")
    parser.add_argument("--also", metavar="NAME=PATH", action="append", default=[],
                        help="another sluice binary that takes part under this name; repeatable")  # fmt: skip
    parser.add_argument("--alone", action="store_true",
                        help="without haproxy and nginx, to compare binaries of sluice")  # fmt: skip
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
    if (args.also or args.alone) and not args.sluice:
        parser.error("--also and --alone need --sluice, which the others are compared with")
    also: dict[str, str] = {}
    for word in args.also:
        name, _, binary = word.partition("=")
        if not re.fullmatch(r"[a-z0-9-]+", name) or not binary:
            parser.error(f"--also {word} is not NAME=PATH, the name in a-z, 0-9 and -")
        if name in (REFERENCE, "haproxy", "nginx", *VARIANTS, *also):
            parser.error(f"--also {word}: the name {name} is taken")
        also[name] = binary
    args.also = {name: _binary(parser, path) for name, path in also.items()}
    if args.sluice:
        args.sluice = _binary(parser, args.sluice)
    if args.load:
        args.load = _binary(parser, args.load)
    return args


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


def run_rounds(bench: Bench, proxies: list[str]) -> list[Run]:
    """All measured windows, interleaved."""
    runs: list[Run] = []
    for name in bench.args.cases:
        case = CASES[name]
        bench.start_backends(case)
        taking_part = [p for p in proxies if p not in VARIANTS or p in case.variants]
        if case.datagrams:
            taking_part = [p for p in taking_part if not p.startswith("haproxy")]
        if case.open and bench.args.rounds:
            settle_rate(bench, case, taking_part)
            note(f"{name:16} {bench.rates[name]} requests a second")
        for number in range(1, bench.args.rounds + 1):
            for proxy in rotated(taking_part, number - 1):
                run = measure(bench, proxy, case, number)
                runs.append(run)
                verdict = "INVALID: " + "; ".join(run.problems) if run.problems else (
                    f"{run.told:>10}  {run.rate:8.0f}/s  "
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
    proxies = [REFERENCE, *args.also] if args.sluice else []
    proxies += [] if args.alone else ["haproxy", "nginx"]
    if any(CASES[c].variants for c in args.cases) and not args.alone:
        proxies += [v for v in VARIANTS if v != "haproxy-64k" or args.bigbuf]
    try:
        bench = Bench(args, root)
        facts = collect_facts(bench)
        os.sched_setaffinity(0, {bench.load_cpu})
        if any(CASES[c].http for c in args.cases):
            checks.headers(bench, proxies)
        for caution in bench.cautions:
            note(f"caution: {caution}")
        for proxy in bench.headers:
            names = ", ".join(bench.headers[proxy])
            note(f"{proxy}: {bench.tls[proxy]}; headers upstream: {names}")
        if any(CASES[c].load.startswith("tls-") for c in args.cases):
            bench.start_backends(CASES["tls-full"])
            checks.handshakes(bench, [p for p in proxies if p not in VARIANTS])
            for proxy, counted in bench.handshakes.items():
                note(f"{proxy}: handshakes {counted}")
        runs = run_rounds(bench, proxies)
        if not runs:
            return 0
        for name, rate in bench.rates.items():
            closed = ", ".join(f"{p} {found:.0f}" for p, found in bench.closed.items())
            facts[name] = (
                f"{rate} requests/s on {CASES[name].connections} connections; "
                f"in a closed loop (wrk, 32 connections) {closed}"
            )
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
