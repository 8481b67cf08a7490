"""What is asked of a run that has been trained: text, figures, whole checkpoints."""

import io
import json
import unicodedata
from pathlib import Path

import pytest

from surefoot import cli

from .runs import place, start

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Train one small run for all of these tests."""
    folder = tmp_path_factory.mktemp("verbs")
    run = folder / "runs" / "tiny-001"
    assert start(place(folder), run).exit == 0
    return str(run)


def answer(words: list[str], capsys: Captured) -> str:
    """Do what is asked, and give what was printed."""
    capsys.readouterr()
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert not err
    return out


def test_the_run_folder_holds_what_it_promises(trained: str) -> None:
    there = {path.name for path in Path(trained).iterdir()}
    assert there >= {
        "recipe.toml", "journal.jsonl", "status.json", "metrics.csv", "val.csv", "metrics.json",
        "train.log", "report.md", "final", "best", "latest",
    }  # fmt: skip
    for line in (Path(trained) / "train.log").read_bytes().splitlines():
        assert len(line) < 200
        assert b"\x1b" not in line


def test_the_same_seed_writes_the_same_text(trained: str, capsys: Captured) -> None:
    words = ["generate", trained, "--prompt", "red ", "--tokens", "20", "--json"]
    first, again, other = (
        json.loads(answer([*words, "--seed", seed], capsys)) for seed in ("1", "1", "2")
    )
    assert first == again
    assert first["texts"][0]["tokens"] == 20
    assert first["texts"] != other["texts"]
    assert first["step"] == 40


def test_prompts_repeat_and_come_from_stdin(
    trained: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("stone "))
    words = ["generate", trained, "--prompt", "red ", "--prompt", "-", "--tokens", "5", "--greedy"]
    told = json.loads(answer([*words, "--json"], capsys))
    assert [one["prompt"] for one in told["texts"]] == ["red ", "stone "]


def test_text_on_the_terminal_has_no_control_characters(trained: str, capsys: Captured) -> None:
    out = answer(
        ["generate", trained, "--prompt", "a\x1b[2J", "--tokens", "60", "--temperature", "9"],
        capsys,
    )
    assert out.startswith("a\\x1b[2J")
    # a letter of a newer Unicode than Python's is no control character
    obeyed = [sign for sign in out if unicodedata.category(sign) in ("Cc", "Cf", "Cs")]
    assert set(obeyed) <= {"\n", "\t"}


@pytest.mark.parametrize("step", ["40", "best", "step-00000030"])
def test_a_checkpoint_is_chosen_by_step_or_name(step: str, trained: str, capsys: Captured) -> None:
    words = ["generate", trained, "--prompt", "a", "--tokens", "1", "--step", step, "--json"]
    told = json.loads(answer(words, capsys))
    assert step == "best" or told["step"] in (40, 30)


def test_a_checkpoint_that_is_not_there_is_a_sentence(trained: str, capsys: Captured) -> None:
    assert cli.main(["generate", trained, "--step", "7", "--prompt", "a"]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_evaluation_agrees_with_the_runs_own_and_says_how_sure_it_is(
    trained: str, capsys: Captured
) -> None:
    told = json.loads(answer(["evaluate", trained, "--json"], capsys))
    own = json.loads((Path(trained) / "metrics.json").read_text())
    assert told["ce"] == pytest.approx(own["final"]["ce"], rel=1e-5)
    assert told["bpb"] == pytest.approx(own["final"]["bpb"], rel=1e-5)
    assert 0 < told["ce_se"] < 0.2
    text = answer(["evaluate", trained], capsys)
    assert "nats/token" in text
    assert "bits/byte" in text


def test_a_whole_run_is_verified_and_one_flipped_byte_is_found(
    trained: str, capsys: Captured
) -> None:
    assert "are whole" in answer(["verify", trained], capsys)
    file = Path(trained) / "step-00000030" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    assert cli.main(["verify", trained]) == 3
    assert "step-00000030            DAMAGED  model.safetensors" in capsys.readouterr().out
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    assert cli.main(["verify", trained]) == 0


def test_a_finished_run_has_nothing_to_stop(trained: str, capsys: Captured) -> None:
    assert cli.main(["stop", trained]) == 2
    assert "finished, at step 40. There is nothing to stop" in capsys.readouterr().err


def test_answers_are_counted_of_a_file_of_problems(
    trained: str, tmp_path: Path, capsys: Captured
) -> None:
    problems = tmp_path / "problems.jsonl"
    rows = [{"prompt": "red ", "text": "stone"}, {"prompt": "nine ", "text": "rivers"}]
    problems.write_text("\n".join(map(json.dumps, rows)) + "\n")
    told = json.loads(answer(["evaluate", trained, "--problems", str(problems), "--json"], capsys))
    assert (told["what"], told["problems"], told["right"]) == ("answers", 2, 0)
    assert [one["right"] for one in told["wrong"]] == ["stone", "rivers"]
    words = ["evaluate", trained, "val", "answers", "--problems", str(problems)]
    both = json.loads(answer([*words, "--json"], capsys))
    assert [one["what"] for one in both["found"]] == ["val", "answers"]
    text = answer(words, capsys)
    assert "2 problems, answered greedily" in text and "exact_share  0.000" in text
    assert "wrong  red  said" in text


@pytest.mark.parametrize(
    ("line", "said"),
    [('{"prompt": "a"}', 'no field "text"'), ("[", "not JSON"), (None, "no such file")],
)
def test_problems_that_can_not_be_read_are_a_sentence(
    line: str | None, said: str, trained: str, tmp_path: Path, capsys: Captured
) -> None:
    problems = tmp_path / "problems.jsonl"
    if line is not None:
        problems.write_text(line + "\n")
    assert cli.main(["evaluate", trained, "--problems", str(problems)]) == 2
    assert said in capsys.readouterr().err


def test_what_has_no_prompts_asks_nothing(trained: str, capsys: Captured) -> None:
    assert cli.main(["evaluate", trained, "answers"]) == 2
    assert "has no prompts" in capsys.readouterr().err
