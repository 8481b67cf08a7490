"""Makes token files ready: checks every id once, then leaves the files where they are."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.data.cache import key, read_json
from surefoot.data.corpus import Corpus
from surefoot.data.prepare import WINDOWS, Prepared, Side
from surefoot.data.shards import Shard
from surefoot.data.tokenizers.ids import Tokenizer
from surefoot.data.tokens import Tokens, parted
from surefoot.errors import DataError, Problem


def from_tokens(corpus: Corpus, share: float, needed: int) -> Prepared:
    """Prepare a corpus of tokens; validation is its end: a share, or what it needs if more."""
    options: Any = corpus.options
    folder = checked(corpus)
    shards = corpus.shards()
    tokens = sum(shard.count for shard in shards)
    held = min(max(int(tokens * share), needed), tokens // 2) if share else 0
    train, val = parted(shards, tokens - held)
    notes = []
    if held > int(tokens * share):
        notes.append(
            f"val.share = {share:g}: validation needs {WINDOWS} windows, so the last"
            f" {held:,} tokens ({held / tokens:.1%}) are kept for it"
        )
    meta = read_json(folder / "meta.json")
    facts = corpus.told() | {
        "documents": meta["documents"],
        "tokens": tokens - held,
        "val_tokens": held,
        "skipped": {},
        "notes": notes,
    }
    ends = folder / "docs.idx" if meta["documents"] else None
    tokenizer = Tokenizer(options.vocab, options.eos_id, pad=0)
    return Prepared(
        train=Side(train, ends),
        val=Side(val),
        tokenizer=tokenizer,
        fingerprint=key("in place", corpus.key, held),
        files=corpus.digests,
        facts=facts,
        first_id=options.bos_id,
    )


def checked(corpus: Corpus) -> Path:
    """Look at every id once: all are below vocab, and here is where documents end."""
    options: Any = corpus.options
    name = key("ids", corpus.key, options.vocab, options.eos_id, options.bos_id)

    def make(folder: Path) -> None:
        done = documents = 0
        total = corpus.size()
        with (folder / "docs.idx").open("wb") as file:
            for shard in corpus.shards():
                documents += look(shard, options, done, file)
                done += shard.count
                corpus.progress("checking the tokens", done * shard.width, total)
        if done == 0:
            raise DataError(no_tokens(options.path))
        (folder / "meta.json").write_text(json.dumps({"documents": documents}))

    return corpus.cache.made(f"ids-{name}", make)


def look(shard: Shard, options: Any, before: int, file: Any) -> int:
    """Check one file's ids, and write where its documents end, counted over all files."""
    documents = seen = 0
    tokens = Tokens([shard])
    for chunk in tokens.chunks():
        if int(chunk.max()) >= options.vocab:
            raise DataError(too_large(shard, options, chunk, seen))
        if options.eos_id is not None:
            ends = np.flatnonzero(chunk == options.eos_id) + 1
        elif options.bos_id is not None:
            ends = np.flatnonzero(chunk == options.bos_id)
            ends = ends[ends + seen + before > 0]
        else:
            ends = np.empty(0, np.int64)
        file.write((ends + seen + before).astype("<u8").tobytes())
        documents += len(ends)
        seen += len(chunk)
    tokens.close()
    return documents


def too_large(shard: Shard, options: Any, chunk: Any, seen: int) -> Problem:
    """Say which id is not below vocab, and where."""
    at = int(np.argmax(chunk >= options.vocab))
    offset = shard.offset + (seen + at) * shard.width
    return Problem(
        what="data.corpus.vocab",
        value=str(options.vocab),
        why=f"{shard.name} holds token {int(chunk[at])} at byte {offset:,} (token {seen + at:,})",
        instead=f"Write data.corpus.vocab={int(chunk.max()) + 1} or more, or make the file again",
    )


def no_tokens(path: Any) -> Problem:
    """Say that there is nothing in the files."""
    return Problem(
        what="data.corpus.path",
        value=str(path),
        why="there is no token in these files",
        instead='Write data.corpus.path="<token files that are not empty>"',
    )
