"""Memory: what fits at a smaller micro-batch, and what doesn't at one row."""

from tests.guard.rules.situations import Case

SICK = [
    Case("vram_limit", "refuse", changes={"limits.mem_gib": 0.15}, said="train.batch="),
    Case("vram_limit", "refuse", changes={"limits.mem_gb": 0.02}, said="limits.mem_gb="),
    Case("vram_limit", "refuse", changes={"limits.mem_gib": 0.01}, said="limits.mem_gib="),
    Case("vram_limit", "refuse", facts={"mem_free_gib": 0.15}, said="92%"),
    Case("vram_limit", "refuse", facts={"mem_free_gib": 0.01},
         mend=lambda case, finding: case.with_facts(mem_free_gib=8.0)),
]  # fmt: skip
HEALTHY = [
    Case("vram_limit"),
    Case("vram_limit", changes={"limits.mem_gib": 1.0}),
    Case("vram_limit", facts={"device": "cuda", "mem_free_gib": None}),
]
