"""Which document each target of a step comes from."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from surefoot.data.dataset import Dataset
from surefoot.data.windows import Range

NONE = -1  # of a target that only fills a row up


def origins(dataset: Dataset, step: int, skips: Iterable[Range] = ()) -> NDArray[np.int64]:
    """Number the document of each target, rows x time; all are 0 where no ends are known."""
    first, skips, time = (step - 1) * dataset.rows, list(skips), np.arange(1, dataset.seq_len + 1)
    if dataset.windows is not None:
        begins = dataset.windows.starts(first, dataset.rows, skips)
        places = begins[:, None] + time
        return numbered(dataset, places)
    assert dataset.documents is not None, "rows come from windows or from documents"
    spans = dataset.documents.spans(first, dataset.rows, skips)
    begins = np.array([begin for begin, _ in spans], dtype=np.int64)
    ends = np.array([end for _, end in spans], dtype=np.int64)
    places = begins[:, None] + time
    return np.where(places < ends[:, None], numbered(dataset, places), NONE)


def numbered(dataset: Dataset, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the number of the document that each token of the training text is in."""
    ends = dataset.train.ends
    return np.searchsorted(ends, places.astype(np.uint64), side="right").astype(np.int64)
