"""The user's cache folder: what is costly to make is made once, by one process, whole or not."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from surefoot.errors import DataError, Problem

FORMAT = 1  # of everything in the cache; another number, and all is made again
FRESH = 2.0  # seconds: a file so young may still change without its time of change changing
Progress = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


def key(*parts: object) -> str:
    """Give the name of what is made out of these."""
    text = json.dumps([FORMAT, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def folder() -> Path:
    """Give the user's cache folder."""
    kept = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(kept).expanduser() / "surefoot"


class Cache:
    """A folder of things that can be made again."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or folder()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unusable(self.root, error) from None

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """Give the folder of this name; where it isn't there yet, make it and rename it there."""
        done = self.root / name
        if done.is_dir():
            return done
        try:
            with self.locked(name):
                if done.is_dir():  # somebody else was first
                    return done
                for stale in self.root.glob(f".{name}.*"):  # of a process that was killed
                    shutil.rmtree(stale, ignore_errors=True)
                growing = self.root / f".{name}.{os.getpid()}"
                growing.mkdir()
                try:
                    make(growing)
                    for path in growing.iterdir():
                        synced(path)
                    growing.rename(done)
                except BaseException:
                    shutil.rmtree(growing, ignore_errors=True)
                    raise
        except OSError as error:
            raise unusable(self.root, error) from None
        return done

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Let one process at a time make something; the next finds it ready."""
        with (self.root / f"{name}.lock").open("a") as file:
            # a disk without locks: two processes may both make it, and the first rename stays
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def digests(self, files: Sequence[Path], progress: Progress | None) -> list[str]:
        """Give each file's sha256; one that has not changed since it was hashed isn't read."""
        book = self.root / "files.json"
        known: dict[str, Any] = read_json(book)
        marks = {path: mark(path) for path in files}
        missing = [p for p in files if known.get(str(p.absolute()), [None])[:-1] != marks[p]]
        if missing:
            total = sum(marks[path][0] for path in missing)
            done = 0
            for path in missing:
                if progress:
                    progress("reading the corpus", done, total)
                known[str(path.absolute())] = [*marks[path], hashed(path)]
                done += marks[path][0]
            now = time.time_ns()
            settled = {k: v for k, v in known.items() if now - v[1] > FRESH * 1e9}
            with self.locked("files"):
                replace(book, json.dumps(read_json(book) | settled).encode())
        return [known[str(path.absolute())][-1] for path in files]


def mark(path: Path) -> list[int]:
    """Give what tells a changed file from the same one without reading it."""
    try:
        found = path.stat()
    except OSError as error:
        raise gone(path, error) from None
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def hashed(path: Path) -> str:
    """Give a file's sha256."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise gone(path, error) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a small file of the cache; a damaged one is as good as none."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def replace(path: Path, content: bytes) -> None:
    """Write a small file so that a reader sees the old one or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.replace(path)


def synced(path: Path) -> None:
    """Wait until a file is on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def gone(path: Path, error: OSError) -> DataError:
    """Say that a corpus' file can't be read."""
    return DataError(
        Problem(
            what=str(path),
            value="",
            why=f"it can't be read ({error.strerror})",
            instead="Put the file back, or leave it out of data.corpus.path",
        )
    )


def unusable(root: Path, error: OSError) -> DataError:
    """Say that the cache folder can't be used."""
    return DataError(
        Problem(
            what="XDG_CACHE_HOME",
            value=str(root),
            why=f"the cache can't be written ({error.strerror or error})",
            instead="Write XDG_CACHE_HOME=<a folder with space that can be written>",
        )
    )
