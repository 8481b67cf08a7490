"""Writes text with a run's model."""

import argparse
import sys
from typing import Any

from surefoot.errors import Problem, UsageError

TAKES = "RUN"
EXAMPLES = """
surefoot generate last --prompt "def " --tokens 60
surefoot generate starter-001 --greedy --step best
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take what to continue, how long, and how tokens are drawn."""
    add = parser.add_argument
    add("--prompt", action="append", metavar="TEXT", help="what to continue; - reads stdin")
    add("--tokens", type=int, default=200, metavar="N", help="tokens to write (200)")
    add("--temperature", type=float, default=0.8, metavar="X", help="0 is greedy (0.8)")
    add("--top-p", type=float, default=0.95, metavar="X", help="share of likely tokens (0.95)")
    add("--greedy", action="store_true", help="always the likeliest token")
    add("--seed", type=int, default=0, metavar="N", help="the same seed writes the same text (0)")
    add("--step", metavar="STEP", help="a checkpoint: a step, best, final or pre-decay")
    add("--device", default="auto", help="auto, cpu or cuda")


def main(asked: argparse.Namespace) -> int:
    """Write each prompt on."""
    within(asked)
    from surefoot.run.folder import find_run, step_of

    folder = find_run(asked.what[0])
    given = [sys.stdin.read() if text == "-" else text for text in asked.prompt or ()]

    from surefoot.evaluate.generate import generate
    from surefoot.run.opened import open_model
    from surefoot.show.printed import document, printable

    opened = open_model(folder, step_of(asked.step), asked.device)
    rows: list[dict[str, Any]] = []
    for prompt in given or opened.recipe.val.prompts or ["def "]:
        ids = generate(
            opened.model,
            opened.tokenizer,
            opened.tokenizer.encode(prompt),
            asked.tokens,
            opened.knobs,
            temperature=asked.temperature,
            top_p=asked.top_p,
            greedy=asked.greedy,
            seed=asked.seed,
        )
        text = opened.tokenizer.decode(ids)
        rows.append({"prompt": prompt, "text": text, "tokens": len(ids)})
        if not asked.json:
            print(printable(f"{prompt}{text}", keep="\n\t"), end="\n\n", flush=True)
    if asked.json:
        print(document(run=str(folder), step=opened.step, texts=rows))
    return 0


def within(asked: argparse.Namespace) -> None:
    """Refuse numbers that can't be, all of them at once."""
    wrong = [
        Problem(option, f"{value}", why, f"Write {option} {instead}")
        for option, value, fine, why, instead in (
            ("--tokens", asked.tokens, asked.tokens >= 1, "at least one token is written", "200"),
            ("--temperature", asked.temperature, 0 <= asked.temperature < 1e4,
             "it must be a number from 0 on", "0.8"),
            ("--top-p", asked.top_p, 0 < asked.top_p <= 1, "it is a share, over 0 up to 1", "0.95"),
            ("--seed", asked.seed, 0 <= asked.seed < 2**63, "it must be a number from 0 on", "0"),
        )
        if not fine
    ]  # fmt: skip
    if wrong:
        raise UsageError(*wrong)
