"""Many Top-K autoencoders trained together: every number of clusters, seed and layer in one bank.

What is trained is defined in `definition`; the bank equals it up to rounding. With W the decoder, y = W (u - b_dec),
a the kept latents and G = W Wᵀ,

    |u - û|² = |u - b_dec|² - 2 a·y + aᵀ G a,

so no reconstruction is ever formed: a step is one product of the batch with all encoders and decoders of a group, one
product back for all their gradients, and n × n products per autoencoder. |u|², the batch's sum and its variance are
shared. Derivatives are written out; with T = y - G a (what the decoder sees of the residual), V the batch's variance
and a sum over its rows, the loss L = Σ |u - û|² / V has

    -(V/2) dL/dW_enc = Σ mask(T) (u - b_dec)ᵀ       -(V/2) dL/db_enc = Σ mask(T)
    -(V/2) dL/dW_dec = Σ a (u - b_dec)ᵀ - (Σ a aᵀ) W
    -(V/2) dL/db_dec = Σ (u - b_dec) - Wᵀ Σ a - W_encᵀ Σ mask(T).

The identity loses digits where the loss is below some 1e-5 in float32. A *group* is one layer's activations with one
seed: its autoencoders see the same batches. Layouts put latents before sentences, [group, latent, sentence], so that
reductions over latents run along whole rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from math import isfinite

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasoning_lab.taxonomy.clusterings import Fit
from reasoning_lab.taxonomy.clusters import Normaliser, TopKClusters, unit
from reasoning_lab.taxonomy.sae.definition import TopKHyperparameters, batch_orders, data_split, initial_encoder

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Adam's, as torch has them."""
FAR = 1e30
"""Subtracted from latents that are out of the race."""
CHUNK = 4096
"""Sentences that are evaluated at once."""


# --- before and after ---------------------------------------------------------------------------------------------


def normalised_rows(x: Float[Tensor, "*layer m d"], mean: Float[Tensor, "*layer d"]) -> tuple[Normaliser, Tensor]:
    """The normaliser at training precision and the sentences that it gives."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    normaliser = Normaliser(mean.to(dtype))
    return normaliser, normaliser(x)


def fit_of(
    sae: TopKHyperparameters,
    normaliser: Normaliser,
    u: Float[Tensor, "m d"],
    weights: Sequence[Tensor],
    losses: Sequence[float],
    validation_losses: Sequence[float],
    best_epoch: int,
) -> Fit:
    """The fit of trained weights (encoder, its bias, decoder, its bias), with its dead latents counted on `u`."""
    clusters = TopKClusters(normaliser, *(w.detach().clone() for w in weights), k=sae.k)
    labelled = torch.zeros(clusters.n_clusters, dtype=torch.bool, device=u.device)
    active = torch.zeros_like(labelled)
    for chunk in u.split(CHUNK):
        z = clusters.scores(chunk, normalise=False)
        labelled[z.argmax(-1)] = True
        largest = TopK(Layout([z.shape[1]], u.shape[1], u), 1, len(z), sae.k, z)
        active |= largest(z.T.contiguous()[None])[0].amax(-1) > 0
    dead, silent = (clusters.n_clusters - int(seen.sum()) for seen in (labelled, active))
    return Fit(clusters, dead, silent, tuple(losses), tuple(validation_losses), best_epoch)


# --- the bank -----------------------------------------------------------------------------------------------------


class Layout:
    """Where the autoencoders of a group lie in one flat vector of parameters.

    The vector is: encoder rows of all autoencoders, then all decoder rows, then the encoder biases, then the decoder
    biases, each in the order of `sizes`.
    """

    def __init__(self, sizes: Sequence[int], d: int, like: Tensor) -> None:
        self.sizes, self.d, self.n = list(sizes), d, sum(sizes)
        self.spans = list(pairwise(accumulate(sizes, initial=0)))
        self.owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(self.sizes)).to(like.device)
        rows, own = self.owner.repeat(2), torch.arange(len(sizes), device=like.device)
        self.element_owner = torch.cat((rows.repeat_interleave(d), self.owner, own.repeat_interleave(d)))
        self.indicator = torch.nn.functional.one_hot(rows, len(sizes)).T.to(like.dtype).contiguous()
        """1 where row i of (encoders, decoders) belongs to autoencoder s."""

    def parts(self, flat: Float[Tensor, "group p"]) -> tuple[Tensor, Tensor, Tensor]:
        """Views of the vectors: rows [group, 2 n, d], encoder biases [group, n], decoder biases [group, size, d]."""
        n_rows = 2 * self.n * self.d
        rows = flat[:, :n_rows].view(-1, 2 * self.n, self.d)
        return rows, flat[:, n_rows : n_rows + self.n], flat[:, n_rows + self.n :].view(-1, len(self.sizes), self.d)

    def weights(self, flat: Float[Tensor, " p"], size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encoder, its bias, decoder, its bias of the `size`-th autoencoder."""
        rows, encoder_bias, decoder_bias = (part[0] for part in self.parts(flat[None]))
        start, stop = self.spans[size]
        decoder = rows[self.n + start : self.n + stop]
        return rows[start:stop], encoder_bias[start:stop], decoder, decoder_bias[size]


