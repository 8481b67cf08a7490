"""Which old checkpoints go: a pure answer, by number, that never gives away the last good one."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from surefoot.shelf.disk import Disk

TRASH = ".trash-"
Key = tuple[int, int]  # generation, step


def victims(
    checkpoints: Iterable[tuple[int, int, bool, bool]],
    keep: int | Literal["all"],
    pinned: Collection[Key] = frozenset(),
) -> list[Key]:
    """Name those that may be deleted, off-lineage first, then oldest first.

    Each checkpoint is (generation, step, on_lineage, verified).
    """
    if keep == "all":
        return []
    newest_first = sorted(checkpoints, reverse=True)
    on_the_way = [(g, s) for g, s, on_lineage, _ in newest_first if on_lineage]
    verified = sorted(((on, g, s) for g, s, on, good in newest_first if good), reverse=True)
    kept = {*on_the_way[:keep], *pinned, *((g, s) for _, g, s in verified[:1])}
    going = [(on, (g, s)) for g, s, on, _ in newest_first if (g, s) not in kept]
    return [key for _, key in sorted(going)]


def discard(run: Path, name: str, disk: Disk) -> None:
    """Delete a checkpoint so that no half of it is ever taken for a whole one."""
    trash = run / f"{TRASH}{name}"
    if trash.exists():  # of a deletion that was cut short
        disk.remove_tree(trash)
    disk.rename(run / name, trash)
    disk.fsync_folder(run)
    disk.remove_tree(trash)
