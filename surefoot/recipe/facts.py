"""What a part of a model declares about itself before it is built: parameters, work, memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that every part of a model is built from."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    seq_len: int
    reach: Mapping[str, float] = field(default_factory=dict[str, float])  # most a knob can become
    value_embeddings: int = 0
    attention: str = "auto"  # auto | fused | plain
    norm_eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.dim // self.heads


@dataclass(frozen=True, slots=True)
class Facts:
    """What one layer's part costs; all but the parameters are per token of the train graph."""

    parameters: Mapping[str, int]  # role -> count
    flops: float = 0.0  # forward multiply-adds times two, per token at seq_len
    activations: float = 0.0  # elements kept for the backward pass, per token
    state: float = 0.0  # elements of decoding state per row at seq_len
