import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, normalizers

from surefoot import kinds
from surefoot.data.tokenizer import SPECIALS, load
from surefoot.data.tokenizers import file
from surefoot.errors import DataError

LINES = (
    "def f(x):\n    return x  # café, 日本 \n\n\nclass A:\r\n\tdef g(self): ...\n"
    "  \n \nx = '''a\n\nb'''\n"
)
TEXT = LINES * 40
LLAMA = Path(__file__).parent.parent / "fixtures" / "llama" / "tokenizer.json"
OWN = {"bpe": {"vocab": 320}, "ids": {"vocab": 100}, "file": {"path": str(LLAMA)}}
WORDS = {"ids": "1 22 99 0"}


def made(kind: str, text: str = TEXT):
    module = kinds.find("tokenizers", kind)
    return module.make(module.Options(**OWN.get(kind, {})), [text])


def text_for(kind: str) -> str:
    return WORDS.get(kind, LINES)


each = pytest.mark.parametrize("kind", kinds.names("tokenizers"))


@each
def test_text_comes_back(kind):
    tokenizer = made(kind)
    text = text_for(kind)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(isinstance(i, int) and 0 <= i < tokenizer.vocab for i in ids)


@each
def test_many_texts_are_encoded_as_each_alone(kind):
    tokenizer = made(kind)
    texts = [text_for(kind), "", text_for(kind)[:7].strip()]
    for text, ids in zip(texts, tokenizer.many(texts), strict=True):
        assert ids.tolist() == tokenizer.encode(text)


@each
def test_saved_and_read_back_it_is_the_same(kind):
    tokenizer = made(kind)
    again = load(tokenizer.save())
    assert again.save() == tokenizer.save()
    assert again.encode(text_for(kind)) == tokenizer.encode(text_for(kind))
    assert (again.vocab, again.eos, again.pad) == (tokenizer.vocab, tokenizer.eos, tokenizer.pad)
    assert np.array_equal(again.token_bytes, tokenizer.token_bytes)


@each
def test_the_bytes_of_the_tokens_are_those_of_the_text(kind):
    tokenizer = made(kind)
    assert len(tokenizer.token_bytes) == tokenizer.vocab
    ids = tokenizer.encode(text_for(kind))
    if kind == "ids":
        assert tokenizer.token_bytes.sum() == 0  # nobody knows what they stand for
        return
    assert tokenizer.token_bytes[ids].sum() == len(text_for(kind).encode())
    assert tokenizer.token_bytes[:3].tolist() == [0, 0, 0]
    assert (tokenizer.token_bytes[3:] > 0).all()
    assert (tokenizer.eos, tokenizer.pad) == (1, 2)


@each
def test_two_makings_give_the_same_file(kind):
    assert made(kind).save() == made(kind).save()


@pytest.mark.parametrize("kind", ["byte", "bpe", "char"])
def test_the_name_of_a_special_token_in_a_text_is_text(kind):
    text = "a" + "".join(SPECIALS) + "b"
    tokenizer = made(kind, TEXT + text)
    ids = tokenizer.encode(text)
    assert min(ids) >= 3
    assert tokenizer.decode(ids) == text
    assert tokenizer.many([text])[0].tolist() == ids
    assert load(tokenizer.save()).encode(text) == ids


def test_blocks_are_cut_where_the_ids_do_not_notice():
    from surefoot.data.tokenizers import bpe

    tokenizer = made("bpe")
    text = "".join(f"{LINES}value_{i} = {i}\n" for i in range(400))
    blocks = bpe.blocks(text)
    assert "".join(blocks) == text
    assert len(blocks) > 5
    assert tokenizer.many([text])[0].tolist() == tokenizer.encode(text)


def test_the_library_is_cut_where_the_ids_do_not_notice():
    import ast
    import inspect

    tokenizer = made("bpe", inspect.getsource(ast))
    text = inspect.getsource(inspect) + inspect.getsource(kinds)
    assert tokenizer.many([text])[0].tolist() == tokenizer.encode(text)


def test_a_cut_at_any_newline_would_be_noticed(monkeypatch):
    import re

    from surefoot.data.tokenizers import bpe

    tokenizer = made("bpe")
    text = "".join(f"{LINES}value_{i} = {i}\n" for i in range(400))
    monkeypatch.setattr(bpe, "CUT", re.compile(r"\n"))  # the planted fault
    monkeypatch.setattr(bpe, "BLOCK", 16)
    assert tokenizer.many([text])[0].tolist() != tokenizer.encode(text)


