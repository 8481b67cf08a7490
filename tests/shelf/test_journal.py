"""The journal: one line a record, whole after any stop, cut back where a resume begins."""

import errno
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot import records
from surefoot.errors import RunError
from surefoot.records import Event, Finding, Header, Record, Remedy, Step
from surefoot.shelf.disk import Disk
from surefoot.shelf.journal import Cut, Journal, Offset, cut, prefix_sha
from tests.shelf import toy
from tests.shelf.disks import Failing, Mortal, Recording


def step(n: int) -> Step:
    return Step(step=n, loss=1 / n, ce=1 / n, grad_norm=1.0, t=float(n))


def written(path: Path, *recorded: Record) -> Journal:
    journal = Journal(path, Disk())
    for record in recorded:
        journal.write(record)
    return journal


AMBIENT = Event(name="saved", step=2, t=2.0)
USER = Event(name="user", step=3, args={"at_step": 3}, t=3.0)
SPLIT = Event(name="oom_split", step=3, t=3.0)
PLANNED = Event(name="window_raised", step=3, planned=True, t=3.0)
REMEDY = Remedy(id="lr_jump", name="lr_scale", at_step=4, step=3, t=3.0)


def test_each_record_is_one_line_and_comes_back(tmp_path: Path) -> None:
    told = [Header(facts={"torch": "2"}, t=0.0), step(1), AMBIENT, REMEDY]
    written(tmp_path / "j", *told).close()
    assert list(records.read(tmp_path / "j")) == told


def test_a_record_without_a_time_gets_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", Disk(), now=lambda: 17.5)
    assert journal.write(Event(name="saved", step=1)).t == 17.5
    journal.close()


def test_listeners_get_each_record_after_it_was_written(tmp_path: Path) -> None:
    heard: list[tuple[Record, int]] = []
    journal = Journal(tmp_path / "j", Disk())
    journal.subscribe(lambda r: heard.append((r, (tmp_path / "j").read_bytes().count(b"\n"))))
    journal.write(step(1))
    journal.write(step(2))
    journal.close()
    assert heard == [(step(1), 1), (step(2), 2)]


def test_the_offset_is_the_hash_of_all_so_far_also_after_reopening(tmp_path: Path) -> None:
    journal = written(tmp_path / "j", step(1), step(2))
    place = journal.offset()
    journal.close()
    again = written(tmp_path / "j", step(3))
    assert place == Offset(place.bytes, 2, prefix_sha(tmp_path / "j", place.bytes))
    assert again.holds(place) and again.holds(again.offset())
    assert again.offset().lines == 3
    assert not again.holds(Offset(place.bytes, 2, "0" * 64))
    assert not again.holds(Offset(10**9, 2, place.sha256))
    again.close()
    assert Offset.read(json.loads(json.dumps(place.row()))) == place
    assert Offset.read({"bytes": "x"}) is None


