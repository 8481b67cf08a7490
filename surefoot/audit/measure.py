"""What a probe measured, and when that is a leak."""

from dataclasses import dataclass

PASS = {"float64": 1e-9, "float32": 1e-4}
UNSURE = 100.0  # up to so many times the tolerance nobody can tell a leak from rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One probe under one condition."""

    probe: str
    value: float = 0.0  # relative to the largest output, or the largest gradient of the past
    ahead: int = 0  # tokens, at least
    first: int = -1  # the earliest position that was seen to look ahead
    choices: tuple[str, ...] = ()  # recorded choices that changed
    condition: str = ""
    seconds: float = 0.0
    dtype: str = "float64"
    tolerance: float | None = None  # of probes whose numbers are no shares
    failed: str = ""  # why it could not be run
    skipped: str = ""  # why it was not run
    said: str = ""  # what was found, where a number doesn't say it
    drawn: tuple[str, ...] = ()  # a map, line by line

    @property
    def verdict(self) -> str:
        """Say clean, leak, inconclusive, failed or skipped."""
        if self.failed or self.skipped:
            return "failed" if self.failed else "skipped"
        limit = PASS[self.dtype] if self.tolerance is None else self.tolerance
        sure = limit if self.tolerance is not None else UNSURE * limit
        if self.choices or not self.value <= sure:  # a NaN is no pass
            return "leak"
        return "clean" if self.value <= limit else "inconclusive"

    @property
    def leaks(self) -> bool:
        """Say whether this is no pass."""
        return self.verdict in ("leak", "inconclusive")
