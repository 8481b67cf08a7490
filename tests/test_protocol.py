"""The bench protocol: pairs in turns, what is redrawn, and how a goal is judged."""

import time

import numpy as np

from surefoot import protocol
from surefoot.protocol import Paired, Sample, environment, interval, paired, verdict


def test_sides_take_turns_and_each_pair_begins_with_the_other_one() -> None:
    calls: list[str] = []
    told = paired(lambda: calls.append("a"), lambda: calls.append("b"), warmup=1, pairs=4)
    assert calls[:2] == ["a", "b"]
    pairs = ["".join(calls[i : i + 2]) for i in range(2, len(calls), 2)]
    assert pairs[:4] == ["ab", "ba", "ab", "ba"]
    assert len(told.a) == len(told.b) == 4


def test_the_ratio_is_how_many_times_sooner_a_is_done() -> None:
    told = paired(lambda: time.sleep(0.004), lambda: time.sleep(0.04), warmup=1, pairs=5)
    row = told.row("sleep", goal=2.0)
    assert 2.0 < row["ratio"] < 20.0
    assert row["lo"] <= row["ratio"] <= row["hi"]
    assert row["verdict"] == "met"
    assert told.row("sleep", goal=50.0)["verdict"] == "missed"
    assert told.row("sleep")["verdict"] is None


def test_an_interval_is_the_same_each_time_and_holds_the_median() -> None:
    ratios = np.array([1.0, 1.1, 1.2, 1.3, 5.0])
    lo, hi = interval(ratios)
    assert (lo, hi) == interval(ratios)
    assert 1.0 <= lo <= 1.2 <= hi <= 5.0
    assert interval(np.array([2.0] * 9)) == (2.0, 2.0)


def test_a_goal_is_met_missed_or_undecided() -> None:
    assert verdict(3.0, 4.0, 3.0) == "met"
    assert verdict(2.0, 2.9, 3.0) == "missed"
    assert verdict(2.0, 3.0, 3.0) == "undecided"
    assert verdict(2.0, 3.0, None) is None


def test_a_side_is_disturbed_only_if_others_took_its_time() -> None:
    assert Sample(wall=1.0, cpu=0.9, switches=3).disturbed
    assert not Sample(wall=1.0, cpu=0.97, switches=3).disturbed
    assert not Sample(wall=1.0, cpu=0.1, switches=0).disturbed  # it waited by itself
    assert not Sample(wall=1.0, cpu=1.9, switches=3).disturbed  # two threads


def test_disturbed_pairs_are_redrawn_a_bounded_number_of_times() -> None:
    drawn: list[Sample] = []
    real = protocol.timed

    def always(work: protocol.Work) -> Sample:
        work()
        drawn.append(Sample(wall=1.0, cpu=0.5, switches=9))
        return drawn[-1]

    protocol.timed = always
    try:
        told = Paired()
        protocol.draw(told, lambda: None, lambda: None, 3)
    finally:
        protocol.timed = real
    assert (len(told.a), told.redrawn) == (3, 3)
    assert len(drawn) == 12


def test_an_undecided_goal_is_measured_three_times_as_long_at_most() -> None:
    same = paired(lambda: None, lambda: None, warmup=1, pairs=3, goal=None)
    assert len(same.a) == 3
    turns = iter([0.001, 0.004, 0.004, 0.001] * 40)
    wild = paired(
        lambda: time.sleep(next(turns)), lambda: time.sleep(0.002), warmup=0, pairs=3, goal=1.0
    )
    assert len(wild.a) in (3, 6, 9)


def test_the_environment_is_told_without_the_machines_name() -> None:
    told = environment()
    assert told["cores"] >= 1
    assert "torch" in told["versions"]
    assert "node" not in told
    assert "host" not in "".join(told)
