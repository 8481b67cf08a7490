"""Saving beside the training: the state of one step, however fast the weights change meanwhile."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from surefoot.errors import RunError, ShelfError
from surefoot.records import Record
from surefoot.shelf.checkpoint import candidates, manifest, verify
from surefoot.shelf.disk import Disk
from surefoot.shelf.journal import Journal
from surefoot.shelf.load import load
from surefoot.shelf.lock import Lock
from surefoot.shelf.save import Content, SaveFailed
from surefoot.shelf.shelf import Shelf
from surefoot.shelf.snapshot import Buffers, Parts, taken
from tests.shelf import toy
from tests.shelf.disks import Failing, Mortal, Small

WIDTH, TENSORS = 1 << 14, 12


class Training:
    """Weights that change as fast as they can: after step s each number is s."""

    def __init__(self, device: str = "cpu") -> None:
        self.step = 0
        self.model = {f"{i}": torch.zeros(WIDTH, device=device) for i in range(TENSORS)}
        self.optim = {f"{i}/momentum": torch.zeros(WIDTH, device=device) for i in range(TENSORS)}

    def advance(self) -> None:
        self.step += 1
        for tensor in (*self.model.values(), *self.optim.values()):
            tensor.add_(1)

    def content(self) -> Content:
        return Content(self.step, 0, self.model, self.optim, {"seed": 0}, "", b"")


class Live(Buffers):
    """What must not be: no copy at all."""

    def copies(self, parts: Parts) -> tuple[Parts, None]:
        return parts, None


def torn(run: Path, buffers: Buffers, saves: int) -> int:
    """Save while the weights change; count the checkpoints that hold another step's numbers."""
    store, training, found = Shelf(run, keep=1), Training(), 0
    store.buffers = buffers
    for _ in range(saves):
        training.advance()
        step = training.step
        store.begin(training.content(), "regular")
        while not store.settled:
            training.advance()
        saved = store.settle()
        assert saved is not None and saved.checkpoint.step == step
        assert training.step > step, "the weights changed while they were written"
        back = load(saved.checkpoint)
        held: Mapping[str, Tensor] = {**back.model, **back.optim}
        found += any(bool((tensor != step).any()) for tensor in held.values())
    return found


def test_a_state_is_that_of_its_step_however_fast_the_weights_change(tmp_path: Path) -> None:
    assert torn(tmp_path, Buffers(), 15) == 0


@pytest.mark.slow
def test_a_hundred_states_are_each_that_of_their_step(tmp_path: Path) -> None:
    assert torn(tmp_path, Buffers(), 100) == 0


def test_a_snapshot_that_is_no_copy_is_found(tmp_path: Path) -> None:
    assert torn(tmp_path, Live(), 5) >= 3


def test_what_is_no_tensor_is_settled_at_the_same_place(tmp_path: Path) -> None:
    store, now = Shelf(tmp_path), toy.content(2)
    state: dict[str, Any] = {"events": [], "lineage": []}
    store.journal = Journal(tmp_path / "journal.jsonl", Disk())
    before = store.journal.offset()
    store.begin(replace(now, state=state), "regular")
    state["events"].append("later")
    store.tell("user", now, {})
    store.settle()
    store.journal.close()
    back = store.load()
    assert back.state["events"] == []
    assert back.journal == before


def test_beside_the_training_and_in_its_way_give_the_same_bytes(tmp_path: Path) -> None:
    for name, copy in (("beside", True), ("waiting", False)):
        (tmp_path / name).mkdir()
        store = Shelf(tmp_path / name)
        store.begin(toy.content(3), "regular", copy=copy)
        store.settle()
    one, other = (manifest(candidates(tmp_path / name)[0]) for name in ("beside", "waiting"))
    assert one == other


def test_the_memory_of_a_copy_is_used_again() -> None:
    training, buffers = Training(), Buffers()
    first = taken(training.content(), buffers)
    training.advance()
    second = taken(training.content(), buffers)
    for file, part in first.parts.items():
        for name, tensor in part.items():
            assert second.parts[file][name].data_ptr() == tensor.data_ptr()
            assert bool((tensor == 1).all())


def test_a_tied_tensor_is_copied_once() -> None:
    buffers = Buffers()
    taken(toy.content(3), buffers)
    assert "head.weight" not in {name for _, name in buffers.held}


