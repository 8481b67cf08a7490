"""A model on its way to others: a folder that is there whole, or not at all."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.data.tokenizer import Tokenizer
from surefoot.recipe.schema import Recipe
from surefoot.shelf import tensors
from surefoot.shelf.disk import TMP, Disk
from surefoot.shelf.format import MODEL

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, README = "config.json", "README.md"


@dataclass(frozen=True)
class Made:
    """What a target is told of a model."""

    recipe: Recipe
    tokenizer: Tokenizer
    shapes: Mapping[str, tuple[int, ...]]


def write(folder: Path, files: Mapping[str, bytes], weights: "Mapping[str, Tensor]") -> None:
    """Write a folder beside its place, make it durable, and put it there by its name."""
    disk = Disk()
    tmp = folder.with_name(f"{TMP}{folder.name}-{secrets.token_hex(4)}")
    disk.mkdir(tmp)
    try:
        tensors.write(tmp / MODEL, weights, disk)
        for name, content in files.items():
            disk.write_file(tmp / name, content)
        disk.fsync_folder(tmp)
        disk.rename(tmp, folder)
        disk.fsync_folder(folder.parent)
    except OSError:
        disk.remove(tmp)
        raise


def as_json(content: Mapping[str, Any]) -> bytes:
    """Write JSON for people."""
    return (json.dumps(content, indent=2) + "\n").encode()