class TopK:
    """Finds the k largest latents of every autoencoder for every sentence; its buffers serve call after call."""

    def __init__(self, layout: Layout, n_groups: int, n_rows: int, k: int, like: Tensor) -> None:
        self.layout, self.k = layout, k
        self.chosen = like.new_empty(n_groups, layout.n, n_rows)
        self.scratch = torch.empty_like(self.chosen)
        self.highest = like.new_empty(n_groups, len(layout.sizes), n_rows)

    def __call__(self, z: Float[Tensor, "group latent b"]) -> Float[Tensor, "group latent b"]:
        """1 where a latent is among the k largest, else 0; ties to the lower latent. The next call overwrites it.

        k rounds of a maximum over latents find the k-th largest value; only where ties leave more than k latents at or
        above it are latents sorted.
        """
        remaining = z
        for turn in range(self.k):
            if turn > 0:
                remaining = torch.add(z, self.chosen, alpha=-FAR, out=self.scratch)
            for i, (start, stop) in enumerate(self.layout.spans):
                torch.amax(remaining[:, start:stop], dim=1, out=self.highest[:, i])
            torch.index_select(self.highest, 1, self.layout.owner, out=self.scratch)
            torch.ge(z, self.scratch, out=self.chosen)
        if float(self.chosen.sum()) != self.k * self.highest.numel():
            self._sort(z)
        return self.chosen

    def _sort(self, z: Float[Tensor, "group latent b"]) -> None:
        self.chosen.zero_()
        for start, stop in self.layout.spans:
            order = z[:, start:stop].sort(dim=1, descending=True, stable=True).indices[:, : self.k]
            self.chosen[:, start:stop].scatter_(1, order, 1.0)


class SentenceBatch:
    """Sentences of each group, with what all its autoencoders share."""

    def __init__(self, u: Float[Tensor, "group b d"]) -> None:
        self.u, self.n_rows = u, u.shape[1]
        self.sum: Float[Tensor, "group d"] = u.sum(1)
        self.square: Float[Tensor, " group"] = u.square().sum((1, 2))


def bounded_variance(
    square: Float[Tensor, " group"], total: Float[Tensor, "group d"], n: int
) -> Float[Tensor, " group"]:
    """Σ |u - ū|² of n rows from Σ |u|² and Σ u, at least 1e-6 n: equal rows have no variance to explain."""
    return (square - total.square().sum(-1) / n).clamp_min(1e-6 * n)


class Own:
    """One autoencoder's part of a pass's buffers."""

    def __init__(self, run: Pass, start: int, stop: int) -> None:
        n = run.layout.n
        self.decoder = run.rows[:, n + start : n + stop]
        self.decoder_t = self.decoder.transpose(1, 2)
        self.a = run.a[:, start:stop]
        self.a_t = self.a.transpose(1, 2)
        self.through = run.through[:, start:stop]
        self.gram, self.moments = (run.a.new_empty(len(run.a), stop - start, stop - start) for _ in range(2))
        self.decoder_gradient = run.row_gradients[:, n + start : n + stop]


