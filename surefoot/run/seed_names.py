"""Gives a run's files the names that the seeds have for them, as links (001, 004)."""

from pathlib import Path

from surefoot.shelf.disk import Disk
from surefoot.shelf.pointers import NO_LINKS

NAMES = {"training_log.txt": "train.log", "training.csv": "metrics.csv", "latest.ckpt": "latest"}


def link(folder: Path, disk: Disk) -> None:
    """Make the links that are not there yet; where there are none, a file says the name."""
    for name, target in NAMES.items():
        place = folder / name
        if place.is_symlink() or place.exists():
            continue
        try:
            disk.symlink(target, place)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            disk.write_file(place, f"{target}\n".encode())
