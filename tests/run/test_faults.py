"""What a run does when numbers, disk or data go bad."""

import errno
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from surefoot import kinds
from surefoot.errors import SurefootError
from surefoot.model import model as forward
from surefoot.recipe import write
from surefoot.recipe.load import load
from surefoot.records import Event, Finding, Step, read
from surefoot.run.opening import Opening, begin, read_data
from surefoot.run.run import Outcome, Run
from surefoot.shelf.checkpoint import candidates
from surefoot.shelf.disk import Disk
from surefoot.train import train

from . import runs


def opened(folder: Path, disk: Disk | None = None, **changes: object) -> Run:
    recipe = runs.place(folder)
    asked = {key.replace("__", "."): value for key, value in changes.items()}
    resolved, dataset = read_data(write.resolved(load(recipe, asked).recipe))
    (folder / "run").mkdir()
    return begin(Opening(resolved, dataset), folder / "run", disk)


def trained(run: Run) -> Outcome:
    try:
        return train(run)
    finally:
        run.close()


class FullDisk(Disk):
    """A disk that is full from some checkpoint on, for so many of its writes."""

    def __init__(self, step: int, refusals: int) -> None:
        self.step, self.refusals = step, refusals

    def before(self, operation: str, path: Path) -> None:
        """Refuse to make the checkpoint's folder."""
        found = re.match(r"\.tmp-step-(\d+)", path.name)
        late = found is not None and int(found[1]) >= self.step
        if operation == "mkdir" and late and self.refusals:
            self.refusals -= 1
            raise OSError(errno.ENOSPC, "No space left on device")


BESIDE = pytest.mark.parametrize("beside", [True, False], ids=["beside", "waiting"])


def test_nan_from_some_step_on_stops_the_run_and_never_reaches_the_weights(tmp_path: Path) -> None:
    run = opened(tmp_path)
    poisoned = run.learner.loss

    def loss(batch, knobs, valid, probe=False):
        value, stats = poisoned(batch, knobs, valid, probe)
        return (value * float("nan") if run.progress.step >= 12 else value), stats

    run.learner.loss = loss
    outcome = trained(run)
    assert outcome.exit == 4
    assert outcome.step == 16
    assert "nonfinite" in outcome.reason
    assert all(torch.isfinite(p).all() for p in run.learner.parameters.values())
    told = list(read(run.folder / "journal.jsonl"))
    assert [r.step for r in told if isinstance(r, Step) and r.skipped] == [13, 14, 15, 16]
    severities = [r.severity for r in told if isinstance(r, Finding) and r.id == "nonfinite"]
    assert severities == ["note", "act", "note", "act"]
    assert not (run.folder / "final").exists()
    status = json.loads((run.folder / "status.json").read_text())
    assert (status["state"], status["exit"]) == ("stopped", 4)


def test_a_micro_batch_that_gives_no_number_is_left_out_again_by_a_killed_and_resumed_run(
    tmp_path: Path,
) -> None:
    """Left out by what is in it, not by when: the file is the same, so is the run."""
    kept = forward.Model.loss

    def loss(model: Any, batch: Any, *rest: Any) -> Any:
        value, stats = kept(model, batch, *rest)
        return (value * float("nan") if batch.position == 4 * 11 + 2 else value), stats

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward.Model, "loss", loss)
        run = opened(tmp_path / "whole", train__steps=15, save__every=5, val__every=0)
        assert trained(run).exit == 0
        told = list(read(run.folder / "journal.jsonl"))
        [left] = [r for r in told if isinstance(r, Step) and r.skipped_micro]
        assert (left.step, left.skipped, left.valid_tokens) == (12, False, 2 * 16)
        assert left.skipped_micro is not None
        assert left.skipped_micro[0]["positions"] == [46, 48]
        [found] = [r for r in told if isinstance(r, Finding) and r.id == "nonfinite"]
        assert found.severity == "note"
        assert str(found).startswith("step 12 = 1 of 2 micro-batches left out: not finite (rank 0")
        again = tmp_path / "again"
        shutil.copytree(run.folder, again, symlinks=True)
        for name in ("step-00000015", "status.json", "final", "latest"):
            path = again / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        assert runs.resume(again).exit == 0
        runs.check_equal(again, run.folder)


