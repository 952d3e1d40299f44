"""Base and thinking model in step: two caches, one step for all rows.

A step runs the base model's layers 0 ... L once, the thinking model as far as something reads it, and the layers above
L again only where something is steered:
- memory plain: fired rows are run again aside, each slot one row (or one candidate of a row), layer by layer: the
  slots' states of one layer are copied into a scratch cache of that one layer. The rows' own cache keeps the unsteered
  states, and nothing has to be restored.
- memory steered: all rows are run again in place, with zero added where the gate is silent. Where nobody asks for the
  unsteered law, the first pass above L is left out, and steering costs no pass at all.
Every kind of pass has one physical shape, so a row's numbers do not depend on its neighbours.

The two models may be on two devices. What the thinking model reads is put there token by token, and what is read off it
(categories, logits) is brought to the base model's device, where everything else is.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache

from reasoning_lab.engine.policy import Segment, Session
from reasoning_lab.engine.transformers import PREFILL_WIDTH, RowCache, prefill_passes
from reasoning_lab.engine.work import Work
from reasoning_lab.steering.coefficient import Candidates
from reasoning_lab.steering.gate import Place
from reasoning_lab.steering.hybrid.parts import Parts, PromptPair
from reasoning_lab.steering.hybrid.tally import Tally
from reasoning_lab.steering.steering import Steering

FEWEST_SLOTS = 8
"""Slots of a scratch pass where few rows fire; a quarter of the rows if that is more."""


class Reading(NamedTuple):
    """What a watched session saw at one row's last position."""

    category: int
    steered: bool
    coefficient: float
    base_choice: int
    thinking_choice: int


@dataclass
class _Row:
    """What one row's caches hold."""

    ids: list[int] = field(default_factory=list)
    """Base ids read."""
    prompt: PromptPair | None = None
    """Set once the prompt's last token is read."""
    thinking: tuple[int, ...] | None = None
    """Prompt that the thinking cache begins with."""
    categories: list[int] = field(default_factory=list)
    """In force, from the prompt's last token on."""

    @property
    def generated(self) -> int:
        """Tokens read after the prompt."""
        assert self.prompt is not None
        return len(self.ids) - len(self.prompt.base)


class _Saved(NamedTuple):
    """A segment's state; positions count from the segment's start, those of thinking and categories from the first
    one that is not before the prompt's last token."""

    ids: list[int]
    base: Tensor
    streams: Tensor | None
    prompt: PromptPair | None
    thinking: Tensor | None
    categories: list[int]


