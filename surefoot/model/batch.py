"""A Batch: what one optimiser step reads, a pure function of (seed, position)."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

IGNORED = -100  # a target that counts for nothing


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one step; targets[t] is the token after tokens[t], or IGNORED."""

    tokens: Tensor  # [rows, time] int64
    targets: Tensor  # [rows, time] int64
    doc: Tensor | None = None  # [rows, time] int64, only where documents are masked
    positions: Tensor | None = None  # [rows, time] int64; None = 0, 1, 2 ...
    position: int = 0  # of the first row in the data order
    hash: str = ""  # fnv1a64 of the tokens, 16 hex digits
    valid: int = 0  # targets that count, over all rows

    def micro(self, rows: int) -> Iterator["Batch"]:
        """Cut into micro-batches of so many rows, in order."""
        for start in range(0, self.tokens.shape[0], rows):
            part = slice(start, start + rows)
            yield Batch(
                tokens=self.tokens[part],
                targets=self.targets[part],
                doc=None if self.doc is None else self.doc[part],
                positions=None if self.positions is None else self.positions[part],
                position=self.position + start,
                hash=self.hash,
                valid=self.valid,
            )
