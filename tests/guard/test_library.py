"""The guard in a loop of one's own: the monitors of a live run, advice, and a run folder."""

import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import surefoot
from surefoot.errors import SurefootError, UsageError
from surefoot.guard.monitor import Watch
from surefoot.integrations.loop import Guard, Verdict, step_of
from surefoot.records import End, Finding, Header, Step, read, rows
from surefoot.run.folder import read_status, state_of
from tests.house_rules import ROOT


def losses(count: int, shift_at: int = 10**9, seed: int = 3) -> Iterator[tuple[int, float]]:
    """Give a curve that falls to 2.5, and stands a nat higher from a step on."""
    draw = random.Random(seed)
    for step in range(1, count + 1):
        yield step, 2.5 + 3 * math.exp(-step / 300) + draw.gauss(0, 0.05) + (step > shift_at)


def shown(guard: Guard, count: int, shift_at: int, save_every: int = 300) -> list[Verdict]:
    """Run a loop that tells its saves and goes on whatever is said."""
    told: list[Verdict] = []
    for step, loss in losses(count, shift_at):
        told.append(guard.observe(step=step, loss=loss, lr=0.01, grad_norm=1.0))
        if step % save_every == 0:
            guard.saved(step)
    return told


def alarms(verdicts: list[Verdict]) -> list[tuple[str, str, int]]:
    """Give what was found, without what is only silent."""
    found = [one for verdict in verdicts for one in verdict.findings]
    return [(one.id, one.severity, one.step) for one in found if one.value != "silent"]


def test_it_finds_what_a_live_run_would_at_the_same_step() -> None:
    watch, expected = Watch({}, {}), list[tuple[str, str, int]]()
    for step, loss in losses(900, 800):
        record = step_of(step, loss, None, {"lr": 0.01, "grad_norm": 1.0})
        told = watch.observe(record)
        expected += [(f.id, f.severity, f.step) for f in told if f.value != "silent"]
    assert alarms(shown(surefoot.Guard(), 900, 800)) == expected
    assert ("loss_gap", "act") in {found[:2] for found in expected}


def test_a_departure_is_answered_with_a_rewind_to_a_save_that_seasoned() -> None:
    verdicts = shown(Guard(steps=5000), 820, 800)
    asked = [verdict for verdict in verdicts if verdict.rewind_to is not None]
    assert [verdict.rewind_to for verdict in asked] == [600]
    first, stop = asked[0].skip or (0, 0)
    assert 780 < first < 800 < stop < 880 and not asked[0].stop


def test_without_a_save_to_go_back_to_it_says_stop_and_why() -> None:
    verdicts = shown(Guard(), 820, 800, save_every=10**6)
    stops = [verdict for verdict in verdicts if verdict.stop]
    assert stops and "loss_gap" in stops[0].reason


def test_a_healthy_loop_hears_nothing() -> None:
    assert alarms(shown(Guard(), 700, 10**9)) == []


def test_a_loss_that_is_not_finite_is_found_at_once() -> None:
    guard = Guard()
    guard.observe(step=1, loss=3.0)
    assert [f.id for f in guard.observe(step=2, loss=math.nan).findings] == ["nonfinite"]
    verdicts = [guard.observe(step=step, loss=math.inf) for step in range(3, 9)]
    assert any(verdict.stop for verdict in verdicts)


def test_monitors_are_chosen_and_set_by_name() -> None:
    assert set(Guard(monitors=["nonfinite", "loss_gap"]).watch.monitors) == {
        "nonfinite",
        "loss_gap",
    }
    assert set(Guard(monitors="disk").watch.monitors) == {"disk"}
    assert Guard(options={"disk": {"reserve_gib": 3.0}}).options["disk"]["reserve_gib"] == 3.0
    for wrong in ({"monitors": ["los_gap"]}, {"options": {"los_gap": {}}}):
        with pytest.raises(SurefootError, match="loss_gap"):
            Guard(**wrong)


