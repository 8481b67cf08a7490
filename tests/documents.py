"""Reads the fenced blocks of the documents, and puts up a place where they can be run."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.house_rules import ROOT

FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|toml|txt))\n")
COPIED = ("surefoot", "tests", "docs", "pyproject.toml", "README.md", "Makefile", "CONTRIBUTING.md")


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    document: str
    line: int
    language: str
    words: tuple[str, ...]  # gpu, output: what stands behind the language
    text: str

    @property
    def file(self) -> str:
        """Name the file that a block is, by its first line; "" where it is none."""
        found = FILE.match(self.text)
        return found[1] if found else ""


def blocks(document: str) -> list[Block]:
    """Give the fenced blocks of a document, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(document, text[: m.start()].count("\n") + 1, m[1], tuple(m[2].split()), m[3])
        for m in FENCE.finditer(text)
    ]


def part(document: str, file: str) -> str:
    """Give the text of the file that a document shows whole."""
    (found,) = [block for block in blocks(document) if block.file == file]
    return found.text.split("\n", 1)[1]


def checkout(place: Path) -> Path:
    """Copy the working tree's own files, so that a document may write into it."""
    place.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, place / name)
    return place


def surroundings(*first: Path) -> dict[str, str]:
    """Give an environment in which `surefoot` and `pytest` are those of this checkout."""
    own = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{own}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, [*first, ROOT])),
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }


def ran(words: list[str], place: Path, *first: Path) -> subprocess.CompletedProcess[str]:
    """Run a command, and give its two streams as one."""
    return subprocess.run(
        words, cwd=place, env=surroundings(*first), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
