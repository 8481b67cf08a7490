"""What a schedule is told about the run it belongs to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Planned updates of the run, and layers of the model."""

    steps: int
    layers: int = 1
