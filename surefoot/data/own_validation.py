"""A validation corpus of its own: tokenised as the training text is, and shown not to be in it."""

import json
from dataclasses import replace
from pathlib import Path

from surefoot.data.cache import key, read_json
from surefoot.data.corpus import Corpus
from surefoot.data.documents import Split, digest
from surefoot.data.in_place import checked
from surefoot.data.prepare import Prepared, Side, encoded, side
from surefoot.errors import DataError, Problem

BOOK = {
    "validation_overlap": ("refuse!", "over 1% of the validation documents are trained on", "001")
}
ALLOWED = 0.01  # share of validation documents that may be in the training text: short ones recur


def judged_by(own: Corpus, prepared: Prepared, corpus: Corpus) -> Prepared:
    """Give a prepared corpus this other one as its validation text."""
    if own.in_place != corpus.in_place:
        raise DataError(other_kind(own, corpus))
    same_files(own, corpus)
    notes = list(prepared.facts["notes"])
    if own.in_place:
        checked(own)
        held = Side(own.shards())
        facts = {"val_tokens": sum(shard.count for shard in held.shards)}
    else:
        notes += apart(own, corpus)
        folder = encoded(own, prepared.tokenizer, Split())
        meta = read_json(folder / "meta.json")
        held = side(folder, "tokens", meta["width"], meta["train"])
        facts = {f"val_{name}": meta["train"][name] for name in ("documents", "tokens", "bytes")}
    return replace(
        prepared,
        val=held,
        fingerprint=key("judged", prepared.fingerprint, own.key),
        files=prepared.files | own.digests,
        facts=prepared.facts | facts | {"notes": notes},
    )


def same_files(own: Corpus, corpus: Corpus) -> None:
    """Refuse a file that is on both sides."""
    train = {sha: name for name, sha in corpus.digests.items()}
    for name, sha in own.digests.items():
        if sha in train:
            why = f"{name} has the same content as {train[sha]}, which is trained on"
            raise DataError(overlapping(own, why))


def apart(own: Corpus, corpus: Corpus) -> list[str]:
    """Refuse validation documents that are trained on; tell of a few."""

    def make(folder: Path) -> None:
        held = {digest(document) for document in own.documents()}
        names = corpus.same(held)
        found = {"held": len(held), "count": len(names), "examples": names[:2]}
        (folder / "overlap.json").write_text(json.dumps(found))

    folder = own.cache.made(f"overlap-{key(own.key, corpus.key)}", make)
    found = read_json(folder / "overlap.json")
    if not found["count"]:
        return []
    examples = " and ".join(found["examples"])
    why = f"{found['count']} of its {found['held']} documents are trained on, such as {examples}"
    if found["count"] > ALLOWED * found["held"]:
        raise DataError(overlapping(own, why))
    return [f"val.corpus: {why}"]


def overlapping(own: Corpus, why: str) -> Problem:
    """Say that validation would judge by what was learnt by heart."""
    return Problem(
        what="val.corpus",
        value=f'"{own.options.kind}"',
        why=f"{why} (validation_overlap)",
        instead="Leave val.corpus out: val.share then keeps documents of the corpus apart",
    )


def other_kind(own: Corpus, corpus: Corpus) -> Problem:
    """Say that text and token files can't be mixed."""
    return Problem(
        what="val.corpus.kind",
        value=f'"{own.options.kind}"',
        why=f'one of it and data.corpus.kind = "{corpus.options.kind}" is text and the other'
        " is token ids",
        instead=f"Write val.corpus.kind={corpus.options.kind}, or leave val.corpus out",
    )
