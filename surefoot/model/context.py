"""What every mixer gets and must give: the Context of a forward pass, State, and the contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

Knob = float | Sequence[float]


@dataclass(frozen=True)
class Context:
    """One forward pass, as all layers see it."""

    tokens: Tensor  # [batch, time] the input ids
    positions: Tensor  # [batch, time] int64, restarting at 0 in each document
    doc: Tensor | None = None  # [batch, time] int64, non-decreasing; None = one document a row
    knobs: Mapping[str, Knob] = field(default_factory=dict)
    layer: int = 0
    trace: dict[str, Tensor] | None = None  # discrete choices are written here when it is there

    def at(self, layer: int) -> "Context":
        """Give the same pass as another layer sees it."""
        return replace(self, layer=layer)

    def knob(self, value: Any) -> float:
        """Read an option that is a number or `{knob = name}`; per-layer knobs give this layer's."""
        name = getattr(value, "knob", None)
        if name is None:
            return value
        found = self.knobs[name]
        return found[self.layer] if isinstance(found, Sequence) else found


@dataclass
class State:
    """What a mixer remembers while decoding: tensors with a leading batch axis, and the length."""

    length: int

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors by name."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in held.items() if isinstance(value, Tensor)}

    def nbytes(self) -> int:
        """Count the bytes held."""
        return sum(t.numel() * t.element_size() for t in self.tensors().values())

    def snapshot(self) -> Self:
        """Keep what is needed to come back here; caches that only grow override this."""
        copies: dict[str, Any] = {name: t.clone() for name, t in self.tensors().items()}
        return replace(self, **copies)

    def restore(self, kept: Self) -> Self:
        """Come back to a snapshot, which stays usable."""
        return kept.snapshot()


@runtime_checkable
class Mixer(Protocol):
    """A token mixer: one layer's way of reading other positions, in train, prefill and decode."""

    causal: bool

    def forward(self, x: Tensor, ctx: Context) -> Tensor: ...  # [batch, time, dim] -> same
    def start(
        self, batch: int, max_len: int, device: torch.device, dtype: torch.dtype
    ) -> State: ...
    def extend(self, x: Tensor, ctx: Context, state: Any) -> tuple[Tensor, Any]: ...


def stats(mixer: nn.Module) -> dict[str, float]:
    """Ask a mixer for its plain numbers, where it offers any."""
    told = getattr(mixer, "stats", None)
    return told() if told else {}


def fold(
    mixer: nn.Module, before: Mapping[str, Knob], after: Mapping[str, Knob]
) -> dict[str, Tensor]:
    """Ask a mixer for new parameter values at a knob's change, where it folds any."""
    told = getattr(mixer, "fold", None)
    return told(before, after) if told else {}
