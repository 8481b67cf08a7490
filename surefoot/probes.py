"""Quick looks at a model in training, for any loop: layers, logits, losses (seed 000's checks).

The rules are 000's own: what it wrote, as it wrote it. The monitors `dead_layer`,
`logit_saturation` and `early_oscillation` are what became of them: they know of noise, of falling
curves and of layers that begin at zero.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from surefoot.errors import Problem, UsageError, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

DEAD = 1e-6  # of a layer's gradient norm
CAPPED = 28.0  # of logits whose cap is 30
SWING = 0.3  # nats
EARLY = 400  # steps


def due(step: int, every: int = 10) -> bool:
    """Say whether a step is one to look at: the first, and each tenth."""
    return step == 1 or step % every == 0


def per_layer_grad_norms(
    model: "nn.Module", layers: Iterable[int | str] | None = None
) -> dict[str, float]:
    """Give the norm of each layer's gradient, after backward() and before it is dropped.

    A layer is an entry of a numbered list of modules (`layers.0`, `transformer.h.3`); `layers`
    picks some by number, and any module by its name. A parameter without a gradient counts as 0.
    The device is waited for once.
    """
    from surefoot.learn.foreach import norms

    groups = {name: parameters_of(model, name) for name in picked(model, layers)}
    if all(parameter.grad is None for parameter in model.parameters()):
        why = "no parameter has a gradient"
        instead = "Call it after backward(), before the optimiser's zero_grad()"
        raise UsageError(Problem("per_layer_grad_norms", "", why, instead))
    gradients = [p.grad for group in groups.values() for p in group if p.grad is not None]
    dense = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    told = iter(norms(dense).tolist() if dense else ())
    return {
        name: math.sqrt(sum(next(told) ** 2 for p in group if p.grad is not None))
        for name, group in groups.items()
    }


def parameters_of(model: "nn.Module", name: str) -> "list[nn.Parameter]":
    """Give the parameters of a module by its name."""
    return list(model.get_submodule(name).parameters())


def picked(model: "nn.Module", layers: Iterable[int | str] | None) -> list[str]:
    """Name the modules that are meant; all layers, where nobody says which."""
    there = layers_of(model)
    modules = [name for name, _ in model.named_modules() if name]
    if layers is None and there:
        return there
    if layers is None:
        best = modules[:1] or ["name of a module"]
        why = "the model has no list of layers"
        raise UsageError(Problem("layers", "", why, f'Write layers=["{best[0]}"]'))
    found: list[str] = []
    for wanted in layers:
        if isinstance(wanted, int) and 0 <= wanted < len(there):
            found.append(there[wanted])
        elif wanted in modules:
            found.append(str(wanted))
        else:
            best = nearest(str(wanted), modules) or there[-1:] or modules[:1] or [""]
            why = f"the model has no such module, and {len(there)} numbered layers"
            raise UsageError(Problem("layers", str(wanted), why, f'Write layers=["{best[0]}"]'))
    return found


def layers_of(model: "nn.Module") -> list[str]:
    """Name the layers: the entries of the lists of modules that lie in no other list."""
    from torch import nn

    for kind in (nn.ModuleList, nn.Sequential):
        paths = [name for name, module in model.named_modules() if isinstance(module, kind)]
        outer = [path for path in paths if not any(inside(path, other) for other in paths)]
        found = [
            f"{path}.{number}" if path else number
            for path in outer
            for number, _ in model.get_submodule(path).named_children()
        ]
        if found:
            return [name for name in found if parameters_of(model, name)]
    return []


def inside(path: str, other: str) -> bool:
    """Say whether a module lies in another."""
    return path != other and (not other or path.startswith(f"{other}."))


def saturated_share(logits: "Tensor", limit: float = CAPPED) -> float:
    """Give the share of positions whose largest logit is beyond a limit, one way or the other."""
    return float((logits.detach().abs().amax(dim=-1) > limit).double().mean())


def quick_checks(
    step: int,
    losses: Sequence[float] = (),
    model: "nn.Module | None" = None,
    logits: "Tensor | None" = None,
    layers: Iterable[int | str] | None = None,
    every: int = 10,
) -> list[str]:
    """Do 000's three checks as it wrote them, on the steps that are due; a warning a sentence.

    On any other step nothing is touched, and the device isn't waited for.
    """
    if not due(step, every):
        return []
    told: list[str] = []
    if losses and step < EARLY and max(losses) - min(losses) > SWING:
        swing = max(losses) - min(losses)
        told.append(f"loss spikes: {swing:.2f} nats between highest and lowest; consider a lower "
                    "matrix lr")  # fmt: skip
    if model is not None and (dead := dead_layers(per_layer_grad_norms(model, layers))):
        told.append(f"dead layers: {', '.join(dead)} (gradient norm below {DEAD:g})")
    if logits is not None and (share := saturated_share(logits)):
        told.append(f"logits near their cap: {share:.1%} of positions beyond {CAPPED:g}; lower "
                    "the head's lr")  # fmt: skip
    return told


def dead_layers(norms: Mapping[str, float]) -> list[str]:
    """Name the layers whose gradient is next to nothing."""
    return [name for name, norm in norms.items() if norm < DEAD]
