"""Run folders are made once, found by what a person types, and known for what they are."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from surefoot import cli
from surefoot.errors import RunError, UsageError
from surefoot.run.folder import (
    all_runs,
    find_run,
    is_run,
    new_folder,
    read_status,
    state_of,
    step_of,
)
from surefoot.shelf.disk import Disk
from surefoot.shelf.lock import Lock


def run_folder(root: Path, name: str, age: float = 0, **status: object) -> Path:
    """Make a folder that looks like a run."""
    folder = root / name
    folder.mkdir(parents=True)
    journal = folder / "journal.jsonl"
    journal.write_text("")
    told = journal.stat().st_mtime - age
    os.utime(journal, (told, told))
    if status:
        (folder / "status.json").write_text(json.dumps(status))
    return folder


def test_two_starts_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_folder("x", tmp_path / "runs"), range(40)))
    assert sorted(path.name for path in made) == [f"x-{n:03d}" for n in range(1, 41)]


def test_the_first_free_number_is_taken(tmp_path: Path) -> None:
    (tmp_path / "x-001").mkdir()
    (tmp_path / "x-003").touch()
    assert new_folder("x", tmp_path).name == "x-002"
    assert new_folder("x", tmp_path).name == "x-004"


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match="no folder can be made there"):
        new_folder("x", tmp_path / "runs")


def test_a_run_is_found_by_folder_name_and_unique_beginning(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    one, two = run_folder(root, "tiny-001", age=9), run_folder(root, "starter-001", age=5)
    for text in (str(one), "tiny-001", "t"):
        assert find_run(text, root) == one
    assert find_run("last", root) == two
    assert all_runs(root) == [two, one]


def test_an_ambiguous_beginning_lists_the_runs(tmp_path: Path) -> None:
    run_folder(tmp_path, "tiny-001")
    run_folder(tmp_path, "tiny-002")
    with pytest.raises(UsageError, match="2 runs begin so: tiny-001, tiny-002") as caught:
        find_run("tiny", tmp_path)
    assert caught.value.exit == 2


@pytest.mark.parametrize("text", ["nobody", "", "last", "tin-01"])
def test_what_is_no_run_is_a_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no run"):
        find_run(text, tmp_path / "runs")
    run_folder(tmp_path, "tiny-001")
    if text not in ("last",):
        with pytest.raises(UsageError, match="Write tiny-001"):
            find_run(text, tmp_path)


def test_a_folder_that_holds_no_run_is_said(tmp_path: Path) -> None:
    other = tmp_path / "notes"
    other.mkdir()
    assert not is_run(other)
    with pytest.raises(UsageError, match="holds no run"):
        find_run(str(other), tmp_path / "runs")


def test_half_a_status_is_none(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "x")
    for text in ('{"state": "runn', "[1]", "\xff"):
        (folder / "status.json").write_text(text)
        assert read_status(folder) == {}
        assert state_of(folder) == "unknown"


HOLD = """
import sys, time
from pathlib import Path
from surefoot.shelf.disk import Disk
from surefoot.shelf.lock import Lock
Lock(Path(sys.argv[1]), Disk())
print("held", flush=True)
time.sleep(60)
"""


def test_a_running_status_whose_lock_is_free_has_died(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "x", state="running", step=812)
    assert state_of(folder) == "died"
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    assert state_of(folder) == "running"
    owner.kill()
    owner.wait(10)
    owner.stdout.close()
    assert state_of(folder) == "died"


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_an_ended_run_says_how(state: str, tmp_path: Path) -> None:
    assert state_of(run_folder(tmp_path, "x", state=state)) == state


def test_a_step_is_a_number_a_folder_or_a_pointer() -> None:
    assert [step_of(text) for text in (None, "500", "step-00000500", "best", "step-x")] == [
        None, 500, 500, "best", "step-x",
    ]  # fmt: skip


def test_stop_leaves_its_reason_for_a_run_that_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(tmp_path, "x", state="running", step=812)
    assert cli.main(["stop", str(folder)]) == 2
    assert "its process died after step 812" in capsys.readouterr().err
    assert not (folder / "stop").exists()
    lock = Lock(folder, Disk())
    try:
        assert cli.main(["stop", str(folder), "--reason", "the\ndisk \x07"]) == 0
        assert "stop after its step (now 812)" in capsys.readouterr().out
        assert (folder / "stop").read_text() == "the disk \x07\n"
    finally:
        lock.release()


def test_verify_finds_a_flipped_byte_and_prunes_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(tmp_path, "x", state="stopped")
    whole = folder / "step-00000010"
    whole.mkdir()
    (whole / "model.safetensors").write_bytes(b"x")
    (folder / ".tmp-step-1").mkdir()
    assert cli.main(["verify", str(folder)]) == 3
    assert "step-00000010            DAMAGED  COMMIT" in capsys.readouterr().out
    assert whole.is_dir()
    assert cli.main(["verify", str(folder), "--prune", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["removed"] == ["step-00000010", ".tmp-step-1"]
    assert not whole.exists()
    assert cli.main(["verify", str(folder)]) == 0
    assert (folder / "journal.jsonl").exists()


def test_nothing_is_pruned_while_a_run_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(tmp_path, "x", state="running")
    (folder / ".tmp-step-1").mkdir()
    lock = Lock(folder, Disk())
    try:
        assert cli.main(["verify", str(folder), "--prune"]) == 2
        assert "it is training" in capsys.readouterr().err
        assert (folder / ".tmp-step-1").is_dir()
    finally:
        lock.release()


def test_runs_are_listed_newest_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_folder(tmp_path / "runs", "old-001", 60, state="finished", step=9, steps=9, val_ce=2.5)
    run_folder(tmp_path / "runs", "new-001", state="running", step=3, steps=9, ce="nan")
    assert cli.main(["list", "runs"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:4] == ["new-001", "died", "step", "3/9"]
    assert "ce nan" in first
    assert "val ce 2.5000" in second
    assert cli.main(["list", "runs", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in told["runs"]] == ["died", "finished"]
