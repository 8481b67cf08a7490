"""Numbers as people read them: counts, seconds, sizes in GiB, always with a unit."""

import math


def count(number: float) -> str:
    """Write a count in three digits: 7.9k, 1.16M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            return f"{three(number / size)}{letter}"
    return f"{number:.0f}"


def three(number: float) -> str:
    """Write a number below 1000 with three significant digits, or fewer if they are zeros."""
    size = 0 if abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2
    text = f"{number:.{size}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def figure(number: float | None, digits: int = 4) -> str:
    """Write a loss; what is not finite is a word."""
    if number is None:
        return "-"
    if not math.isfinite(number):
        return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    return f"{number:.{digits}f}"


def clock(seconds: float) -> str:
    """Write a time that is left: 1:26, or 2:03:09."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def duration(seconds: float) -> str:
    """Write a time in words: 45 s, 1 min 58 s, 3 h 20 min, 2 days 4 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for name, size, inner, small in (
        ("days", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size * (2 if name == "days" else 1):
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {inner}" if rest else "")
    return f"{whole} s"


def gib(mib: float | None) -> str:
    """Write an amount of memory that is given in MiB as GiB."""
    return "-" if mib is None else f"{mib / 1024:.2f} GiB"
