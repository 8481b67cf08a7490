"""The monitors of speed, memory, ranks and saves: quiet on a busy laptop, and heard on a fault."""

import csv
import json
import math
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from surefoot.guard.monitor import Watch
from surefoot.guard.sliding import Sliding
from surefoot.guard.trend import steady, trend
from surefoot.records import Event, Finding, Remedy, Step, line, parse, replayable, row
from surefoot.shelf.journal import stays
from tests.guard import traces

BUSY = Path(__file__).parent / "shared_cpu.csv"  # 1500 steps of starter beside other programs
LAPS = {"data_s": 0.005, "forward_s": 0.3, "backward_s": 0.56, "update_s": 0.13}


def step(number: int, **fields: Any) -> Step:
    return Step(step=number, loss=3.0, ce=3.0, grad_norm=1.0, **fields)


def timed(number: int, slow: float = 1.0, **laps: float) -> Step:
    """Give a step of .2 s whose every part is so much slower, or one part alone."""
    told = {name: 0.2 * share * slow * laps.get(name, 1.0) for name, share in LAPS.items()}
    seconds = sum(told.values()) + 0.001 + laps.get("rest_s", 0.0)
    return step(number, **told, step_s=seconds, tok_per_s=2048 / seconds)


def watched(name: str, steps: Iterable[Any], facts: Any = None, **options: Any) -> list[Finding]:
    watcher = traces.monitor(name, facts or {}, **options)
    return [one for _, one in traces.watched(watcher, list(steps))]


def busy() -> list[Step]:
    with BUSY.open() as file:
        return [
            step(number, **{key: float(value) for key, value in told.items() if value})
            for number, told in enumerate(csv.DictReader(file), 1)
        ]


def test_a_median_that_slides_is_the_median_of_the_last_values() -> None:
    draw, slid, kept = random.Random(0), Sliding(7), list[float]()
    for _ in range(60):
        kept.append(draw.choice((1.0, 2.0, draw.random())))
        slid.add(kept[-1])
        last = sorted(kept[-7:])
        middle = len(last) // 2
        right = last[middle] if len(last) % 2 else (last[middle - 1] + last[middle]) / 2
        assert slid.median() == right
    again = Sliding(7)
    again.restore(json.loads(json.dumps(slid.state())))
    assert again.median() == slid.median() and math.isnan(Sliding(3).median())


def test_a_bound_of_the_slope_holds_as_often_as_it_says_also_for_noise_that_wanders() -> None:
    for memory in (0.0, 0.6):
        drawn, outside = traces.noise(f"ar{memory}", 3), 0
        for _ in range(400):
            outside += trend([next(drawn) for _ in range(40)]).low > 0
        assert outside <= 0.09 * 400, memory
    assert trend([2.0 * i for i in range(9)]).low == pytest.approx(2.0)


def test_only_what_goes_on_is_steady() -> None:
    line_of = [0.1 * i for i in range(40)]
    stair = [0.0] * 20 + [4.0] * 20
    resting = [4 * (1 - math.exp(-i / 12)) for i in range(40)]
    assert steady(line_of, 0.7) and not steady(stair, 0.5) and not steady(resting, 0.7)
    assert steady([-v for v in line_of], 0.7) and not steady([1.0] * 40, 0.7)


def test_a_real_run_on_a_busy_cpu_is_no_fault() -> None:
    steps = busy()
    speeds = sorted(one.tok_per_s or 0.0 for one in steps)
    assert speeds[1350] > 2 * speeds[150]  # its speed halves and doubles
    for name in ("memory_creep", "heartbeat"):
        assert watched(name, steps, traces.facts()) == []
    (told,) = watched("throughput", steps, traces.facts())
    assert told.severity == "note" and "slowed alike" in told.why


def loaded(seed: int, on: float, off: float, slow: float, steps: int = 4000) -> Iterator[Step]:
    """Give a machine on which another program runs now and then."""
    draw, busy_now, left = random.Random(seed), False, 0.0
    for number in range(1, steps):
        left -= 1
        if left <= 0:
            busy_now = not busy_now
            left = draw.expovariate(1 / (on if busy_now else off))
        yield timed(number, (slow if busy_now else 1.0) * math.exp(draw.gauss(0, 0.1)))


@pytest.mark.parametrize(("on", "off"), [(400, 800), (30, 60), (100, 100)])
def test_another_programs_load_is_noted_at_most(on: float, off: float) -> None:
    for seed in range(2):
        found = watched("throughput", loaded(seed, on, off, 2.0))
        assert {one.severity for one in found} <= {"note"} and len(found) <= 6
        assert all("something else uses this machine" in one.why for one in found)


@pytest.mark.parametrize("part", ["data_s", "backward_s", "update_s", "rest_s"])
def test_one_part_that_grows_alone_warns_and_is_named(part: str) -> None:
    draw, slow = random.Random(1), 0.2 if part == "rest_s" else 1 + 0.2 / (0.2 * LAPS[part])
    steps = [
        timed(n, math.exp(draw.gauss(0, 0.1)), **({part: slow} if n > 600 else {}))
        for n in range(1, 900)
    ]
    (found,) = watched("throughput", steps)
    assert found.severity == "warn" and found.evidence["part"] == part
    assert part.removesuffix("_s") in found.why and 0.4 < found.evidence["ratio"] < 0.6
    assert found.since is not None and 590 <= found.since <= 620


