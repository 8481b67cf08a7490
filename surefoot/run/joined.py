"""Joins the ranks that were started together, and parts them again."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from surefoot.errors import RunError
from surefoot.learn.ranks import Ranks
from surefoot.run.launched import Place, one_each


@contextmanager
def joined(place: Place, device: str) -> Iterator[Ranks]:
    """Be one of all ranks; when the first one leaves, however it does, the others hear it."""
    one_each(place, device, torch.cuda.device_count())
    ranks = Ranks(place.rank, place.world, place.local_rank, place.start)
    ranks.meet()
    try:
        yield ranks
    finally:
        if place.rank == 0:
            with suppress(RunError):  # whoever is gone needs no goodbye
                ranks.say({"do": "end"})
        ranks.part()
