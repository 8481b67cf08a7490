"""Weights to begin from that were made otherwise than the recipe has it."""

from tests.guard.rules.situations import Case


def unlike(*keys: tuple[str, str, str]) -> dict[str, object]:
    return {"begun_from": "weights", "begun_unlike": keys}


def alike(case, _):
    return case.with_facts(begun_unlike=())


CAP = ("model.mixers.L.attn_softcap", "0.0", "50.0")
EPS = ("model.norm_eps", "1e-05", "1e-06")
SICK = [
    Case("init_unfit", "refuse", facts=unlike(("model.dim", "64", "128"), EPS), mend=alike,
         said="Write model.dim=64 model.norm_eps=1e-05"),
    Case("init_unfit", "refuse", facts=unlike(("model.tied", "false", "true")), mend=alike,
         said="optim.head.kind=adam optim.head.lr=0.003"),
    Case("init_unfit", "refuse", facts=unlike(("model.ffn.kind", '"relu2"', '"swiglu"')),
         mend=alike, said="""Write 'model.ffn.kind="relu2"'"""),
    Case("init_differs", "warn", facts=unlike(EPS, CAP), mend=alike, said="1e-05 there, 1e-06"),
    Case("init_differs", "note", facts=unlike(CAP), mend=alike),
]  # fmt: skip
HEALTHY = [
    Case("init_unfit"),
    Case("init_unfit", facts=unlike(EPS)),
    Case("init_differs", facts=unlike()),
    Case("init_differs", facts=unlike(("model.heads", "8", "4"))),
]
