"""The usual residual stream: each branch reads it and adds to it.

x <- x + f(norm(x)), x: [batch, time, dim]. A Stream joins one branch (a mixer or a feed-forward
part) to what flows past it; branches are numbered 0, 1, 2 ... up the stack.
"""

from torch import Tensor, nn

from surefoot.recipe.choice import Choice
from surefoot.recipe.facts import Facts, Shape


class Options(Choice):
    """The plain stream has nothing to choose."""

    kind: str = "plain"


class Stream(nn.Module):
    """One branch's joint with the stream."""

    def __init__(self, shape: Shape, options: Options, branch: int) -> None:
        super().__init__()

    def expand(self, x: Tensor) -> Tensor:
        """Make the stream of the embeddings, at the bottom."""
        return x

    def read(self, stream: Tensor) -> Tensor:
        """Give what the branch sees."""
        return stream

    def write(self, stream: Tensor, y: Tensor) -> Tensor:
        """Give the stream with the branch's output in it."""
        return stream + y

    def collapse(self, stream: Tensor) -> Tensor:
        """Give what the head sees, at the top."""
        return stream


def facts(shape: Shape, options: Options) -> Facts:
    """Count what one joint costs: the sum that it keeps for the norm after it."""
    return Facts(parameters={}, flops=float(shape.dim), activations=float(shape.dim))