def test_the_journal_is_told_by_the_loop_and_not_by_the_thread(tmp_path: Path) -> None:
    store, heard = Shelf(tmp_path), []

    def listener(record: Record) -> None:
        heard.append(threading.current_thread())

    store.journal = Journal(tmp_path / "journal.jsonl", Disk())
    store.journal.subscribe(listener)
    store.begin(toy.content(2), "regular")
    assert store.writing is not None
    store.writing.future.result()
    assert heard == []
    store.settle()
    assert heard == [threading.main_thread()]
    store.journal.close()


def test_what_fails_beside_the_training_is_raised_where_it_is_heard(tmp_path: Path) -> None:
    store = Shelf(tmp_path, disk=Small(0))
    for step in (1, 2):
        store.begin(toy.content(step), "regular")
        with pytest.raises(SaveFailed, match=f"step-0000000{step}"):
            store.settle()
    store.begin(toy.content(3), "regular")
    with pytest.raises(ShelfError, match="3 saves failed"):
        store.settle()


def test_a_run_that_was_taken_over_is_told_so_by_the_thread(tmp_path: Path) -> None:
    store, lock = Shelf(tmp_path), Lock(tmp_path, Disk())
    store.fence = lock.check
    (tmp_path / "owner.json").write_text('{"token":"other","pid":1}')
    store.begin(toy.content(1), "regular")
    with pytest.raises(RunError, match="taken over by pid 1"):
        store.settle()
    assert store.settle() is None
    lock.release()


def test_no_thread_is_left_when_a_save_was_heard(tmp_path: Path) -> None:
    before = threading.active_count()
    Shelf(tmp_path).save(toy.content(1), "regular")
    assert threading.active_count() == before


def test_all_pointers_stand_before_anything_is_deleted(tmp_path: Path) -> None:
    store = Shelf(tmp_path, keep=1)
    for step in (1, 2):
        store.begin(toy.content(step), "regular", pointers=["best"])
        store.settle()
    assert verify(candidates(tmp_path)[0]) == []
    assert (tmp_path / "best").readlink().name == "step-00000002"
    assert [one.step for one in store.checkpoints()] == [2], "the old best is no pin any more"


def killed_beside(tmp_path: Path, points: range) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    toy.train(alone, Disk())
    left = 0
    for at in points:
        run = toy.emptied(tmp_path / "run")
        code = toy.in_child(lambda at=at, run=run: toy.train(run, Mortal(at), beside=True))
        assert code in (-9, 0), f"killed at operation {at}: {code}"
        left += any(run.glob(".tmp-step-*"))
        toy.train(run, Disk(), beside=True)
        assert toy.outcome(run) == toy.outcome(alone), f"killed at operation {at}"
    assert left > len(points) // 4, "kills met saves that were half written"


def test_killed_with_saves_beside_the_training_a_run_ends_the_same(tmp_path: Path) -> None:
    killed_beside(tmp_path, range(3, 130, 16))


@pytest.mark.slow
def test_killed_at_each_operation_of_saves_beside_the_training_it_ends_the_same(
    tmp_path: Path,
) -> None:
    killed_beside(tmp_path, range(1, 150))


def test_a_disk_that_fails_once_beside_the_training_costs_nothing(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    toy.train(alone, Disk())
    for at in range(9, 120, 18):
        run = toy.emptied(tmp_path / "run")
        toy.train(run, Failing(at), beside=True)
        toy.train(run, Disk(), beside=True)
        assert toy.outcome(run)["files"] == toy.outcome(alone)["files"], f"failed at {at}"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpus_state_is_copied_beside_its_work(tmp_path: Path) -> None:
    store, training = Shelf(tmp_path, keep=1), Training("cuda")
    for _ in range(20):
        training.advance()
        step = training.step
        snapshot = store.begin(training.content(), "regular")
        assert snapshot.copied is not None
        assert all(t.is_pinned() for part in snapshot.parts.values() for t in part.values())
        torch.cuda.current_stream().wait_event(snapshot.copied)  # as the learner does
        while not store.settled:
            training.advance()
        saved = store.settle()
        assert saved is not None
        back = load(saved.checkpoint)
        held: Mapping[str, Tensor] = {**back.model, **back.optim}
        assert not any(bool((tensor != step).any()) for tensor in held.values())
