"""Gathers the facts that the rules of preflight judge a recipe by."""

import os
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from surefoot.data.dataset import Dataset
from surefoot.guard.situation import Forecast, Situation
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.run.device import is_here, kind_of
from surefoot.run.memory import available_gib, rss_mib, total_gib

TOLD = ("TORCH", "NCCL", "CUDA_LAUNCH")  # what the names of debugging variables begin with
UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # as /proc/cpuinfo names them
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


def situated(recipe: Recipe, dataset: Dataset, cost: Forecast, **more: Any) -> Situation:
    """Say what is known of the device, the data and the environment."""
    asked = recipe.train.device
    here = is_here(asked)
    return Situation(
        device=kind_of(asked),
        forecast=cost,
        here=here,
        bf16=bf16_units(asked),
        device_gib=device_gib(asked) if here else None,
        fused_failed=fused_failed(recipe) if here else "",
        flash_only=flash_only(),
        environment={k: v for k, v in os.environ.items() if k.startswith(TOLD)},
        corpus_tokens=dataset.tokens,
        val_tokens=dataset.val_tokens,
        sha=write.pin(recipe),
        **more,
    )


def bf16_units(asked: str) -> bool:
    """Say whether a device computes in bf16 as fast as it should; one that isn't here does."""
    kind = kind_of(asked)
    if kind == "cuda" and is_here(asked):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return kind == "cuda"
    told = Path("/proc/cpuinfo")  # not there outside Linux
    for line in (
        told.read_text(encoding="ascii", errors="replace").splitlines() if (told.is_file()) else ()
    ):
        if line.startswith(("flags", "Features")):
            return not set(UNITS).isdisjoint(line.split())
    return False


def device_gib(asked: str) -> float:
    """Give all of a device's memory, GiB."""
    if kind_of(asked) == "cuda":
        return torch.cuda.mem_get_info(None if asked in ("auto", "cuda") else asked)[1] / 2**30
    return total_gib()


def usable_gib(asked: str) -> float:
    """Give the memory that a run can come to hold on a device that is here, GiB."""
    if kind_of(asked) == "cuda":
        return device_gib(asked)
    return available_gib() + rss_mib() / 1024  # what is left, and what this process has


def fused_failed(recipe: Recipe) -> str:
    """Try fused attention on a few tokens where a GPU will need it; say why it fails."""
    if kind_of(recipe.train.device) != "cuda" or recipe.model.attention == "plain":
        return ""
    width = recipe.model.dim // recipe.model.heads
    precision = torch.float32 if recipe.train.precision == "fp32" else torch.bfloat16
    q = torch.zeros(1, 1, 16, width, device="cuda", dtype=precision)
    try:
        with sdpa_kernel(FUSED):
            scaled_dot_product_attention(q, q, q, is_causal=True)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


def flash_only() -> bool:
    """Say whether somebody switched off every attention kernel but flash."""
    cuda = torch.backends.cuda
    others = cuda.math_sdp_enabled() or cuda.mem_efficient_sdp_enabled()
    return cuda.flash_sdp_enabled() and not others
