"""One operation over many tensors: on a GPU one launch for all of them."""

import torch
from torch import Tensor

# torch's own optimisers are built on these; none of them has a public name yet
lerp = torch._foreach_lerp  # pyright: ignore[reportPrivateImportUsage]
lerp_into = torch._foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]
scale = torch._foreach_mul_  # pyright: ignore[reportPrivateImportUsage]
add = torch._foreach_add_  # pyright: ignore[reportPrivateImportUsage]
subtract = torch._foreach_sub_  # pyright: ignore[reportPrivateImportUsage]


def norms(tensors: list[Tensor]) -> Tensor:
    """Give the norm of each tensor, summed in fp32 at least, on its device."""
    if not tensors:
        return torch.zeros(1)
    wide = torch.float64 if tensors[0].dtype == torch.float64 else torch.float32
    each = torch._foreach_norm(tensors, 2, dtype=wide)  # pyright: ignore[reportPrivateImportUsage]
    return torch.stack(each)