@dataclass
class Clock:
    """A clock that is set by hand."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_events_and_remedies_are_durable_at_once_and_steps_every_five_seconds(
    tmp_path: Path,
) -> None:
    clock, disk = Clock(), Recording()
    journal = Journal(tmp_path / "j", disk, clock=clock)
    told = []
    for seconds, record in [(1, step(1)), (2, PLANNED), (3, REMEDY), (7, step(2)), (8, step(3)), (9, step(4))]:  # noqa: E501  # fmt: skip
        disk.operations.clear()
        clock.seconds = seconds
        journal.write(record)
        told.append([operation for operation, _ in disk.operations])
    journal.close()
    one, durable = ["append"], ["append", "fsync"]
    assert told == [one, durable, durable, one, durable, one]


def test_a_full_disk_is_waited_out_and_nothing_is_lost(tmp_path: Path) -> None:
    said: list[OSError] = []
    journal = Journal(tmp_path / "j", Failing(at=4, times=4), trouble=said.append)
    for n in range(1, 9):
        journal.write(step(n))
    assert journal.holds(journal.offset())
    journal.close()
    assert list(records.read(tmp_path / "j")) == [step(n) for n in range(1, 9)]
    assert [error.errno for error in said] == [errno.ENOSPC]  # said once, not every step


def test_the_name_of_a_new_journal_is_durable_before_its_first_line(tmp_path: Path) -> None:
    disk = Recording()
    for _ in range(2):
        Journal(tmp_path / "j", disk).close()
    opening = [("open_append", "j"), ("fsync_folder", tmp_path.name)]
    assert disk.operations == [*opening, ("fsync", "j"), ("open_append", "j"), ("fsync", "j")]


class Partial(Disk):
    """Takes ten bytes of each piece, and then says that it is full."""

    full = False

    def append(self, opened: object, data: bytes | bytearray) -> int:
        self.full = not self.full
        if not self.full:
            raise OSError(errno.ENOSPC, "full")
        return super().append(opened, data[:10])  # type: ignore[arg-type]


def test_a_line_that_was_taken_in_part_is_finished_later(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", Partial())
    journal.write(step(1))
    journal.write(step(2))
    journal.disk = Disk()
    journal.close()
    assert list(records.read(tmp_path / "j")) == [step(1), step(2)]


def test_ten_minutes_without_a_disk_end_the_run_with_a_sentence(tmp_path: Path) -> None:
    clock = Clock()
    journal = Journal(tmp_path / "j", Failing(at=3, times=10**6), clock=clock)
    journal.write(step(1))
    clock.seconds = 601
    with pytest.raises(RunError, match=r"it can't be written .No space left") as e:
        journal.write(step(2))
    assert e.value.exit == 1


def test_64_mib_that_no_disk_takes_end_the_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", Failing(at=3, times=10**6))
    journal.waiting += bytes(64 << 20)
    with pytest.raises(RunError, match="can't be written"):
        journal.write(step(1))


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="it can't be written") as e:
        Journal(tmp_path / "missing" / "j", Disk())
    assert e.value.exit == 2


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "j").symlink_to("elsewhere")
    with pytest.raises(RunError):
        Journal(tmp_path / "j", Disk())
    assert not (tmp_path / "elsewhere").exists()


def cut_after_two(run: Path, disk: Disk) -> Cut:
    """A journal whose last seven lines are cut, of which four stay; or cut once more."""
    path = run / "journal.jsonl"
    if not path.exists():
        journal = written(path, step(1), step(2))
        (run / "offset").write_text(json.dumps(journal.offset().row()))
        shelf_found = Finding(id="save_bad", severity="warn", what="", value="", why="", instead="", source="shelf", t=1.0)  # noqa: E501  # fmt: skip
        for record in (AMBIENT, step(3), USER, PLANNED, SPLIT, REMEDY, shelf_found):
            journal.write(record)
        journal.close()
    return cut(path, Offset.read(json.loads((run / "offset").read_text())), disk)


def test_a_cut_keeps_what_a_replay_cannot_make_again_in_its_order(tmp_path: Path) -> None:
    assert cut_after_two(tmp_path, Disk()) == Cut(lines=3, again=4)
    left = list(records.read(tmp_path / "journal.jsonl"))
    assert left[:5] == [step(1), step(2), AMBIENT, USER, SPLIT]
    assert len(left) == 6
    gone = [json.loads(line) for line in (tmp_path / "journal.cut.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in gone] == ["event", "step", "event", "event", "event", "remedy", "finding"]  # noqa: E501  # fmt: skip


def test_a_cut_of_a_cut_changes_nothing(tmp_path: Path) -> None:
    cut_after_two(tmp_path, Disk())
    files = ("journal.jsonl", "journal.cut.jsonl")
    before = [(tmp_path / file).read_bytes() for file in files]
    disk = Recording()
    assert cut_after_two(tmp_path, disk) == Cut(lines=0, again=4)
    assert disk.operations == []
    assert before == [(tmp_path / file).read_bytes() for file in files]


def test_killed_at_any_operation_of_a_cut_the_next_one_ends_the_same(tmp_path: Path) -> None:
    files = ("journal.jsonl", "journal.cut.jsonl")
    whole = toy.emptied(tmp_path / "whole")
    disk = Mortal()
    cut_after_two(whole, disk)
    assert disk.count == 10
    for k in range(1, 11):
        run = toy.emptied(tmp_path / "killed")
        assert toy.in_child(lambda k=k, run=run: cut_after_two(run, Mortal(k))) == -9
        cut_after_two(run, Disk())
        assert [(run / f).read_bytes() for f in files] == [(whole / f).read_bytes() for f in files]


LINES = [records.line(step(n)) for n in range(1, 5)] + [records.line(AMBIENT)]
WHOLE = "".join(LINES).encode()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, len(WHOLE)), st.integers(0, 5))
def test_cut_off_at_any_byte_a_journal_has_whole_lines_alone(byte: int, lines: int) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        path = Path(tmp) / "journal.jsonl"
        path.write_bytes(WHOLE)
        size = len("".join(LINES[:lines]))
        place = Offset(size, lines, prefix_sha(path, size))
        os.truncate(path, byte)
        done = cut(path, place, Disk())
        left = path.read_text().splitlines(keepends=True)
        there = WHOLE[:byte].count(b"\n")
        assert left[: min(there, lines)] == LINES[: min(there, lines)]
        assert all(json.loads(line) for line in left)
        assert len(left) == min(there, lines) + (there == 5 and lines < 5)
        assert bool(done.damaged) == (size > len(b"".join(WHOLE[:byte].splitlines(True)[:there])))
        assert done.torn == (byte > 0 and WHOLE[byte - 1 : byte] != b"\n")
        journal = Journal(path, Disk())
        journal.write(step(9))
        journal.close()
        assert path.read_text().splitlines(keepends=True) == [*left, records.line(step(9))]


def test_a_torn_last_line_is_dropped_when_a_journal_is_opened(tmp_path: Path) -> None:
    (tmp_path / "j").write_text(LINES[0] + LINES[1][:-5])
    written(tmp_path / "j", step(7)).close()
    assert list(records.read(tmp_path / "j")) == [step(1), step(7)]


def test_a_journal_that_was_changed_is_named_and_still_cut_between_lines(tmp_path: Path) -> None:
    journal = written(tmp_path / "j", step(1), step(2))
    place = journal.offset()
    journal.write(step(3))
    journal.close()
    path = tmp_path / "j"
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.25", 1))
    done = cut(path, place, Disk())
    assert done.damaged == "it was changed before the checkpoint"
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_journal_that_is_gone_is_named(tmp_path: Path) -> None:
    assert cut(tmp_path / "j", Offset(10, 1, "0" * 64), Disk()).damaged == "the journal is missing"
    assert cut(tmp_path / "j", Offset(0, 0, ""), Disk()) == Cut()


def test_lines_that_are_none_go_with_the_cut_part(tmp_path: Path) -> None:
    journal = written(tmp_path / "j", step(1))
    place = journal.offset()
    journal.close()
    with (tmp_path / "j").open("ab") as file:
        file.write(b"\xff\xfe\n[1]\nnonsense\n{}\n")
    assert cut(tmp_path / "j", place, Disk()) == Cut(lines=4)
    assert (tmp_path / "j").read_text() == LINES[0]


@pytest.mark.parametrize("k", range(1, 11))
def test_a_disk_that_fails_while_cutting_is_a_sentence_and_costs_nothing(
    k: int, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="it can't be written"):
        cut_after_two(tmp_path, Failing(k))
    assert list(tmp_path.glob(".tmp*")) == []
    cut_after_two(tmp_path, Disk())
    assert len(list(records.read(tmp_path / "journal.jsonl"))) == 6
