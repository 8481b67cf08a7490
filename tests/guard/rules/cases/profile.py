"""Pins."""

from tests.guard.rules.situations import Case

GPU = {"device": "cuda"}
LONG = {"train.steps": 5000}


def pinned(case, finding):
    return case.with_facts(pin=finding.instead.split()[-1])


SICK = [
    Case("profile_unpinned", "note", changes=LONG, facts=GPU, mend=pinned),
    Case(
        "profile_unpinned", "refuse", changes=LONG | {"guard.strict": True}, facts=GPU, mend=pinned
    ),
    Case("profile_unpinned", "refuse", facts={"pin": "0123456789abcdef"}, mend=pinned),
    Case("profile_unpinned", "refuse", facts={"pin": ""}, mend=pinned),
]
HEALTHY = [
    Case("profile_unpinned"),
    Case("profile_unpinned", facts={"sha": "ab" * 32, "pin": "ab" * 6}),
]
