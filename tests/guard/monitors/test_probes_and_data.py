"""The monitors of layers, logits, groups and data: silent on health, one finding on a fault."""

import json
from typing import Any

import pytest

from surefoot import kinds
from surefoot.records import Finding, Step


def step(number: int, **fields: Any) -> Step:
    told = {"loss": 3.0, "ce": 3.0, "grad_norm": 1.0, "lr": {"matrix": 0.02}}
    own = {"batch_hash": f"{number:016x}", "position": 8 * number}
    return Step(step=number, **{**told, **own, **fields})


def made(name: str, **options: Any) -> Any:
    module = kinds.find("monitors", name)
    return module.Monitor(module.Options.model_validate(options), {})


HEALTHY = {
    "layer_grad_norm": [0.5, 0.4, 0.3, 0.2],
    "layer_out_rms": [0.3, 0.2, 0.2, 0.1],
    "update_ratio": {"matrix": 1e-3},
    "logit_sat_share": 0.0,
    "logit_max": 9.0,
}
SICK = {
    "dead_layer": {"layer_grad_norm": [0.5, 0.4, 0.3, 0.0]},
    "frozen_group": {"update_ratio": {"matrix": 0.0}},
    "logit_saturation": {"logit_sat_share": 0.3},
    "data_stuck": {"batch_hash": "same"},
}
LATENCY = {"dead_layer": 50, "frozen_group": 50, "logit_saturation": 50, "data_stuck": 3}


def run(
    name: str, sick_from: int | None, steps: int = 700, cut: int | None = None
) -> list[Finding]:
    monitor, found = made(name), []
    for number in range(1, steps):
        if number == cut:
            kept = json.loads(json.dumps(monitor.state()))
            monitor = made(name)
            monitor.restore(kept)
        fields = dict(HEALTHY)
        if sick_from is not None and number >= sick_from:
            fields |= SICK[name]
        if number % 10 and name != "logit_saturation":  # probes come every ten steps
            fields = {k: v for k, v in fields.items() if not k.startswith(("layer", "update"))}
        found += monitor.observe(step(number, **fields))
    return found


@pytest.mark.parametrize("name", SICK)
def test_health_is_silent_and_a_fault_is_found_in_time(name: str) -> None:
    assert run(name, None) == []
    found = run(name, sick_from=300)
    assert (found[0].since or 0) + LATENCY[name] >= 300
    assert {finding.id for finding in found} == {name}
    assert len(found) <= 2  # a warning may become an act, and no more


@pytest.mark.parametrize("name", SICK)
def test_cut_and_resumed_it_finds_the_same(name: str) -> None:
    assert run(name, 300, cut=310) == run(name, 300)


def test_seed_000s_raw_rule_fires_at_any_small_norm() -> None:
    small = {"layer_grad_norm": [1e-8] * 4, "layer_out_rms": [0.1] * 4}
    for rule, expected in (("layers", 0), ("seed", 1)):
        monitor = made("dead_layer", rule=rule)
        found = [f for n in range(110, 170, 10) for f in monitor.observe(step(n, **small))]
        assert len(found) == expected, rule


def test_a_rewind_lawfully_reads_the_same_data_again() -> None:
    monitor = made("data_stuck")
    same = {"batch_hash": "x", "position": 8}
    found = [f for g in range(3) for f in monitor.observe(step(1, generation=g, **same))]
    assert found == []


def test_000s_rule_of_logits_warns_of_a_single_one() -> None:
    watcher, found = made("logit_saturation", rule="seed"), list[Finding]()
    for number in range(1, 60):
        most = 28.1 if number == 40 else 27.9
        found += watcher.observe(step(number, logit_sat_share=0.0, logit_max=most))
    assert [(one.severity, one.since) for one in found] == [("warn", 40)]
