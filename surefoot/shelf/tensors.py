"""Tensors in and out of safetensors files: equal ones give equal bytes, tied ones lie once."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from surefoot.shelf.disk import Disk
from surefoot.shelf.format import FORMAT, ITEM_BYTES, Damage, assembled, canonical

# from the last to the first in a file: the library's own order of dtypes, then by name
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.float32: "F32",
    torch.complex64: "C64",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint64: "U64",
}
NONE: Mapping[str, tuple[int, int]] = {}
RANK = {name: rank for rank, name in enumerate(DTYPES.values())}


def write(
    path: Path,
    tensors: Mapping[str, Tensor],
    disk: Disk,
    slices: Mapping[str, tuple[int, int]] = NONE,
) -> None:
    """Write one safetensors file, made durable; of slices it has some rows: the first, of how many.

    Not by safetensors' save_file: 0.8.0 writes a file of its own with mode 0600 and renames it,
    past the disk that all our writes go through. The bytes are those that it would write (tested).
    """
    order = sorted(tensors, key=lambda name: (-RANK[DTYPES[tensors[name].dtype]], name))
    opened = disk.create(path)
    try:
        disk.write(opened, head(tensors, order, slices))
        for name in order:
            if tensors[name].numel():
                disk.write(opened, raw(tensors[name]))
        disk.fsync(opened)
    finally:
        disk.close(opened)


def head(
    tensors: Mapping[str, Tensor],
    order: list[str],
    slices: Mapping[str, tuple[int, int]] = NONE,
) -> bytes:
    """Give a file's header, with exactly one metadata key so that its bytes are always the same."""
    own = {"format": FORMAT} | ({"slices": dict(slices)} if slices else {})
    told: dict[str, object] = {"__metadata__": {"surefoot": canonical(own).decode().strip()}}
    end = 0
    for name in order:
        tensor, begin = tensors[name], end
        end += tensor.numel() * tensor.element_size()
        told[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def raw(tensor: Tensor) -> memoryview:
    """Give a tensor's own bytes, without a copy where it lies in one piece on the CPU."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return flat.numpy().data


def read(*paths: Path) -> dict[str, Tensor]:
    """Read files whose headers are checked first, and put together what lies in several of them.

    The tensors are copies: a view of a file's map would end the process if the file were cut.
    """
    places = assembled(paths)
    with ExitStack() as opened:
        files = {path: opened.enter_context(reading(path)) for path in paths}
        return {
            name: one(name, [files[path] for path, _ in pieces]) for name, pieces in places.items()
        }


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """Open a file for the library to read."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise Damage(path.name, f"the library can't read it ({error})") from None


def one(name: str, files: list[Any]) -> Tensor:
    """Read one tensor, whose rows lie in these files in this order."""
    pieces = [file.get_tensor(name) for file in files]
    return pieces[0].clone() if len(pieces) == 1 else torch.cat(pieces)


def nbytes(tensors: Mapping[str, Tensor]) -> int:
    """Count the bytes that tensors take on the disk."""
    return sum(t.numel() * t.element_size() for t in untied(tensors)[0].values())


def untied(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split into tensors to be stored and other names of them (alias -> owner)."""
    owners: dict[object, str] = {}
    stored: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        where = tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device
        owner = owners.setdefault(where, name) if tensor.numel() else name
        if owner == name:
            stored[name] = tensor
        else:
            tied[name] = owner
    return stored, tied


def retied(stored: Mapping[str, Tensor], tied: Mapping[str, str]) -> dict[str, Tensor]:
    """Give back all names, the tied ones as the very same tensor."""
    return {**stored, **{alias: stored[owner] for alias, owner in tied.items()}}


assert set(DTYPES.values()) == set(ITEM_BYTES), "each dtype that is read can be written"
