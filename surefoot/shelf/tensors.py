"""Tensors in and out of safetensors files: equal ones give equal bytes, tied ones lie once."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from surefoot.shelf.disk import Disk
from surefoot.shelf.format import FORMAT, ITEM_BYTES, Damage, canonical, header

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
RANK = {name: rank for rank, name in enumerate(DTYPES.values())}


def write(path: Path, tensors: Mapping[str, Tensor], disk: Disk) -> None:
    """Write one safetensors file, made durable.

    Not by safetensors' save_file: 0.8.0 writes a file of its own with mode 0600 and renames it,
    past the disk that all our writes go through. The bytes are those that it would write (tested).
    """
    order = sorted(tensors, key=lambda name: (-RANK[DTYPES[tensors[name].dtype]], name))
    opened = disk.create(path)
    try:
        disk.write(opened, head(tensors, order))
        for name in order:
            if tensors[name].numel():
                disk.write(opened, raw(tensors[name]))
        disk.fsync(opened)
    finally:
        disk.close(opened)


def head(tensors: Mapping[str, Tensor], order: list[str]) -> bytes:
    """Give a file's header, with exactly one metadata key so that its bytes are always the same."""
    told: dict[str, object] = {
        "__metadata__": {"surefoot": canonical({"format": FORMAT}).decode().strip()}
    }
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


def read(path: Path) -> dict[str, Tensor]:
    """Read a file whose header has been checked; the tensors are copies, not views of the file."""
    slots = header(path)
    try:
        with safe_open(path, framework="pt") as file:
            # clone: a view of the file's map would end the process if the file were cut meanwhile
            return {name: file.get_tensor(name).clone() for name in slots}
    except SafetensorError as error:
        raise Damage(path.name, f"the library can't read it ({error})") from None


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
