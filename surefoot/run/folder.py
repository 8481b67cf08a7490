"""Run folders: made so that two starts never share one, found by name, each with its state."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot.errors import Problem, RunError, UsageError, nearest
from surefoot.shelf.lock import holder, small_json

ROOT = Path("runs")
SIGNS = ("journal.jsonl", "status.json", "recipe.toml")
# what only a living process can be in
ALIVE = frozenset({"starting", "running", "saving"})


def new_folder(name: str, root: Path = ROOT) -> Path:
    """Make the folder of a new run: its name and the first number that is free."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 100_000):
            folder = root / f"{name}-{number:03d}"
            try:
                folder.mkdir()  # fails if it is there: two starts can't both make it
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise RunError(
            Problem(
                str(root),
                "",
                f"no folder can be made there ({error.strerror or error})",
                "Write --run with a folder that can be made",
            )
        ) from None
    raise RunError(Problem(str(root), "", f"it is full of runs of {name}", "Clear it out"))


def is_run(folder: Path) -> bool:
    """Say whether a folder holds a run."""
    return any((folder / sign).is_file() for sign in SIGNS)


def all_runs(root: Path = ROOT) -> list[Path]:
    """Give the runs of a folder, the one that was written to last first."""
    if not root.is_dir():
        return []
    return sorted(filter(is_run, root.iterdir()), key=lambda run: (-touched(run), run.name))


def touched(folder: Path) -> float:
    """Give when a run was last written to; a folder that vanishes meanwhile is the oldest."""
    for sign in SIGNS:
        try:
            return (folder / sign).stat().st_mtime
        except OSError:
            continue
    return 0.0


def find_run(text: str, root: Path = ROOT) -> Path:
    """Find the run that a person means: a folder, a name, a unique beginning, or `last`."""
    runs = all_runs(root)
    if text == "last" and runs:
        return runs[0]
    folder = Path(text)
    # a bare name means the run before a folder of the same name that is none
    for place in (folder, root / text):
        if text and is_run(place):
            return place
    named = sorted(run.name for run in runs if text and run.name.startswith(text))
    if len(named) == 1:
        return root / named[0]
    raise UsageError(ambiguous(text, named) if named else absent(text, root, runs))


def ambiguous(text: str, named: list[str]) -> Problem:
    """List the runs that a beginning could mean."""
    return Problem(
        "run",
        text,
        f"{len(named)} runs begin so: {', '.join(named[:12])}{' ...' if len(named) > 12 else ''}",
        f"Write {named[-1]}",
    )


def absent(text: str, root: Path, runs: list[Path]) -> Problem:
    """Say that there is no such run, and which was likely meant."""
    best = nearest(text, [run.name for run in runs])
    if text == "last" or not runs:
        why, instead = f"there is no run in {root}/", "Make one with  surefoot train"
    else:
        why = "there is no folder and no run of that name"
        instead = f"Write {best[0] if best else runs[0].name} (surefoot list runs shows them all)"
    folder = Path(text)
    if text and folder.is_dir():
        why = "this folder holds no run (no journal.jsonl)"
    return Problem("run", text, why, instead)


def read_status(folder: Path) -> Mapping[str, Any]:
    """Read status.json; {} where it is not there, or half a story."""
    return small_json(folder / "status.json")


def state_of(folder: Path) -> str:
    """Give a run's state; one that says it is running while nobody holds its lock has died."""
    state = read_status(folder).get("state")
    if not isinstance(state, str):
        return "unknown"
    if state in ALIVE and holder(folder) is None:
        # it may have ended between the two looks
        again = read_status(folder).get("state")
        return "died" if again in ALIVE else str(again)
    return state


def age_s(folder: Path, now: float | None = None) -> float:
    """Give the seconds since a run was last written to."""
    return max(0.0, (time.time() if now is None else now) - touched(folder))


def step_of(text: str | None) -> str | int | None:
    """Read which checkpoint is meant: a number, the name of its folder, or a pointer."""
    if text is None:
        return None
    number = text.removeprefix("step-").removeprefix("step_")  # as 001 writes it
    return int(number) if number.isascii() and number.isdigit() else text
