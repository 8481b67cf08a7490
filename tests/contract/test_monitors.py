"""What every monitor promises: silent in health, in time in trouble, and nothing forgotten."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest

from surefoot import kinds
from surefoot.records import Finding, Record, Step
from tests.guard import traces

NAMES = kinds.names("monitors")
STATE = 64 * 1024  # bytes of JSON
GRAVE = ("warn", "act")
Made = Callable[[], Any]
Seen = list[tuple[int, Finding]]
# Told each time, since each is another update that was left out.
EACH_TIME = frozenset({"nonfinite"})


@cache
def healthy(which: str) -> list[Record]:
    return traces.HEALTHY[which]()


@cache
def sick(name: str) -> list[Record]:
    return traces.sick(name).trace()


def maker(name: str) -> Made:
    """Make a monitor as its sick trace needs it."""
    return lambda: traces.monitor(name, traces.facts(name))


def of(name: str, seen: Seen) -> Seen:
    """Keep the findings that the sick trace is about."""
    wanted = getattr(traces.sick(name), "ID", name)
    return [(step, finding) for step, finding in seen if finding.id == wanted]


def check_healthy(made: Made, trace: list[Record]) -> None:
    """No warning, nothing to act on."""
    seen = traces.watched(made(), trace)
    assert [(step, str(one)) for step, one in seen if one.severity in GRAVE] == []


def check_found(name: str, made: Made, trace: list[Record]) -> None:
    """Found after its onset, within the steps that the spec allows."""
    about = traces.sick(name)
    seen = of(name, traces.watched(made(), trace))
    assert seen, f"{name} sees nothing"
    assert about.ONSET <= seen[0][0] <= about.ONSET + about.LATENCY, seen[0]


def check_four_parts(made: Made, trace: list[Record]) -> None:
    """Each finding says what, which value, why, and what to do, and where it began."""
    for step, one in traces.watched(made(), trace):
        assert one.what and one.value and one.why and one.instead, one
        assert not one.why.endswith((".", " ")) and "nan" not in str(one)
        assert one.evidence, f"{one.id} says no numbers"
        json.dumps(dict(one.evidence), allow_nan=False)
        assert one.since is None or 0 <= one.since <= step


def blank(value: Any) -> Any:
    """Turn every float into NaN."""
    if isinstance(value, float):
        return math.nan
    if isinstance(value, Mapping):
        return {key: blank(inner) for key, inner in value.items()}
    return [blank(inner) for inner in value] if isinstance(value, list) else value


def with_nan(trace: list[Record], bad: set[int], required: bool = False) -> list[Record]:
    """Blank all floats of some steps; where asked, drop all that a step may leave out."""
    found: list[Record] = []
    for one in trace:
        if isinstance(one, Step) and one.step in bad:
            told = {f.name: blank(getattr(one, f.name)) for f in fields(one)}
            if required:
                told |= {f.name: None for f in fields(one) if f.default is None}
                told |= {"lr": {}, "knobs": {}, "aux": {}}
            one = Step(**told)
        found.append(one)
    return found


def check_nan(name: str, made: Made, trace: list[Record]) -> None:
    """Steps that say nothing neither raise, nor alarm, nor keep it from seeing later."""
    onset = traces.sick(name).ONSET
    early = set(range(onset // 2, onset // 2 + 6)) | {onset - 200, onset - 30, onset - 29}
    if onset < 250:  # a young run's trouble: one blank step is all that it can spare
        early = {onset - 20}
    for required in (False, True):
        spoilt = with_nan(trace, early, required)
        seen = traces.watched(made(), spoilt)
        assert all(step not in early for step, _ in seen)
        check_found(name, made, spoilt)


def check_resumed(made: Made, trace: list[Record], every: int = 97) -> None:
    """Cut again and again, through JSON, it finds the same at the same steps."""
    whole, cut, watcher = traces.watched(made(), trace), Seen(), made()
    for index, one in enumerate(trace):
        if index % every == 0:
            kept = json.dumps(watcher.state(), allow_nan=False)
            assert len(kept) <= STATE, f"{len(kept)} bytes of state"
            watcher = made()
            watcher.restore(json.loads(kept))
            assert json.dumps(watcher.state(), allow_nan=False) == kept
        cut += [(one.step, finding) for finding in watcher.observe(one)]
    assert cut == whole


def held(thing: Any, seen: set[int]) -> int:
    """Count the things that a monitor holds."""
    if id(thing) in seen or isinstance(thing, str | bytes | type):
        return 0
    seen.add(id(thing))
    if isinstance(thing, Mapping):
        return len(thing) + sum(held(inner, seen) for inner in thing.values())
    if hasattr(thing, "__iter__") and hasattr(thing, "__len__"):
        return len(thing) + sum(held(inner, seen) for inner in thing)
    inside = getattr(thing, "__dict__", None)
    return held(inside, seen) if inside and hasattr(type(thing), "state") else 0


def check_memory(made: Made, trace: list[Record]) -> None:
    """It holds no more late in a run than in the middle."""
    watcher, most = made(), {"early": 0, "late": 0}
    for index, one in enumerate(trace):
        watcher.observe(one)
        if index % 23 == 0:
            half = "early" if index < 0.6 * len(trace) else "late"
            most[half] = max(most[half], held(watcher, set()))
    assert most["late"] <= most["early"] + 8, most


def check_one_an_episode(name: str, made: Made, trace: list[Record]) -> None:
    """A trouble that lasts is told once, and once more if it becomes graver."""
    seen = [(one.id, one.severity, one.episode) for _, one in traces.watched(made(), trace)]
    assert len(seen) == len(set(seen)), seen
    if name not in EACH_TIME:
        assert len(of(name, traces.watched(made(), trace))) <= 2


@pytest.mark.parametrize("which", traces.HEALTHY)
@pytest.mark.parametrize("name", NAMES)
def test_a_healthy_run_is_watched_in_silence(name: str, which: str) -> None:
    check_healthy(lambda: traces.monitor(name), healthy(which))


@pytest.mark.parametrize("name", NAMES)
def test_its_trouble_is_found_in_time(name: str) -> None:
    check_found(name, maker(name), sick(name))


@pytest.mark.parametrize("name", NAMES)
def test_its_findings_have_four_parts_and_numbers(name: str) -> None:
    check_four_parts(maker(name), sick(name))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_number_neither_raises_nor_freezes_it(name: str) -> None:
    check_nan(name, maker(name), sick(name))


@pytest.mark.parametrize("name", NAMES)
def test_cut_and_resumed_it_finds_the_same(name: str) -> None:
    check_resumed(maker(name), sick(name))
    check_resumed(maker(name), healthy("raised"), every=211)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_cut_at_every_step_around_its_trouble_it_finds_the_same(name: str) -> None:
    check_resumed(maker(name), sick(name), every=1)


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_no_more_the_longer_a_run_is(name: str) -> None:
    check_memory(lambda: traces.monitor(name), healthy("plain"))


@pytest.mark.parametrize("name", NAMES)
def test_a_trouble_is_told_once(name: str) -> None:
    check_one_an_episode(name, maker(name), sick(name))


@pytest.mark.parametrize("name", NAMES)
def test_its_options_are_told_by_name_and_documented(name: str) -> None:
    options = kinds.find("monitors", name).Options
    assert options().kind == name
    untold = [key for key, f in options.model_fields.items() if key != "kind" and not f.description]
    assert untold == []


@pytest.mark.parametrize("name", NAMES)
def test_without_a_single_fact_it_watches_on(name: str) -> None:
    watcher = traces.monitor(name, {})
    seen = traces.watched(watcher, healthy("plain"))
    assert all(one.severity == "note" for _, one in seen)
    assert len(seen) <= 1


ELSEWHERE = """
import json, sys
sys.modules["torch"] = None
from surefoot import kinds, records
told = {}
for name in kinds.names("monitors"):
    module = kinds.find("monitors", name)
    watcher = module.Monitor(module.Options(), {"unigram_entropy": 6.5})
    told[name] = []