class HybridSession(Session):
    """Rows of a hybrid model.

    `watch` makes `readings` after every step: both models' choices are then read even where the law needs neither.
    """

    def __init__(self, parts: Parts, rows: int, capacity: int, watch: bool = False) -> None:
        self.rows, self.capacity = rows, capacity
        self.readings: list[Reading | None] = [None] * rows
        """By row; None where a row is idle. Filled by a watched session alone."""
        self._parts, self._watch = parts, watch
        self._base_tally, self._thinking_tally = Tally(rows), Tally(rows)
        self._rows = [_Row() for _ in range(rows)]
        self._device = parts.base.policy.device
        self._all = torch.arange(rows, device=self._device)
        self._thinking_device = parts.thinking.policy.device
        self._all_thinking = self._all.to(self._thinking_device)
        self._thinking_capacity = capacity + longest_extra(parts.prompts.values())
        self._thinking_cache = RowCache.of_model(parts.thinking.policy, rows, self._thinking_capacity)
        self._thinking_prompts: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._base_cache = RowCache.of_model(parts.base.policy, rows, capacity)
        steering = parts.steering
        self._layer, self._last = steering.layer, parts.base.n_layers - 1
        self._n_above = self._last - self._layer
        self._reads_law = parts.reads_thinking_law or watch
        self._depth = parts.thinking.n_layers - 1 if self._reads_law else parts.sae_layer
        if not (self._reads_law or steering.category.scored):
            self._depth = -1
        """Deepest layer of the thinking model that anything depends on; -1: none is run."""
        self._thinking_store = self._thinking_cache.store[: self._depth + 1]
        self._needs_plain = steering.memory == "plain" or parts.reads_thinking_law or watch
        if steering.memory == "plain" and parts.thinking_top_k == 0:
            self._scratch = self._new_scratch()
        wide = steering.window != 1 or (isinstance(steering.coefficient, Candidates) and steering.coefficient.wide)
        shape = (rows, capacity + 1, parts.base.width)
        self._streams = torch.zeros(shape, dtype=parts.base.policy.dtype, device=self._device) if wide else None
        """Base streams at the steering layer, which no steering changes; kept where windows run positions again."""

    def _new_scratch(self) -> RowCache:
        """Slots of one layer, which stands for each of those above the steering layer in turn."""
        n = slots_of(self._parts.steering, self.rows)
        _, two, _, *rest = self._base_cache.store.shape
        scratch = RowCache(self._base_cache.store.new_zeros((1, two, n, *rest)))
        scratch.layers = Cache(layers=scratch.layers.layers * (self._last + 1))
        return scratch

    @property
    def passed(self) -> Work:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As Session.passed."""
        return Work(*self._base_tally.passed, *self._thinking_tally.passed)

    def prompt_work(self, prompt: Sequence[int]) -> Work:
        """As Session.prompt_work, for both models' prompts."""
        pair = self._parts.prompts.get(tuple(prompt))
        theirs = (len(pair.thinking) - 1) * (self._depth + 1) if pair else 0
        return Work(prefill=(len(prompt) - 1) * self._parts.base.n_layers, thinking_prefill=theirs)

    def step_work(self, row: int) -> Work:
        """As Session.step_work: a second pass, and one for each candidate, where the row asked for them."""
        return Work(0, *self._base_tally.of_row(row), 0, *self._thinking_tally.of_row(row))

    # -- reading -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def prefill(self, row: int, ids: Sequence[int]) -> None:
        """As Session.prefill, for the base model; the thinking model's prompt is read when the base's is complete."""
        held, base = self._rows[row], self._parts.base
        held.ids, held.prompt = list(ids), None
        for tokens, positions, n in prefill_passes(ids, self.capacity, self._device):
            mask = self._base_cache.aim(self._all[row : row + 1], positions)
            cache = self._base_cache.layers
            hidden = base.layers(base.embed(tokens), 0, self._layer, positions, mask, cache)
            if self._streams is not None:
                self._streams[row, positions[0, :n]] = hidden[0, :n]
            base.layers(hidden, self._layer + 1, self._last, positions, mask, cache)
            self._base_tally.read(tokens.numel() * base.n_layers)

    def _hold_thinking_prompt(self, row: int, ids: tuple[int, ...]) -> None:
        """State of all tokens but the last of a thinking prompt: left, copied, or read."""
        held, thinking, cache = self._rows[row], self._parts.thinking, self._thinking_cache
        if self._depth < 0 or held.thinking == ids:
            return
        held.thinking, n = ids, len(ids) - 1
        if (saved := self._thinking_prompts.get(ids)) is not None:
            self._thinking_prompts.move_to_end(ids)
            self._thinking_store[:, :, row, :, :n] = saved
            return
        for tokens, positions, _ in prefill_passes(ids[:n], self._thinking_capacity, self._thinking_device):
            mask = cache.aim(self._all_thinking[row : row + 1], positions)
            thinking.layers(thinking.embed(tokens), 0, self._depth, positions, mask, cache.layers)
            self._thinking_tally.read(tokens.numel() * (self._depth + 1))
        self._thinking_prompts[ids] = self._thinking_store[:, :, row, :, :n].clone()
        if len(self._thinking_prompts) > 2 * self.rows:
            self._thinking_prompts.popitem(last=False)

    @torch.inference_mode()
    def step(self, ids: Sequence[int], positions: Sequence[int]) -> Float[Tensor, "row vocab"]:
        """As Session.step."""
        live = [self._follow(row, id, position) for row, (id, position) in enumerate(zip(ids, positions, strict=True))]
        picked, thinking = self._think(live)
        base = _Pass(self._parts, self._base_cache, self._all, self._column(ids), self._column(positions))
        stream = base.up(base.embedded, 0, self._layer)
        _tell(self._base_tally, live, self._layer + 1, 0)
        if self._streams is not None:
            self._streams[self._all, base.positions[:, 0]] = stream[:, 0]
        plain = self._above(base, stream, live) if self._needs_plain else None
        places = self._places(live, picked, plain, thinking)
        categories = [0 if place is None else self._parts.category(place) for place in places]
        fired = [place is not None and self._parts.steering.gate.fires(place) for place in places]
        for row, category, place in zip(self._rows, categories, places, strict=True):
            if place is not None:
                row.categories[place.position :] = [category]
        chosen = torch.tensor(categories, device=self._device)
        logits, coefficients = self._steered(base, stream, plain, thinking, chosen, fired)
        if self._watch:
            self._take_readings(places, plain, thinking, categories, fired, coefficients)
        return logits

    def _above(self, base: "_Pass", stream: Tensor, asked: Sequence[bool]) -> Float[Tensor, "row vocab"]:
        """Logits of all rows from their streams at the steering layer; whose law needs this pass has asked for it."""
        _tell(self._base_tally, asked, self._n_above, 1)
        return base.logits(base.up(stream, self._layer + 1, self._last))

    def _column(self, values: Sequence[int], device: torch.device | None = None) -> Int[Tensor, "row 1"]:
        return torch.tensor(values, device=device or self._device)[:, None]

    def _follow(self, row: int, id: int, position: int) -> bool:
        """Note what a row reads; whether it is at work (a dummy at position 0 of no prompt is not)."""
        held = self._rows[row]
        held.ids[position:] = [id]
        if len(held.ids) != position + 1:
            raise ValueError(f"row {row}: position {position} is read, but only {len(held.ids) - 1} before it were.")
        if held.prompt is None or position < len(held.prompt.base):
            held.prompt = self._parts.prompts.get(tuple(held.ids))
        if held.prompt is not None:
            self._hold_thinking_prompt(row, held.prompt.thinking)
        elif position > 0:
            raise ValueError(
                f"row {row}: {position + 1} tokens were read that are no registered prompt; give HybridPolicy every "
                "base prompt with its thinking prompt in `prompts`."
            )
        return held.prompt is not None

    def _think(self, live: list[bool]) -> tuple[Tensor | None, Tensor | None]:
        """(argmax category by row, thinking logits), each None where nothing reads it."""
        if self._depth < 0:
            return None, None
        ids, positions = zip(*map(self._thinking_token, self._rows, live), strict=True)
        parts = self._parts
        columns = (self._column(values, self._thinking_device) for values in (ids, positions))
        at = _Pass(parts, self._thinking_cache, self._all_thinking, *columns, thinking=True)
        stream = at.up(at.embedded, 0, parts.sae_layer)
        _tell(self._thinking_tally, live, self._depth + 1, int(self._reads_law))
        picked = parts.picked(stream[:, 0].to(self._device)) if parts.steering.category.scored else None
        if not self._reads_law:
            return picked, None
        return picked, at.logits(at.up(stream, parts.sae_layer + 1, self._depth)).to(self._device)

    def _thinking_token(self, held: _Row, live: bool) -> tuple[int, int]:
        """The thinking model's token and position; an idle row's dummy goes to the spare position."""
        if not live or held.prompt is None:
            return 0, self._thinking_capacity
        position = len(held.prompt.thinking) - 1 + held.generated
        if held.generated == 0:
            return held.prompt.thinking[-1], position
        return self._parts.vocabulary.to_thinking[held.ids[-1]], position

    def _places(
        self, live: list[bool], picked: Tensor | None, plain: Tensor | None, thinking: Tensor | None
    ) -> list[Place | None]:
        """Each live row's place."""
        compares = self._parts.steering.gate.compares
        base_choices = plain.argmax(-1) if compares and plain is not None else None
        thinking_choices = self._parts.thinking_choices(thinking) if compares and thinking is not None else None
        picks, ours, theirs = _lists((picked, base_choices, thinking_choices), (0, -1, -1), self.rows)
        return [
            self._place(held, *values) if is_live else None
            for held, is_live, *values in zip(self._rows, live, picks, ours, theirs, strict=True)
        ]

    def _place(self, held: _Row, picked: int, base_choice: int, thinking_choice: int) -> Place:
        assert held.prompt is not None
        at = held.generated
        before = held.categories[at - 1] if at else 0
        ends = at == 0 or held.ids[-1] in self._parts.ends
        return Place(held.prompt.digest, at, ends, picked, before, base_choice, thinking_choice)

    # -- steering ------------------------------------------------------------------------------------------------

    def _steered(
        self,
        base: "_Pass",
        stream: Tensor,
        plain: Tensor | None,
        thinking: Tensor | None,
        categories: Int[Tensor, " row"],
        fired: list[bool],
    ) -> tuple[Tensor, list[float]]:
        """(logits of all rows, coefficients by row)."""
        parts = self._parts
        none = [0.0] * self.rows
        if plain is not None and not any(fired):
            return plain, none
        if parts.thinking_top_k:
            assert plain is not None and thinking is not None
            at = torch.tensor(fired, device=self._device)[:, None]
            return torch.where(at, parts.thinking_law(plain, thinking), plain), none
        if parts.steering.chooses_tokens:
            assert plain is not None and thinking is not None
            return self._chosen(stream, base.positions, plain, thinking, categories, fired)
        factors = parts.factors(stream[:, 0], categories) * torch.tensor(fired, device=self._device)
        added = (factors[:, None] * parts.table[categories]).to(stream.dtype)
        coefficients = factors.tolist() if self._watch else none
        if parts.steering.memory == "steered":
            asked = fired if self._needs_plain else [True] * self.rows
            return self._above(base, stream + added[:, None], asked), coefficients
        assert plain is not None
        rows = [row for row, fires in enumerate(fired) if fires]
        logits = plain.clone()
        logits[rows] = self._aside(stream, base.positions, rows, added[rows], parts.steering.window)
        return logits, coefficients

    def _chosen(
        self,
        stream: Tensor,
        positions: Int[Tensor, "row 1"],
        plain: Tensor,
        thinking: Tensor,
        categories: Int[Tensor, " row"],
        fired: list[bool],
    ) -> tuple[Tensor, list[float]]:
        """As _steered, the thinking model choosing among each fired row's candidates."""
        parts = self._parts
        rule = parts.steering.coefficient
        assert isinstance(rule, Candidates)
        tried: dict[tuple[int, float, int], int] = {}
        slots = [(row, value) for row, fires in enumerate(fired) if fires for value in rule.values]
        rows = [row for row, _ in slots]
        values = torch.tensor([value for _, value in slots], dtype=parts.table.dtype, device=self._device)
        added = (values[:, None] * parts.table[categories[rows]]).to(stream.dtype)
        for window in rule.windows:
            tokens = self._aside(stream, positions, rows, added, window).argmax(-1).tolist()
            tried |= {(row, value, window): token for (row, value), token in zip(slots, tokens, strict=True)}
        logits, coefficients = plain.clone(), [0.0] * self.rows
        own, theirs = plain.argmax(-1).tolist(), parts.in_base_ids(thinking)
        for row in dict.fromkeys(rows):
            candidates = [tried[row, value, window] for value, window in rule.pairs]
            _, coefficients[row], logits[row] = parts.choose(own[row], candidates, theirs[row].to(plain.dtype))
        return logits, coefficients

    def _aside(
        self,
        stream: Tensor,
        positions: Int[Tensor, "row 1"],
        rows: list[int],
        added: Float[Tensor, "slot d"],
        window: int,
    ) -> Float[Tensor, "slot vocab"]:
        """Logits at the last position of `rows` with `added` on the stream at their last `window` positions (0: all),
        run in the scratch cache; the rows' own states stay as they are."""
        n = self._scratch.store.shape[2]
        logits = [
            self._chunk(stream, positions, rows[at : at + n], added[at : at + n], window)
            for at in range(0, len(rows), n)
        ]
        return torch.cat(logits)

    def _chunk(
        self,
        stream: Tensor,
        positions: Int[Tensor, "row 1"],
        rows: list[int],
        added: Float[Tensor, "slot d"],
        window: int,
    ) -> Float[Tensor, "slot vocab"]:
        """As _aside, for at most as many rows as there are slots; windows end in the last column of the last pass."""
        scratch, parts = self._scratch, self._parts
        n, used = scratch.store.shape[2], len(rows)
        slots = torch.arange(n, device=self._device)
        index = torch.tensor(rows + [0] * (n - used), device=self._device)
        added = torch.cat((added, added.new_zeros(n - used, added.shape[1])))
        last = torch.where(slots < used, positions[index, 0], -1)[:, None]
        width, passes = _passes(window, int(last.max()) + 1)
        self._tell_aside(rows, last[:used, 0].tolist(), window, n * width * passes)
        columns, hidden = [], []
        for back in reversed(range(passes)):
            wanted = last - back * width - torch.arange(width - 1, -1, -1, device=self._device)
            inside = (wanted >= 0) & ((wanted > last - window) if window else (wanted <= last))
            columns.append(at := torch.where(inside, wanted, self.capacity))
            own = stream[index] if window == 1 or self._streams is None else self._streams[index[:, None], at]
            hidden.append(own + added[:, None] * inside[:, :, None])
        for layer in range(self._layer + 1, self._last + 1):
            torch.index_select(self._base_cache.store[layer], 1, index, out=scratch.store[0])
            for number, at in enumerate(columns):
                mask = scratch.aim(slots, at)
                hidden[number] = parts.base.layers(hidden[number], layer, layer, at, mask, scratch.layers)
        return parts.base.head(hidden[-1][:, -1:])[:used, 0]

    def _tell_aside(self, rows: list[int], last: list[int], window: int, run: int) -> None:
        """Count a pass aside: of each row's text up to position `last` the window, of which one token has logits."""
        for row, position in zip(rows, last, strict=True):
            inside = min(window, position + 1) if window else position + 1
            self._base_tally.need(row, inside * self._n_above, 1)
        self._base_tally.run(run * self._n_above, self._scratch.store.shape[2])

    def _take_readings(
        self,
        places: list[Place | None],
        plain: Tensor | None,
        thinking: Tensor | None,
        categories: list[int],
        fired: list[bool],
        coefficients: list[float],
    ) -> None:
        assert plain is not None and thinking is not None
        ours = plain.argmax(-1).tolist()
        theirs = self._parts.thinking_choices(thinking).tolist()
        self.readings = [
            None if place is None else Reading(*values)
            for place, *values in zip(places, categories, fired, coefficients, ours, theirs, strict=True)
        ]

    # -- going back ----------------------------------------------------------------------------------------------

    def save(self, row: int, start: int, stop: int) -> Segment:
        """As Session.save; a thinking prompt is not part of it."""
        held = self._rows[row]
        base = self._base_cache.store[:, :, row, :, start:stop].clone()
        streams = None if self._streams is None else self._streams[row, start:stop].clone()
        prompt, thinking, categories = held.prompt, None, []
        if prompt is None or stop < len(prompt.base):
            prompt = None
        else:
            first = max(start, len(prompt.base) - 1)
            shift = len(prompt.thinking) - len(prompt.base)
            thinking = self._thinking_store[:, :, row, :, first + shift : stop + shift].clone()
            offset = len(prompt.base) - 1
            categories = held.categories[first - offset : stop - offset]
        return Segment(start, stop, _Saved(held.ids[start:stop], base, streams, prompt, thinking, categories))

    def load(self, row: int, segment: Segment, start: int, stop: int) -> None:
        """As Session.load."""
        held, saved, offset = self._rows[row], segment.state, segment.start
        if len(held.ids) < start:
            raise ValueError(f"row {row}: position {start} is loaded, but only {len(held.ids)} are held.")
        held.ids[start:] = saved.ids[start - offset : stop - offset]
        self._base_cache.store[:, :, row, :, start:stop] = saved.base[:, :, :, start - offset : stop - offset]
        if self._streams is not None:
            self._streams[row, start:stop] = saved.streams[start - offset : stop - offset]
        if saved.prompt is None or stop < len(saved.prompt.base):
            if held.prompt is not None and start < len(held.prompt.base):
                held.prompt = None
            return
        held.prompt = prompt = saved.prompt
        self._hold_thinking_prompt(row, prompt.thinking)
        end = len(prompt.base) - 1
        first, origin = max(start, end), max(offset, end)
        shift = len(prompt.thinking) - len(prompt.base)
        here, there = slice(first + shift, stop + shift), slice(first - origin, stop - origin)
        self._thinking_store[:, :, row, :, here] = saved.thinking[:, :, :, there]
        held.categories[first - end :] = saved.categories[there]


