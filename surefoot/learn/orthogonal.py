"""Newton-Schulz orthogonalisation of matrices, in the plain form and in the Gram form."""

import math
from typing import Literal

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Keller Jordan's: steepest at 0, so few steps do
GRAM_FROM = 1.5  # n/m above which 4m²n + 34m³ is less work than 20m²n + 10m³, by FLOPs and clock
TINY = 1e-7
Scale = Literal["spectral", "rms"]


def working_dtype(tensor: Tensor) -> torch.dtype:
    """Choose the arithmetic: bf16 on a GPU, fp32 on a CPU, fp64 where a test brings it."""
    if tensor.dtype == torch.float64:
        return torch.float64
    return torch.bfloat16 if tensor.device.type == "cuda" else torch.float32


def gram_wins(rows: int, columns: int) -> bool:
    """Say whether the Gram form is the cheaper one for a matrix of this shape."""
    return max(rows, columns) > GRAM_FROM * min(rows, columns)


def flops(rows: int, columns: int, steps: int = 5) -> float:
    """Count the multiply-adds, times two, of orthogonalising one matrix."""
    m, n = sorted((rows, columns))
    if gram_wins(rows, columns):
        return 4.0 * m * m * n + (8.0 * steps - 6.0) * m**3
    return steps * (4.0 * m * m * n + 2.0 * m**3)


def scale_of(rows: int, columns: int, scale: Scale) -> float:
    """Give the factor that makes one lr fit all shapes of [outputs, inputs]."""
    if scale == "rms":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


def orthogonalised(
    stack: Tensor, steps: int = 5, dtype: torch.dtype | None = None, form: str = "auto"
) -> Tensor:
    """Move all singular values of a matrix, or of each of a stack, to near 1."""
    rows, columns = stack.shape[-2:]
    work = dtype or working_dtype(stack)
    x = stack.mT if rows > columns else stack
    # one matrix goes as one: a CPU's batched product copies what is transposed
    x = x.reshape(x.shape[-2:] if x.shape[:-2].numel() == 1 else (-1, *x.shape[-2:])).to(work)
    # fp32: the sum of squares of a large matrix has more digits than bf16 holds
    norm = torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True, dtype=at_least_fp32(work))
    x = x / norm.clamp_min(TINY).to(work)
    # bf16 stays plain: its Gram form sent singular values of a 1/k spectrum to 10.8 without a
    # restart, and is 3 times less exact than the plain one with it
    gram = form == "gram" or (form == "auto" and gram_wins(rows, columns) and work.itemsize > 2)
    x = (gram_form if gram else plain_form)(x, steps)
    x = x.mT if rows > columns else x
    return x.reshape(stack.shape).to(stack.dtype)


def at_least_fp32(dtype: torch.dtype) -> torch.dtype:
    """Give the dtype that sums are taken in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def blend(old: Tensor, a: Tensor, b: Tensor, beta: float, alpha: float = 1.0) -> Tensor:
    """Give beta old + alpha ab, of matrices or of stacks of them."""
    into = torch.addmm if old.dim() == 2 else torch.baddbmm
    return into(old, a, b, beta=beta, alpha=alpha)


def plain_form(x: Tensor, steps: int) -> Tensor:
    """Iterate X <- aX + (bA + cA²)X with A = XXᵀ, for [m, n] or [stack, m, n] with m <= n."""
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        bent = blend(gram, gram, gram, beta=b, alpha=c)
        x = blend(x, bent, x, beta=a)
    return x


def gram_form(x: Tensor, steps: int) -> Tensor:
    """Iterate on R = XXᵀ alone, gather the factors in Q, give QX: equal, and less for wide X."""
    a, b, c = COEFFICIENTS
    r = x @ x.mT
    q: Tensor | None = None
    for step in range(steps):
        factor = blend(r, r, r, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        q = factor if q is None else q @ factor
        if step + 1 < steps:
            r = factor @ (r @ factor)
    assert q is not None, "at least one Newton-Schulz step"
    return q @ x
