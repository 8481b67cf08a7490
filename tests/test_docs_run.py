"""Every fenced `sh` and `python` block of the documents runs, in order, and gives what it says."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import Block, blocks, checkout, ran
from tests.house_rules import ROOT

DOCUMENTS = [
    "README.md", "CONTRIBUTING.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))),
]  # fmt: skip
MADE = (Path(sys.prefix) / "stamp").is_file()  # this environment is one that make installed
COMMANDS = {"sh": ["bash", "-e", "-o", "pipefail", "-c"], "python": [sys.executable, "-c"]}


def needs_make(block: Block) -> bool:
    """Say whether a block installs, which only an environment of make's own can do again."""
    return block.language == "sh" and bool(re.search(r"^(make (?!help)|\. )", block.text, re.M))


def expected(block: Block, after: Block | None) -> Iterator[str]:
    """Give the output lines that a document promises: a block `text output` right behind."""
    if after is not None and after.language == "text" and "output" in after.words:
        yield from (line for line in after.text.splitlines() if line.strip() != "...")


def masked(line: str) -> str:
    """Make numbers and spaces alike, which differ from machine to machine."""
    return re.sub(r"\s+", " ", re.sub(r"\d[\d.,]*", "#", line)).strip()


def run(block: Block, after: Block | None, place: Path) -> None:
    """Run one block; it must succeed, and say what the document says."""
    if block.file:
        (place / block.file).write_text(block.text.split("\n", 1)[1], encoding="utf-8")
        return
    if block.language not in COMMANDS:
        return
    done = ran([*COMMANDS[block.language], block.text], place, place)
    where = f"{block.document}:{block.line}"
    assert done.returncode == 0, f"{where} gives {done.returncode}:\n{done.stdout[-3000:]}"
    told = iter([masked(line) for line in done.stdout.splitlines()])
    for line in expected(block, after):
        assert masked(line) in told, f"{where} doesn't say {line!r} there:\n{done.stdout[-3000:]}"


def walk(document: str, place: Path) -> None:
    """Run a document's blocks in order, but for those that need a GPU."""
    found = blocks(document)
    if MADE:
        (place / ".venv").symlink_to(sys.prefix)
    for block, after in zip(found, [*found, None][1:], strict=True):
        if "gpu" in block.words or (needs_make(block) and not MADE):
            continue
        run(block, after, place)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_shows_runs(document: str, tmp_path: Path) -> None:
    walk(document, checkout(tmp_path / "here"))


def test_the_blocks_that_install_are_few() -> None:
    held = [b for document in DOCUMENTS for b in blocks(document) if needs_make(b)]
    assert len(held) <= 2, "only README's two may be left out where make did not install"


@pytest.mark.parametrize(
    ("text", "said"),
    [("false", "gives 1"), ("surefoot show nothing", "gives 2"), ("echo step 3", "doesn't say")],
)
def test_a_block_that_lies_is_found(text: str, said: str, tmp_path: Path) -> None:
    block = Block("a.md", 1, "sh", (), text)
    after = Block("a.md", 5, "text", ("output",), "epoch 3\n")
    with pytest.raises(AssertionError, match=said):
        run(block, after, tmp_path)


def test_every_language_of_a_block_is_one_that_is_known() -> None:
    known = {"sh", "python", "toml", "text", "json", "slurm"}
    assert {block.language for name in DOCUMENTS for block in blocks(name)} <= known
