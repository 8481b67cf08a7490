"""Writes problems of arithmetic and logic as JSONL, those that are held out in a file of their own.

python scripts/logic_problems.py [FOLDER] [PROBLEMS]
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from surefoot.data.corpora.logic import Options, documents
from surefoot.data.documents import Document

NAMES = {
    "train": "savant_dataset_train.jsonl",
    "val": "savant_dataset_val.jsonl",
}  # as 001 has them


def write(folder: Path, problems: int) -> None:
    """Write both files: a line a problem, each once, with what is read and what is learnt."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, dict[str, None]] = {part: {} for part in NAMES}
    for one in documents(Options(problems=problems), folder):
        assert isinstance(one, Document), "a generated problem is never skipped"
        lines[one.part][json.dumps({"prompt": one.prompt, "text": one.text})] = None
    for part, name in NAMES.items():
        (folder / name).write_text("\n".join(lines[part]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    place, count = (*sys.argv[1:], *("", "")[len(sys.argv[1:]) :])[:2]
    write(Path(place or "."), int(count or 20_000))
