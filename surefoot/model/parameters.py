"""How a module declares its parameters: the role of each, and how its first values are drawn."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surefoot.errors import Problem, RecipeError
from surefoot.model.by_hand import EPS, normed
from surefoot.randomness import fnv1a64, key

ROLES = ("matrix", "embedding", "value_embedding", "head", "table", "filter", "scalar")


@dataclass(frozen=True, slots=True)
class Declared:
    """One parameter: its role, its first values N(mean, std²), and its parts, if several."""

    role: str
    mean: float = 0.0
    std: float = 0.0
    values: tuple[float, ...] | None = None  # given outright, broadcast along the leading axes
    split: tuple[int, ...] | None = None  # row counts of maps stored as one tensor


def parameter(module: nn.Module, name: str, shape: Sequence[int], declared: Declared) -> None:
    """Give a module a parameter; its values stay undefined until `initialise` draws them."""
    module.register_parameter(name, nn.Parameter(torch.empty(*shape)))
    module.__dict__.setdefault("declared", {})[name] = declared


def declarations(model: nn.Module) -> dict[str, Declared]:
    """Map each parameter's full name to what its module declared; none may lack a role."""
    found: dict[str, Declared] = {}
    owners: dict[int, str] = {}
    for prefix, module in model.named_modules():
        for name, tensor in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            if id(tensor) in owners:
                continue  # tied: it belongs to the module that came first
            owners[id(tensor)] = full
            declared = module.__dict__.get("declared", {}).get(name)
            if declared is None or declared.role not in ROLES:
                role = "none" if declared is None else declared.role
                raise RecipeError(
                    Problem(
                        what=full,
                        value=f"role {role}",
                        why=f"{type(module).__name__} made this parameter without a known role",
                        instead=f"Declare one of {', '.join(ROLES)} where it is made "
                        "(surefoot.model.parameters.parameter)",
                    )
                )
            found[full] = declared
    return found


Draw = Callable[[Tensor, Declared, int], None]


def initialise(model: nn.Module, seed: int, drawn: Draw | None = None) -> None:
    """Draw every parameter's first values, each from a generator of its own name."""
    tensors = dict(model.named_parameters())
    for name, declared in declarations(model).items():
        (drawn or draw)(tensors[name], declared, key(seed, "init", fnv1a64(name), 0))
    reset_buffers(model)


def reset_buffers(model: nn.Module) -> None:
    """Fill what modules keep beside their parameters, where any does."""
    for module in model.modules():
        if hasattr(module, "reset_buffers"):
            module.reset_buffers()  # pyright: ignore[reportCallIssue]


@torch.no_grad()
def draw(tensor: Tensor, declared: Declared, seed: int) -> None:
    """Fill one tensor with its declared first values."""
    if declared.values is not None:
        tensor.copy_(torch.tensor(declared.values).expand_as(tensor))
    elif declared.std == 0.0:
        tensor.fill_(declared.mean)
    else:
        source = torch.Generator().manual_seed(seed & (2**63 - 1))
        values = torch.empty(tensor.shape).normal_(declared.mean, declared.std, generator=source)
        tensor.copy_(values)


class Linear(nn.Module):
    """A linear map between two hidden spaces, without bias; role matrix."""

    weight: Tensor

    def __init__(self, inputs: int, outputs: int, *, zero: bool = False, std: float = 0.0) -> None:
        super().__init__()
        spread = 0.0 if zero else (std or 1 / math.sqrt(inputs))
        parameter(self, "weight", (outputs, inputs), Declared("matrix", std=spread))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight)


class Norm(nn.Module):
    """Root-mean-square norm with a learned gain; computed in fp32 at least."""

    weight: Tensor

    def __init__(self, dim: int, eps: float = EPS) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps
        parameter(self, "weight", (dim,), Declared("scalar", mean=1.0))

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        return normed(x.to(wide), self.weight.to(wide), self.eps).to(x.dtype)
