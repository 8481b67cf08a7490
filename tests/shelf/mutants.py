"""Our own code with one line broken on purpose: what a test must turn red for."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def broken(module: ModuleType, tmp: Path, *changes: tuple[str, str]) -> Any:
    """Give a module with pieces of its text exchanged; the real one stays as it is."""
    assert module.__file__ is not None
    text = Path(module.__file__).read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"the mutant's place is not there once: {old!r}"
        text = text.replace(old, new)
    path = tmp / f"broken_{module.__name__.rsplit('.', 1)[-1]}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(f"surefoot_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made  # dataclasses look their module up
    try:
        spec.loader.exec_module(made)
    finally:
        del sys.modules[spec.name]
    return made
