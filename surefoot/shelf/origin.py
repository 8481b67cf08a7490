"""Weights that a new run begins from: of a run, of a checkpoint, or somebody else's safetensors."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from surefoot.errors import Problem, RecipeError, UsageError
from surefoot.recipe.load import parsed
from surefoot.recipe.schema import Model
from surefoot.shelf import llama, tensors
from surefoot.shelf.checkpoint import at, manifest, verify
from surefoot.shelf.format import (
    FILE,
    HEADER_LIMIT,
    JSON_LIMIT,
    LIMITS,
    MODEL,
    RECIPE,
    TOKENIZER,
    Damage,
    Slot,
    digest,
    files_of,
    header,
    open_regular,
    parse_json,
    parse_name,
)

if TYPE_CHECKING:
    from torch import Tensor

OPTION = "--init-from"
CONFIG, INDEX = "config.json", "model.safetensors.index.json"
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
SHARDED = ".metadata"  # of torch's own distributed checkpoints, which hold pickles
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Origin:
    """Weights, and what is known of the model that they were made with; read when they are used."""

    place: Path  # where they can be found again
    files: tuple[Path, ...]
    sha: str
    slots: Mapping[str, Slot]  # by our names: what is there, unread
    theirs: Mapping[str, str] = field(default_factory=dict[str, str])  # our names -> the files'
    model: Mapping[str, Any] = field(default_factory=dict[str, Any])  # its [model] table, if known
    tokenizer: Path | None = None

    def tensors(self) -> "dict[str, Tensor]":
        """Read them."""
        held = tensors.read(*self.files)
        return {name: held[self.theirs.get(name, name)] for name in self.slots}

    def row(self) -> dict[str, str]:
        """Give what a run keeps of it."""
        return {"place": str(self.place), "sha256": self.sha}


def read(place: Path) -> Origin:
    """Look at the weights that lie in a folder or a file; pickles are refused by what they are."""
    if not place.exists():
        raise refused(place, "there is no such run, folder or file", "Write a path that is there")
    real = place.resolve()  # a cache of models links its files
    if real.is_dir() and parse_name(real.name) is not None:
        return of_checkpoint(place, real)
    if not (real.is_file() or real.is_dir()):
        raise refused(place, "it is a pipe or a device", "Write a folder or a file")
    files = [real] if real.is_file() else listed(place, real)
    # beside a file that is a link lie the names of the folder that has the link
    return of_files(place, files, place.parent if place.is_file() else place)


def of_checkpoint(place: Path, real: Path) -> Origin:
    """Look at one of our own checkpoints, hashed as for a resume."""
    checkpoint = at(real)
    if damage := verify(checkpoint):
        raise refused(place, f"it is damaged ({damage[0]})", "Write another checkpoint")
    if place.is_symlink() and (place.parent / real.name).is_dir():
        place = place.parent / real.name  # latest and best go on to others
    files = files_of(manifest(checkpoint).files, MODEL)
    return of_files(place, [real / file for file in files], place)


def listed(place: Path, folder: Path) -> list[Path]:
    """Name the safetensors files of a folder, in the order of its index."""
    if (folder / INDEX).is_file():
        names = parse(place, folder / INDEX).get("weight_map")
        told = [*dict.fromkeys(map(str, names.values()))] if isinstance(names, dict) else [""]
        if wrong := [name for name in told if not FILE.fullmatch(name)]:
            why = f"its {INDEX} names {wrong[0]!r}, which is no file of this folder"
            raise refused(place, why, "Write a folder that is whole")
        return [(folder / name).resolve() for name in told]
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1 or (folder / "model.safetensors") in found:
        return [(folder / "model.safetensors" if len(found) > 1 else found[0]).resolve()]
    if found:
        why = f"it has {len(found)} safetensors files, and no {INDEX} says what belongs together"
        raise refused(place, why, f"Write one of them: {OPTION} {place / found[0].name}")
    pickles = [path for path in sorted(folder.iterdir()) if path.is_file() and pickled(path)]
    if (folder / SHARDED).exists():
        why = (
            "surefoot never unpickles: a pickle is a program, and so is what torch's distributed "
            f"checkpoints have in {SHARDED}"
        )
        convert = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch"
        raise refused(place, why, f"Convert it where you trust it: {convert} {place} model.pt")
    if pickles:
        raise pickle(pickles[0])
    why = "there is no checkpoint and no safetensors file in it"
    raise refused(place, why, "Write the folder of a run, of a checkpoint, or of a model")


def of_files(place: Path, files: Sequence[Path], beside: Path) -> Origin:
    """Look at safetensors files, and at what lies beside them."""
    slots: dict[str, Slot] = {}
    for path in files:
        if path.is_file() and pickled(path):
            raise pickle(place if place.is_file() else path)
        slots |= described(place, path)
    theirs = {llama.our_name(name): name for name in slots}
    model: Mapping[str, Any] = {}
    if llama.EMBEDDING in slots:
        config = parse(place, beside / CONFIG)
        if wrong := list(llama.strange(config, slots)):
            why = f"this Llama is not one that surefoot computes: {'; '.join(wrong)}"
            raise refused(place, why, "Write a folder of a Llama without these")
        model = llama.tables(config)
        try:
            Model.model_validate(model)
        except ValidationError as error:
            why = f"its {CONFIG} describes no model ({error.errors()[0]['msg']})"
            raise refused(place, why, "Copy it again from where it was whole") from None
        if model["tied"]:  # the same tensor once more
            theirs.pop(llama.NAMES["lm_head.weight"], None)
    elif (beside / RECIPE).is_file():
        model = recipe_of(place, beside / RECIPE)
    elif (beside / CONFIG).is_file():  # of an export
        recipe = parse(place, beside / CONFIG).get("recipe")
        table = recipe.get("model") if isinstance(recipe, dict) else None
        model = table if isinstance(table, dict) else {}
    tokenizer = beside / TOKENIZER
    return Origin(
        place=place,
        files=tuple(files),
        sha=combined(files),
        slots={ours: slots[name] for ours, name in theirs.items()},
        theirs=theirs,
        model=model,
        tokenizer=tokenizer if tokenizer.is_file() else None,
    )


def recipe_of(place: Path, path: Path) -> dict[str, Any]:
    """Read the [model] table that weights were made with; {} where it is of another version."""
    try:
        text = read_some(path, LIMITS[RECIPE]).decode()
        tables = parsed(text, path.name).get("model", {})
        Model.model_validate(tables)
        return tables
    except (RecipeError, ValidationError):
        return {}
    except (Damage, OSError, UnicodeDecodeError) as error:
        raise refused(place, f"{RECIPE}: {error}", "Leave that file out") from None


def described(place: Path, path: Path) -> dict[str, Slot]:
    """Read what a file says that it holds, which must be ordinary numbers."""
    try:
        slots = header(path)
    except Damage as damage:
        why = f"this is no safetensors file that can be read ({damage})"
        raise refused(place, why, "Copy it again from where it was whole") from None
    for name, slot in slots.items():
        if slot.dtype not in FLOATS and name.endswith(".weight"):
            why = f"{name} is stored as {slot.dtype}, which is no ordinary number"
            raise refused(place, why, f"Write weights of {', '.join(FLOATS)}")
    return slots


def parse(place: Path, path: Path) -> dict[str, Any]:
    """Read a JSON file that a stranger wrote."""
    try:
        return parse_json(path.name, read_some(path, JSON_LIMIT))
    except OSError as error:
        raise refused(
            place, f"{path.name}: {error.strerror}", "Write a folder that has it"
        ) from None
    except Damage as damage:
        if damage.reason == "missing":
            why = f"{path.name}, which says how these weights are used, is not there"
            raise refused(place, why, "Write a folder that has it") from None
        raise refused(place, f"{damage}", "Copy it again from where it was whole") from None


def read_some(path: Path, most: int) -> bytes:
    """Read a small file that a stranger wrote."""
    with open_file(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise Damage(path.name, f"over {most} bytes")
    return data


def pickled(path: Path) -> bool:
    """Say whether a file is a pickle, by its first bytes or by its name."""
    with open_file(path) as file:
        first = file.read(9)
    if first[8:] == b"{" and int.from_bytes(first[:8], "little") <= HEADER_LIMIT:
        return path.suffix.lower() in PICKLES  # the length of a header may look like a protocol
    archive = first[:4] == b"PK\x03\x04"  # as torch.save writes since 1.6
    protocol = len(first) > 1 and first[0] == 0x80 and 2 <= first[1] <= 5
    return archive or protocol or path.suffix.lower() in PICKLES


def open_file(path: Path) -> Any:
    """Open a file, through a link as well."""
    return os.fdopen(open_regular(path.resolve()), "rb")


def combined(files: Sequence[Path]) -> str:
    """Hash all files; of several, hash their hashes."""
    hashes = [digest(path)[1] for path in files]
    whole = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return hashes[0] if len(hashes) == 1 else whole


def pickle(path: Path) -> UsageError:
    """Refuse a pickle, and show how its owner turns it into what is read."""
    made = path.with_suffix(".safetensors").name if path.is_file() else "model.safetensors"
    convert = (
        "import torch; from safetensors.torch import save_file; "
        f'held = torch.load("{path.name}", map_location="cpu", weights_only=True); '
        f'save_file({{k: v.clone() for k, v in held.get("model", held).items()}}, "{made}")'
    )
    return refused(
        path,
        "surefoot never unpickles: a pickle is a program",
        f"Convert it where you trust it, to safetensors: python -c '{convert}'",
    )


def refused(place: Path, why: str, instead: str) -> UsageError:
    """Say why nothing can begin from there."""
    return UsageError(Problem(OPTION, str(place), why, instead))
