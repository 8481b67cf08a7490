"""The command line: one verb a file, strict options, and the one edge where errors are printed."""

import argparse
import os
import platform
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from surefoot import __doc__ as purpose
from surefoot import __version__, kinds
from surefoot.errors import Problem, SurefootError, UsageError, nearest
from surefoot.show.printed import document, printable

# a small model ran 3.6 times slower on two spinning threads when the machine had other work;
# OpenMP reads it once, when torch is loaded
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# WHAT and overrides are told apart by the "=" that follows a dotted key
OVERRIDE = re.compile(r"[A-Za-z_][\w-]*+(\.[\w-]++)*+=", re.ASCII)
REFUSED = re.compile(r"argument (?P<what>[^:]+): (?P<why>.*)", re.DOTALL)
BROKEN_PIPE = 141  # 128 + SIGPIPE, as every other program ends when `head` has read enough


class Parser(argparse.ArgumentParser):
    """Reads one verb's words; what it can't read is a sentence, with the nearest right name."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong instead of printing the usage and leaving."""
        found = REFUSED.fullmatch(message)
        what, why = (found["what"], found["why"]) if found else (self.prog, message)
        raise UsageError(Problem(what, "", why, f"Write {self.prog} --help to see what it takes"))

    def read(self, words: Sequence[str], asked: argparse.Namespace) -> None:
        """Read words into `asked`; options that are not there are named, all at once."""
        _, rest = self.parse_known_intermixed_args(words, asked)
        known = [option for option in self._option_string_actions if option.startswith("--")]
        wrong = [self.unknown(word, known) for word in rest if word.startswith("-")]
        if wrong:
            raise UsageError(*wrong)

    def unknown(self, word: str, known: list[str]) -> Problem:
        """Name the options that were likely meant."""
        option = word.split("=", 1)[0]
        begun = [other for other in known if other.startswith(option) and len(option) > 2]
        best = list(dict.fromkeys(begun + nearest(option, known)))[:3]
        hint = f"Write {' or '.join(best)}" if best else f"{self.prog} --help lists the options"
        return Problem(option, "", f"{self.prog} has no such option", hint)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what a command line asks, and give the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a letter shows its code
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    asked = argparse.Namespace(json="--json" in words, debug="--debug" in words, folder=None)
    asked.line = words  # as it was typed: several ranks are started with the same words
    try:
        code = answer(words, asked)
        sys.stdout.flush()
        return code
    except SurefootError as error:
        return told(error, asked)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Python flushes stdout once more when it leaves, and would complain then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SystemExit as left:  # argparse, after --help
        return left.code if isinstance(left.code, int) else 0
    except Exception as error:  # noqa: BLE001 (the program's edge: it is written down and named)
        return crashed(error, asked)


def answer(words: list[str], asked: argparse.Namespace) -> int:
    """Find the verb, read its words, and do it."""
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(f"surefoot {__version__}")
        return 0
    name, rest = words[0], words[1:]
    module = verb(name)
    parser = parser_of(name, module, rest)
    parser.read(rest, asked)
    sort_words(asked, takes(module), parser.prog)
    return module.main(asked)


def verb(name: str) -> ModuleType:
    """Import the one file that a verb's name stands for."""
    known = kinds.names("verbs")
    if name in known:
        return kinds.find("verbs", name)
    if name.startswith("-"):
        problem = Problem(name, "", "options come after the verb", "Write surefoot VERB " + name)
    else:
        best = nearest(name, known)
        hint = f"Did you mean {best[0]}? " if best else ""
        there = f"{hint}The verbs are {', '.join(known)}"
        problem = Problem(name, "", "surefoot has no such verb", there)
    raise UsageError(problem)


def takes(module: ModuleType) -> str:
    """Give what a verb takes besides options, such as `RUN` or `[RECIPE] [key=VALUE ...]`."""
    return getattr(module, "TAKES", "")


