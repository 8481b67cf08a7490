"""One process a run: a lock that the system lets go of when its owner dies, however it dies."""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import socket
import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from surefoot.errors import Problem, RunError
from surefoot.shelf.disk import Disk
from surefoot.shelf.format import Damage, open_regular

LOCK, OWNER = "lock", "owner.json"
HELD = {errno.EACCES, errno.EAGAIN}
# struct flock: type, whence, start, len, pid; the last two words are the room that C leaves
FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi4x"
READ_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class Owner:
    """Who trains into a run folder."""

    token: str  # random, of this one process
    pid: int
    host_hash: str = ""
    started: str = ""  # of the process, in clock ticks: a pid is used again, this with it is not
    boot_id: str = ""
    since: float = 0.0

    def __str__(self) -> str:
        where = "on this machine" if self.host_hash in ("", host_hash()) else "on another machine"
        at = time.strftime(" since %H:%M", time.localtime(self.since)) if self.since else ""
        return f"pid {self.pid} {where}{at}"


class Lock:
    """Held from opening a run to closing it.

    A record lock, not flock: a killed owner's forked child would keep that. But closing any
    descriptor of the file inside the owner lets a record lock go, so nobody here opens it twice.
    """

    # run folder -> pid that holds it: a second lock of the same process would always be granted
    held: dict[Path, int] = {}  # noqa: RUF012 (shared on purpose: record locks are per process)

    def __init__(self, run: Path, disk: Disk) -> None:
        self.run, self.disk, self.key = run, disk, run.resolve()
        if Lock.held.get(self.key) == os.getpid():
            raise taken(run, owner(run))
        self.fd = grasp(run)
        Lock.held[self.key] = os.getpid()
        self.owner = this_process()
        try:
            disk.write_atomic(run / OWNER, json.dumps(asdict(self.owner)).encode() + b"\n")
        except OSError as error:
            self.let_go()
            raise unwritable(run, error) from None

    def check(self) -> None:
        """Make sure that nobody took the run over while this process slept."""
        now = owner(self.run)
        if now is None or now.token != self.owner.token:
            raise RunError(
                Problem(
                    self.run.name,
                    "",
                    f"it was taken over by {now or 'somebody'}, so nothing more is written here",
                    "Go on with --resume once that process has ended",
                ),
                exit=1,
            )

    def release(self) -> None:
        """Let the run go, so that another process may train into it; twice does no harm."""
        if Lock.held.get(self.key) != os.getpid():
            return
        self.disk.remove(self.run / OWNER)
        self.let_go()

    def let_go(self) -> None:
        """Drop the lock itself."""
        Lock.held.pop(self.key, None)
        os.close(self.fd)


def grasp(run: Path) -> int:
    """Take the lock, or say who has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(run / LOCK, flags, 0o666)
    except OSError as error:
        raise unwritable(run, error) from None
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno in HELD:
            raise taken(run, owner(run)) from None
        raise unwritable(run, error) from None
    return fd


def holder(run: Path) -> Owner | None:
    """Say who holds a run, without a lock of one's own; None if nobody does."""
    if Lock.held.get(run.resolve()) == os.getpid():
        return owner(run)  # opening and closing the file here would drop the lock
    try:
        fd = os.open(run / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        pid = asked(fd)
    except OSError:
        return None  # no locks on this file system
    finally:
        os.close(fd)
    if pid is None:
        return None
    named = owner(run)
    # the lock is taken a moment before owner.json is written
    return named if named is not None and named.pid == pid else Owner("", pid)


def asked(fd: int) -> int | None:
    """Ask the system which process would stand in a lock's way."""
    if sys.platform == "darwin":
        question = struct.pack(FLOCK, 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        _, _, pid, kind, _ = struct.unpack(FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, question))
    else:
        question = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, question))
    return None if kind == fcntl.F_UNLCK else pid


def owner(run: Path) -> Owner | None:
    """Read owner.json; None if it is not there or not one."""
    raw = small_json(run / OWNER)
    token, pid = raw.get("token"), raw.get("pid")
    if not isinstance(token, str) or type(pid) is not int:
        return None
    texts = {key: str(raw.get(key, "")) for key in ("host_hash", "started", "boot_id")}
    since = raw.get("since", 0.0)
    return Owner(token, pid, since=since if isinstance(since, int | float) else 0.0, **texts)


def small_json(path: Path) -> Mapping[str, Any]:
    """Read a small file of ours that may vanish or be half a story: {} where it tells nothing."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            raw = json.loads(file.read(READ_LIMIT))
    except (Damage, OSError, ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def taken(run: Path, by: Owner | None) -> RunError:
    """Say who holds the run, and what to do."""
    step = small_json(run / "status.json").get("step")
    reached = f" (step {step})" if type(step) is int else ""
    return RunError(
        Problem(
            run.name,
            "",
            f"held by {by or 'another process'}{reached}",
            f"Stop it with `surefoot stop {run.name}`, or train into another folder with --run",
        )
    )


def unwritable(run: Path, error: OSError) -> RunError:
    """Say that a run folder can't be locked."""
    return RunError(
        Problem(
            run.name,
            "",
            f"it can't be written ({error.strerror or error})",
            "Write --run with a folder that can",
        )
    )


def this_process() -> Owner:
    """Describe this process so that it can't be taken for another."""
    return Owner(
        token=secrets.token_hex(8),
        pid=os.getpid(),
        host_hash=host_hash(),
        started=start_time(os.getpid()),
        boot_id=told(Path("/proc/sys/kernel/random/boot_id")),
        since=round(time.time(), 3),
    )


def host_hash() -> str:
    """Name this machine so that two can be told apart, without giving its name away."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def start_time(pid: int) -> str:
    """Give when a process started, in clock ticks since boot; "" where that isn't told."""
    fields = told(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def told(path: Path) -> str:
    """Read one of the system's own small files; "" where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
