"""No text makes one of our regular expressions slow: each is fed what is worst for it."""

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from re import _constants as sre  # pyright: ignore[reportAttributeAccessIssue]
from re import _parser as parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

import pytest

from tests.house_rules import sources

USES = {"match", "search", "fullmatch", "sub", "split", "findall", "finditer"}
ODD = ("", "\0", "\n", "!", "x", "1", " ", "]", '"')  # what a text may end with, to spoil a match
ANY = (" ", "a", "1", ".", "-", "=", "[", "(", '"', "'", "\\", "#", "\n", "\r", "\t", ",", ":",
       "a ", "1,", "a.", "0,1", "=a", "|-", "\x1b[", "é", "a:", "v1", "lr_")  # fmt: skip
# a cube shows in the first, a square in the second, and neither is ever asked the long one
SHORT, LONG = (1 << 9, 1 << 12), 1 << 20
PIECES = {"finditer", "findall", "sub", "split"}
MOST_S, MOST_SHORT_S = 0.05, 0.01


@dataclass(frozen=True)
class Used:
    """A pattern of ours, and how it is asked."""

    where: str
    source: str
    flags: int
    use: str

    def __str__(self) -> str:
        return f"{self.where} {self.use}"

    @property
    def most_s(self) -> float:
        """Give what it may cost: where there is a piece a match, the pieces cost too."""
        return MOST_S * (10 if self.use in PIECES else 1)


def used(trees: dict[str, ast.Module]) -> list[Used]:
    """Collect the patterns of all files: those with a name by the ways that they are used."""
    named: dict[str, tuple[str, str, int]] = {}
    found: list[Used] = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if called(node) == "compile" and isinstance(node, ast.Call):
                name = next((n for n in names(tree, node)), None)
                assert name is not None, f"{path}:{node.lineno}: a pattern without a name"
                one = getattr(importlib.import_module(path[:-3].replace("/", ".")), name)
                named[f"{path} {name}"] = (path, one.pattern, one.flags)
            elif called(node) in USES and isinstance(node, ast.Call):
                text = node.args[0]
                assert isinstance(text, ast.Constant), f"{path}:{node.lineno}: no plain pattern"
                found.append(Used(f"{path}:{node.lineno}", text.value, 0, called(node)))
    for key, (_, source, flags) in named.items():
        ways = {use for tree in trees.values() for use in asked(tree, key.split(" ")[1])}
        assert ways, f"{key} is used nowhere"
        found += [Used(key, source, flags, use) for use in sorted(ways)]
    return found


def called(node: ast.AST) -> str:
    """Name the function of `re` that a node calls; "" for any other node."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return ""
    return node.func.attr if ast.unparse(node.func.value) == "re" else ""


def names(tree: ast.Module, call: ast.Call) -> Iterator[str]:
    """Give the name that a module's top level gives a pattern, alone or as one of several."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            (target,) = node.targets
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            yield from (ast.unparse(aim) for aim, value in pairs if value is call)


def asked(tree: ast.Module, name: str) -> Iterator[str]:
    """Give the methods by which a pattern of this name is used."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in USES
            and ast.unparse(node.value).split(".")[-1] == name
        ):
            yield node.attr
    for node in ast.walk(tree):
        if isinstance(node, ast.ListComp) and name in ast.unparse(node):
            yield from (use for use in ("finditer", "findall") if use in ast.unparse(node))


def sample(tree: Any) -> str:
    """Give a short text that a parsed pattern matches, or nearly."""
    return "".join(one(op, told) for op, told in tree)


def one(op: Any, told: Any) -> str:
    """Give a text for one part of a pattern."""
    if op is sre.LITERAL:
        return chr(told)
    if op is sre.NOT_LITERAL:
        return "a" if told != ord("a") else "b"
    if op is sre.ANY:
        return "a"
    if op is sre.IN:
        return member(told)
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        return sample(told[2]) * max(1, told[0])
    if op is sre.SUBPATTERN:
        return sample(told[3])
    if op is sre.ATOMIC_GROUP:
        return sample(told)
    if op is sre.BRANCH:
        return sample(told[1][0])
    return ""


def member(told: Any) -> str:
    """Give a character of a set."""
    if told[0][0] is sre.NEGATE:
        out = {chr(value) for op, value in told if op is sre.LITERAL}
        return next(sign for sign in "a1 .b" if sign not in out)
    op, value = told[0]
    if op is sre.LITERAL:
        return chr(value)
    if op is sre.RANGE:
        return chr(value[0])
    return {sre.CATEGORY_DIGIT: "1", sre.CATEGORY_SPACE: " "}.get(value, "a")


def pumps(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Give, for each repetition in a pattern, what leads to it and what it repeats."""
    for op, told in tree:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            yield before, sample(told[2])
            yield from pumps(told[2], before)
        for inner in parts(op, told):
            yield from pumps(inner, before)
        before += one(op, told)


