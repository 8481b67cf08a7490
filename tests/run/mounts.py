"""Real disks that are full or can't be written: small file systems of a process's own."""

import ctypes
import os
from pathlib import Path

NEW_FILES, NEW_USER = 0x00020000, 0x10000000
READ_ONLY, REMOUNT, PRIVATE = 1, 32, (1 << 18) | 16384


class CannotMount(Exception):
    """This system lets nobody mount."""


def alone() -> None:
    """Give this process, which must have one thread, mounts that nobody else sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_FILES) != 0:
        if libc.unshare(NEW_FILES | NEW_USER) != 0:
            raise CannotMount(os.strerror(ctypes.get_errno()))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    mount(b"none", b"/", None, PRIVATE, b"")


def small_disk(where: Path, mib: int) -> None:
    """Mount a file system of so many MiB."""
    mount(b"tmpfs", bytes(where), b"tmpfs", 0, b"size=%dm" % mib)


def read_only(where: Path) -> None:
    """Let nothing be written there any more."""
    mount(b"none", bytes(where), None, REMOUNT | READ_ONLY, b"")


def mount(source: bytes, where: bytes, kind: bytes | None, flags: int, data: bytes) -> None:
    """Mount, or say why not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source, where, kind, ctypes.c_ulong(flags), data) != 0:
        raise CannotMount(os.strerror(ctypes.get_errno()))


def fill(path: Path, leave: int = 0) -> None:
    """Write a file that takes all room but so many bytes."""
    room = os.statvfs(path.parent)
    size = room.f_bavail * room.f_frsize - leave
    with path.open("wb", buffering=0) as file:
        while size > 0:
            size -= file.write(bytes(min(size, 1 << 20)))
