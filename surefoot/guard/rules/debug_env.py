"""Warns of a debugging environment that was left on for a whole run (004)."""

from collections.abc import Iterator

from surefoot.guard.ruling import found
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

BOOK = {
    "debug_env": (
        "warn",
        "verbose logging or forced flash-only attention in a run of over 100 steps",
        "004",
    )
}
PROBE = 100  # steps that 004 allows such a probe
# What is verbose at any value, and what only at some.
VERBOSE = ("TORCH_LOGS", "TORCHDYNAMO_VERBOSE", "TORCH_SHOW_CPP_STACKTRACES")
VALUES = {
    "NCCL_DEBUG": ("info", "trace"),
    "TORCH_DISTRIBUTED_DEBUG": ("info", "detail"),
    "CUDA_LAUNCH_BLOCKING": ("1",),
}


def judge(recipe: Recipe, situation: Situation) -> Iterator[Finding]:
    """Look for what slows every step."""
    if recipe.train.steps <= PROBE:
        return
    left = {name: value for name, value in situation.environment.items() if verbose(name, value)}
    if left:
        what, value = " ".join(left), next(iter(left.values()))
        why = f"it slows each of {recipe.train.steps} steps; 004 allows it for the first 100"
        yield found("debug_env", "warn", what, value, why, f"Write unset {what}")
    if situation.flash_only:
        why = "a shape that flash attention doesn't take would end the run (004: short probes only)"
        instead = "Write torch.backends.cuda.enable_math_sdp(True)"
        yield found("debug_env", "warn", "flash-only attention", "on", why, instead)


def verbose(name: str, value: str) -> bool:
    """Say whether a variable makes a run talk."""
    if name in VERBOSE:
        return value not in ("", "0")
    return value.lower() in VALUES.get(name, ())