def on_gpu(change: Callable[[int], float], steps: int, sd: float = 0.01) -> list[Step]:
    draw = random.Random(4)
    speeds = [1e5 * change(n) * math.exp(draw.gauss(0, sd)) for n in range(steps)]
    return [step(n, tok_per_s=v, gpu_mem_alloc_mib=9e3) for n, v in enumerate(speeds, 1)]


def test_a_gpu_is_held_to_ten_percent_and_work_left_out_is_noted() -> None:
    assert watched("throughput", on_gpu(lambda n: 0.95 if n > 500 else 1, 1500)) == []
    (slower,) = watched("throughput", on_gpu(lambda n: 0.85 if n > 500 else 1, 1500))
    (faster,) = watched("throughput", on_gpu(lambda n: 1.3 if n > 500 else 1, 1500))
    assert (slower.severity, faster.severity) == ("warn", "note")
    assert "left out" in faster.why


def test_a_slow_fall_that_no_window_sees_is_drift_and_a_stair_is_not() -> None:
    (found,) = watched("throughput", on_gpu(lambda n: 1 - 3e-5 * n, 3000))
    assert found.severity == "warn" and "all along" in found.why
    assert found.evidence["lost_in_1000"] == pytest.approx(0.031, abs=0.004)
    assert watched("throughput", on_gpu(lambda n: 0.93 if n > 1500 else 1, 3000)) == []
    assert watched("throughput", on_gpu(lambda n: 1.0, 6000, sd=0.05)) == []


def test_a_planned_change_of_the_work_begins_a_new_measure() -> None:
    steps = on_gpu(lambda n: 0.6 if n > 700 else 1, 1500)
    grown = Event(name="window_raised", step=701, args={"from": 128, "to": 256})
    assert watched("throughput", [*steps[:700], grown, *steps[700:]]) == []
    assert [one.severity for one in watched("throughput", steps)] == ["warn"]


def test_saves_and_skipped_steps_are_not_timed() -> None:
    steps = [
        step(n, tok_per_s=100.0 if n % 3 else 10.0, save_stall_s=None if n % 3 else 1.0)
        for n in range(1, 900)
    ]
    assert watched("throughput", steps, shared_band=0.1) == []


def held(grow: Callable[[int], float], steps: int = 2500, **fields: Any) -> Iterator[Step]:
    draw = random.Random(2)
    for n in range(1, steps):
        yield step(n, rss_mib=500 + grow(n) + 2 * draw.random(), step_s=0.2, **fields)


