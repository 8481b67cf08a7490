"""What every rule promises: the healthy pass, the sick are named, and its advice helps."""

import importlib
import time
from typing import Any

import pytest

from surefoot import kinds
from surefoot.guard import book
from surefoot.guard.preflight import ORDER
from surefoot.guard.ruling import found
from surefoot.records import Finding
from tests.guard.rules.situations import Case, judged, literals, mended

NAMES = kinds.own("rules")
HARD = ("refuse", "warn")


def cases(name: str) -> Any:
    """Import the plans that belong to a rule file."""
    return importlib.import_module(f"tests.guard.rules.cases.{name}")


def findings(name: str, case: Case) -> list[Finding]:
    """Ask one rule file, and keep what it says under the case's id."""
    told = kinds.find("rules", name).judge(*judged(case))
    return [finding for finding in told if finding.id == case.rule]


def each(which: str) -> list[Any]:
    """Give each case of every rule file."""
    return [
        pytest.param(name, case, id=f"{case.rule}-{which.lower()}-{i}")
        for name in NAMES
        for i, case in enumerate(getattr(cases(name), which))
    ]


@pytest.mark.parametrize("name", NAMES)
def test_each_id_of_a_file_has_a_sick_and_a_healthy_plan(name: str) -> None:
    own = {entry.id for entry in book.entries().values() if entry.file == name}
    assert own == {case.rule for case in cases(name).SICK}
    assert own == {case.rule for case in cases(name).HEALTHY}


@pytest.mark.parametrize(("name", "case"), each("SICK"))
def test_a_sick_plan_is_named_with_all_four_parts(name: str, case: Case) -> None:
    told = findings(name, case)
    assert [finding.severity for finding in told] == [case.severity]
    finding = told[0]
    assert finding.what and finding.value and finding.why and finding.instead
    assert not finding.why.endswith((".", " ")) and finding.source == "rule"
    assert finding.instead.startswith(("Write ", "Run ")), finding.instead
    assert case.said in str(finding)
    assert finding.severity in book.entries()[case.rule].severity
    assert bool(finding.evidence.get("final")) >= book.entries()[case.rule].final


@pytest.mark.parametrize(("name", "case"), each("SICK"))
def test_what_a_rule_advises_makes_it_pass(name: str, case: Case) -> None:
    (finding,) = findings(name, case)
    assert case.mend is not None or literals(finding.instead), finding.instead
    left = findings(name, mended(case, finding))
    assert not [one for one in left if one.severity in HARD], f"{finding} left {left}"
    assert all(ORDER[one.severity] > ORDER[finding.severity] for one in left)


@pytest.mark.parametrize(("name", "case"), each("HEALTHY"))
def test_a_healthy_plan_and_one_at_the_boundary_are_silent(name: str, case: Case) -> None:
    assert findings(name, case) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_pure_and_quick(name: str) -> None:
    recipe, situation = judged(cases(name).SICK[0])
    rule = kinds.find("rules", name)
    began = time.process_time()
    first = list(rule.judge(recipe, situation))
    assert time.process_time() - began < 0.05
    assert list(rule.judge(recipe, situation)) == first


def test_advice_that_does_not_help_is_found() -> None:
    case = Case("save_every", "refuse", changes={"save.every": 0, "train.steps": 5000})
    useless = found("save_every", "refuse", "save.every", 0, "why", "Write save.keep=9")
    left = findings("saves", mended(case, useless))
    assert [one.severity for one in left] == ["refuse"]
