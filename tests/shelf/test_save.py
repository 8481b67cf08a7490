"""Saving: the order of the protocol, and what each fault of a disk leaves behind."""

import errno
import hashlib
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from surefoot.errors import ShelfError, SurefootError
from surefoot.shelf import format as layout
from surefoot.shelf import save, shelf, tensors
from surefoot.shelf.checkpoint import candidates, manifest, verify
from surefoot.shelf.disk import Disk
from surefoot.shelf.journal import Journal
from surefoot.shelf.load import load
from surefoot.shelf.save import SaveFailed
from surefoot.shelf.snapshot import taken
from tests.shelf import toy
from tests.shelf.disks import Failing, Forgetful, Mortal, Recording, Rotten, Small
from tests.shelf.mutants import broken

DATA = layout.PARTS


def saved_operations(
    run: Path, disk: Recording, kind: Callable[..., Any] = shelf.Shelf
) -> list[tuple[str, str]]:
    """The changes that the second save of a run with keep = 1 makes."""
    run.mkdir()
    store = kind(run, keep=1, disk=disk)
    store.journal = Journal(run / "journal.jsonl", disk)
    store.save(toy.content(1), "regular")
    disk.operations.clear()
    store.save(toy.content(2), "regular")
    store.journal.close()
    return disk.operations


def violations(done: list[tuple[str, str]]) -> list[str]:
    """What stands in the wrong order for a machine that may stop at any moment."""
    first = {what: done.index(what) for what in reversed(done)}
    tmp, new, old = ".tmp-step-00000002", "step-00000002", "step-00000001"
    chain = [("fsync", "journal.jsonl"), ("mkdir", tmp)]
    chain += [(operation, part) for part in DATA for operation in ("create", "write", "fsync")]
    for part in (layout.MANIFEST, layout.COMMIT):
        chain += [(operation, part) for operation in ("create", "write", "fsync")]
    run = done[first["rename", new] + 1][1] if ("rename", new) in first else ""
    chain += [("fsync_folder", tmp), ("rename", new), ("fsync_folder", run)]
    chain += [("rename", "latest"), ("rename", f".trash-{old}"), ("unlink", layout.COMMIT)]
    chain += [("unlink", layout.MODEL), ("rmdir", f".trash-{old}")]
    missing = [what for what in chain if what not in first]
    if missing:
        return [f"never: {what}" for what in missing]
    places = [first[what] for what in chain]
    steps = zip(pairwise(chain), pairwise(places), strict=True)
    return [f"{b} before {a}" for (a, b), (x, y) in steps if x >= y]


def test_all_is_durable_before_the_name_and_the_name_before_the_deletion(tmp_path: Path) -> None:
    assert violations(saved_operations(tmp_path / "run", Recording())) == []


def test_a_disk_that_never_syncs_is_found_by_the_order_check(tmp_path: Path) -> None:
    assert violations(saved_operations(tmp_path / "run", Forgetful()))


COMMIT_LINE = "    disk.write_file(tmp / COMMIT, commit_line(told.to_bytes()))\n"
MUTANTS = {
    "COMMIT first": [
        (COMMIT_LINE, ""),
        ("    disk.write_file(tmp / MANIFEST", f"{COMMIT_LINE}    disk.write_file(tmp / MANIFEST"),
    ],
    "rename before the folder is durable": [("    disk.fsync_folder(tmp)\n", "")],
    "rename never made durable": [
        (
            "    disk.fsync_folder(checkpoint.run)\n    return already",
            "    return already",
        )
    ],
    "journal not made durable first": [("            journal.sync()  #", "            pass  #")],
}


@pytest.mark.parametrize("fault", MUTANTS)
def test_a_broken_protocol_is_found_by_the_order_check(fault: str, tmp_path: Path) -> None:
    mutant = broken(save, tmp_path, *MUTANTS[fault])

    class Store(shelf.Shelf):
        def save(self, content: Any, reason: str, pins: Any = ()) -> Any:
            made = mutant.save(self.run, taken(content), self.disk, {}, self.journal)
            self.verified.add(made.checkpoint)
            self.point("latest", made.checkpoint)
            self.rotate(pins)
            return made

    assert violations(saved_operations(tmp_path / "run", Recording(), Store)), fault


def test_deleting_before_the_commit_is_found_by_the_order_check(tmp_path: Path) -> None:
    late, start = "        notes += self.rotate(pins)\n", "        saved = save("
    early = "        self.keep = 0\n        self.rotate(pins)\n"
    mutant = broken(shelf, tmp_path, (late, ""), (start, early + start))
    assert violations(saved_operations(tmp_path / "run", Recording(), mutant.Shelf))


