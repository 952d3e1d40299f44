"""A Policy over any transformers causal LM, hub or local: per-row positions over one static key-value cache."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.masking_utils import eager_mask

from reasoning_lab.engine.policy import Policy, Segment, Session, context_length
from reasoning_lab.engine.work import Work

PREFILL_WIDTH = 64
"""Prompt tokens per prefill pass. Prefill always runs one row at this width, so its arithmetic has one shape."""


ATTENTION = "reasoning_lab_grouped"
"""Name under which transformers finds `grouped_attention`."""


def grouped_attention(
    _module: nn.Module,
    query: Float[Tensor, "row head width dim"],
    key: Float[Tensor, "row kv_head position dim"],
    value: Float[Tensor, "row kv_head position dim"],
    attention_mask: Float[Tensor, "#row 1 width _"],
    scaling: float,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_options: Any,
) -> tuple[Float[Tensor, "row width head dim"], None]:
    """softmax(cap(q k' scaling) + mask) v, with the query heads of a group side by side on their one key-value head.

    The mask is additive; cap(x) = softcap tanh(x / softcap) where a model has one (Gemma 2). Nothing is repeated per
    head, and on a CPU two plain products of a single query against a long masked cache take half the time of torch's
    fused kernel. ValueError for attention sinks (`s_aux`), which are not computed here.
    """
    if s_aux is not None:
        raise ValueError(
            "this model's attention has sinks, which this engine does not compute; choose another model_pair."
        )
    rows, heads, width, dim = query.shape
    kv_heads, length = key.shape[1], key.shape[2]
    grouped = query.reshape(rows, kv_heads, heads // kv_heads * width, dim)
    weights = torch.matmul(grouped, key.transpose(2, 3)).view(rows, heads, width, length) * scaling
    if softcap is not None:
        weights = softcap * torch.tanh(weights / softcap)
    weights = torch.softmax(weights + attention_mask[..., :length], dim=-1, dtype=_softmax_dtype(query))
    mixed = torch.matmul(weights.to(query.dtype).view(rows, kv_heads, -1, length), value)
    return mixed.view(rows, heads, width, dim).transpose(1, 2), None


def _softmax_dtype(query: Tensor) -> torch.dtype:
    return torch.float64 if query.dtype == torch.float64 else torch.float32


AttentionInterface.register(ATTENTION, grouped_attention)
AttentionMaskInterface.register(ATTENTION, eager_mask)


class HuggingFacePolicy(Policy):
    """The law of a transformers causal LM in evaluation mode: softmax of its logits, nothing truncated.

    Arguments: `model` is an `AutoModelForCausalLM` on its device in its dtype. Logits are returned in float32, or in
    float64 for a float64 model. `generation_config` is never consulted: temperature, top-k and stop ids belong to the
    sampler's request (Karan & Du's code lets its top_k=50 into q; departures D9).
    """

    model: PreTrainedModel
    architecture: str
    """transformers' model_type."""
    device: torch.device
    dtype: torch.dtype
    """Of weights and cache."""
    n_layers: int
    """Decoder layers."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model.eval()
        self.model.set_attn_implementation(ATTENTION)
        config = model.config
        self.vocab_size, self.architecture = config.vocab_size, config.model_type
        self.context_length = context_length(config)
        self.n_layers = config.get_text_config().num_hidden_layers
        weight = next(model.parameters())
        self.device, self.dtype = weight.device, weight.dtype

    @torch.inference_mode()
    def next_logits(self, ids: Sequence[int]) -> Float[Tensor, " vocab"]:
        """One uncached forward pass over the whole prefix."""
        return _floating(self.model(torch.tensor([list(ids)], device=self.device), use_cache=False).logits[0, -1])

    def open(self, rows: int, capacity: int) -> Session:
        """Rows of one static cache; capacity counts prompt and generated tokens."""
        if capacity > self.context_length:
            raise ValueError(
                f"capacity={capacity} exceeds the model's {self.context_length} positions; "
                "shorten runtime.max_prompt_tokens or the benchmark's max_new_tokens."
            )
        return RowSession(self, rows, capacity)


def _floating(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


class RowLayer(CacheLayerMixin):
    """One layer's keys and values, written at per-row positions."""

    is_compileable = False
    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.rows: Int[Tensor, "row width"] | None = None
        self.positions: Int[Tensor, "row width"] | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Not called: `allocate` comes first."""
        raise RuntimeError("RowLayer is allocated by its cache.")

    def allocate(
        self, keys: Float[Tensor, "row head position dim"], values: Float[Tensor, "row head position dim"]
    ) -> None:
        """Write into these buffers."""
        self.keys, self.values, self.is_initialized = keys, values, True

    def update(
        self,
        key_states: Float[Tensor, "row head width dim"],
        value_states: Float[Tensor, "row head width dim"],
        *_args: Any,
        **_kwargs: Any,
    ) -> tuple[Float[Tensor, "row head position dim"], Float[Tensor, "row head position dim"]]:
        """Write the states at `positions` of `rows`; return those rows' whole buffers."""
        assert self.keys is not None and self.values is not None
        # Indexing by (row, position) moves the head axis behind both: values are [row, width, head, dim].
        self.keys[self.rows, :, self.positions] = key_states.transpose(1, 2)
        self.values[self.rows, :, self.positions] = value_states.transpose(1, 2)
        if key_states.shape[0] == self.keys.shape[0]:
            return self.keys, self.values
        assert self.rows is not None
        row = int(self.rows[0, 0])
        return self.keys[row : row + 1], self.values[row : row + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(keys, offset): every pass sees the whole buffer."""
        assert self.keys is not None
        return self.keys.shape[2], 0

    def get_seq_length(self) -> int:
        """0: positions are always given."""
        return 0

    def get_max_length(self) -> int:
        """Positions of a row, the spare one included."""
        assert self.keys is not None
        return self.keys.shape[2]


class RowCache:
    """Keys and values of all layers and rows in one store, written and read at per-row positions.

    `store` is [layer, 2, row, head, position, dim]; its layers are the model's from layer `first` on. The last position
    is spare: it takes what padding writes.
    """

    def __init__(self, store: Float[Tensor, "layer two row head position dim"], first: int = 0) -> None:
        self.store = store
        held = [RowLayer() for _ in store]
        for layer, states in zip(held, store, strict=True):
            layer.allocate(states[0], states[1])
        self._held = held
        self.layers = Cache(layers=[*(RowLayer() for _ in range(first)), *held])
        """What transformers' layers take as past_key_values."""
        self._columns = torch.arange(store.shape[4], device=store.device)

    @classmethod
    def of_model(cls, policy: "HuggingFacePolicy", rows: int, capacity: int) -> "RowCache":
        """Room for all layers of a model, `capacity` positions and the spare one."""
        layers, heads, width = _cache_shape(policy.model.config)
        shape = (layers, 2, rows, heads, capacity + 1, width)
        return cls(torch.zeros(shape, dtype=policy.dtype, device=policy.device))

    def aim(self, rows: Int[Tensor, " row"], positions: Int[Tensor, "row width"]) -> Float[Tensor, "row 1 width key"]:
        """Direct the next pass at `positions` of `rows`; returns its mask: each position sees its row up to itself."""
        for layer in self._held:
            layer.rows, layer.positions = rows[:, None].expand_as(positions), positions
        hidden = self._columns > positions[:, None, :, None]
        mask = torch.zeros(hidden.shape, dtype=self.store.dtype, device=self.store.device)
        return mask.masked_fill_(hidden, torch.finfo(self.store.dtype).min)


def _cache_shape(config: Any) -> tuple[int, int, int]:
    """Layers, key-value heads and their width."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, width


def cached_numbers(config: Any) -> int:
    """Keys and values that a model with this config has of one position."""
    layers, heads, width = _cache_shape(config)
    return 2 * layers * heads * width


class RowSession(Session):
    """Rows of one static cache, each at its own position."""

    def __init__(self, policy: HuggingFacePolicy, rows: int, capacity: int) -> None:
        self.policy, self.rows, self.capacity = policy, rows, capacity
        self._cache = RowCache.of_model(policy, rows, capacity)
        self._all_rows = torch.arange(rows, device=policy.device)
        self._steps = 0
        self.passed = Work()

    def prompt_work(self, prompt: Sequence[int]) -> Work:
        """As Session.prompt_work: all layers, no head."""
        return Work(prefill=(len(prompt) - 1) * self.policy.n_layers)

    def step_work(self, row: int) -> Work:
        """As Session.step_work: every step is one token through all layers and the head."""
        return Work(decode=self._steps * self.policy.n_layers, heads=self._steps)

    @torch.inference_mode()
    def prefill(self, row: int, ids: Sequence[int]) -> None:
        """As Session.prefill, in passes of PREFILL_WIDTH tokens, whose logits nobody needs."""
        for tokens, positions, _ in prefill_passes(ids, self.capacity, self.policy.device):
            self._forward(self.policy.model.base_model, tokens, self._all_rows[row : row + 1], positions)
            self.passed += Work(prefill=tokens.numel() * self.policy.n_layers)

    @torch.inference_mode()
    def step(self, ids: Sequence[int], positions: Sequence[int]) -> Float[Tensor, "row vocab"]:
        """As Session.step: one pass of width 1."""
        device = self.policy.device
        tokens, at = (torch.tensor(values, device=device)[:, None] for values in (ids, positions))
        self._steps += 1
        self.passed += Work(decode=self.rows * self.policy.n_layers, heads=self.rows)
        return _floating(self._forward(self.policy.model, tokens, self._all_rows, at).logits[:, -1])

    def _forward(
        self,
        model: nn.Module,
        tokens: Int[Tensor, "row width"],
        rows: Int[Tensor, " row"],
        positions: Int[Tensor, "row width"],
    ) -> Any:
        """What the model, or its part below the head, makes of the tokens at their positions, each attending to its row
        up to itself. Padding goes to the spare position, which may be one past the end of the model's table of them:
        it is read as the last one."""
        mask, read_at = self._cache.aim(rows, positions), positions.clamp(max=self.policy.context_length - 1)
        return model(
            tokens, attention_mask=mask, position_ids=read_at, past_key_values=self._cache.layers, use_cache=True
        )

    def save(self, row: int, start: int, stop: int) -> Segment:
        """As Session.save."""
        return Segment(start, stop, self._cache.store[:, :, row, :, start:stop].clone())

    def load(self, row: int, segment: Segment, start: int, stop: int) -> None:
        """As Session.load."""
        offset = segment.start
        self._cache.store[:, :, row, :, start:stop] = segment.state[:, :, :, start - offset : stop - offset]


def prefill_passes(
    ids: Sequence[int], capacity: int, device: torch.device
) -> Iterator[tuple[Int[Tensor, "1 width"], Int[Tensor, "1 width"], int]]:
    """(tokens, positions, how many of them are real) of the passes that read `ids`, each PREFILL_WIDTH wide; padding
    goes to the spare position."""
    if len(ids) > capacity:
        raise ValueError(f"a prompt of {len(ids)} tokens exceeds the session's {capacity} positions.")
    for start in range(0, len(ids), PREFILL_WIDTH):
        chunk = list(ids[start : start + PREFILL_WIDTH])
        padding = PREFILL_WIDTH - len(chunk)
        tokens = torch.tensor([chunk + [chunk[-1]] * padding], device=device)
        positions = torch.tensor([[*range(start, start + len(chunk)), *[capacity] * padding]], device=device)
        yield tokens, positions, len(chunk)
