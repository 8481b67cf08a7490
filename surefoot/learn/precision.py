"""The precision policy: which arithmetic a forward pass uses, over which weights."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from surefoot.errors import DeviceError, Problem

Policy = Literal["auto", "fp32", "bf16", "bf16_pure"]
Precision = Literal["fp32", "bf16", "bf16_pure"]


def has_bf16_units(device: torch.device) -> bool:
    """Say whether a device multiplies bf16 in hardware."""
    if device.type != "cuda":
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def resolved(policy: Policy, device: torch.device) -> Precision:
    """Turn the recipe's policy into the precision that a device gets."""
    if policy == "auto":
        return "bf16" if has_bf16_units(device) else "fp32"
    if policy != "fp32" and device.type == "cuda" and not has_bf16_units(device):
        raise DeviceError(
            Problem(
                what="train.precision",
                value=f'"{policy}"',
                why=f"{torch.cuda.get_device_name(device)} has no bf16 units",
                instead='Write train.precision="fp32"',
            )
        )
    return policy


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Open the arithmetic of a forward pass; weights stay as they are."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def weight_dtype(precision: Precision) -> torch.dtype:
    """Give the dtype that weights are kept in: fp32 masters, but for the pure policy."""
    # bf16 has 8 bits: an update below 2^-9 of a weight vanishes
    return torch.bfloat16 if precision == "bf16_pure" else torch.float32