for text in sys.stdin:
    name, raw = json.loads(text)
    if name not in told or not told[name]:
        module = kinds.find("monitors", name)
        told[name] = [module.Monitor(module.Options(), {"unigram_entropy": 6.5})]
    told[name] += [records.row(f) for f in told[name][0].observe(records.parse(raw))]
print(json.dumps({name: found[1:] for name, found in told.items()}))
"""


def test_from_the_journal_without_torch_they_find_what_they_found_live() -> None:
    from surefoot import records

    live: dict[str, list[dict[str, Any]]] = {}
    lines: list[str] = []
    for name in NAMES:
        watcher = traces.monitor(name, {"unigram_entropy": 6.5})
        live[name] = [records.row(one) for _, one in traces.watched(watcher, sick(name))]
        lines += [json.dumps([name, records.row(one)]) for one in sick(name)]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input="\n".join(lines), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == live


@pytest.mark.slow
def test_all_monitors_together_cost_less_than_200_microseconds_a_step() -> None:
    trace = healthy("plain")
    best = math.inf
    for _ in range(3):  # the least of three: the rest is whoever else is at work
        watchers = [traces.monitor(name) for name in NAMES]
        begin = time.process_time()
        for one in trace:
            for watcher in watchers:
                watcher.observe(one)
        best = min(best, time.process_time() - begin)
    assert best / len(trace) < 200e-6, f"{1e6 * best / len(trace):.0f} us a step"


# Planted faults: each promise finds the monitor that breaks it.


class Planted:
    """A monitor of the loss that is right; those below break one promise each."""

    limit = 4.2

    def __init__(self) -> None:
        self.open = False

    def observe(self, record: Record) -> list[Finding]:
        if not isinstance(record, Step) or not math.isfinite(record.ce) or record.step < 300:
            return []
        fresh, self.open = record.ce > self.limit and not self.open, record.ce > self.limit
        return [self.finding(record)] if fresh else []

    def finding(self, record: Step) -> Finding:
        told = {"what": "loss", "value": f"{record.ce:.2f}", "why": "high", "instead": "Wait"}
        return Finding(id="loss_gap", severity="act", evidence={"ce": record.ce}, **told)

    def state(self) -> dict[str, Any]:
        return {"open": self.open}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.open = bool(state["open"])


class Forgetful(Planted):
    def restore(self, state: Mapping[str, Any]) -> None:
        self.open = False


class Frozen(Planted):
    def observe(self, record: Record) -> list[Finding]:
        if isinstance(record, Step):
            self.total = getattr(self, "total", 0.0) + record.ce
            if not math.isfinite(self.total):
                return []
        return super().observe(record)


class Growing(Planted):
    def __init__(self) -> None:
        super().__init__()
        self.all: list[float] = []

    def observe(self, record: Record) -> list[Finding]:
        self.all.append(float(record.step))
        return super().observe(record)


class Talkative(Planted):
    def observe(self, record: Record) -> list[Finding]:
        self.open = False
        return super().observe(record)


class Nervous(Planted):
    limit = 3.0


class Asleep(Planted):
    limit = 99.0


def shifted() -> list[Record]:
    """Give a run whose loss jumps by 3 nats."""
    onset = traces.sick("loss_gap").ONSET
    return traces.changed(traces.run(1900), onset, lambda one: replace(one, ce=one.ce + 3))


BROKEN: list[tuple[type[Planted], Callable[[Made], None]]] = [
    (Nervous, lambda made: check_healthy(made, healthy("plain"))),
    (Asleep, lambda made: check_found("loss_gap", made, shifted())),
    (Forgetful, lambda made: check_resumed(made, shifted())),
    (Frozen, lambda made: check_nan("loss_gap", made, shifted())),
    (Growing, lambda made: check_memory(made, healthy("plain"))),
    (Talkative, lambda made: check_one_an_episode("loss_gap", made, shifted())),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[b.__name__ for b, _ in BROKEN])
def test_a_monitor_that_breaks_a_promise_is_found(
    broken: type[Planted], check: Callable[[Made], None]
) -> None:
    check(Planted)
    with pytest.raises(AssertionError):
        check(broken)
