"""Validation: nothing held out, never, or too little."""

from tests.guard.rules.situations import Case


def held(case, finding):
    from tests.guard.rules.situations import literals

    share = literals(finding.instead)["val.share"]
    return case.with_changes(**literals(finding.instead)).with_facts(val_tokens=int(share * 1e5))


SICK = [
    Case("no_validation", "warn", changes={"val.share": 0.0}, said="no text is held out"),
    Case("no_validation", "warn", changes={"val.every": 0}),
    Case("no_validation", "warn", changes={"val.batches": 4}, said="0.028 nats"),
    Case("no_validation", "warn", facts={"val_tokens": 9_999, "corpus_tokens": 90_000}, mend=held),
    Case("no_validation", "refuse", changes={"val.every": 0}, facts={"step_s": 3.6}),
    Case("no_validation", "warn", changes={"val.corpus": {"kind": "logic"}},
         facts={"val_tokens": 9_999}, said="more text into val.corpus",
         mend=lambda case, _: case.with_facts(val_tokens=10_000)),
]  # fmt: skip
HEALTHY = [
    Case("no_validation", facts={"val_tokens": 10_000}),
    Case("no_validation", changes={"val.batches": 5}),
]
