"""What watches, plans and shows does without torch, and opening the program loads little."""

import subprocess
import sys

import pytest

from tests.house_rules import ROOT

FREE = ("records", "errors", "kinds", "randomness", "recipe", "plan", "guard", "show")
OWN_KINDS = ("schedules", "rules", "monitors", "remedies", "readers", "verbs")
BLOCKED = "import sys; sys.modules['torch'] = None\n"


def modules() -> list[str]:
    """Name every module of the torch-free side."""
    paths = [ROOT / "surefoot" / f"{name}.py" for name in FREE]
    paths += [path for name in FREE for path in (ROOT / "surefoot" / name).rglob("*.py")]
    dotted = {".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths if p.is_file()}
    return sorted(name.removesuffix(".__init__") for name in dotted)


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT, check=False
    )


def first_failure(names: list[str]) -> str:
    """Import each module in a process of its own, forked before anything is imported."""
    code = (
        BLOCKED + "import importlib, os, pydantic, numpy, rich.console\n"
        "for name in sys.argv[1:]:\n"
        "    child = os.fork()\n"  # a fork costs 1 ms, an interpreter 20
        "    if child == 0:\n"
        "        importlib.import_module(name); os._exit(0)\n"
        "    if os.waitpid(child, 0)[1]: sys.exit('not without torch: ' + name)\n"
    )
    return run(code, *names).stderr


def test_each_module_of_the_torch_free_side_imports_by_itself() -> None:
    assert len(modules()) > 40
    assert first_failure(modules()) == ""


def test_a_module_that_needs_torch_is_found() -> None:
    assert "not without torch: surefoot.model.ffn" in first_failure(["surefoot.model.ffn"])


def test_every_choice_of_their_kinds_is_found_without_torch() -> None:
    code = BLOCKED + (
        "from surefoot import kinds\n"
        f"for kind in {OWN_KINDS}:\n"
        "    for name in kinds.names(kind):\n"
        "        kinds.find(kind, name)\n"
    )
    assert run(code).stderr == ""


@pytest.mark.parametrize(
    ("words", "unloaded"),
    [
        ([], "torch numpy pydantic rich"),
        (["--help"], "torch numpy pydantic rich"),
        (["list"], "torch"),
        (["list", "mixers"], "torch"),
        (["list", "recipes"], "torch"),
        (["train", "--help"], "torch numpy pydantic"),
        (["preflight", "--help"], "torch numpy pydantic"),
    ],
    ids=" ".join,
)
def test_opening_the_program_loads_little(words: list[str], unloaded: str) -> None:
    code = (
        "import sys\nfrom surefoot.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        f"print(*sorted(set({unloaded.split()}) & set(sys.modules)), file=sys.stderr)"
    )
    assert run(code, *words).stderr.strip() == ""
