"""What a checkpoint is on disk: names, manifest, COMMIT, and the limits of each part."""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
MODEL, OPTIM, STATE = "model.safetensors", "optim.safetensors", "state.json"
RECIPE, TOKENIZER, MANIFEST, COMMIT = "recipe.toml", "tokenizer.json", "manifest.json", "COMMIT"
PARTS = (MODEL, OPTIM, STATE, RECIPE, TOKENIZER)

MIB = 1 << 20
JSON_LIMIT = 16 * MIB
DEPTH_LIMIT = 64
HEADER_LIMIT = 16 * MIB
TENSOR_LIMIT = 200_000
ITEM_LIMIT = 2_000_000  # in one JSON: what 16 MiB of brackets would become fills the memory
LIMITS = {STATE: JSON_LIMIT, MANIFEST: JSON_LIMIT, RECIPE: MIB, TOKENIZER: 64 * MIB, COMMIT: 65}

NAME = re.compile(r"step-([0-9]{8,}+)(?:-g([1-9][0-9]*+))?")
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127})?")
SHARD = re.compile(r"(?:model|optim)-([0-9]{5})-of-([0-9]{5})\.safetensors")
SHA256 = re.compile(r"[0-9a-f]{64}")
ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}


class Damage(Exception):
    """One thing wrong with a checkpoint: which file, and what about it."""

    def __init__(self, file: str, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"{file}: {reason}")

    @property
    def uncommitted(self) -> bool:
        """Say whether the folder was never finished, or only half copied."""
        return self.file == COMMIT and self.reason == "missing, so this was never committed"


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a tensor, or some rows of one, lies in a file: what it is, from which byte to which."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    first: int = 0  # of its rows, where other files have the others
    rows: int | None = None  # in all files; None where all of it lies here

    @property
    def whole(self) -> tuple[int, ...]:
        """Give the shape that the tensor has in all files together."""
        return self.shape if self.rows is None else (self.rows, *self.shape[1:])


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint holds, and how it was made."""

    step: int
    generation: int
    files: Mapping[str, tuple[int, str]]  # name -> bytes, sha256
    how: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """Give the file's bytes."""
        files = {name: {"bytes": size, "sha256": sha} for name, (size, sha) in self.files.items()}
        return canonical(
            {
                "format": FORMAT,
                "step": self.step,
                "generation": self.generation,
                "files": files,
                "how": dict(self.how),
            }
        )


def name(generation: int, step: int) -> str:
    """Name a checkpoint's folder."""
    return f"step-{step:08d}" + (f"-g{generation}" if generation else "")


def shard(file: str, rank: int, ranks: int) -> str:
    """Name the file that one of several ranks writes in place of a whole one."""
    stem, _, ending = file.rpartition(".")
    return f"{stem}-{rank + 1:05d}-of-{ranks:05d}.{ending}"


def files_of(listed: Collection[str], file: str) -> list[str]:
    """Name the files that hold a part: itself, or one of each rank that saved."""
    if file in listed:
        return [file]
    stem = file.partition(".")[0]
    found = [name for name in listed if SHARD.fullmatch(name) and name.startswith(f"{stem}-")]
    names = [shard(file, rank, len(found)) for rank in range(len(found))]
    return names if set(names) == set(found) else []


def parse_name(text: str) -> tuple[int, int] | None:
    """Read (generation, step) out of a folder's name; None for any other name."""
    found = NAME.fullmatch(text)
    if found is None:
        return None
    key = int(found[2] or 0), int(found[1])
    # step-000001000 would be a second name for step 1000
    return key if name(*key) == text else None


def canonical(value: Any) -> bytes:
    """Write JSON that is equal for equal values, in strict form."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def parse_json(file: str, data: bytes) -> dict[str, Any]:
    """Read strict JSON that a stranger may have written: no NaN, no key twice, not too deep."""
    if sum(map(data.count, (b"{", b"[", b","))) > ITEM_LIMIT:
        raise Damage(file, f"more than {ITEM_LIMIT} items")
    try:
        value = json.loads(data, object_pairs_hook=once, parse_constant=refuse)
    except RecursionError:
        raise Damage(file, f"nested deeper than {DEPTH_LIMIT}") from None
    except ValueError as error:  # bad UTF-8, bad JSON, numbers of thousands of digits
        raise Damage(file, f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise Damage(file, "not a JSON object")
    layer: list[Any] = [value]
    for _ in range(DEPTH_LIMIT):
        inner = [v.values() if isinstance(v, dict) else v for v in layer]
        layer = [v for values in inner for v in values if isinstance(v, dict | list)]
        if not layer:
            return value
    raise Damage(file, f"nested deeper than {DEPTH_LIMIT}")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs, and refuse a key that stands twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def refuse(constant: str) -> None:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{constant} is not JSON")


def open_regular(path: Path) -> int:
    """Open a regular file for reading; a link, a pipe or a device in its place is damage."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)  # O_NONBLOCK: a pipe without a writer would wait for ever
    except FileNotFoundError:
        raise Damage(path.name, "missing") from None
    except OSError as error:
        raise Damage(path.name, f"can't be opened ({error.strerror})") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Damage(path.name, "not a regular file")
    return fd


