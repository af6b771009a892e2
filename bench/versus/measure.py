"""One measured window of one proxy."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import checks
import loads
from ask import Problem, get
from cases import CASES, Case
from loads import Load
from network import CLIENT, PROXY
from proc import (
    CpuSample,
    busy,
    descriptors_of,
    processes_of,
    proportional_memory,
    sample_cpu,
)
from stand import Bench

#: Share of the proxy's core used by others above which a run is called noisy.
NOISY = 0.05
#: Share of the load's core in use above which an open loop is not one: the load
#: and the backend would be what is measured. Its rate is settled for less.
SATURATED, COMFORTABLE = 0.90, 0.80
#: The load's own lateness, as a share of the latency at the same quantile, above
#: which an open loop is invalid.
LATE = 0.5
#: How long connections have rested when memory is weighed, in seconds.
REST = 3


@dataclass
class Run:
    """One measured window of one proxy."""

    case: str
    proxy: str
    round: int
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    requests: int = 0
    figures: dict[str, float] = field(default_factory=dict)  # by the words of the case's figures
    us_per_mib: float = 0.0
    rate: float = 0.0
    core_used: float = 0.0  # share of the window the proxy was running
    waited: float = 0.0  # share of the window it was runnable but not running
    others: float = 0.0  # share of the core taken by anything else
    steal: float = 0.0
    load_core: float = 0.0  # share of the window the core of load and backend was busy
    ksoftirqd_us: float = 0.0  # per request, not included in the cost
    accepts: int = 0  # connections the backend accepted during the window
    threads: int = 0
    scrapes: int = 0
    lost: int = 0  # datagrams that did not come back
    late: float = 0.0  # p99.9 of an open loop's own lateness, µs

    @property
    def told(self) -> str:
        """Its figures, as one text."""
        return ", ".join(f"{value:.2f} {word}" for word, value in self.figures.items())


def measure(bench: Bench, proxy: str, case: Case, number: int) -> Run:
    """Start a proxy, check it, warm it up, measure one window, stop it."""
    run = Run(case.name, proxy, number)
    child: subprocess.Popen[bytes] | None = None
    try:
        child = bench.start_proxy(proxy, case)
        if proxy == "haproxy-splice":
            checks.splices(bench, case, child.pid)  # first: it keeps the pipes it has once used
        checks.path(bench, case, frozenset(processes_of(child.pid)))
        if case.holds:
            _weigh(bench, run, case, child)
        else:
            load(bench, case, bench.args.warmup, None)
            time.sleep(0.2)
            _window(bench, run, case, child)
    except (Problem, OSError, http.client.HTTPException) as problem:
        run.problems.append(str(problem))
    finally:
        if child:
            bench.children.stop(child)
    return run


def settle_rate(bench: Bench, case: Case, proxies: Sequence[str]) -> None:
    """Settle the rate of an open loop: half of what the slowest proxy does in a closed one.

    It is less where the load and the backend would not have enough of their
    core, which a trial with that proxy shows.
    """
    closed = replace(CASES["h1-small"], name=case.name)
    seconds = min(3, bench.args.seconds)
    for proxy in proxies:
        with _started(bench, proxy, case):
            load(bench, closed, bench.args.warmup, None)
            found, _ = load(bench, closed, seconds, None)
            bench.closed[proxy] = found.requests / found.seconds
    slowest = min(bench.closed, key=lambda proxy: bench.closed[proxy])
    half = int(bench.closed[slowest] / 2)
    bench.rates[case.name] = half
    with _started(bench, slowest, case):
        for _ in range(4):
            before, since = busy(bench.load_cpu)[0], time.monotonic_ns()
            load(bench, case, seconds, None)
            share = (busy(bench.load_cpu)[0] - before) / (time.monotonic_ns() - since)
            if share <= COMFORTABLE:
                break
            bench.rates[case.name] = int(bench.rates[case.name] * COMFORTABLE * 0.95 / share)
    if (rate := bench.rates[case.name]) < half:
        bench.cautions.append(
            f"{case.name} ran at {rate} requests/s and not at {half}, half of {slowest}'s, "
            "because the load's core would have been too busy"
        )


@contextlib.contextmanager
def _started(bench: Bench, proxy: str, case: Case) -> Iterator[None]:
    """The proxy runs for the duration of the block."""
    child = bench.start_proxy(proxy, case)
    try:
        yield
    finally:
        bench.children.stop(child)


def _argv(bench: Bench, case: Case, seconds: int) -> list[str]:
    return loads.command(
        case, bench.at(case), seconds, bench.args.load, bench.site.cert,
        bench.root / "done.lua", bench.rates.get(case.name, 0),
    )  # fmt: skip


def load(bench: Bench, case: Case, seconds: int, admin: int | None) -> tuple[Load, int]:
    """Run the load; meanwhile scrape /metrics once a second if given an admin port."""
    argv = _argv(bench, case, seconds)
    conf = str(bench.root / "openssl.cnf")
    net = bench.network(case)
    name = argv[0].rpartition("/")[2]
    child = bench.children.start(
        name, argv, bench.load_cpu, True, net.spaces.get(CLIENT), OPENSSL_CONF=conf
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
        bench.children.stop(child)
    if child.returncode:
        last = (bench.root / f"{name}.log").read_text().strip().rpartition("\n")[2]
        raise Problem(f"{name} failed with status {child.returncode}: {last or text[-300:]!r}")
    return loads.parse(case, text), scrapes


@contextlib.contextmanager
def _held(bench: Bench, case: Case, connections: int) -> Iterator[None]:
    """So many connections are open through the proxy, each after one message or request, for the block."""
    net = bench.network(case)
    argv = _argv(bench, replace(case, connections=connections), 0)
    child = bench.children.start("load", argv, bench.load_cpu, True, net.spaces.get(CLIENT))
    assert child.stdout
    try:
        line = child.stdout.readline().decode()  # it gives up by itself
        if line != f"READY {connections}\n":
            raise Problem(f"{connections} connections could not be opened, see load's log")
        yield
        if child.poll() is not None:
            raise Problem("a connection was closed while it rested, see load's log")
    finally:
        bench.children.stop(child)


def _weigh(bench: Bench, run: Run, case: Case, child: subprocess.Popen[bytes]) -> None:
    """The growth of the proxy's memory while it holds idle connections, for each of them."""
    with _held(bench, case, 200):  # what the first connections cost once
        pass
    time.sleep(0.5)
    before, few = proportional_memory(child.pid), descriptors_of(child.pid)
    with _held(bench, case, case.connections):
        time.sleep(REST)
        grown = proportional_memory(child.pid) - before
        held = descriptors_of(child.pid) - few
    if held < case.connections - 64:  # a connection to the backend may have ended
        run.problems.append(f"the proxy held {held} descriptors more, not {case.connections}")
    run.requests = case.connections
    run.figures = {case.figures[0]: grown / case.connections}


