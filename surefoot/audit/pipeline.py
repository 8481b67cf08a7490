"""A recipe's own way from tokens to a loss, over tokens that are made for the purpose."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surefoot.data.dataset import Dataset
from surefoot.data.prepare import Prepared, Side
from surefoot.data.shards import Shard
from surefoot.data.tokenizers.ids import Tokenizer
from surefoot.model.batch import Batch
from surefoot.model.model import Model, build
from surefoot.plan.plan import Plan
from surefoot.plan.shape import shape
from surefoot.recipe.schema import Recipe

Builder = Callable[[Prepared, Any, int, int, int], Dataset]  # as Dataset itself is called
Loss = Callable[[Model, Batch, Mapping[str, Any]], Tensor]


def own_loss(model: Model, batch: Batch, knobs: Mapping[str, Any]) -> Tensor:
    """Give what training optimises."""
    return model.loss(batch, knobs, batch.valid)[0]


@dataclass(frozen=True)
class Pipeline:
    """The batch builder and the loss of a recipe, and the narrow model that tries them."""

    recipe: Recipe  # a narrow one
    builder: Builder = Dataset
    loss: Loss = own_loss
    text: Dataset | None = None  # the recipe's own, where it was read

    @contextmanager
    def dataset(
        self, tokens: NDArray[np.int64], ends: NDArray[np.int64], ids: Tokenizer, rows: int, T: int
    ) -> Iterator[Dataset]:
        """Let the real builder read tokens whose every number we know."""
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "tokens.bin").write_bytes(tokens.astype("<u4").tobytes())
            (folder / "tokens.idx").write_bytes(ends.astype("<u8").tobytes())
            shard = Shard(folder / "tokens.bin", "audit", 0, len(tokens), 4)
            side = Side([shard], folder / "tokens.idx")
            made = Prepared(side, side, ids, "audit", {}, {})
            found = self.builder(made, self.recipe.data, self.recipe.train.seed, T, rows)
            try:
                yield found
            finally:
                found.close()

    def model(self, dtype: torch.dtype = torch.float32) -> Model:
        """Build the narrow model with its first values."""
        return build(self.recipe.model, shape(self.recipe), self.recipe.train.seed).to(dtype)

    def knobs(self, step: int = 1) -> Mapping[str, Any]:
        """Give the knobs of a step, gates opened."""
        return opened(Plan(self.recipe).at(step).values)


def opened(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Open every gate that a knob keeps shut: nothing may hide behind it."""
    return {name: 1.0 if name.endswith("_open") else value for name, value in knobs.items()}
