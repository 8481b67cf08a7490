"""Tokens for the parameters, and for the corpus."""

from tests.guard.rules.situations import Case

STEP = 2048  # tokens
CORPUS = {"corpus_tokens": 1000 * STEP}
SICK = [
    Case("tokens_per_param", "warn", changes={"train.steps": 64}, said="usual"),
    Case("tokens_per_param", "note", changes={"train.steps": 65}),
    Case("tokens_per_param", "note", changes={"train.steps": 12811}),
    Case("tokens_per_param", "note", changes={"train.steps": 1_300_000}),
    Case("data_repeats", "note", changes={"train.steps": 1001}, facts=CORPUS),
    Case("data_repeats", "warn", changes={"train.steps": 4001}, facts=CORPUS),
    Case("data_repeats", "refuse", changes={"train.steps": 40001}, facts=CORPUS),
    Case("data_unseen", "note", changes={"train.steps": 499}, facts=CORPUS,
         said="50%"),
]  # fmt: skip
HEALTHY = [
    Case("tokens_per_param", changes={"train.steps": 12812}),
    Case("tokens_per_param", changes={"train.steps": 1_281_000}),
    Case("data_repeats", changes={"train.steps": 1000}, facts=CORPUS),
    Case("data_unseen", changes={"train.steps": 500}, facts=CORPUS),
    Case("data_unseen", facts={"corpus_tokens": None}),
    Case("tokens_per_param", changes={"train.steps": 64}, facts={"begun_from": "runs/a"}),
]
