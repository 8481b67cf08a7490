import json
import re
from pathlib import Path

import numpy as np
import pytest

from surefoot import kinds
from surefoot.data.corpora import logic, stdlib, synthetic
from surefoot.data.documents import Document, Skipped
from surefoot.errors import DataError

OWN = {
    "text": {"path": "a.txt"},
    "jsonl": {"path": "a.jsonl"},
    "bin": {"path": "a.bin"},
    "stdlib": {"limit_mib": 1.0},
    "synthetic": {"documents": 50},
    "logic": {"problems": 60},
}
each = pytest.mark.parametrize("kind", kinds.names("corpora"))


@pytest.fixture
def where(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("some text\n")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "some text"}) + "\n")
    (tmp_path / "a.bin").write_bytes(np.arange(50, dtype="<u2").tobytes())
    return tmp_path


@each
def test_files_are_sorted_there_and_the_same_when_asked_again(kind, where):
    module = kinds.find("corpora", kind)
    options = module.Options(**OWN[kind])
    files = module.files(options, where)
    assert files == sorted(files) == module.files(options, where)
    assert all(path.is_file() for path in files)


@each
def test_it_gives_documents_or_tokens_and_the_same_ones_again(kind, where):
    module = kinds.find("corpora", kind)
    options = module.Options(**OWN[kind])
    assert options.kind == kind
    if hasattr(module, "tokens"):
        assert module.tokens(options, where) == module.tokens(options, where)
        assert sum(shard.count for shard in module.tokens(options, where)) > 0
        return
    found = list(module.documents(options, where))
    assert found == list(module.documents(options, where))
    assert all(isinstance(f, Document | Skipped) for f in found)
    texts = [f for f in found if isinstance(f, Document)]
    assert texts
    assert all(d.text and d.name for d in texts)


def test_the_library_is_spread_over_and_leaves_out_what_is_not_its_own():
    few = stdlib.files(stdlib.Options(limit_mib=1), Path())
    more = stdlib.files(stdlib.Options(limit_mib=2), Path())
    whole = stdlib.files(stdlib.Options(), Path())
    assert 0.9 * 2**20 < sum(p.stat().st_size for p in few) <= 2**20
    assert set(few) <= set(whole)
    assert len(set(few) - set(more)) < len(few) / 4
    names = {part for p in whole for part in p.relative_to(stdlib.library()).parts}
    assert not names & stdlib.LEFT_OUT
    assert len({p.name[0] for p in few}) > 10


def test_the_library_gives_no_document_twice():
    texts = [
        d.text
        for d in stdlib.documents(stdlib.Options(limit_mib=2), Path())
        if isinstance(d, Document)
    ]
    assert len(texts) == len(set(texts))


def test_a_python_without_its_library_is_said(monkeypatch, tmp_path):
    (tmp_path / "os.py").write_text("x = 1\n")
    monkeypatch.setattr(stdlib, "library", lambda: tmp_path)
    with pytest.raises(DataError) as found:
        stdlib.files(stdlib.Options(), Path())
    assert str(found.value) == (
        'data.corpus.kind = "stdlib": this Python came without its library\'s source'
        f" (looked in {tmp_path}: 1 files, 0.00 MB)."
        ' Write data.corpus={kind="text", path="<a folder of text files>"}'
    )


def test_uniform_letters_are_uniform_and_the_first_documents_stay():
    options = synthetic.Options(symbols=4, length=100, documents=200)
    texts = [d.text for d in synthetic.documents(options, Path())]
    counts = [sum(t.count(c) for t in texts) for c in "abcd"]
    assert sum(counts) == 20_000
    assert all(abs(c - 5000) < 300 for c in counts)
    fewer = synthetic.Options(symbols=4, length=100, documents=3)
    assert [d.text for d in synthetic.documents(fewer, Path())] == texts[:3]


def test_copies_and_sums_are_right():
    for document in synthetic.documents(synthetic.Options(task="copy", length=20), Path()):
        assert document.text[:10] == document.text[10:]
    sums = synthetic.Options(task="arithmetic", length=3, documents=100)
    for document in synthetic.documents(sums, Path()):
        asked, answer = document.text.strip().split("=")
        assert sum(map(int, asked.split("+"))) == int(answer)


ASKED = re.compile(r"If X=(\d+) and Y=(\d+), (what is X\+Y|which is larger|is X\+Y over 100)\?")


def problems(**options) -> list[tuple[int, int, str, Document]]:
    """Draw problems, each read back from its text: X, Y, what is asked, and the document."""
    found = []
    for document in logic.documents(logic.Options(**options), Path()):
        assert isinstance(document, Document)
        asked = ASKED.fullmatch(document.prompt)
        assert asked is not None, document.prompt
        found.append((int(asked[1]), int(asked[2]), asked[3], document))
    return found


def test_the_answers_to_problems_are_right():
    for x, y, asked, document in problems(problems=600):
        said = document.text.split()[-1].removesuffix(".")
        if asked == "what is X+Y":
            assert said == f"X+Y={x + y}"
        elif asked == "which is larger":
            assert said == ("X" if x > y else "Y" if y > x else "neither")
        else:
            assert said == ("yes" if x + y > 100 else "no")
        for left, result in re.findall(r"([\d+]+)=(\d+)", document.text):
            if "+" in left:
                assert sum(map(int, left.split("+"))) == int(result), document.text


def test_each_kind_of_problem_is_asked_as_often():
    drawn = problems(problems=3000)
    counts = [sum(asked == one for _, _, asked, _ in drawn) for one in {d[2] for d in drawn}]
    assert len(counts) == 3 and all(abs(count - 1000) < 120 for count in counts)


def test_no_pair_of_numbers_is_on_both_sides_in_whatever_order():
    drawn = problems(problems=8000, held_out=0.2)
    sides = {
        part: {frozenset((x, y)) for x, y, _, d in drawn if d.part == part}
        for part in ("train", "val")
    }
    assert not sides["train"] & sides["val"]
    share = sum(d.part == "val" for *_, d in drawn) / len(drawn)
    assert 0.15 < share < 0.25
    # at any seed: what one run holds out no other has learnt
    other = problems(problems=4000, held_out=0.2, seed=1)
    assert not {frozenset((x, y)) for x, y, _, d in other if d.part == "val"} & sides["train"]
    assert [d for *_, d in other] != [d for *_, d in drawn][:4000]


def test_the_pair_that_the_sample_asks_about_is_held_out():
    assert logic.held_out(5, 10, 0.01) and logic.held_out(10, 5, 0.01)
    assert not logic.held_out(5, 10, 0.0)
    assert [d for *_, d in problems(problems=40)] == [d for *_, d in problems(problems=900)][:40]
