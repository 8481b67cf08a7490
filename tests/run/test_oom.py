"""A run whose memory runs out: it stops with advice, or splits, and both resume exactly."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from surefoot.records import Event, Step, read
from surefoot.run.run import Outcome, Run
from tests.run import runs
from tests.run.test_faults import opened, trained

SPLIT = 8  # the step at which memory runs out


def tight(run: Run, step: int) -> None:
    """Let memory run out from a step on where two rows go through at once."""
    sound = run.learner.loss

    def loss(batch: Any, *rest: Any) -> Any:
        if len(batch.tokens) > 1 and run.progress.step + 1 >= step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0")
        return sound(batch, *rest)

    run.learner.loss = loss


def made(folder: Path, **changes: Any) -> tuple[Run, Outcome]:
    run = opened(folder, train__steps=20, save__every=5, save__keep="all", val__every=0, **changes)
    tight(run, SPLIT)
    return run, trained(run)


def test_a_run_without_memory_says_what_would_fit_and_its_last_checkpoint_stands(
    tmp_path: Path,
) -> None:
    run, outcome = made(tmp_path)
    assert (outcome.state, outcome.exit, outcome.step) == ("failed", 1, SPLIT - 1)
    assert f"out of memory at step {SPLIT} in forward: 20.00 MiB asked for" in outcome.reason
    assert "train.batch=1 train.accumulate=4 (same 4 rows)" in outcome.reason
    assert "train.on_oom=split" in outcome.reason
    assert "The last checkpoint is step-00000005" in outcome.reason
    assert (run.folder / "step-00000005" / "COMMIT").is_file()


@pytest.mark.slow
def test_a_run_that_may_splits_its_step_and_resumes_identically(tmp_path: Path) -> None:
    run, outcome = made(tmp_path / "whole", train__on_oom="split")
    assert (outcome.state, outcome.exit) == ("finished", 0)
    told = list(read(run.folder / "journal.jsonl"))
    assert [r.args for r in told if isinstance(r, Event) and r.name == "oom_split"] == [
        {"rows": 1, "micro_batches": 4, "at_step": SPLIT}
    ]
    steps = [r.step for r in told if isinstance(r, Step)]
    assert steps == list(range(1, 21))  # the same step was done, once
    # killed before the split was in any checkpoint, and after it: a device that now has room for
    # two rows does one at a time all the same, from the same step on
    for last in (5, 10):
        again = tmp_path / f"again-{last}"
        shutil.copytree(run.folder, again, symlinks=True)
        for folder in again.glob("step-*"):
            if int(folder.name[5:13]) > last:
                shutil.rmtree(folder)
        (again / "final").unlink()
        (again / "status.json").unlink()
        assert runs.resume(again).exit == 0
        assert runs.files(again) == runs.files(run.folder)
        same = [line for line in runs.journal(again) if "oom_split" not in line]
        assert same == [line for line in runs.journal(run.folder) if "oom_split" not in line]
