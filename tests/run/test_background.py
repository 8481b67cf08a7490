"""Saves beside the training change nothing of it: same lines, same bytes, errors heard in time."""

import errno
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from surefoot.records import Event, Finding, Record, Remedy, Step, read
from surefoot.run.blocks import Blocks
from surefoot.run.run import Run
from surefoot.run.stalls import MOST, SAVES, Stalls, fitting
from surefoot.shelf.checkpoint import candidates, verify
from surefoot.shelf.disk import Disk
from surefoot.shelf.lock import holder
from surefoot.train import train

from . import runs
from .test_faults import opened, trained
from .test_rewind import Planted

FILES = ("model.safetensors", "optim.safetensors", "state.json", "tokenizer.json")


class Slow(Disk):
    """Takes its time for the COMMIT of some checkpoints."""

    def __init__(self, seconds: float, only: str = "") -> None:
        self.seconds, self.only = seconds, only

    def before(self, operation: str, path: Path) -> None:
        if operation == "create" and path.name == "COMMIT" and self.only in path.parent.name:
            time.sleep(self.seconds)


class Broken(Disk):
    """Has a mistake in it, of the kind that nobody expected."""

    def before(self, operation: str, path: Path) -> None:
        if operation == "mkdir" and path.name.startswith(".tmp-step-00000020"):
            raise RuntimeError("a mistake of ours")


