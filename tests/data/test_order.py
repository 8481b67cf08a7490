import time

import numpy as np
import pytest

from surefoot.data.order import BLOCK, Order, block, keys
from surefoot.randomness import mix


def test_mix_and_keys_are_those_of_the_published_vectors():
    assert mix(1) == 0x5692161D100B05E5
    assert keys(0, 0)[:2] == (0x87191E30026BC9E7, 0x6B4C3B21E9AD0010)


@pytest.mark.parametrize(
    ("n", "seed", "epoch", "first"),
    [
        (12, 7, 3, [9, 8, 6, 11, 0, 5, 1, 4, 10, 3, 2, 7]),
        (5000, 0, 0, [1653, 180, 3108, 3523]),
        (5000, 0, 1, [341, 898, 4261, 3115]),
        (1000003, 1234, 7, [411717, 618638, 378894, 17476]),
        (2**33 + 5, 42, 2, [2174036773, 1805398886, 4185423398, 4191741598]),
    ],
)
def test_orders_are_those_of_the_published_vectors(n, seed, epoch, first):
    order = Order(n, seed, epoch)
    assert [order.at(i) for i in range(len(first))] == first
    assert order.many(np.arange(len(first), dtype=np.uint64)).tolist() == first
    assert [order.when(j) for j in first] == list(range(len(first)))


def test_the_last_place_and_the_inverse_are_those_of_the_published_vectors():
    assert Order(5000, 0, 0).at(4999) == 1519
    assert Order(5000, 0, 0).when(0) == 2967


def permutes(n: int, seed: int = 3, epoch: int = 1) -> bool:
    rows = Order(n, seed, epoch).many(np.arange(n, dtype=np.uint64))
    return np.array_equal(np.sort(rows), np.arange(n, dtype=np.uint64))


def test_every_short_order_reads_each_row_once():
    assert all(permutes(n) for n in range(1, 300))


@pytest.mark.parametrize("n", [4095, 4096, 4097, 5000, 8191, 8192, 8193, 65537])
def test_orders_about_powers_of_two_read_each_row_once(n):
    assert permutes(n)
    order = Order(n, 9, 2)
    for j in (0, 1, n // 2, n - 1):
        assert order.at(order.when(j)) == j
        assert order.when(order.at(j)) == j


@pytest.mark.slow
def test_all_orders_up_to_two_thousand_and_larger_ones_are_inverted():
    for n in range(1, 2001):
        assert permutes(n, seed=n)
    for n in (4097, 9973, 16384, 100_003, 1_048_575, 1_048_577, 10_000_019):
        assert permutes(n)
        order = Order(n, 1, 0)
        assert all(order.when(order.at(i)) == i for i in range(0, n, max(1, n // 200)))


def test_one_by_one_and_in_bulk_give_the_same():
    order = Order(10_007, 5, 5)
    some = np.arange(0, 10_007, 97, dtype=np.uint64)
    assert order.many(some).tolist() == [order.at(int(i)) for i in some]
    assert block(10_007, 5, 5, 1)[:3].tolist() == [order.at(BLOCK + i) for i in range(3)]


def test_seeds_epochs_and_streams_give_different_orders():
    orders = {tuple(Order(50, s, e, t).at(i) for i in range(50)) for s, e, t in ABC}
    assert len(orders) == len(ABC)


ABC = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)]


def test_an_order_of_a_trillion_rows_costs_no_more_than_a_small_one():
    order = Order(2**40, 0, 0)
    start = time.perf_counter()
    rows = order.many(np.arange(10_000, dtype=np.uint64))
    assert time.perf_counter() - start < 0.5
    assert len(set(rows.tolist())) == 10_000


def counts_fit(counts: np.ndarray, expected: float) -> bool:
    df = len(counts) - 1
    chi2 = ((counts - expected) ** 2 / expected).sum()
    # Wilson-Hilferty: the cube root of chi2/df is nearly normal; 3.72 deviations are p = 1e-4
    z = ((chi2 / df) ** (1 / 3) - (1 - 2 / (9 * df))) / np.sqrt(2 / (9 * df))
    return bool(z < 3.72)


@pytest.mark.slow
def test_all_orders_of_five_are_equally_likely():
    seen: dict[tuple[int, ...], int] = {}
    for seed in range(20_000):
        drawn = tuple(Order(5, seed, 0).many(np.arange(5, dtype=np.uint64)).tolist())
        seen[drawn] = seen.get(drawn, 0) + 1
    assert len(seen) == 120
    assert counts_fit(np.array(list(seen.values())), 20_000 / 120)


@pytest.mark.slow
@pytest.mark.parametrize("n", [12, 37, 400, 5000, 100_000])
def test_first_rows_and_neighbours_are_uniform(n):
    pairs = np.array(
        [Order(n, s, 0).many(np.arange(2, dtype=np.uint64)).astype(np.int64) for s in range(20_000)]
    )
    bins = min(n, 100)
    first = np.bincount(pairs[:, 0] * bins // n, minlength=bins)
    share = np.bincount(np.arange(n) * bins // n, minlength=bins) / n
    assert counts_fit(first / share / bins, 20_000 / bins)
    gap = (pairs[:, 1] - pairs[:, 0]) % n - 1  # 0 .. n-2
    bins = min(n - 1, 100)
    share = np.bincount(np.arange(n - 1) * bins // (n - 1), minlength=bins) / (n - 1)
    assert counts_fit(
        np.bincount(gap * bins // (n - 1), minlength=bins) / share / bins, 20000 / bins
    )
