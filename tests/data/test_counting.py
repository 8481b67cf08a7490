"""What counting would predict: right for chains that are known, and honest where text is short."""

import numpy as np
import pytest

from surefoot.data.counting import bigram_entropy, unigram_entropy


def chain(steps: int, seed: int = 0, size: int = 30) -> tuple[np.ndarray, float]:
    """Draw from a Markov chain; give it and its true entropy."""
    draw = np.random.default_rng(seed)
    table = draw.dirichlet(np.full(size, 0.3), size=size)
    edges, state, found = table.cumsum(axis=1), 0, np.empty(steps, dtype=np.uint16)
    for i, u in enumerate(draw.random(steps)):
        state = min(size - 1, int(np.searchsorted(edges[state], u)))
        found[i] = state
    shares = np.linalg.matrix_power(table, 200)[0]
    logs = np.log(table, where=table > 0, out=np.zeros_like(table))
    return found, float(-(shares[:, None] * table * logs).sum())


def test_pairs_of_a_known_chain_give_its_entropy_and_never_less() -> None:
    drawn, true = chain(60_000)
    assert bigram_entropy(drawn) == pytest.approx(true, abs=0.02)
    for count in (300, 1000, 5000):  # a short text must not look easier than it is
        assert bigram_entropy(drawn[:count]) > true - 0.05


def test_random_tokens_have_nothing_in_their_pairs() -> None:
    drawn = np.random.default_rng(1).integers(0, 4096, 50_000)
    assert bigram_entropy(drawn) == pytest.approx(np.log(4096), abs=0.1)
    assert bigram_entropy(np.zeros(1, dtype=np.uint16)) == 0.0
    assert bigram_entropy(np.zeros(999, dtype=np.uint16)) == pytest.approx(0.0)


def test_tokens_are_counted_up_to_so_many() -> None:
    even = np.arange(4, dtype=np.uint16)
    assert unigram_entropy([even, even], 9, 100) == pytest.approx(np.log(4))
    assert unigram_entropy([even, np.zeros(400, dtype=np.uint16)], 4, 4) == pytest.approx(np.log(4))


def test_a_dataset_tells_both(desk) -> None:
    desk.articles(60)
    data = desk.dataset({"kind": "text", "path": "texts"})
    assert 0 < data.pair_entropy < data.entropy < np.log(256)
