"""The slope of a noisy line, and how sure one can be of it, from a few dozen block medians."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from surefoot.guard.robust import detrended, median

ONE_SIDED = 1.7  # Student's t at 95% for 20 to 40 degrees of freedom
PARTS = 4  # of a series that is asked whether it goes on as it began


@dataclass(frozen=True, slots=True)
class Trend:
    """How much a series changes from one value to the next."""

    slope: float
    error: float  # standard error, widened for values that know of each other

    @property
    def low(self) -> float:
        """Give the slope's lower bound, 95%."""
        return self.slope - ONE_SIDED * self.error

    @property
    def high(self) -> float:
        """Give the slope's upper bound, 95%."""
        return self.slope + ONE_SIDED * self.error


def trend(values: Sequence[float]) -> Trend:
    """Fit a line by least squares.

    se = sqrt(SSE/(n-2)/Sxx) sqrt((1+rho)/(1-rho)), rho = lag-1 autocorrelation in 0 to .9: what
    wanders without going anywhere (another program's load) would else look like a trend.
    """
    count = len(values)
    assert count > 2, "a line through two points has no error"
    middle, sxx = (count - 1) / 2, count * (count * count - 1) / 12
    slope = sum([(i - middle) * v for i, v in enumerate(values)]) / sxx
    rest = detrended(values)
    power = sum([r * r for r in rest])
    if power <= 0:
        return Trend(slope, 0.0)
    rho = sum([a * b for a, b in itertools.pairwise(rest)]) / power
    # what is left of a line that was fitted looks less alike than it is, by (2 + 4 rho)/n
    rho = min(0.9, max(0.0, rho + (2 + 4 * rho) / count))
    error = math.sqrt(power / (count - 2) / sxx) * math.sqrt((1 + rho) / (1 - rho))
    return Trend(slope, error)


def steady(values: Sequence[float], least: float) -> bool:
    """Say whether a series goes one way all along: no stair, and nothing that comes to rest.

    Of the changes between the medians of its quarters each is at least `least` of their mean.
    """
    size = len(values) // PARTS
    levels = [median(values[i * size : (i + 1) * size]) for i in range(PARTS)]
    mean = (levels[-1] - levels[0]) / (PARTS - 1)
    if mean == 0:
        return False
    return min([(b - a) / mean for a, b in itertools.pairwise(levels)]) >= least
