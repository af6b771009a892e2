"""Where load, proxy and backend stand: all on loopback, or each in a network namespace.

A namespace here has no name: it lives as long as somebody holds its descriptor
or runs in it, so nothing is left behind however the run ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000

#: Who stands somewhere.
CLIENT, PROXY, BACKEND = "client", "proxy", "backend"


def enter(space: int) -> None:
    """Move the calling thread into a network namespace."""
    if _libc.setns(space, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns: " + os.strerror(ctypes.get_errno()))


@dataclass(frozen=True)
class Network:
    """Addresses, and the namespaces of those that have one."""

    name: str
    about: str
    proxy: str  # where the load reaches the proxy
    backend: str  # where the proxy reaches the backend
    spaces: dict[str, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def inside(self, who: str) -> Iterator[None]:
        """The calling thread is where ``who`` is, for the duration of the block."""
        space = self.spaces.get(who)
        if space is None:
            yield
            return
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(space)
            yield
        finally:
            enter(home)
            os.close(home)


LOOPBACK = Network("loopback", "loopback, MTU 65536", "127.0.0.1", "127.0.0.1")


def cables(single_segments: bool) -> Network:
    """client – proxy – backend, joined by veth pairs of MTU 1500; raises OSError where not permitted.

    With ``single_segments`` load and backend send packets of one segment, as a
    wire would bring them; otherwise veth hands over up to 64 KiB in one piece,
    as network cards with offloads nearly do.
    """
    spaces = {who: _new_space() for who in (CLIENT, PROXY, BACKEND)}
    name, about = "veth", "a namespace each, veth pairs of MTU 1500"
    if single_segments:
        name, about = "segments", about + ", load and backend send single segments"
    network = Network(name, about, "198.51.100.1", "192.0.2.2", spaces)
    for who, near, far in (
        (CLIENT, "198.51.100.1/24", "198.51.100.10/24"),
        (BACKEND, "192.0.2.1/24", "192.0.2.2/24"),
    ):
        there = f"/proc/{os.getpid()}/fd/{spaces[who]}"
        with network.inside(PROXY):
            _ip(f"link add {who} mtu 1500 type veth peer name eth0 mtu 1500 netns {there}")
            _ip(f"addr add {near} dev {who}")
            _ip(f"link set {who} up")
        with network.inside(who):
            _ip(f"addr add {far} dev eth0")
            _ip("link set eth0 up" + (" gso_max_segs 1" if single_segments else ""))
    return network


def _new_space() -> int:
    """A descriptor of a fresh network namespace, its loopback up."""
    # The child answers as soon as it runs, and by then it is in a namespace of its own.
    with subprocess.Popen(
        ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, bufsize=0,
    ) as child:  # fmt: skip
        assert child.stdin and child.stdout and child.stderr
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(b"!")
        if child.stdout.read(1) != b"!":
            raise PermissionError(child.stderr.read().decode().strip())
        space = os.open(f"/proc/{child.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    network = Network("new", "", "", "", {PROXY: space})
    with network.inside(PROXY):
        _ip("link set lo up")
    return space


def _ip(words: str) -> None:
    done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, timeout=10)
    if done.returncode:
        raise OSError(f"ip {words}: {done.stderr.strip()}")