class Tensor:
    """Has what a tensor has, and is no number."""

    def item(self) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"loss": Tensor()}, r"loss=loss\.item\(\)"),
        ({"loss": 1.0, "grad_norm": Tensor()}, r"grad_norm=grad_norm\.item\(\)"),
        ({"loss": 1.0, "lr": {"head": Tensor()}}, r"lr\.head"),
        ({"loss": 1.0, "layer_grad_norm": [Tensor()]}, r"\.item\(\)"),
        ({"loss": 1.0, "ce": Tensor()}, r"ce=ce\.item\(\)"),
        ({"loss": "1.0"}, "plain numbers"),
        ({"loss": 1.0, "gradnorm": 1.0}, "grad_norm="),
        ({"loss": 1.0, "step": Tensor()}, r"step=step\.item\(\)"),
    ],
)
def test_anything_but_a_plain_number_is_a_mistake_that_says_what_to_write(
    told: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Guard().observe(**{"step": 1, **told})  # pyright: ignore[reportArgumentType]


def test_numbers_of_numpy_are_numbers() -> None:
    import numpy as np

    guard = Guard()
    loss, norm = np.float32(2.5), np.float64(1.0)
    assert not guard.observe(step=np.int64(1), loss=loss, grad_norm=norm)  # pyright: ignore[reportArgumentType]


def test_a_torch_tensor_is_refused() -> None:
    import torch

    with pytest.raises(UsageError, match=r"\.item\(\)"):
        Guard().observe(step=1, loss=torch.tensor(2.5))  # pyright: ignore[reportArgumentType]


def test_a_folder_holds_a_run_that_others_read(tmp_path: Path) -> None:
    with Guard(run=tmp_path / "mine", steps=900) as guard:
        shown(guard, 850, 800)
        guard.evaluated(step=850, val_ce=2.6, best=True)
        assert state_of(tmp_path / "mine") == "running"
    records = list(read(tmp_path / "mine" / "journal.jsonl"))
    assert isinstance(records[0], Header) and isinstance(records[-1], End)
    assert sum(isinstance(one, Step) for one in records) == 850
    assert any(isinstance(one, Finding) and one.id == "loss_gap" for one in records)
    status = read_status(tmp_path / "mine")
    assert (status["state"], status["step"], status["steps"]) == ("finished", 850, 900)
    summed = json.loads((tmp_path / "mine" / "metrics.json").read_text())
    assert summed["steps"] == 850 and summed["final"]["ce"] == 2.6
    raw = list(rows(tmp_path / "mine" / "journal.jsonl"))
    assert all(row["v"] == 1 for row in raw)


def test_a_loop_that_fails_is_written_down_as_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Guard(run=tmp_path / "mine") as guard:
        guard.observe(step=1, loss=1 / 0)
    assert read_status(tmp_path / "mine")["state"] == "failed"


def test_opened_again_it_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = Guard(run=tmp_path / "whole")
    expected = alarms(shown(whole, 900, 800))
    whole.close()
    found: list[tuple[str, str, int]] = []
    parts = Guard(run=tmp_path / "parts")
    for step, loss in losses(900, 800):
        if step in (400, 801, 804):
            parts.close()
            parts = Guard(run=tmp_path / "parts")
        found += alarms([parts.observe(step=step, loss=loss, lr=0.01, grad_norm=1.0)])
        if step % 300 == 0:
            parts.saved(step)
    parts.close()
    assert found == expected and found


def test_a_loop_that_went_back_is_a_new_generation_with_its_past(tmp_path: Path) -> None:
    guard = Guard(run=tmp_path / "mine", steps=5000)
    asked = [verdict for verdict in shown(guard, 820, 800) if verdict.rewind_to is not None]
    assert asked[0].rewind_to == 600
    again = [guard.observe(step=s, loss=x, lr=0.01) for s, x in losses(1000) if s > 600]
    assert alarms(again) == []
    guard.close()
    steps = [one for one in read(tmp_path / "mine" / "journal.jsonl") if isinstance(one, Step)]
    assert [one.generation for one in steps] == [0] * 820 + [1] * 400
    reopened = Guard(run=tmp_path / "mine", steps=5000)
    assert (reopened.step, reopened.generation) == (1000, 1)
    assert [kept.step for kept in reopened.kept] == [600, 300]
    reopened.close()


def test_a_folder_of_surefoots_own_runs_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("schema = 1\n")
    with pytest.raises(SurefootError, match="a folder of its own"):
        Guard(run=tmp_path)
    assert not (tmp_path / "journal.jsonl").exists()


def test_two_loops_never_share_a_folder(tmp_path: Path) -> None:
    with Guard(run=tmp_path / "mine"), pytest.raises(SurefootError):
        Guard(run=tmp_path / "mine")


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\nimport surefoot\n"
        "guard = surefoot.Guard()\n"
        "for step in range(1, 200): verdict = guard.observe(step=step, loss=3.0, lr=0.1)\n"
        "assert not verdict.stop\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
