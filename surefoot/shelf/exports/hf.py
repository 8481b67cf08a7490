"""A Hugging Face folder: a Llama by its usual names, for everything that loads one."""

from collections.abc import Iterator
from typing import Any

from surefoot.errors import Problem
from surefoot.shelf import llama
from surefoot.shelf.export import CONFIG, Made, as_json
from surefoot.shelf.format import TOKENIZER

LOADED_BY = 'transformers.AutoModelForCausalLM.from_pretrained("{folder}")'
name = llama.their_name


def tables(made: Made) -> dict[str, Any]:
    """Give the [model] table that a Llama computes."""
    return llama.tables(config(made))


def problems(made: Made) -> Iterator[Problem]:
    """Refuse tensors without a name there, and tokenizers that its library can't read."""
    for ours in made.shapes:
        if name(ours) == ours:
            yield Problem(ours, "", "a Llama has no such tensor", "Write --to safetensors")
    kind = made.recipe.data.tokenizer.kind
    if pieces(made) is None and kind != "ids":
        why = "Hugging Face's libraries have none of this kind"
        instead = "Train with data.tokenizer.kind=bpe, or write --to safetensors"
        yield Problem("data.tokenizer.kind", f'"{kind}"', why, instead)


def files(made: Made, dtype: str) -> dict[str, bytes]:
    """Write what lies beside the weights."""
    inner, ids = pieces(made), {"pad_token_id": made.tokenizer.pad}
    if made.tokenizer.eos is not None:
        ids["eos_token_id"] = made.tokenizer.eos
    told = {
        CONFIG: as_json({**config(made), "torch_dtype": dtype, **ids}),
        "generation_config.json": as_json(ids),
    }
    if inner is not None:
        texts = {key.removesuffix("_id"): inner.id_to_token(token) for key, token in ids.items()}
        told["tokenizer_config.json"] = as_json(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": made.recipe.train.seq_len,
                "clean_up_tokenization_spaces": False,
                **texts,
            }
        )
        told[TOKENIZER] = inner.to_str().encode()
    return told


def config(made: Made) -> dict[str, Any]:
    """Describe the Llama that is most like the model."""
    return llama.config(made.recipe.model, made.shapes, made.recipe.train.seq_len)


def pieces(made: Made) -> Any:
    """Give the tokenizer as its library has it; None for our own kinds."""
    return getattr(made.tokenizer, "inner", None)
