"""The lock: one process a run, free again however its owner dies."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from surefoot.errors import RunError
from surefoot.shelf.disk import Disk
from surefoot.shelf.lock import Lock, holder, owner
from tests.shelf import toy


@contextmanager
def another_process(act: Callable[[], object]) -> Iterator[int]:
    """Another process that did something and waits until it is killed."""
    ready, done = os.pipe()

    def child() -> None:
        os.close(ready)
        act()
        os.write(done, b"x")
        signal.pause()

    pid = toy.forked(child)
    os.close(done)
    try:
        assert os.read(ready, 1) == b"x", "the other process came so far"
        yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"step": 8120}')
    with another_process(lambda: Lock(tmp_path, Disk())) as pid:
        said = rf"held by pid {pid} on this machine since \d\d:\d\d \(step 8120\)\. Stop it with"
        with pytest.raises(RunError, match=said) as e:
            Lock(tmp_path, Disk())
        assert e.value.exit == 2
        by = holder(tmp_path)
        assert by is not None and by.pid == pid and len(by.token) == 16
    assert holder(tmp_path) is None
    Lock(tmp_path, Disk()).release()


def test_asking_in_the_owner_does_not_let_the_lock_go(tmp_path: Path) -> None:
    lock = Lock(tmp_path, Disk())
    by = holder(tmp_path)
    assert by is not None and by.pid == os.getpid()
    code = toy.in_child(lambda: refused(tmp_path))
    assert code == 0, "the other process is refused"
    lock.release()
    assert holder(tmp_path) is None
    assert not (tmp_path / "owner.json").exists()


def refused(run: Path) -> None:
    with pytest.raises(RunError):
        Lock(run, Disk())


def test_the_same_process_is_refused_too(tmp_path: Path) -> None:
    lock = Lock(tmp_path, Disk())
    refused(tmp_path)
    lock.release()
    Lock(tmp_path, Disk()).release()


def test_a_killed_owners_forked_child_holds_nothing(tmp_path: Path) -> None:
    def with_child() -> None:
        Lock(tmp_path, Disk())
        pid = toy.forked(signal.pause)
        (tmp_path / "child").write_text(str(pid))

    with another_process(with_child):
        refused(tmp_path)
    child = int((tmp_path / "child").read_text())
    os.kill(child, 0)  # it lives on
    Lock(tmp_path, Disk()).release()
    os.kill(child, signal.SIGKILL)


def test_a_stale_owner_file_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "owner.json").write_text(json.dumps({"token": "x", "pid": os.getpid()}))
    assert holder(tmp_path) is None
    Lock(tmp_path, Disk()).release()


def test_a_run_that_was_taken_over_is_not_written_to(tmp_path: Path) -> None:
    lock = Lock(tmp_path, Disk())
    lock.check()
    (tmp_path / "owner.json").write_text('{"token":"other","pid":1}')
    with pytest.raises(RunError, match="taken over by pid 1") as e:
        lock.check()
    assert e.value.exit == 1
    lock.release()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token":1}', '{"token":"x","pid":"y"}', "\xff"])
def test_an_owner_file_that_is_none_is_ignored(text: str, tmp_path: Path) -> None:
    (tmp_path / "owner.json").write_text(text, encoding="latin-1")
    assert owner(tmp_path) is None


def test_a_folder_that_cannot_be_locked_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(RunError, match="can't be written"):
        Lock(tmp_path, Disk())
    with pytest.raises(RunError, match="can't be written"):
        Lock(tmp_path / "missing", Disk())
    assert not (tmp_path / "elsewhere").exists()
