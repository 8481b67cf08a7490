"""Forecasts memory, disk and time by arithmetic, where nothing could be measured."""

from collections.abc import Mapping
from typing import Any

import torch

from surefoot import kinds
from surefoot.guard.ruling import checkpoints
from surefoot.learn import orthogonal
from surefoot.model.facts import activation_elements, flops_per_token
from surefoot.model.model import Model
from surefoot.model.parameters import declarations
from surefoot.plan.shape import shape
from surefoot.recipe.schema import Recipe
from surefoot.run.device import kind_of

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


def state_gib(recipe: Recipe, parameters: Mapping[str, int]) -> float:
    """Forecast what a learner always holds: weights, gradients and optimiser state."""
    return (8 * sum(parameters.values()) + slot_bytes(recipe, parameters)) / GIB


def mem_gib(
    recipe: Recipe, parameters: Mapping[str, int], base_mib: float, shards: int = 1
) -> float:
    """Forecast the largest memory of a run on this process: weights, gradients, state, work."""
    train, sizes = recipe.train, shape(recipe)
    count = sum(parameters.values())
    on_gpu = kind_of(train.device) == "cuda"
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
    if recipe.save.background and not on_gpu:  # a save's copy of the state
        fixed += 4 * count + slot_bytes(recipe, parameters)
    if shards > 1:  # the first rank validates with a copy that is whole
        fixed = fixed / shards + 4 * count
    return (base + 1.05 * (fixed + max(kept + chunk, update))) / GIB


def batch_mem_gib(
    recipe: Recipe, parameters: Mapping[str, int], base_mib: float, shards: int = 1
) -> dict[int, float]:
    """Forecast the memory of each smaller micro-batch that gives the same rows a step."""
    train = recipe.train
    rows = train.batch * train.accumulate
    found: dict[int, float] = {}
    for batch in (n for n in range(1, train.batch) if rows % n == 0):
        less = train.model_copy(update={"batch": batch})
        smaller = recipe.model_copy(update={"train": less})
        found[batch] = round(mem_gib(smaller, parameters, base_mib, shards), 3)
    return found


def checkpoint_gib(recipe: Recipe, parameters: Mapping[str, int]) -> float:
    """Forecast one checkpoint: weights and optimiser state, and a header for each file."""
    return (4 * sum(parameters.values()) + slot_bytes(recipe, parameters) + 2 * 65536) / GIB


def disk_gib(recipe: Recipe, parameters: Mapping[str, int]) -> float:
    """Forecast the run folder: checkpoints that are kept at once, and the journal."""
    train = recipe.train
    checkpoint = checkpoint_gib(recipe, parameters) * GIB
    kept = checkpoints(recipe, recipe.save.keep)
    return (kept * checkpoint + train.steps * (JOURNAL_BYTES + 400)) / GIB


def roofline_s(recipe: Recipe, parameters: Mapping[str, int]) -> float:
    """Forecast the time from the work alone, at 30% of what such a device can do."""
    del parameters
    train = recipe.train
    tokens = train.steps * train.batch * train.accumulate * train.seq_len
    peak = PEAK_FLOPS[kind_of(train.device)]
    more = 4 / 3 if train.grad_checkpointing else 1.0
    return more * tokens * flops_per_token(recipe.model, shape(recipe)) / (peak * UTILISED)


def muon_share(recipe: Recipe) -> float | None:
    """Give the share of a step's work that Muon's orthogonalisation takes, by FLOPs."""
    options: Any = recipe.optim.get("matrix")
    if options is None or options.kind != "muon":
        return None
    sizes, train = shape(recipe), recipe.train
    with torch.device("meta"):
        model = Model(recipe.model, sizes)
    own = 0.0
    tensors = dict(model.named_parameters())
    for name, declared in declarations(model).items():
        if declared.role == "matrix":
            rows, columns = tensors[name].shape
            heights = declared.split or (rows,)
            own += sum(orthogonal.flops(h, columns, options.ns_steps) for h in heights)
    tokens = train.batch * train.accumulate * train.seq_len
    return own / (own + tokens * flops_per_token(recipe.model, sizes))
