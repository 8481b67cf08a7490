"""The bench of the ways out of a jump: what it reads of a journal, and what holds in real runs."""

import json
import math
from pathlib import Path
from typing import Any, cast

import pytest

from surefoot.bench import resume
from surefoot.bench.resume import Log, alike, beside, growths, summed
from surefoot.errors import UsageError
from surefoot.library import Past
from surefoot.records import Event, Finding, Record, Step, written


class Told(Past):
    """A run of which only the journal is there."""

    def __init__(self, records: list[Record]) -> None:
        super().__init__(Path("told"))
        self.records = records

    @property
    def journal(self) -> Any:
        return iter(self.records)


def step(number: int, ce: float, lr: float = 0.01, generation: int = 0) -> Step:
    return Step(
        step=number, generation=generation, loss=ce, ce=ce, lr={"matrix": lr, "scalar": lr / 10},
        grad_norm=2 * ce, t=float(number + 100 * generation),
    )  # fmt: skip


def finding(name: str, number: int, generation: int = 0, source: str = "monitor") -> Finding:
    return Finding(
        id=name, severity="warn", what="loss", value="1", why="why", instead="Write x=1",
        step=number, generation=generation, source=source,
    )  # fmt: skip


def straight(last: int, ce: float = 4.0) -> list[Record]:
    return [step(n, ce) for n in range(1, last + 1)]


def test_of_a_step_that_was_done_again_the_last_counts() -> None:
    branched = [Event(name="resumed", step=60, generation=1)]
    again: list[Record] = [step(n, 3.0, generation=1) for n in range(61, 121)]
    log = Log(Told([*straight(100), *branched, *again]))
    assert list(log.steps) == list(range(1, 121)) and log.start == 60
    assert log.level(60, 20) == 4.0 and log.level(80, 20) == 3.0
    assert alike(log, Log(Told(straight(100)))) == 60


def test_a_difference_of_one_bit_is_seen_and_one_of_the_clock_is_not() -> None:
    other = straight(100)
    other[40] = step(41, math.nextafter(4.0, 5.0))
    later = [step(n, 4.0, generation=1) for n in range(1, 101)]
    assert alike(Log(Told(straight(100))), Log(Told(other))) == 40
    assert alike(Log(Told(straight(100))), Log(Told(cast("list[Record]", later)))) == 100


def test_the_rate_that_grew_most_is_the_jump() -> None:
    told = straight(3)
    told[1] = Step(step=2, loss=4.0, ce=4.0, lr={"matrix": 0.02, "scalar": 0.01}, grad_norm=1.0)
    assert growths(Log(Told(told)), 1, 3) == [pytest.approx(10), pytest.approx(0.5)]


def test_two_runs_are_compared_on_the_same_batches() -> None:
    hard = {n: 4.0 + n % 7 for n in range(1, 101)}
    one = Log(Told([step(n, ce) for n, ce in hard.items()]))
    two = Log(Told([step(n, ce - 0.25) for n, ce in hard.items()]))
    assert beside(one, two, 100) == pytest.approx(0.25)


def test_what_rules_say_and_what_the_run_before_said_is_left_out() -> None:
    said = [
        finding("loss_gap", 50), finding("lr_jump", 100, source="rule"), finding("loss_gap", 110),
    ]  # fmt: skip
    assert Log(Told([*straight(120), *said])).said(100) == ["loss_gap warn at 110"]
    again = [step(n, 4.0, generation=1) for n in range(61, 121)]
    told = Log(Told([*straight(120), finding("plateau", 90), *again, finding("gates", 90, 1)]))
    assert told.said(60) == ["gates warn at 90"]


def leg(way: str, seed: int, val_ce: float, said: tuple[str, ...] = ()) -> resume.Leg:
    numbers: dict[str, Any] = dict.fromkeys(resume.Leg.__slots__, 1)
    own = {"way": way, "seed": seed, "val_ce": val_ce, "said": [*said]}
    return resume.Leg(**{**numbers, **own})


