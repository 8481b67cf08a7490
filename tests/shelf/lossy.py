"""A disk that may lose at a power cut whatever was not made durable: data and names, in any mix."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surefoot.shelf.disk import Disk, Opened

Operation = tuple[str, Path, Any]  # what, where, and with what


class Traced(Disk):
    """Does as told, and remembers all of it in order."""

    def __init__(self) -> None:
        self.trace: list[Operation] = []

    def done(self, what: str, path: Path, with_what: Any = None) -> None:
        self.trace.append((what, path, with_what))

    def create(self, path: Path) -> Opened:
        self.done("create", path)
        return super().create(path)

    def open_append(self, path: Path) -> Opened:
        if not path.exists():
            self.done("create", path)
        return super().open_append(path)

    def write(self, opened: Opened, data: bytes | memoryview) -> None:
        self.done("write", opened.path, bytes(data))
        super().write(opened, data)

    def append(self, opened: Opened, data: bytes | bytearray) -> int:
        taken = super().append(opened, data)
        self.done("write", opened.path, bytes(data[:taken]))
        return taken

    def fsync(self, opened: Opened) -> None:
        self.done("fsync", opened.path)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.done("rename", source, target)

    def symlink(self, target: str, link: Path) -> None:
        super().symlink(target, link)
        self.done("symlink", link, target)

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.done("remove", path)

    def rmdir(self, path: Path) -> None:
        super().rmdir(path)
        self.done("remove", path)

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        self.done("mkdir", path)

    def fsync_folder(self, path: Path) -> None:
        self.done("fsync_folder", path)


@dataclass(eq=False)
class File:
    """What is durable of a file, and the pieces that are not."""

    durable: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    def after(self, draw: random.Random) -> bytes:
        """Each piece is there, torn or zero; and the file may end before any of them."""
        kept = [piece if draw.random() < 0.5 else lost(piece, draw) for piece in self.pieces]
        return self.durable + b"".join(kept[: draw.randint(0, len(kept))])


@dataclass(eq=False)
class Folder:
    """The names that are durable, and the changes of names that are not."""

    names: dict[str, Any] = field(default_factory=dict)
    changes: list[tuple[str, str, Any]] = field(default_factory=list)  # old, new, what

    def now(self) -> dict[str, Any]:
        return changed(self.names, self.changes)

    def after(self, draw: random.Random) -> dict[str, Any]:
        """Each change of a name happened or did not; a rename is one change."""
        return changed(self.names, [one for one in self.changes if draw.random() < 0.5])


def changed(names: dict[str, Any], changes: list[tuple[str, str, Any]]) -> dict[str, Any]:
    names = dict(names)
    for old, new, what in changes:
        names.pop(old, None)
        if new:
            names[new] = what
    return names


def lost(piece: bytes, draw: random.Random) -> bytes:
    held = draw.choice((0, len(piece) // 2))
    return piece[:held] + bytes(len(piece) - held)


class Platter:
    """Plays a trace, and says what may be left of it when the power goes."""

    def __init__(self, root: Path) -> None:
        self.root, self.top = root, Folder()

    def find(self, path: Path) -> Any:
        found: Any = self.top
        for part in path.relative_to(self.root).parts:
            found = found.now()[part]
        return found

    def play(self, operation: Operation) -> None:
        what, path, more = operation
        if what == "write":
            self.find(path).pieces.append(more)
        elif what == "fsync":
            file = self.find(path)
            file.durable, file.pieces = file.durable + b"".join(file.pieces), []
        elif what == "fsync_folder":
            folder = self.find(path)
            folder.names, folder.changes = folder.now(), []
        else:
            made = {"create": File, "mkdir": Folder}.get(what, lambda: more)()
            if what == "rename":
                self.find(path.parent).changes.append((path.name, more.name, self.find(path)))
            elif what == "remove":
                self.find(path.parent).changes.append((path.name, "", None))
            else:
                self.find(path.parent).changes.append(("", path.name, made))

    def left(self, where: Path, draw: random.Random) -> None:
        """Lay out one of the folders that may be found after the cut."""
        shutil.rmtree(where, ignore_errors=True)
        lay(self.top, where, draw)


def lay(what: Any, where: Path, draw: random.Random) -> None:
    if isinstance(what, Folder):
        where.mkdir()
        for name, inner in what.after(draw).items():
            lay(inner, where / name, draw)
    elif isinstance(what, File):
        where.write_bytes(what.after(draw))
    else:
        where.symlink_to(what)


def cuts(
    trace: list[Operation], root: Path, where: Path, draws: int, draw: random.Random
) -> Iterator[int]:
    """Lay out, for a cut after each operation, what may be left; give how far the trace was."""
    platter = Platter(root)
    for number, operation in enumerate(trace):
        if operation[0] != "returned":
            platter.play(operation)
        for _ in range(draws):
            platter.left(where, draw)
            yield number