def _window(bench: Bench, run: Run, case: Case, child: subprocess.Popen[bytes]) -> None:
    """The measured window: counters, load, counters."""
    admin = bench.ports.admin if run.proxy in bench.sluices else None
    cores = (bench.proxy_cpu, bench.load_cpu, bench.ksoftirqd)
    accepts0, requests0 = bench.backend_counts(case)
    before = sample_cpu(child.pid, *cores)
    started = time.monotonic_ns()
    found, run.scrapes = load(bench, case, bench.args.seconds, admin)
    # The proxy is idle on both edges, so no running thread's time is stale.
    time.sleep(0.05)
    after = sample_cpu(child.pid, *cores)
    wall = time.monotonic_ns() - started
    accepts1, requests1 = bench.backend_counts(case)

    ran = after.since(before, 0)
    soft = after.ksoftirqd - before.ksoftirqd
    run.requests = found.requests
    run.rate = found.requests / found.seconds
    known = found.latency | {f"µs/{case.unit}": ran / 1e3 / max(found.requests, 1)}
    run.figures = {word: known[word] for word in case.figures}
    run.us_per_mib = ran / 1e3 / max(found.bytes / 2**20, 1e-9)
    run.core_used = ran / (found.seconds * 1e9)
    run.waited = after.since(before, 1) / wall
    run.others = max(0.0, (after.core_busy - before.core_busy - ran - soft) / wall)
    run.steal = (after.core_steal - before.core_steal) / wall
    run.load_core = (after.load_busy - before.load_busy) / wall
    run.ksoftirqd_us = soft / 1e3 / max(found.requests, 1)
    # nginx counts our own read of its counters.
    own = 0 if case.echoes else 1
    run.accepts = accepts1 - accepts0 - own
    run.threads = len(after.threads)
    run.lost = found.lost
    run.late = found.late.get("p99.9 µs", 0.0)
    _judge(bench, run, case, found, before, after, requests1 - requests0 - own)