def test_a_way_is_held_against_the_fresh_run_of_its_own_seed() -> None:
    fresh = [leg("fresh", seed, ce) for seed, ce in enumerate((4.0, 5.0, 6.0))]
    legs = [
        leg("branch", seed, ce, ("loss_gap warn at 7", "loss_gap warn at 9")[: seed + 1])
        for seed, ce in enumerate((4.0, 5.0, 6.6))
    ]
    told = summed("branch", legs, [*fresh, *legs])
    assert (told["a"], told["b"], told["ratio"]) == (5.0, 5.0, 1.0)
    assert told["lo"] == pytest.approx(6 / 6.6) and told["hi"] == 1.0
    assert told["goal"] == 1.0 and told["verdict"] == "undecided"
    assert told["said"] == "loss_gap warn 3/3"


@pytest.mark.parametrize(
    ("own", "why"), [({"seeds": 0}, "one at least"), ({"runs": "here"}, "is there already")]
)
def test_what_can_not_be_run_is_said_before_anything_is(
    own: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "seed0").mkdir(parents=True)
    with pytest.raises(UsageError, match=why):
        resume.run(**own)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Take the bench's quick look once."""
    runs = tmp_path_factory.mktemp("resume") / "runs"
    return {**resume.run(quick=True, runs=str(runs)), "runs": runs}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_quick_look_shows_what_each_way_must_keep(quick: dict[str, Any]) -> None:
    short, long = resume.QUICK_STEPS
    rows = {row["case"]: row for row in quick["rows"]}
    assert list(rows) == [*resume.WAYS, "fresh"] and quick["quick"]
    steep = [rows[way]["lr_ratio"] for way in ("branch", "peak", "ramp", "ramp100", "jump")]
    assert steep == sorted(steep)
    assert steep[0] == 1.0 and steep[-1] == pytest.approx(10.0)
    assert rows["ramp"]["lr_ratio"] == pytest.approx(10 ** (1 / 200))
    assert rows["ramp100"]["lr_ratio"] == pytest.approx(10 ** (1 / 100))
    assert rows["peak"]["lr_ratio"] == pytest.approx(2.5 ** (1 / 200))
    for way in ("branch", "peak", "ramp", "ramp100"):
        assert rows[way]["lr_steepest"] < 1.1
    decay = round(resume.CHANGES["knobs.lr.decay_share"] * short)
    branch = rows["branch"]
    assert branch["again"] == decay and branch["trained"] == long - short + decay
    assert branch["like_finished"] == short - decay
    assert branch["like_fresh"] == long and branch["same_weights"]
    assert branch["verdict"] == "met" and branch["a"] == branch["b"]
    for way in ("ramp", "ramp100", "peak", "jump"):
        assert rows[way]["again"] == 0 and rows[way]["trained"] == long - short
        assert rows[way]["like_finished"] == short and rows[way]["like_fresh"] == short - decay
        assert not rows[way]["same_weights"]
    assert branch["beside_first"] == branch["beside_last"] == 0.0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_quick_look_gives_figures_that_a_strict_reader_takes(quick: dict[str, Any]) -> None:
    told = {name: value for name, value in quick.items() if name != "runs"}
    again = json.loads(json.dumps(written(told), allow_nan=False))
    assert set(resume.COLUMNS) <= set(again["rows"][0])
    for row in again["rows"]:
        assert {"case", "a", "b", "ratio", "lo", "hi", "pairs", "redrawn", "goal"} <= set(row)
        assert row["lo"] <= row["ratio"] <= row["hi"]
        assert row["ce_highest"] >= row["ce_after"] > 0 and row["grad_highest"] > 0
    assert again["settings"]["steps"] == [*resume.QUICK_STEPS]
    journal = (quick["runs"] / "seed0" / "jump" / "journal.jsonl").read_text()
    assert '"accepted"' in journal and '"lr_jump"' in journal


def test_the_commands_are_those_of_the_command_line() -> None:
    told = resume.commands(resume.CHANGES, *resume.STEPS)
    assert told[0].startswith("surefoot train starter model.dim=64 ")
    assert told[0].endswith("train.seed=0 train.steps=1000 --run finished")
    assert "surefoot train --resume jump train.steps=1600 --accept lr_jump" in told
    assert "surefoot train --resume ramp100 train.steps=1600 --resume-lr ramp=100" in told
