"""Takes models that aren't ours: any module from ids or floats to numbers for each position."""

import copy
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from surefoot.audit.subject import DTYPES, Raised, Subject, Trace
from surefoot.errors import Problem, RunError, UsageError

TRIED = (251, 127, 61, 37, 17, 8)  # lengths, the first that works
WIDTHS = ("dim", "width", "d_model", "hidden_size", "n_embd", "embed_dim", "input_size", "channels")
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


@dataclass(frozen=True, slots=True)
class Taken:
    """A foreign model that was seen to run."""

    subject: Subject
    length: int
    defects: tuple[str, ...] = ()


def taken(module: nn.Module, forward: str = "", reads: str = "", length: int = 0) -> Taken:
    """Find out what a module reads, in which precision, and how long its rows may be."""
    module = copy.deepcopy(module).cpu().eval()
    inputs = [reads] if reads else (["ids", "floats"] if embeddings(module) else ["floats", "ids"])
    defects: list[str] = []
    lengths = (length,) if length else TRIED
    for time in lengths:
        for dtype in ("float64", "float32"):
            for kind in inputs:
                found = attempt(module, forward, kind, dtype, time)
                if isinstance(found, Subject):
                    return Taken(found, time, tuple(defects[:1]))
                if kind == inputs[0] and dtype == "float32":
                    defects.append(found)
    raise RunError(
        Problem(
            "forward",
            type(module).__name__,
            defects[0] if defects else "it gives nothing for each position",
            "Write --input ids or --input floats, and --length with a length that it takes",
        ),
        exit=1,
    )


def attempt(module: nn.Module, forward: str, reads: str, dtype: str, time: int) -> Subject | str:
    """Try one way to run it; give why not, where it fails."""
    one = copy.deepcopy(module).to(DTYPES[dtype])
    subject = Subject(
        module=one,
        run=runner(one, forward),
        dtype=dtype,
        vocab=vocab_of(one) if reads == "ids" else 0,
        width=width_of(one) if reads == "floats" else 0,
        edges=edges_of(one),
        rebind=lambda module: runner(module, forward),
    )
    if reads == "floats" and not subject.width:
        return "it has no layer that says how wide its input is"
    inputs = subject.drawn(2, time)
    try:
        with torch.no_grad(), Narrow() as narrow:
            out = subject.forward(inputs)
    except Raised as error:
        return str(error)
    if out.ndim < 3 or tuple(out.shape[:2]) != (2, time):
        return f"its output has the shape {list(out.shape)}, not [batch, time, ...]"
    if dtype == "float64" and (narrow.found or out.dtype != torch.float64):
        return "it computes in fp32 inside"
    return replace(subject, logits=out.shape[-1] == subject.vocab)


class Narrow(TorchDispatchMode):
    """Notices arithmetic that is done in fewer bits than asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, and look at what it gives."""
        del types
        given = func(*args, **(kwargs or {}))
        if isinstance(given, Tensor) and given.numel() > 1:
            self.found |= given.dtype in (
                torch.float32, torch.bfloat16, torch.float16, torch.complex64
            )  # fmt: skip
        return given


def runner(module: nn.Module, forward: str) -> Any:
    """Give how a module is called: by itself, or by one of its methods."""

    def run(inputs: Tensor, trace: Trace, doc: Tensor | None) -> Tensor:
        del doc
        given = getattr(module, forward)(inputs) if forward else module(inputs)
        first, *others = outputs(given)
        for i, other in enumerate(others):
            trace[f"output {i + 2}"] = other
        return first

    return run


def outputs(given: Any) -> list[Tensor]:
    """Find the tensors in what a model gives; of those the first has a number for each position."""
    if isinstance(given, Tensor):
        return [given]
    if hasattr(given, "logits") and isinstance(given.logits, Tensor):
        rest = outputs({k: v for k, v in vars(given).items() if k != "logits"})
        return [given.logits, *rest]
    if isinstance(given, Mapping):
        given = [given["logits"], *(v for k, v in given.items() if k != "logits")] if (
            "logits" in given) else list(given.values())  # fmt: skip
    if isinstance(given, tuple | list):
        return [tensor for inner in given for tensor in outputs(inner)]
    return []


