"""A checkpoint that several ranks write together: each its own rows, into files of its own.

The first rank says into which folder, every rank writes and says what it has written, and the first
one commits all of it or nothing. What they say goes round as JSON; no rank unpickles another's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.shelf import tensors
from surefoot.shelf.disk import Disk
from surefoot.shelf.format import Damage, digest, shard

if TYPE_CHECKING:
    from torch import Tensor

    from surefoot.shelf.snapshot import Snapshot

Together = Callable[[Mapping[str, Any]], list[dict[str, Any]]]  # by rank: what each of them says
Files = dict[str, tuple[int, str]]  # name -> bytes, sha256


@dataclass(frozen=True, slots=True)
class Part:
    """One rank's share of a checkpoint."""

    rank: int
    ranks: int
    slices: Mapping[str, tuple[int, int]]  # tensor -> its first row here, its rows in all
    together: Together

    def file(self, whole: str) -> str:
        """Name this rank's own file."""
        return shard(whole, self.rank, self.ranks)

    def held(self, live: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """Leave out rows that there are none of, and what the first rank writes for all."""
        return {
            name: tensor
            for name, tensor in live.items()
            if (tensor.numel() if name in self.slices else self.rank == 0)
        }


def write(tmp: Path, snapshot: "Snapshot", disk: Disk) -> Files:
    """Write the tensors, durable, and give what was written; of several ranks, by all of them."""
    part = snapshot.part
    if part is None:
        return own(tmp, snapshot, disk)
    part.together({"folder": tmp.name})
    files: Files = {}
    for rank, said in enumerate(part.together(told(tmp, snapshot, disk))):
        if "why" in said:
            raise OSError(said["errno"], f"rank {rank}: {said['why']}")
        files |= {file: (int(size), str(sha)) for file, (size, sha) in said["files"].items()}
    return files


def own(tmp: Path, snapshot: "Snapshot", disk: Disk) -> Files:
    """Write this process's files."""
    slices = snapshot.part.slices if snapshot.part is not None else {}
    for file, held in snapshot.parts.items():
        mine = {name: slices[name] for name in held if name in slices}
        tensors.write(tmp / file, held, disk, mine)
    return {file: digest(tmp / file) for file in snapshot.parts}


def told(tmp: Path, snapshot: "Snapshot", disk: Disk) -> dict[str, Any]:
    """Write this rank's files, and say which, or why not: the others wait for either."""
    try:
        snapshot.wait()
        return {"files": own(tmp, snapshot, disk)}
    except (OSError, Damage) as error:
        why = getattr(error, "strerror", None) or str(error)
        return {"errno": getattr(error, "errno", None), "why": why}


def done(snapshot: "Snapshot") -> None:
    """Tell the other ranks that this save has come to its end, whichever."""
    if snapshot.part is not None:
        snapshot.part.together({"folder": ""})


def follow(run: Path, snapshot: "Snapshot", disk: Disk) -> None:
    """Write into the folders that the first rank names, until its save has come to its end."""
    assert snapshot.part is not None, "only a part is written for another rank"
    while folder := snapshot.part.together({})[0]["folder"]:
        snapshot.part.together(told(run / folder, snapshot, disk))
