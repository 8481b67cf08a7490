"""CONTRIBUTING's mixer is what it says: one file, found as a plug-in, that keeps every promise."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import part, ran
from tests.house_rules import ROOT

FILE = "surefoot/model/mixers/decay.py"
MASK = "(back >= 0) & "
CONTRACT = ["-m", "pytest", "-q", "tests/contract/test_mixers.py", "-k", "decay"]
pytestmark = pytest.mark.slow


def plug_in(place: Path, text: str) -> Path:
    """Install a mixer as a package of somebody else's would be."""
    package, told = place / "decay_plugin", place / "decay_plugin-0.1.dist-info"
    for folder in (place, package, told):
        folder.mkdir()
    (package / "__init__.py").write_text("")
    (package / "decay.py").write_text(text)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: decay-plugin\nVersion: 0.1\n")
    (told / "entry_points.txt").write_text("[surefoot.mixers]\ndecay = decay_plugin.decay\n")
    return place


def changed() -> str:
    """Say what the working tree has that the last commit hasn't."""
    words = ["git", "status", "--porcelain"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_the_mixer_keeps_every_promise_and_trains_and_no_file_changes(tmp_path: Path) -> None:
    before = changed()
    place = plug_in(tmp_path / "theirs", part("CONTRIBUTING.md", FILE))
    promised = ran([sys.executable, *CONTRACT], ROOT, place)
    assert promised.returncode == 0, promised.stdout
    assert int(promised.stdout.rsplit(" passed", 1)[0].split()[-1]) > 20
    words = "train starter model.mixers.L.kind=decay train.steps=20 train.seq_len=64 val.every=0"
    trained = ran([sys.executable, "-m", "surefoot", *words.split(), "--plain"], tmp_path, place)
    assert trained.returncode == 0, trained.stdout
    assert "decay ×4" in trained.stdout and "finished 20 steps" in trained.stdout
    assert changed() == before


def test_without_its_mask_the_causality_promise_fails_by_name(tmp_path: Path) -> None:
    text = part("CONTRIBUTING.md", FILE)
    assert MASK in text
    place = plug_in(tmp_path / "theirs", text.replace(MASK, ""))
    broken = ran([sys.executable, *CONTRACT], ROOT, place)
    assert broken.returncode == 1, broken.stdout
    assert (
        "FAILED tests/contract/test_mixers.py::test_no_output_sees_a_later_token[decay-0-17]"
        in (broken.stdout.replace("17-decay-0", "decay-0-17"))
    )


def test_preflight_refuses_the_mixer_without_its_mask(tmp_path: Path) -> None:
    text = part("CONTRIBUTING.md", FILE).replace(MASK, "")
    place = plug_in(tmp_path / "theirs", text)
    words = "preflight starter model.mixers.L.kind=decay data.tokenizer.kind=byte --no-time"
    refused = ran([sys.executable, "-m", "surefoot", *words.split()], tmp_path, place)
    assert refused.returncode == 3, refused.stdout
    assert "causality" in refused.stdout
