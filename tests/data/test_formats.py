import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot.data.corpora import jsonl
from surefoot.data.documents import Document, Skipped
from surefoot.errors import DataError

GOOD = '{"text": "a line that is fine"}\n'
MEND = 'Mend the line, or write data.on_bad_line="skip"'


def lines(desk, *rows: bytes | str) -> dict:
    raw = b"".join(row if isinstance(row, bytes) else row.encode() for row in rows)
    (desk.folder / "train.jsonl").write_bytes(raw)
    return {"kind": "jsonl", "path": "train.jsonl"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            '{"text": "If X=5 and so on\n',
            'not JSON (unterminated string at column 10); the line starts {"text": "If X=5 a...',
        ),
        ("nonsense\n", "not JSON (expecting value at column 1); the line starts nonsense"),
        ("[1, 2]\n", "this is an array, not an object; the line starts [1, 2]"),
        ("null\n", "this is null, not an object; the line starts null"),
        ('{"text": 5}\n', 'field "text" is a number, not a string'),
        ('{"text": null}\n', 'field "text" is null, not a string'),
        ('{"text": "\\ud800"}\n', 'field "text" holds half a character (at 0)'),
        (b'{"text": "caf\xe9"}\n', "byte 13 of the line is not UTF-8"),
        ("[" * 100_000 + "\n", "not JSON that can be read (nested too deep)"),
    ],
)
def test_a_bad_line_is_refused_with_file_and_line(desk, row, said):
    corpus = lines(desk, GOOD, GOOD, row, GOOD)
    with pytest.raises(DataError) as found:
        desk.dataset(corpus)
    assert str(found.value) == f"train.jsonl:3: {said}. {MEND}"
    assert found.value.exit == 2


def test_a_last_line_that_was_cut_short_is_said_to_be_so(desk):
    corpus = lines(desk, GOOD, '{"text": "and then the disk was fu')
    with pytest.raises(DataError) as found:
        desk.dataset(corpus)
    assert str(found.value) == (
        "train.jsonl:2: the file's last line is cut short (unterminated string at column 10)."
        f" {MEND}"
    )


def test_a_missing_field_names_those_there_are(desk):
    with pytest.raises(DataError) as found:
        desk.dataset(lines(desk, '{"content": "x", "id": 1}\n'))
    assert str(found.value) == (
        'train.jsonl:1: there is no field "text" (fields: content, id).'
        ' Mend the line, or write data.corpus.field="content"'
    )


def test_a_line_of_more_than_64_mib_is_refused_and_the_next_one_read(desk, tmp_path):
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.truncate(jsonl.LONGEST + 10)  # sparse: a line of zeros
        file.seek(0, 2)
        file.write(b"\n" + GOOD.encode())
    options = jsonl.Options(path="long.jsonl")
    bad, good = jsonl.documents(options, tmp_path)
    assert isinstance(bad, Skipped)
    assert isinstance(good, Document)
    assert str(bad.problem) == f"long.jsonl:1: the line is longer than 64 MiB. {MEND}"
    assert good.name == "long.jsonl:2"


def test_bad_lines_are_skipped_and_counted_where_the_recipe_says_so(desk):
    good = [json.dumps({"text": f"line number {i} of many"}) + "\n" for i in range(1500)]
    dataset = desk.dataset(lines(desk, *good, "oops\n"), on_bad_line="skip")
    assert dataset.facts["skipped"] == {"bad line": 1}
    assert dataset.facts["documents"] + dataset.facts["val_documents"] == 1500
    with pytest.raises(DataError, match=r"data\.on_bad_line = \"skip\": 3 of 1503 can't be read"):
        desk.dataset(lines(desk, *good, "oops\n" * 3), on_bad_line="skip")


def test_empty_documents_and_lines_are_counted_and_left_out(desk):
    good = [json.dumps({"text": f"line number {i} of many"}) + "\n" for i in range(50)]
    dataset = desk.dataset(lines(desk, b"\xef\xbb\xbf", *good, "\n", '{"text": ""}\n'))
    assert dataset.facts["skipped"] == {"empty": 2}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b'{"text": "x"}', b'{"text": "\\ud800"}', b"{", b"NaN", b"1" * 5000])
    ),
    st.sampled_from([b"\n", b"\r\n", b"\r", b""]),
)
def test_any_bytes_give_documents_or_an_error_with_file_and_line(parts, end):
    raw = end.join(parts)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "any.jsonl").write_bytes(raw)
        for found in jsonl.documents(jsonl.Options(path="any.jsonl"), Path(folder)):
            if isinstance(found, Document):
                assert found.text.encode()
            elif found.problem is not None:
                assert found.problem.what.startswith("any.jsonl:")
            else:
                assert found.why == "empty"


def tokens(desk, ids, header=None, name="train.bin") -> dict:
    raw = np.array(ids, dtype="<u2").tobytes()
    if header is not None:
        full = np.zeros(256, dtype="<i4")
        full[: len(header)] = header
        raw = full.tobytes() + raw
    (desk.folder / name).write_bytes(raw)
    return {"kind": "bin", "path": name, "vocab": 100}


def test_token_files_with_and_without_a_header_read_the_same(desk):
    ids = [i * 7 % 100 for i in range(4000)]
    plain = desk.dataset(tokens(desk, ids))
    headed = desk.dataset(tokens(desk, ids, [20240520, 1, 4000], "headed.bin"))
    assert plain.train.tokens.read(0, plain.tokens).tolist() == ids[: plain.tokens]
    assert plain.val.tokens.read(0, plain.val_tokens).tolist() == ids[plain.tokens :]
    assert plain.val_tokens == 64 * 16
    assert plain.batch(3).hash == headed.batch(3).hash
    assert plain.tokenizer.decode([12, 7]) == "12 7"