def finished(folder: Path, disk: Disk | None = None, **changes: Any) -> Run:
    run = opened(folder, disk, **changes)
    assert trained(run).exit == 0
    return run


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that waited for each of its saves."""
    return finished(tmp_path_factory.mktemp("waiting"), save__background=False).folder


@pytest.mark.parametrize("disk", [Disk(), Slow(0.2)], ids=["a disk", "a slow disk"])
def test_saves_beside_the_training_give_the_same_lines_and_bytes(
    disk: Disk, waiting: Path, tmp_path: Path
) -> None:
    run = finished(tmp_path, disk).folder
    assert runs.journal(run) == runs.journal(waiting)
    for name in FILES:
        assert runs.files(run)[name] == runs.files(waiting)[name]
    kept = [[one.step for one in candidates(folder)] for folder in (run, waiting)]
    assert kept[0] == kept[1]
    for pointer in ("latest", "best", "final", "pre-decay"):
        assert (run / pointer).readlink() == (waiting / pointer).readlink()


def test_training_goes_on_while_a_save_is_written(tmp_path: Path) -> None:
    run = finished(tmp_path, Slow(0.3, "step-00000010"), val__every=0)
    told = list(read(run.folder / "journal.jsonl"))
    saved = next(i for i, r in enumerate(told) if isinstance(r, Event) and r.name == "saved")
    later = [r.step for r in told[:saved] if isinstance(r, Step) and r.step > 10]
    assert len(later) >= 3, "steps were made before the save was heard of"
    stalls = {r.step: r.save_stall_s for r in told if isinstance(r, Step)}
    assert (stalls[11] or 0.0) < 0.25
    assert (stalls[21] or 0.0) > 0.0


def test_a_save_that_is_due_while_one_is_written_waits_and_the_wait_is_told(
    tmp_path: Path,
) -> None:
    run = finished(tmp_path, Slow(0.3), save__every=1, train__steps=4, val__every=0)
    told = {r.step: r for r in read(run.folder / "journal.jsonl") if isinstance(r, Step)}
    assert (told[3].save_stall_s or 0.0) > 0.2
    assert [one.step for one in candidates(run.folder)] == [4, 3, 2]


def test_saves_that_come_too_often_are_said_with_a_number_that_fits(tmp_path: Path) -> None:
    changes = {"save__every": 1, "train__steps": 24, "val__every": 0, "guard__audit_after": 0}
    run = finished(tmp_path, Slow(0.05), **changes)
    told = [r for r in read(run.folder / "journal.jsonl") if isinstance(r, Finding)]
    (slow,) = [r for r in told if r.id == "save_slow"]
    assert (slow.severity, slow.what, slow.value, slow.source) == (
        "note",
        "save.every",
        "1",
        "shelf",
    )
    assert slow.instead == f"Write save.every={slow.evidence['fits']}"
    assert slow.evidence["fits"] > 1


def counted(every: int, step_s: float, lost_s: float, beside_s: float) -> Finding | None:
    """Save so often for a while, on a clock of our own."""
    stalls, now, told = Stalls(every), 0.0, None
    for number in range(1, SAVES + 3):
        stall = lost_s + max(0.0, beside_s - every * step_s)
        now += every * step_s + stall
        told = told or stalls.add(number * every, now, stall, lost_s, beside_s)
    return told


@pytest.mark.parametrize(
    ("step_s", "lost_s", "beside_s"),
    [(0.1, 0.002, 3.0), (0.1, 0.5, 0.0), (2.0, 0.01, 36.0), (0.005, 0.021, 0.03)],
)
def test_the_number_that_fits_is_the_smallest(
    step_s: float, lost_s: float, beside_s: float
) -> None:
    fits = fitting(step_s, lost_s, beside_s)
    assert counted(fits, step_s, lost_s, beside_s) is None
    told = counted(fits - 1, step_s, lost_s, beside_s)
    assert told is not None and told.evidence["fits"] == fits
    assert told.evidence["share"] > MOST


def test_what_is_saved_at_each_better_validation_has_another_number() -> None:
    stalls = Stalls(every=500)
    told = [stalls.add(10 * n, 1.0 * n, 0.5, 0.5, 0.0) for n in range(1, 60)]
    (finding,) = filter(None, told)  # once, however long it goes on
    assert finding.instead == "Write val.every=190"


def test_steps_that_are_done_again_begin_a_new_count() -> None:
    stalls = Stalls(every=10)
    steps = [*range(10, 150, 10), *range(20, 200, 10)]
    assert not any(stalls.add(s, float(i), 0.5, 0.5, 0.0) for i, s in enumerate(steps))


def test_without_memory_for_a_copy_the_training_waits_and_says_so_once(
    waiting: Path, tmp_path: Path
) -> None:
    run = opened(tmp_path)
    run.saver.free_gib = lambda: 0.0
    assert trained(run).exit == 0
    assert run.saver.shelf.buffers.held == {}
    told = [r for r in read(run.folder / "journal.jsonl") if isinstance(r, Finding)]
    (note,) = [r for r in told if r.id == "save_slow"]
    assert (note.severity, note.what, note.value) == ("note", "free memory", "0.00 GiB")
    assert runs.journal(run.folder) == runs.journal(waiting)
    for name in FILES:
        assert runs.files(run.folder)[name] == runs.files(waiting)[name]


def test_nothing_is_copied_where_the_training_does_not_go_on(tmp_path: Path) -> None:
    run = finished(tmp_path, save__every=0, val__every=0, knobs__lr__kind="constant")
    assert [one.step for one in candidates(run.folder)] == [40]
    assert run.saver.shelf.buffers.held == {}


def test_a_mistake_beside_the_training_is_raised_in_the_loop(tmp_path: Path) -> None:
    run = opened(tmp_path, Broken())
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        trained(run)
    assert 20 < run.progress.step < 40, "at the next step boundary, or soon after"
    assert holder(run.folder) is None


class Held(Disk):
    """Keeps one checkpoint from being committed until it is let go."""

    def __init__(self, step: int) -> None:
        self.step, self.let_go = step, threading.Event()

    def before(self, operation: str, path: Path) -> None:
        if operation == "create" and path.name == "COMMIT" and f"{self.step:08d}" in str(path):
            assert self.let_go.wait(60), "nobody waited for this save"


def test_a_rewind_waits_for_the_save_that_it_may_go_back_to(tmp_path: Path) -> None:
    held = Held(20)
    run = opened(tmp_path, held, train__steps=60, save__every=20, val__every=0)
    run.watch = Planted(run.watch)  # pyright: ignore[reportAttributeAccessIssue]

    def soon(record: Record) -> None:
        if isinstance(record, Finding) and record.severity == "act":
            threading.Timer(0.2, held.let_go.set).start()

    run.journal.subscribe(soon)
    assert trained(run).exit == 0
    remedies = [r for r in read(run.folder / "journal.jsonl") if isinstance(r, Remedy)]
    assert [r.args["to_step"] for r in remedies if r.name == "rewind"] == [20]


def test_an_error_in_the_loop_lets_the_save_that_is_written_be_finished(tmp_path: Path) -> None:
    run = opened(tmp_path, Slow(0.3, "step-00000010"), val__every=0)
    sound = run.learner.loss

    def loss(*given: Any, **more: Any) -> Any:
        if run.progress.step == 11:
            raise ValueError("the loop's own trouble")
        return sound(*given, **more)

    run.learner.loss = loss
    with pytest.raises(ValueError, match="the loop's own trouble"):
        trained(run)
    assert [(one.step, verify(one)) for one in candidates(run.folder)] == [(10, [])]
    assert '"saved"' in (run.folder / "journal.jsonl").read_text()
    assert list(run.folder.glob(".tmp-*")) == []


def test_a_failed_save_before_a_stop_is_made_good_by_the_last_one(tmp_path: Path) -> None:
    class Once(Held):
        def before(self, operation: str, path: Path) -> None:
            super().before(operation, path)
            if operation == "create" and path.name == "COMMIT" and f"{self.step:08d}" in str(path):
                self.step = 10**8  # not again
                raise OSError(errno.EIO, "Input/output error")

    disk = Once(10)
    run = Blocks.of(opened(tmp_path, disk, val__every=0))
    run.left = 10
    train(run)  # the save of step 10 is under way, and will fail
    run.ask_to_stop("enough", 75)
    threading.Timer(0.1, disk.let_go.set).start()
    outcome = run.saved_and_stopped()
    run.close()
    assert (outcome.exit, outcome.step, outcome.reason) == (75, 10, "enough")
    assert [(one.step, verify(one)) for one in candidates(run.folder)] == [(10, [])]
