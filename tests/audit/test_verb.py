"""`surefoot audit` takes what people have: recipes, runs, classes; and says what it did not see."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import surefoot
from surefoot.cli import main
from tests.audit.zoo import leaky
from tests.audit.zoo.alone import Small
from tests.run.runs import place, start

ALONE = "tests.audit.zoo.alone"


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Ask for JSON; give the exit code and the document."""
    code = main(["audit", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_class_of_somebody_else_is_audited_and_its_leak_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["audit", f"{ALONE}:Small", "--args", '{"ahead": 3}']) == 3
    told = capsys.readouterr().out
    assert "LEAK     blocks.1 (Block): reads at least" in told
    assert "Small: it sees the future" in told
    assert "not checked: labels, canary: a model alone has no batches and no loss" in told
    assert "!" in told.split("which inputs (across)")[1]


def test_a_causal_class_passes_and_its_document_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = asked(capsys, f"{ALONE}:Small")
    assert (code, told["state"], told["clean"], told["leaks"]) == (0, "pass", True, [])
    assert {"gradient", "jacobian", "perturbation", "prefix"} < {
        m["probe"] for m in told["measures"]
    }
    assert all(m["verdict"] == "clean" for m in told["measures"])
    assert told["length"] == 251 and told["dtype"] == "float64"


def test_another_method_may_be_called(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = asked(capsys, f"{ALONE}:Small", "--forward", "hidden", "--length", "61")
    assert (code, told["length"]) == (0, 61)
    assert any("decode_gap: its output is no logit for each id" in s for s in told["skipped"])


def test_a_length_at_which_a_model_raises_is_a_defect_with_that_length(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, told = asked(capsys, f"{ALONE}:Picky")
    assert (code, told["state"]) == (1, "failed")
    assert told["defects"][0].startswith("it raises at T = 251 (ValueError: length 251 is no mul")
    assert told["length"] == 8  # and it was audited at one that it takes


def test_a_model_that_never_runs_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", f"{ALONE}:Broken"]) == 1
    assert "it raises at T = 251 (KeyError: 'no weights')" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no.such.module:Class"], "there is no module no"),
        ([f"{ALONE}:Smal"], "has no Smal. Write tests.audit.zoo.alone:"),
        ([f"{ALONE}:NOT_A_CLASS"], "making one fails (TypeError"),
        ([f"{ALONE}:Small", "--args", "{dim: 3}"], "--args = {dim: 3}: it is no JSON"),
        ([f"{ALONE}:Small", "--args", '{"width": 3}'], "making one fails (TypeError"),
        ([f"{ALONE}:Small", "--length", "2"], "--length = 2: it is at least 8"),
        (["json:loads", "--args", '["[1]"]'], "it is a list, no torch module"),
    ],
)
def test_what_can_not_be_audited_is_a_sentence_and_exit_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *words]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told


def test_a_budget_never_turns_into_a_pass(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = asked(capsys, f"{ALONE}:Small", "--budget", "0.001")
    assert (code, told["state"], told["clean"]) == (1, "unfinished", False)
    assert any("the budget of 0.001 s is spent" in said for said in told["skipped"])


def test_the_library_takes_a_module_and_leaves_it_and_the_random_numbers_as_they_were() -> None:
    torch.manual_seed(3)
    model = Small(ahead=1).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    verdict = surefoot.audit(model, length=61)
    assert not verdict.clean and verdict.leaks[0].startswith("blocks.1 (Block): reads at least 1 ")
    assert torch.equal(drawn, torch.get_rng_state()) and model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert str(verdict) == "Small: it sees the future"


def test_a_batch_norm_keeps_its_statistics() -> None:
    model = leaky.model("batch norm in training").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    surefoot.audit(model, length=37)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Wrong(nn.Module):
    """Gives one number a row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum()


def test_a_module_without_positions_is_refused_in_a_sentence() -> None:
    with pytest.raises(surefoot.SurefootError, match="Write --input ids or --input floats"):
        surefoot.audit(Wrong())


@pytest.mark.parametrize("what", ["step-00000030", pytest.param("", marks=pytest.mark.slow)])
def test_a_run_or_a_checkpoint_of_it_is_audited(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert start(place(tmp_path), run).exit == 0
    code, told = asked(capsys, str(run / what), "--length", "61")
    assert (code, told["state"]) == (0, "pass")
    assert {"labels", "canary", "decode_gap"} <= {m["probe"] for m in told["measures"]}
    assert told["what"].endswith(what or "run step 40")
    assert main(["audit", str(run), "train.steps=3"]) == 2
