"""Python's own standard library, as source text: the default, there without a download."""

import hashlib
import os
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from surefoot.data.documents import Document, Skipped
from surefoot.errors import DataError, Problem
from surefoot.recipe.choice import Choice

# Not prose of the library's own: other people's packages, tests, generated tables.
LEFT_OUT = {
    *("site-packages", "dist-packages", "test", "tests", "idle_test", "idlelib", "lib2to3"),
    *("turtledemo", "encodings", "pydoc_data", "__pycache__"),
}
LEAST = 1_000_000  # bytes: below this it is a stripped Python


class Options(Choice):
    """How much of the library is taken."""

    kind: str = "stdlib"
    limit_mib: Annotated[float, Field(ge=0)] = 0.0
    """Most text that is taken, spread over the library, MiB; 0 = all of it"""


def library() -> Path:
    """Give the folder of the running Python's library."""
    return Path(sysconfig.get_paths()["stdlib"])


def chance(name: str) -> str:
    """Give the order in which files are taken up to a limit, by nothing but their names."""
    return hashlib.sha256(name.encode()).hexdigest()


def files(options: Options, _where: Path) -> list[Path]:
    """List the library's files, sorted."""
    root = library()
    sizes: dict[str, int] = {}
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name not in LEFT_OUT]  # site-packages can be huge
        for name in names:
            if name.endswith(".py"):
                path = Path(folder, name)
                sizes[path.relative_to(root).as_posix()] = path.stat().st_size
    if sum(sizes.values()) < LEAST:
        raise DataError(stripped(root, len(sizes), sum(sizes.values())))
    if options.limit_mib:
        left = options.limit_mib * 2**20
        taken: list[str] = []
        for name in sorted(sizes, key=chance):
            if sizes[name] <= left:
                taken.append(name)
                left -= sizes[name]
        return [root / name for name in sorted(taken)]
    return [root / name for name in sorted(sizes)]


def documents(options: Options, where: Path) -> Iterator[Document | Skipped]:
    """Give each file once; those that aren't UTF-8 or are empty are counted."""
    root = library()
    seen: set[bytes] = set()
    for path in files(options, where):
        raw = path.read_bytes()
        key = hashlib.sha256(raw).digest()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            yield Skipped("not UTF-8")
            continue
        if key in seen:
            yield Skipped("double")
        elif not text:
            yield Skipped("empty")
        else:
            seen.add(key)
            yield Document(text, path.relative_to(root).as_posix())


def facts() -> dict[str, str]:
    """Say which Python this is: the text differs between them."""
    return {"python": platform.python_version()}


def stripped(root: Path, count: int, size: int) -> Problem:
    """Say that this Python came without its library's source."""
    return Problem(
        what="data.corpus.kind",
        value='"stdlib"',
        why=f"this Python came without its library's source (looked in {root}: {count} files,"
        f" {size / 1e6:.2f} MB)",
        instead='Write data.corpus={kind="text", path="<a folder of text files>"}',
    )