class Pass:
    """Errors and gradients of every autoencoder on batches of one size.

    It holds views of the parameters, which change under it, and of buffers that it overwrites batch after batch: fresh
    memory and fresh views would cost as much as the arithmetic.
    """

    def __init__(self, layout: Layout, flat: Float[Tensor, "group p"], gradient: Tensor, n_rows: int, k: int) -> None:
        n, groups = layout.n, len(flat)
        self.layout = layout
        self.rows, self.encoder_bias, self.decoder_bias = layout.parts(flat)
        self.row_gradients, self.encoder_bias_gradient, self.decoder_bias_gradient = layout.parts(gradient)
        self.products = flat.new_empty(groups, 2 * n, n_rows)
        """Encoders and decoders times the batch, [z; y]; turned in place into [a; mask(T)]."""
        self.a, self.seen = self.products[:, :n], self.products[:, n:]
        self.through = flat.new_empty(groups, n, n_rows)
        """G a."""
        self.top_k = TopK(layout, groups, n_rows, k, flat)
        self.own = [Own(self, start, stop) for start, stop in layout.spans]

    def forward(
        self, batch: SentenceBatch, dead: Float[Tensor, "group latent"] | None = None
    ) -> Float[Tensor, "group size"]:
        """Σ |u - û|² of each autoencoder; leaves behind what `descend` needs.

        With `dead` latents (1, living ones 0) it also finds their own k largest and what they leave of the residual.
        """
        layout, n = self.layout, self.layout.n
        # The decoder bias is taken off the input: what each row sees of that.
        shift = (self.rows @ self.decoder_bias.transpose(1, 2)).mul_(layout.indicator.T).sum(-1).neg_()
        shift[:, :n] += self.encoder_bias
        torch.bmm(self.rows, batch.u.transpose(1, 2), out=self.products)
        self.products += shift[..., None]
        self.mask = self.top_k(self.a)
        z = None if dead is None else self.a.clone()
        self.a *= self.mask
        for own in self.own:
            torch.bmm(own.decoder, own.decoder_t, out=own.gram)
            torch.bmm(own.gram, own.a, out=own.through)
        self.seen -= self.through
        self.revived = None if z is None or dead is None else self._revive(z, dead)
        explained = self.through.add_(self.seen, alpha=2).mul_(self.a).sum(-1) @ layout.indicator[:, :n].T
        self.seen *= self.mask
        bias = self.decoder_bias
        centred = batch.square[:, None] - 2 * (bias * batch.sum[:, None]).sum(-1) + batch.n_rows * bias.square().sum(-1)
        return centred - explained

    def _revive(self, z: Float[Tensor, "group latent b"], dead: Float[Tensor, "group latent"]) -> tuple[Tensor, Tensor]:
        """The k largest dead latents a', and what they see of the residual that they leave, mask'(T - G a')."""
        # Living latents are put out of reach, each at a height of its own: no tie among them is worth a sort.
        height = 2 + torch.arange(self.layout.n, device=dead.device) / self.layout.n
        candidates = z - (FAR * (1 - dead) * height)[..., None].to(z.dtype)
        mask = TopK(self.layout, len(z), z.shape[2], self.top_k.k, z)(candidates) * dead[..., None]
        revived = z * mask
        left = self.seen.clone()
        for own, (i, j) in zip(self.own, self.layout.spans, strict=True):
            left[:, i:j] -= own.gram @ revived[:, i:j]
        return revived, left * mask

    def descend(self, batch: SentenceBatch, auxiliary_weight: float) -> None:
        """Write -(V/2) times the loss's gradient into the gradient's buffer."""
        layout, n = self.layout, self.layout.n
        used, seen = self.a, self.seen
        if self.revived is not None:
            used, seen = (x.add(r, alpha=auxiliary_weight) for x, r in zip((used, seen), self.revived, strict=True))
        torch.bmm(seen, batch.u, out=self.row_gradients[:, :n])
        torch.bmm(used, batch.u, out=self.row_gradients[:, n:])
        totals = torch.cat((seen.sum(-1), used.sum(-1)), dim=-1)
        self.row_gradients.baddbmm_((totals[:, None] * layout.indicator).transpose(1, 2), self.decoder_bias, alpha=-1)
        for own, (i, j) in zip(self.own, layout.spans, strict=True):
            torch.bmm(own.a, own.a_t, out=own.moments)
            if self.revived is not None:
                revived = self.revived[0][:, i:j]
                own.moments.baddbmm_(revived, (own.a + revived).transpose(1, 2), alpha=auxiliary_weight)
            own.decoder_gradient.baddbmm_(own.moments, own.decoder, alpha=-1)
        self.encoder_bias_gradient.copy_(totals[:, :n])
        # The residual that revived latents reconstruct is held fixed, so they do not move the decoder's bias.
        totals[:, n:] = self.a.sum(-1)
        torch.sub(batch.sum[:, None], self.decoder_bias, alpha=batch.n_rows, out=self.decoder_bias_gradient)
        self.decoder_bias_gradient.baddbmm_(totals[:, None] * layout.indicator, self.rows, alpha=-1)


