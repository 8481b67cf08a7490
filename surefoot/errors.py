"""The few errors a user can meet; each says what, value, why, and what to write instead."""

from collections.abc import Iterable
from dataclasses import dataclass

LONGEST = 100  # characters of a word that may be a name mistyped


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in the four parts that a person needs to mend it."""

    what: str  # the dotted key, option or file
    value: str  # as it was written; "" where there is none
    why: str  # a clause without a full stop
    instead: str  # a sentence with a literal to paste: 'Write model.heads=4'
    where: str = ""  # "recipe.toml:6"

    def __str__(self) -> str:
        what, value, why = short(self.what), short(self.value), short(self.why, 2000)
        shown = f"{what} = {value}" if value else what
        front = f"{self.where}  " if self.where else ""
        return f"{front}{shown}: {why}. {self.instead}"


def short(text: str, most: int = 300) -> str:
    """Cut the middle out of a text that a stranger made long, so that a sentence stays one."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 4 :]}"


class SurefootError(Exception):
    """A mistake or a mishap that a person can mend; never shown with a traceback."""

    exit = 1

    def __init__(self, *problems: Problem, exit: int | None = None) -> None:  # noqa: A002 (it is one)
        self.problems = problems
        if exit is not None:
            self.exit = exit
        super().__init__("\n".join(str(problem) for problem in problems))


class UsageError(SurefootError):
    """A command line that can't be understood; nothing was started."""

    exit = 2


class RecipeError(SurefootError):
    """A recipe that can't be: all of its problems at once."""

    exit = 2


class DataError(SurefootError):
    """A corpus, tokenizer or text that can't be read or doesn't fit."""

    exit = 2


class ShelfError(SurefootError):
    """A checkpoint that is damaged, missing, or of another model."""

    exit = 3


class DeviceError(SurefootError):
    """A device that isn't there, is too small, or can't do what is asked."""

    exit = 2


class RunError(SurefootError):
    """A run folder that is held, foreign, or can't be written."""

    exit = 2


def nearest(word: str, choices: Iterable[str]) -> list[str]:
    """Name the choices that a mistyped word most likely meant, the best first."""
    from difflib import get_close_matches  # 5 ms, and only needed when something is wrong

    if len(word) > LONGEST:
        return []
    options = list(choices)
    close = get_close_matches(word, options, n=3, cutoff=0.6)
    tails = [o for o in options if o.rsplit(".", 1)[-1] == word.rsplit(".", 1)[-1]]
    return list(dict.fromkeys(close + tails))[:3]
