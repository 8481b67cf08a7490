"""Which probe finds which leak of the zoo: written into docs/audit.md, and held to it by a test.

python -m tests.audit.matrix writes it anew.
"""

import time

from surefoot.audit.audit import audit_module, audit_recipe, audit_trained
from surefoot.audit.verdict import Verdict
from surefoot.plan.plan import Plan
from tests.audit.zoo import leaky, pipelines
from tests.house_rules import ROOT

PAGE = ROOT / "docs/audit.md"
BEGIN, END = "<!-- matrix -->", "<!-- end of matrix -->"
COLUMNS = {
    "redrawn": "perturbation",
    "rows": "perturbation: rows",
    "loss": "perturbation: loss",
    "gradient": "gradient",
    "prefix": "prefix",
    "map": "jacobian",
    "decode": "decode_gap",
    "labels": "labels",
    "canary": "canary",
}


def verdict(name: str) -> Verdict:
    """Audit one leak."""
    if name in pipelines.PARTS:
        model, narrow = pipelines.spoilt(name)
        knobs = Plan(narrow).at(1).values
        return audit_trained("spoilt", model, knobs, narrow, batches=False)
    if name in pipelines.BROKEN:
        whole, pipeline = pipelines.broken(name)
        return audit_recipe(whole, pipeline=pipeline)
    return audit_module(leaky.model(name))


def row(name: str, found: Verdict) -> str:
    """Write one leak's line: found, not found, or not run."""
    ran = {m.probe.replace("labels: masked", "labels") for m in found.measures}
    hits = {m.probe.replace("labels: masked", "labels") for m in found.measures if m.leaks}
    first = any(m.leaks for m in found.measures if m.condition.startswith("as initialised"))
    marks = ["●" if p in hits else "·" if p in ran else "" for p in COLUMNS.values()]
    untouched = "" if name in pipelines.NAMES else "●" if first else "·"
    return f"| {name} | {' | '.join([*marks, untouched])} |"


def lines() -> list[str]:
    """Write the whole table."""
    names = [*leaky.NAMES, *pipelines.NAMES]
    head = ["leak", *COLUMNS, "unshaken"]
    rule = "|".join(["---", *[":-:"] * (len(head) - 1)])
    return [f"| {' | '.join(head)} |", f"|{rule}|", *(row(name, verdict(name)) for name in names)]


def stored() -> list[str]:
    """Read the table of the page."""
    text = PAGE.read_text(encoding="utf-8")
    return text.split(BEGIN)[1].split(END)[0].strip().splitlines()


def main() -> None:
    """Write the page's table anew."""
    began = time.process_time()
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    table = "\n".join(lines())
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    print(f"{PAGE.name}: {time.process_time() - began:.0f} s")


if __name__ == "__main__":
    main()
