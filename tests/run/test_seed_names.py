"""Links with the names that the seeds use, and a log that holds what the console showed."""

import errno
from pathlib import Path

import pytest

from surefoot.run.seed_names import NAMES, link
from surefoot.shelf.disk import Disk

from . import runs


class NoLinks(Disk):
    """A disk that has no links, as some shared folders have none."""

    def symlink(self, target: str, link: Path) -> None:
        raise OSError(errno.EPERM, "no links here")


def test_links_lead_to_the_runs_own_files(tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    run = tmp_path / "run"
    changes = ("logs.seed_names=true", 'val.prompts=["red "]', "train.steps=30")
    assert runs.start(recipe, run, changes=changes).exit == 0
    assert (run / "training_log.txt").read_text() == (run / "train.log").read_text()
    assert (run / "training.csv").read_text().startswith("step,generation")
    assert (run / "latest.ckpt" / "COMMIT").is_file()
    assert not any(Path(name).is_absolute() for name in map(Path.readlink, links(run)))
    assert runs.resume(run).exit == 0  # what is there is let be


def links(run: Path) -> list[Path]:
    return [run / name for name in NAMES]


def test_the_log_holds_the_sample_of_each_validation(tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    changes = ('val.prompts=["red stone "]', "train.steps=30")
    assert runs.start(recipe, tmp_path / "run", changes=changes).exit == 0
    log = (tmp_path / "run" / "train.log").read_text()
    assert log.count("val ce") == 3  # two on the way, and the end's sum
    assert log.count("     red stone ") == 2
    assert not (tmp_path / "run" / "training_log.txt").exists()


def test_without_links_a_file_says_the_name(tmp_path: Path) -> None:
    link(tmp_path, NoLinks())
    link(tmp_path, NoLinks())
    assert (tmp_path / "training_log.txt").read_text() == "train.log\n"


def test_another_trouble_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        link(tmp_path / "nowhere", Disk())
