"""A snapshot: the state after one step, held still while it is written and training goes on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from surefoot.shelf import tensors
from surefoot.shelf.format import FORMAT, MODEL, OPTIM, RECIPE, STATE, TOKENIZER, canonical

if TYPE_CHECKING:
    from surefoot.shelf.parts import Part
    from surefoot.shelf.save import Content

Parts = Mapping[str, Mapping[str, Tensor]]  # file -> name -> tensor


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint will hold: its texts as bytes, its tensors where nobody changes them."""

    step: int
    generation: int
    parts: Parts
    texts: Mapping[str, bytes]  # file -> bytes
    copied: torch.cuda.Event | None = None  # a GPU still copies until then
    took_s: float = 0.0
    part: "Part | None" = None  # of several ranks' save

    def nbytes(self) -> int:
        """Count the bytes of the tensors; of several ranks' about those of all."""
        own = sum(tensors.nbytes(part) for part in self.parts.values())
        return own if self.part is None else own * self.part.ranks

    def wait(self) -> None:
        """Return when the copies are there."""
        if self.copied is not None:
            self.copied.synchronize()


class Buffers:
    """Memory for the copy of one state: allocated once, filled anew for each snapshot."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Tensor] = {}
        self.beside: torch.cuda.Stream | None = None

    def copies(self, parts: Parts) -> tuple[Parts, torch.cuda.Event | None]:
        """Copy tensors; from a GPU beside its work, with the event after which all are here."""
        gpu = next((t.device for part in parts.values() for t in part.values() if t.is_cuda), None)
        if gpu is None:
            return self.filled(parts), None
        self.beside = self.beside or torch.cuda.Stream(gpu)
        self.beside.wait_stream(torch.cuda.current_stream(gpu))  # the update before, all of it
        with torch.cuda.stream(self.beside):
            held, done = self.filled(parts), torch.cuda.Event()
            done.record()
        return held, done

    def filled(self, parts: Parts) -> Parts:
        """Fill the buffers, on a GPU by its current stream."""
        return {
            file: {name: self.copy((file, name), live.detach()) for name, live in part.items()}
            for file, part in parts.items()
        }

    def copy(self, key: tuple[str, str], live: Tensor) -> Tensor:
        """Fill one buffer; made where there is none yet, pinned where a GPU writes into it."""
        held = self.held.get(key)
        if held is None or (held.shape, held.dtype) != (live.shape, live.dtype):
            held = torch.empty(live.shape, dtype=live.dtype, pin_memory=live.is_cuda)
            self.held[key] = held
        held.copy_(live, non_blocking=live.is_cuda)
        if live.is_cuda:  # were it freed now, its memory would be used again before it is read
            live.record_stream(torch.cuda.current_stream(live.device))
        return held


def taken(content: "Content", buffers: Buffers | None = None) -> Snapshot:
    """Take a snapshot; without buffers of the live tensors, which then must not change yet."""
    began = time.monotonic()
    model, tied = tensors.untied(content.model)
    optim, tied_optim = tensors.untied(content.optim)
    assert not tied_optim, f"two slots share their memory: {tied_optim}"
    own = {"format": FORMAT, "step": content.step, "generation": content.generation, "tied": tied}
    part = content.part
    parts: Parts = {MODEL: model, OPTIM: optim}
    if part is not None:
        parts = {part.file(file): part.held(live) for file, live in parts.items()}
    copied = None
    if buffers is not None:
        parts, copied = buffers.copies(parts)
    texts = {
        STATE: canonical({**content.state, **own}),
        RECIPE: content.recipe.encode(),
        TOKENIZER: content.tokenizer,
    }
    took = time.monotonic() - began
    return Snapshot(content.step, content.generation, parts, texts, copied, took, part)
