"""The rules of the house hold, and each of them finds what it is there to find."""

import ast
from pathlib import Path

import pytest

from tests import house_rules as rules

TREES = rules.sources("surefoot", "scripts", "examples")
HOUSE = [
    rules.names_that_say_nothing,
    rules.registries,
    rules.weight_writes,
    rules.missing_sentences,
    rules.broad_excepts,
    rules.pickles,
    rules.numbers_without_units,
    rules.long_loops,
]
LONG = "def train(run):\n    'Train.'\n" + "    run.one()\n" * 60
PLANTED = [
    (rules.names_that_say_nothing, "surefoot/data/utils.py", ""),
    (rules.names_that_say_nothing, "surefoot/helpers/order.py", ""),
    (rules.registries, "surefoot/plan/__init__.py", "from surefoot.plan.plan import Plan"),
    (rules.registries, "surefoot/model/mixers/odd.py", "@register('odd')\nclass Mixer: ..."),
    (rules.weight_writes, "surefoot/run/a.py", "model.load_state_dict(held)"),
    (rules.weight_writes, "surefoot/run/a.py", "weight.set_(other)"),
    (rules.weight_writes, "surefoot/run/a.py", "torch.utils.swap_tensors(a, b)"),
    (rules.weight_writes, "surefoot/guard/a.py", "weight.requires_grad_(False)"),
    (rules.weight_writes, "surefoot/run/a.py", "optimiser.step()"),
    (rules.weight_writes, "surefoot/model/ffn.py", "nn.init.zeros_(self.out)"),
    (rules.weight_writes, "surefoot/run/a.py", "weight.data = other"),
    (rules.weight_writes, "surefoot/run/a.py", "weight.data[0] += 1"),
    (rules.weight_writes, "surefoot/run/a.py", "weight.data.mul_(0.5)"),
    (rules.missing_sentences, "surefoot/run/a.py", "a = 1"),
    (rules.missing_sentences, "surefoot/run/a.py", "'A.'\ndef said(): return 1"),
    (rules.missing_sentences, "surefoot/run/a.py", "'A.'\nclass A:\n 'A.'\n def b(self): return 1"),
    (rules.broad_excepts, "surefoot/run/a.py", "try: a()\nexcept: b()"),
    (rules.broad_excepts, "surefoot/run/a.py", "try: a()\nexcept Exception as e: b(e)"),
    (rules.broad_excepts, "surefoot/run/a.py", "try: a()\nexcept (OSError, BaseException): b()"),
    (rules.broad_excepts, "surefoot/cli.py", "try: a()\nexcept OSError: pass"),
    (rules.pickles, "surefoot/shelf/a.py", "import pickle"),
    (rules.pickles, "surefoot/shelf/a.py", "from marshal import loads"),
    (rules.pickles, "surefoot/shelf/a.py", "torch.load(path)"),
    (rules.pickles, "surefoot/shelf/a.py", "torch.save(held, path)"),
    (rules.pickles, "surefoot/learn/a.py", "dist.all_gather_object(told, own)"),
    (rules.pickles, "surefoot/show/a.py", "eval(text)"),
    (rules.pickles, "surefoot/show/a.py", "exec(text)"),
    (rules.pickles, "surefoot/data/a.py", "np.load(path, allow_pickle=True)"),
    (rules.numbers_without_units, "surefoot/records.py", "class A:\n gpu_mem_alloc: float"),
    (rules.numbers_without_units, "surefoot/records.py", "class A:\n save_time: float | None"),
    (rules.long_loops, "surefoot/train.py", LONG),
]


@pytest.mark.parametrize("rule", HOUSE, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: rules.Rule) -> None:
    assert [said for path, tree in TREES.items() for said in rule(tree, path)] == []


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    PLANTED,
    ids=[f"{r.__name__}-{i}" for i, (r, _, _) in enumerate(PLANTED)],
)
def test_a_planted_violation_is_found(rule: rules.Rule, path: str, source: str) -> None:
    assert list(rule(ast.parse(source), path))


def test_every_rule_has_a_planted_violation() -> None:
    assert {rule for rule, _, _ in PLANTED} == set(HOUSE)


@pytest.mark.parametrize(
    "source",
    ["leaf = x.detach().requires_grad_()", "try: a()\nexcept BaseException:\n b()\n raise"],
)
def test_what_only_looks_like_a_violation_is_let_be(source: str) -> None:
    for rule in (rules.weight_writes, rules.broad_excepts):
        assert not list(rule(ast.parse(source), "surefoot/audit/a.py"))


def test_test_files_are_named_by_what_they_are() -> None:
    trees = rules.sources("tests")
    assert [said for p, t in trees.items() for said in rules.names_that_say_nothing(t, p)] == []


def test_everything_is_caught_at_the_named_edges_only_where_they_are() -> None:
    assert [path for path in rules.EDGES if not (rules.ROOT / path).is_file()] == []


def test_one_trainer_is_all_there_is() -> None:
    folders = {path.name for path in Path(rules.ROOT / "surefoot").rglob("*") if path.is_dir()}
    assert not folders & {"experiments", "contrib", "legacy", "v2"}
