"""Hashes every checkpoint of a run and names what is damaged."""

import argparse
from pathlib import Path
from typing import Any

from surefoot.errors import Problem, RunError

TAKES = "RUN"
EXAMPLES = """
surefoot verify last
surefoot verify starter-001 --prune
"""
LEFTOVERS = ("corrupt-*", ".tmp-*", ".trash-*")


def options(parser: argparse.ArgumentParser) -> None:
    """Take whether what is damaged goes."""
    parser.add_argument("--prune", action="store_true", help="remove what is damaged or half made")


def main(asked: argparse.Namespace) -> int:
    """Verify, print, and give 3 where something is damaged."""
    from surefoot.run.folder import find_run
    from surefoot.shelf.checkpoint import candidates, verify
    from surefoot.shelf.lock import holder
    from surefoot.show.printed import document, printable

    folder = find_run(asked.what[0])
    if asked.prune and holder(folder) is not None:
        why = "it is training, and what looks half made may be a save on its way"
        instead = f"Write  surefoot stop {folder}  first"
        raise RunError(Problem(str(folder), "", why, instead))
    rows: list[dict[str, Any]] = []
    for checkpoint in candidates(folder):
        damage = verify(checkpoint)
        rows.append({"checkpoint": checkpoint.name, "damage": [str(one) for one in damage]})
        if not asked.json:
            said = "; ".join(map(str, damage))
            print(printable(f"{checkpoint.name:<24} {'DAMAGED  ' + said if said else 'whole'}"))
    damaged = [row["checkpoint"] for row in rows if row["damage"]]
    left = sorted(path.name for pattern in LEFTOVERS for path in folder.glob(pattern))
    removed = prune(folder, [*damaged, *left]) if asked.prune else []
    if asked.json:
        print(document(run=str(folder), checkpoints=rows, leftovers=left, removed=removed))
    else:
        print(printable(last_line(folder, len(rows), damaged, left, removed)))
    return 3 if damaged else 0


def prune(folder: Path, names: list[str]) -> list[str]:
    """Remove folders of a run, COMMIT first, and give their names."""
    from surefoot.shelf.disk import Disk

    disk = Disk()
    try:
        for name in names:
            disk.remove_tree(folder / name)
    except OSError as error:
        why = f"it can't be removed ({error.strerror or error})"
        raise RunError(Problem(str(folder), "", why, "Make it writable"), exit=1) from None
    return names


def last_line(
    folder: Path, count: int, damaged: list[str], left: list[str], removed: list[str]
) -> str:
    """Sum it up, and name the next command."""
    if removed:
        return f"removed {', '.join(removed)}"
    if damaged:
        return (
            f"{len(damaged)} of {count} are damaged; remove them: surefoot verify {folder} --prune"
        )
    if not count:
        return f"{folder} has no checkpoint"
    rest = f"; left behind by a crash: {', '.join(left)} (--prune removes them)" if left else ""
    return f"all {count} are whole{rest}"