def test_a_run_that_ends_in_nan_does_not_finish(tmp_path: Path) -> None:
    run = opened(tmp_path)
    sound = run.learner.loss

    def loss(batch, knobs, valid, probe=False):
        value, stats = sound(batch, knobs, valid, probe)
        return (value * float("nan") if run.progress.step >= 38 else value), stats

    run.learner.loss = loss
    outcome = trained(run)
    assert outcome.exit not in (0, 75, 130)
    assert not (run.folder / "final").exists()


@BESIDE
def test_a_save_that_finds_the_disk_full_is_tried_again_and_nothing_is_lost(
    tmp_path: Path, beside: bool
) -> None:
    run = opened(tmp_path, FullDisk(step=20, refusals=2), save__background=beside)
    outcome = trained(run)
    assert outcome.exit == 0
    assert (run.folder / "journal.jsonl").read_text().count('"save_failed"') == 2
    twin = opened(tmp_path / "twin")
    trained(twin)
    for name in ("model.safetensors", "optim.safetensors", "state.json"):
        assert runs.files(run.folder)[name] == runs.files(twin.folder)[name]


@BESIDE
def test_a_disk_that_stays_full_stops_the_run_and_names_the_last_good_checkpoint(
    tmp_path: Path, beside: bool
) -> None:
    run = opened(tmp_path, FullDisk(step=20, refusals=99), save__background=beside)
    outcome = trained(run)
    assert outcome.exit == 1
    assert "step-00000015" in outcome.reason or "step-00000010" in outcome.reason
    assert candidates(run.folder)[0].step in (10, 15)
    assert beside or run.progress.step == 32  # tried again where a save is due


def test_the_timed_step_and_validation_leave_no_trace(tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    assert runs.start(recipe, tmp_path / "plain").exit == 0
    assert runs.start(recipe, tmp_path / "timed", timed=True).exit == 0
    often = ("val.every=1", "save.every=0")
    assert runs.start(recipe, tmp_path / "often", changes=often).exit == 0
    runs.check_equal(tmp_path / "timed", tmp_path / "plain")
    files = ("model.safetensors", "optim.safetensors")
    for name in files:
        assert runs.files(tmp_path / "often")[name] == runs.files(tmp_path / "plain")[name]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model.mixers.L.window=99", "can't be larger than the sequence"),
        ("model.heads=3", "can't be cut into 3 equal heads"),
        ("model.vocab=64", "the tokenizer has 259 tokens"),
        ("train.seq_len=100000", "seq_len"),
        ("data.corpus.path=nowhere.txt", "nowhere.txt"),
    ],
)
def test_bad_plans_are_refused_before_anything_is_made(
    tmp_path: Path, change: str, said: str
) -> None:
    recipe = runs.place(tmp_path)
    with pytest.raises(SurefootError, match=said) as told:
        runs.start(recipe, tmp_path / "run", changes=(change,))
    assert told.value.exit == 2
    assert all(p.what and p.why and p.instead for p in told.value.problems)
    assert not (tmp_path / "run").exists()


QUICK = ("lr_x30", "nan", "scrambled")  # a bend, a loss, a batch; the others take a second each


@pytest.mark.parametrize(
    "kind",
    [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in kinds.names("faults")],
)
def test_every_drill_is_put_in_and_written_down(tmp_path: Path, kind: str) -> None:
    recipe = runs.place(tmp_path)
    ended = runs.start(recipe, tmp_path / "run", drill=f"{kind}@30")
    told = [r for r in read(tmp_path / "run" / "journal.jsonl") if isinstance(r, Event)]
    assert [r.args["kind"] for r in told if r.name == "drill"] == [kind]
    assert ended.exit in (0, 4)


def test_a_drill_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="KIND@STEP") as told:
        runs.start(runs.place(tmp_path), tmp_path / "run", drill="meteor@30")
    assert told.value.exit == 2
