"""Holds the batch to what was stated, and to 000's way of one long row at a time."""

from collections.abc import Iterator

from surefoot.guard.ruling import found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "batch_product": (
        "refuse",
        "train.effective_batch is not batch x accumulate x ranks",
        "001",
    ),
    "batch_ladder": ("note", "more than one row at a time of 16,384 tokens or more", "000"),
}
LONG_ROW = 16384


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Multiply, and compare."""
    train = recipe.train
    rows = train.batch * train.accumulate * situation.world
    if train.effective_batch not in (None, rows):
        why = (
            f"batch x accumulate x ranks = {train.batch} x {train.accumulate} x {situation.world} "
            f"= {rows} (001)"
        )
        what, instead = "train.effective_batch", f"Write train.effective_batch={rows}"
        yield found("batch_product", "refuse", what, train.effective_batch, why, instead)
    if train.batch > 1 and train.seq_len >= LONG_ROW:
        why = (
            f"a row of {train.seq_len} tokens fills a GPU by itself; 000 kept one row and let the "
            "windows grow"
        )
        instead = f"Write train.batch=1 train.accumulate={train.accumulate * train.batch}"
        yield found("batch_ladder", "note", "train.batch", train.batch, why, instead)
