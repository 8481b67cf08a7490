"""Makes a corpus ready for training: splits, trains the tokenizer, tokenises into the cache."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surefoot import kinds
from surefoot.data import tokenizer as tokenizers
from surefoot.data.cache import key, read_json
from surefoot.data.corpus import Corpus, Scan
from surefoot.data.documents import Document, Split
from surefoot.data.order import Order
from surefoot.data.shards import Shard
from surefoot.data.tokenizer import Tokenizer
from surefoot.errors import DataError, Problem
from surefoot.recipe.choice import Choice

WINDOWS = 64  # validation has at least the tokens of so many
TOGETHER = 1 << 20  # characters that are encoded at once
CHECKED = 1_000_000  # characters whose encoding is decoded again and compared


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the split, tokenised."""

    shards: list[Shard]
    ends: Path | None = None  # uint64: where each document ends, its last token included
    prompts: Path | None = None  # uint32: how many tokens of each are only read


@dataclass(frozen=True, slots=True)
class Prepared:
    """A corpus that can be trained on."""

    train: Side
    val: Side
    tokenizer: Tokenizer
    fingerprint: str
    files: dict[str, str]  # name -> sha256
    facts: dict[str, Any]
    first_id: int | None = None  # the id that begins a document, where one does


class Writer:
    """Writes one side's tokens as they come; nothing but the current document is held."""

    def __init__(self, folder: Path, name: str, width: int) -> None:
        self.type = np.dtype(f"<u{width}")
        self.files = ExitStack()
        self.tokens = self.files.enter_context((folder / f"{name}.bin").open("wb"))
        self.ends = self.files.enter_context((folder / f"{name}.idx").open("wb"))
        self.prompts = self.files.enter_context((folder / f"{name}.prompts").open("wb"))
        self.count = self.documents = self.bytes = self.prompted = 0

    def add(self, ids: Sequence[NDArray[Any]], size: int) -> None:
        """Write one document: its prompt, its text, its end."""
        for part in ids:
            self.tokens.write(part.astype(self.type).tobytes())
            self.count += len(part)
        self.ends.write(np.uint64(self.count).tobytes())
        self.prompts.write(np.uint32(len(ids[0])).tobytes())
        self.prompted += len(ids[0])
        self.documents += 1
        self.bytes += size

    def told(self) -> dict[str, int]:
        """Say what was written."""
        return {
            "tokens": self.count,
            "documents": self.documents,
            "bytes": self.bytes,
            "prompt_tokens": self.prompted,
        }


def learnt(corpus: Corpus, options: Choice, scan: Scan, split: Split) -> Tokenizer:
    """Give the tokenizer of a corpus' training documents, from the cache where it is there."""
    module = kinds.find("tokenizers", options.kind, "data.tokenizer.kind")
    if hasattr(module, "given"):  # it was made before: its file is read each time
        return module.given(corpus.where / getattr(options, "path", ""))
    mib = getattr(options, "train_mib", None)

    def make(folder: Path) -> None:
        texts = training(corpus, scan, split, mib)
        (folder / "tokenizer.json").write_bytes(module.make(options, texts).save())

    library = kinds_version(options.kind)
    name = key("tokenizer", options.model_dump(), corpus.key, split.below, split.tail, library)
    folder = corpus.cache.made(f"tokenizer-{name}", make)
    return tokenizers.load((folder / "tokenizer.json").read_bytes())


def kinds_version(kind: str) -> str:
    """Give the version of the library that learns, where one does."""
    if kind != "bpe":
        return ""
    from importlib.metadata import version

    return version("tokenizers")


def training(corpus: Corpus, scan: Scan, split: Split, mib: float | None) -> Iterator[str]:
    """Give the texts that a tokenizer learns from: of training documents only.

    Where there are more than it wants, the first ones in the order of epoch 0, seed 0: the
    tokenizer must not depend on the run's seed.
    """
    documents = max(1, scan.trained(split))
    wanted = documents if mib is None else round(documents * mib * 2**20 / max(1, scan.bytes))
    order = Order(documents, 0, 0) if wanted < documents else None
    number = done = 0
    for document in corpus.documents():
        for val, piece in split.parts(document):
            if val:
                continue
            if order is None or order.when(number % documents) < max(1, wanted):
                done += len(piece.text)
                corpus.progress("training the tokenizer", done, scan.bytes)
                yield piece.prompt + piece.text
            number += 1


def encoded(corpus: Corpus, tokenizer: Tokenizer, split: Split) -> Path:
    """Tokenise a corpus into the cache, or find it there."""
    saved = hashlib.sha256(tokenizer.save()).hexdigest()
    name = key("tokens", saved, corpus.key, split.below, split.tail)

    def make(folder: Path) -> None:
        write(corpus, tokenizer, split, folder)

    return corpus.cache.made(name, make)


def write(corpus: Corpus, tokenizer: Tokenizer, split: Split, folder: Path) -> None:
    """Tokenise all documents into a folder."""
    width = 2 if tokenizer.vocab <= 65_536 else 4
    sides = (Writer(folder, "tokens", width), Writer(folder, "val", width))
    with sides[0].files, sides[1].files:
        tokenise(corpus, tokenizer, split, sides)
    if corpus.moved():
        raise DataError(moving(corpus))
    meta = {"width": width, "train": sides[0].told(), "val": sides[1].told()}
    (folder / "tokenizer.json").write_bytes(tokenizer.save())
    (folder / "meta.json").write_text(json.dumps(meta | {"files": corpus.digests}))


