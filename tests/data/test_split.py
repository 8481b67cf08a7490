import itertools
import random

import pytest

from surefoot.data.cache import Cache
from surefoot.data.corpus import Corpus
from surefoot.data.documents import BINS, Document, Split, choose, cut, place
from surefoot.data.prepare import learnt
from surefoot.errors import DataError

TEXTS = {"kind": "text", "path": "texts"}


def sides(dataset) -> tuple[set[str], set[str]]:
    def texts(reader, count):
        ids = reader.tokens.read(0, count)
        ends = [0, *reader.ends.tolist()]
        decode = dataset.tokenizer.decode
        return {decode(ids[a:b].tolist()) for a, b in itertools.pairwise(ends)}

    return texts(dataset.train, dataset.tokens), texts(dataset.val, dataset.val_tokens)


def test_validation_and_training_are_disjoint_and_everything_is_on_one_side(desk):
    folder = desk.articles(100)
    train, val = sides(desk.dataset(TEXTS, share=0.2))
    assert not train & val
    assert train | val == {p.read_text() for p in folder.iterdir()}
    assert 5 < len(val) < 50


def test_the_split_does_not_move_when_files_are_renamed_shuffled_or_joined(desk):
    folder = desk.articles(100)
    _, val = sides(desk.dataset(TEXTS, share=0.2))
    files = sorted(folder.iterdir())
    names = [f"{random.Random(9).random()}{i}.txt" for i in range(100)]
    for path, name in zip(files, names, strict=True):
        path.rename(folder / name)
    _, renamed = sides(desk.dataset(TEXTS, share=0.2, seed=5))
    assert renamed == val


def test_more_text_later_leaves_the_old_documents_on_their_side(desk):
    desk.articles(100)
    train, val = sides(desk.dataset(TEXTS, share=0.2))
    desk.articles(50, first=100)
    more_train, more_val = sides(desk.dataset(TEXTS, share=0.2))
    assert val <= more_val
    assert train <= more_train


def test_equal_documents_are_on_one_side():
    assert place(Document("same text", "a")) == place(Document("same text", "b"))


def test_a_share_that_is_too_small_is_raised_and_said(desk):
    desk.articles(100)
    dataset = desk.dataset(TEXTS, share=0.01, seq_len=64)
    assert dataset.val_tokens >= 64 * 64
    [note] = dataset.facts["notes"]
    assert note.startswith("val.share = 0.01: validation needs 64 windows, so ")


@pytest.mark.parametrize("tokenizer", ["byte", "char", "bpe"])
def test_validation_has_its_windows_with_every_tokenizer(desk, tokenizer):
    desk.articles(200)
    size = {"vocab": 400} if tokenizer == "bpe" else {}
    dataset = desk.dataset(TEXTS, tokenizer, share=0.01, seq_len=24, **size)
    assert 64 * 24 <= dataset.val_tokens < 4 * 64 * 24


def test_a_share_is_not_raised_where_it_is_enough():
    sizes = [100] * BINS
    assert choose(sizes, 0.03, 1000) == Split(below=300)
    assert choose(sizes, 0.03, 30_050) == Split(below=301)
    assert choose(sizes, 0.03, 10**9).below == 5000
    assert choose(sizes, 0.0, 1000) == Split()


def test_the_end_of_a_single_text_is_kept_where_no_document_can_be_spared(desk):
    folder = desk.folder / "one.txt"
    text = "".join(f"line {i} of a single text\n" for i in range(3000))
    folder.write_text(text)
    dataset = desk.dataset({"kind": "text", "path": "one.txt"}, share=0.1)
    [train], [val] = sides(dataset)
    assert train + val == text
    assert len(train) == int(len(text) * 0.9)
    assert "too few to keep whole" in dataset.facts["notes"][0]


def test_the_tail_of_a_text_is_cut_where_nanogpt_cuts_it(desk):
    text = "".join(f"{i} to be or not\n" for i in range(3001))
    (desk.folder / "one.txt").write_text(text)
    dataset = desk.dataset({"kind": "text", "path": "one.txt", "val_tail": 0.1}, "char")
    [train], [val] = sides(dataset)
    assert train == text[: int(len(text) * 0.9)]
    assert val == text[int(len(text) * 0.9) :]
    assert dataset.tokens + dataset.val_tokens == len(text)  # no token is put in at the cut
    assert dataset.facts["notes"] == []


def test_a_cut_keeps_every_character():
    head, tail = cut(Document("abcdefghij", "x"), 0.25)
    assert (head.text, tail.text, head.part, tail.part) == ("abcdefg", "hij", "train", "val")


def test_a_validation_corpus_of_its_own_is_read_whole(desk):
    desk.articles(60)
    desk.articles(20, "held", first=500)
    dataset = desk.dataset(TEXTS, own={"kind": "text", "path": "held"})
    train, val = sides(dataset)
    assert (len(train), len(val)) == (60, 20)
    assert dataset.facts["val_documents"] == 20


def test_a_validation_file_that_is_trained_on_is_refused(desk):
    desk.articles(60)
    desk.articles(20, "held", first=50)
    with pytest.raises(DataError) as found:
        desk.dataset(TEXTS, own={"kind": "text", "path": "held"})
    assert str(found.value) == (
        'val.corpus = "text": held/0050.txt has the same content as texts/0050.txt, which is'
        " trained on (validation_overlap). Leave val.corpus out: val.share then keeps documents of"
        " the corpus apart"
    )


def test_validation_documents_that_are_trained_on_are_refused_with_examples(desk):
    desk.articles(60)
    held = desk.folder / "held.jsonl"
    import json

    texts = [(desk.folder / "texts" / f"{i:04}.txt").read_text() for i in (3, 4, 5)]
    held.write_text("".join(json.dumps({"text": t}) + "\n" for t in [*texts, "something else"]))
    with pytest.raises(DataError, match=r"3 of its 4 documents are trained on, such as texts/0003"):
        desk.dataset(TEXTS, own={"kind": "jsonl", "path": "held.jsonl"})


def alphabet_of_training_only(dataset, train: set[str]) -> bool:
    return set(dataset.tokenizer.alphabet) == set("".join(train))


def test_alphabets_never_see_validation_documents(desk):
    desk.articles(60)
    odd = next(f"Ж{i}" for i in range(10_000) if place(Document(f"Ж{i}", "")) < 2000)
    train, _ = sides(desk.dataset(TEXTS, "char", share=0.2))
    assert alphabet_of_training_only(desk.dataset(TEXTS, "char", share=0.2), train)
    (desk.folder / "texts" / "odd.txt").write_text(odd)
    with pytest.raises(DataError, match=r"tokenizer = 'Ж' \(U\+0416\): the training text has no"):
        desk.dataset(TEXTS, "char", share=0.2)


@pytest.mark.parametrize("leaky", [False, True])
def test_a_tokenizer_that_sees_validation_documents_is_noticed(desk, leaky):
    desk.articles(60)
    odd = next(f"Ж{i}" for i in range(10_000) if place(Document(f"Ж{i}", "")) < 2000)
    (desk.folder / "texts" / "odd.txt").write_text(odd)
    options = desk.options("corpora", "text", path="texts")
    corpus = Corpus(options, desk.folder, "refuse", Cache(desk.cache))
    # the planted fault: the split that the tokenizer is told of keeps nothing apart
    split = Split() if leaky else Split(below=2000)
    made = learnt(corpus, desk.options("tokenizers", "char"), corpus.scan(), split)
    assert ("Ж" in made.alphabet) is leaky
