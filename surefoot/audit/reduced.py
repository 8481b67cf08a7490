"""A narrow copy of a recipe's model, with every kind of layer in it, for a quick look."""

from surefoot.recipe.schema import Recipe

WIDTH = 64
VOCAB = 64


def reduced(recipe: Recipe, width: int = WIDTH) -> Recipe:
    """Keep one layer of each letter in the pattern's order, at least two, and few narrow heads."""
    model = recipe.model
    letters = "".join(dict.fromkeys(model.pattern))
    layers = max(2, len(letters), 2 * model.value_embeddings)
    layers = min(layers, model.layers)
    groups = model.heads // (model.kv_heads or model.heads)
    kv_heads = 2 if (model.kv_heads or model.heads) > 1 else 1
    heads = kv_heads * groups
    own = model.dim // model.heads
    narrow = max(2, min(own, max(8, width // heads)) // 2 * 2)
    small = model.model_copy(
        update={
            "dim": heads * narrow,
            "layers": layers,
            "heads": heads,
            "kv_heads": kv_heads,
            "vocab": VOCAB,
            "pattern": (letters * layers)[:layers],
            "ffn": model.ffn.model_copy(update={"width": 0}),
        }
    )
    return recipe.model_copy(update={"model": small})
