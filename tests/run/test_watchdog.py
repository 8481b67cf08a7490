"""The watchdog tells a hang from a slow step, a compilation, a save and a process asleep."""

import json
from pathlib import Path

import pytest

from surefoot.guard.monitors.heartbeat import Options
from surefoot.run.watchdog import Seen, Watchdog, behind, stacks
from surefoot.shelf.disk import Disk

BEAT = 10.0


def started(step_s: float = 1.0, steps: int = 30, **options: float) -> Watchdog:
    """A watchdog of a process that has done some steps."""
    dog = Watchdog(Options.model_validate(options))
    done = 0.0
    while done < max(5 * BEAT, steps * step_s):
        done += BEAT
        assert not dog.look(round(done / step_s), "step", BEAT).warn
    return dog


def held(dog: Watchdog, seconds: float, phase: str = "step", step: int = 10_000) -> list[Seen]:
    """Let the process stand still for so long; gives what each look found."""
    found = [dog.look(step, phase, BEAT)]
    found += [dog.look(step, phase, BEAT) for _ in range(int(seconds / BEAT))]
    return [seen for seen in found if seen.warn or seen.fatal]


@pytest.mark.parametrize(("step_s", "limit"), [(1.0, 60), (0.01, 60), (5.0, 60), (30.0, 300)])
def test_a_hang_is_told_after_ten_steps_or_a_minute_and_ended_after_five_times_that(
    step_s: float, limit: float
) -> None:
    found = held(started(step_s), 6 * limit)
    assert found[0].warn and not found[0].fatal
    assert limit < found[0].age_s <= 1.5 * limit
    assert found[1].fatal and 5 * limit < found[1].age_s <= 5.2 * limit + BEAT


def test_a_first_step_may_compile_for_five_minutes() -> None:
    dog = Watchdog(Options())
    assert not held(dog, 290, step=0)
    assert not held(dog, 290, step=1)
    (told,) = held(dog, 350, step=2)
    assert told.warn and told.limit_s == 300


def test_ten_minutes_of_compiling_end_nothing() -> None:
    assert not any(seen.fatal for seen in held(Watchdog(Options()), 600, step=0))


@pytest.mark.parametrize("phase", ["eval", "save", "rewind"])
def test_a_save_or_a_validation_may_take_half_an_hour(phase: str) -> None:
    assert not held(started(), 1790, phase)
    assert held(started(), 1900, phase)


def test_a_rank_that_waits_for_the_first_ones_word_does_not_hang() -> None:
    assert not held(started(), 7200, "idle")


@pytest.mark.parametrize("asleep_s", [20, 300, 40_000])
def test_a_process_that_was_suspended_has_not_hung(asleep_s: float) -> None:
    dog = started()
    assert not dog.look(10_000, "step", BEAT).warn
    assert not dog.look(10_000, "step", asleep_s).warn
    assert not dog.look(10_000, "step", BEAT).warn
    assert not dog.look(10_001, "step", BEAT).warn


def test_one_hang_is_told_once_and_another_again() -> None:
    dog = started()
    assert [seen.warn for seen in held(dog, 200)] == [True]
    assert [seen.warn for seen in held(dog, 200, step=10_001)] == [True]


def test_steps_that_take_longer_and_longer_raise_the_limit() -> None:
    dog, step = started(), 10_000
    for seconds in (20, 30, 40, 50, 50):
        step += 1
        assert not held(dog, seconds, step=step)


def pulse(folder: Path, rank: int, step: int, phase: str, waits: bool = False) -> None:
    """One line of a heartbeat file, behind an older one."""
    line = {"rank": rank, "step": step, "phase": phase} | ({"waits": True} if waits else {})
    text = json.dumps({**line, "step": 0}) + "\n" + json.dumps(line) + "\n" + '{"cut'
    (folder / f"heartbeat_rank{rank}.jsonl").write_text(text)


def test_the_rank_that_the_others_wait_for_is_named(tmp_path: Path) -> None:
    assert behind(tmp_path) == "no rank's heartbeat can be read"
    pulse(tmp_path, 0, 7, "step", waits=True)
    pulse(tmp_path, 1, 7, "step")
    pulse(tmp_path, 2, 7, "step", waits=True)
    assert behind(tmp_path) == "rank 1 (in step) after step 7"
    pulse(tmp_path, 1, 7, "step", waits=True)
    pulse(tmp_path, 2, 6, "data")
    assert behind(tmp_path) == "rank 2 (in data) after step 6"


def test_the_stacks_of_all_threads_are_written_behind_the_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("before\n")
    stacks(log, "said", Disk())
    text = log.read_text()
    assert text.startswith("before\nsaid\n")
    assert "test_the_stacks_of_all_threads_are_written_behind_the_log" in text