def trained_mode(subject: Subject) -> Subject:
    """Let a model run as it does in training, but for dropout."""
    module = subject.module.train()
    for one in module.modules():
        if isinstance(one, DROPOUTS):
            one.eval()
    return subject


def embeddings(module: nn.Module) -> list[nn.Embedding]:
    """Give the tables of vectors."""
    return [one for one in module.modules() if isinstance(one, nn.Embedding)]


def vocab_of(module: nn.Module) -> int:
    """Give how many ids there are: the first table's rows."""
    found = embeddings(module)
    told = getattr(module, "vocab", None) or getattr(module, "vocab_size", None)
    return found[0].num_embeddings if found else int(told) if isinstance(told, int) else 256


def width_of(module: nn.Module) -> int:
    """Guess how wide an input of floats is."""
    for name in WIDTHS:
        if isinstance(told := getattr(module, name, None), int):
            return told
    for one in module.modules():
        for name in ("in_features", "input_size", "in_channels", "embed_dim"):
            if isinstance(told := getattr(one, name, None), int):
                return told
        if isinstance(one, nn.LayerNorm):
            return int(one.normalized_shape[-1])
    return 0


def edges_of(module: nn.Module) -> tuple[int, ...]:
    """Give the widths of convolutions: blocks end there."""
    found = {
        one.kernel_size[0] * one.dilation[0]
        for one in module.modules()
        if isinstance(one, nn.Conv1d)
    }
    return tuple(sorted(edge for edge in found if 2 < edge < 120))[:2]


def named_module(where: str, args: str = "") -> nn.Module:
    """Make a model from `module:Class` and its arguments as JSON."""
    name, _, attribute = where.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        why = f"there is no module {error.name}"
        raise unusable(where, why, "Write package.module:Class, as Python imports it") from None
    except Exception as error:  # noqa: BLE001 (somebody else's code: what it says is told)
        raise unusable(where, f"importing it fails ({said(error)})", "Mend the module") from None
    if not attribute or not hasattr(found, attribute):
        best = next((n for n, v in vars(found).items() if own_class(v, name)), "Class")
        raise unusable(where, f"{name} has no {attribute or 'class named'}", f"Write {name}:{best}")
    return made(where, getattr(found, attribute), arguments(args))


def own_class(value: Any, module: str) -> bool:
    """Say whether this is a class of models that a module itself defines."""
    found = isinstance(value, type) and issubclass(value, nn.Module)
    return found and value.__module__ == module


def made(where: str, maker: Any, given: Any) -> nn.Module:
    """Call a class, or a function that gives a model."""
    try:
        torch.manual_seed(0)
        built = maker(**given) if isinstance(given, dict) else maker(*given)
    except Exception as error:  # noqa: BLE001 (somebody else's code: what it says is told)
        hint = """Write --args '{"name": value}' with what it needs"""
        raise unusable(where, f"making one fails ({said(error)})", hint) from None
    if not isinstance(built, nn.Module):
        hint = "Write a class of torch.nn.Module, or a function that gives one"
        raise unusable(where, f"it is a {type(built).__name__}, no torch module", hint)
    return built


def arguments(text: str) -> Any:
    """Read the arguments of a class: a JSON object, or a list."""
    try:
        given = json.loads(text) if text else {}
    except ValueError as error:
        raise UsageError(
            Problem("--args", text, f"it is no JSON ({error})", """Write --args '{"dim": 64}'""")
        ) from None
    return given if isinstance(given, dict | list) else [given]


def said(error: Exception) -> str:
    """Give an error's first line with its kind."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def unusable(where: str, why: str, instead: str) -> UsageError:
    """Say that a class can't be audited."""
    return UsageError(Problem("audit", where, why, instead))