def tokenise(
    corpus: Corpus, tokenizer: Tokenizer, split: Split, sides: tuple[Writer, Writer]
) -> None:
    """Write each document's tokens to its side, encoding some documents at a time."""
    total, done, check = corpus.size(), 0, CHECKED
    end = np.array([] if tokenizer.eos is None else [tokenizer.eos], dtype=np.uint32)
    for group in grouped(split, corpus.documents()):
        texts = [text for _, d in group for text in (d.prompt, d.text)]
        ids = tokenizer.many(texts)
        if check > 0:
            check -= same(tokenizer, texts, ids)
        for i, (val, document) in enumerate(group):
            parts = [ids[2 * i], ids[2 * i + 1], end[: 1 if document.ends else 0]]
            size = len(document.prompt.encode()) + len(document.text.encode())
            sides[val].add(parts, size)
            done += size
        corpus.progress("tokenising", done, total)


def grouped(split: Split, documents: Iterable[Document]) -> Iterator[list[tuple[bool, Document]]]:
    """Put documents together until there is enough to encode at once."""
    group: list[tuple[bool, Document]] = []
    size = 0
    for document in documents:
        for part in split.parts(document):
            group.append(part)
            size += len(part[1].text) + len(part[1].prompt)
        if size > TOGETHER:
            yield group
            group, size = [], 0
    if group:
        yield group


def same(tokenizer: Tokenizer, texts: Sequence[str], ids: Sequence[NDArray[Any]]) -> int:
    """Check that decoding gives the text back; say how much was checked."""
    for text, part in zip(texts, ids, strict=True):
        if (back := tokenizer.decode(part.tolist())) != text:
            raise DataError(lossy(tokenizer, text, back))
    return sum(map(len, texts))


def lossy(tokenizer: Tokenizer, text: str, back: str) -> Problem:
    """Say that a tokenizer loses something."""
    pairs = enumerate(zip(text, back, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(text), len(back)))
    return Problem(
        what="data.tokenizer.kind",
        value=type(tokenizer).__module__.rsplit(".", 1)[-1],
        why=f"decoding doesn't give the text back, from {text[at : at + 20]!r} on",
        instead="Write data.tokenizer.kind=byte",
    )


def moving(corpus: Corpus) -> Problem:
    """Say that a corpus was written to while it was being read."""
    return Problem(
        what="data.corpus",
        value=corpus.options.kind,
        why="its files were changed while they were being tokenised",
        instead="Start again when nothing writes to them: surefoot train",
    )


def side(folder: Path, name: str, width: int, counts: dict[str, int]) -> Side:
    """Give one side of a tokenised corpus."""
    path = folder / f"{name}.bin"
    shard = Shard(path, f"{folder.name}/{path.name}", 0, counts["tokens"], width)
    prompts = folder / f"{name}.prompts" if counts["prompt_tokens"] else None
    return Side([shard] if counts["tokens"] else [], folder / f"{name}.idx", prompts)


def from_text(corpus: Corpus, options: Choice, share: float, needed: int) -> Prepared:
    """Prepare a corpus of text; validation is a share of it, raised until it is long enough."""
    scan = corpus.scan()
    module = kinds.find("tokenizers", options.kind, "data.tokenizer.kind")
    split = scan.split(share, needed * module.bytes_per_token)
    while True:
        tokenizer = learnt(corpus, options, scan, split)
        folder = encoded(corpus, tokenizer, split)
        meta = read_json(folder / "meta.json")
        val = meta["val"]
        if share == 0 or scan.parted or val["tokens"] >= needed:
            break
        # the guess was short: now it is known how many bytes a token has
        more = scan.split(share, 1.05 * needed * val["bytes"] / max(1, val["tokens"]))
        if more == split or more.below < split.below:
            break
        split = more
    return Prepared(
        train=side(folder, "tokens", meta["width"], meta["train"]),
        val=side(folder, "val", meta["width"], val),
        tokenizer=tokenizer,
        fingerprint=folder.name,
        files=corpus.digests,
        facts=told(corpus, scan, split, meta, share),
    )


def told(
    corpus: Corpus, scan: Scan, split: Split, meta: dict[str, Any], share: float
) -> dict[str, Any]:
    """Gather what the journal says of the data."""
    notes: list[str] = []
    held = meta["val"]["bytes"] / max(1, scan.bytes)
    if split.tail:
        notes.append(
            f"val.share = {share:g}: there are {scan.documents} documents, too few to keep whole"
            f" ones for validation; the last {split.tail:.1%} of each is kept"
        )
    elif split.below > 10_000 * share:
        notes.append(
            f"val.share = {share:g}: validation needs {WINDOWS} windows, so"
            f" {held:.1%} of the text is kept for it"
        )
    return corpus.told() | {
        "text_bytes": scan.bytes,
        "documents": meta["train"]["documents"],
        "tokens": meta["train"]["tokens"],
        "val_documents": meta["val"]["documents"],
        "val_tokens": meta["val"]["tokens"],
        "val_bytes": meta["val"]["bytes"],
        "skipped": scan.skipped,
        "notes": notes,
    }
