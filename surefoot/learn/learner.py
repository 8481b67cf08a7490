"""The Learner: a model with the optimiser of each role; what changes weights goes through it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from surefoot import kinds
from surefoot.errors import Problem, RecipeError, ShelfError
from surefoot.learn import foreach, precision
from surefoot.learn.share import Share
from surefoot.model.parameters import ROLES, Declared, declarations
from surefoot.recipe.choice import Choice
from surefoot.recipe.schema import Train

if TYPE_CHECKING:
    from surefoot.learn.shards import Shards

OverRanks = Callable[["Learner", Mapping[str, Tensor]], dict[str, Tensor]]  # sums what they found
Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]
SHOWN = 12  # lines of a table that a person reads


@dataclass(frozen=True, slots=True)
class Group:
    """All parameters of one role, and the one optimiser that moves them."""

    role: str
    parameters: dict[str, nn.Parameter]
    optimiser: Any  # of learn/optimisers: update(lr, momentum), slots()


class Learner:
    """Holds a model and moves its weights, each role by its own optimiser."""

    def __init__(
        self,
        model: nn.Module,
        optim: Mapping[str, Choice],
        train: Train,
        device: torch.device | str = "cpu",
        shards: "Shards | None" = None,
    ) -> None:
        self.device = torch.device(device)
        self.train = train
        self.shards = shards  # of the parameters, where no rank has all of their rows
        self.precision: precision.Precision = precision.resolved(train.precision, self.device)
        if self.precision == "bf16_pure":
            model = model.to(precision.weight_dtype(self.precision))
        self.model = model.to(self.device)
        declared = declarations(self.model)
        self.parameters = owned(self.model, declared, shards)
        self.groups = grouped(self.parameters, declared, optim, shards)
        self.random = any(getattr(module, "random", False) for module in self.model.modules())
        self.loss: Loss = self.model.loss  # pyright: ignore[reportAttributeAccessIssue]
        if shards is None and compiles(train.compile, self.device):
            outside_the_graph(self.model)
            self.loss = torch.compile(self.loss)
        self.read_until: torch.cuda.Event | None = None  # a save copies the weights until then
        self.reduce: Callable[[Sequence[Tensor]], None] | None = None  # sums gradients over ranks
        self.rank = 0
        self.share = Share()  # of each step's micro-batches
        self.over_ranks: OverRanks | None = None
        self.among: Callable[[], AbstractContextManager[None]] = nullcontext  # the other ranks
        self.pool: Callable[[Mapping[str, Any]], list[dict[str, Any]]] | None = None  # by rank
        self.micro_rows = train.batch  # of one forward pass
        self.moving = False  # within an update: some weights are moved, others are not

    @property
    def roles(self) -> dict[str, list[str]]:
        """Map each role to the names of its parameters."""
        return {group.role: list(group.parameters) for group in self.groups}

    @property
    def micro_batches(self) -> int:
        """Count the micro-batches of a step, over all ranks."""
        return self.train.batch * self.train.accumulate // self.micro_rows

    def slots(self) -> dict[str, Tensor]:
        """Give all optimiser state, live, by "<parameter>/<slot>"."""
        held: dict[str, Tensor] = {}
        for group in self.groups:
            held |= group.optimiser.slots()
        return held

    def wait_for_readers(self) -> None:
        """Let the device change no weights while a save still copies them; nobody else waits."""
        if self.read_until is not None:
            torch.cuda.current_stream(self.device).wait_event(self.read_until)
            self.read_until = None

    @torch.no_grad()
    def load(
        self, model_tensors: Mapping[str, Tensor], slot_tensors: Mapping[str, Tensor] | None = None
    ) -> None:
        """Take over saved weights, and optimiser state where it is given; all of it or none."""
        pairs: list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]] = [
            (self.parameters, model_tensors)
        ]
        if slot_tensors is not None:
            pairs.append((self.slots(), slot_tensors))
        if rows := [row for own, saved in pairs for row in differences(self.forms(own), saved)]:
            raise misfit(rows)
        self.wait_for_readers()
        for own, saved in pairs:
            for name, tensor in own.items():
                self.take(tensor, saved[name])

    def forms(self, own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Give tensors in the shapes that they have whole; of rows without memory."""
        if self.shards is None:
            return own
        return {name: self.shards.form(name, tensor) for name, tensor in own.items()}

    @torch.no_grad()
    def take(self, own: Tensor, whole: Tensor) -> None:
        """Let a parameter or a slot take over a tensor, or this rank's rows of it."""
        if self.shards is not None:
            self.shards.forget()
            whole = self.shards.own(whole)
        own.data.copy_(whole)

    def backward(self, loss: Tensor, last: bool = True) -> None:
        """Add a micro-batch's gradients to those that lie there."""
        if self.shards is None:
            loss.backward()
            return
        self.shards.backward(loss, last)
        if last:
            self.shards.land(self.parameters)

    def norms(self, tensors: list[Tensor]) -> Tensor:
        """Give the norm of each tensor, whole."""
        found = foreach.norms(tensors)
        return found if self.shards is None else self.shards.norms(found)

    def gradients(self) -> dict[str, Tensor]:
        """Give the gradients that lie there, by parameter."""
        return {name: p.grad for name, p in self.parameters.items() if p.grad is not None}

    def give_gradients(self, gradients: Mapping[str, Tensor]) -> None:
        """Lay gradients there."""
        for name, gradient in gradients.items():
            self.parameters[name].grad = gradient

    def drop_gradients(self) -> None:
        """Free all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None
        if self.shards is not None:
            self.shards.drop()


def owned(
    model: nn.Module, declared: Mapping[str, Declared], shards: "Shards | None" = None
) -> dict[str, nn.Parameter]:
    """Give each declared parameter once, under its owner's name; of a sharded one its rows."""
    if shards is not None:
        return {name: nn.Parameter(shards.local(name)) for name in declared}
    held = dict(model.named_parameters())
    return {name: held[name] for name in declared}


