"""Measures a run's model on held-out text: ce and bits a byte, or answers that are right."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.errors import Problem, RunError, UsageError, nearest

if TYPE_CHECKING:
    from surefoot.data.dataset import Dataset
    from surefoot.evaluate.answers import Asked
    from surefoot.run.opened import Opened

TAKES = "RUN [KIND ...]"
KINDS = ("val", "answers")
EXAMPLES = """
surefoot evaluate last --tokens 20000
surefoot evaluate starter-001 --step best --json
"""
MOST = 1000  # problems that are answered, of those that were held out


def options(parser: argparse.ArgumentParser) -> None:
    """Take which checkpoint, and how much text."""
    add = parser.add_argument
    add("--step", metavar="STEP", help="a checkpoint: a step, best, final or pre-decay")
    add("--tokens", type=int, default=100_000, metavar="N", help="tokens to read (100000)")
    add("--problems", metavar="FILE", help="answer those of a JSONL file: prompt and text a line")
    add("--device", default="auto", help="auto, cpu or cuda")


def main(asked: argparse.Namespace) -> int:
    """Measure and print."""
    name, *wanted = asked.what
    unknown = [kind for kind in wanted if kind not in KINDS]
    if unknown:
        best = nearest(unknown[0], KINDS) or list(KINDS)
        why, instead = "there is no such evaluation", f"Write {best[0]} (there are: val, answers)"
        raise UsageError(Problem("KIND", unknown[0], why, instead))
    if asked.tokens < 1:
        raise UsageError(
            Problem("--tokens", f"{asked.tokens}", "at least one is read", "Write --tokens 100000")
        )
    from surefoot.run.folder import find_run, step_of

    folder = find_run(name)

    from surefoot.run.beginning import at_home
    from surefoot.run.opened import open_model
    from surefoot.run.opening import read_data
    from surefoot.show.printed import document

    opened = open_model(folder, step_of(asked.step), asked.device)
    _, dataset = read_data(at_home(opened.recipe, folder))
    if dataset.tokenizer.save() != opened.tokenizer.save():
        why = "its data changed: the tokenizer that it gives now is not the run's"
        raise RunError(Problem(str(folder), "", why, "Bring the old files back"), exit=3)
    kinds = list(dict.fromkeys(wanted)) or (["answers"] if asked.problems else ["val"])
    rows: list[dict[str, Any]] = []
    for kind in kinds:
        found = text(asked, opened, dataset) if kind == "val" else answers(asked, opened, dataset)
        rows.append({"what": kind, **found._asdict()})
        for line in () if asked.json else lines(kind, f"{folder} step {opened.step}", found):
            print(line)
    if asked.json:
        one = rows[0] if len(rows) == 1 else {"found": rows}
        print(document(run=str(folder), step=opened.step, **one))
    return 0


def text(asked: argparse.Namespace, opened: "Opened", dataset: "Dataset") -> Any:
    """Measure held-out text."""
    from surefoot.evaluate.measured import measure

    return measure(opened.model, dataset, opened.knobs, opened.device, asked.tokens)


def answers(asked: argparse.Namespace, opened: "Opened", dataset: "Dataset") -> Any:
    """Have problems answered: those of a file, or those that the run holds out."""
    from surefoot.evaluate.answers import Asked, answer

    if asked.problems:
        problems = of_file(Path(asked.problems), opened)
    else:
        problems = [Asked(*one) for one in dataset.problems(MOST)]
    if not problems:
        why = "what this run holds out has no prompts, so nothing is asked"
        instead = "Write --problems FILE, or train with data.corpus.prompt"
        raise UsageError(Problem("KIND", "answers", why, instead))
    return answer(opened.model, opened.tokenizer, problems, opened.knobs)


def of_file(path: Path, opened: "Opened") -> "Sequence[Asked]":
    """Read problems from JSONL, by the names that the run's own corpus has for its fields."""
    from surefoot.data.corpora import jsonl
    from surefoot.data.documents import Document
    from surefoot.errors import DataError
    from surefoot.evaluate.answers import Asked

    own = opened.recipe.data.corpus
    fields = {"field": getattr(own, "field", "text"), "prompt": getattr(own, "prompt", "prompt")}
    options = jsonl.Options(
        path=str(path), **(fields if own.kind == "jsonl" else {"prompt": "prompt"})
    )
    found: list[Asked] = []
    for one in jsonl.documents(options, Path.cwd()):
        if isinstance(one, Document):
            found.append(Asked(*(opened.tokenizer.encode(part) for part in (one.prompt, one.text))))
        elif one.problem is not None:
            raise DataError(one.problem)
    return found


def lines(kind: str, where: str, found: Any) -> list[str]:
    """Write what was found."""
    from surefoot.show.amounts import figure
    from surefoot.show.printed import printable

    if kind == "val":
        return [
            printable(f"{where}: held-out text, {found.tokens:,} tokens"),
            f"  ce   {figure(found.ce)} ± {figure(found.ce_se)} nats/token",
            f"  bpb  {figure(found.bpb)} ± {figure(found.bpb_se)} bits/byte",
            f"  (± one standard error over {found.rows} rows)",
        ]
    said = [
        printable(f"{where}: {found.problems} problems, answered greedily"),
        f"  exact_share  {figure(found.exact_share, 3)} ± {figure(found.exact_se, 3)} "
        f"({found.right} right to the last character)",
    ]
    told = "  wrong  {prompt} said {said!r}, right is {right!r}"
    wrong = (told.format(**one) for one in found.wrong)
    return [*said, *map(printable, wrong)]
