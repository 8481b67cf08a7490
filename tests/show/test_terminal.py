"""What the terminal shows: true, with units, and nothing that a pipe or an old terminal minds."""

import io
import os
import pty
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from surefoot.records import End, Finding, Step
from surefoot.show.lines import TABLE, Lines, fitted, plain_lines
from surefoot.show.printed import in_ascii, printable
from surefoot.show.terminal import Terminal

from .story import FINDING, SAMPLES, STEPS, recipe, step, story

GOLDEN = """
starter · surefoot # · torch # · cpu, # threads · # steps
  note   tokens_per_param  model = # tokens: not finite, # in a row.
         Resume with a lower rate: optim.matrix.lr
   step     loss       ce     grad                 lr  tok/s       mem     left
      #   #   #    #      # (matrix)  #k  # GiB
     #   #   #    #      # (matrix)  #k  # GiB     #
──── step # · val ce # · bpb # · best ────
     def f(x):
         return \\x#b[#mx
saved    step # in # s
     #   #   #    #      # (matrix)  #k  # GiB     #
     #      nan   #    #      # (matrix)  #k  # GiB     #  update left out
  act    nonfinite  step # = loss: not finite, # in a row.
         Resume with a lower rate: optim.matrix.lr
  act    nonfinite → lr_scale factor #
     #   #   #    #      # (matrix)  #k  # GiB     #
──── step # · val ce # · bpb # · best ────
     def f(x):
         return \\x#b[#mx
saved    step # in # s
     #   #   #    #      # (matrix)  #k  # GiB     #
     #   #   #    #      # (matrix)  #k  # GiB     #
──── step # · val ce # · bpb # · best ────
     def f(x):
         return \\x#b[#mx
saved    step # in # s
finished # steps in # min # s (forecast # min # s) · #k tokens · #k tok/s with saves and evals
         val ce # nats/token = # bits/byte · best step # · worst finding: act
         runs/starter-#/report.md    surefoot generate runs/starter-#
"""


def masked(text: str) -> str:
    """Put one sign in the place of every number, a clock or a version too."""
    return re.sub(r"\d+([.:]\d+)*", "#", text)


def shown(**options: object) -> str:
    """Show the whole story on a stream that is no terminal."""
    stream = io.StringIO()
    terminal = Terminal(stream=stream, **options)  # type: ignore[arg-type]
    terminal.samples = lambda: SAMPLES
    terminal.begin(recipe())
    terminal.followed.folder = "runs/starter-001"
    for record in story():
        terminal(record)
    return stream.getvalue()


def test_a_run_is_told_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert masked(shown(plain=True)).strip("\n") == GOLDEN.strip("\n")


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 300])
def test_lines_fit_into_60_to_120_columns(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    limit = min(120, max(60, columns))
    for line in shown(plain=True).splitlines():
        assert len(line) <= max(limit, len(TABLE) + 20), line
        if "step" not in line and "(matrix)" not in line:
            assert len(line) <= limit, line


def test_no_escape_byte_goes_into_a_pipe() -> None:
    assert "\x1b" not in shown()
    assert "\r" not in shown()


def test_quiet_leaves_findings_and_the_end() -> None:
    text = shown(quiet=True)
    assert "act    nonfinite" in text
    assert "finished 60 steps" in text
    assert "tokens_per_param" not in text
    assert "val ce 7" not in text
    assert TABLE not in text


def test_an_ascii_terminal_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    terminal = Terminal(plain=True, stream=stream)
    terminal.begin(recipe())
    for record in story():
        terminal(record)
    text = raw.getvalue().decode("ascii")
    assert "---- step 20 | val ce 7.0000" in text
    assert "nonfinite -> lr_scale" in text


def test_step_lines_come_every_ten_steps_or_ten_seconds_whichever_is_later() -> None:
    def numbers(every: int, seconds: float) -> list[int]:
        lines = Lines(100, every)
        told = [lines.lines(step(n, t=n * seconds)) for n in range(1, 101)]
        return [n for n, said in enumerate(told, start=1) if said]

    assert numbers(10, 5.0) == [1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100]
    assert numbers(10, 0.25) == [1, 41, 81, 100]
    assert numbers(10, 0.001) == [1, 100]


def test_what_preflight_said_is_not_said_twice() -> None:
    lines = Lines(10, 10)
    lines.shown = {(FINDING.id, FINDING.what)}
    assert lines.lines(FINDING) == []
    assert lines.lines(replace(FINDING, what="step 31"))


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (End(step=7, state="stopped", exit=75, reason="signal SIGTERM"),
         ["stopped  after step 7 of 60: signal SIGTERM",
          "         saved step 6 · resume: surefoot train --resume runs/x"]),
        (End(step=7, state="stopped", exit=4, reason="budget"),
         ["stopped  after step 7 of 60: budget",
          "         saved step 6 · resume: surefoot train --resume runs/x --accept stopped"]),
    ],
)  # fmt: skip
def test_an_early_end_names_the_way_on(end: End, said: list[str]) -> None:
    lines = Lines(STEPS, 10, "runs/x")
    lines.saved_step = 6
    assert lines.lines(end) == said


