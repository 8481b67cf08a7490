"""The names latest, best, final and pre-decay: hints to a checkpoint, replaced whole."""

import errno
import os
from pathlib import Path
from typing import Literal, get_args

from surefoot.shelf.checkpoint import Checkpoint
from surefoot.shelf.disk import Disk, beside
from surefoot.shelf.format import Damage, open_regular, parse_name

Pointer = Literal["latest", "best", "final", "pre-decay"]
POINTERS: tuple[Pointer, ...] = get_args(Pointer)
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
LONGEST = 64  # a text pointer is one name


def point(run: Path, pointer: Pointer, checkpoint: Checkpoint, disk: Disk) -> None:
    """Let a pointer name a checkpoint from now on; a reader sees the old or the new one."""
    if target(run, pointer) == checkpoint:
        return
    tmp = beside(run / pointer)
    try:
        try:
            disk.symlink(checkpoint.name, tmp)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            disk.write_file(tmp, f"{checkpoint.name}\n".encode())
        disk.rename(tmp, run / pointer)
        disk.fsync_folder(run)
    except OSError:
        disk.remove(tmp)
        raise


def target(run: Path, pointer: Pointer) -> Checkpoint | None:
    """Read a pointer, link or text; None unless it names a checkpoint folder of this run."""
    key = parse_name(told(run / pointer))
    if key is None:
        return None  # so no path can be smuggled in
    checkpoint = Checkpoint(*key, run)
    there = checkpoint.path.is_dir() and not checkpoint.path.is_symlink()
    return checkpoint if there else None


def told(path: Path) -> str:
    """Give what a link or a short text file says; "" for anything else."""
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return ""
    except OSError:  # EINVAL: not a link
        return text(path)


def text(path: Path) -> str:
    """Read a one-line text file, where links can't be made."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            return file.read(LONGEST).decode("ascii", "replace").removesuffix("\n")
    except Damage:
        return ""
