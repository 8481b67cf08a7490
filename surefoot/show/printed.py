"""What is printed of texts that others wrote: control characters escaped, JSON strict."""

import json
import unicodedata
from typing import Any

from surefoot.records import written

# controls, formats such as the ones that turn the direction of text around, and half pairs
ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str, keep: str = "") -> str:
    r"""Escape what a terminal would obey or hide; "\n" and "\t" only where they are kept."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        sign if sign in keep or unicodedata.category(sign) not in ESCAPED else escape(sign)
        for sign in text
    )


def escape(sign: str) -> str:
    """Write one character as Python would in a text."""
    return sign.encode("unicode_escape", "surrogatepass").decode("ascii")


def document(**parts: Any) -> str:
    """Give the one JSON document that `--json` prints."""
    return json.dumps({"v": 1, **written(parts)}, allow_nan=False)


# each sign of ours that is not ASCII, for terminals that can't show it
PLAIN = str.maketrans(
    {"·": "|", "─": "-", "█": "#", "×": "x", "→": "->", "–": "-", "…": "...", "🚀": "raise"}
)


def in_ascii(text: str) -> str:
    """Write a line in ASCII alone."""
    return text.translate(PLAIN).encode("ascii", "backslashreplace").decode()
