"""A rewind goes back exactly, is written down, and survives a kill at any moment around it."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surefoot.records import Finding, Record, Remedy, Step, read
from surefoot.run import going_on
from surefoot.run.opening import Opening, go_on, read_data
from surefoot.run.resuming import stored
from surefoot.run.run import Run
from surefoot.shelf.disk import Disk
from surefoot.shelf.lock import Lock
from surefoot.train import train

from . import runs
from .test_faults import opened

ALARM = 39  # the step at which a planted monitor cries


class Planted:
    """A watch that cries once, in the first generation."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def observe(self, record: Record) -> list[Finding]:
        found = self.inner.observe(record)
        if isinstance(record, Step) and record.step == ALARM and record.generation == 0:
            cry = {"what": "step", "value": "", "why": "planted", "instead": "nothing"}
            found.append(Finding(id="loss_gap", severity="act", step=ALARM, since=ALARM - 1, **cry))
        return found

    def state(self) -> dict[str, Any]:
        return self.inner.state()

    def restore(self, state: Any) -> None:
        self.inner.restore(state)


def trained(run: Run, trap: Callable[[Run], None] = lambda run: None) -> int:
    run.watch = Planted(run.watch)  # pyright: ignore[reportAttributeAccessIssue]
    trap(run)
    try:
        return train(run).exit
    finally:
        run.close()


def resumed(folder: Path) -> int:
    recipe, dataset = read_data(stored(folder))
    lock, disk = Lock(folder, Disk()), Disk()
    old = going_on.newest_content(folder, None, disk)
    return trained(go_on(Opening(recipe, dataset), folder, lock, old, disk))


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twin")
    run = opened(folder, train__steps=60)
    assert trained(run) == 0
    return run.folder


def test_a_rewind_opens_a_generation_skips_the_data_and_finishes(twin: Path) -> None:
    records = list(read(twin / "journal.jsonl"))
    remedies = [r for r in records if isinstance(r, Remedy)]
    assert [r.name for r in remedies] == ["skip", "rewind"]
    assert remedies[1].args == {"to_step": 20, "from_generation": 0, "generation": 1}
    steps = [(r.generation, r.step) for r in records if isinstance(r, Step)]
    assert steps == [(0, s) for s in range(1, ALARM + 1)] + [(1, s) for s in range(21, 61)]
    first, stop = remedies[0].args["positions"]
    read_again = [r.position for r in records if isinstance(r, Step) and r.generation == 1]
    assert not any(first <= p < stop for p in read_again)
    assert (twin / "step-00000060-g1").is_dir()
    assert json.loads((twin / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize("moment", ["finding", "remedy", "loaded", "first step"])
def test_killed_around_a_rewind_and_resumed_it_equals_its_twin(
    twin: Path, tmp_path: Path, moment: str
) -> None:
    def trap(run: Run) -> None:
        def die(record: Record) -> None:
            after_finding = isinstance(record, Finding) and record.id == "loss_gap"
            after_remedy = isinstance(record, Remedy) and record.name == "rewind"
            again = isinstance(record, Step) and record.generation == 1
            if (
                (moment == "finding" and after_finding)
                or (moment == "remedy" and after_remedy)
                or (moment == "first step" and again)
            ):
                os.kill(os.getpid(), signal.SIGKILL)

        run.journal.subscribe(die)
        if moment == "loaded":
            load = run.learner.load

            def loaded(*tensors: Any) -> None:
                load(*tensors)
                os.kill(os.getpid(), signal.SIGKILL)

            run.learner.load = loaded  # pyright: ignore[reportAttributeAccessIssue]

    folder = tmp_path / "here"
    pid = runs.forked(lambda: trained(opened(folder, train__steps=60), trap))
    assert runs.ended(pid) == 128 + signal.SIGKILL
    assert runs.ended(runs.forked(lambda: resumed(folder / "run"))) == 0
    assert runs.journal(folder / "run") == runs.journal(twin)
    mine, other = runs.files(folder / "run"), runs.files(twin)
    for name in ("model.safetensors", "optim.safetensors", "state.json"):
        assert mine[name] == other[name]


def test_a_rewind_to_the_start_begins_with_the_first_values(tmp_path: Path) -> None:
    run = opened(tmp_path, save__every=0, val__every=0, train__steps=400)
    first = {name: p.detach().clone() for name, p in run.learner.parameters.items()}
    seen: list[bool] = []
    load = run.learner.load

    def loaded(model: Any, slots: Any) -> None:
        load(model, slots)
        seen.append(all((run.learner.parameters[n] == p).all() for n, p in first.items()))
        run.ask_to_stop("enough", 75)

    run.learner.load = loaded  # pyright: ignore[reportAttributeAccessIssue]
    assert trained(run) == 75
    assert seen == [True]
