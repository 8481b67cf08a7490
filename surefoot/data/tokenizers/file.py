"""A tokenizer that was made before: the tokenizer.json of a run, or of a Hugging Face folder."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from surefoot.errors import DataError, Problem
from surefoot.recipe.choice import Choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from surefoot.data.tokenizer import Tokenizer as Made

bytes_per_token = 4.0
LARGEST = 64 * 2**20  # bytes of a tokenizer.json
SPACE, BYTE = "▁", re.compile("<0x[0-9A-F]{2}>")  # as SentencePiece writes them


class Options(Choice):
    """Which file."""

    kind: str = "file"
    path: Annotated[str, Field(min_length=1)]
    """A tokenizer.json; which token ends a text stands in the files beside it"""


class Tokenizer:
    """Somebody else's pieces of text, as the library `tokenizers` reads them."""

    def __init__(self, inner: Any, eos: int | None, pad: int) -> None:
        import numpy as np

        inner.encode_special_tokens = True  # "</s>" in a text is four characters of text
        self.inner, self.eos, self.pad = inner, eos, pad
        self.vocab: int = inner.get_vocab_size()
        self.token_bytes = np.array(sizes(inner), dtype=np.int64)

    def encode(self, text: str) -> list[int]:
        """Give a text's ids."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of ids; special tokens say nothing."""
        return self.inner.decode(list(ids), skip_special_tokens=True)

    def many(self, texts: Sequence[str]) -> "list[NDArray[np.uint32]]":
        """Give the ids of many texts."""
        import numpy as np

        done = self.inner.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, dtype=np.uint32) for one in done]

    def save(self) -> bytes:
        """Give the content of tokenizer.json, with what stood beside it."""
        from surefoot.data.tokenizer import dump

        return dump("file", eos=self.eos, pad=self.pad, inner=json.loads(self.inner.to_str()))


def sizes(inner: Any) -> list[int]:
    """Count the bytes of text that each token stands for."""
    special = inner.get_added_tokens_decoder()
    # in the alphabet of bytes one character stands for one byte
    of_bytes = "ByteLevel" in f"{inner.pre_tokenizer} {inner.decoder}"
    found: list[int] = []
    for token in range(inner.get_vocab_size()):
        piece = inner.id_to_token(token) or ""
        if token in special:
            found.append(0)
        elif of_bytes:
            found.append(len(piece))
        else:
            found.append(1 if BYTE.fullmatch(piece) else len(piece.replace(SPACE, " ").encode()))
    return found


def make(options: Options, _texts: Iterable[str]) -> "Made":
    """Read the one there is."""
    return given(Path(options.path))


def given(path: Path) -> "Made":
    """Read a tokenizer.json: one of ours, or anybody's."""
    from surefoot.data.tokenizer import SPECIALS
    from surefoot.data.tokenizer import load as load_any

    content = parsed(path)
    first = {one.get("id"): one.get("content") for one in content.get("added_tokens", [])}
    if "surefoot" in content or [first.get(i) for i in range(3)] == list(SPECIALS):
        return load_any(path.read_bytes())
    inner = read(content, path)
    told = beside(path)
    eos = special(inner, told, "eos_token")
    pad = special(inner, told, "pad_token")
    return Tokenizer(inner, eos, pad if pad is not None else eos or 0)


def parsed(path: Path) -> dict[str, Any]:
    """Read the file's JSON."""
    try:
        if path.exists() and not path.is_file():
            raise wrong(path, "it is no file: a pipe or a device is not read")
        if path.stat().st_size > LARGEST:
            raise wrong(path, "it is larger than 64 MiB")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise wrong(path, f"it can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise wrong(path, f"it is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise wrong(path, "it holds no tokenizer")
    return content


def read(content: dict[str, Any], path: Path) -> Any:
    """Hand it to the library."""
    from surefoot.data.tokenizer import library

    if not isinstance(content.get("model"), dict) or "vocab" not in content["model"]:
        raise wrong(path, "it has no vocabulary")
    try:
        return library(json.dumps(content))
    except ValueError as error:
        raise wrong(path, f"the library can't read it ({error})") from None


def beside(path: Path) -> dict[str, Any]:
    """Read what the files beside it say of special tokens."""
    found: dict[str, Any] = {}
    for name in ("config.json", "special_tokens_map.json", "tokenizer_config.json"):
        other = path.parent / name
        if other.is_file():
            found |= {key: value for key, value in parsed(other).items() if value is not None}
    return found


def special(inner: Any, told: dict[str, Any], name: str) -> int | None:
    """Find the id of a special token, by its text or by its number."""
    value = told.get(name)
    text = value.get("content") if isinstance(value, dict) else value
    if isinstance(text, str):
        return inner.token_to_id(text)
    number = told.get(f"{name}_id")
    number = number[0] if isinstance(number, list) and number else number
    return number if type(number) is int and 0 <= number < inner.get_vocab_size() else None


def wrong(path: Path, why: str) -> DataError:
    """Say what is wrong with the file."""
    instead = 'Write data.tokenizer={kind="file", path="<a folder\'s tokenizer.json>"}'
    return DataError(Problem("data.tokenizer.path", f'"{path}"', why, instead))


def load(raw: bytes) -> Tokenizer:
    """Read one back."""
    from surefoot.data.tokenizer import known, library

    content = json.loads(raw)
    inner, eos = library(json.dumps(content["inner"])), content["eos"]
    vocab = inner.get_vocab_size()
    return Tokenizer(
        inner, None if eos is None else known(eos, vocab), known(content["pad"], vocab)
    )
