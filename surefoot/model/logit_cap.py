"""The logit cap: a smooth bound on logits, as a formula that autograd sees through.

tanh:      f = c tanh(z/c)              f' = 1 - (f/c)^2
rational:  f = c z / sqrt(z^2 + c^2)    f' = (1 - (f/c)^2)^(3/2)
"""

from torch import Tensor


def capped(logits: Tensor, cap: float, kind: str) -> Tensor:
    """Bound logits to (-cap, cap), slope 1 at 0; a cap of 0 leaves them as they are."""
    if not cap:
        return logits
    scaled = logits / cap
    if kind == "tanh":
        return cap * scaled.tanh()
    return cap * scaled * (scaled.square() + 1).rsqrt()


def cap_in_place(logits: Tensor, cap: float, kind: str) -> None:
    """Do the same to a tensor that nobody else reads."""
    logits.div_(cap)
    if kind == "tanh":
        logits.tanh_()
    else:
        logits.mul_((logits.square() + 1).rsqrt_())
    logits.mul_(cap)


def slope_in_place(values: Tensor, cap: float, kind: str) -> Tensor:
    """Turn capped values into the derivative of the cap there."""
    values.div_(cap).square_().neg_().add_(1).clamp_(min=0)  # rounding may pass the bound
    return values if kind == "tanh" else values.pow_(1.5)