class Bank:
    """What training changes: the parameters of every autoencoder with Adam's moments, and which of them still learn."""

    def __init__(
        self, layout: Layout, flat: Float[Tensor, "group p"], rates: Float[Tensor, " size"], sae: TopKHyperparameters
    ) -> None:
        self.layout, self.flat, self.rates, self.sae = layout, flat, rates, sae
        self.first, self.second, self.gradient, self.scratch = (torch.zeros_like(flat) for _ in range(4))
        self.live: Bool[Tensor, "group size"] = torch.ones(
            len(flat), len(layout.sizes), dtype=torch.bool, device=flat.device
        )
        self.dead: Float[Tensor, "group latent"] | None = None
        """1 for latents in no top-k of the last epoch; None without an auxiliary loss, or before it can tell."""
        self.n_steps = 0
        self._passes: dict[int, Pass] = {}

    def run(self, n_rows: int) -> Pass:
        """The pass for batches of `n_rows`."""
        if n_rows not in self._passes:
            self._passes[n_rows] = Pass(self.layout, self.flat, self.gradient, n_rows, self.sae.k)
        return self._passes[n_rows]

    def errors(self, batch: SentenceBatch) -> Float[Tensor, "group size"]:
        """Σ |u - û|² of each autoencoder."""
        return self.run(batch.n_rows).forward(batch)

    def step(self, batch: SentenceBatch) -> tuple[Float[Tensor, "group size"], Float[Tensor, "group latent b"]]:
        """One step of every live autoencoder; the losses before it, and 1 where a latent was used."""
        run, variance = self.run(batch.n_rows), bounded_variance(batch.square, batch.sum, batch.n_rows)[:, None]
        losses = run.forward(batch, self.dead) / variance
        run.descend(batch, self.sae.auxiliary_weight)
        self.gradient.mul_(-2 / variance)
        self._adam()
        decoder = run.rows[:, self.layout.n :]
        decoder /= decoder.norm(dim=-1, keepdim=True)
        return losses, run.mask

    def _adam(self) -> None:
        """Adam (Kingma & Ba 2015, algorithm 1) with a learning rate per autoencoder, 0 for those that have stopped."""
        self.n_steps += 1
        self.first.lerp_(self.gradient, 1 - BETAS[0])
        self.second.mul_(BETAS[1]).addcmul_(self.gradient, self.gradient, value=1 - BETAS[1])
        torch.sqrt(self.second, out=self.scratch).div_((1 - BETAS[1] ** self.n_steps) ** 0.5).add_(EPSILON)
        torch.div(self.first, self.scratch, out=self.scratch)
        rates = (self.rates * self.live / (1 - BETAS[0] ** self.n_steps)).to(self.flat.dtype)
        self.flat.addcmul_(self.scratch, rates.index_select(1, self.layout.element_owner), value=-1)

    def kept(self, groups: Int[Tensor, " g"], sizes: Int[Tensor, " s"]) -> Bank:
        """The bank of some groups and some sizes alone."""
        old = self.layout
        elements = torch.isin(old.element_owner, sizes).nonzero()[:, 0]
        latents = torch.isin(old.owner, sizes).nonzero()[:, 0]
        layout = Layout([old.sizes[i] for i in sizes.tolist()], old.d, self.flat)
        flat, first, second = (t[groups][:, elements].contiguous() for t in (self.flat, self.first, self.second))
        bank = Bank(layout, flat, self.rates[sizes], self.sae)
        bank.first, bank.second, bank.n_steps, bank.live = first, second, self.n_steps, self.live[groups][:, sizes]
        bank.dead = None if self.dead is None else self.dead[groups][:, latents]
        return bank


