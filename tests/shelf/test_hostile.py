"""Checkpoints that a stranger made: each refused with one sentence, quickly, and nothing else."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surefoot.errors import ShelfError
from surefoot.shelf import format as layout
from surefoot.shelf.checkpoint import candidates, verify
from surefoot.shelf.load import load
from tests.shelf import toy


def tensor_file(head: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def f32(begin: int, end: int, shape: list[Any] | None = None, dtype: str = "F32") -> dict[str, Any]:
    shape = [(end - begin) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HEADERS = {
    "a header of 2^60 bytes": tensor_file({}, length=1 << 60),
    "a header longer than the file": tensor_file({}, length=100),
    "no header at all": b"\x01",
    "not JSON": tensor_file(b"{nope}"),
    "a list": tensor_file(b"[]"),
    "a key twice": tensor_file(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        bytes(8),
    ),
    "overlap": tensor_file({"a": f32(0, 8), "b": f32(4, 12)}, bytes(12)),
    "a hole": tensor_file({"a": f32(0, 4), "b": f32(8, 12)}, bytes(12)),
    "bytes after the last": tensor_file({"a": f32(0, 4)}, bytes(8)),
    "past the end": tensor_file({"a": f32(0, 400)}, bytes(8)),
    "negative offsets": tensor_file({"a": f32(-4, 0)}),
    "a negative shape": tensor_file({"a": f32(0, 4, [-1, -1])}, bytes(4)),
    "a shape that overflows": tensor_file({"a": f32(0, 4, [1 << 40, 1 << 40])}, bytes(4)),
    "a huge shape of no elements": tensor_file({"a": f32(0, 0, [0, 1 << 62, 1 << 62])}),
    "a shape of no numbers": tensor_file({"a": f32(0, 4, [True])}, bytes(4)),
    "an unknown dtype": tensor_file({"a": f32(0, 4, dtype="OBJECT")}, bytes(4)),
    "a dtype that is no text": tensor_file(
        {"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a wrong size": tensor_file({"a": f32(0, 4, [2])}, bytes(4)),
    "one key more": tensor_file({"a": f32(0, 4) | {"code": "os.system"}}, bytes(4)),
    "a tensor that is a number": tensor_file({"a": 5}),
    "nested 100000 deep": tensor_file(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "nested 100 deep": tensor_file(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"),
    "300,000 tensors": tensor_file({str(i): f32(0, 0, [0]) for i in range(300_000)}),
    "a number of 10,000 digits": tensor_file(b'{"a":' + b"9" * 10_000 + b"}"),
    "NaN": tensor_file(b'{"a":NaN}'),
    "bad UTF-8": tensor_file(b'{"\xff\xfe":1}'),
    "a pickle": pickle.dumps({"a": 1}),
}


@pytest.mark.parametrize("fault", HEADERS)
def test_a_hostile_header_is_refused(fault: str, tmp_path: Path) -> None:
    path = tmp_path / layout.MODEL
    path.write_bytes(HEADERS[fault])
    with pytest.raises(layout.Damage, match=r"model\.safetensors"):
        layout.header(path)


def signed(run: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change a manifest as its author could: COMMIT is right again."""
    folder = toy.put(run, 1).path
    raw = json.loads((folder / layout.MANIFEST).read_bytes())
    change(raw)
    data = json.dumps(raw).encode()
    (folder / layout.MANIFEST).write_bytes(data)
    (folder / layout.COMMIT).write_text(hashlib.sha256(data).hexdigest() + "\n")
    return folder


def refused(run: Path) -> str:
    damage = verify(candidates(run)[0])
    assert damage
    with pytest.raises(ShelfError) as e:
        load(run)
    assert e.value.exit == 3
    return str(e.value)


LINE = {"bytes": 2, "sha256": "0" * 64}
MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a name that leads out": lambda raw: raw["files"].update({"../../secret": LINE}),
    "an absolute name": lambda raw: raw["files"].update({"/etc/passwd": LINE}),
    "dots": lambda raw: raw["files"].update({"a..b": LINE}),
    "a hidden name": lambda raw: raw["files"].update({".ssh/id": LINE}),
    "a name with a newline": lambda raw: raw["files"].update({"a\n": LINE}),
    "a name with an escape": lambda raw: raw["files"].update({"a\x1b[2J": LINE}),
    "three levels": lambda raw: raw["files"].update({"a/b/c": LINE}),
    "a negative size": lambda raw: raw["files"][layout.MODEL].update(bytes=-1),
    "a size that is text": lambda raw: raw["files"][layout.MODEL].update(bytes="2"),
    "a hash of other letters": lambda raw: raw["files"][layout.MODEL].update(sha256="x" * 64),
    "no hash": lambda raw: raw["files"][layout.MODEL].pop("sha256"),
    "no optimiser": lambda raw: raw["files"].pop(layout.OPTIM),
    "files that are a list": lambda raw: raw.update(files=[]),
    "how that is text": lambda raw: raw.update(how="x"),
    "a step that is true": lambda raw: raw.update(step=True),
    "a negative step": lambda raw: raw.update(step=-1),
    "another step": lambda raw: raw.update(step=2),
}