def compiles(wish: bool | str, device: torch.device) -> bool:
    """Decide whether to compile: on a GPU, unless the recipe says otherwise."""
    return device.type == "cuda" if wish == "auto" else bool(wish)


def outside_the_graph(model: nn.Module) -> None:
    """Keep the head out of compilation: its loop over chunks would become one huge graph."""
    head: Any = getattr(model, "head", None)
    if head is not None:
        head.loss = torch.compiler.disable(head.loss)


def grouped(
    parameters: Mapping[str, nn.Parameter],
    declared: Mapping[str, Declared],
    optim: Mapping[str, Choice],
    shards: "Shards | None" = None,
) -> list[Group]:
    """Give every parameter to the one optimiser of its declared role."""
    by_role: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in parameters.items():
        by_role.setdefault(declared[name].role, {})[name] = parameter
    roles = [role for role in ROLES if role in by_role]
    problems = [p for role in roles for p in refusals(role, by_role[role], optim)]
    if shards is not None and not problems:
        kinds_of = {role: kinds.find("optimisers", optim[role].kind) for role in roles}
        problems = [p for role, made in kinds_of.items() for p in unshardable(role, made)]
    if problems:
        raise RecipeError(*problems)
    groups: list[Group] = []
    for role in roles:
        made = kinds.find("optimisers", optim[role].kind, f"optim.{role}.kind")
        splits = {name: split for name in by_role[role] if (split := declared[name].split)}
        more = () if shards is None else (shards,)
        optimiser = made.Optimiser(by_role[role], optim[role], splits, *more)
        groups.append(Group(role, by_role[role], optimiser))
    return groups


def unshardable(role: str, optimiser: ModuleType) -> list[Problem]:
    """Say why an optimiser can't move the rows of one rank."""
    if getattr(optimiser, "sharded", False):
        return []
    kind = optimiser.__name__.rpartition(".")[2]
    why = f"{kind} does not say that it moves sharded parameters, of which it sees some rows"
    return [Problem(f"optim.{role}.kind", f'"{kind}"', why, 'Write distributed.mode="ddp"')]


def refusals(
    role: str, parameters: Mapping[str, nn.Parameter], optim: Mapping[str, Choice]
) -> list[Problem]:
    """Say why a role can't learn as the recipe has it."""
    options = optim.get(role)
    if options is None:
        return [
            Problem(
                what=f"optim.{role}",
                value="",
                why=f"{len(parameters)} parameters have this role (first: {next(iter(parameters))})"
                " and the recipe has no optimiser for it",
                instead=f'Write optim.{role}.kind="{"muon" if role == "matrix" else "adam"}"',
            )
        ]
    made = kinds.find("optimisers", options.kind, f"optim.{role}.kind")
    if role not in made.serves:
        fit = [k for k in kinds.names("optimisers") if role in kinds.find("optimisers", k).serves]
        return [
            Problem(
                what=f"optim.{role}.kind",
                value=f'"{options.kind}"',
                why=f"{options.kind} serves {', '.join(made.serves)}, not {role}",
                instead=f'Write optim.{role}.kind="{fit[0]}" (choices: {", ".join(fit)})',
            )
        ]
    told = getattr(options, "refusals", None)
    return list(told(role)) if told else []


def differences(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> list[str]:
    """List the tensors that don't match by name, shape or dtype."""
    rows = [f"{name}: missing" for name in own if name not in saved]
    rows += [f"{name}: not of this model" for name in saved if name not in own]
    for name, tensor in own.items():
        other = saved.get(name)
        if other is not None and (other.shape, other.dtype) != (tensor.shape, tensor.dtype):
            rows.append(f"{name}: saved {form(other)}, this model has {form(tensor)}")
    return rows


def form(tensor: Tensor) -> str:
    """Show a tensor's dtype and shape."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def misfit(rows: list[str]) -> ShelfError:
    """Say that a checkpoint is of another model or other optimisers, with the table."""
    more = [f"and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return ShelfError(
        Problem(
            what="checkpoint",
            value=f"{len(rows)} tensors that don't fit",
            why="it was made with another model or other optimisers (nothing was loaded):\n  "
            + "\n  ".join(rows[:SHOWN] + more),
            instead="Resume with the run's own recipe.toml, or start a new run from the weights: "
            "--init-from",
        )
    )
