"""Finding and decoding the files of a corpus, with the errors that both can meet."""

import glob
from pathlib import Path

from surefoot.errors import DataError, Problem


def matching(patterns: str | list[str], where: Path) -> list[Path]:
    """Give the files that paths, folders or globs name, each once, sorted."""
    wanted = [patterns] if isinstance(patterns, str) else patterns
    found: set[Path] = set()
    for pattern in wanted:
        path = where / Path(pattern).expanduser()
        if path.is_file():
            hits = [path]
        elif path.is_dir():
            hits = [p for p in path.rglob("*") if p.is_file() and not hidden(p, path)]
        else:
            hits = [Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file()]  # noqa: PTH207 (a pattern may be absolute)
        if not hits:
            raise DataError(nothing(pattern, path))
        found.update(hits)
    return sorted(found)


def hidden(path: Path, below: Path) -> bool:
    """Tell whether a file, or a folder on the way to it, begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def nothing(pattern: str, path: Path) -> Problem:
    """Say that a path names no file."""
    empty = path.is_dir()
    return Problem(
        what="data.corpus.path",
        value=f'"{pattern}"',
        why="the folder holds no file" if empty else f"there is no such file (looked for {path})",
        instead='Write data.corpus.path="<a file, a folder or a pattern like texts/*.txt>"',
    )


def shown(path: Path, where: Path) -> str:
    """Name a file as a person in the current folder would."""
    return str(path.relative_to(where)) if path.is_relative_to(where) else str(path)


def decoded(raw: bytes, encoding: str, name: str) -> str | Problem:
    """Decode a file, or say which byte can't be."""
    try:
        text = raw.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError as error:
        return Problem(
            what=name,
            value="",
            why=f"byte {error.start} is not {encoding.upper()}",
            instead='Write data.corpus.encoding="latin-1", or data.on_bad_line="skip"',
        )
    except (LookupError, ValueError):
        why = "there is no such encoding of texts"
        return Problem(name, encoding, why, 'Write data.corpus.encoding="utf-8"')
    return text


def unreadable(path: str, error: OSError) -> DataError:
    """Say that a file can't be read."""
    return DataError(
        Problem(
            what=path,
            value="",
            why=f"it can't be read ({error.strerror or error})",
            instead="Write data.corpus.path with files that are there and readable",
        )
    )
