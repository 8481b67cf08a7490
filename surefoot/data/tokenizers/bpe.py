"""Byte-level BPE: merges of frequent neighbours, learnt from the training text (Sennrich 2016)."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from surefoot.recipe.choice import Choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

bytes_per_token = 4.0
SPECIALS = ["<|bos|>", "<|eos|>", "<|pad|>"]
# Blocks of about 4 kB encode faster than whole files. Only between a newline and what follows,
# with no other space on either side, does a cut never change the ids: the splitting expression
# takes longer runs of spaces apart from both ends.
CUT = re.compile(r"\S\n(?=\S)")
BLOCK = 4096


class Options(Choice):
    """How many tokens, learnt from how much text."""

    kind: str = "bpe"
    vocab: Annotated[int, Field(ge=260, le=1_000_000)] = 4096
    """Tokens, three special ones and the 256 bytes included"""
    train_mib: Annotated[float, Field(gt=0)] = 200.0
    """Text that the merges are learnt from, MiB"""


class Tokenizer:
    """Text as learnt pieces of its bytes."""

    eos: int | None = 1
    pad = 2

    def __init__(self, inner: Any) -> None:
        import numpy as np

        inner.encode_special_tokens = True  # "<|eos|>" in a text is seven characters of text
        self.inner = inner
        self.vocab: int = inner.get_vocab_size()
        pieces = (inner.id_to_token(i) or "" for i in range(self.vocab))
        # in the byte-level alphabet one character stands for one byte
        lengths = [0 if piece in SPECIALS else len(piece) for piece in pieces]
        self.token_bytes = np.array(lengths, dtype=np.int64)

    def encode(self, text: str) -> list[int]:
        """Give a text's ids."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of ids; special tokens say nothing, a broken character is replaced."""
        return self.inner.decode(list(ids), skip_special_tokens=True)

    def many(self, texts: Sequence[str]) -> "list[NDArray[np.uint32]]":
        """Give the ids of many texts, each encoded in blocks."""
        import numpy as np

        cut = [blocks(text) for text in texts]
        flat = [block for pieces in cut for block in pieces]
        done = iter(self.inner.encode_batch_fast(flat, add_special_tokens=False))
        joined: list[NDArray[np.uint32]] = []
        for pieces in cut:
            ids: list[int] = []
            for _ in pieces:
                ids.extend(next(done).ids)
            joined.append(np.array(ids, dtype=np.uint32))
        return joined

    def save(self) -> bytes:
        """Give the content of tokenizer.json."""
        return self.inner.to_str().encode()


def blocks(text: str) -> list[str]:
    """Cut a text where the ids don't notice."""
    found: list[str] = []
    start = 0
    while (end := CUT.search(text, start + BLOCK)) is not None:
        found.append(text[start : end.end()])
        start = end.end()
    return [*found, text[start:]]


def enough(texts: Iterable[str], mib: float) -> Iterator[str]:
    """Give texts until so much has been given, in blocks so that progress is seen."""
    left = mib * 2**20
    for text in texts:
        yield text
        left -= len(text.encode())
        if left <= 0:
            return


def make(options: Options, texts: Iterable[str]) -> Tokenizer:
    """Learn the merges from the training texts."""
    from tokenizers import Tokenizer as Inner
    from tokenizers import decoders, models, pre_tokenizers, trainers

    inner = Inner(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocab,
        min_frequency=2,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(enough(texts, options.train_mib), trainer)
    return Tokenizer(inner)


def load(raw: bytes) -> Tokenizer:
    """Read one back."""
    from surefoot.data.tokenizer import library

    if json.loads(raw).get("model", {}).get("type") != "BPE":
        raise ValueError("it has no BPE model")
    inner = library(raw.decode())
    if [inner.id_to_token(i) for i in range(len(SPECIALS))] != SPECIALS:
        raise ValueError(f"its first ids are not {', '.join(SPECIALS)}")
    return Tokenizer(inner)
