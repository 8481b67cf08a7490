"""Several ranks on this machine, forked from what is imported already, or started by torchrun."""

import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from surefoot.records import rows
from surefoot.run import going_on, starting
from surefoot.run.asked import Asked
from surefoot.run.following import follow
from surefoot.run.joined import joined
from surefoot.run.launched import place
from surefoot.run.session import session

from . import runs

Act = Callable[[Any], None]  # done to a rank before it trains


def port() -> str:
    """Find a port that is free now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return str(asked.getsockname()[1])


def of_rank(rank: int, world: int, meeting: str) -> Mapping[str, str]:
    """Give what torchrun sets for a rank."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": meeting,
    }


def begun(world: int, asked: Mapping[str, Any], act: Act | None = None) -> list[int]:
    """Fork so many ranks that train together; gives their pids."""
    meeting = port()

    def one(rank: int) -> int:
        going_on.leaks = starting.leaks = (
            lambda recipe: ()
        )  # seconds of auditing that no rank differs in
        os.environ.update(of_rank(rank, world, meeting))
        here = place()
        if act is not None:
            act(rank)
        try:
            with joined(here, "cpu") as ranks:
                if here.rank:
                    return follow(ranks)
                wanted = Asked(timed=False, place=here, ranks=ranks, **asked)
                return session(wanted, runs.quiet()).exit
        except Exception as error:  # noqa: BLE001 (as the program's edge does)
            print(f"rank {rank}: {error}", file=sys.stderr)
            return int(getattr(error, "exit", 1))

    return [runs.forked(lambda rank=rank: one(rank)) for rank in range(world)]


def train(world: int, act: Act | None = None, **asked: Any) -> list[int]:
    """Train with so many ranks; gives their exit codes."""
    return [runs.ended(pid) for pid in begun(world, asked, act)]


def steps(run: Path) -> list[dict[str, Any]]:
    """Give the step records of a run."""
    return [raw for raw in rows(run / "journal.jsonl") if raw["kind"] == "step"]
