"""The command line: strict, quick to open, and every mistake one sentence with an exit code."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from surefoot import cli, kinds
from surefoot.errors import Problem, RunError

VERBS = kinds.names("verbs")
HEAVY = ("torch", "numpy", "pydantic", "rich", "tokenizers")


def run(*words: str, cwd: Path, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run surefoot as a person would."""
    start = ["-c", code] if code else ["-m", "surefoot"]
    return subprocess.run(
        [sys.executable, *start, *words], capture_output=True, text=True, timeout=60, cwd=cwd,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def verb_parser(name: str) -> cli.Parser:
    """Build one verb's parser."""
    return cli.parser_of(name, cli.verb(name))


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    """Name a parser's long options."""
    return [option for option in parser._option_string_actions if option.startswith("--")]


LOADS = f"""
import sys
from surefoot.cli import main
code = main(sys.argv[1:])
loaded = [name for name in {HEAVY!r} if name in sys.modules]
sys.exit(f"loaded {{loaded}}" if loaded else code)
"""


@pytest.mark.parametrize(
    "words",
    [["--help"], [], ["--version"], ["list"], ["list", "mixers"], ["list", "runs"], ["bench"]]
    + [[verb, "--help"] for verb in VERBS],
    ids=" ".join,
)
def test_help_and_lists_load_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path, code=LOADS)
    assert done.returncode == 0, done.stderr
    assert done.stdout or words == ["bench"]
    assert not list(tmp_path.iterdir())


