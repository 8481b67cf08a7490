"""The vocabulary: text for each id, and whole tiles."""

from tests.guard.rules.situations import Case

SICK = [
    Case("vocab_data", "warn", "windowed", facts={"corpus_tokens": 50_303_999}, said="an id"),
    Case("vocab_data", "warn", "windowed", changes={"model.value_embeddings": 0, "model.layers": 2,
         "knobs.window.long_layers": "every:2"}, said="in embedding and head"),
    Case("vocab_round", "note", changes={"model.vocab": 4097}, facts={"device": "cuda"}),
]  # fmt: skip
HEALTHY = [
    Case("vocab_data", recipe="windowed", facts={"corpus_tokens": 50_304_000}),
    Case("vocab_data", facts={"corpus_tokens": 1_000_000}),
    Case("vocab_round", changes={"model.vocab": 4097}),
    Case("vocab_round", facts={"device": "cuda"}),
]
