"""Refuses a run folder that not all ranks see: a sharded save is written there by each of them."""

import secrets
import time
from pathlib import Path

from surefoot.errors import Problem, RunError
from surefoot.learn.ranks import Ranks
from surefoot.shelf.disk import TMP, Disk

PATIENCE_S = 10.0  # another machine may see a new file late


def insist(ranks: Ranks, folder: Path, disk: Disk) -> None:
    """Let the first rank lay a file there and all others look for it; all ranks do it together."""
    token = ranks.gather({"token": secrets.token_hex(8)}, "words")[0]["token"]
    probe = folder / f"{TMP}probe-{token}"
    if ranks.rank == 0:
        disk.write_file(probe, token.encode())
    ranks.gather({}, "words")
    blind = [
        rank for rank, said in enumerate(ranks.gather({"seen": seen(probe)})) if not said["seen"]
    ]
    if ranks.rank == 0:
        disk.remove(probe)
    if blind:
        raise RunError(
            Problem(
                what="--run",
                value=str(folder),
                why=f"rank {blind[0]} does not see what rank 0 writes there, and every rank saves "
                "its own rows of sharded weights",
                instead="Write --run with a folder that all machines share, or "
                'distributed.mode="ddp"',
            ),
            exit=3,
        )


def seen(probe: Path) -> bool:
    """Say whether a file turns up."""
    until = time.monotonic() + PATIENCE_S
    while not probe.is_file():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
