"""What a choice's options are made of: frozen, typed, and refusing what they don't know."""

from pydantic import BaseModel, ConfigDict


class Choice(BaseModel):
    """The options of one choice of a kind; `kind` is the name of its file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    kind: str = ""
