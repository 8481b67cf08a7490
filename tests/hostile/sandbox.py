"""A process of its own for one command line: what it said, took, and touched."""

import contextlib
import io
import json
import os
import resource
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot import cli

MOST_S = 1.0  # of the processor, not of the wall: other programs use this machine too
MOST_BYTES = 500 << 20
WRITES = {
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate",
    "os.chmod", "os.chown", "os.utime", "shutil.rmtree",
}  # fmt: skip
RUNS = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "ctypes.dlopen"}  # noqa: E501  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """How a command line ended."""

    code: int  # minus the signal that ended it
    out: str
    said: str  # on stderr
    cpu_s: float
    touched: Sequence[str]  # what it wrote, ran or called

    @property
    def errors(self) -> list[str]:
        """Give what it complained of."""
        return [line for line in self.said.splitlines() if line.startswith("error")]


def tried(words: Sequence[str], place: Path, env: Mapping[str, str] | None = None) -> Tried:
    """Run surefoot with these words in a folder, with half a GiB of memory to take."""
    files = [place / ".out", place / ".err", place / ".told"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks beside threads
        pid = os.fork()
    if pid == 0:
        inside(words, place, files, env or {})
    _, status, used = os.wait4(pid, 0)
    out, said, told = (path.read_text(errors="surrogateescape") for path in files)
    for path in files:
        path.unlink()
    cpu = used.ru_utime + used.ru_stime
    return Tried(os.waitstatus_to_exitcode(status), out, said, cpu, json.loads(told or "[]"))


def inside(
    words: Sequence[str], place: Path, files: Sequence[Path], env: Mapping[str, str]
) -> None:
    """Be the child: limited, watched, and gone at the end whatever happens."""
    code = 70
    try:
        os.chdir(place)
        os.environ.update(env)
        sys.path.append(str(place))  # whatever is imported by a stranger's name is found here
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_BYTES, taken + MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # a pipe that nobody writes to would be read for ever
        for number, path in enumerate(files[:2], 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(n, "wb", 0)) for n in (1, 2))
        files[2].write_text("[]")
        touched = watched(place)
        code = cli.main(list(words))
        sys.stdout.flush()
        sys.stderr.flush()
        seen = list(touched)
        files[2].write_text(json.dumps(seen))
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        os._exit(code)


def watched(place: Path) -> list[str]:
    """Remember from here on what is written outside of a folder, and whatever is run."""
    found: list[str] = []
    inner = (str(place.resolve()), str(place), os.environ.get("XDG_CACHE_HOME", str(place)))

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in RUNS:
            found.append(f"{event} {args[0]!r:.80}")
        writes = event in WRITES or (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        path = os.fspath(args[0]) if writes and isinstance(args[0], str | bytes | Path) else ""
        told = os.path.abspath(os.fsdecode(path)) if path else ""  # noqa: PTH100 (links stay links)
        if told and told != os.devnull and not told.startswith(inner):
            found.append(f"{event} {told}")
        if event == "open" and "secret" in str(args[0]):
            found.append(f"read {args[0]}")

    sys.addaudithook(hook)
    return found


def check_refused(told: Tried, place: Path, codes: Sequence[int] = (2, 3)) -> None:
    """One clear sentence, soon, and nothing else."""
    assert told.code in codes, (told.code, told.said[-2000:], told.out[-500:])
    assert told.cpu_s < MOST_S, f"{told.cpu_s:.2f} s: {told.said[:300]}"
    assert len(told.errors) == 1, told.said[:3000]
    (sentence,) = told.errors
    assert sentence.isprintable() and len(sentence) < 3000
    assert ". " in sentence and ": " in sentence, "what, why, and what instead"
    assert "itself failed" not in sentence and "Traceback" not in told.said
    assert not (place / "crash.txt").exists()
    assert not told.touched, told.touched