class Course:
    """Losses and best weights of one autoencoder."""

    def __init__(self, sae: TopKHyperparameters) -> None:
        self.sae = sae
        self.losses: list[float] = []
        self.validation_losses: list[float] = []
        self.best_epoch = 0
        self.weights: tuple[Tensor, ...] = ()

    def note(self, loss: float, validation_loss: float | None) -> bool:
        """Take in an epoch; True if it is the best so far."""
        self.losses.append(loss)
        if validation_loss is not None:
            self.validation_losses.append(validation_loss)
        watched = self.losses if self.sae.early_stop_on == "train" else self.validation_losses
        if len(watched) > 1 and not watched[-1] < watched[self.best_epoch]:
            return False
        self.best_epoch = len(watched) - 1
        return True

    @property
    def stopped(self) -> bool:
        """Whether the last `patience` epochs brought nothing, or the epochs are over."""
        n = len(self.losses)
        return n - 1 - self.best_epoch >= self.sae.patience or n == self.sae.max_epochs


Cell = tuple[int, int, int]
"""Layer index, seed, number of latents."""


def fit_grid(
    sae: TopKHyperparameters,
    x: Float[Tensor, "layer m d"],
    means: Float[Tensor, "layer _"],
    sizes: Sequence[int],
    seeds: Sequence[int],
) -> dict[Cell, Fit]:
    """Train an autoencoder for every layer, seed and size at once, on the raw activations of the same m sentences.

    Each equals the training of its layer, seed and size alone up to rounding, whoever its neighbours are: starts and
    batches depend on (seed, size) alone, an autoencoder that has stopped stands still, and one that has stopped in
    every group leaves the bank. Memory: the normalised activations once, and per latent and group some
    5 (2 d + batch size + rows of a validation chunk) numbers.
    Errors: those of TopKHyperparameters.check; FloatingPointError where a loss is no longer finite.
    """
    sizes, seeds = list(dict.fromkeys(sizes)), list(dict.fromkeys(seeds))
    for layer in range(len(x)):
        sae.check(x[layer], means[layer], sizes)
    if not seeds:
        raise ValueError("seeds is empty: name at least one.")
    layers = [normalised_rows(x[layer], means[layer]) for layer in range(len(x))]
    u = torch.stack([rows for _, rows in layers])
    cells = [[(layer, seed, n) for n in sizes] for layer in range(len(x)) for seed in seeds]
    courses = {cell: Course(sae) for group in cells for cell in group}
    _train(sae, u, cells, courses)
    return {
        cell: fit_of(sae, layers[cell[0]][0], u[cell[0]], p.weights, p.losses, p.validation_losses, p.best_epoch)
        for cell, p in courses.items()
    }


def _train(
    sae: TopKHyperparameters, u: Float[Tensor, "layer m d"], cells: list[list[Cell]], courses: dict[Cell, Course]
) -> None:
    """Epochs until every cell has stopped; groups and sizes that are done leave the bank."""
    bank = _initial_bank(sae, u, cells)
    for epoch in range(sae.max_epochs):
        losses = _epoch(bank, u, cells, epoch)
        held_out = _validation(bank, u, cells)
        for g, group in enumerate(cells):
            for s, cell in enumerate(group):
                if not bank.live[g, s]:
                    continue
                _check_loss(losses[g][s], cell, epoch, sae)
                if courses[cell].note(losses[g][s], None if held_out is None else held_out[g][s]):
                    courses[cell].weights = tuple(w.clone() for w in bank.layout.weights(bank.flat[g], s))
                bank.live[g, s] = not courses[cell].stopped
        if not bank.live.any():
            return
        groups, sizes = bank.live.any(1).nonzero()[:, 0], bank.live.any(0).nonzero()[:, 0]
        if len(groups) * len(sizes) < bank.live.numel():
            bank = bank.kept(groups, sizes)
            cells = [[cells[g][s] for s in sizes.tolist()] for g in groups.tolist()]


