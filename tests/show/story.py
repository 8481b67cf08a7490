"""A run told in records: what every display is tried with."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from surefoot.recipe.load import load
from surefoot.recipe.schema import Recipe
from surefoot.records import End, Eval, Event, Finding, Header, Record, Remedy, Step

STEPS = 60
BEGAN = 1_700_000_000.0


def recipe(*changes: str) -> Recipe:
    """Give the recipe of the run."""
    return load("starter", [f"train.steps={STEPS}", *changes]).recipe


def step(number: int, **fields: Any) -> Step:
    """Give one step of the run, 1.25 s after the one before."""
    told: dict[str, Any] = {
        "step": number, "tokens": number * 2048, "loss": 8 - number / 20, "ce": 8 - number / 20,
        "entropy": 8.0, "lr": {"matrix": 0.02, "embedding": 0.003},
        "knobs": {"lr": 1.0, "momentum": 0.9}, "grad_norm": 1.5, "t": BEGAN + 1.25 * number,
        "step_s": 1.25, "tok_per_s": 1638.4, "rss_mib": 300.0 + number,
    }  # fmt: skip
    return Step(**{**told, **fields})


FINDING = Finding(
    id="nonfinite", severity="act", what="step 30", value="loss", why="not finite, 3 in a row",
    instead="Resume with a lower rate: optim.matrix.lr", step=30, source="nonfinite",
)  # fmt: skip
NOTE = replace(FINDING, id="tokens_per_param", severity="note", what="model", value="0.67 tokens",
               step=0, source="rule")  # fmt: skip


def story() -> Iterator[Record]:
    """Tell the run from its header to its end."""
    yield Header(t=BEGAN, facts={
        "name": "starter", "surefoot": "0.1.0", "torch": "2.13.0", "python": "3.11.7",
        "device": "cpu", "cores": 2, "threads": 1, "steps": STEPS, "host_hash": "0123abcd",
        "recipe_sha": "ab" * 32, "corpus_sha": "cd" * 16, "corpus": {"corpus": "stdlib"},
        "parameters": {"matrix": 1000, "embedding": 311},
        "forecast": {"seconds": 80.0, "mem_gib": 0.4},
    })  # fmt: skip
    yield replace(NOTE, t=BEGAN)
    for number in range(1, STEPS + 1):
        bad = number == 30
        more = {"skipped": True, "nonfinite": {"loss": 1}, "loss": float("nan")} if bad else {}
        yield step(number, **more)
        if bad:
            yield replace(FINDING, t=BEGAN + 1.25 * number)
            yield Remedy(id="r1", name="lr_scale", at_step=31, step=30, args={"factor": 0.5},
                         answers="nonfinite", t=BEGAN + 1.25 * number)  # fmt: skip
        if number % 20 == 0:
            # fmt: off
            yield Eval(step=number, val_ce=8 - number / 20, val_bpb=3 - number / 40,
                       val_tokens=12_000, best=True, eval_s=0.1, t=BEGAN + 1.25 * number)
            yield Event(name="saved", step=number, t=BEGAN + 1.25 * number,
                        args={"bytes": 7_000_000, "write_s": 0.02, "verify_s": 0.01})
            # fmt: on
    yield End(step=STEPS, state="finished", exit=0, hours=0.0208, t=BEGAN + 76,
              best={"step": STEPS, "ce": 5.0})  # fmt: skip


SAMPLES = [
    {"step": 60, "prompt": "def ", "text": "f(x):\n    return \x1b[31mx\n", "temperature": 0.8},
    {"step": 60, "prompt": "def ", "text": "sss <b>&", "temperature": 0.0},
]
