"""Precision: fp32 where bf16 is there, bf16 where it isn't."""

from tests.guard.rules.situations import Case

GPU = {"device": "cuda"}
FP32 = {"train.precision": "fp32"}
SICK = [
    Case("long_fp32", "refuse", changes=FP32 | {"train.steps": 5000}, facts=GPU),
    Case("long_fp32", "refuse", changes=FP32, facts=GPU | {"step_s": 3.6}),
    Case("cpu_bf16", "warn", changes={"train.precision": "bf16"}, facts={"bf16": False}),
    Case("cpu_bf16", "warn", changes={"train.precision": "bf16_pure"}, facts={"bf16": False}),
]
HEALTHY = [
    Case("long_fp32", changes=FP32 | {"train.steps": 4999}, facts=GPU),
    Case("long_fp32", changes=FP32 | {"train.steps": 5000}, facts=GPU | {"bf16": False}),
    Case("long_fp32", changes=FP32 | {"train.steps": 50000}, facts={"step_s": 3.6}),
    Case("long_fp32", changes={"train.steps": 5000}, facts=GPU),
    Case("cpu_bf16", changes={"train.precision": "bf16"}),
    Case("cpu_bf16", changes=FP32, facts={"bf16": False}),
]