def read_limited(path: Path) -> bytes:
    """Read one of a checkpoint's small files, never more of it than such a file may be."""
    limit = LIMITS[path.name]
    with os.fdopen(open_regular(path), "rb") as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise Damage(path.name, f"can't be read ({error.strerror})") from None
    if len(data) > limit:
        raise Damage(path.name, f"over the limit of {limit} bytes")
    return data


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest; every name and number in it is checked before any is used."""
    raw = parse_json(MANIFEST, data)
    for key in ("format", "step", "generation"):
        if not natural(raw.get(key)):
            raise Damage(MANIFEST, f"{key} is not a whole number")
    files, how = raw.get("files"), raw.get("how", {})
    if not isinstance(files, dict) or not isinstance(how, dict):
        raise Damage(MANIFEST, "files or how is not an object")
    listed = {file: entry(file, told) for file, told in files.items()}
    if missing := [part for part in PARTS if not files_of(listed, part)]:
        raise Damage(MANIFEST, f"does not list {missing[0]}")
    return Manifest(raw["step"], raw["generation"], listed, how)


def entry(file: str, told: Any) -> tuple[int, str]:
    """Read one line of a manifest: a plain name, a size, a hash."""
    if not FILE.fullmatch(file) or ".." in file:
        raise Damage(MANIFEST, f"{file!r} is not a plain file name")
    if not isinstance(told, dict) or not natural(told.get("bytes")):
        raise Damage(MANIFEST, f"{file} has no size")
    sha = told.get("sha256")
    if not isinstance(sha, str) or not SHA256.fullmatch(sha):
        raise Damage(MANIFEST, f"{file} has no sha256")
    return told["bytes"], sha


def natural(value: Any) -> bool:
    """Say whether this is a whole number from 0 on (True is none)."""
    return type(value) is int and 0 <= value < 1 << 63


def commit_line(manifest: bytes) -> bytes:
    """Give what COMMIT holds: the hash that ties a folder to one manifest."""
    return hashlib.sha256(manifest).hexdigest().encode() + b"\n"


def digest(path: Path) -> tuple[int, str]:
    """Give a file's size and sha256, as it lies on the disk."""
    with os.fdopen(open_regular(path), "rb") as file:
        try:
            sha = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Damage(path.name, f"can't be read ({error.strerror})") from None
        return os.fstat(file.fileno()).st_size, sha


def header(path: Path) -> dict[str, Slot]:
    """Check a safetensors header: its tensors fill the file without gap or overlap."""
    file = path.name
    with os.fdopen(open_regular(path), "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(HEADER_LIMIT, size - 8):
            raise Damage(file, f"its header claims {length} bytes")
        told = opened.read(length)
    if (count := told.count(b'"dtype"')) > TENSOR_LIMIT:  # before seconds are spent on them
        raise Damage(file, f"{count} tensors; at most {TENSOR_LIMIT} are read")
    raw = parse_json(file, told)
    parts = slices(file, raw.pop("__metadata__", None))
    if len(raw) > TENSOR_LIMIT:
        raise Damage(file, f"{len(raw)} tensors; at most {TENSOR_LIMIT} are read")
    slots = {tensor: slot(file, tensor, told, parts.get(tensor)) for tensor, told in raw.items()}
    end = 0
    for tensor, one in sorted(slots.items(), key=lambda item: (item[1].begin, item[1].end)):
        if one.begin != end:
            raise Damage(file, f"{tensor!r} starts at byte {one.begin}, not at {end}")
        end = one.end
    if end != size - 8 - length:
        raise Damage(file, f"its tensors end at byte {end} of {size - 8 - length}")
    return slots


def slices(file: str, metadata: Any) -> dict[str, Any]:
    """Read which rows of its tensors a file has; {} where it has all of them."""
    own = metadata.get("surefoot") if isinstance(metadata, dict) else None
    found = parse_json(file, own.encode()).get("slices", {}) if isinstance(own, str) else {}
    if not isinstance(found, dict):
        raise Damage(file, "its slices are not an object")
    return found


def slot(file: str, tensor: str, told: Any, rows: Any = None) -> Slot:
    """Check one tensor's line of a header, and which of its rows it is about."""
    if not isinstance(told, dict) or set(told) != {"dtype", "shape", "data_offsets"}:
        raise Damage(file, f"{tensor!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = told["dtype"], told["shape"], told["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise Damage(file, f"{tensor!r} has an unknown dtype")
    if not isinstance(shape, list) or len(shape) > DEPTH_LIMIT or not all(map(natural, shape)):
        raise Damage(file, f"{tensor!r} has an impossible shape")
    if not natural(math.prod(max(size, 1) for size in shape) * 8):  # of no elements, but huge
        raise Damage(file, f"{tensor!r} has an impossible shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(natural, offsets)):
        raise Damage(file, f"{tensor!r} has impossible offsets")
    begin, end = offsets
    if math.prod(shape) * ITEM_BYTES[dtype] != end - begin:
        raise Damage(file, f"{tensor!r} does not fill its bytes")
    if rows is None:
        return Slot(dtype, tuple(shape), begin, end)
    if not isinstance(rows, list) or len(rows) != 2 or not all(map(natural, rows)) or not shape:
        raise Damage(file, f"{tensor!r} has an impossible slice")
    return Slot(dtype, tuple(shape), begin, end, *rows)


def assembled(paths: Iterable[Path]) -> dict[str, list[tuple[Path, Slot]]]:
    """Check that the rows in several files make up whole tensors; give where each one's lie."""
    found: dict[str, list[tuple[Path, Slot]]] = {}
    for path in paths:
        for name, one in header(path).items():
            if one.rows is None:
                found[name] = [(path, one)]
            else:
                found.setdefault(name, []).append((path, one))
    for name, pieces in found.items():
        pieces.sort(key=lambda piece: piece[1].first)
        end, (path, model) = 0, pieces[0]
        for path, one in pieces:
            if (one.dtype, one.whole, one.first) != (model.dtype, model.whole, end):
                raise Damage(path.name, f"{name!r} does not go on at row {end}")
            end += one.shape[0] if one.rows is not None else 0
        if model.rows is not None and end != model.rows:
            raise Damage(path.name, f"{name!r} ends at row {end} of {model.rows}")
    return found
