"""Token files: nanoGPT's headerless uint16, or modded-nanogpt's with a header; read in place."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from surefoot.data.reading import matching, shown, unreadable
from surefoot.data.shards import Shard
from surefoot.errors import DataError, Problem
from surefoot.recipe.choice import Choice

MAGIC = 20240520
HEADER = 256 * 4  # bytes: 256 int32, of which three are used


class Options(Choice):
    """Which files, and what their ids mean."""

    kind: str = "bin"
    path: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]
    """A file, a folder, or patterns like data/train_*.bin"""
    vocab: Annotated[int, Field(ge=1, le=65_536)] = 50_257
    """Ids are below this; 50257 is GPT-2's"""
    eos_id: Annotated[int, Field(ge=0)] | None = None
    """The id that ends a document"""
    bos_id: Annotated[int, Field(ge=0)] | None = None
    """The id that begins a document"""


def files(options: Options, where: Path) -> list[Path]:
    """List the files, sorted."""
    return matching(options.path, where)


def tokens(options: Options, where: Path) -> list[Shard]:
    """Give where the tokens stand in each file."""
    return [shard(path, shown(path, where)) for path in files(options, where)]


def shard(path: Path, name: str) -> Shard:
    """Tell a file's format by its first bytes, and check its size against it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEADER)
    except OSError as error:
        raise unreadable(name, error) from None
    if head[:4] != MAGIC.to_bytes(4, "little"):
        if size % 2:
            raise DataError(damaged(name, f"{size:,} bytes are no whole number of uint16 tokens"))
        return Shard(path, name, 0, size // 2)
    version = int.from_bytes(head[4:8], "little")
    count = int.from_bytes(head[8:12], "little")
    if version != 1:
        raise DataError(damaged(name, f"its header says version {version}, and only 1 is known"))
    if size != HEADER + 2 * count:
        raise DataError(
            damaged(
                name,
                f"its header says {count:,} tokens, which is {HEADER + 2 * count:,} bytes,"
                f" and it has {size:,}",
            )
        )
    return Shard(path, name, HEADER, count)


def damaged(name: str, why: str) -> Problem:
    """Say that a file is not what its name says."""
    return Problem(
        what=name,
        value="",
        why=why,
        instead="Fetch or make the file again, or leave it out of data.corpus.path",
    )
