"""Errors and gradients of many Top-K autoencoders side by side, without a reconstruction.

With W the decoder, y = W (u - b_dec), a the kept latents and G = W Wᵀ,

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
reductions over latents run along whole rows. Which latents are the k largest follows `definition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

FAR = 1e30
"""Subtracted from latents that are out of the race."""


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
