import numpy as np
import pytest

from surefoot import randomness
from surefoot.data.digest import batch_hash, fnv1a64


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 255, 256, 257, 4099])
def test_the_fast_hash_is_the_plain_one(n):
    raw = np.random.default_rng(n).integers(0, 256, n).astype(np.uint8)
    assert fnv1a64(raw) == randomness.fnv1a64(raw.tobytes())


def test_the_hash_of_known_text_is_the_published_one():
    assert fnv1a64(np.frombuffer(b"foobar", np.uint8)) == 0x85944171F73967E8


def test_one_changed_token_changes_a_batch_hash():
    tokens = np.arange(64, dtype=np.uint16).reshape(4, 16)
    other = tokens.copy()
    other[3, 15] += 1
    assert batch_hash(tokens) != batch_hash(other)
    assert len(batch_hash(tokens)) == 16
