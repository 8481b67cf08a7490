"""The feed-forward part of a layer: gated SiLU (swiglu) or squared ReLU (relu2), no biases.

swiglu (Shazeer, arXiv 2002.05202):   y = W_down( silu(W_gate x) * (W_up x) )
relu2 (So et al., arXiv 2109.08668):  y = W_down( relu(W_up x)^2 )
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from surefoot.model.by_hand import squared_relu
from surefoot.model.parameters import Linear
from surefoot.recipe.facts import Facts, Shape


def width(shape: Shape, options: Any) -> int:
    """Give the hidden width that a recipe asks for; 0 stands for the kind's own."""
    if options.width:
        return options.width
    if options.kind == "relu2":
        return 4 * shape.dim
    return -(-8 * shape.dim // (3 * 64)) * 64  # 8/3 dim costs what 4 dim does without the gate


class Ffn(nn.Module):
    """What each position thinks by itself; adds nothing at init, so a new layer is the identity."""

    def __init__(self, shape: Shape, options: Any) -> None:
        super().__init__()
        hidden = width(shape, options)
        self.gated = options.kind == "swiglu"
        if self.gated:
            self.gate = Linear(shape.dim, hidden)
        self.up = Linear(shape.dim, hidden)
        self.down = Linear(hidden, shape.dim, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.gated:
            return self.down(functional.silu(self.gate(x)) * self.up(x))
        return self.down(squared_relu(self.up(x)))


def facts(shape: Shape, options: Any) -> Facts:
    """Count what one layer's feed-forward part costs."""
    hidden = width(shape, options)
    maps = 3 if options.kind == "swiglu" else 2
    return Facts(
        parameters={"matrix": maps * shape.dim * hidden},
        flops=2.0 * maps * shape.dim * hidden,
        # swiglu keeps gate, silu(gate), up and their product; relu2 keeps the relu and its square
        activations=shape.dim + (4.0 if options.kind == "swiglu" else 2.0) * hidden,
    )