def _initial_bank(sae: TopKHyperparameters, u: Float[Tensor, "layer m d"], cells: list[list[Cell]]) -> Bank:
    sizes = [n for _, _, n in cells[0]]
    layout = Layout(sizes, u.shape[2], u)
    flat = u.new_zeros(len(cells), len(layout.element_owner))
    for group, cell in zip(flat, cells, strict=True):
        for s, (_, seed, n) in enumerate(cell):
            encoder, _, decoder, _ = layout.weights(group, s)
            encoder.copy_(initial_encoder(n, layout.d, seed))
            decoder.copy_(unit(encoder))
    rates = torch.tensor([sae.rate(n) for n in sizes], dtype=torch.float64, device=u.device)
    return Bank(layout, flat, rates, sae)


def _epoch(bank: Bank, u: Float[Tensor, "layer m d"], cells: list[list[Cell]], epoch: int) -> list[list[float]]:
    """A pass over the training sentences: mean loss per group and autoencoder."""
    revives = bank.sae.auxiliary_weight > 0
    total, fired = bank.flat.new_zeros(bank.live.shape), bank.flat.new_zeros(len(cells), bank.layout.n)
    n_batches = 0
    for batch in _batches(bank.sae, u, cells, epoch):
        losses, used = bank.step(batch)
        total += losses
        n_batches += 1
        if revives:
            fired = torch.maximum(fired, used.amax(-1))
    if revives:
        bank.dead = 1 - fired
    return (total / n_batches).tolist()


def _batches(
    sae: TopKHyperparameters, u: Float[Tensor, "layer m d"], cells: list[list[Cell]], epoch: int
) -> Iterator[SentenceBatch]:
    """The epoch's batches of every group, side by side."""
    orders = {}
    for seed in {group[0][1] for group in cells}:
        rows = data_split(u.shape[1], sae.validation_fraction, seed)[0]
        orders[seed] = [rows[order] for order in batch_orders(len(rows), sae.batch_size, seed, epoch)]
    for i in range(len(next(iter(orders.values())))):
        yield _gathered(u, [(group[0][0], orders[group[0][1]][i]) for group in cells])


def _gathered(u: Float[Tensor, "layer m d"], rows: Sequence[tuple[int, Int[Tensor, " b"]]]) -> SentenceBatch:
    """Per group the given rows of a layer."""
    where = torch.stack([layer * u.shape[1] + chosen for layer, chosen in rows])
    return SentenceBatch(u.flatten(0, 1).index_select(0, where.flatten().to(u.device)).view(*where.shape, -1))


def _validation(bank: Bank, u: Float[Tensor, "layer m d"], cells: list[list[Cell]]) -> list[list[float]] | None:
    """FVU of the sentences held out; None if there are none."""
    fraction = bank.sae.validation_fraction
    rows = [(group[0][0], data_split(u.shape[1], fraction, group[0][1])[1]) for group in cells]
    n_rows = len(rows[0][1])
    if n_rows == 0:
        return None
    errors, square, total = u.new_zeros(bank.live.shape), u.new_zeros(len(cells)), u.new_zeros(len(cells), u.shape[2])
    for start in range(0, n_rows, CHUNK):
        batch = _gathered(u, [(layer, chosen[start : start + CHUNK]) for layer, chosen in rows])
        errors += bank.errors(batch)
        square += batch.square
        total += batch.sum
    return (errors / bounded_variance(square, total, n_rows)[:, None]).tolist()


def _check_loss(loss: float, cell: Cell, epoch: int, sae: TopKHyperparameters) -> None:
    if not isfinite(loss):
        layer, seed, n = cell
        raise FloatingPointError(
            f"layer index {layer}, seed {seed}, n_clusters={n}: the loss of epoch {epoch} is {loss} at learning rate "
            f"{sae.rate(n):.2g}; lower learning_rate."
        )
