"""CPU threads: how many are used."""

import torch


def set_threads(threads: int) -> int:
    """Use so many CPU threads, 0 = as they are; gives how many are used now."""
    if threads:
        torch.set_num_threads(threads)
    return torch.get_num_threads()
