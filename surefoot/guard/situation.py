"""What preflight knows beside the recipe: what was counted, measured and found."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a plan will cost; `source` says whether it was measured or computed."""

    parameters: Mapping[str, int]  # role -> count
    mem_gib: float
    mem_free_gib: float
    seconds: float
    seconds_low: float
    seconds_high: float
    disk_gib: float
    disk_free_gib: float
    tokens: int
    source: str  # "timed" or "roofline"

    @property
    def total(self) -> int:
        """Count all parameters."""
        return sum(self.parameters.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The facts that rules judge a recipe by; what was not measured is None."""

    device: str
    forecast: Forecast
    corpus_tokens: int | None = None
    lr_last: Mapping[str, float] | None = None  # used in the checkpoint's step
    lr_next: Mapping[str, float] | None = None  # planned for the step after it
    resumed_step: int = 0
    pre_decay_step: int | None = None  # kept on the shelf
    plan_changed: bool = False
    leaks: tuple[str, ...] | None = None  # what the audit's quick form found
    run: str = "RUN"
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