def parser_of(name: str, module: ModuleType, words: Sequence[str] = ()) -> Parser:
    """Build one verb's parser; the sentence, the options and the examples are the verb's own."""
    examples = "".join(f"  {line.strip()}\n" for line in module.EXAMPLES.strip().splitlines())
    parser = Parser(
        prog=f"surefoot {name}",
        usage=" ".join(filter(None, [f"surefoot {name}", takes(module), "[--option ...]"])),
        description=kinds.sentence(Path(module.__file__ or "")),
        epilog=f"examples:\n{examples}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    module.options(parser)
    if hasattr(module, "own_options"):  # of what the words name, such as one bench's
        module.own_options(parser, words)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a crash")
    return parser


def sort_words(asked: argparse.Namespace, form: str, prog: str) -> None:
    """Split the words into `asked.what` and `asked.changes`, and count them."""
    words: list[str] = asked.words
    asked.changes = [word for word in words if OVERRIDE.match(word)]
    asked.what = [word for word in words if not OVERRIDE.match(word)]
    if asked.changes and "=VALUE" not in form:
        raise UsageError(Problem(asked.changes[0], "", f"{prog} changes no recipe", "Leave it out"))
    places = re.sub(r"\[\w+=VALUE[^\]]*\]", "", form).split()
    most = 99 if any("..." in place for place in places) else len(places)
    least = sum(not place.startswith("[") and "..." not in place for place in places)
    if least <= len(asked.what) <= most:
        return
    extra = asked.what[most:] or [""]
    why = "one word too many" if len(asked.what) > most else f"it needs {form}"
    raise UsageError(Problem(prog, extra[0], why, f"Write {prog} {form}".rstrip()))


def overview() -> str:
    """Build the program's help from file names and first sentences, without importing a verb."""
    verbs = kinds.sentences("verbs")
    wide = max(map(len, verbs), default=0)
    lines = [f"  {name:<{wide}}  {sentence}" for name, sentence in verbs.items()]
    return "\n".join(
        [
            f"surefoot {__version__}: {purpose}",
            "",
            "usage: surefoot VERB [WHAT] [key.sub=VALUE ...] [--option ...]",
            "",
            *lines,
            "",
            "Every verb takes --help, --json and --debug. Begin with:  surefoot train",
        ]
    )


def told(error: SurefootError, asked: argparse.Namespace) -> int:
    """Print what is wrong, a line each, and give the error's exit code."""
    problems = error.problems or (Problem("surefoot", "", str(error), ""),)
    for problem in problems:
        print(printable(f"error  {problem}"), file=sys.stderr)
    if asked.json:
        parts = ("what", "value", "why", "instead", "where")
        rows = [{part: getattr(problem, part) for part in parts} for problem in problems]
        print(document(error={"exit": error.exit, "problems": rows}))
    if asked.debug:
        traceback.print_exception(error)
    return error.exit


def crashed(error: Exception, asked: argparse.Namespace) -> int:
    """Say in one sentence that this is a fault of ours, and where the traceback lies."""
    text = "".join(traceback.format_exception(error))
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    where = write_crash(text, asked.folder or Path())
    print(printable(f"error  surefoot itself failed ({said}). {where}"), file=sys.stderr)
    if asked.json:
        print(document(error={"exit": 1, "crash": said}))
    if asked.debug:
        print(text, file=sys.stderr)
    return 1


def write_crash(text: str, folder: Path) -> str:
    """Keep the traceback with the versions of what was running, and say where."""
    from surefoot.shelf.disk import Disk

    loaded = {
        name: getattr(sys.modules.get(name), "__version__", "") for name in ("torch", "numpy")
    }
    versions = [f"surefoot {__version__}", f"python {platform.python_version()}"]
    versions += [f"{name} {version}" for name, version in loaded.items() if version]
    path = folder / "crash.txt"
    try:
        Disk().write_atomic(path, "\n".join([*versions, platform.platform(), "", text]).encode())
    except OSError as error:
        return f"{path} could not be written ({error.strerror}); --debug shows the traceback."
    return f"The traceback is in {path}."
