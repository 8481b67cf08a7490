"""A model in training is audited once it has left its first values, and stopped if it leaks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from surefoot.audit.audit import quick_trained
from surefoot.plan.plan import Plan
from surefoot.recipe.load import load
from surefoot.records import Event, Finding, Step, read
from surefoot.run.opening import Opening, begin, read_data
from surefoot.train import train
from tests.audit.zoo.pipelines import Ahead
from tests.run.runs import TINY, check_equal, files, forked, killed_after, place, resume, start


def state(run: Path, step: int) -> dict[str, Any]:
    """Read what a checkpoint says of its audit."""
    return json.loads((run / f"step-{step:08d}" / "state.json").read_bytes())["audit"]


def test_the_verdict_stands_in_the_journal_and_in_every_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert start(place(tmp_path), run).exit == 0
    records = list(read(run / "journal.jsonl"))
    told = [one for one in records if isinstance(one, Event) and one.name == "audited"]
    assert [(one.step, one.args["state"]) for one in told] == [(20, "pass")]
    assert not [one for one in records if isinstance(one, Finding) and one.id == "causality"]
    trained = {"state": "pass", "leaks": [], "length": 127, "step": 20}
    preflight = {"state": "pass", "leaks": []}
    assert state(run, 30) == state(run, 40) == {"preflight": preflight, "trained": trained}


def test_training_is_the_same_with_it_and_without(tmp_path: Path) -> None:
    recipe = place(tmp_path)
    start(recipe, tmp_path / "with")
    start(recipe, tmp_path / "without", changes={"guard.audit_after": 0})
    a, b = files(tmp_path / "with"), files(tmp_path / "without")
    assert a["model.safetensors"] == b["model.safetensors"]
    assert a["optim.safetensors"] == b["optim.safetensors"]


PEEK = """
from surefoot.model.mixers import haar

facts = haar.facts


class Options(haar.Options):
    kind: str = "peek"


class Mixer(haar.Mixer):
    def forward(self, x, ctx):
        return super().forward(x.roll(-1, dims=1), ctx)
"""


def plug_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a mixer that looks ahead, as a package of somebody else's."""
    installed = folder / "site"
    (installed / "peek-1.0.dist-info").mkdir(parents=True)
    (installed / "peek.py").write_text(PEEK)
    (installed / "peek-1.0.dist-info/METADATA").write_text("Name: peek\nVersion: 1.0\n")
    points = "[surefoot.mixers]\npeek = peek\n"
    (installed / "peek-1.0.dist-info/entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(installed))


def test_preflight_refuses_a_mixer_that_looks_ahead_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(tmp_path, monkeypatch)
    recipe = place(tmp_path, TINY.replace('H = { kind = "haar"', 'H = { kind = "peek"'))
    ended = start(recipe, tmp_path / "run")
    (found,) = [one for one in ended.status["findings"] if one["id"] == "causality"]
    assert ended.exit == 3 and found["severity"] == "refuse"
    assert found["why"].startswith("layer 1 · mixer (peek): reads at least 1 tokens ahead")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_accepted_it_trains_and_every_checkpoint_says_that_it_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(tmp_path, monkeypatch)
    recipe = place(tmp_path, TINY.replace('H = { kind = "haar"', 'H = { kind = "peek"'))
    assert start(recipe, tmp_path / "run", accept=("causality",)).exit == 0
    told = state(tmp_path / "run", 40)
    assert told["preflight"]["state"] == told["trained"]["state"] == "leak"


def spoilt(folder: Path) -> Any:
    """Open a run, and let one of its layers look ahead."""
    recipe, dataset = read_data(load(place(folder), {}).recipe)
    (folder / "run").mkdir()
    run = begin(Opening(recipe, dataset), folder / "run")
    layers: Any = run.learner.model.layers  # pyright: ignore[reportAttributeAccessIssue]
    layers[1].mixer = Ahead(layers[1].mixer)
    return run


def test_a_leak_that_preflight_could_not_see_stops_the_run(tmp_path: Path) -> None:
    run = spoilt(tmp_path)
    outcome = train(run)
    run.close()
    assert (outcome.state, outcome.exit, outcome.step) == ("stopped", 4, 20)
    found = [one for one in read(tmp_path / "run" / "journal.jsonl") if isinstance(one, Finding)]
    assert [one.severity for one in found] == ["act"]
    assert found[0].why.startswith("layer 1 · mixer (haar): reads at least 1 tokens ahead")
    assert state(tmp_path / "run", 20)["trained"]["state"] == "leak"


def test_a_leak_that_was_accepted_is_told_and_stops_nothing(tmp_path: Path) -> None:
    run = spoilt(tmp_path)
    run.told(Event(name="accepted", step=0, args={"id": "causality", "value": "", "who": "cli"}))
    outcome = train(run)
    run.close()
    assert outcome.state == "finished"
    found = [one for one in read(tmp_path / "run" / "journal.jsonl") if isinstance(one, Finding)]
    assert [one.severity for one in found] == ["warn"]


def test_nothing_of_the_model_or_of_chance_is_touched(tmp_path: Path) -> None:
    recipe, _ = read_data(load(place(tmp_path), {}).recipe)
    from surefoot.run.opening import make_learner

    learner = make_learner(recipe)
    before = {name: value.clone() for name, value in learner.parameters.items()}
    drawn = torch.get_rng_state()
    verdict = quick_trained(learner.model, Plan(recipe).at(20).values, recipe)
    assert verdict.clean and not learner.gradients()
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in learner.parameters.items())
    assert all(value.requires_grad for value in learner.parameters.values())


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.4, 0.7, 1.0])
def test_killed_around_the_audit_it_equals_its_twin(seconds: float, tmp_path: Path) -> None:
    recipe = place(tmp_path)
    start(recipe, tmp_path / "twin")
    run = tmp_path / "run"
    killed_after(forked(lambda: start(recipe, run).exit), seconds)
    again = resume(run) if any(run.glob("step-*")) else start(recipe, run)
    assert again.exit == 0
    check_equal(run, tmp_path / "twin")
    steps = [one.step for one in read(run / "journal.jsonl") if isinstance(one, Step)]
    assert steps == list(range(1, 41))
