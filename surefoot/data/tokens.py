"""Tokens on disk, read in place: by position, never through a memory map."""

import errno
import os
import time
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot.data.shards import Shard
from surefoot.errors import DataError, Problem

PASSING = {errno.EIO, errno.ESTALE}  # a network disk's hiccups
PAUSES = (1.0, 9.0, 20.0)  # seconds before each new try
CHUNK = 1 << 20  # tokens read at once by a scan


class Piece:
    """One open file of tokens, and what it looked like when it was opened."""

    def __init__(self, shard: Shard, start: int) -> None:
        self.shard, self.start = shard, start  # start: the first token's place in the whole
        self.type = np.dtype(f"<u{shard.width}")
        try:
            self.file = os.open(shard.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise lost(shard, f"it can't be opened ({error.strerror})") from None
        self.close = weakref.finalize(self, os.close, self.file)  # also when nobody closes it
        self.seen = self.look()

    def look(self) -> tuple[int, int]:
        """Give what changes when somebody writes to the file."""
        found = os.fstat(self.file)
        return found.st_size, found.st_mtime_ns

    def unchanged(self) -> None:
        """Refuse to go on with a file that somebody has written to."""
        if (now := self.look()) != self.seen:
            raise lost(
                self.shard,
                f"it was changed while it was being read ({self.seen[0]:,} bytes, now {now[0]:,})",
            )

    def into(self, row: NDArray[Any], token: int) -> None:
        """Fill a row with the tokens from one on; fewer than were promised is an error."""
        view = row.data.cast("B")
        at = self.shard.offset + token * self.shard.width
        done = 0
        while done < len(view):
            got = os.preadv(self.file, [view[done:]], at + done)
            if got == 0:
                # a memory map would end the process here, without a word (SIGBUS)
                raise lost(
                    self.shard,
                    f"it ends at byte {at + done:,}, where {len(view) - done:,} more bytes"
                    " of tokens should follow",
                )
            done += got


class Tokens:
    """Tokens of one or more files, as one long sequence."""

    def __init__(self, shards: Sequence[Shard], pauses: Sequence[float] = PAUSES) -> None:
        self.pieces: list[Piece] = []
        self.pauses = pauses
        self.count = 0
        for shard in shards:
            self.pieces.append(Piece(shard, self.count))
            self.count += shard.count
        self.starts = [piece.start for piece in self.pieces]
        self.type = max((piece.type for piece in self.pieces), default=np.dtype("<u2"))

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, count: int) -> NDArray[Any]:
        """Give tokens from one on."""
        return self.rows([start], count)[0]

    def rows(self, starts: Sequence[int] | NDArray[np.int64], count: int) -> NDArray[Any]:
        """Give rows of so many tokens, each from its own start."""
        found = np.empty((len(starts), count), dtype=self.type)
        for piece in self.pieces:
            piece.unchanged()
        for row, start in zip(found, starts, strict=True):
            self.fill(row, int(start))
        return found

    def fill(self, row: NDArray[Any], start: int) -> None:
        """Fill one row, across files where it must."""
        assert 0 <= start <= self.count - len(row), f"tokens {start}+{len(row)} of {self.count}"
        number = bisect_right(self.starts, start) - 1
        done = 0
        while done < len(row):
            piece = self.pieces[number]
            first = start + done - piece.start
            wanted = min(len(row) - done, piece.shard.count - first)
            if wanted > 0:
                part = row[done : done + wanted]
                whole = part if piece.type == self.type else np.empty(wanted, piece.type)
                self.patiently(piece, whole, first)
                if whole is not part:
                    part[:] = whole
            done += max(wanted, 0)
            number += 1

    def patiently(self, piece: Piece, row: NDArray[Any], first: int) -> None:
        """Read, and try again where the disk may come back."""
        for pause in (*self.pauses, None):
            try:
                return piece.into(row, first)
            except OSError as error:
                if pause is None or error.errno not in PASSING:
                    why = f"it can't be read any more ({error.strerror})"
                    raise lost(piece.shard, why) from None
                time.sleep(pause)
        raise AssertionError("the last try either reads or raises")

    def chunks(self) -> Iterator[NDArray[Any]]:
        """Stream all of it."""
        for start in range(0, self.count, CHUNK):
            yield self.read(start, min(CHUNK, self.count - start))

    def close(self) -> None:
        """Let the files go."""
        for piece in self.pieces:
            piece.close()
        self.pieces = []


def parted(shards: Sequence[Shard], at: int) -> tuple[list[Shard], list[Shard]]:
    """Cut a sequence of shards in two after so many tokens."""
    before: list[Shard] = []
    after: list[Shard] = []
    for s in shards:
        head = min(s.count, max(0, at))
        if head:
            before.append(Shard(s.path, s.name, s.offset, head, s.width))
        if s.count > head:
            rest = s.offset + head * s.width
            after.append(Shard(s.path, s.name, rest, s.count - head, s.width))
        at -= s.count
    return before, after


def lost(shard: Shard, why: str) -> DataError:
    """Say that a file of tokens is not what it was."""
    return DataError(
        Problem(
            what=shard.name,
            value="",
            why=why,
            instead="Put the file back as it was, then resume: surefoot train --resume last",
        ),
        exit=1,
    )
