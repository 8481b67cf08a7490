"""The checkpoints of a run: which there are, which lie on the way here, and what is damaged."""

import math
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from surefoot.errors import Problem, ShelfError
from surefoot.shelf.format import (
    COMMIT,
    FORMAT,
    LIMITS,
    MANIFEST,
    MODEL,
    OPTIM,
    STATE,
    Damage,
    Manifest,
    assembled,
    commit_line,
    digest,
    files_of,
    name,
    open_regular,
    parse_json,
    parse_manifest,
    parse_name,
    read_limited,
)

# [generation, from_generation, from_step]: how each later generation began
Lineage = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """A folder that holds the state after a step; ordered by (generation, step), as numbers."""

    generation: int
    step: int
    run: Path

    @property
    def name(self) -> str:
        """Give the folder's name."""
        return name(self.generation, self.step)

    @property
    def path(self) -> Path:
        """Give the folder."""
        return self.run / self.name


def at(path: Path) -> Checkpoint:
    """Take a folder for a checkpoint by its name."""
    key = parse_name(path.name)
    if key is None:
        raise ShelfError(
            Problem(
                "checkpoint",
                path.name,
                "a checkpoint's folder is named like step-00001000",
                "Write the folder of one of the run's steps",
            )
        )
    return Checkpoint(*key, path.parent)


def candidates(run: Path, lineage: Lineage | None = None) -> list[Checkpoint]:
    """Give a run's checkpoints, newest first; those on the lineage alone where one is given."""
    found: list[Checkpoint] = []
    try:
        with os.scandir(run) as entries:
            for entry in entries:
                key = parse_name(entry.name)
                if key is not None and entry.is_dir(follow_symlinks=False):
                    found.append(Checkpoint(*key, run))
    except (FileNotFoundError, NotADirectoryError):
        return []
    if lineage is not None:
        found = [one for one in found if on_lineage(one, lineage)]
    return sorted(found, reverse=True)


def newest_name(run: Path) -> str:
    """Name a run's newest checkpoint; "" where there is none."""
    return next((one.name for one in candidates(run)), "")


def on_lineage(checkpoint: Checkpoint, lineage: Lineage) -> bool:
    """Say whether the newest generation's history passes through a checkpoint."""
    reach: dict[int, float] = {max((g for g, _, _ in lineage), default=0): math.inf}
    for generation, source, step in sorted(map(tuple, lineage), reverse=True):
        if generation in reach:  # an abandoned branch of an abandoned branch is not reached
            reach[source] = min(step, reach[generation])
    return checkpoint.step <= reach.get(checkpoint.generation, -1)


def manifest(checkpoint: Checkpoint) -> Manifest:
    """Read a committed folder's manifest; Damage if it isn't whole, ShelfError if too new."""
    try:
        commit = read_limited(checkpoint.path / COMMIT)
    except Damage as damage:
        if damage.reason == "missing":
            raise Damage(COMMIT, "missing, so this was never committed") from None
        raise
    data = read_limited(checkpoint.path / MANIFEST)
    if commit != commit_line(data):
        raise Damage(MANIFEST, "sha256 differs from COMMIT")
    known(checkpoint, data)
    told = parse_manifest(data)
    if (told.generation, told.step) != (checkpoint.generation, checkpoint.step):
        raise Damage(MANIFEST, f"it is of {name(told.generation, told.step)}")
    return told


def known(checkpoint: Checkpoint, data: bytes) -> None:
    """Refuse a checkpoint of a later version, which is not damage: an upgrade reads it."""
    raw = parse_json(MANIFEST, data)
    version = raw.get("format")
    if type(version) is not int or version <= FORMAT:
        return
    how = raw.get("how")
    program = how.get("surefoot", "a later version") if isinstance(how, dict) else "a later version"
    raise ShelfError(
        Problem(
            checkpoint.name,
            f"format {version}",
            f"written by surefoot {program!s:.40}; this one reads formats up to {FORMAT}",
            "Upgrade surefoot, or use `surefoot export` there",
        )
    )


def verify(checkpoint: Checkpoint) -> list[Damage]:
    """Hash all that a checkpoint lists, and name whatever is wrong with it."""
    try:
        told = manifest(checkpoint)
    except Damage as damage:
        return [damage]
    found: list[Damage] = []
    for file, (size, sha) in sorted(told.files.items()):
        try:
            check_file(checkpoint.path / file, size, sha)
        except Damage as damage:
            found.append(damage)
    if not found:
        found.extend(check_inside(checkpoint, told.files))
    return found


def check_file(path: Path, size: int, sha: str) -> None:
    """Compare a file with its line in the manifest, its size first."""
    before = stamp(path)
    limit = LIMITS.get(path.name, before[1])
    if before[1] != size or size > limit:
        raise Damage(path.name, f"{before[1]} bytes instead of {min(size, limit)}")
    found = digest(path)
    if stamp(path) != before:
        found = digest(path)  # changed while it was read: once more
    if found != (size, sha):
        raise Damage(path.name, "sha256 differs")


def check_inside(checkpoint: Checkpoint, listed: Collection[str]) -> Iterable[Damage]:
    """Look inside files whose hashes are right: a stranger may have made those too."""
    for part in (MODEL, OPTIM):
        try:
            assembled(checkpoint.path / file for file in files_of(listed, part))
        except Damage as damage:
            yield damage
    try:
        state = parse_json(STATE, read_limited(checkpoint.path / STATE))
    except Damage as damage:
        yield damage
        return
    if (state.get("generation"), state.get("step")) != (checkpoint.generation, checkpoint.step):
        yield Damage(STATE, "it is of another step")


def stamp(path: Path) -> tuple[int, int, int]:
    """Give what changes when a file does: (inode, size, time of its last change)."""
    fd = open_regular(path)
    try:
        seen = os.fstat(fd)
    finally:
        os.close(fd)
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


def stamps(checkpoint: Checkpoint) -> list[tuple[int, int, int]]:
    """Give the stamps of all that a checkpoint lists."""
    return [stamp(checkpoint.path / file) for file in sorted(manifest(checkpoint).files)]