def _judge(
    bench: Bench, run: Run, case: Case, found: Load, before: CpuSample, after: CpuSample, seen: int
) -> None:
    """Decide whether the window may be used; note why if not."""
    bad = run.problems
    if errors := {k: v for k, v in found.errors.items() if v}:
        bad.append(f"the load saw errors: {errors}")
    if found.lost:
        text = f"{found.lost} datagrams lost"
        (bad if found.lost > found.requests / 100 else run.warnings).append(text)
    if found.requests < case.connections:
        bad.append(f"only {found.requests} requests completed")
    elif found.bytes / found.requests < case.body:
        bad.append(f"responses of {found.bytes / found.requests:.0f} bytes are too short")
    if found.seconds < bench.args.seconds * 0.95:
        bad.append(f"the load ran for {found.seconds:.2f} s only")
    if before.pids != after.pids:
        bad.append("the proxy's processes changed during the window")
    ran, clock = after.since(before, 0), after.clock - before.clock
    if abs(ran - clock) > max(0.01 * clock, 5e6):
        bad.append(f"schedstat says {ran / 1e9:.3f} s of CPU, the CPU clock {clock / 1e9:.3f}")
    if run.proxy in bench.sluices and run.scrapes < bench.args.seconds - 1:
        bad.append(f"/metrics was scraped only {run.scrapes} times")
    # Probes add to what the backend saw: at most one a second per listener pool.
    probes = 3 * (bench.args.seconds + 3)
    under_way = case.connections * case.window + found.lost + found.seeds
    if not found.requests <= seen <= found.requests + under_way + probes:
        bad.append(f"the load counts {found.requests}, the backend {seen}")
    if not case.echoes and run.accepts > 3 * case.connections * case.window + probes:
        text = f"{run.accepts} upstream connections: they are not being reused"
        # For an opponent that is our mistake; for sluice it is a finding.
        (run.warnings if run.proxy in bench.sluices else bad).append(text)
    if case.open:
        _judge_punctuality(run, found)
    if run.others > NOISY:
        run.warnings.append(f"noisy: others had {100 * run.others:.0f} % of the core")
    if run.steal > NOISY:
        run.warnings.append(f"noisy: {100 * run.steal:.0f} % stolen by the hypervisor")


def _judge_punctuality(run: Run, found: Load) -> None:
    """Decide whether an open loop was one, or its load and the backend had too little of their core."""
    for word in ("p99 µs", "p99.9 µs"):
        late, latency = found.late[word], found.latency[word]
        if late > LATE * latency:
            run.problems.append(f"the load itself was late: {word} {late:.0f} of {latency:.0f}")
    if run.load_core > SATURATED:
        share = f"{100 * run.load_core:.0f} %"
        run.problems.append(f"the load's core was busy for {share} of the window")
