"""A run small enough to be killed hundreds of times: real shelf, journal and lock, toy training."""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from surefoot import records
from surefoot.records import End, Event, Header, Step
from surefoot.shelf.checkpoint import Checkpoint, candidates, manifest
from surefoot.shelf.disk import Disk
from surefoot.shelf.journal import Journal, cut
from surefoot.shelf.lock import Lock
from surefoot.shelf.save import Content, SaveFailed, save
from surefoot.shelf.shelf import Shelf
from surefoot.shelf.snapshot import taken

STEPS, EVERY = 6, 2


def content(step: int = 0, generation: int = 0) -> Content:
    """A state after so many steps, from the first one on."""
    w = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7
    optim = {"embedding.weight/exp_avg": w.t() * 0, "embedding.weight/step": torch.tensor(0)}
    model = {"embedding.weight": w, "head.weight": w, "scale": torch.ones(3, dtype=torch.bfloat16)}
    first = Content(0, generation, model, optim, {"seed": 0}, 'name = "toy"\n', b"{}")
    for _ in range(step):
        first = advanced(first)
    return first


def advanced(before: Content) -> Content:
    """One step of something that depends on all that went before."""
    step = before.step + 1
    slot = before.optim["embedding.weight/exp_avg"] * 0.9 + step * 0.01
    w = before.model["embedding.weight"] - slot.t()
    model = {"embedding.weight": w, "head.weight": w, "scale": before.model["scale"] * 1.01}
    optim = {"embedding.weight/exp_avg": slot, "embedding.weight/step": torch.tensor(step)}
    state = {"seed": 0, "loss": float(w.sum())}
    return Content(step, before.generation, model, optim, state, before.recipe, before.tokenizer)


def put(run: Path, step: int, generation: int = 0, disk: Disk | None = None) -> Checkpoint:
    """Save the state after a step into a run without a journal."""
    run.mkdir(exist_ok=True)
    snapshot = taken(content(step, generation))
    return save(run, snapshot, disk or Disk(), {"reason": "regular"}).checkpoint


def train(run: Path, disk: Disk, keep: int = 1, steps: int = STEPS, beside: bool = False) -> None:
    """Train to the end, going on from wherever an earlier process was stopped."""
    lock = Lock(run, disk)
    try:
        shelf = Shelf(run, keep, disk=disk)
        now = shelf.load() if shelf.checkpoints() else content()
        journal = opened(run, disk, now)
        try:
            shelf.journal, shelf.fence = journal, lock.check
            journal.write(Event(name="resumed", step=now.step) if now.step else Header())
            shelf.fallen_back(now)
            shelf.sweep()
            loop(shelf, journal, now, steps, beside)
        finally:
            if shelf.writing is not None:
                shelf.writing.pool.shutdown()
            journal.close()
    finally:
        lock.release()


def opened(run: Path, disk: Disk, now: Content) -> Journal:
    """Cut the journal back to a state, and open it; a run without a state begins anew."""
    path = run / "journal.jsonl"
    if now.journal is not None:
        assert not cut(path, now.journal, disk).damaged, "the journal is as the checkpoint says"
    elif path.exists():
        path.unlink()
    return Journal(path, disk)


def loop(shelf: Shelf, journal: Journal, now: Content, steps: int, beside: bool) -> None:
    """The steps, their records, their saves; a save that fails is tried again a step later."""
    due = False
    while now.step < steps:
        now = advanced(now)
        loss = now.state["loss"]
        journal.write(Step(step=now.step, loss=loss, ce=loss, grad_norm=1.0))
        if now.step == 3:
            journal.write(Event(name="window_raised", step=3, planned=True))
        due = due or now.step % EVERY == 0
        if due:
            saved(shelf)  # the one before; where it failed, this one takes its place
            due = not begun(shelf, now, beside and now.step < steps)
    if due or not saved(shelf):
        return  # not finished: the last save failed
    shelf.point("final", candidates(shelf.run)[0])
    journal.write(End(step=now.step, state="finished", exit=0))


def begun(shelf: Shelf, now: Content, beside: bool) -> bool:
    """Begin a save; without a thread beside it is waited for, and said whether it failed."""
    shelf.begin(now, "regular", copy=beside)
    return beside or saved(shelf)


def saved(shelf: Shelf) -> bool:
    """Wait for the save under way, and say whether it worked."""
    try:
        shelf.settle()
    except SaveFailed:
        return False
    return True


def outcome(run: Path) -> dict[str, Any]:
    """All that must be equal, however often a run was stopped on its way."""
    newest = candidates(run)[0]
    rows = [records.replayable(row) for row in records.rows(run / "journal.jsonl")]
    return {
        "files": dict(manifest(newest).files),
        "journal": [json.dumps(row) for row in rows if row is not None],
        "folders": sorted(p.name for p in run.iterdir() if p.is_dir() and not p.is_symlink()),
        "pointers": {p: (run / p).readlink().name for p in ("latest", "final")},
        "left": sorted(p.name for p in run.glob(".*")),
    }


def forked(act: Callable[[], object]) -> int:
    """Do something in a forked child, and give its pid at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks beside threads
        pid = os.fork()
    if pid == 0:
        code = 70
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return pid


def in_child(act: Callable[[], object]) -> int:
    """Do something in a forked child; give its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(act), 0)[1])


def emptied(folder: Path) -> Path:
    """Give an empty folder of that name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