def test_bytes_are_shifted_by_the_three_specials():
    tokenizer = made("byte")
    assert tokenizer.vocab == 259
    assert tokenizer.encode("\x00a") == [3, 100]
    assert tokenizer.decode([0, 100, 1, 198, 2]) == "a\ufffd"


def test_characters_are_sorted_and_an_unknown_one_is_named():
    tokenizer = made("char", "hello")
    assert tokenizer.alphabet == "ehlo"
    assert tokenizer.vocab == 7
    for ask in (tokenizer.encode, lambda text: tokenizer.many([text])):
        with pytest.raises(DataError) as found:
            ask("hell!")
        assert str(found.value) == (
            "tokenizer = '!' (U+0021): the training text has no such character, so it has no token."
            " Leave it out, or train with data.tokenizer.kind=byte, which knows them all"
        )


def test_a_vocabulary_that_the_text_does_not_fill_is_the_real_size():
    module = kinds.find("tokenizers", "bpe")
    tokenizer = module.make(module.Options(vocab=4096), ["ab ab ab"])
    assert 259 < tokenizer.vocab < 270


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"surefoot": {"kind": "../x"}}', b"\xff"])
def test_what_is_no_tokenizer_is_refused(raw):
    with pytest.raises(DataError, match=r"tokenizer\.json: this is no tokenizer that can be read"):
        load(raw)


@pytest.mark.parametrize("kind", ["byte", "bpe", "char"])
def test_a_tokenizer_of_ours_is_read_from_its_file_as_it_was(kind, tmp_path):
    own = made(kind)
    (tmp_path / "tokenizer.json").write_bytes(own.save())
    again = file.given(tmp_path / "tokenizer.json")
    assert type(again) is type(own) and again.save() == own.save()


def pieces(tmp_path: Path, **beside: dict) -> Path:
    """Write a tokenizer as SentencePiece's Llamas have it: spaces as signs, bytes as numbers."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, "<0x0A>": 3, "▁": 4, "é": 5, "a": 6, "▁a": 7}
    inner = Inner(models.BPE(vocab, [("▁", "a")], unk_token="<unk>", byte_fallback=True))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    inner.add_special_tokens(["<unk>", "<s>", "</s>"])
    inner.save(str(tmp_path / "tokenizer.json"))
    for name, content in beside.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "tokenizer.json"


def test_pieces_of_text_count_the_bytes_that_they_stand_for(tmp_path):
    found = file.given(pieces(tmp_path, tokenizer_config={"eos_token": {"content": "</s>"}}))
    assert found.token_bytes.tolist() == [0, 0, 0, 1, 1, 2, 1, 2]
    text = "a a\né"
    ids = found.encode(text)
    assert found.decode(ids) == text
    assert found.token_bytes[ids].sum() == len(text.encode())
    assert "</s>" not in found.decode([2, *ids])


@pytest.mark.parametrize(
    ("beside", "eos", "pad"),
    [
        ({"tokenizer_config": {"eos_token": "</s>"}}, 2, 2),
        ({"tokenizer_config": {"eos_token": "</s>", "pad_token": "<unk>"}}, 2, 0),
        ({"config": {"eos_token_id": [2, 1]}}, 2, 2),
        ({"config": {"eos_token_id": 1}, "special_tokens_map": {"eos_token": "</s>"}}, 2, 2),
        ({"config": {"eos_token_id": 99}}, None, 0),
        ({}, None, 0),
    ],
)
def test_what_ends_a_text_stands_in_the_files_beside_it(beside, eos, pad, tmp_path):
    found = file.given(pieces(tmp_path, **beside))
    assert (found.eos, found.pad) == (eos, pad)
    again = load(found.save())
    assert (again.eos, again.pad) == (eos, pad)


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "no JSON"), ("[]", "no tokenizer"), ("{}", "no vocabulary"), (None, "can't be read")],
)
def test_a_file_that_is_no_tokenizer_is_a_sentence(content, said, tmp_path):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=said) as told:
        file.given(path)
    assert "data.tokenizer.path" in str(told.value) and "Write " in str(told.value)
