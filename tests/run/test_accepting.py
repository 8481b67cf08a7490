"""Accepting a refusal in real runs: written down, and held to its value on a resume."""

import io
from pathlib import Path

import pytest

from surefoot.errors import SurefootError
from surefoot.recipe import write
from surefoot.recipe.load import load
from surefoot.records import Event, Record, Step, read
from surefoot.run.asked import Asked
from surefoot.run.opening import Opening, begin, read_data
from surefoot.run.session import session
from surefoot.show.terminal import Terminal

from . import runs

TOO_LARGE = "limits.disk_gib=1e-9"


class Impatient(Terminal):
    """Asks a run to stop after some steps."""

    def __init__(self, run: Path) -> None:
        super().__init__(plain=True, quiet=True, stream=io.StringIO())
        self.run = run

    def __call__(self, record: Record) -> None:
        super().__call__(record)
        if isinstance(record, Step) and record.step == 15:
            (self.run / "stop").write_text("")


def stopped(recipe: Path, run: Path, *changes: str, accept: tuple[str, ...] = ()) -> int:
    """Begin a run that stops at step 15."""
    asked = Asked(what=str(recipe), run=run, changes=changes, accept=accept, timed=False)
    return session(asked, Impatient(run)).exit


def accepted(run: Path) -> list[dict[str, str]]:
    """Read what a journal says was accepted."""
    told = read(run / "journal.jsonl")
    return [dict(r.args) for r in told if isinstance(r, Event) and r.name == "accepted"]


def test_what_is_accepted_is_journaled_and_holds_for_its_value_on_a_resume(tmp_path: Path) -> None:
    recipe, run = runs.place(tmp_path), tmp_path / "run"
    assert stopped(recipe, run, TOO_LARGE) == 3
    assert not run.exists()
    assert stopped(recipe, run, TOO_LARGE, accept=("limit_disk",)) == 75
    first = {"id": "limit_disk", "value": "1e-09", "who": "cli"}
    assert accepted(run) == [first]
    refused = runs.resume(run, changes=("limits.disk_gib=2e-9",))
    assert refused.exit == 3
    assert [f["id"] for f in refused.status["findings"] if f["severity"] == "refuse"] == [
        "limit_disk"
    ]
    assert runs.resume(run).exit == 0  # the same value needs no second word
    assert accepted(run)[-1] == first
    report = (run / "report.md").read_text(encoding="utf-8")
    assert "Accepted by hand: limit_disk (1e-09, cli)" in report.split("## ")[1]


def test_another_value_needs_a_word_of_its_own(tmp_path: Path) -> None:
    recipe, run = runs.place(tmp_path), tmp_path / "run"
    named = 'guard.accept=["limit_disk"]'
    assert stopped(recipe, run, TOO_LARGE, named) == 75
    assert accepted(run) == [{"id": "limit_disk", "value": "1e-09", "who": "recipe"}]
    other = ("limits.disk_gib=2e-9",)
    assert runs.resume(run, changes=other).exit == 3
    assert runs.resume(run, changes=other, accept=("limit_disk",)).exit == 0
    assert accepted(run)[-1] == {"id": "limit_disk", "value": "2e-09", "who": "cli"}


@pytest.mark.parametrize(
    ("name", "said"), [("limit_dusk", "Did you mean limit_disk"), ("toy_size", "is refused here")]
)
def test_a_wrong_name_starts_nothing(tmp_path: Path, name: str, said: str) -> None:
    recipe, run = runs.place(tmp_path), tmp_path / "run"
    with pytest.raises(SurefootError, match=said) as told:
        runs.start(recipe, run, accept=(name,))
    assert told.value.exit == 2 and not run.exists()


def test_a_run_without_saves_is_refused_again_when_it_is_opened(tmp_path: Path) -> None:
    changes = {"save.every": 0, "train.steps": 5000}
    recipe = load(str(runs.place(tmp_path)), changes).recipe
    resolved, dataset = read_data(write.resolved(recipe, steps=5000))
    (run := tmp_path / "run").mkdir()
    with pytest.raises(SurefootError, match="lost to one crash") as told:
        begin(Opening(resolved, dataset), run)
    assert told.value.exit == 3


def test_a_device_that_is_not_there_can_be_judged_but_not_trained_on(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one here")
    recipe, run = runs.place(tmp_path), tmp_path / "run"
    changes = ("train.device=cuda",)
    assert runs.start(recipe, run, changes=changes, dry=True).status["state"] == "checked"
    with pytest.raises(SurefootError, match="no such device"):
        runs.start(recipe, run, changes=changes)
