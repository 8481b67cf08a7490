"""What the launcher says of this process: which rank it is of how many, and which start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from surefoot.errors import DeviceError, Problem, UsageError
from surefoot.recipe.schema import Recipe
from surefoot.records import Header, read
from surefoot.run.folder import ROOT, all_runs, find_run, read_status
from surefoot.shelf.lock import host_hash, start_time

DONE = (0, 3, 4, 75, 130)  # exit codes that a launcher should take for an end, and does not
FULL = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
CODE = "SUREFOOT_CODE"  # a file of `train --procs`, where the first rank writes how it ended
RESTARTS = "SUREFOOT_RESTARTS"  # how often `train --procs` has started all ranks again
LAUNCH = "torchrun --nproc-per-node 2 -m -- surefoot train"


@dataclass(frozen=True, slots=True)
class Place:
    """This process among those that were started together."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    restarts: int = 0
    launch: str = ""  # names the launcher's process: its restarts have the same

    @property
    def start(self) -> str:
        """Name this start for all ranks; of several machines' launchers each counts for itself."""
        return f"{self.restarts}" if self.local_world == self.world else ""


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """Read it from what torchrun sets; nothing set means alone."""
    if not {"RANK", "WORLD_SIZE"} & environment.keys():
        return Place()
    missing = [name for name in FULL if not environment.get(name)]
    if missing:
        there = [name for name in FULL if name not in missing]
        raise UsageError(
            Problem(
                what=there[0] if there else "RANK",
                value=environment.get(there[0], "") if there else "",
                why=f"{', '.join(missing)} is not set, so this process can't find the other ranks",
                instead=f"Write {LAUNCH} ..., or unset WORLD_SIZE and RANK to train alone",
            )
        )
    parent = os.getppid()
    return Place(
        rank=number("RANK", environment),
        world=number("WORLD_SIZE", environment),
        local_rank=number("LOCAL_RANK", environment),
        local_world=number("LOCAL_WORLD_SIZE", environment, "1"),
        restarts=number("TORCHELASTIC_RESTART_COUNT", environment, "0")
        + number(RESTARTS, environment, "0"),
        launch=f"{host_hash()}-{parent}-{start_time(parent)}",
    )


def number(name: str, environment: Mapping[str, str], default: str = "") -> int:
    """Read one of the launcher's numbers."""
    text = environment.get(name, default)
    if text.isascii() and text.isdigit():
        return int(text)
    raise UsageError(Problem(name, text, "it is no number", f"Start with {LAUNCH} ..."))


def one_each(place: Place, device: str, devices: int) -> None:
    """Refuse more ranks on a machine than it has devices for."""
    if device == "cpu" or not devices or place.local_world <= devices:
        return
    raise DeviceError(
        Problem(
            what="ranks on this machine",
            value=str(place.local_world),
            why=f"there are {devices} devices, and each rank needs one of its own",
            instead=f"Write --procs {devices} (torchrun --nproc-per-node {devices})",
        )
    )


def header_of(run: Path) -> Header | None:
    """Read what the last process to open a run said of itself."""
    journal = run / "journal.jsonl"
    found = None
    for record in read(journal) if journal.is_file() else ():
        if isinstance(record, Header):
            found = record
    return found


def leave(code: int) -> int:
    """Leave with a code, which is told to `train --procs`: torch's launcher keeps it to itself."""
    if path := os.environ.get(CODE):
        Path(path).write_text(str(code))
    return code


def first_ranks(run: Path) -> int:
    """Give the number of ranks that a run was begun with."""
    journal = run / "journal.jsonl"
    records = read(journal) if journal.is_file() else ()
    first = next((record for record in records if isinstance(record, Header)), None)
    return int(first.facts.get("world", 1)) if first is not None else 1


def last_ranks(run: Path) -> int:
    """Give the number of ranks that a run was last open with."""
    header = header_of(run)
    return int(header.facts.get("world", 1)) if header is not None else 1


def restarted(place: Place, resumed: str | None, run: Path | None) -> Path | None:
    """Find the run that this launcher's ranks had begun before they were started again."""
    if not place.restarts:
        return None
    named = find_run(resumed) if resumed else run
    for folder in [named] if named is not None else all_runs(ROOT):
        header = header_of(folder)
        if header is not None and header.facts.get("launch") == place.launch:
            return folder
    return None


def ended(run: Path) -> int | None:
    """Give the code of a run that is not to be started again, so that no stop becomes a loop."""
    code = read_status(run).get("exit")
    return code if type(code) is int and code in DONE else None


def spread(recipe: Recipe, ranks: int) -> Recipe:
    """Write out what a first launch decides: the micro-batches of a step, over all ranks."""
    own = recipe.distributed
    lanes = own.lanes or (ranks if own.reduce == "exact" else None)
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(
                update={"accumulate": recipe.train.accumulate * ranks}
            ),
            "distributed": own.model_copy(update={"lanes": lanes}),
        }
    )


def of_each(recipe: Recipe, ranks: int) -> Recipe:
    """Give a run's recipe as each of its ranks follows it, and as a person would write it."""
    train = recipe.train.model_copy(update={"accumulate": recipe.train.accumulate // ranks})
    return recipe.model_copy(update={"train": train})


def fitting(recipe: Recipe, ranks: int) -> list[Problem]:
    """Say why a step can't be split over so many ranks."""
    micros, own = recipe.train.accumulate, recipe.distributed
    if micros % ranks:
        good = [count for count in range(1, micros + 1) if micros % count == 0]
        return [
            Problem(
                what="ranks",
                value=str(ranks),
                why=f"the run's {micros} micro-batches a step do not split over {ranks} "
                f"({micros % ranks} left over)",
                instead=f"Write {' or '.join(f'--procs {count}' for count in reversed(good))}",
            )
        ]
    if ranks > 1 and own.mode == "fsdp" and own.reduce == "exact":
        why = "FSDP2 sums sharded gradients in an order that hangs on the number of ranks"
        said = 'Write distributed.mode="ddp" or distributed.reduce="ring"'
        return [Problem("distributed.reduce", '"exact"', why, said)]
    lanes = own.lanes
    if own.reduce != "exact" or lanes is None:
        return []
    if recipe.train.precision == "bf16_pure":
        why = "sums of bf16 gradients are rounded where ranks part"
        return [Problem("distributed.reduce", '"exact"', why, "Write train.precision=bf16")]
    if lanes & (lanes - 1) or micros % lanes:
        good = [power for power in powers(micros) if micros % power == 0]
        why = f"they are added as a tree, so they are a power of two that divides {micros}"
        said = " or ".join(f"distributed.lanes={power}" for power in good[-2:])
        return [Problem("distributed.lanes", str(lanes), why, f"Write {said}")]
    if lanes % ranks:
        good = powers(lanes)
        why = f"the run's {lanes} lanes do not split over {ranks}"
        said = " or ".join(f"--procs {count}" for count in reversed(good))
        return [Problem("ranks", str(ranks), why, f"Write {said}")]
    return []


def powers(most: int) -> list[int]:
    """Give the powers of two up to a number."""
    return [1 << power for power in range(most.bit_length())]