def parts(op: Any, told: Any) -> list[Any]:
    """Give the patterns inside a part of a pattern."""
    if op is sre.SUBPATTERN:
        return [told[3]]
    if op is sre.ATOMIC_GROUP:
        return [told]
    return list(told[1]) if op is sre.BRANCH else []


def nasty(source: str, flags: int) -> Iterator[Callable[[int], str]]:
    """Give texts that may be bad for a pattern, each of any length."""
    tree = parser.parse(source, flags)
    led = {("", pump) for pump in ANY} | set(pumps(tree))
    led |= {(before, pump) for before, _ in set(led) for pump in (" ", "1", "a", ".")}
    for before, pump in sorted(led):
        for end in ODD if before else ODD[:3]:
            if pump:
                yield lambda n, b=before, p=pump, e=end: b + p * (n // len(p)) + e


def took(pattern: re.Pattern[str], use: str, text: str) -> float:
    """Time one asking, by the processor's clock."""
    began = time.thread_time()
    if use == "sub":
        pattern.sub("", text)
    elif use in ("finditer", "findall"):
        for _ in getattr(pattern, "finditer")(text):  # noqa: B009 (as findall, without its list)
            pass
    else:
        getattr(pattern, use)(text)
    return time.thread_time() - began


def worst(one: Used) -> tuple[float, str]:
    """Give what the worst text costs, and how it begins; the short ones find it."""
    pattern = re.compile(one.source, one.flags)
    slowest, slow, short = 0.0, "a".__mul__, 0.0
    for make in nasty(one.source, one.flags):
        for size in SHORT:
            short = took(pattern, one.use, make(size))
            if short > MOST_SHORT_S:
                return short * LONG / size, make(40)
        if short > slowest:
            slowest, slow = short, make
    long = slow(LONG)
    seconds = took(pattern, one.use, long)
    for _ in range(4):  # another program's cache misses are not the pattern's
        if seconds > one.most_s:
            seconds = min(seconds, took(pattern, one.use, long))
    return seconds, slow(40)


ALL = used({path: tree for path, tree in sources("surefoot").items() if "/bench/" not in path})


@pytest.mark.parametrize("pattern", ALL, ids=str)
def test_no_text_makes_a_pattern_slow(pattern: Used) -> None:
    seconds, text = worst(pattern)
    assert seconds < pattern.most_s, f"{seconds:.3f} s for 1 MiB of {text!r}: {pattern.source}"


def test_all_patterns_are_found() -> None:
    found = {one.source for one in ALL}
    assert len(found) >= 30
    assert {r"\x1b\[[0-9;?]*[ -/]*[@-~]", r"[a-z][a-z0-9_]{0,63}"} <= found


@pytest.mark.parametrize(
    ("source", "use"),
    [
        (r"(a+)+$", "match"),
        (r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?", "match"),
        (r"(\w+):(\S+)", "findall"),
        (r"#{1,6}\s+(.+?)\s*#*$", "match"),
        (r"[\s*\-]*(?P<what>[A-Za-z][A-Za-z ]+?)[\s*]*:[\s*]*(?P<rest>.*)", "match"),
        (r"(?P<number>[\d.,]+)\s*(?P<unit>s|sec)\b", "search"),
        (r"[~<]*\s*(?P<number>[+-]?\d+\.?\d*)x", "fullmatch"),
    ],
)
def test_a_pattern_that_is_slow_is_found(source: str, use: str) -> None:
    if source == r"(a+)+$":  # would take for ever at any length: 25 letters do
        assert took(re.compile(source), use, "a" * 22 + "!") > MOST_S
        return
    assert worst(Used("planted", source, 0, use))[0] > MOST_S