LAWFUL: dict[str, Callable[[int], float]] = {
    "pools that fill": lambda n: 300 * (1 - math.exp(-n / 250)),
    "a stair at an evaluation": lambda n: 150.0 * (n > 1000),
    "a little at each evaluation": lambda n: 1.6 * (n // 200),
    "what comes and goes": lambda n: 40 * math.sin(n / 90),
}


@pytest.mark.parametrize("which", LAWFUL)
def test_what_a_process_lawfully_takes_is_no_creep(which: str) -> None:
    assert watched("memory_creep", held(LAWFUL[which])) == []


def leak(n: int) -> float:
    return 0.05 * max(0, n - 600)


def test_a_leak_warns_and_one_that_a_run_outlives_is_noted() -> None:
    (found,) = watched("memory_creep", held(leak))
    assert found.severity == "warn" and found.evidence["mib_per_100"] == pytest.approx(5, rel=0.2)
    facts = {**traces.facts(), "mem_gib": 16.0}  # of 2400 steps: 90 MiB are still to come
    assert [one.severity for one in watched("memory_creep", held(leak), facts)] == ["note"]


def test_a_leak_that_ends_a_run_within_two_hours_is_saved_before() -> None:
    recipe = traces.RECIPE.model_copy(
        update={"train": traces.RECIPE.train.model_copy(update={"steps": 10**6})}
    )
    facts = {"recipe": recipe, "mem_gib": 1.5}
    (found,) = watched("memory_creep", held(leak), facts)
    assert found.severity == "act" and "used up in 1" in found.why
    (later,) = watched("memory_creep", held(leak), {**facts, "mem_gib": 64.0})
    assert later.severity == "warn"


def test_a_gpus_memory_counts_alone_once_there_is_some() -> None:
    steps = list(held(leak, gpu_mem_alloc_mib=8000.0))
    assert watched("memory_creep", steps) == []
    (found,) = watched(
        "memory_creep", [step(n, gpu_mem_alloc_mib=8e3 + leak(n)) for n in range(1, 2500)]
    )
    assert found.severity == "warn" and "GPU" in found.what


def test_scattered_memory_is_noted_once_against_the_peak_and_a_retry_warns() -> None:
    fields = {"gpu_mem_alloc_mib": 5000.0, "gpu_mem_reserved_mib": 66_000.0}
    whole = [step(n, **fields, gpu_mem_peak_mib=50_000.0) for n in range(1, 300)]
    assert watched("memory_creep", whole) == []  # at a step's end activations are gone
    (noted,) = watched(
        "memory_creep", [step(n, **fields, gpu_mem_peak_mib=21e3) for n in range(1, 300)]
    )
    assert noted.severity == "note" and "3.1 times" in noted.why
    retried = [step(n, alloc_retries=3 * (n > 99), gpu_mem_alloc_mib=5e3) for n in range(1, 300)]
    (warned,) = watched("memory_creep", retried)
    assert warned.severity == "warn" and warned.since == 100


def ranks(ages: Callable[[int], float], step_s: float = 0.2) -> list[Step]:
    return [step(n, step_s=step_s, rank_age_s={"0": 0.1, "1": ages(n)}) for n in range(1, 90)]


def test_compiling_and_slow_steps_are_no_hang() -> None:
    assert watched("heartbeat", ranks(lambda n: 250.0 if n <= 3 else 0.1)) == []
    assert watched("heartbeat", ranks(lambda n: 200.0, step_s=30.0)) == []
    (found,) = watched("heartbeat", ranks(lambda n: 61.0 if n == 50 else 0.1))
    assert found.severity == "warn" and found.what == "rank 1 at step 50"
    assert [one.evidence["limit_s"] for one in watched("heartbeat", ranks(lambda n: 310.0))] == [
        300
    ]


def test_ranks_that_differ_stop_the_run_and_the_odd_one_is_named() -> None:
    same = [step(n, loss_checksum=dict.fromkeys("0123", "5f")) for n in range(1, 50)]
    assert watched("heartbeat", same) == []
    odd = step(50, loss_checksum={**dict.fromkeys("013", "5f"), "2": "a0"})
    (found,) = watched("heartbeat", [*same, odd, odd])
    assert (found.id, found.severity) == ("rank_mismatch", "act") and "rank 2 " in found.why


def recipe(**save: Any) -> dict[str, Any]:
    kept = traces.RECIPE.save.model_copy(update=save)
    return {"recipe": traces.RECIPE.model_copy(update={"save": kept})}


def saved(step: int) -> Event:
    return Event(name="saved", step=step)


def test_a_run_that_saves_when_it_should_hears_nothing_and_one_that_does_not_is_told() -> None:
    steps = [step(n) for n in range(1, 61)]
    each = [one for n in steps for one in ([n, saved(n.step)] if n.step % 10 == 0 else [n])]
    assert watched("save_overdue", each, recipe(every=10)) == []
    (found,) = watched("save_overdue", steps, recipe(every=10))
    assert found.what.startswith("step 21") and found.severity == "warn"
    assert watched("save_overdue", steps, recipe(every=0)) == []
    assert watched("save_overdue", steps) == []  # nobody says how often
    assert len(watched("save_overdue", steps, every=10)) == 1


def test_a_milestone_without_a_save_is_told_once_and_by_name() -> None:
    steps: list[Any] = [step(n) for n in range(1, 400)]
    facts = recipe(every=0, milestones=[50, 120])
    found = watched("save_overdue", steps, facts)
    assert [one.why.split(" has")[0] for one in found] == ["milestone 50", "milestone 120"]
    assert len({one.episode for one in found}) == 2
    there = [*steps[:50], saved(50), *steps[50:120], saved(120), *steps[120:]]
    assert watched("save_overdue", there, facts) == []


def test_a_resumed_and_a_rewound_run_count_from_the_save_that_they_go_on_from() -> None:
    facts = recipe(every=10, milestones=[5])
    assert watched("save_overdue", [step(n) for n in range(101, 121)], facts) == []
    rewind = Remedy(id="r", name="rewind", at_step=8, step=19, args={"to_step": 8})
    steps = [step(n) for n in range(1, 20)]
    again = [*steps, saved(8), rewind, *[step(n) for n in range(9, 29)]]
    assert watched("save_overdue", [s for s in again if s.step != 5], recipe(every=10)) == []


def test_what_is_found_on_one_machine_is_no_part_of_a_runs_replay() -> None:
    watch, found = Watch({}, {}), list[Finding]()
    for one in on_gpu(lambda n: 0.5 if n > 500 else 1, 700):
        found += [told for told in watch.observe(one) if told.value != "silent"]
    assert [one.source for one in found] == ["machine:throughput"]
    assert not {"throughput", "memory_creep", "disk", "heartbeat", "save_overdue"} & {
        *watch.state()
    }
    assert "loss_gap" in watch.state()
    assert replayable(row(found[0])) is None and stays(line(found[0]).encode())


def test_the_fields_that_they_read_come_back_from_the_journal() -> None:
    told = step(
        3,
        gates={"gate_max_share": 0.4, "branch_share.cmp": 0.3},
        selection={"sel_lift": 1.4},
        fallbacks={"calls": 12, "slc.kernel": 1},
        reads_pred=40,
        reads_act=41,
        loss_checksum={"0": "5f"},
        alloc_retries=2,
        rank_age_s={"0": 0.5},
    )
    assert parse(json.loads(line(told))) == told
    assert "alloc_retries" not in (replayable(row(told)) or {})
