"""The mistakes of the seeds as recipes: each is named before it costs anything."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from surefoot import cli
from surefoot.guard.preflight import judge
from surefoot.recipe.load import load, names
from tests.guard.rules.situations import Case, judged

GPU = {"device": "cuda", "mem_free_gib": 80.0, "corpus_tokens": 10**10, "val_tokens": 10**6}
# 004: the toy that ran for a day on two GPUs, and what was to run instead
SHOWCASE = {
    "model.dim": 128,
    "model.attention": "plain",
    "data.tokenizer.kind": "byte",
    "train.seq_len": 128,
    "train.batch": 8,
    "train.steps": 50_000,
    "train.precision": "fp32",
    "save.every": 0,
}
PRODUCTION = {
    "model.dim": 768,
    "model.layers": 12,
    "model.heads": 12,
    "model.vocab": 50_304,
    "model.ffn.width": 2048,
    "train.seq_len": 2048,
    "train.batch": 1,
    "train.steps": 50_000,
    "train.precision": "bf16",
    "train.grad_checkpointing": True,
    "save.every": 5000,
}
# 003's size: 275M parameters, here all in the parts that there are
LARGE = {
    "model.dim": 1024,
    "model.layers": 20,
    "model.heads": 16,
    "model.kv_heads": 4,
    "model.vocab": 4096,
    "model.ffn.width": 3552,  # 275M in all
    "model.head.label_smoothing": 0.1,
    "optim.matrix.lr": 0.012,
    "train.seq_len": 1024,
    "train.batch": 2,
    "train.steps": 10_000,
    "save.every": 1000,
}
# 001: a rate to fine-tune with, ten batches of validation
GUIDE = {
    "optim.matrix.kind": "adam",
    "optim.matrix.lr": 2e-5,
    "optim.embedding.lr": 2e-5,
    "optim.scalar.lr": 2e-5,
    "knobs.lr.warmup": 4000,
    "model.dim": 512,
    "model.layers": 8,
    "model.ffn.width": 0,
    "train.seq_len": 512,
    "train.batch": 12,
    "train.accumulate": 16,
    "train.effective_batch": 192,
    "train.steps": 80_000,
    "train.precision": "bf16",
    "val.batches": 10,
    "limits.mem_gb": 10.0,
    "save.every": 500,
    "save.keep": 3,
}


def told(recipe: str, changes: dict[str, Any], **facts: Any) -> dict[str, str]:
    """Judge a plan for a GPU by every rule: id -> severity, the worst."""
    case = Case("", recipe=recipe, changes=changes, facts=GPU | facts)
    findings = judge(*judged(case))
    return {finding.id: finding.severity for finding in reversed(findings)}


def of(found: dict[str, str], severity: str) -> set[str]:
    """Keep the ids of one severity."""
    return {name for name, level in found.items() if level == severity}


def test_004s_day_of_a_toy_is_refused_with_every_cause() -> None:
    found = told("starter", SHOWCASE)
    assert of(found, "refuse") == {"long_fp32", "long_no_flash", "save_every", "toy_size"}
    assert found["profile_unpinned"] == "note"


def test_004s_own_strictness_is_a_switch() -> None:
    found = told("starter", SHOWCASE | {"guard.strict": True})
    more = {"long_no_grad_ckpt", "profile_unpinned"}
    assert of(found, "refuse") == {"long_fp32", "long_no_flash", "save_every", "toy_size"} | more


def test_004s_production_recipe_is_not_refused() -> None:
    assert of(told("starter", PRODUCTION), "refuse") == set()


def test_000s_own_values_are_silent_in_every_range() -> None:
    found = told("windowed", {})
    assert not {name for name in found if name.startswith("range_")}
    assert of(found, "refuse") == set()


def test_000s_critical_values_are_refused_together() -> None:
    critical = {
        "optim.matrix.lr": 0.036,
        "optim.head.lr": 1 / 250,
        "optim.embedding.lr": 0.26,
        "optim.value_embedding.lr": 0.26,
        "optim.scalar.lr": 0.021,
        "knobs.momentum.steps": 100,
        "knobs.window.end": 2688,
    }
    found = told("windowed", critical)
    ranges = {name for name in found if name.startswith("range_")}
    assert len(ranges) == 7
    assert of(found, "refuse") == ranges - {"range_window"}
    assert found["range_window"] == "warn"


def test_003s_few_tokens_are_warned_of_with_their_ratio() -> None:
    case = Case("", changes=LARGE, facts=GPU | {"corpus_tokens": 97_000_000})
    recipe, situation = judged(case)
    findings = {finding.id: finding for finding in judge(recipe, situation)}
    ratio = 10_000 * 2 * 1024 / situation.forecast.total
    assert f"{ratio:.2g} each" in findings["tokens_per_param"].why
    assert abs(ratio - 0.074) < 0.001
    assert findings["tokens_per_param"].severity == "warn"
    assert "79% of the corpus" in findings["data_unseen"].why
    assert "1.1566 nats" in findings["decay_floor_smoothing"].why
    assert findings["muon_small_batch"].severity == "warn"  # two thirds of its arithmetic


def test_001s_rate_for_fine_tuning_is_warned_of() -> None:
    found = told("starter", GUIDE, corpus_tokens=10**8)
    assert found["lr_scratch"] == "warn"
    assert found["data_repeats"] == "refuse"  # 80,000 x 192 rows over one data set
    assert "batch_product" not in found and "warmup_share" not in found


@pytest.mark.parametrize("name", [n for n in names() if load(n).recipe.model.dim < 256])
def test_the_recipes_of_minutes_start(name: str) -> None:
    steps = {"train.steps": 400} if load(name).recipe.train.minutes else {}
    case = Case(
        "", recipe=name, changes=steps, facts={"corpus_tokens": 10**6, "val_tokens": 20_000}
    )
    began = time.process_time()
    plan = judged(case)
    findings = judge(*plan)
    assert time.process_time() - began < 1.0
    assert [finding for finding in findings if finding.severity == "refuse"] == []


def test_a_plan_for_a_gpu_is_judged_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("\n\n".join(f"the {n} ways of a long day" for n in range(4000)))
    changes = [f"{key}={json.dumps(value)}" for key, value in SHOWCASE.items()]
    corpus = ["data.corpus.kind=text", f'data.corpus.path="{text}"']
    told = ["preflight", "starter", *changes, *corpus, "data.corpus.split=blank_line"]
    assert cli.main([*told, "--device", "cuda", "--json", "--all"]) == 3
    out, err = capsys.readouterr()
    found = json.loads(out)
    refused = {f["id"] for f in found["findings"] if f["severity"] == "refuse"}
    assert refused >= {"long_fp32", "long_no_flash", "save_every", "toy_size"}
    assert found["forecast"]["source"] == "roofline" and found["state"] == "refused"
    assert "fine   units" in err
    assert cli.main([*told, "--device", "cuda", "--print-pin"]) == 3
    assert capsys.readouterr().out.strip() == found["pin"]
