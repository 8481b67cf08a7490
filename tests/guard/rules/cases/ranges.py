"""The ranges of 000: critical values, the ends of what is safe, and models of another size."""

from tests.guard.rules.situations import Case


def sick(rule, severity, key, value, **more):
    return Case(rule, severity, "windowed", changes={key: value, **more})


def healthy(rule, key, value, **more):
    return Case(rule, recipe="windowed", changes={key: value, **more})


MATRIX, HEAD, SCALAR = "optim.matrix.lr", "optim.head.lr", "optim.scalar.lr"
EMBEDDING, VALUES = "optim.embedding.lr", "optim.value_embedding.lr"
WINDOW, MOMENTUM = "knobs.window.end", "knobs.momentum.steps"
SMALL = {"model.dim": 384}  # heads 6 divide it
SICK = [
    sick("range_matrix_lr", "refuse", MATRIX, 0.0351),
    sick("range_matrix_lr", "warn", MATRIX, 0.035),
    sick("range_matrix_lr", "note", MATRIX, 0.0249),
    sick("range_matrix_lr", "warn", MATRIX, 0.0351, **SMALL),
    sick("range_matrix_lr", "note", MATRIX, 0.034, **SMALL),
    sick("range_head_lr", "refuse", HEAD, 0.004),
    sick("range_head_lr", "warn", HEAD, 1 / 256),
    sick("range_head_lr", "note", HEAD, 0.0024),
    sick("range_embedding_lr", "refuse", EMBEDDING, 0.251),
    sick("range_embedding_lr", "warn", EMBEDDING, 0.25),
    sick("range_embedding_lr", "note", EMBEDDING, 0.19),
    sick("range_value_embedding_lr", "refuse", VALUES, 0.26),
    sick("range_scalar_lr", "refuse", SCALAR, 0.021),
    sick("range_scalar_lr", "warn", SCALAR, 0.02),
    sick("range_window", "warn", WINDOW, 2688),
    sick("range_window", "warn", WINDOW, 2560),
    sick("range_window", "note", WINDOW, 1408),
    sick("range_window", "note", WINDOW, 1792, **{"train.seq_len": 1024}),
    Case("range_window", "refuse", "windowed", {WINDOW: 2688}, {"mem_free_gib": 2.0}),
    sick("range_momentum_warmup", "refuse", MOMENTUM, 149),
    sick("range_momentum_warmup", "warn", MOMENTUM, 150),
    sick("range_momentum_warmup", "note", MOMENTUM, 501),
]
HEALTHY = [
    *(healthy("range_matrix_lr", MATRIX, value) for value in (0.025, 0.028, 0.030)),
    healthy("range_matrix_lr", MATRIX, 0.01, **SMALL),
    healthy("range_matrix_lr", "optim.matrix.kind", "adam"),
    *(
        healthy("range_head_lr", HEAD, value)
        for value in (1 / 416, 0.002403846153, 1 / 384, 1 / 320)
    ),
    *(healthy("range_embedding_lr", EMBEDDING, value) for value in (0.20, 0.22, 0.24)),
    *(healthy("range_value_embedding_lr", VALUES, value) for value in (0.20, 0.24)),
    *(healthy("range_scalar_lr", SCALAR, value) for value in (0.010, 0.012, 0.015)),
    *(healthy("range_window", WINDOW, value) for value in (1536, 1792, 2048)),
    *(healthy("range_momentum_warmup", MOMENTUM, value) for value in (200, 300, 500)),
]
