"""A Shard: a stretch of tokens in a file of somebody else's making."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Shard:
    """Where tokens stand in a file, little-endian."""

    path: Path
    name: str  # for messages
    offset: int  # bytes before the first token
    count: int  # tokens
    width: int = 2  # bytes of a token
