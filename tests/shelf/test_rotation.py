"""Rotation: by number, never the last good one, never what is pinned."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot.shelf import rotation
from surefoot.shelf.disk import Disk
from surefoot.shelf.rotation import victims
from surefoot.shelf.shelf import Shelf
from tests.shelf import toy
from tests.shelf.mutants import broken

NUMBERS = [9500, 10000, 99999999, 100000000]
history = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 10**9), st.booleans(), st.booleans()),
    unique_by=lambda one: one[:2],
    max_size=12,
)


def plain(steps: list[int]) -> list[tuple[int, int, bool, bool]]:
    return [(0, step, True, True) for step in steps]


def promises_broken(kind: Any, there: list[Any], keep: int, pinned: set[Any]) -> list[str]:
    gone = kind(there, keep, pinned)
    left = [one for one in there if one[:2] not in gone]
    newest = sorted((one[:2] for one in there if one[2]), reverse=True)[:keep]
    good = [one for one in there if one[3]]
    told = {
        "deletes what is not there": not set(gone) <= {one[:2] for one in there},
        "names one twice": len(gone) != len(set(gone)),
        "deletes a pinned one": bool(set(gone) & pinned),
        "deletes one of the newest": bool(set(gone) & set(newest)),
        "deletes the only good one": bool(good) and not any(one[3] for one in left),
        "keeps too many": len(left) > keep + len(pinned) + 1,
    }
    return [what for what, so in told.items() if so]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(history, st.integers(1, 4), st.data())
def test_no_history_loses_what_it_must_keep(there: Any, keep: int, data: st.DataObject) -> None:
    keys = [one[:2] for one in there]
    pinned = set(data.draw(st.lists(st.sampled_from(keys), max_size=3))) if keys else set()
    assert promises_broken(victims, there, keep, pinned) == []
    assert victims(list(reversed(there)), keep, pinned) == victims(there, keep, pinned)


def test_numbers_are_ordered_as_numbers() -> None:
    for n in range(1, 5):
        assert victims(plain(NUMBERS[:n]), 1) == [(0, step) for step in NUMBERS[: n - 1]]


def test_ordering_names_as_text_is_found(tmp_path: Path) -> None:
    change = ("sorted(checkpoints, reverse=True)", "sorted(checkpoints, key=str, reverse=True)")
    mutant = broken(rotation, tmp_path, change)
    unread = [(0, step, True, False) for step in NUMBERS]
    assert promises_broken(mutant.victims, unread, 1, set()) == ["deletes one of the newest"]


@pytest.mark.parametrize(
    "change",
    [("*pinned, ", ""), (", *((g, s) for _, g, s in verified[:1])", ""), ("[:keep]", "[:1]")],
)
def test_giving_up_what_must_be_kept_is_found(change: tuple[str, str], tmp_path: Path) -> None:
    mutant = broken(rotation, tmp_path, change)
    there = [(0, 1, True, True), (0, 2, True, True), (0, 3, True, False), (0, 4, True, False)]
    faults = promises_broken(mutant.victims, there, 2, {(0, 1)})
    faults += promises_broken(mutant.victims, there, 2, set())
    assert faults


def test_abandoned_branches_go_first_then_the_oldest() -> None:
    there = [(0, s, s <= 20, True) for s in (10, 20, 30)] + [(1, 25, True, True)]
    assert victims(there, 1) == [(0, 30), (0, 10), (0, 20)]


def test_all_keeps_all() -> None:
    assert victims(plain(NUMBERS), "all") == []


def test_the_newest_good_one_stays_however_old() -> None:
    there = [(0, 1, True, True), (0, 2, True, False), (0, 3, True, False)]
    assert victims(there, 1) == [(0, 2)]


def test_a_shelf_keeps_its_newest_its_pins_and_its_milestones(tmp_path: Path) -> None:
    store = Shelf(tmp_path, keep=2, milestones=[4], disk=Disk())
    for step in range(1, 9):
        saved = store.save(toy.content(step), "regular")
        assert saved.notes == ()
        if step == 2:
            store.point("best", saved.checkpoint)
    assert [one.step for one in store.checkpoints()] == [8, 7, 4, 2]


def test_opening_a_run_sweeps_what_was_left_half_done(tmp_path: Path) -> None:
    for step in range(1, 6):
        toy.put(tmp_path, step)
    (tmp_path / "step-00000001").rename(tmp_path / ".trash-step-00000001")
    (tmp_path / "step-00000002").rename(tmp_path / ".tmp-step-00000002-abcd")
    (tmp_path / ".tmp-latest-abcd").symlink_to("..")
    (tmp_path / "mine").mkdir()
    (tmp_path / "corrupt-step-00000001-1").mkdir()
    store = Shelf(tmp_path, keep=1)
    store.load()
    assert store.sweep() == []
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"step-00000005", "latest", "mine", "corrupt-step-00000001-1"}


def test_opening_an_older_step_keeps_it_and_the_newest(tmp_path: Path) -> None:
    for step in range(1, 6):
        toy.put(tmp_path, step)
    store = Shelf(tmp_path, keep=1)
    store.load(2)
    store.sweep()
    assert [one.step for one in store.checkpoints()] == [5, 2]