class _Pass:
    """One token in every row, read by one of the models."""

    def __init__(
        self,
        parts: Parts,
        cache: RowCache,
        rows: Tensor,
        tokens: Int[Tensor, "row 1"],
        positions: Int[Tensor, "row 1"],
        thinking: bool = False,
    ) -> None:
        self._decoder = parts.thinking if thinking else parts.base
        self._cache, self.positions = cache, positions
        self._mask = cache.aim(rows, positions)
        self.embedded = self._decoder.embed(tokens)

    def up(self, hidden: Tensor, first: int, last: int) -> Tensor:
        """The stream after layer `last`, keys and values written on the way."""
        return self._decoder.layers(hidden, first, last, self.positions, self._mask, self._cache.layers)

    def logits(self, hidden: Tensor) -> Float[Tensor, "row vocab"]:
        """Of the stream after the last layer."""
        return self._decoder.head(hidden)[:, 0]


def _tell(tally: Tally, asked: Sequence[bool], layers: int, heads: int) -> None:
    """Count a pass of one token in every row through some layers, for the rows that asked for it."""
    for row, asks in enumerate(asked):
        if asks:
            tally.need(row, layers, heads)
    tally.run(len(asked) * layers, len(asked) * heads)


def slots_of(steering: Steering, rows: int) -> int:
    """Slots of a pass aside: all rows where everything fires, else some of them, and the rest in further passes."""
    return rows if steering.gate.everywhere else max(FEWEST_SLOTS, rows // 4)


def longest_extra(prompts: Iterable[PromptPair]) -> int:
    """Most tokens by which a thinking prompt is longer than its base prompt; at least 0."""
    return max((0, *(len(pair.thinking) - len(pair.base) for pair in prompts)))


def _passes(window: int, longest: int) -> tuple[int, int]:
    """(width, number) of the passes that run a window's positions again; the width does not depend on the rows."""
    width = PREFILL_WIDTH if window == 0 else min(window, PREFILL_WIDTH)
    positions = longest if window == 0 else min(window, longest)
    return width, -(-positions // width)


def _lists(columns: tuple[Tensor | None, ...], defaults: tuple[int, ...], n: int) -> list[list[int]]:
    """Columns on the host in one transfer; `default` n times for a missing one."""
    present = [column for column in columns if column is not None]
    values = iter(torch.stack(present).tolist() if present else [])
    return [
        [default] * n if column is None else next(values) for column, default in zip(columns, defaults, strict=True)
    ]
