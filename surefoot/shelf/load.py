"""Loading a checkpoint: hashed right before, or refused; the one before it if it is damaged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from surefoot.errors import Problem, ShelfError
from surefoot.shelf import tensors
from surefoot.shelf.checkpoint import (
    Checkpoint,
    Lineage,
    at,
    candidates,
    manifest,
    stamps,
    verify,
)
from surefoot.shelf.disk import Disk
from surefoot.shelf.format import (
    MODEL,
    OPTIM,
    RECIPE,
    STATE,
    TOKENIZER,
    Damage,
    files_of,
    name,
    natural,
    parse_json,
    parse_name,
    read_limited,
)
from surefoot.shelf.journal import Offset
from surefoot.shelf.pointers import Pointer, target
from surefoot.shelf.save import Content, set_aside

TRIES = 2


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that could not be used, why, and what it is called now."""

    checkpoint: Checkpoint
    damage: Damage
    kept_as: str = ""

    def __str__(self) -> str:
        if self.damage.uncommitted:
            return f"{self.checkpoint.name}: not committed"
        return f"{self.checkpoint.name} is damaged ({self.damage})"


def load(where: Path | Checkpoint) -> Content:
    """Load one checkpoint, or a run's newest; damage is an error here, never a fallback."""
    if isinstance(where, Path) and parse_name(where.name) is None:
        return newest(where)[0]
    checkpoint = at(where) if isinstance(where, Path) else where
    try:
        return read(checkpoint)
    except Damage as damage:
        raise damaged(checkpoint, damage) from None


def damaged(checkpoint: Checkpoint, damage: Damage) -> ShelfError:
    """Say that the checkpoint that was asked for can't be used."""
    there = checkpoint.path.exists()
    return ShelfError(
        Problem(
            checkpoint.name,
            "",
            f"it is damaged ({damage})" if there else "there is no such checkpoint",
            "Leave --from out: the newest checkpoint that is whole is used",
        )
    )


def newest(
    run: Path, lineage: Lineage | None = None, disk: Disk | None = None
) -> tuple[Content, list[Skipped]]:
    """Load the newest whole checkpoint, and name those that were skipped.

    With a disk, as the run's owner has one, damaged folders are renamed to corrupt-.
    """
    skipped: list[Skipped] = []
    for checkpoint in candidates(run, lineage):
        try:
            content = read(checkpoint)
        except Damage as damage:
            # a half copied folder may still be growing: it is let be
            kept = renamed(checkpoint, disk) if disk and not damage.uncommitted else ""
            skipped.append(Skipped(checkpoint, damage, kept))
        else:
            return content, skipped
    raise none_whole(run, skipped)


def renamed(checkpoint: Checkpoint, disk: Disk) -> str:
    """Set a damaged checkpoint aside; on a disk that lets nothing be renamed it stays, unused."""
    try:
        return set_aside(checkpoint, disk)
    except OSError:
        return ""


def find(run: Path, which: str | int) -> Checkpoint:
    """Find the checkpoint that a pointer names, or the newest generation's of a step."""
    there = candidates(run)
    if isinstance(which, int):
        found = next((one for one in there if one.step == which), None)
    else:
        found = target(run, cast("Pointer", which)) or (
            there[0] if there and which == "latest" else None
        )
    if found is not None:
        return found
    steps = ", ".join(str(one.step) for one in reversed(there))
    raise ShelfError(
        Problem(
            f"{run.name}: {which}",
            "",
            "there is no such checkpoint",
            f"Choose one of the steps {steps}" if steps else "Nothing was saved in this run yet",
        )
    )


def none_whole(run: Path, skipped: list[Skipped]) -> ShelfError:
    """Say that there is nothing to go on from, with the list of what was found."""
    if not skipped:
        return ShelfError(
            Problem(
                run.name,
                "",
                "there is no checkpoint in it",
                "Write the folder of a run that has saved, or train without --resume",
            )
        )
    return ShelfError(
        *(
            Problem(
                one.checkpoint.name,
                "",
                "not committed" if one.damage.uncommitted else f"it is damaged ({one.damage})",
                "Copy it again from where it was whole, or train into another folder",
            )
            for one in skipped
        )
    )


def fallback(skipped: list[Skipped], used: Content) -> str:
    """Say aloud that an older checkpoint is used, and what that costs."""
    steps = skipped[0].checkpoint.step - used.step
    kept = "".join(f" The damaged folder is kept as {s.kept_as}." for s in skipped if s.kept_as)
    return (
        f"{'; '.join(map(str, skipped))}. Going on from {name(used.generation, used.step)}: "
        f"{steps} steps will be trained again, exactly as before.{kept}"
    )


def read(checkpoint: Checkpoint) -> Content:
    """Verify a checkpoint and read it; Damage if the two do not see the same files."""
    for _ in range(TRIES):
        if damage := verify(checkpoint):
            raise damage[0]
        before = stamps(checkpoint)
        content = unpacked(checkpoint)
        if stamps(checkpoint) == before:
            return content
    raise Damage(STATE, "its files change while they are read")


def rewinds(lineage: Any) -> bool:
    """Say whether this is a lineage: [generation, from_generation, from_step] each."""
    return isinstance(lineage, list) and all(
        isinstance(one, list) and len(one) == 3 and all(map(natural, one)) for one in lineage
    )


def text(path: Path) -> str:
    """Read a file that is text, or say that it is none."""
    try:
        return read_limited(path).decode()
    except UnicodeDecodeError as error:
        raise Damage(path.name, f"byte {error.start} is not UTF-8") from None


def unpacked(checkpoint: Checkpoint) -> Content:
    """Read the files of a checkpoint whose hashes are right."""
    folder, told = checkpoint.path, manifest(checkpoint)
    state = parse_json(STATE, read_limited(folder / STATE))
    stored, optim = (
        tensors.read(*(folder / file for file in files_of(told.files, part)))
        for part in (MODEL, OPTIM)
    )
    tied = state.get("tied", {})
    if not isinstance(tied, dict) or not all(
        isinstance(owner, str) and owner in stored and alias not in stored
        for alias, owner in tied.items()
    ):
        raise Damage(STATE, "tied names a tensor that is not there")
    if not rewinds(state.get("lineage", [])):
        raise Damage(STATE, "lineage is not a list of three numbers each")
    return Content(
        step=checkpoint.step,
        generation=checkpoint.generation,
        model=tensors.retied(stored, tied),
        optim=optim,
        state=state,
        recipe=text(folder / RECIPE),
        tokenizer=read_limited(folder / TOKENIZER),
        journal=Offset.read(told.how.get("journal")),
        how=told.how,
    )
