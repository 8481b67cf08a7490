"""The bench of the guard: streams that lose nothing, scores that are true, and the kept result."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from surefoot.bench import guard
from surefoot.bench.watched import baselines, scoring, streams
from surefoot.bench.watched.acting import Acted
from surefoot.bench.watched.recording import gathered, opened, told_facts, unguarded
from surefoot.bench.watched.streams import Stream
from surefoot.errors import UsageError
from surefoot.records import Event, Finding, Severity, Step, read

KEPT = Path(__file__).parents[1] / "data" / "streams"
PAGE = Path(__file__).parents[2] / "docs" / "guard.md"


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    folder = tmp_path_factory.mktemp("run")
    run = opened("training", 0, folder, {"train.steps": 40, "val.every": 20, "save.every": 0})
    run.told(Event(name="user", step=30, args={"factor": 2.0, "ramp": 1}))
    run.plan = type(run.plan)(run.recipe, run.events)
    facts = told_facts(run)
    unguarded(run, 40)
    run.close()
    return gathered(("plain", "training", 0), run.recipe, facts, read(folder / "journal.jsonl"))


def test_a_stream_comes_out_of_its_file_as_it_went_in(stream: Stream, tmp_path: Path) -> None:
    streams.keep(tmp_path, [stream])
    (again,) = streams.kept(tmp_path)
    assert again == stream
    assert (tmp_path / "plain.jsonl.xz").stat().st_size < 8000


def test_what_is_planned_again_is_what_was_used(stream: Stream) -> None:
    at = stream.planned()
    for step in stream.steps:
        assert dict(step.lr) == dict(at(step.step).lr)
    assert stream.steps[29].lr["matrix"] == 2 * stream.steps[28].lr["matrix"]


def test_a_rate_that_was_not_planned_is_kept(stream: Stream) -> None:
    tenth = stream.steps[9]
    odd = replace(tenth, lr={**tenth.lr, "matrix": 0.1})
    records = [odd if record is tenth else record for record in stream.records]
    told = streams.unpacked(streams.packed(replace(stream, records=records)))
    assert told.steps[9].lr["matrix"] == 0.1
    assert [f.step for f in scoring.ours(told) if f.id == "lr_unplanned"] == [10]


def test_numbers_that_are_none_survive(stream: Stream) -> None:
    odd = replace(stream.steps[5], loss=math.inf, ce=math.nan, layer_out_rms=[1.0, math.inf, 1.0])
    told = streams.unpacked(streams.packed(replace(stream, records=[odd])))
    assert told.steps[0].loss == math.inf and math.isnan(told.steps[0].ce)
    assert told.steps[0].layer_out_rms == [1.0, math.inf, 1.0]


def test_no_place_on_the_disk_is_kept(stream: Stream) -> None:
    assert "path" not in str(streams.packed(stream)["recipe"]["data"])


def test_intervals_are_those_of_the_books() -> None:
    low, high = scoring.wilson(95, 100)
    assert (round(low, 4), round(high, 4)) == (0.8882, 0.9785)
    assert scoring.wilson(0, 0) == (0.0, 1.0)
    for seen, mean in ((0, 2.9957), (1, 4.7439), (4, 9.1535)):
        assert abs(scoring.poisson_bound(seen, 10_000) - mean) < 1e-3


def finding(name: str, step: int, severity: Severity = "act") -> Finding:
    parts = {"what": "", "value": "", "why": "", "instead": ""}
    return Finding(id=name, severity=severity, step=step, **parts)


@pytest.mark.parametrize(
    ("said", "found", "latency", "wrong"),
    [
        ([finding("loss_gap", 405, "warn"), finding("loss_gap", 407)], True, 5, ""),
        ([finding("loss_gap", 390)], False, None, ""),
        ([finding("loss_gap", 450)], False, 50, ""),
        ([finding("plateau", 402, "note"), finding("loss_gap", 405)], True, 5, ""),
        ([finding("frozen_group", 402), finding("loss_gap", 405)], True, 5, "frozen_group"),
        ([finding("frozen_group", 402)], False, None, "frozen_group"),
        ([], False, None, ""),
    ],
)
def test_a_fault_is_found_by_the_right_name_after_it_began_and_in_time(
    stream: Stream, said: list[Finding], found: bool, latency: int | None, wrong: str
) -> None:
    told = scoring.judged(replace(stream, kind="scrambled"), lambda _: said)
    assert (told.found, told.latency_steps, told.wrong) == (found, latency, wrong)


def test_what_is_said_of_a_healthy_run_is_false(stream: Stream) -> None:
    said = [finding("loss_gap", 12), finding("plateau", 14, "warn"), finding("plateau", 9, "note")]
    told = scoring.judged(stream, lambda _: said)
    assert told.acts == ("loss_gap@12",) and told.warns == ("plateau@14",)
    assert scoring.summed([told])["acts_per_10k"] == 250.0


@pytest.mark.parametrize(("name", "rule"), baselines.RULES.items())
def test_every_other_rule_sees_its_own_kind_of_trouble(name: str, rule: baselines.Rule) -> None:
    def step(number: int) -> Step:
        wild = number > 300
        return Step(step=number, loss=3.0, ce=9.0 if wild else 3.0 + 0.01 * (number % 7),
                    grad_norm=1.0, logit_max=29.0 if wild else 9.0)  # fmt: skip

    alarms = [s for s in rule([step(number) for number in range(1, 400)]) if s > 300]
    assert alarms or name == "raw plateau of 002", name


def test_recovery_is_judged_against_the_twin() -> None:
    one = Acted("scrambled", 0, True, ce=2.03, twin_ce=2.0, remedies=["x"], retrained=9, exit=0)
    assert (
        one.recovered and not replace(one, ce=2.05).recovered and not replace(one, exit=4).recovered
    )


def test_a_folder_without_streams_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no streams are kept there"):
        guard.run(rescore=str(tmp_path))


@pytest.mark.slow
def test_the_kept_streams_give_the_tables_of_the_docs_and_meet_the_goals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = guard.run(rescore=str(KEPT))
    assert [row["case"] for row in told["rows"] if row["verdict"] != "met"] == []
    held = told["halves"]["held_out"]
    assert held["rate_low"] >= 0.9 and held["healthy_steps"] >= 100_000
    page = PAGE.read_text(encoding="utf-8")
    for line in Path(told["page"]).read_text(encoding="utf-8").splitlines():
        assert line in page, "docs/guard.md is not what  surefoot bench guard --rescore  writes"


@pytest.mark.slow
def test_the_guard_leaves_a_healthy_run_as_it_is() -> None:
    twins = {one.seed: one for one in guard.acting.kept(KEPT) if one.kind == "plain"}
    plain = [s for s in streams.kept(KEPT) if s.kind == "plain" and s.half == "held_out"]
    both = [(twins[s.seed], s) for s in plain if s.seed in twins]
    assert len(both) == 2
    for acted, unwatched in both:
        last = [r.val_ce for r in unwatched.records if hasattr(r, "val_ce")][-1]  # pyright: ignore[reportAttributeAccessIssue]
        assert streams.rounded(acted.ce) == last and not acted.remedies


def test_a_fault_that_does_no_harm_is_not_one_to_be_found(stream: Stream) -> None:
    def moved(by: float) -> Stream:
        onset = 400
        steps = [Step(step=s, loss=3.0, ce=3.0 + 0.1 * (s % 2) + by * (s >= onset), grad_norm=1.0)
                 for s in range(1, 430)]  # fmt: skip
        return replace(stream, kind="scrambled" if by else "plain", records=steps)

    silent = [scoring.all_judged([moved(0.0), moved(by)], lambda _: [])[1] for by in (0.02, 0.2)]
    assert [one.harmless for one in silent] == [True, False]
    assert scoring.summed(silent)["sick"] == 1
