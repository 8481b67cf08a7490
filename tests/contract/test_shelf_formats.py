"""What each format of the shelf promises: old or new and never half; one flipped byte is found."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from surefoot.shelf.checkpoint import candidates, verify
from surefoot.shelf.disk import Disk
from surefoot.shelf.format import COMMIT, MANIFEST, MODEL, OPTIM, PARTS, Damage, header
from surefoot.shelf.load import newest
from tests.shelf import toy
from tests.shelf.disks import Mortal

TORCH_FREE = ["disk", "format", "checkpoint", "rotation", "pointers", "lock", "journal"]


def test_a_file_replaced_is_the_old_or_the_new_at_every_kill(tmp_path: Path) -> None:
    path, old, new = tmp_path / "status.json", b"old" * 100, b"new" * 100
    for at in range(1, 6):
        path.write_bytes(old)
        code = toy.in_child(lambda at=at: Disk.write_atomic(Mortal(at), path, new))
        assert code == -9
        assert path.read_bytes() == (new if at == 5 else old), f"killed at operation {at}"
    assert toy.in_child(lambda: Disk.write_atomic(Mortal(6), path, new)) == 0


def test_a_checkpoint_is_whole_or_not_there_at_every_kill(tmp_path: Path) -> None:
    disk = Mortal()
    toy.put(tmp_path / "count", 2, disk=disk)
    for at in range(1, disk.count + 1):
        run = toy.emptied(tmp_path / "run")
        toy.put(run, 1)
        assert toy.in_child(lambda at=at, run=run: toy.put(run, 2, disk=Mortal(at))) == -9
        assert not any(verify(one) for one in candidates(run)), f"killed at operation {at}"
        content, skipped = newest(run)
        assert content.step in (1, 2) and not skipped


@pytest.mark.parametrize("file", [*PARTS, MANIFEST, COMMIT])
def test_one_flipped_byte_is_found_wherever_it_is(file: str, tmp_path: Path) -> None:
    checkpoint = toy.put(tmp_path, 1)
    path = checkpoint.path / file
    data = path.read_bytes()
    for n in range(0, len(data), max(1, len(data) // 40)):
        path.write_bytes(data[:n] + bytes([data[n] ^ 0x20]) + data[n + 1 :])
        assert verify(checkpoint), f"byte {n} of {file}"
    path.write_bytes(data)
    assert verify(checkpoint) == []


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_before_anything_reads_it(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / MODEL
    path.write_bytes(pickle.dumps({"w": [1.0]}, protocol))
    with pytest.raises(Damage):
        header(path)


def test_the_tools_that_everybody_has_can_check_a_folder(tmp_path: Path) -> None:
    folder = toy.put(tmp_path, 1).path
    manifest = (folder / MANIFEST).read_bytes()
    assert (folder / COMMIT).read_text() == hashlib.sha256(manifest).hexdigest() + "\n"
    for file in (MODEL, OPTIM):
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest().encode() in manifest


def test_all_but_the_tensors_works_without_torch() -> None:
    imports = ", ".join(f"surefoot.shelf.{name}" for name in TORCH_FREE)
    code = f"import sys; sys.modules['torch'] = None; import {imports}"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
