"""Ways from one value to another: a straight line, or stairs of equal height and length."""

import math
from collections.abc import Iterator

from surefoot.errors import Problem


def straight_or_stairs(
    update: int, ends: tuple[float, float], steps: float, height: float
) -> float:
    """Give the value on the way; with a height, in equal stairs that begin at the start."""
    start, end = ends
    if not height:
        return start + (end - start) * min(1.0, update / steps)
    count = round(abs(end - start) / height) + 1
    stair = min(count - 1, math.floor(count * update / steps))
    return start + math.copysign(height, end - start) * stair


def uneven(key: str, start: float, end: float, height: float) -> Iterator[Problem]:
    """Say so if stairs of this height don't lead from start to end."""
    if height and abs(end - start) % height:
        reached = start + math.copysign(abs(end - start) // height * height, end - start)
        yield Problem(
            what=f"{key}.end",
            value=f"{end:g}",
            why=f"stairs of {height:g} from {start:g} don't lead there",
            instead=f"Write {key}.end={reached:g}",
        )
