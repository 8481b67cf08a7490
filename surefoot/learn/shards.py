"""Sharded weights: each rank holds some rows of every parameter; torch's FSDP2 gathers them.

A learner's parameters are then this rank's rows, plain tensors that share their memory with
FSDP2's own: so clipping, optimisers and the shelf handle rows as they handle a whole. Rank r of W
has rows r c to (r+1) c of n, with c = n/W rounded up. Our loss is a sum over the targets of a whole
step, so gradients are summed over ranks, where FSDP2 would take their mean.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from surefoot.learn import precision
from surefoot.learn.learner import compiles
from surefoot.model.model import Model
from surefoot.model.parameters import Declared, draw, initialise
from surefoot.recipe.facts import Shape
from surefoot.recipe.schema import Train


class Shards:
    """Which rows of a model lie on this rank, and what it takes to see them as a whole."""

    def __init__(self, rank: int, world: int, group: Any, keep_sharded: bool = False) -> None:
        self.rank, self.world, self.group = rank, world, group
        self.keep_sharded = keep_sharded  # gradients, between the micro-batches of a step
        self.sharded: dict[str, Any] = {}  # by name: the parameters that FSDP2 gathers
        self.modules: list[FSDPModule] = []

    def hold(self, model: nn.Module) -> None:
        """Remember the parameters and blocks of a model that FSDP2 has sharded."""
        self.sharded = dict(model.named_parameters())
        self.modules = [one for one in model.modules() if isinstance(one, FSDPModule)]

    def local(self, name: str) -> Tensor:
        """Give this rank's rows of a parameter, in FSDP2's own memory."""
        return self.sharded[name].detach().to_local()

    def span(self, rows: int) -> tuple[int, int]:
        """Say from which row to which one lies here, of so many."""
        each = -(-rows // self.world)
        return min(self.rank * each, rows), min((self.rank + 1) * each, rows)

    def own(self, whole: Tensor) -> Tensor:
        """Give this rank's rows; one number lies whole on every rank."""
        return whole[slice(*self.span(len(whole)))] if whole.dim() else whole

    def rows(self, tensor: str) -> int:
        """Count the rows of a parameter, or of an optimiser's "<parameter>/<slot>"."""
        return int(self.sharded[tensor.partition("/")[0]].shape[0])

    def form(self, name: str, own: Tensor) -> Tensor:
        """Give the shape that rows of a tensor have together, without memory."""
        shape = (self.rows(name), *own.shape[1:]) if own.dim() else own.shape
        return torch.empty(shape, dtype=own.dtype, device="meta")

    def slices(self, tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
        """Map each tensor to the first row that lies here and how many there are in all."""
        return {
            name: (self.span(self.rows(name))[0], self.rows(name))
            for name, own in tensors.items()
            if own.dim()
        }

    def total(self, own: Tensor) -> Tensor:
        """Sum over all ranks, in place."""
        dist.all_reduce(own, group=self.group)
        return own

    def norms(self, own: Tensor) -> Tensor:
        """Give the norms of whole tensors from those of their rows."""
        return self.total(own.double().square()).sqrt().to(own.dtype)

    def any(self, said: bool) -> bool:
        """Say whether a thing holds on any rank."""
        device = next(iter(self.sharded.values())).device
        return bool(self.total(torch.tensor(float(said), device=device)))

    def gathered(self, name: str, own: Tensor) -> Tensor:
        """Give a parameter whole, on every rank."""
        rows = self.rows(name)
        each = -(-rows // self.world)
        whole = own.new_zeros(each * self.world, *own.shape[1:])
        padded = own.new_zeros(each, *own.shape[1:])
        padded[: len(own)] = own
        dist.all_gather(list(whole.split(each)), padded, group=self.group)
        return whole[:rows]

    def backward(self, loss: Tensor, last: bool) -> None:
        """Go back through the model; only the last micro-batch of a step sums over ranks."""
        for module in self.modules:
            module.set_requires_gradient_sync(last or self.keep_sharded, recurse=False)
        loss.backward()

    def land(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Lay the gradients that FSDP2 has summed where optimisers look for them."""
        for name, own in parameters.items():
            gradient = self.sharded[name].grad
            if gradient is not None:
                own.grad, self.sharded[name].grad = gradient.to_local(), None

    def drop(self) -> None:
        """Free the gradients that FSDP2 still has."""
        for parameter in self.sharded.values():
            parameter.grad = None

    def forget(self) -> None:
        """Let no pass see weights that were gathered before the rows are written anew."""
        for module in self.modules:
            module.reshard()


def built(recipe: Any, shape: Shape, train: Train, device: torch.device, shards: Shards) -> Model:
    """Make a sharded model whose first values have the bits that one rank would draw."""
    arithmetic = precision.resolved(train.precision, device)
    with torch.device("meta"):
        model = Model(recipe, shape, train.grad_checkpointing)
    if arithmetic == "bf16_pure":
        model = model.to(torch.bfloat16)
    if compiles(train.compile, device):
        for layer in model.layers:
            layer.compile()
    # on a CPU autocast alone chooses the arithmetic
    halved = arithmetic == "bf16" and device.type == "cuda"
    distribute(model, device, torch.bfloat16 if halved else None, shards)
    model.to_empty(device=device)
    shards.hold(model)

    def draw_own(parameter: Tensor, declared: Declared, key: int) -> None:
        # whole and one at a time: the peak is the largest parameter
        whole = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
        draw(whole, declared, key)
        parameter.detach().to_local().copy_(shards.own(whole))  # pyright: ignore[reportAttributeAccessIssue]

    initialise(model, train.seed, draw_own)
    return model


def distribute(
    model: Model, device: torch.device, gathered_as: torch.dtype | None, shards: Shards
) -> None:
    """Let FSDP2 shard each layer, then the rest."""
    mesh = DeviceMesh.from_group(shards.group, device.type)
    policy = MixedPrecisionPolicy(gathered_as, torch.float32, cast_forward_inputs=False)
    blocks: Iterable[Any] = (*model.layers, model)
    for block in blocks:
        sharded: Any = fully_shard(block, mesh=mesh, mp_policy=policy)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum
    register_fsdp_forward_method(model, "loss")
