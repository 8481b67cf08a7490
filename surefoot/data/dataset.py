"""What training reads: batches by step, validation in file order, and what is known of the text."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from surefoot.data.cache import Cache, Progress
from surefoot.data.corpus import Corpus, Shown
from surefoot.data.counting import bigram_entropy, unigram_entropy
from surefoot.data.digest import batch_hash
from surefoot.data.in_place import from_tokens
from surefoot.data.own_validation import judged_by
from surefoot.data.prepare import WINDOWS, Prepared, from_text
from surefoot.data.tokens import Tokens
from surefoot.data.windows import Range, Whole, Windows, kept
from surefoot.errors import DataError, Problem
from surefoot.model.batch import IGNORED, Batch

Extent = Literal["recipe", "final", "all"]
FULL_VALIDATION = 100_000  # tokens that a validation reads, unless told otherwise
COUNTED = 100_000_000  # tokens that the unigram entropy is counted over
PAIRS = 1_000_000  # tokens whose pairs are counted: .1 s, and more tell the same


class Dataset:
    """A corpus, ready: `batch(step)` is a pure function of the seed and the step."""

    def __init__(self, prepared: Prepared, data: Any, seed: int, seq_len: int, rows: int) -> None:
        self.tokenizer = prepared.tokenizer
        self.fingerprint = prepared.fingerprint
        self.facts = prepared.facts
        self.files: dict[str, str] = prepared.files
        self.seq_len, self.rows = seq_len, rows
        self.masked = data.boundaries == "mask"
        self.train = Reader(Tokens(prepared.train.shards), prepared.train)
        self.val = Reader(Tokens(prepared.val.shards), prepared.val)
        self.first_id = prepared.first_id
        self.documents = self.windows = None
        shuffled = data.order == "shuffled"
        if data.packing == "document":
            self.documents = Whole(documents_of(self.train), seed, shuffled)
        else:
            self.windows = Windows(len(self.train.tokens), seq_len, seed, shuffled)
        if self.masked and self.tokenizer.eos is None and self.first_id is None:
            raise DataError(no_boundaries("data.boundaries", '"mask"', "data.boundaries=ignore"))
        self.val_batches = 0

    @property
    def tokens(self) -> int:
        """Tokens to train on."""
        return len(self.train.tokens)

    @property
    def val_tokens(self) -> int:
        """Tokens to validate on."""
        return len(self.val.tokens)

    @property
    def epoch_rows(self) -> int:
        """Rows of one epoch."""
        found = self.documents or self.windows
        assert found is not None, "rows come from windows or from documents"
        return found.rows.n

    def position(self, step: int, skips: Iterable[Range] = ()) -> int:
        """Give the place in the data order of a step's first row; steps count from 1."""
        return kept((step - 1) * self.rows, skips)

    def batch(self, step: int, skips: Iterable[Range] = ()) -> Batch:
        """Give what a step reads, whenever and wherever it is asked."""
        assert step >= 1, f"step {step}: steps count from 1"
        skips = list(skips)
        first = (step - 1) * self.rows
        if self.windows is not None:
            starts = self.windows.starts(first, self.rows, skips)
            found = self.cut(self.train, starts)
        else:
            assert self.documents is not None, "rows come from windows or from documents"
            found = self.filled(self.train, self.documents.spans(first, self.rows, skips))
        return self.made(*found, position=kept(first, skips))

    def cut(
        self, reader: "Reader", starts: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give windows' tokens and targets."""
        rows = reader.tokens.rows(starts, self.seq_len + 1)
        targets = rows[:, 1:].astype(np.int64)
        places = starts[:, None] + np.arange(1, self.seq_len + 1)
        return rows[:, :-1], reader.unlearnt(targets, places)

    def filled(
        self, reader: "Reader", spans: list[tuple[int, int]]
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give a row for each span of tokens, filled up with padding that isn't learnt."""
        time = self.seq_len
        tokens = np.full((len(spans), time), self.tokenizer.pad, dtype=reader.tokens.type)
        targets = np.full((len(spans), time), IGNORED, dtype=np.int64)
        for i, (start, end) in enumerate(spans):
            row = reader.tokens.read(start, min(end - start, time + 1))
            inputs = row[:time]
            tokens[i, : len(inputs)] = inputs
            places = start + np.arange(1, len(row))
            targets[i, : len(row) - 1] = reader.unlearnt(row[1:].astype(np.int64), places)
        return tokens, targets

    def made(self, tokens: NDArray[Any], targets: NDArray[np.int64], position: int = 0) -> Batch:
        """Make a batch of arrays."""
        inputs = tokens.astype(np.int64)
        doc = positions = None
        if self.masked:
            doc, positions = parts(inputs, self.tokenizer.eos, self.first_id)
        return Batch(
            tokens=torch.from_numpy(inputs),
            targets=torch.from_numpy(targets),
            doc=doc,
            positions=positions,
            position=position,
            hash=batch_hash(tokens),
            valid=int(np.count_nonzero(targets != IGNORED)),
        )

    def validation(self, rows: int, extent: Extent = "recipe") -> Iterator[Batch]:
        """Give the validation text in file order, cut as the training text is, always the same.

        "recipe": val.batches of them, or up to 100,000 tokens; "final": up to 100,000 tokens;
        "all": everything.
        """
        count, span = self.held_out()
        if extent == "recipe" and self.val_batches:
            count = min(count, self.val_batches * rows)
        elif extent != "all":
            count = min(count, max(1, FULL_VALIDATION // self.seq_len))
        for i in range(0, count, rows):
            spans = [span(j) for j in range(i, min(i + rows, count))]
            tokens, targets = self.filled(self.val, spans)
            yield self.made(tokens, targets, position=i)

    def held_out(self) -> tuple[int, Callable[[int], tuple[int, int]]]:
        """Count the rows of validation, and say where each stands: each target is in one of them.

        Where training reads one document a row, so does validation: elsewhere in a row, or after
        another document, such a model has never been.
        """
        if self.documents is not None and len(self.val.ends):
            whole = Whole(self.val.ends, seed=0, shuffled=False)
            return whole.rows.n, whole.span
        time, total = self.seq_len, max(0, self.val_tokens - 1)
        return -(-total // time), lambda j: (j * time, min((j + 1) * time, total) + 1)

    def problems(self, most: int) -> list[tuple[list[int], list[int]]]:
        """Give held-out documents, each once, as what is read and what is answered after it."""
        if self.val.side.prompts is None:
            return []
        whole = Whole(self.val.ends, seed=0, shuffled=False)
        found: dict[bytes, tuple[list[int], list[int]]] = {}
        for j in range(whole.rows.n):
            start, end = whole.span(j)
            ids = self.val.tokens.read(start, end - start)
            asked, answer = np.split(ids, [self.val.prompts[j]])
            answer = answer[:-1] if answer[-1:] == self.tokenizer.eos else answer
            found.setdefault(ids.tobytes(), (asked.tolist(), answer.tolist()))
            if len(found) == most:
                break
        return list(found.values())

    @cached_property
    def entropy(self) -> float:
        """Entropy of the training tokens' frequencies, nats: what counting alone would reach."""
        return unigram_entropy(self.train.tokens.chunks(), self.tokenizer.vocab, COUNTED)

    @cached_property
    def pair_entropy(self) -> float:
        """Entropy of a training token after the one before it, nats: what pairs would reach."""
        return bigram_entropy(self.train.tokens.read(0, min(PAIRS, self.tokens)))

    def close(self) -> None:
        """Let the files go."""
        self.train.tokens.close()
        self.val.tokens.close()


class Reader:
    """One side's tokens, with where its documents end and which of their tokens are only read."""

    def __init__(self, tokens: Tokens, side: Any) -> None:
        self.tokens = tokens
        self.side = side

    @cached_property
    def ends(self) -> NDArray[np.uint64]:
        """Give where each document ends."""
        if self.side.ends is None:
            return np.empty(0, np.uint64)
        return np.fromfile(self.side.ends, dtype="<u8")

    @cached_property
    def prompts(self) -> NDArray[np.uint32]:
        """Give how many tokens of each document are its prompt."""
        return np.fromfile(self.side.prompts, dtype="<u4")

    def unlearnt(self, targets: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take prompts out of the targets; places says where in the tokens each target stands."""
        if self.side.prompts is None or not targets.size:
            return targets
        number = np.searchsorted(self.ends, places.astype(np.uint64), side="right")
        starts = np.concatenate([np.zeros(1, np.uint64), self.ends])[number].astype(np.int64)
        targets[places - starts < self.prompts[number]] = IGNORED
        return targets


def documents_of(reader: Reader) -> NDArray[np.uint64]:
    """Give the ends of the documents that lie within the training tokens."""
    ends = reader.ends[reader.ends <= np.uint64(len(reader.tokens))]
    if not len(ends):
        raise DataError(no_boundaries("data.packing", '"document"', "data.packing=stream"))
    return ends


def parts(
    tokens: NDArray[np.int64], eos: int | None, bos: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Number the documents in each row, and the places in each document."""
    begins = np.zeros(tokens.shape, dtype=bool)
    if eos is not None:
        begins[:, 1:] = tokens[:, :-1] == eos  # the end belongs to the document that it ends
    else:
        begins[:, 1:] = tokens[:, 1:] == bos
    time = np.arange(tokens.shape[1])
    starts = np.maximum.accumulate(np.where(begins, time, 0), axis=1)
    return torch.from_numpy(np.cumsum(begins, axis=1)), torch.from_numpy(time - starts)


def no_boundaries(what: str, value: str, other: str) -> Problem:
    """Say that the tokens don't tell where documents end."""
    return Problem(
        what=what,
        value=value,
        why="the corpus doesn't say where its documents end",
        instead=f"Write data.corpus.eos_id=<the id that ends a document>, or {other}",
    )


def prepare(  # noqa: PLR0913 (what a run's data are: two sections, three numbers, two places)
    data: Any,
    val: Any,
    seed: int,
    seq_len: int,
    rows: int,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Make a recipe's data ready; what costs time is kept in the cache."""
    store, shown, where = Cache(cache), Shown(progress), Path.cwd()
    corpus = Corpus(data.corpus, where, data.on_bad_line, store, shown)
    needed = WINDOWS * seq_len
    share = 0.0 if val.corpus is not None else val.share
    if corpus.in_place:
        prepared = from_tokens(corpus, share, needed)
    else:
        prepared = from_text(corpus, data.tokenizer, share, needed)
    if val.corpus is not None:
        own = Corpus(val.corpus, where, data.on_bad_line, store, shown)
        prepared = judged_by(own, prepared, corpus)
    dataset = Dataset(prepared, data, seed, seq_len, rows)
    dataset.val_batches = val.batches
    return dataset
