"""What a model costs, by arithmetic alone: parameters, work, activations, state of decoding."""

from collections import Counter
from typing import Any

from surefoot import kinds
from surefoot.model import ffn
from surefoot.model.model import letters, value_layers
from surefoot.recipe.facts import Facts, Shape

BACKWARD = 3.0  # a training step's work over that of its forward pass
VALUE_SCALARS = 2  # how much a layer takes of its own values, and of the table's


def layer_facts(recipe: Any, shape: Shape) -> list[Facts]:
    """Give what each layer's mixer costs, from the bottom up."""
    told = {
        letter: kinds.find("mixers", options.kind).facts(shape, options)
        for letter, options in recipe.mixers.items()
        if letter in recipe.pattern
    }
    return [told[letter] for letter in letters(recipe)]


def parts(recipe: Any, shape: Shape) -> list[Facts]:
    """Give the facts of every part of the model that its choices tell of."""
    joint = kinds.find("streams", recipe.stream.kind).facts(shape, recipe.stream)
    norm = Facts({"scalar": shape.dim}, flops=4.0 * shape.dim, activations=float(shape.dim))
    layer = [ffn.facts(shape, recipe.ffn), joint, joint, norm, norm]
    head = kinds.find("heads", recipe.head.kind).facts(shape, recipe.head, recipe.tied)
    mixed = [Facts({"scalar": VALUE_SCALARS})] * taking_values(recipe, shape)
    return [*layer_facts(recipe, shape), *layer * shape.layers, *mixed, head]


def taking_values(recipe: Any, shape: Shape) -> int:
    """Count the layers whose mixer takes token values and that are given a table of them."""
    kinds_used = [recipe.mixers[letter].kind for letter in letters(recipe)]
    given = [kinds_used[i] for i, _ in value_layers(shape)]
    return sum(hasattr(kinds.find("mixers", kind).Mixer, "attach_values") for kind in given)


def forecast_parameters(recipe: Any, shape: Shape) -> dict[str, int]:
    """Count the parameters of each role, as the built model has them."""
    width = shape.kv_heads * shape.head_dim
    total = Counter(
        embedding=shape.vocab * shape.dim,
        value_embedding=shape.value_embeddings * shape.vocab * width,
    )
    for part in parts(recipe, shape):
        total.update(part.parameters)
    return {role: count for role, count in total.items() if count}


def flops_per_token(recipe: Any, shape: Shape) -> float:
    """Count the work of training on one token, forward and backward."""
    return BACKWARD * sum(part.flops for part in parts(recipe, shape))


def activation_elements(recipe: Any, shape: Shape) -> float:
    """Count the elements kept for the backward pass, per token."""
    return sum(part.activations for part in parts(recipe, shape))


def layer_state(recipe: Any, shape: Shape) -> list[float]:
    """Count each layer's elements of decoding state, per row at seq_len."""
    return [told.state for told in layer_facts(recipe, shape)]
