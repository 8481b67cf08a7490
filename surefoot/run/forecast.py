"""Forecasts memory, disk and time by arithmetic, where nothing could be measured."""

from collections.abc import Mapping

from surefoot import kinds
from surefoot.model.facts import activation_elements, flops_per_token
from surefoot.plan.shape import shape
from surefoot.recipe.schema import Recipe
from surefoot.run.device import device_of

GIB = 2**30
JOURNAL_BYTES = 1200  # a step's line, at most
PEAK_FLOPS = {"cpu": 1e11, "cuda": 4e14, "mps": 5e12}
UTILISED = 0.3


def slot_bytes(recipe: Recipe, parameters: Mapping[str, int]) -> float:
    """Count the bytes of all optimiser state."""
    return sum(
        count * kinds.find("optimisers", recipe.optim[role].kind).slot_bytes(recipe.optim[role])
        for role, count in parameters.items()
    )


def mem_gib(recipe: Recipe, parameters: Mapping[str, int], base_mib: float) -> float:
    """Forecast the largest memory of a run on this process: weights, gradients, state, work."""
    train, sizes = recipe.train, shape(recipe)
    count = sum(parameters.values())
    on_gpu = device_of(train.device).type == "cuda"
    element = 2 if on_gpu and train.precision != "fp32" else 4
    fixed = 8 * count + (2 * count if element == 2 else 0) + slot_bytes(recipe, parameters)
    tokens = train.batch * train.seq_len
    kept = activation_elements(recipe.model, sizes) * tokens * element
    if train.grad_checkpointing:
        kept = kept / sizes.layers + tokens * sizes.dim * sizes.layers * element
    chunk = min(4 * tokens * sizes.vocab, 32 * 2**20) * 4
    # the largest moment of an update: one matrix of each shape, orthogonalised in fp32
    update = 4.0 * max(parameters.values()) / max(1, sizes.layers)
    base = 0.0 if on_gpu else base_mib * 2**20
    return (base + 1.05 * (fixed + max(kept + chunk, update))) / GIB


def disk_gib(recipe: Recipe, parameters: Mapping[str, int]) -> float:
    """Forecast the run folder: checkpoints that are kept at once, and the journal."""
    train, save = recipe.train, recipe.save
    checkpoint = 4 * sum(parameters.values()) + slot_bytes(recipe, parameters) + 2 * 65536
    made = (train.steps // save.every if save.every else 0) + 3
    kept = made if save.keep == "all" else min(made, save.keep + 4 + len(save.milestones))
    return (kept * checkpoint + train.steps * (JOURNAL_BYTES + 400)) / GIB


def roofline_s(recipe: Recipe, parameters: Mapping[str, int]) -> float:
    """Forecast the time from the work alone, at 30% of what such a device can do."""
    del parameters
    train = recipe.train
    tokens = train.steps * train.batch * train.accumulate * train.seq_len
    peak = PEAK_FLOPS[device_of(train.device).type]
    more = 4 / 3 if train.grad_checkpointing else 1.0
    return more * tokens * flops_per_token(recipe.model, shape(recipe)) / (peak * UTILISED)
