import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from surefoot.data.shards import Shard
from surefoot.data.tokens import Piece, Tokens, parted
from surefoot.errors import DataError


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "some.bin"
    path.write_bytes(np.arange(1000, dtype="<u2").tobytes())
    return Shard(path, "some.bin", 0, 1000)


class Flaky(Piece):
    """A file on a disk that fails a few times."""

    def __init__(self, shard: Shard, number: int, failures: int) -> None:
        super().__init__(shard, 0)
        self.number, self.failures = number, failures

    def into(self, row, token):
        self.failures -= 1
        if self.failures >= 0:
            raise OSError(self.number, os.strerror(self.number))
        super().into(row, token)


def on(shard, number: int, failures: int) -> Tokens:
    tokens = Tokens([shard], pauses=(0, 0, 0))
    tokens.pieces = [Flaky(shard, number, failures)]
    return tokens


def test_a_passing_failure_is_tried_again_three_times(shard):
    assert on(shard, errno.EIO, 3).read(5, 3).tolist() == [5, 6, 7]
    with pytest.raises(DataError, match=r"some\.bin: it can't be read any more \(Input/output"):
        on(shard, errno.EIO, 4).read(5, 3)


def test_another_failure_is_told_at_once(shard):
    with pytest.raises(DataError, match="it can't be read any more") as found:
        on(shard, errno.EACCES, 1).read(0, 1)
    assert found.value.exit == 1


def test_a_short_read_is_an_error_with_its_place(shard):
    tokens = Tokens([shard])
    os.truncate(shard.path, 500)
    row = np.empty(100, dtype="<u2")
    with pytest.raises(DataError) as found:
        tokens.fill(row, 200)  # past the check that a whole batch makes first
    assert str(found.value) == (
        "some.bin: it ends at byte 500, where 100 more bytes of tokens should follow."
        " Put the file back as it was, then resume: surefoot train --resume last"
    )


def test_a_file_that_was_removed_is_named(shard):
    shard.path.unlink()
    with pytest.raises(DataError, match=r"some\.bin: it can't be opened"):
        Tokens([shard])


def test_files_of_two_widths_are_one_sequence(shard, tmp_path):
    wide = tmp_path / "wide.bin"
    wide.write_bytes(np.arange(70_000, 70_010, dtype="<u4").tobytes())
    tokens = Tokens([shard, Shard(wide, "wide.bin", 0, 10, 4)])
    assert tokens.read(998, 4).tolist() == [998, 999, 70_000, 70_001]
    assert sum(len(chunk) for chunk in tokens.chunks()) == len(tokens) == 1010


def test_a_cut_takes_each_token_to_one_side(shard):
    for at in (0, 1, 999, 1000, 1500, 2000):
        before, after = parted([shard, shard], at)
        found = [t for side in (before, after) for c in Tokens(side).chunks() for t in c.tolist()]
        assert found == [*range(1000), *range(1000)]
        assert sum(s.count for s in before) == at


def test_reading_options_of_data_needs_no_torch_and_no_numpy():
    program = (
        "import sys; sys.modules['torch'] = None; sys.modules['numpy'] = None\n"
        "from surefoot import kinds\n"
        "[kinds.find(k, n).Options for k in ('corpora', 'tokenizers') for n in kinds.own(k)]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