@pytest.mark.parametrize("fault", MANIFESTS)
def test_a_hostile_manifest_is_refused(fault: str, tmp_path: Path) -> None:
    signed(tmp_path, MANIFESTS[fault])
    assert "manifest.json" in refused(tmp_path)


def test_a_later_format_is_refused_and_not_taken_for_damage(tmp_path: Path) -> None:
    signed(tmp_path, lambda raw: raw.update(format=3, how={"surefoot": "0.9"}))
    with pytest.raises(ShelfError, match=r"format 3: written by surefoot 0\.9; .* up to 1") as e:
        load(tmp_path)
    assert e.value.exit == 3


SPECIAL: dict[str, Callable[[Path], object]] = {
    "a pipe": lambda path: os.mkfifo(path),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to a real file": lambda path: path.symlink_to("recipe.toml"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("fault", SPECIAL)
def test_what_is_no_regular_file_is_refused_without_waiting(fault: str, tmp_path: Path) -> None:
    for file in (*layout.PARTS, layout.MANIFEST, layout.COMMIT):
        run = toy.emptied(tmp_path / "run")
        path = toy.put(run, 1).path / file
        if file != layout.RECIPE or fault != "a link to a real file":
            path.unlink()
            SPECIAL[fault](path)
            assert file in refused(run)


def test_a_file_that_would_fill_the_memory_is_refused_by_its_size(tmp_path: Path) -> None:
    folder = signed(tmp_path, lambda raw: raw["files"][layout.STATE].update(bytes=1 << 40))
    os.truncate(folder / layout.STATE, 1 << 40)  # sparse: takes no room
    assert "state.json" in refused(tmp_path)
    (folder / layout.COMMIT).write_bytes(b"0" * 10_000)
    assert "over the limit" in refused(tmp_path)


def rewritten(run: Path, file: str, data: bytes) -> None:
    """Exchange a file as the checkpoint's author could, all hashes right."""
    sha = hashlib.sha256(data).hexdigest()
    folder = signed(run, lambda raw: raw["files"].update({file: {"bytes": len(data), "sha256": sha}}))  # noqa: E501  # fmt: skip
    (folder / file).write_bytes(data)


def test_a_tie_to_nothing_is_refused(tmp_path: Path) -> None:
    state = {"generation": 0, "step": 1, "tied": {"head.weight": "__class__"}}
    rewritten(tmp_path, layout.STATE, json.dumps(state).encode())
    with pytest.raises(ShelfError, match="tied names a tensor that is not there"):
        load(tmp_path)


@pytest.mark.parametrize(
    "data", [b"[]", b"{", b'{"step":NaN}', b"{}", b'{"a":' * 99 + b"1" + b"}" * 99]
)
def test_a_state_that_is_none_is_refused(data: bytes, tmp_path: Path) -> None:
    rewritten(tmp_path, layout.STATE, data)
    assert "state.json" in refused(tmp_path)


@pytest.mark.parametrize("lineage", ["x", [1], [[1, 2]], [[1, 0, -5]], [[1, 0, "x"]]])
def test_a_lineage_that_is_none_is_refused(lineage: Any, tmp_path: Path) -> None:
    state = {"generation": 0, "step": 1, "lineage": lineage}
    rewritten(tmp_path, layout.STATE, json.dumps(state).encode())
    with pytest.raises(ShelfError, match="lineage is not a list"):
        load(tmp_path)


@pytest.mark.parametrize("journal", ["x", [], {"bytes": -1}, {"bytes": 1, "lines": 1}])
def test_a_place_in_the_journal_that_is_none_is_none(journal: Any, tmp_path: Path) -> None:
    signed(tmp_path, lambda raw: raw["how"].update(journal=journal))
    assert load(tmp_path).journal is None
    toy.put(tmp_path, 1)  # saved again over it


def test_a_recipe_that_is_no_text_is_refused(tmp_path: Path) -> None:
    rewritten(tmp_path, layout.RECIPE, b"\xff\xfe")
    with pytest.raises(ShelfError, match=r"recipe\.toml"):
        load(tmp_path)


def test_a_pickle_with_all_hashes_right_is_refused(tmp_path: Path) -> None:
    rewritten(tmp_path, layout.MODEL, pickle.dumps(print))
    assert "model.safetensors" in refused(tmp_path)


def test_what_lies_beside_is_never_opened(tmp_path: Path) -> None:
    folder = toy.put(tmp_path, 1).path
    for name in (".metadata", "model.pt", "optimizer.pkl"):
        os.mkfifo(folder / name)  # opening one would wait for ever
    assert load(tmp_path).step == 1
