"""Real disks: full while saving, full for the journal too, read-only at the start and later."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surefoot.errors import SurefootError
from surefoot.learn.ranks import Ranks
from surefoot.records import Event, Finding, Record, Step, read
from surefoot.run.ending import trained
from surefoot.run.run import Run
from surefoot.run.telemetry import Heartbeat
from surefoot.shelf.checkpoint import candidates, verify
from surefoot.shelf.disk import Disk

from . import mounts, runs
from .test_faults import opened

NO_MOUNTS = 77


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that had room."""
    run = opened(tmp_path_factory.mktemp("twin"))
    assert trained(run, runs.quiet()).exit == 0
    return run.folder


def on_a_disk_of_its_own(folder: Path, mib: int, act: Callable[[Path], dict[str, Any]]) -> Any:
    """Do something on a small disk, in a process of its own; what it gives, and the run's files."""
    disk = folder / "disk"
    disk.mkdir()

    def child() -> int:
        try:
            mounts.alone()
            mounts.small_disk(disk, mib)
        except mounts.CannotMount:
            return NO_MOUNTS
        told = act(disk)
        (folder / "told.json").write_text(json.dumps(told))
        if (disk / "run").is_dir():
            shutil.copytree(disk / "run", folder / "run", symlinks=True)
        return 0

    code = runs.ended(runs.forked(child))
    if code == NO_MOUNTS:
        pytest.skip("this system lets no test mount a small disk; it runs wherever it may")
    assert code == 0
    return json.loads((folder / "told.json").read_text())


def full_between(disk: Path, first: int, last: int, leave: int) -> Callable[[Run], None]:
    """Fill a disk after one step, and make room again after another."""

    def plant(run: Run) -> None:
        def listener(record: Record) -> None:
            if isinstance(record, Step) and record.step == first:
                mounts.fill(disk / "filler", leave)
            if isinstance(record, Step) and record.step == last:
                (disk / "filler").unlink()

        run.journal.subscribe(listener)

    return plant


def train(disk: Path, plant: Callable[[Run], None]) -> dict[str, Any]:
    run = opened(disk)
    plant(run)
    ended = trained(run, runs.quiet())
    return {"exit": ended.exit, "reason": ended.status.get("reason")}


@pytest.mark.parametrize("leave", [1 << 20, 0], ids=["for saves", "for the journal too"])
def test_a_disk_that_is_full_for_a_while_costs_nothing(
    leave: int, twin: Path, tmp_path: Path
) -> None:
    told = on_a_disk_of_its_own(
        tmp_path, 32, lambda disk: train(disk, full_between(disk, 18, 27, leave))
    )
    assert told["exit"] == 0
    run = tmp_path / "run"
    assert runs.journal(run) == runs.journal(twin)
    for name in ("model.safetensors", "optim.safetensors", "state.json"):
        assert runs.files(run)[name] == runs.files(twin)[name]
    records = list(read(run / "journal.jsonl"))
    (failed,) = [r for r in records if isinstance(r, Event) and r.name == "save_failed"]
    assert (failed.step, failed.args["errno"]) == (20, errno.ENOSPC)
    waits = [r for r in records if isinstance(r, Finding) and r.id == "disk" and "kept" in r.why]
    assert len(waits) == (leave == 0), "lines that had to wait are told of, once"
    assert "save_failed" in (run / "train.log").read_text()


def test_a_disk_that_stays_full_ends_the_run_with_the_last_good_checkpoint_named(
    tmp_path: Path,
) -> None:
    told = on_a_disk_of_its_own(
        tmp_path, 32, lambda disk: train(disk, full_between(disk, 18, 0, 1 << 20))
    )
    assert told["exit"] == 1
    assert "3 saves failed; the last good one is step-00000015" in told["reason"]
    there = candidates(tmp_path / "run")
    assert [(one.step, verify(one)) for one in there] == [(15, []), (10, [])]
    assert list((tmp_path / "run").glob(".tmp-*")) == []


def test_a_folder_that_is_read_only_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    def act(disk: Path) -> dict[str, Any]:
        recipe = runs.place(disk)
        run = disk / "run"
        assert runs.start(recipe, run, changes=("train.steps=4", "val.every=0")).exit == 0
        mounts.read_only(disk)
        changes = ("train.steps=8", "val.every=0")
        tried = {
            "new": lambda: runs.start(recipe, disk / "other", changes=changes),
            "there": lambda: runs.resume(run, changes=changes),
        }
        said = {}
        for name, act in tried.items():
            try:
                act()
            except SurefootError as error:
                said[name] = [error.exit, str(error)]
        return said

    told = on_a_disk_of_its_own(tmp_path, 4096, act)  # as much as preflight asks for
    assert {name: code for name, (code, _) in told.items()} == {"new": 2, "there": 2}
    assert "the folder can't be made (Read-only file system)" in told["new"][1]
    assert "it can't be written (Read-only file system)" in told["there"][1]


class Frozen(Disk):
    """A disk that its system mounts read-only from some moment on, as after an error."""

    def __init__(self, frozen: bool = False) -> None:
        self.frozen = frozen

    def before(self, operation: str, path: Path) -> None:
        if self.frozen:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


def test_a_folder_that_becomes_read_only_ends_the_run_with_a_sentence(
    twin: Path, tmp_path: Path
) -> None:
    disk = Frozen()
    run = opened(tmp_path, disk)
    run.journal.subscribe(lambda r: setattr(disk, "frozen", disk.frozen or r.step >= 18))
    ended = trained(run, runs.quiet())
    assert run.progress.step in (32, 33), "three saves were due, and training went on till then"
    assert [one.step for one in candidates(run.folder)] == [15, 10]
    assert "3 saves failed; the last good one is step-00000015" in run.failure
    assert ended.exit == 1
    assert runs.resume(run.folder).exit == 0
    assert runs.journal(run.folder) == runs.journal(twin)


def test_a_heartbeat_outlives_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    run = opened(tmp_path)
    beat = Heartbeat(run, Frozen(frozen=True), Ranks())
    time.sleep(0.1)
    assert beat.is_alive()
    beat.close()
    run.ended("stopped", 75, "enough")
    run.close()
