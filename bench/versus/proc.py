"""Child processes on a core of their own, and what /proc tells of them: CPU time, memory, descriptors."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import network

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
    load_busy: int  # the same as core_busy of the core that load and backend share

    def since(self, before: CpuSample, index: int) -> int:
        """Growth of run (0) or waiting (1) time, over the threads alive now.

        What a thread spent that ended in between is missing here; the
        comparison with ``clock`` shows whether that matters.
        """
        return sum(
            now[index] - before.threads.get(key, (0, 0))[index] for key, now in self.threads.items()
        )


def busy(cpu: int) -> tuple[int, int]:
    """Nanoseconds a core was busy, and those the hypervisor took of it, since boot."""
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    line = re.search(rf"^cpu{cpu} (.*)$", Path("/proc/stat").read_text(), re.M)
    assert line
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line[1].split()[:8])
    return (user + nice + system + irq + softirq) * tick, steal * tick


def sample_cpu(leader: int, cpu: int, load_cpu: int, ksoftirqd: int | None) -> CpuSample:
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
    core_busy, core_steal = busy(cpu)
    return CpuSample(
        threads, clock, frozenset(pids), soft, core_busy, core_steal, busy(load_cpu)[0]
    )


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


def pipes_of(leader: int) -> int:
    """Pipes a proxy has open, by which it splices."""
    found = set()
    for pid in processes_of(leader):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if (target := os.readlink(fd)).startswith("pipe:"):
                    found.add(target)
    return len(found)


def descriptors_of(leader: int) -> int:
    """Descriptors all processes of a proxy have open."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in processes_of(leader))


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