def spent() -> float:
    """Give the CPU seconds of all processes that were waited for."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["--help"], ["list"], *([verb, "--help"] for verb in VERBS)], ids=" ".join
)
def test_help_takes_less_than_a_third_of_a_second(words: list[str], tmp_path: Path) -> None:
    took: list[float] = []  # CPU seconds: the wall's are those of whoever else is at work
    for _ in range(9):
        began = spent()
        run(*words, cwd=tmp_path)
        took.append(spent() - began)
    assert statistics.median(took) < 0.3, took


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_has_a_sentence_options_and_two_examples(name: str) -> None:
    module = cli.verb(name)
    assert kinds.sentence(Path(module.__file__ or "")).endswith((".", "?"))
    examples = [line for line in module.EXAMPLES.strip().splitlines() if line.strip()]
    assert len(examples) == 2
    assert all(line.startswith(f"surefoot {name}") for line in examples)
    text = verb_parser(name).format_help()
    assert {"--json", "--debug", "--help"} <= set(options_of(verb_parser(name)))
    assert all(line in text for line in examples)


@pytest.mark.parametrize("name", VERBS)
def test_each_verbs_examples_are_read_without_a_complaint(name: str) -> None:
    import shlex

    module = cli.verb(name)
    for line in module.EXAMPLES.strip().splitlines():
        words = shlex.split(line)[2:]
        parser, asked = cli.parser_of(name, module, words), argparse.Namespace()
        parser.read(words, asked)
        cli.sort_words(asked, cli.takes(module), parser.prog)


@pytest.mark.parametrize("name", VERBS)
def test_no_prefix_of_an_option_stands_for_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = options_of(verb_parser(name))
    for option in known:
        for end in range(3, len(option)):
            if option[:end] in known:
                continue
            assert cli.main([name, "x", option[:end]]) == 2, option[:end]
            said = capsys.readouterr().err
            assert f"error  {option[:end]}: surefoot {name} has no such option" in said
            assert "--" in said.split("no such option", 1)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "Did you mean train?"),
        (["lst"], "Did you mean list?"),
        (["--fast", "list"], "options come after the verb"),
        (["list", "mixrs"], "Did you mean mixers?"),
        (["list", "a", "b"], "one word too many"),
        (["list", "x.y=1"], "changes no recipe"),
        (["generate"], "it needs RUN"),
        (["generate", "--tokens", "x", "r"], "--tokens: invalid int value: 'x'"),
        (["generate", "r", "--tokens"], "--tokens: expected one argument"),
        (["generate", "r", "--tokens", "0", "--top-p", "2"], "--top-p = 2.0"),
        (["generate", "nobody"], "there is no run in runs/"),
        (["stop", "last"], "there is no run in runs/"),
        (["verify", "nobody"], "surefoot train"),
        (["bench", "spede"], "there is no such bench"),
        (["show", "startr"], "Did you mean starter?"),
        (["show", "starter", "optm"], "Did you mean optim?"),
        (["show", "starter", "x=1", "x=2"], "the key is given twice"),
        (["evaluate", "r", "nonsense"], "there is no such evaluation"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert "Traceback" not in err
    assert not out
    assert all(line.startswith("error  ") for line in err.splitlines())
    assert not list(tmp_path.iterdir())


def test_all_unknown_options_are_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--fast", "--slow=3"]) == 2
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "error  --fast",
        "error  --slow",
    ]


def test_a_mistake_under_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "mixrs", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["v"] == 1
    assert told["error"]["exit"] == 2
    assert told["error"]["problems"][0]["what"] == "mixrs"


@pytest.mark.parametrize(
    "words",
    [["list"], ["list", "mixers"], ["list", "recipes"], ["list", "runs"], ["bench"],
     ["show", "starter"], ["show", "starter", "knobs", "--plan"]],
    ids=" ".join,
)  # fmt: skip
def test_json_is_one_strict_document_on_stdout(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "--json"]) == 0
    out, err = capsys.readouterr()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(out, parse_constant=refuse)["v"] == 1
    assert out.count("\n") == 1
    assert not err


def test_options_and_changes_come_in_any_order() -> None:
    parser, asked = verb_parser("show"), argparse.Namespace()
    parser.read(["a.b=1", "--plan", "starter", "--json", "c=[1, 2]"], asked)
    cli.sort_words(asked, "RECIPE [KEY] [key=VALUE ...]", "surefoot show")
    assert (asked.what, asked.changes, asked.plan) == (["starter"], ["a.b=1", "c=[1, 2]"], True)


def test_a_folder_with_an_equals_sign_is_no_change() -> None:
    asked = argparse.Namespace(words=["runs/lr=3"])
    cli.sort_words(asked, "RUN", "surefoot verify")
    assert asked.what == ["runs/lr=3"]


PLANTED = '''"""Breaks on purpose."""
TAKES = "[RUN]"
EXAMPLES = "surefoot broken\\nsurefoot broken x"
def options(parser): pass
def main(asked):
    from pathlib import Path
    if asked.what == ["interrupt"]:
        raise KeyboardInterrupt
    if asked.what == ["pipe"]:
        for _ in range(100_000):
            print("x" * 80)
        return 0
    if asked.what:
        asked.folder = Path(asked.what[0])
    raise RuntimeError("planted\\nsecond line \\x1b[31m")
'''


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """Install a verb that breaks, as a plug-in would be."""
    (tmp_path / "plugged.py").write_text(PLANTED)
    info = tmp_path / "plugged-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[surefoot.verbs]\nbroken = plugged\n")
    return str(tmp_path)


def start_broken(path: str, cwd: Path, *words: str) -> subprocess.Popen[str]:
    """Start the verb that breaks."""
    return subprocess.Popen(
        [sys.executable, "-m", "surefoot", "broken", *words], cwd=cwd, text=True,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_fault_of_ours_is_a_sentence_a_file_and_1(broken: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    done = start_broken(broken, tmp_path, "there")
    out, err = done.communicate(timeout=30)
    assert done.returncode == 1
    assert not out
    assert err.count("\n") == 1
    assert "RuntimeError: planted" in err
    assert "there/crash.txt" in err
    assert "\x1b" not in err
    text = (there / "crash.txt").read_text()
    assert "Traceback" in text
    assert "surefoot 0." in text
    assert "python 3." in text


def test_debug_shows_the_traceback(broken: str, tmp_path: Path) -> None:
    done = start_broken(broken, tmp_path, "--debug")
    _, err = done.communicate(timeout=30)
    assert "Traceback" in err
    assert (tmp_path / "crash.txt").is_file()


def test_ctrl_c_outside_of_training_is_130(broken: str, tmp_path: Path) -> None:
    done = start_broken(broken, tmp_path, "interrupt")
    _, err = done.communicate(timeout=30)
    assert (done.returncode, err.strip()) == (130, "")


def test_a_reader_that_leaves_early_is_no_error(broken: str, tmp_path: Path) -> None:
    done = start_broken(broken, tmp_path, "pipe")
    assert done.stdout is not None and done.stderr is not None
    done.stdout.readline()
    done.stdout.close()
    assert done.stderr.read() == ""
    assert done.wait(30) == 141
    done.stderr.close()
    assert not (tmp_path / "crash.txt").exists()


def test_an_error_gives_its_own_exit_code_and_hides_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = RunError(Problem("run\x1b[2J", "a\rb", "held\x07", "Write\u202e x"), exit=3)
    assert cli.told(error, argparse.Namespace(json=False, debug=False)) == 3
    said = capsys.readouterr().err
    assert said == "error  run\\x1b[2J = a\\rb: held\\x07. Write\\u202e x\n"


def test_threads_wait_quietly_unless_told_otherwise(tmp_path: Path) -> None:
    code = "import os, surefoot.cli; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    for given, expected in ({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**environment, **given}, capture_output=True,
            text=True, check=True, cwd=tmp_path,
        )  # fmt: skip
        assert done.stdout.strip() == expected


def test_an_ascii_terminal_gets_codes_instead_of_a_crash(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "surefoot", "list", "nö"], capture_output=True, cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"n\\xf6" in done.stderr
