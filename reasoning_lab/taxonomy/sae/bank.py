"""Many Top-K autoencoders trained together: every number of clusters, seed and layer in one bank.

What is trained is defined in `definition`; the bank equals it up to rounding. A *group* is one layer's activations with
one seed: its autoencoders see the same batches, and `passes` finds errors and gradients of all of them at once. Beside
stacked products under autograd, padded to the largest size, it takes between a third and two thirds of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasoning_lab.taxonomy.clusterings import Fit, OnEpoch
from reasoning_lab.taxonomy.clusters import Normaliser, TopKClusters, unit
from reasoning_lab.taxonomy.sae.definition import TopKHyperparameters, batch_orders, data_split, initial_encoder
from reasoning_lab.taxonomy.sae.passes import Layout, Pass, SentenceBatch, TopK, bounded_variance

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Adam's, as torch has them."""
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
Splits = dict[int, tuple[Tensor, Tensor]]
"""By seed the rows to train on and those held out."""


def fit_grid(
    sae: TopKHyperparameters,
    x: Float[Tensor, "layer m d"],
    means: Float[Tensor, "layer _"],
    sizes: Sequence[int],
    seeds: Sequence[int],
    problems: Int[Tensor, " m"] | None = None,
    on_epoch: OnEpoch = lambda _: None,
) -> dict[Cell, Fit]:
    """Train an autoencoder for every layer, seed and size at once, on the raw activations of the same m sentences.

    Each equals the training of its layer, seed and size alone up to rounding, whoever its neighbours are: starts and
    batches depend on (seed, size) alone, an autoencoder that has stopped stands still, and one that has stopped in
    every group leaves the bank. Memory: the normalised activations once, and per latent and group some
    5 (2 d + batch size + rows of a validation chunk) numbers.
    `problems` numbers each sentence's problem, none of which is on both sides of the validation split. `on_epoch` hears
    of the losses after every epoch.
    Errors: those of TopKHyperparameters.check; ValueError for several seeds with problems, whose splits differ in size;
    FloatingPointError where a loss is no longer finite.
    """
    sizes, seeds = list(dict.fromkeys(sizes)), list(dict.fromkeys(seeds))
    for layer in range(len(x)):
        sae.check(x[layer], means[layer], sizes, problems)
    if not seeds:
        raise ValueError("seeds is empty: name at least one.")
    if problems is not None and len(seeds) > 1:
        raise ValueError(f"seeds={seeds}: splits by problem differ in size; fit one seed at a time.")
    splits = {seed: data_split(x.shape[1], sae.validation_fraction, seed, problems) for seed in seeds}
    layers = [normalised_rows(x[layer], means[layer]) for layer in range(len(x))]
    u = torch.stack([rows for _, rows in layers])
    cells = [[(layer, seed, n) for n in sizes] for layer in range(len(x)) for seed in seeds]
    courses = {cell: Course(sae) for group in cells for cell in group}
    _train(sae, u, cells, courses, splits, on_epoch)
    return {
        cell: fit_of(sae, layers[cell[0]][0], u[cell[0]], p.weights, p.losses, p.validation_losses, p.best_epoch)
        for cell, p in courses.items()
    }


def _train(
    sae: TopKHyperparameters, u: Float[Tensor, "layer m d"], cells: list[list[Cell]], courses: dict[Cell, Course],
    splits: Splits, on_epoch: OnEpoch,
) -> None:  # fmt: skip
    """Epochs until every cell has stopped; groups and sizes that are done leave the bank."""
    bank = _initial_bank(sae, u, cells)
    for epoch in range(sae.max_epochs):
        losses = _epoch(bank, u, cells, epoch, splits)
        held_out = _validation(bank, u, cells, splits)
        for g, group in enumerate(cells):
            for s, cell in enumerate(group):
                if not bank.live[g, s]:
                    continue
                _check_loss(losses[g][s], cell, epoch, sae)
                if courses[cell].note(losses[g][s], None if held_out is None else held_out[g][s]):
                    courses[cell].weights = tuple(w.clone() for w in bank.layout.weights(bank.flat[g], s))
                bank.live[g, s] = not courses[cell].stopped
        on_epoch({"epoch": epoch + 1.0, **_newest(courses)})
        if not bank.live.any():
            return
        groups, sizes = bank.live.any(1).nonzero()[:, 0], bank.live.any(0).nonzero()[:, 0]
        if len(groups) * len(sizes) < bank.live.numel():
            bank = bank.kept(groups, sizes)
            cells = [[cells[g][s] for s in sizes.tolist()] for g in groups.tolist()]


def _newest(courses: dict[Cell, Course]) -> dict[str, float]:
    """By number of latents, the newest losses: fraction of variance unexplained, in training and of the sentences held
    out; means over layers and seeds."""
    named: dict[str, list[float]] = {}
    for (_, _, n), course in courses.items():
        for name, losses in (("fvu", course.losses), ("fvu_validation", course.validation_losses)):
            if losses:
                named.setdefault(f"{name}_n{n}", []).append(losses[-1])
    return {name: sum(losses) / len(losses) for name, losses in named.items()}


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


def _epoch(
    bank: Bank, u: Float[Tensor, "layer m d"], cells: list[list[Cell]], epoch: int, splits: Splits
) -> list[list[float]]:
    """A pass over the training sentences: mean loss per group and autoencoder."""
    revives = bank.sae.auxiliary_weight > 0
    total, fired = bank.flat.new_zeros(bank.live.shape), bank.flat.new_zeros(len(cells), bank.layout.n)
    n_batches = 0
    for batch in _batches(bank.sae, u, cells, epoch, splits):
        losses, used = bank.step(batch)
        total += losses
        n_batches += 1
        if revives:
            fired = torch.maximum(fired, used.amax(-1))
    if revives:
        bank.dead = 1 - fired
    return (total / n_batches).tolist()


def _batches(
    sae: TopKHyperparameters, u: Float[Tensor, "layer m d"], cells: list[list[Cell]], epoch: int, splits: Splits
) -> Iterator[SentenceBatch]:
    """The epoch's batches of every group, side by side."""
    orders = {}
    for seed in {group[0][1] for group in cells}:
        rows = splits[seed][0]
        orders[seed] = [rows[order] for order in batch_orders(len(rows), sae.batch_size, seed, epoch)]
    for i in range(len(next(iter(orders.values())))):
        yield _gathered(u, [(group[0][0], orders[group[0][1]][i]) for group in cells])


def _gathered(u: Float[Tensor, "layer m d"], rows: Sequence[tuple[int, Int[Tensor, " b"]]]) -> SentenceBatch:
    """Per group the given rows of a layer."""
    where = torch.stack([layer * u.shape[1] + chosen for layer, chosen in rows])
    return SentenceBatch(u.flatten(0, 1).index_select(0, where.flatten().to(u.device)).view(*where.shape, -1))


def _validation(
    bank: Bank, u: Float[Tensor, "layer m d"], cells: list[list[Cell]], splits: Splits
) -> list[list[float]] | None:
    """FVU of the sentences held out; None if there are none."""
    rows = [(group[0][0], splits[group[0][1]][1]) for group in cells]
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
