"""CPU threads: how many are used."""

import torch


def set_threads(threads: int) -> None:
    """Use so many CPU threads, 0 = as they are."""
    if threads:
        torch.set_num_threads(threads)
