"""Trains small language models, checks the plan first, watches itself, and never loses a step."""

import importlib
import sys
from types import ModuleType

__version__ = "0.1.0"

# Loaded when they are first asked for: `import surefoot` loads neither torch nor pydantic.
HOMES = {
    "train": "library",
    "open": "library",
    "load": "library",
    "preflight": "library",
    "audit": "library",
    "Past": "library",
    "Guard": "integrations.loop",
    "Recipe": "recipe.schema",
    "Plan": "plan.plan",
    "SurefootError": "errors",
}
MODULES = ("probes",)
__all__ = sorted([*HOMES, *MODULES, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name in HOMES:
        return getattr(importlib.import_module(f"surefoot.{HOMES[name]}"), name)
    if name in MODULES:
        return importlib.import_module(f"surefoot.{name}")
    raise AttributeError(f"surefoot has no {name}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)


class Public(ModuleType):
    """Keeps `surefoot.train` and `surefoot.audit` what they are when rooms of that name load."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = Public
