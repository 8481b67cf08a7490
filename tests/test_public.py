"""What Python code may call is a short, written list, and stays what it is."""

import subprocess
import sys

import surefoot
from tests.house_rules import ROOT

NAMES = [
    "Guard", "Past", "Plan", "Recipe", "SurefootError", "__version__", "audit", "load", "open",
    "preflight", "probes", "train",
]  # fmt: skip


def test_the_public_names_are_the_written_ones() -> None:
    assert surefoot.__all__ == NAMES
    assert all(getattr(surefoot, name) for name in NAMES)


def test_a_room_of_the_same_name_does_not_take_a_names_place() -> None:
    code = (
        "import surefoot, surefoot.train, surefoot.audit.audit\n"
        "from surefoot import train\n"
        "assert callable(surefoot.train) and callable(surefoot.audit) and callable(train)\n"
        "from surefoot.train import train as loop; assert loop is not train\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
