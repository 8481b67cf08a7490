"""Compares the recipe with the model that the weights to begin from were made with (001)."""

from collections.abc import Iterator, Sequence
from typing import Any

from surefoot.guard.ruling import final, found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "init_unfit": ("refuse!", "weights to begin from that were made for another shape", "001"),
    "init_differs": (
        "warn, note",
        "weights to begin from that were made with other options",
        "001",
    ),
}
# What tensors can't be used without; sizes of the feed-forward part included.
SHAPES = ("dim", "heads", "kv_heads", "vocab", "tied", "ffn.kind", "ffn.width")
BENT = ("attn_softcap", "logit_cap", "logit_cap_kind")  # next to nothing far inside the bound


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Name every key in which they differ, with what would fit."""
    unlike = situation.begun_unlike
    if not unlike:
        return
    unfit = [one for one in unlike if one[0].removeprefix("model.") in SHAPES]
    told = unfit or unlike
    listed = "; ".join(f"{key} {there} there, {here} here" for key, there, here in told)
    instead = f"Write {literals(recipe, unlike)}"
    what, place = "--init-from", situation.begun_from
    if unfit:
        why = f"these weights are of another shape: {listed}"
        yield final(found("init_unfit", "refuse", what, place, why, instead))
        return
    slight = all(key.rsplit(".", 1)[-1] in BENT for key, _, _ in unlike)
    why = f"these weights were made with other options: {listed}"
    yield found("init_differs", "note" if slight else "warn", what, place, why, instead)


def literals(recipe: Recipe, unlike: Sequence[tuple[str, str, str]]) -> str:
    """Write what would fit, to be pasted behind the recipe's name."""
    parts = [f"{key}={there}" for key, there, _ in unlike]
    if ("model.tied", "false", "true") in unlike:  # the head's own rate, or it takes the default
        like: Any = recipe.optim["embedding"]
        parts += [f"optim.head.kind={like.kind}", f"optim.head.lr={like.lr}"]
    return " ".join(quoted(part) for part in parts)


def quoted(part: str) -> str:
    """Quote what a shell would take apart."""
    return f"'{part}'" if any(sign in part for sign in ' "{}') else part
