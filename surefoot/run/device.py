"""Finds the device to train on, and says what it is."""

import os
import platform
from typing import Any

import torch

from surefoot.errors import DeviceError, Problem


def kind_of(asked: str) -> str:
    """Give the kind of device that is asked for, there or not: cpu, cuda or mps."""
    return device_of(asked).type if asked == "auto" else asked.partition(":")[0]


def is_here(asked: str) -> bool:
    """Say whether the device that is asked for is in this machine."""
    try:
        device_of(asked)
    except DeviceError:
        return False
    return True


def device_of(asked: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `mps` into a device that is there."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(asked)
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device.type in there and not there[device.type]():
        raise DeviceError(
            Problem(
                what="train.device",
                value=asked,
                why="this machine or this build of torch has no such device",
                instead="Write train.device=cpu",
            )
        )
    return device


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(device: torch.device) -> dict[str, Any]:
    """Describe device and versions for the journal; no name of the machine is in it."""
    on_gpu = device.type == "cuda"
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
        "world": 1,
    }
