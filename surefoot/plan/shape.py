"""The sizes that a recipe gives its model, with the most that each knob can become."""

from surefoot.plan.plan import Plan
from surefoot.recipe.checks import references
from surefoot.recipe.facts import Shape
from surefoot.recipe.schema import Recipe


def shape(recipe: Recipe) -> Shape:
    """Give the shape of a recipe's model."""
    model, plan = recipe.model, Plan(recipe)
    return Shape(
        dim=model.dim,
        layers=model.layers,
        heads=model.heads,
        kv_heads=model.kv_heads or model.heads,
        vocab=model.vocab,
        seq_len=recipe.train.seq_len,
        reach={knob: plan.most(knob) for _, knob in references(recipe)},
        value_embeddings=model.value_embeddings,
        attention=model.attention,
        norm_eps=model.norm_eps,
    )


def with_vocab(recipe: Recipe) -> Recipe:
    """Give a recipe that left its vocabulary to the tokenizer one that needs no corpus to count."""
    if recipe.model.vocab:
        return recipe
    told = getattr(recipe.data.tokenizer, "vocab", 256)
    model = recipe.model.model_copy(update={"vocab": -(-told // 64) * 64})
    return recipe.model_copy(update={"model": model})
