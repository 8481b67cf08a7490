"""Token ids as they are: for corpora that come as numbers; text is the numbers, with spaces."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from surefoot.errors import DataError, Problem
from surefoot.recipe.choice import Choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

bytes_per_token = 4.0


class Options(Choice):
    """How many ids there are, and which of them mean something."""

    kind: str = "ids"
    vocab: Annotated[int, Field(ge=1, le=1 << 24)] = 50_304
    """Ids are below this"""
    eos: Annotated[int, Field(ge=0)] | None = None
    """The id that ends a document"""
    pad: Annotated[int, Field(ge=0)] = 0
    """The id that fills short rows; never learnt"""


class Tokenizer:
    """Numbers, written with spaces between them."""

    def __init__(self, vocab: int, eos: int | None = None, pad: int = 0) -> None:
        import numpy as np

        self.vocab, self.eos, self.pad = vocab, eos, pad
        self.token_bytes = np.zeros(vocab, dtype=np.int64)  # unknown: bits a byte can't be told

    def encode(self, text: str) -> list[int]:
        """Read numbers."""
        try:
            ids = [int(word) for word in text.split()]
        except ValueError:
            raise not_ids(text, "these are no numbers") from None
        if not all(0 <= i < self.vocab for i in ids):
            raise not_ids(text, f"ids are 0 to {self.vocab - 1}")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Write numbers."""
        return " ".join(str(i) for i in ids)

    def many(self, texts: Sequence[str]) -> "list[NDArray[np.uint32]]":
        """Read the numbers of many texts."""
        import numpy as np

        return [np.array(self.encode(text), dtype=np.uint32) for text in texts]

    def save(self) -> bytes:
        """Give the content of tokenizer.json."""
        from surefoot.data.tokenizer import dump

        return dump("ids", vocab=self.vocab, eos=self.eos, pad=self.pad)


def not_ids(text: str, why: str) -> DataError:
    """Say what this tokenizer reads."""
    shown = text if len(text) <= 40 else text[:40] + "..."
    return DataError(
        Problem(
            what="text",
            value=repr(shown),
            why=f"the corpus came as token ids, without their tokenizer, and {why}",
            instead='Write token ids, like "12 7 303"',
        )
    )


def make(options: Options, _texts: Iterable[str]) -> Tokenizer:
    """Make one of the options."""
    return Tokenizer(options.vocab, options.eos, options.pad)


def load(raw: bytes) -> Tokenizer:
    """Read one back."""
    content = json.loads(raw)
    own = Options.model_validate({key: content[key] for key in ("vocab", "eos", "pad")})
    return Tokenizer(own.vocab, own.eos, own.pad)
