"""The rules of the house, each a function from one file's syntax tree to what breaks it."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

Rule = Callable[[ast.Module, str], Iterator[str]]
ROOT = Path(__file__).parent.parent
UNNAMED = {"utils", "util", "common", "base", "helpers", "misc", "manager", "core", "lib", "tools"}
WRITERS = {"load_state_dict", "set_", "swap_tensors"}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
OBJECTS = {
    "broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list",
    "send_object_list", "recv_object_list",
}  # fmt: skip
SIZES = {"mem", "memory", "disk", "rss", "ram", "time", "duration", "elapsed", "stall", "latency"}
UNITS = ("_s", "_mib", "_gib", "_gb", "_bytes", "_steps", "_share", "_tokens", "_hours", "_minutes")
NUMBERS = ("int", "float", "Count", "Number", "Positive", "Share")
# Where everything may be caught, and written down: why it is needed there.
EDGES = {
    "surefoot/cli.py": "the program's edge",
    "surefoot/guard/monitor.py": "a plug-in's edge",
    "surefoot/show/terminal.py": "a display's edge",
    "surefoot/audit/subject.py": "somebody else's model: what it raises is reported",
    "surefoot/audit/foreign.py": "somebody else's code: what it raises is reported",
    "surefoot/data/tokenizer.py": "the library's edge: what it raises is reported",
    "surefoot/data/ahead.py": "a thread's edge: raised again where the batch is asked for",
}


def sources(*folders: str) -> dict[str, ast.Module]:
    """Read every Python file under these folders of the repository."""
    paths = sorted(path for name in folders for path in (ROOT / name).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in paths}


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Give each call with the last part of its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            yield node, name


def names_that_say_nothing(tree: ast.Module, path: str) -> Iterator[str]:
    """A file or folder is named by a noun of the design."""
    for part in Path(path).with_suffix("").parts:
        if part in UNNAMED:
            yield f"{path}: {part} names nothing"


def registries(tree: ast.Module, path: str) -> Iterator[str]:
    """Nothing registers itself, and no `__init__` lists what is there."""
    if path.endswith("__init__.py") and path != "surefoot/__init__.py" and tree.body:
        yield f"{path}:1: an __init__ that is not empty"
    for node in ast.walk(tree):
        for one in getattr(node, "decorator_list", []):
            if "register" in ast.unparse(one):
                yield f"{path}:{one.lineno}: {ast.unparse(one)} registers on import"


def weight_writes(tree: ast.Module, path: str) -> Iterator[str]:
    """Weights and optimiser state change in learn/ alone."""
    if path.startswith("surefoot/learn/"):
        return
    for node, name in calls(tree):
        said = f"{path}:{node.lineno}: {ast.unparse(node.func)} writes weights"
        owner = getattr(node.func, "value", None)
        if name in WRITERS or (name == "requires_grad_" and not detached(owner)):
            yield said
        # the benches' other side is a bare loop, which has to step by itself
        optimiser = name == "step" and ast.unparse(owner or node) not in ("self", "run.plan")
        if optimiser and not path.startswith(("surefoot/bench/", "surefoot/show/")):
            yield said
        if "nn.init." in ast.unparse(node.func) and path != "surefoot/model/parameters.py":
            yield said
    yield from data_writes(tree, path)


def detached(owner: ast.AST | None) -> bool:
    """Say whether a tensor was cut off just before, so that it is no parameter."""
    return isinstance(owner, ast.Call) and getattr(owner.func, "attr", "") in ("detach", "clone")


def data_writes(tree: ast.Module, path: str) -> Iterator[str]:
    """Find what is assigned to, or done in place through, a tensor's `.data`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign):
            aims = node.targets if isinstance(node, ast.Assign) else [node.target]
            touched = [one for aim in aims for one in ast.walk(aim)]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "").endswith("_"):
            touched = list(ast.walk(node.func))
        else:
            continue
        if any(isinstance(one, ast.Attribute) and one.attr == "data" for one in touched):
            yield f"{path}:{node.lineno}: .data is written"


def missing_sentences(tree: ast.Module, path: str) -> Iterator[str]:
    """Every module and every public thing says in a sentence what it is for."""
    if tree.body and not ast.get_docstring(tree):
        yield f"{path}:1: the module has no first sentence"
    for node in public(tree):
        if not ast.get_docstring(node):
            yield f"{path}:{node.lineno}: {node.name} has no first sentence"


def public(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Give the public classes and functions, and the public methods of the former."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name[0] != "_" and tells(method):
                    yield method


def tells(method: ast.FunctionDef) -> bool:
    """Leave out what the contract has already told: a Protocol's `...`, and torch's own names."""
    stub = isinstance(method.body[-1], ast.Expr) and ast.unparse(method.body[-1]) == "..."
    return not stub and method.name not in ("forward", "backward")


def broad_excepts(tree: ast.Module, path: str) -> Iterator[str]:
    """Nothing is caught broadly but at the named edges; what is raised again is not caught."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = "" if node.type is None else ast.unparse(node.type)
        broad = not caught or "BaseException" in caught or caught.split(".")[-1] == "Exception"
        again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if broad and not again and path not in EDGES:
            yield f"{path}:{node.lineno}: except {caught} catches everything"
        if len(node.body) == 1 and isinstance(node.body[0], ast.Pass):
            yield f"{path}:{node.lineno}: an exception is passed over in silence"


def pickles(tree: ast.Module, path: str) -> Iterator[str]:
    """Nothing is unpickled, and no text is run."""
    for node in ast.walk(tree):
        imported = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in imported:
            if name.split(".")[0] in PICKLES:
                yield f"{path}:{node.lineno}: import {name}"
    for node, name in calls(tree):
        said = ast.unparse(node.func)
        if said in ("eval", "exec", "torch.load", "torch.save") or name in OBJECTS:
            yield f"{path}:{node.lineno}: {said}"
        if any(word.arg == "allow_pickle" for word in node.keywords):
            yield f"{path}:{node.lineno}: {name} with allow_pickle"


def numbers_without_units(tree: ast.Module, path: str) -> Iterator[str]:
    """A size's or a time's name ends in its unit."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        name, kind = node.target.id, ast.unparse(node.annotation)
        sized = SIZES & set(name.split("_")) and any(word in kind for word in NUMBERS)
        if sized and not name.endswith(UNITS):
            yield f"{path}:{node.lineno}: {name} has no unit"


def long_loops(tree: ast.Module, path: str) -> Iterator[str]:
    """The training loop stays on one screen."""
    for node in tree.body if path == "surefoot/train.py" else []:
        if isinstance(node, ast.FunctionDef) and node.name == "train":
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > 60:
                yield f"{path}:{node.lineno}: the loop has {lines} lines"
