"""Times one Muon update over a 12-layer, 384-wide model against torch.optim.Muon.

Goal: at least 3 times faster on a CPU, at the same orthogonality error or better. torch's computes
in bf16 everywhere: a CPU with matrix units for it (AMX) does that several times faster than fp32,
one without takes more than a minute for the update, so what the processor can do stands beside the
figures, ours in bf16 is timed only where that is sooner, and --quick takes one of the 12 layers.
"""

from typing import Any

import torch
from torch import Tensor, nn

from surefoot.learn.optimisers import muon
from surefoot.learn.orthogonal import orthogonalised
from surefoot.protocol import Paired, environment, paired

GOAL = 3.0
LAYERS, DIM = 12, 384
LR, MOMENTUM = 0.02, 0.95


def run(quick: bool = False, repeat: int = 1, **own: Any) -> dict[str, Any]:
    """Measure and give the rows."""
    threads = int(own.get("threads", torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return measured(quick, repeat, int(own.get("layers", 1 if quick else LAYERS)))
    finally:
        torch.set_num_threads(before)


def measured(quick: bool, repeat: int, layers: int = LAYERS) -> dict[str, Any]:
    """Time each precision against torch's, and judge what each makes of one matrix."""
    oracle, ours, bf16 = theirs(layers), optimiser("auto", layers), optimiser("bf16", layers)
    gemm, pairs = products(), 3 if quick else 9 * repeat
    told: dict[str, Paired] = {
        "update, as on a CPU": paired(
            lambda: ours.update(LR, MOMENTUM), oracle.step, 1, pairs, None if quick else GOAL
        )
    }
    if gemm["bf16_ms"] < gemm["fp32_ms"]:
        told["update, ns_precision = bf16"] = paired(
            lambda: bf16.update(LR, MOMENTUM), oracle.step, 1, pairs
        )
    goals = {"update, as on a CPU": GOAL}
    return {
        "name": "optimiser",
        "quick": quick,
        "settings": {
            **environment(),
            "layers": layers,
            "threads": torch.get_num_threads(),
            **units(),
        },
        "rows": [p.row(case, goals.get(case)) for case, p in told.items()],
        "orthogonality": errors(),
        "gemm": gemm,
        "samples": {case: p.raw() for case, p in told.items()},
    }


def shapes(layers: int) -> list[tuple[int, int]]:
    """Give every matrix of the model: q, k, v, o and the two of the feed-forward part."""
    layer = [(DIM, DIM)] * 4 + [(4 * DIM, DIM), (DIM, 4 * DIM)]
    return layer * layers


def weights(layers: int) -> dict[str, nn.Parameter]:
    """Draw weights and gradients, the same each time."""
    source = torch.Generator().manual_seed(0)
    held = {
        f"w{i}": nn.Parameter(torch.randn(shape, generator=source) / DIM**0.5)
        for i, shape in enumerate(shapes(layers))
    }
    for parameter in held.values():
        parameter.grad = torch.randn(parameter.shape, generator=source)
    return held


def theirs(layers: int) -> torch.optim.Muon:
    """Build torch's own Muon."""
    return torch.optim.Muon(weights(layers).values(), lr=LR, momentum=MOMENTUM, weight_decay=0.0)


def optimiser(precision: Any, layers: int) -> muon.Optimiser:
    """Build surefoot's Muon."""
    return muon.Optimiser(weights(layers), muon.Options(ns_precision=precision))


def errors() -> list[dict[str, Any]]:
    """Say how far singular values are from 1 on average, for each shape and arithmetic."""
    rows: list[dict[str, Any]] = []
    source = torch.Generator().manual_seed(1)
    for shape in dict.fromkeys(shapes(1)):
        gradient = torch.randn(shape, generator=source)
        row: dict[str, Any] = {"shape": list(shape), "torch": error(direction(gradient))}
        row["fp32"] = error(orthogonalised(gradient))
        row["bf16"] = error(orthogonalised(gradient, dtype=torch.bfloat16))
        rows.append(row)
    return rows


def direction(gradient: Tensor) -> Tensor:
    """Take what torch's Muon makes of a gradient from one step of it."""
    weight = nn.Parameter(torch.zeros_like(gradient))
    weight.grad = gradient.clone()
    torch.optim.Muon([weight], lr=1.0, weight_decay=0.0).step()
    rows, columns = gradient.shape
    return -weight.detach() / max(1.0, rows / columns) ** 0.5


def error(direction: Tensor) -> float:
    """Give the mean distance of the singular values from 1."""
    x = direction.double()
    gram = x @ x.mT if x.shape[0] <= x.shape[1] else x.mT @ x  # a tenth of the time of an SVD
    values = torch.linalg.eigvalsh(gram).clamp_min(0.0).sqrt()
    return float((values - 1.0).abs().mean())


def products() -> dict[str, float]:
    """Time one product of two 384-wide matrices in fp32 and bf16, in milliseconds."""
    x = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(2))
    low = x.bfloat16()
    told = paired(lambda: x @ x, lambda: low @ low, warmup=3, pairs=9).row("product")
    return {"fp32_ms": told["a"] * 1e3, "bf16_ms": told["b"] * 1e3}


def units() -> dict[str, bool]:
    """Say what the processor has for bf16."""
    return {
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx_bf16": torch.cpu._is_amx_tile_supported(),
    }
