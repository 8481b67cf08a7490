"""A noun has one name in the whole house, and every link in a document leads somewhere."""

import ast
import re
import tomllib
from collections.abc import Iterator

import pytest

from tests.house_rules import ROOT, sources

TREES = sources("surefoot", "scripts", "examples")
# What others call it, and what it is called here (design: Names).
ONE_NAME = {
    "learning_rate": "lr",
    "base_lr": "lr",
    "max_lr": "lr",
    "d_model": "dim",
    "hidden_size": "dim",
    "n_embd": "dim",
    "embed_dim": "dim",
    "n_layer": "layers",
    "n_layers": "layers",
    "num_layers": "layers",
    "n_head": "heads",
    "n_heads": "heads",
    "num_heads": "heads",
    "num_kv_heads": "kv_heads",
    "block_size": "seq_len",
    "max_seq_len": "seq_len",
    "context_length": "seq_len",
    "batch_size": "batch",
    "micro_batch_size": "batch",
    "grad_accum": "accumulate",
    "accum_steps": "accumulate",
    "max_steps": "steps",
    "total_iters": "steps",
    "vocab_size": "vocab",
    "window_size": "window",
    "warmup_steps": "warmup",
    "grad_clip": "clip",
    "save_interval": "save.every",
    "log_interval": "logs.every",
    "val_loss": "val_ce",
    "perplexity": "ce",
}
HOLLOW = re.compile(r"(Manager|Handler|Helper|Wrapper|Base|Impl|Mixin|Util|Utils)$")
VERBS = re.compile(r"^(use|do|enable|disable|no)_[a-z]")
ELSEWHERE = re.compile(r"/work/|/opt/|/root/|/home/|\bTODO\b|\bFIXME\b|\bXXX\b|pypi\.org")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def named(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give each name that a file makes up itself: variables, arguments, fields, functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def misnamed(tree: ast.Module, path: str) -> Iterator[str]:
    """Find the names that the house has another word for, or that say nothing."""
    made = {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}
    for line, name in named(tree):
        if name in ONE_NAME:
            yield f"{path}:{line}: {name} is called {ONE_NAME[name]} here"
        if HOLLOW.search(name):
            yield f"{path}:{line}: {name} is a noun that says nothing"
        if VERBS.match(name) and name not in made:
            yield f"{path}:{line}: {name} is no adjective"


def test_a_noun_has_one_name() -> None:
    assert [said for path, tree in TREES.items() for said in misnamed(tree, path)] == []


@pytest.mark.parametrize(
    "source",
    ["learning_rate = 1", "def f(batch_size): ...", "self.d_model = 3", "class RunManager: ...",
     "use_cache: bool = True"],
)  # fmt: skip
def test_a_planted_synonym_is_found(source: str) -> None:
    assert list(misnamed(ast.parse(source), "a.py"))


def test_recipes_use_the_same_words() -> None:
    for path in (ROOT / "surefoot" / "recipes").glob("*.toml"):
        told = path.read_text(encoding="utf-8")
        tomllib.loads(told)
        assert not [word for word in ONE_NAME if re.search(rf"^\s*{word}\s*=", told, re.M)], path


def test_nothing_is_left_to_do_and_no_place_is_named() -> None:
    paths = (
        [ROOT / path for path in TREES] + DOCUMENTS + [ROOT / "Makefile", ROOT / "pyproject.toml"]
    )
    paths += (ROOT / "surefoot" / "recipes").glob("*.toml")
    lines = ((p, n, s) for p in paths for n, s in enumerate(p.read_text().splitlines(), 1))
    assert [f"{p.name}:{n}: {s}" for p, n, s in lines if ELSEWHERE.search(s)] == []


def test_every_link_between_documents_leads_somewhere() -> None:
    dead = [
        f"{path.name}: {target}"
        for path in DOCUMENTS
        for target, _ in LINK.findall(path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert dead == []


@pytest.mark.parametrize(
    ("name", "most"), [("README.md", 150), ("CONTRIBUTING.md", 120), ("Makefile", 60)]
)
def test_what_is_read_first_is_short(name: str, most: int) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= most
