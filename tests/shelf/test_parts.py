"""What several ranks save together is one checkpoint: whole for any reader, or not there at all."""

import errno
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from surefoot.shelf import format as layout
from surefoot.shelf import parts, tensors
from surefoot.shelf.checkpoint import Checkpoint, candidates, verify
from surefoot.shelf.disk import Disk
from surefoot.shelf.load import load, newest
from surefoot.shelf.origin import read as origin_of
from surefoot.shelf.parts import Part
from surefoot.shelf.save import Content, SaveFailed, save
from surefoot.shelf.snapshot import Buffers, taken
from tests.learn.threaded import Round, on_threads
from tests.shelf.disks import Failing

DRAW = torch.Generator().manual_seed(3)
MODEL = {
    "a.weight": torch.randn(10, 3, generator=DRAW),
    "one_row": torch.randn(1, 4, generator=DRAW),
    "norm": torch.randn(5, generator=DRAW).bfloat16(),
}
OPTIM = {
    "a.weight/exp_avg": torch.randn(10, 3, generator=DRAW),
    "a.weight/step": torch.tensor(7.0),
    "norm/count": torch.arange(5, dtype=torch.int32),
}


def rows(whole: Tensor, rank: int, ranks: int) -> slice:
    each = -(-len(whole) // ranks)
    return slice(min(rank * each, len(whole)), min((rank + 1) * each, len(whole)))


def content(rank: int, ranks: int, told: Round) -> Content:
    """One rank's rows of the state."""
    slices = {
        name: (rows(whole, rank, ranks).start, len(whole))
        for name, whole in (MODEL | OPTIM).items()
        if whole.dim()
    }
    model, optim = (
        {n: w[rows(w, rank, ranks)].clone() if w.dim() else w.clone() for n, w in held.items()}
        for held in (MODEL, OPTIM)
    )

    def together(said: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [json.loads(one) for one in told.gather(rank, json.dumps(said))]

    part = Part(rank, ranks, slices, together)
    return Content(4, 0, model, optim, {"seed": 0}, 'name = "toy"\n', b"{}", part=part)


def put(run: Path, ranks: int, disk_of: Callable[[int], Disk] = lambda rank: Disk()) -> Checkpoint:
    """Save with so many ranks, each a thread of its own."""
    run.mkdir(exist_ok=True)
    told = Round(ranks)

    def one(rank: int) -> Any:
        snapshot = taken(content(rank, ranks, told), Buffers() if rank % 2 else None)
        if rank:
            return parts.follow(run, snapshot, disk_of(rank))
        return save(run, snapshot, disk_of(0), {"reason": "regular"}).checkpoint

    return on_threads(ranks, one)[0]


def same(found: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> bool:
    alike = all(
        found[name].dtype == whole[name].dtype and torch.equal(found[name], whole[name])
        for name in whole
    )
    return alike and found.keys() == whole.keys()


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6])
def test_any_reader_finds_the_tensors_whole(ranks: int, tmp_path: Path) -> None:
    checkpoint = put(tmp_path / "run", ranks)
    assert verify(checkpoint) == []
    back = load(checkpoint)
    assert same(back.model, MODEL)
    assert same(back.optim, OPTIM)
    origin = origin_of(checkpoint.path)
    assert same(origin.tensors(), MODEL)
    assert {name: slot.whole for name, slot in origin.slots.items()} == {
        name: tuple(whole.shape) for name, whole in MODEL.items()
    }


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    one, other = put(tmp_path / "one", 3), put(tmp_path / "other", 3)
    names = [path.name for path in one.path.iterdir()]
    assert "model-00003-of-00003.safetensors" in names
    assert all((one.path / n).read_bytes() == (other.path / n).read_bytes() for n in names)


def test_one_flipped_byte_in_any_ranks_file_is_found(tmp_path: Path) -> None:
    checkpoint = put(tmp_path, 2)
    for path in sorted(checkpoint.path.glob("*.safetensors")):
        data = path.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 20)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
            assert verify(checkpoint), f"byte {at} of {path.name}"
        path.write_bytes(data)
    assert verify(checkpoint) == []


def test_without_one_ranks_file_the_one_before_is_used(tmp_path: Path) -> None:
    checkpoint = put(tmp_path, 3)
    newer = tmp_path / "step-00000009"
    checkpoint.path.rename(newer)
    older = put(tmp_path, 3)
    (newer / "optim-00002-of-00003.safetensors").unlink()
    found, skipped = newest(tmp_path)
    assert (found.step, len(skipped)) == (older.step, 1)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("at", [1, 2, 4, 6, 8])
def test_a_failure_on_any_rank_abandons_the_save_on_all(rank: int, at: int, tmp_path: Path) -> None:
    def disk_of(one: int) -> Disk:
        return Failing(at, errno.ENOSPC) if one == rank else Disk()

    with pytest.raises(SaveFailed, match=f"rank {rank}" if rank else "No space left"):
        put(tmp_path, 2, disk_of)
    assert candidates(tmp_path) == []
    assert list(tmp_path.glob(".tmp-*")) == []
    assert verify(put(tmp_path, 2)) == []  # and the next one works


SLICES = {
    "a gap": [(0, 3, 10), (4, 6, 10)],
    "an overlap": [(0, 5, 10), (4, 6, 10)],
    "rows that lack": [(0, 3, 10), (3, 3, 10)],
    "more rows than all": [(0, 5, 8), (5, 5, 8)],
    "two minds about all": [(0, 5, 10), (5, 5, 11)],
}


@pytest.mark.parametrize("fault", SLICES)
def test_rows_that_are_no_tensor_are_damage(fault: str, tmp_path: Path) -> None:
    paths: list[Path] = []
    for number, (first, count, whole) in enumerate(SLICES[fault]):
        paths.append(tmp_path / layout.shard(layout.MODEL, number, 2))
        tensors.write(paths[-1], {"a": torch.zeros(count, 3)}, Disk(), {"a": (first, whole)})
    with pytest.raises(layout.Damage, match="'a'"):
        tensors.read(*paths)


@pytest.mark.parametrize(
    "slices", [5, {"a": 5}, {"a": [0]}, {"a": [-1, 3]}, {"a": ["0", 3]}, {"a": [0, 1 << 70]}]
)
def test_a_hostile_slice_is_damage(slices: Any, tmp_path: Path) -> None:
    own = json.dumps({"format": 1, "slices": slices})
    head = {"__metadata__": {"surefoot": own}}
    head["a"] = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}  # pyright: ignore[reportArgumentType]
    text = json.dumps(head).encode()
    path = tmp_path / layout.MODEL
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(layout.Damage):
        tensors.read(path)


def test_a_rank_waits_for_no_folder_once_the_first_has_ended(tmp_path: Path) -> None:
    """A fallen fence is no error of the disk; the other ranks hear of the end all the same."""

    def fallen() -> None:
        raise RuntimeError("another process has the run")

    told = Round(2)

    def one(rank: int) -> Any:
        snapshot = taken(content(rank, 2, told))
        if rank:
            return parts.follow(tmp_path, snapshot, Disk())
        with pytest.raises(RuntimeError, match="another process"):
            save(tmp_path, snapshot, Disk(), {"reason": "regular"}, fence=fallen)
        return None

    before = threading.active_count()
    on_threads(2, one)
    assert threading.active_count() == before
