"""What preflight knows beside the recipe: what was counted, measured and found."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a plan will cost; `source` says whether it was measured or computed."""

    parameters: Mapping[str, int]  # role -> count
    mem_gib: float
    mem_free_gib: float | None  # None for a device that isn't here
    seconds: float
    seconds_low: float
    seconds_high: float
    disk_gib: float
    disk_free_gib: float
    tokens: int
    source: str  # "timed" or "roofline"
    checkpoint_gib: float = 0.0
    batch_mem_gib: Mapping[int, float] = field(default_factory=dict[int, float])  # same rows a step
    muon_share: float | None = None  # of a step's work, by FLOPs

    @property
    def total(self) -> int:
        """Count all parameters."""
        return sum(self.parameters.values())

    @property
    def inner(self) -> int:
        """Count the parameters that are no table of tokens: what a model thinks with."""
        tables = ("embedding", "value_embedding", "head", "table")
        return sum(count for role, count in self.parameters.items() if role not in tables)

    @property
    def hours(self) -> float:
        """Give the time in hours."""
        return self.seconds / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The facts that rules judge a recipe by; what was not measured is None."""

    device: str  # cpu, cuda, cuda:1, mps: also one that isn't here and is only judged for
    forecast: Forecast
    here: bool = True  # whether the device is in this machine
    bf16: bool = True  # whether it has units for that arithmetic
    device_gib: float | None = None  # all of its memory
    fused_failed: str = ""  # why fused attention would fall back, where that was tried
    flash_only: bool = False  # every other attention kernel was switched off by hand
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    world: int = 1
    corpus_tokens: int | None = None
    val_tokens: int | None = None
    pin: str | None = None  # the hash that somebody gave
    sha: str = ""  # and the recipe's own
    lr_last: Mapping[str, float] | None = None  # used in the checkpoint's step
    lr_next: Mapping[str, float] | None = None  # planned for the step after it
    resumed_step: int = 0
    pre_decay_step: int | None = None  # kept on the shelf
    plan_changed: bool = False
    leaks: tuple[str, ...] | None = None  # what the audit's quick form found
    run: str = "RUN"
    begun_from: str = ""  # weights that a new run begins from
    # of these weights: key, what they were made with, what the recipe has
    begun_unlike: tuple[tuple[str, str, str], ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def on_gpu(self) -> bool:
        """Say whether the plan is for a GPU."""
        return not self.device.startswith("cpu")
