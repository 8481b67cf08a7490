"""Loading: every damage is found, and the checkpoint before it is used, aloud."""

import random
import shutil
from pathlib import Path

import pytest

from surefoot.errors import ShelfError
from surefoot.shelf import format as layout
from surefoot.shelf.checkpoint import Checkpoint, candidates, on_lineage, verify
from surefoot.shelf.disk import Disk
from surefoot.shelf.load import fallback, find, load, newest
from surefoot.shelf.shelf import Shelf
from tests.shelf import toy
from tests.shelf.disks import flip

FILES = (*layout.PARTS, layout.MANIFEST, layout.COMMIT)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints, to be copied and damaged."""
    run = tmp_path_factory.mktemp("pristine") / "run"
    for step in (1000, 1500):
        toy.put(run, step)
    return run


def copy(pristine: Path, tmp: Path) -> Path:
    return Path(shutil.copytree(pristine, toy.emptied(tmp / "copy") / "run", symlinks=True))


def falls_back(run: Path) -> str:
    """Load the newest whole one, and give what is said of the damaged one."""
    content, skipped = newest(run, disk=Disk())
    assert content.step == 1000, "the checkpoint before the damaged one is used"
    assert [one.checkpoint.step for one in skipped] == [1500]
    return fallback(skipped, content)


def flips_are_found(pristine: Path, tmp: Path, count: int) -> None:
    draw = random.Random(0)
    sizes = [(pristine / "step-00001500" / file).stat().st_size for file in FILES]
    for n in range(count):
        # half of them spread evenly over the files, half by size
        file = FILES[n // 2 % 7] if n % 2 else draw.choices(FILES, sizes)[0]
        run = copy(pristine, tmp)
        flip(run / "step-00001500" / file, draw.getrandbits(40))
        assert "step-00001500" in falls_back(run), f"a flipped bit of {file} is not found"


def test_each_of_20_flipped_bits_is_found(pristine: Path, tmp_path: Path) -> None:
    flips_are_found(pristine, tmp_path, 20)


@pytest.mark.slow
def test_each_of_200_flipped_bits_is_found(pristine: Path, tmp_path: Path) -> None:
    flips_are_found(pristine, tmp_path, 200)


DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "of another step": lambda path: shutil.copy(
        path.parents[1] / "step-00001000" / path.name, path
    ),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link": lambda path: (path.rename(path.parent / "x"), path.symlink_to("x")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_of_each_file_is_found(damage: str, pristine: Path, tmp_path: Path) -> None:
    for file in FILES:
        run = copy(pristine, tmp_path)
        path, other = (run / f"step-0000{step}" / file for step in (1500, 1000))
        if damage == "of another step" and path.read_bytes() == other.read_bytes():
            continue  # recipe and tokenizer are those of all steps
        DAMAGES[damage](path)
        assert falls_back(run), f"{file} {damage} is not found"


def test_the_fallback_is_said_with_file_reason_and_cost(pristine: Path, tmp_path: Path) -> None:
    run = copy(pristine, tmp_path)
    flip(run / "step-00001500" / "optim.safetensors", 1777)
    assert falls_back(run) == (
        "step-00001500 is damaged (optim.safetensors: sha256 differs). "
        "Going on from step-00001000: 500 steps will be trained again, exactly as before. "
        "The damaged folder is kept as corrupt-step-00001500-1."
    )
    assert (run / "corrupt-step-00001500-1").is_dir()
    assert not (run / "step-00001500").exists()


def test_the_fallback_is_written_down(pristine: Path, tmp_path: Path) -> None:
    run = copy(pristine, tmp_path)
    flip(run / "step-00001500" / "optim.safetensors", 1777)
    store = Shelf(run)
    content = store.load()
    store.journal = toy.Journal(run / "journal.jsonl", Disk())
    assert "500 steps" in store.fallen_back(content)
    store.journal.close()
    line = (run / "journal.jsonl").read_text()
    assert '"args":{"from":"step-00001500","to":"step-00001000","file":"optim.safetensors",' in line
    assert '"steps_again":500' in line


def test_a_reader_renames_nothing(pristine: Path, tmp_path: Path) -> None:
    run = copy(pristine, tmp_path)
    flip(run / "step-00001500" / "optim.safetensors", 1777)
    assert load(run).step == 1000
    assert (run / "step-00001500").is_dir()


def test_a_half_copied_folder_is_let_be(pristine: Path, tmp_path: Path) -> None:
    run = copy(pristine, tmp_path)
    (run / "step-00001500" / "COMMIT").unlink()
    content, skipped = newest(run, disk=Disk())
    assert content.step == 1000
    assert str(skipped[0]) == "step-00001500: not committed"
    assert (run / "step-00001500").is_dir()


def test_a_damaged_one_that_was_asked_for_is_an_error(pristine: Path, tmp_path: Path) -> None:
    run = copy(pristine, tmp_path)
    flip(run / "step-00001500" / "model.safetensors", 1777)
    with pytest.raises(ShelfError, match=r"step-00001500: it is damaged \(model") as e:
        Shelf(run).load(1500)
    assert e.value.exit == 3
    assert (run / "step-00001500").is_dir()


def test_all_damaged_is_a_list_and_never_a_fresh_start(pristine: Path, tmp_path: Path) -> None:
    run = copy(pristine, tmp_path)
    for step in ("1000", "1500"):
        flip(run / f"step-0000{step}" / "state.json", 5)
    with pytest.raises(ShelfError) as e:
        newest(run)
    assert e.value.exit == 3
    assert [p.what for p in e.value.problems] == ["step-00001500", "step-00001000"]
    assert "state.json: sha256 differs" in str(e.value)


def test_no_checkpoint_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(ShelfError, match="there is no checkpoint in it"):
        load(tmp_path)
    with pytest.raises(ShelfError, match="there is no such checkpoint"):
        load(tmp_path / "step-00000001")


def test_a_step_is_found_by_number_and_a_missing_one_lists_those_there(pristine: Path) -> None:
    assert find(pristine, 1000).name == "step-00001000"
    with pytest.raises(ShelfError, match="Choose one of the steps 1000, 1500"):
        find(pristine, 1200)
    with pytest.raises(ShelfError, match="best"):
        find(pristine, "best")
    assert find(pristine, "latest").step == 1500


def test_a_folder_renamed_to_another_step_is_damaged(pristine: Path, tmp_path: Path) -> None:
    run = copy(pristine, tmp_path)
    (run / "step-00001500").rename(run / "step-00009000")
    assert "it is of step-00001500" in str(verify(candidates(run)[0])[0])


def test_files_that_are_not_listed_are_let_be(pristine: Path, tmp_path: Path) -> None:
    run = copy(pristine, tmp_path)
    (run / "step-00001500" / ".DS_Store").write_bytes(b"x")
    assert load(run).step == 1500


def test_only_our_names_are_checkpoints_and_numbers_order_them(tmp_path: Path) -> None:
    names = ["step-00009500", "step-00010000", "step-99999999", "step-100000000"]
    other = ["step-1", "step-000000012345", "step-00000001-g0", "step-00000001 ", "corrupt-step-1"]
    for name in (*names, *other, "step-00000005-g2", "step-00000001.tmp", "step-٠٠٠٠٠٠٠١"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000007").write_text("a file")
    (tmp_path / "step-00000008").symlink_to("step-00009500")
    found = [one.name for one in candidates(tmp_path)]
    assert found == ["step-00000005-g2", *reversed(names)]


def test_the_lineage_goes_through_the_rewinds_and_no_other_branch() -> None:
    lineage = [[1, 0, 500], [2, 1, 800], [3, 0, 300]]
    on = {(g, s) for g in range(4) for s in (100, 300, 400, 500, 700, 900) if on_lineage(Checkpoint(g, s, Path()), lineage)}  # noqa: E501  # fmt: skip
    assert on == {(0, 100), (0, 300)} | {(3, s) for s in (100, 300, 400, 500, 700, 900)}
    assert on_lineage(Checkpoint(1, 800, Path()), lineage[:2])
    assert not on_lineage(Checkpoint(1, 801, Path()), lineage[:2])
    assert on_lineage(Checkpoint(0, 10**9, Path()), [])
    assert not on_lineage(Checkpoint(1, 1, Path()), [])


def test_verify_all_names_each_checkpoint(pristine: Path, tmp_path: Path) -> None:
    run = copy(pristine, tmp_path)
    flip(run / "step-00001000" / "recipe.toml", 3)
    told = {one.step: list(map(str, found)) for one, found in Shelf(run).verify_all().items()}
    assert told == {1500: [], 1000: ["recipe.toml: sha256 differs"]}
