import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

from surefoot import randomness
from surefoot.errors import DataError
from surefoot.model.batch import IGNORED

TEXTS = {"kind": "text", "path": "texts"}


def stream(dataset) -> list[int]:
    return dataset.train.tokens.read(0, dataset.tokens).tolist()


def test_a_batch_is_the_same_whenever_it_is_asked(desk):
    desk.articles(60)
    one, two = desk.dataset(TEXTS), desk.dataset(TEXTS)
    forward = {step: one.batch(step).hash for step in range(1, 40)}
    backward = {step: two.batch(step).hash for step in range(39, 0, -1)}
    assert forward == backward
    assert len(set(forward.values())) == 39
    assert torch.equal(one.batch(7).tokens, two.batch(7).tokens)


def test_another_process_draws_the_same_batches(desk):
    desk.articles(60)
    program = """
import sys
from pathlib import Path
from types import SimpleNamespace as N
from surefoot.data.dataset import prepare
from surefoot.data.corpora.text import Options
from surefoot.data.tokenizers.byte import Options as Byte
data = N(corpus=Options(path="texts"), tokenizer=Byte(), packing="stream", boundaries="ignore",
         order="shuffled", on_bad_line="refuse")
d = prepare(data, N(corpus=None, share=.05, batches=0), 0, 16, 4, Path("cache"))
print(*[d.batch(s).hash for s in map(int, sys.argv[1:])])
"""
    steps = [5, 1, 300, 2]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, steps)],
        capture_output=True,
        text=True,
        check=True,
    )
    here = desk.dataset(TEXTS)
    assert done.stdout.split() == [here.batch(s).hash for s in steps]


def test_labels_are_the_next_tokens(desk):
    desk.articles(60)
    batch = desk.dataset(TEXTS).batch(3)
    assert torch.equal(batch.tokens[:, 1:], batch.targets[:, :-1])
    assert batch.valid == batch.tokens.numel() == 64
    assert batch.tokens.dtype == batch.targets.dtype == torch.int64


def test_the_hash_is_fnv_over_the_stored_tokens(desk):
    desk.articles(60)
    batch = desk.dataset(TEXTS).batch(3)
    raw = batch.tokens.numpy().astype("<u2").tobytes()
    assert batch.hash == f"{randomness.fnv1a64(raw):016x}"


def test_one_epoch_reads_each_window_once_and_the_next_one_cuts_elsewhere(desk):
    desk.articles(60)
    dataset = desk.dataset(TEXTS, rows=1)
    text, n = stream(dataset), dataset.epoch_rows
    epochs = [
        [dataset.batch(s).tokens[0].tolist() for s in range(1 + e * n, 1 + (e + 1) * n)]
        for e in (0, 1)
    ]
    from surefoot.data.windows import offset

    for epoch, rows in enumerate(epochs):
        start = offset(0, epoch, 16)
        wanted = [text[start + 16 * j : start + 16 * (j + 1)] for j in range(n)]
        assert sorted(rows) == sorted(wanted)
        assert rows != wanted
    assert epochs[0] != epochs[1]


def test_rows_of_a_step_do_not_depend_on_how_steps_are_cut(desk):
    desk.articles(60)
    wide, narrow = desk.dataset(TEXTS, rows=8), desk.dataset(TEXTS, rows=2)
    rows = torch.cat([narrow.batch(s).tokens for s in range(5, 9)])
    assert torch.equal(wide.batch(2).tokens, rows)
    assert [m.position for m in wide.batch(2).micro(2)] == [8, 10, 12, 14]


def test_skipped_positions_are_left_out_and_the_rest_moves_up(desk):
    desk.articles(60)
    dataset = desk.dataset(TEXTS, rows=1)
    rows = [dataset.batch(s).hash for s in range(1, 30)]
    skips = [(4, 7), (10, 11)]
    left = [h for p, h in enumerate(rows) if not (4 <= p < 7 or p == 10)]
    assert [dataset.batch(s, skips).hash for s in range(1, 20)] == left[:19]
    assert dataset.batch(5, skips).position == dataset.position(5, skips) == 7


def test_another_seed_gives_another_order_of_the_same_text(desk):
    desk.articles(60)
    one, two = desk.dataset(TEXTS), desk.dataset(TEXTS, seed=1)
    assert one.fingerprint == two.fingerprint
    assert one.batch(1).hash != two.batch(1).hash


def test_masked_boundaries_number_documents_and_restart_positions(desk):
    desk.articles(60)
    batch = desk.dataset(TEXTS, boundaries="mask", seq_len=200).batch(1)
    assert batch.doc is not None
    assert batch.positions is not None
    for tokens, doc, places in zip(batch.tokens, batch.doc, batch.positions, strict=True):
        ends = 0
        place = 0
        for t in range(200):
            assert (int(doc[t]), int(places[t])) == (ends, place)
            place += 1
            if tokens[t] == 1:
                ends, place = ends + 1, 0
    assert batch.doc.max() >= 1
    assert torch.equal(batch.tokens[:, 1:], batch.targets[:, :-1])  # the label after eos stays