def test_a_saved_state_comes_back_bit_by_bit(tmp_path: Path) -> None:
    before = toy.content(5)
    store = shelf.Shelf(tmp_path)
    saved = store.save(before, "regular")
    after = store.load()
    assert (after.step, after.generation, after.recipe) == (5, 0, before.recipe)
    for mine, back in ((before.model, after.model), (before.optim, after.optim)):
        assert set(mine) == set(back)
        assert all(torch.equal(mine[n], back[n]) and mine[n].dtype == back[n].dtype for n in mine)
    assert after.model["head.weight"] is after.model["embedding.weight"]  # tied, as before
    assert saved.bytes == sum(size for size, _ in manifest(saved.checkpoint).files.values())
    assert verify(saved.checkpoint) == []
    assert (tmp_path / "latest").readlink() == Path("step-00000005")


def test_a_tied_tensor_is_stored_once(tmp_path: Path) -> None:
    checkpoint = toy.put(tmp_path, 1)
    assert set(layout.header(checkpoint.path / layout.MODEL)) == {"embedding.weight", "scale"}


def test_our_bytes_are_those_of_the_safetensors_library(tmp_path: Path) -> None:
    many = {f'{i} é"{dtype}': torch.ones(2, 3).to(dtype) for dtype in tensors.DTYPES for i in "21"}
    many |= {"empty": torch.zeros(0, 4), "number": torch.tensor(5), "t": torch.rand(3, 2).t()}
    tensors.write(tmp_path / "ours", many, Disk())
    plain = {name: t.contiguous() for name, t in many.items()}
    save_file(plain, tmp_path / "theirs", metadata={"surefoot": '{"format":1}'})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    back = tensors.read(tmp_path / "theirs")
    assert all(torch.equal(back[n].float(), plain[n].float()) for n in plain if "complex" not in n)


def hashes(run: Path) -> dict[str, str]:
    return {p: hashlib.sha256((run / p).read_bytes()).hexdigest() for p in (*DATA, "manifest.json")}


def test_equal_states_are_equal_bytes_in_three_processes(tmp_path: Path) -> None:
    for n in "abc":
        assert toy.in_child(lambda n=n: toy.put(tmp_path / n, 4)) == 0
    first, *others = (hashes(tmp_path / n / "step-00000004") for n in "abc")
    assert all(other == first for other in others)


@pytest.mark.slow
def test_equal_states_are_equal_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tests.shelf import toy; toy.put(Path(sys.argv[1]), 4)"  # noqa: E501
    root = Path(__file__).parents[2]
    for seed in "123":
        env = {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
        subprocess.run([sys.executable, "-c", code, tmp_path / seed], env=env, check=True)
    first, *others = (hashes(tmp_path / n / "step-00000004") for n in "123")
    assert all(other == first for other in others)


def test_saving_the_same_step_again_changes_nothing(tmp_path: Path) -> None:
    store = shelf.Shelf(tmp_path)
    store.journal = Journal(tmp_path / "journal.jsonl", Disk())
    store.save(toy.content(2), "regular")
    before = (tmp_path / "step-00000002").stat().st_ino
    assert store.save(toy.content(2), "signal").already
    assert (tmp_path / "step-00000002").stat().st_ino == before
    assert '"already_saved"' in (tmp_path / "journal.jsonl").read_text()
    store.journal.close()


def test_a_checkpoint_of_another_course_of_the_run_is_replaced(tmp_path: Path) -> None:
    store = shelf.Shelf(tmp_path)
    store.journal = Journal(tmp_path / "journal.jsonl", Disk())
    store.tell("user", toy.content(1), {})
    store.save(toy.content(2), "regular")
    store.journal.close()
    (tmp_path / "journal.jsonl").unlink()  # as if cut back by --from, and trained again
    store.journal = Journal(tmp_path / "journal.jsonl", Disk())
    saved = store.save(toy.content(2), "regular")
    assert not saved.already
    assert "replaced" in saved.notes[0]
    assert store.load().journal is not None
    assert store.journal.holds(store.load().journal)
    store.journal.close()


def test_a_damaged_folder_in_the_way_is_kept_under_another_name(tmp_path: Path) -> None:
    checkpoint = toy.put(tmp_path, 2)
    (checkpoint.path / layout.MODEL).write_bytes(b"torn")
    toy.put(tmp_path, 2)
    assert verify(checkpoint) == []
    assert (tmp_path / "corrupt-step-00000002-1" / layout.MODEL).read_bytes() == b"torn"


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "step-00000002").symlink_to("elsewhere")
    checkpoint = toy.put(tmp_path, 2)
    assert not checkpoint.path.is_symlink()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_reads_back_wrong_is_kept_aside_and_saved_again(tmp_path: Path) -> None:
    store = shelf.Shelf(tmp_path, disk=Rotten(times=1))
    store.journal = Journal(tmp_path / "journal.jsonl", Disk())
    saved = store.save(toy.content(2), "regular")
    assert "optim.safetensors" in saved.bad
    assert verify(saved.checkpoint) == []
    assert (tmp_path / "corrupt-step-00000002-1").is_dir()
    assert '"id":"save_bad","severity":"warn"' in (tmp_path / "journal.jsonl").read_text()
    store.journal.close()


