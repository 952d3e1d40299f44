"""What is passed through models: the unit in which the engine counts."""

from dataclasses import dataclass, fields
from operator import add, attrgetter, sub


@dataclass(frozen=True)
class Work:
    """Token-layer passes (a token through a single layer, so that a pass through some of the layers counts for what it
    is) and tokens whose logits were computed."""

    prefill: int = 0
    """Token-layer passes that read prompts, by the model whose tokens are drawn; of a hybrid its base model."""
    decode: int = 0
    """Its token-layer passes of decode steps and of what is run again within them."""
    heads: int = 0
    """Tokens whose logits it computed."""
    thinking_prefill: int = 0
    """The same three of the thinking model that steers it."""
    thinking_decode: int = 0
    thinking_heads: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*map(add, _values(self), _values(other)))

    def __sub__(self, other: "Work") -> "Work":
        return Work(*map(sub, _values(self), _values(other)))


_values = attrgetter(*(field.name for field in fields(Work)))