def test_one_document_a_row_is_cut_padded_and_its_padding_unlearnt(desk):
    desk.articles(60)
    dataset = desk.dataset(TEXTS, packing="document", seq_len=120, rows=1)
    n = dataset.epoch_rows
    assert n == dataset.facts["documents"]
    ends = [0, *dataset.train.ends.tolist()]
    text = stream(dataset)
    wanted = sorted(text[a:b][:121] for a, b in itertools.pairwise(ends))
    found = []
    for step in range(1, n + 1):
        batch = dataset.batch(step)
        learnt = batch.targets[0][batch.targets[0] != IGNORED].tolist()
        assert batch.valid == len(learnt)
        assert batch.tokens[0][len(learnt) + 1 :].tolist() == [2] * (119 - len(learnt))
        found.append([int(batch.tokens[0, 0]), *learnt])
    assert sorted(found) == wanted


def test_prompts_are_read_but_not_learnt(desk):
    rows = [f'{{"q": "say {i} ", "a": "well, it is {i}"}}' for i in range(300)]
    (desk.folder / "talk.jsonl").write_text("\n".join(rows) + "\n")
    corpus = {"kind": "jsonl", "path": "talk.jsonl", "field": "a", "prompt": "q"}
    for packing in ("document", "stream"):
        dataset = desk.dataset(corpus, packing=packing, seq_len=32)
        for step in range(1, 5):
            batch = dataset.batch(step)
            for tokens, targets in zip(batch.tokens, batch.targets, strict=True):
                learnt = dataset.tokenizer.decode(targets[targets != IGNORED].tolist())
                assert "say" not in learnt
                assert "w" in learnt or "i" in learnt
                kept = targets != IGNORED
                assert torch.equal(targets[:-1][kept[:-1]], tokens[1:][kept[:-1]])


def test_validation_reads_each_token_once_as_a_target(desk):
    desk.articles(80)
    dataset = desk.dataset(TEXTS, share=0.2)
    batches = list(dataset.validation(3))
    text = dataset.val.tokens.read(0, dataset.val_tokens)
    targets = np.concatenate([b.targets.numpy().ravel() for b in batches])
    assert np.array_equal(targets[targets != IGNORED], text[1:])
    assert sum(b.valid for b in batches) == dataset.val_tokens - 1
    again = [b.hash for b in dataset.validation(3)]
    assert again == [b.hash for b in batches]


def test_validation_has_one_document_a_row_where_training_has(desk):
    desk.articles(80)
    dataset = desk.dataset(TEXTS, share=0.2, packing="document", seq_len=200)
    ends = [0, *dataset.val.ends.tolist()]
    text = dataset.val.tokens.read(0, dataset.val_tokens).tolist()
    wanted = [text[a + 1 : b][:200] for a, b in itertools.pairwise(ends)]
    found = []
    for batch in dataset.validation(3, "all"):
        for tokens, targets in zip(batch.tokens, batch.targets, strict=True):
            _, _, after = "".join(map(chr, tokens.tolist())).partition("\x01")
            assert not after.strip("\x02")  # nothing follows an end
            found.append(targets[targets != IGNORED].tolist())
    assert found == wanted


def test_problems_are_held_out_documents_cut_where_their_prompt_ends(desk):
    rows = [f'{{"q": "say {i % 290} ", "a": "well, it is {i % 290}"}}' for i in range(300)]
    (desk.folder / "talk.jsonl").write_text("\n".join(rows) + "\n")
    corpus = {"kind": "jsonl", "path": "talk.jsonl", "field": "a", "prompt": "q"}
    dataset = desk.dataset(corpus, packing="document", seq_len=32, share=0.5)
    decode = dataset.tokenizer.decode
    found = [(decode(asked), decode(answer)) for asked, answer in dataset.problems(1000)]
    assert len(found) == len(set(found)) > 100
    assert all(answer == asked.replace("say", "well, it is").strip() for asked, answer in found)
    assert len(dataset.problems(7)) == 7
    assert all(ids[-1] != dataset.tokenizer.eos for _, ids in dataset.problems(9))
    desk.articles(40)
    assert desk.dataset(TEXTS, share=0.5).problems(9) == []


def test_validation_can_be_limited_and_the_last_one_is_whole(desk):
    desk.articles(80)
    dataset = desk.dataset(TEXTS, share=0.2, batches=2)
    assert sum(b.valid for b in dataset.validation(4)) == 2 * 4 * 16
    assert sum(b.valid for b in dataset.validation(4, "final")) == dataset.val_tokens - 1
    assert sum(b.valid for b in dataset.validation(4, "all")) == dataset.val_tokens - 1


def test_a_validation_share_of_nothing_gives_nothing(desk):
    desk.articles(20)
    dataset = desk.dataset(TEXTS, share=0.0)
    assert list(dataset.validation(4)) == []
    assert dataset.val_tokens == 0


def test_the_entropy_is_that_of_the_token_frequencies(desk):
    desk.articles(20)
    dataset = desk.dataset(TEXTS)
    counts = np.bincount(stream(dataset))
    shares = counts[counts > 0] / counts.sum()
    assert dataset.entropy == pytest.approx(-(shares * np.log(shares)).sum())


def test_a_truncated_token_file_is_an_error_and_not_a_crash(desk):
    desk.articles(60)
    dataset = desk.dataset(TEXTS)
    path = dataset.train.side.shards[0].path
    with path.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(DataError, match=r"tokens\.bin: it was changed while it was being read"):
        dataset.batch(2)


def test_a_batch_seeded_by_the_rank_is_noticed(desk):
    desk.articles(60)
    ranks = [desk.dataset(TEXTS), desk.dataset(TEXTS)]
    ranks[1].windows.rows.seed += 1  # the planted fault: each rank in an order of its own
    assert ranks[0].batch(1).hash != ranks[1].batch(1).hash
