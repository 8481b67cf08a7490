"""Says when Muon's own work is a large share of a step: its cost doesn't shrink with the batch.

share = NS / (NS + forward and backward), by FLOPs: about 40 dim tokens a step hold it at a tenth.
003 took 2,048 tokens a step for 275M parameters: two thirds of its arithmetic was Muon's.
"""

import math
from collections.abc import Iterator

from surefoot.guard.ruling import found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "muon_small_batch": (
        "warn, note",
        "Muon takes over 10% (warn: 30%) of a step's work",
        "003",
    )
}
NOTED, WARNED = 0.10, 0.30


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Compare the orthogonalisation with the rest of a step."""
    share, train = situation.forecast.muon_share, recipe.train
    if share is None or share <= NOTED:
        return
    rows = (1 - NOTED) / NOTED * share / (1 - share) * train.accumulate
    tokens = train.batch * train.accumulate * train.seq_len
    why = (
        f"at {tokens:,} tokens a step Muon takes about {share:.0%} of the work, by FLOPs; more "
        "tokens share one update (003)"
    )
    severity = "warn" if share > WARNED else "note"
    instead = f"Write train.accumulate={math.ceil(rows)}"
    yield found("muon_small_batch", severity, "train.accumulate", train.accumulate, why, instead)
