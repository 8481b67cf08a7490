"""What every tokenizer gives, and how one is read back from its file."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from surefoot import kinds
from surefoot.errors import DataError, Problem, RecipeError

SPECIALS = ("<|bos|>", "<|eos|>", "<|pad|>")
BOS, EOS, PAD = 0, 1, 2


@runtime_checkable
class Tokenizer(Protocol):
    """Turns text into token ids and back."""

    vocab: int
    eos: int | None  # ends each document; None where the ids have no such token
    pad: int
    token_bytes: NDArray[np.int64]  # bytes of text that each id stands for; specials 0

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def many(self, texts: Sequence[str]) -> list[NDArray[Any]]: ...  # encode, in bulk
    def save(self) -> bytes: ...  # the content of tokenizer.json


class Maker(Protocol):
    """What a file of the kind `tokenizers` offers beside its options."""

    bytes_per_token: float  # about; a first guess at how much text a number of tokens needs

    def make(self, options: Any, texts: Iterable[str]) -> Tokenizer: ...
    def load(self, raw: bytes) -> Tokenizer: ...


def load(raw: bytes) -> Tokenizer:
    """Read a tokenizer.json of any kind."""
    try:
        content = json.loads(raw)
        marker = content.get("surefoot", {"kind": "bpe"})
        return kinds.find("tokenizers", marker["kind"], "tokenizer.json").load(raw)
    except RecursionError:
        raise unread("it is nested too deep") from None
    except ValidationError as error:
        raise unread(error.errors()[0]["msg"]) from None
    except (ValueError, AttributeError, TypeError, KeyError, RecipeError) as error:
        raise unread(f"{type(error).__name__}: {error}") from None


def unread(why: str) -> DataError:
    """Say that a tokenizer.json is none."""
    return DataError(
        Problem(
            what="tokenizer.json",
            value="",
            why=f"this is no tokenizer that can be read ({why})",
            instead="Write data.tokenizer.kind=bpe to make a new one, or mend the file",
        )
    )


def library(text: str) -> Any:
    """Have the library read what a stranger may have written; ValueError where it is none.

    The library raises nothing narrower than Exception.
    """
    from tokenizers import Tokenizer as Inner

    try:
        inner = Inner.from_str(text)
    except Exception as error:  # noqa: BLE001 (the library's edge)
        raise ValueError(str(error)) from None
    count = inner.get_vocab_size()
    if any(not 0 <= one < count for one in inner.get_vocab().values()):
        raise ValueError(f"its ids are not those from 0 to {count - 1}")
    return inner


def known(token: Any, vocab: int) -> int:
    """Give the id of a special token, which must be one of the tokenizer's."""
    if type(token) is not int or not 0 <= token < vocab:
        raise ValueError(f"{token!r:.40} is none of its {vocab} ids")
    return token


def dump(kind: str, **content: object) -> bytes:
    """Give the tokenizer.json of one of our own kinds."""
    return json.dumps({"surefoot": {"kind": kind, "version": 1}, **content}).encode()
