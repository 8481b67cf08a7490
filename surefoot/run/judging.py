"""Validates a run and writes samples, on the steps that the recipe names."""

import time
from typing import TYPE_CHECKING, Any

from surefoot.evaluate.generate import generate
from surefoot.evaluate.validation import validate
from surefoot.recipe.schema import Recipe
from surefoot.records import Eval

if TYPE_CHECKING:
    from surefoot.model.model import Model
    from surefoot.run.run import Run

SAMPLE_TOKENS = 48


class Judge:
    """Measures the model on text that it is not trained on."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.samples: list[dict[str, Any]] = []  # of the last validation

    def due(self, step: int) -> bool:
        """Say whether a step is followed by a validation."""
        every = self.recipe.val.every
        return every > 0 and step % every == 0

    def judge(self, run: "Run", full: bool) -> Eval:
        """Validate, and write the same beginnings on as last time."""
        begin = time.monotonic()
        knobs = run.plan.at(run.progress.step).values
        model = run.lead.model(run)
        batches = 0 if full else self.recipe.val.batches
        val_ce, val_bpb, val_tokens = validate(
            model, run.dataset, knobs, run.learner.device, batches, self.recipe.train.batch
        )
        best_ce = run.progress.best_ce
        self.samples = self.written(run, model, knobs)
        return Eval(
            step=run.progress.step,
            generation=run.progress.generation,
            val_ce=val_ce,
            val_bpb=val_bpb,
            val_tokens=val_tokens,
            best=val_ce == val_ce and (best_ce is None or val_ce < best_ce),
            eval_s=round(time.monotonic() - begin, 3),
        )

    def written(self, run: "Run", model: "Model", knobs: Any) -> list[dict[str, Any]]:
        """Write each prompt on, greedily and sampled."""
        found: list[dict[str, Any]] = []
        tokenizer = run.dataset.tokenizer
        if not tokenizer.token_bytes.any():
            return found  # a corpus of bare ids: nobody knows what text they stand for
        # one document a row: what would follow its end was never learnt
        end = tokenizer.eos if self.recipe.data.packing == "document" else None
        for prompt in self.recipe.val.prompts:
            for temperature in (0.0, 0.8):
                ids = generate(
                    model,
                    tokenizer,
                    tokenizer.encode(prompt),
                    SAMPLE_TOKENS,
                    knobs,
                    temperature=temperature,
                    top_p=0.95,
                    greedy=temperature == 0.0,
                    seed=self.recipe.train.seed,
                )
                ids = ids[: ids.index(end)] if end in ids else ids
                found.append(
                    {
                        "step": run.progress.step,
                        "generation": run.progress.generation,
                        "prompt": prompt,
                        "text": tokenizer.decode(ids),
                        "tokens": len(ids),
                        "temperature": temperature,
                        "top_p": 0.95,
                        "seed": self.recipe.train.seed,
                    }
                )
        return found
