"""Characters: the sorted characters of the training text, one token each, after three specials."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from surefoot.errors import DataError, Problem
from surefoot.recipe.choice import Choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

bytes_per_token = 1.0
SHIFT = 3  # ids 0, 1, 2 are <|bos|>, <|eos|>, <|pad|>


class Options(Choice):
    """Nothing to choose: the alphabet is that of the training text."""

    kind: str = "char"


class Tokenizer:
    """Text as its characters, out of a fixed alphabet."""

    eos: int | None = 1
    pad = 2

    def __init__(self, alphabet: str) -> None:
        import numpy as np

        self.alphabet = alphabet
        self.vocab = len(alphabet) + SHIFT
        self.ids = {character: i + SHIFT for i, character in enumerate(alphabet)}
        self.points = np.array([ord(c) for c in alphabet], dtype=np.uint32)
        self.token_bytes = np.array(
            [0] * SHIFT + [len(c.encode()) for c in alphabet], dtype=np.int64
        )

    def encode(self, text: str) -> list[int]:
        """Give a text's ids; a character that was not trained on is an error."""
        try:
            return [self.ids[character] for character in text]
        except KeyError as missing:
            raise unknown(missing.args[0]) from None

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of ids; special tokens say nothing."""
        return "".join(self.alphabet[i - SHIFT] for i in ids if SHIFT <= i < self.vocab)

    def many(self, texts: Sequence[str]) -> "list[NDArray[np.uint32]]":
        """Give the ids of many texts."""
        import numpy as np

        found: list[NDArray[np.uint32]] = []
        for text in texts:
            points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
            ids = np.searchsorted(self.points, points)
            known = self.points[np.minimum(ids, len(self.points) - 1)] == points
            if not known.all():
                raise unknown(text[int(np.argmin(known))])
            found.append((ids + SHIFT).astype(np.uint32))
        return found

    def save(self) -> bytes:
        """Give the content of tokenizer.json."""
        from surefoot.data.tokenizer import dump

        return dump("char", alphabet=self.alphabet)


def unknown(character: str) -> DataError:
    """Say which character the training text does not have."""
    return DataError(
        Problem(
            what="tokenizer",
            value=f"{character!r} (U+{ord(character):04X})",
            why="the training text has no such character, so it has no token",
            instead="Leave it out, or train with data.tokenizer.kind=byte, which knows them all",
        )
    )


def make(_options: Options, texts: Iterable[str]) -> Tokenizer:
    """Gather the alphabet of the training texts."""
    alphabet: set[str] = set()
    for text in texts:
        alphabet.update(text)
    if not alphabet:
        raise DataError(
            Problem(
                what="data.tokenizer",
                value="char",
                why="there is no training text to take the alphabet from",
                instead="Write data.corpus with at least one document that is not empty",
            )
        )
    return Tokenizer("".join(sorted(alphabet)))


def load(raw: bytes) -> Tokenizer:
    """Read one back."""
    alphabet = json.loads(raw)["alphabet"]
    if not isinstance(alphabet, str) or sorted(set(alphabet)) != list(alphabet):
        raise ValueError("its alphabet is no text of characters in order")
    return Tokenizer(alphabet)