def test_many_token_files_are_one_sequence_read_in_place(desk):
    ids = [i * 7 % 100 for i in range(9000)]
    for number, start in enumerate(range(0, 9000, 1000)):
        tokens(desk, ids[start : start + 1000], [20240520, 1, 1000], f"part_{number}.bin")
    dataset = desk.dataset({"kind": "bin", "path": "part_*.bin", "vocab": 100})
    assert dataset.train.tokens.read(0, dataset.tokens).tolist() == ids[: dataset.tokens]
    assert dataset.train.tokens.read(995, 2010).tolist() == ids[995:3005]
    assert not list(desk.cache.glob("*/tokens.bin"))


@pytest.mark.parametrize(
    ("header", "cut", "said"),
    [
        ([20240520, 2, 50], 0, "its header says version 2, and only 1 is known"),
        (
            [20240520, 1, 51],
            0,
            "its header says 51 tokens, which is 1,126 bytes, and it has 1,124",
        ),
        (None, 1, "99 bytes are no whole number of uint16 tokens"),
    ],
)
def test_a_damaged_token_file_is_refused(desk, header, cut, said):
    corpus = tokens(desk, range(50), header)
    path = desk.folder / "train.bin"
    path.write_bytes(path.read_bytes()[: -cut or None])
    with pytest.raises(DataError) as found:
        desk.dataset(corpus)
    assert str(found.value) == (
        f"train.bin: {said}. Fetch or make the file again, or leave it out of data.corpus.path"
    )


def test_a_token_beyond_the_vocabulary_is_refused_with_file_and_offset(desk):
    ids = [5] * 3000
    ids[2000] = 100
    with pytest.raises(DataError) as found:
        desk.dataset(tokens(desk, ids, [20240520, 1, 3000]))
    assert str(found.value) == (
        "data.corpus.vocab = 100: train.bin holds token 100 at byte 5,024 (token 2,000)."
        " Write data.corpus.vocab=101 or more, or make the file again"
    )


def test_documents_of_token_files_end_or_begin_with_their_ids(desk):
    ids = [i % 90 + 5 for i in range(6000)]
    ids[::40] = [3] * 150
    begun = tokens(desk, ids) | {"bos_id": 3}
    dataset = desk.dataset(begun, packing="document", seq_len=48, rows=1)
    batch = dataset.batch(1)
    assert int(batch.tokens[0, 0]) == 3
    assert batch.valid == 39
    masked = desk.dataset(begun, boundaries="mask", seq_len=48).batch(1)
    assert torch_ids(masked, 3)
    ended = tokens(desk, ids, name="ended.bin") | {"eos_id": 3}
    dataset = desk.dataset(ended, packing="document", seq_len=48, rows=1)
    assert int(dataset.batch(4).targets[0, 38]) == 3


def torch_ids(batch, first: int) -> bool:
    begins = (batch.tokens == first) & (batch.positions != 0)
    return not bool(begins.any()) and int(batch.doc.max()) == 1


def test_token_files_without_boundaries_refuse_what_needs_them(desk):
    corpus = tokens(desk, [5] * 5000)
    for key, value in (("packing", "document"), ("boundaries", "mask")):
        with pytest.raises(
            DataError, match=f"data.{key} = .{value}.: the corpus doesn't say where"
        ):
            desk.dataset(corpus, **{key: value})


def test_a_text_that_is_not_utf8_is_refused_with_its_byte(desk):
    desk.articles(5)
    (desk.folder / "texts" / "bad.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError) as found:
        desk.dataset({"kind": "text", "path": "texts"})
    assert str(found.value) == (
        "texts/bad.txt: byte 3 is not UTF-8."
        ' Write data.corpus.encoding="latin-1", or data.on_bad_line="skip"'
    )
    desk.dataset({"kind": "text", "path": "texts", "encoding": "latin-1"}).close()


def test_texts_of_which_none_can_be_read_are_refused(desk):
    for name in ("a.txt", "b.txt"):
        (desk.folder / name).write_bytes(b"caf\xe9")
    with pytest.raises(DataError) as found:
        desk.dataset({"kind": "text", "path": "*.txt"}, on_bad_line="skip")
    assert str(found.value) == (
        'data.corpus = "text": 0 of 2 could be read (first: a.txt, byte 3 is not UTF-8).'
        ' Write data.corpus.encoding="latin-1", or data.on_bad_line="skip"'
    )


def test_a_path_that_is_not_there_is_said(desk):
    with pytest.raises(DataError, match=r'data\.corpus\.path = "no\.txt": there is no such file'):
        desk.dataset({"kind": "text", "path": "no.txt"})
    (desk.folder / "hollow").mkdir()
    with pytest.raises(DataError, match=r'path = "hollow": the folder holds no file'):
        desk.dataset({"kind": "text", "path": "hollow"})


def test_a_corpus_without_text_is_refused(desk):
    (desk.folder / "empty.txt").write_text("")
    with pytest.raises(DataError) as found:
        desk.dataset({"kind": "text", "path": "empty.txt"})
    assert str(found.value) == (
        'data.corpus = "text": there is no document in it (1 empty ones were left out).'
        ' Write data.corpus={kind="text", path="<a folder of text files>"}'
    )


def test_blank_lines_part_documents(desk):
    (desk.folder / "all.txt").write_text("one\nis first\n\ntwo\n \n\nthree\n")
    from surefoot.data.corpora import text

    def found(**more):
        options = text.Options(path="all.txt", **more)
        return [d.text for d in text.documents(options, desk.folder) if isinstance(d, Document)]

    assert found(split="blank_line") == ["one\nis first", "two", "three\n"]
    assert len(found()) == len(found(split="none")) == 1