def test_a_disk_that_always_reads_back_wrong_never_rotates(tmp_path: Path) -> None:
    toy.put(tmp_path, 1)
    with pytest.raises(SaveFailed, match="not what was written"):
        shelf.Shelf(tmp_path, keep=1, disk=Rotten(times=9)).save(toy.content(2), "regular")
    assert [one.step for one in candidates(tmp_path)] == [1]


def test_too_little_room_is_said_with_both_numbers_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(
        SaveFailed, match=r"No space left on device; needs 0\.0 GiB, 0\.0 free"
    ) as e:
        shelf.Shelf(tmp_path, disk=Small(1000)).save(toy.content(2), "regular")
    assert (e.value.free, e.value.errno, e.value.exit) == (1000, errno.ENOSPC, 1)
    assert e.value.needed > 16 << 20
    assert list(tmp_path.iterdir()) == []


def test_the_third_failure_in_a_row_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    store = shelf.Shelf(tmp_path)
    store.save(toy.content(1), "regular")
    store.disk = Small(0)
    for step in (2, 3):
        with pytest.raises(SaveFailed):
            store.save(toy.content(step), "regular")
    with pytest.raises(ShelfError, match="3 saves failed; the last good one is step-00000001") as e:
        store.save(toy.content(4), "regular")
    assert e.value.exit == 1


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """The run that nothing happened to, and how many changes it made to the disk."""
    run = tmp_path_factory.mktemp("twin")
    disk = Mortal()
    toy.train(run, disk)
    return toy.outcome(run), disk.count


def killed_at(run: Path, *operations: int) -> None:
    for at in operations:
        code = toy.in_child(lambda at=at: toy.train(run, Mortal(at)))
        assert code in (-9, 0), f"killed at operation {at}: {code}"


def spread(count: int, points: int) -> list[int]:
    return sorted({1 + i * count // points for i in range(points)})


def test_killed_at_any_of_forty_operations_a_run_ends_the_same(
    twin: tuple[dict[str, Any], int], tmp_path: Path
) -> None:
    alone, count = twin
    for at in spread(count, 40):
        run = toy.emptied(tmp_path / "run")
        killed_at(run, at)
        toy.train(run, Disk())
        assert toy.outcome(run) == alone, f"killed at operation {at} of {count}"


@pytest.mark.slow
def test_killed_at_each_operation_and_again_while_resuming_a_run_ends_the_same(
    twin: tuple[dict[str, Any], int], tmp_path: Path
) -> None:
    alone, count = twin
    for at in range(1, count + 1):
        run = toy.emptied(tmp_path / "run")
        killed_at(run, at, 1 + at * 7 % 23, 1 + at % 11)
        toy.train(run, Disk())
        assert toy.outcome(run) == alone, f"killed at operation {at} of {count}"


def fails_at(run: Path, disk: Disk) -> None:
    """Train on a failing disk: an error for a person is allowed, anything else is not."""
    try:
        toy.train(run, disk)
    except SurefootError as error:
        assert str(error), "an error says what is wrong"
    toy.train(run, Disk())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_one_failure_of_the_disk_at_any_operation_costs_nothing(
    code: int, twin: tuple[dict[str, Any], int], tmp_path: Path
) -> None:
    alone, count = twin
    for at in spread(count, 40):
        run = toy.emptied(tmp_path / "run")
        fails_at(run, Failing(at, code))
        assert toy.outcome(run) == alone, f"failed at operation {at} of {count}"


@pytest.mark.parametrize("times", [1, 3, 10**6])
@pytest.mark.slow
def test_any_failure_of_the_disk_leaves_a_run_that_can_go_on(
    times: int, twin: tuple[dict[str, Any], int], tmp_path: Path
) -> None:
    alone, count = twin
    for at in range(1, count + 1):
        run = toy.emptied(tmp_path / "run")
        fails_at(run, Failing(at, errno.EIO, times))
        assert toy.outcome(run)["files"] == alone["files"], f"failed at operation {at}"


def test_a_loaded_checkpoint_knows_its_place_in_the_journal(tmp_path: Path) -> None:
    toy.train(tmp_path, Disk(), keep=3)
    middle = load(tmp_path / "step-00000004")
    assert middle.journal is not None
    text = (tmp_path / "journal.jsonl").read_bytes()[: middle.journal.bytes]
    assert hashlib.sha256(text).hexdigest() == middle.journal.sha256
    assert b'"step":4' in text and b'"step":5' not in text
