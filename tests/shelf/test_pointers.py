"""Pointers are hints: replaced whole, read in two forms, never a way out of the run."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from surefoot.shelf import pointers
from surefoot.shelf.checkpoint import Checkpoint
from surefoot.shelf.disk import Disk
from surefoot.shelf.shelf import Shelf
from tests.shelf import toy
from tests.shelf.disks import Linkless, Mortal, Recording


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step in (1, 2):
        (tmp_path / f"step-0000000{step}").mkdir()
    return tmp_path


ONE, TWO = 1, 2


def at(run: Path, step: int) -> Checkpoint:
    return Checkpoint(0, step, run)


@pytest.mark.parametrize("disk", [Disk(), Linkless()])
def test_a_pointer_names_what_it_was_last_given(disk: Disk, run: Path) -> None:
    for step in (ONE, TWO):
        pointers.point(run, "best", at(run, step), disk)
        assert pointers.target(run, "best") == at(run, step)
    assert (run / "best").is_symlink() != isinstance(disk, Linkless)
    assert list(run.glob(".tmp*")) == []


def test_without_links_a_pointer_is_one_line_of_text(run: Path) -> None:
    pointers.point(run, "latest", at(run, TWO), Linkless())
    assert (run / "latest").read_text() == "step-00000002\n"


def test_a_pointer_that_is_right_is_not_touched(run: Path) -> None:
    disk = Recording()
    pointers.point(run, "latest", at(run, ONE), disk)
    done = len(disk.operations)
    pointers.point(run, "latest", at(run, ONE), disk)
    assert len(disk.operations) == done


def test_killed_at_any_operation_a_pointer_is_the_old_or_the_new(run: Path) -> None:
    pointers.point(run, "latest", at(run, ONE), Disk())
    for k in range(1, 5):
        toy.in_child(lambda k=k: pointers.point(run, "latest", at(run, TWO), Mortal(k)))
        assert pointers.target(run, "latest") in (at(run, ONE), at(run, TWO)), k


HOSTILE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "dangling": lambda path: path.symlink_to("step-00000009"),
    "cyclic": lambda path: path.symlink_to("latest"),
    "out of the run": lambda path: path.symlink_to("../secret"),
    "absolute": lambda path: path.symlink_to("/etc"),
    "a detour": lambda path: path.symlink_to("x/../step-00000001"),
    "text of a path": lambda path: path.write_text("../secret\n"),
    "two lines": lambda path: path.write_text("step-00000001\nstep-00000002\n"),
    "text without end": lambda path: path.write_bytes(b"step-00000001" * 10**6),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "empty": lambda path: path.write_bytes(b""),
    "a pipe": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "another name of a step": lambda path: path.write_text("step-000000001\n"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_pointer_that_is_none_is_ignored_and_costs_nothing(what: str, tmp_path: Path) -> None:
    toy.put(tmp_path, 1)
    HOSTILE[what](tmp_path / "latest")
    assert pointers.target(tmp_path, "latest") is None
    store = Shelf(tmp_path)
    assert store.load().step == 1
    assert len(store.sweep()) == (what == "a folder")  # it stands in the way: a note
    assert store.load("latest").step == 1


def test_a_pointer_to_a_link_is_ignored(run: Path) -> None:
    (run / "step-00000003").symlink_to("step-00000001")
    (run / "latest").symlink_to("step-00000003")
    assert pointers.target(run, "latest") is None