def test_nothing_that_others_wrote_reaches_the_terminal_raw() -> None:
    bad = "\x1b]0;x\x07\r\u202e\x9b2J\udcff\u2028"
    finding = Finding(id="x", severity="warn", what=bad, value=bad, why=bad, instead=bad)
    for line in [*plain_lines(finding), *plain_lines(End(step=1, state=bad, exit=1, reason=bad))]:
        assert line.isprintable(), line
    assert printable("a\tb\nc", keep="\n\t") == "a\tb\nc"
    assert printable("é 東 🚀") == "é 東 🚀"


def test_long_lines_are_cut_between_words_and_in_bytes() -> None:
    line = "  note   " + "wörter " * 80
    parts = fitted(line, 100, limit=120)
    assert " ".join(part.strip() for part in parts).split() == line.split()
    assert all(len(part.encode()) <= 120 for part in parts)
    assert in_ascii("a · b → c × 3 – ö") == "a | b -> c x 3 - \\xf6"


def test_an_absent_number_is_no_zero() -> None:
    (line,) = plain_lines(Step(step=1, loss=1.0, ce=1.0, grad_norm=1.0))
    assert line.split() == ["1", "1.0000", "1.0000", "1.000", "-", "-", "-"]


ON_A_TTY = """
import sys
from types import SimpleNamespace as Made
sys.path.insert(0, sys.argv[1])
from story import story
from surefoot.show import bar
bar.AGAIN_S = 0.0
from surefoot.show.terminal import Terminal
terminal = Terminal(stream=sys.stderr)
terminal.begin(Made(train=Made(steps=60), logs=Made(every=10)))
for record in story():
    terminal(record)
"""


@pytest.mark.parametrize(
    ("extra", "drawn"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_gets_a_bar_unless_it_asks_for_none(
    extra: dict[str, str], drawn: bool, tmp_path: Path
) -> None:
    master, slave = pty.openpty()
    told: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:  # the other side is closed
                return
            if not piece:
                return
            told.append(piece)

    listener = threading.Thread(target=listen)
    listener.start()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **extra}
    if not extra:
        environment.pop("NO_COLOR", None)
    done = subprocess.run(
        [sys.executable, "-c", ON_A_TTY, str(Path(__file__).parent)], stderr=slave,
        stdout=subprocess.PIPE, env=environment, check=False, timeout=60,
    )  # fmt: skip
    os.close(slave)
    listener.join(10)
    os.close(master)
    text = b"".join(told).decode()
    assert done.returncode == 0, text
    assert not done.stdout
    assert "finished 60 steps" in text
    assert ("\x1b[" in text) == drawn
    if drawn:
        assert "━" in text
        assert "left" in text
        assert text.rstrip().endswith("best step 60 · worst finding: act")
        assert text.rfind("\x1b[?25h") >= text.rfind("\x1b[?25l")  # the cursor is there again
