import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.data.windows import Windows, kept, merged, offset
from surefoot.errors import DataError

RANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=6)


@given(RANGES, st.integers(0, 150))
def test_the_pth_position_is_the_pth_that_is_not_skipped(ranges, p):
    lost = {i for a, b in ranges for i in range(a, b)}
    left = [i for i in range(400) if i not in lost]
    assert kept(p, ranges) == left[p]


def test_ranges_that_touch_are_joined():
    assert merged([(5, 9), (1, 3), (3, 5), (20, 20)]) == [(1, 9)]


def test_an_epoch_reads_each_window_once_and_windows_are_disjoint():
    windows = Windows(10_000, 64, seed=3, shuffled=True)
    n = windows.rows.n
    assert n == (10_000 - 64) // 64
    for epoch in (0, 1):
        starts = sorted(windows.starts(epoch * n, n, []).tolist())
        first = offset(3, epoch, 64)
        assert starts == [first + 64 * j for j in range(n)]
        assert starts[-1] + 64 < 10_000


def test_two_epochs_differ_in_order_and_in_cuts():
    windows = Windows(10_000, 64, seed=3, shuffled=True)
    n = windows.rows.n
    one, two = (windows.starts(e * n, n, []) for e in (0, 1))
    assert offset(3, 0, 64) != offset(3, 1, 64)
    assert (one // 64).tolist() != (two // 64).tolist()


def test_sequential_order_goes_through_the_text():
    starts = Windows(1000, 10, seed=0, shuffled=False).starts(0, 5, [])
    assert (starts[1:] - starts[:-1]).tolist() == [10] * 4


def test_text_shorter_than_a_row_is_refused_with_the_numbers():
    with pytest.raises(DataError) as found:
        Windows(100, 64, seed=0, shuffled=True)
    assert str(found.value) == (
        "train.seq_len = 64: the training text has 100 tokens, and one row with its offset needs"
        " 128. Write train.seq_len=50 or less, or a larger data.corpus"
    )
    assert Windows(128, 64, seed=0, shuffled=True).rows.n == 1
