"""Bytes: every text is its UTF-8 bytes, one token each, after three special tokens."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from surefoot.recipe.choice import Choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

bytes_per_token = 1.0
SHIFT = 3  # ids 0, 1, 2 are <|bos|>, <|eos|>, <|pad|>


class Options(Choice):
    """Nothing to choose: 256 bytes and three special tokens."""

    kind: str = "byte"


class Tokenizer:
    """Text as its bytes, shifted by three."""

    vocab = 256 + SHIFT
    eos: int | None = 1
    pad = 2

    def __init__(self) -> None:
        import numpy as np  # 0.1 s, which reading a recipe need not pay

        self.token_bytes = np.array([0] * SHIFT + [1] * 256, dtype=np.int64)

    def encode(self, text: str) -> list[int]:
        """Give a text's ids."""
        return [byte + SHIFT for byte in text.encode()]

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of ids; special tokens say nothing, a broken character is replaced."""
        return bytes(i - SHIFT for i in ids if SHIFT <= i < self.vocab).decode(errors="replace")

    def many(self, texts: Sequence[str]) -> "list[NDArray[np.uint16]]":
        """Give the ids of many texts."""
        import numpy as np

        return [np.frombuffer(t.encode(), np.uint8).astype(np.uint16) + SHIFT for t in texts]

    def save(self) -> bytes:
        """Give the content of tokenizer.json."""
        from surefoot.data.tokenizer import dump

        return dump("byte")


def make(_options: Options, _texts: Iterable[str]) -> Tokenizer:
    """Make the one there is."""
    return Tokenizer()


def load(_raw: bytes) -> Tokenizer:
    """Read one back."""
    return Tokenizer()
