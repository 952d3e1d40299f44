"""How often each kind of interval holds the truth, over settings that were written down before any was run.

`python -m tests.statistics.coverage` prints the table. Coverage of a gap recovered is counted among the runs in which
it is given: the condition is what makes it hard.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from reasoning_lab import statistics as st

RUNS = 1000
RESAMPLES = 1000
Drawn = st.Interval | None
Rng = np.random.Generator


class Setting(NamedTuple):
    """A law of the data, the truth, and one interval from one draw of the data."""

    kind: str
    name: str
    truth: float
    draw: Callable[[Rng], Drawn]


def named(matrix: np.ndarray) -> dict[str, list[bool]]:
    return {f"p{row}": [bool(x) for x in np.atleast_1d(samples)] for row, samples in enumerate(matrix)}


def gap_of(target: st.Outcomes, base: st.Outcomes) -> st.Compared:
    return st.compare_all([st.paired_difference(target, base, resamples=RESAMPLES)])[0]


# --- settings -------------------------------------------------------------------------------------------------------


def single_share(n: int, p: float) -> Setting:
    def draw(rng: Rng) -> Drawn:
        return st.accuracy_interval(named(rng.random(n) < p), resamples=RESAMPLES)

    return Setting("accuracy, one sample", f"{n} problems, {p:.0%} right", p, draw)


def sure_share(n: int, wrong: float, samples: int = 4) -> Setting:
    def draw(rng: Rng) -> Drawn:
        right = rng.random((n, 1)) >= wrong
        return st.accuracy_interval(named(np.repeat(right, samples, axis=1)), resamples=RESAMPLES)

    return Setting("accuracy, samples", f"{n} problems x {samples}, surely wrong on {wrong:.0%}", 1 - wrong, draw)


def beta_share(n: int, a: float, b: float, samples: int) -> Setting:
    def draw(rng: Rng) -> Drawn:
        matrix = rng.random((n, samples)) < rng.beta(a, b, (n, 1))
        return st.accuracy_interval(named(matrix), resamples=RESAMPLES)

    return Setting("accuracy, samples", f"{n} problems x {samples}, p ~ beta({a}, {b})", a / (a + b), draw)


def single_difference(n: int, up: float, down: float) -> Setting:
    def draw(rng: Rng) -> Drawn:
        kind = rng.choice(3, size=n, p=[up, down, 1 - up - down])
        both = rng.random(n) < 0.5
        a, b = np.where(kind == 2, both, kind == 0), np.where(kind == 2, both, kind == 1)
        return st.paired_difference(named(a), named(b), resamples=RESAMPLES).difference

    return Setting("difference, one sample", f"{n} problems, {up:.0%} a alone, {down:.0%} b alone", up - down, draw)


def beta_difference(n: int, samples: int) -> Setting:
    def draw(rng: Rng) -> Drawn:
        ability = rng.beta(0.8, 0.8, (n, 1))
        a, b = rng.random((n, samples)) < ability, rng.random((n, samples)) < ability**2
        return st.paired_difference(named(a), named(b), resamples=RESAMPLES).difference

    return Setting("difference, samples", f"{n} problems x {samples}, p and p^2", 0.5 - (0.25 + 0.25 / 2.6), draw)


def control_data(rng: Rng, n: int, draws: int, spread: float, lead: float) -> tuple[st.Outcomes, list[st.Outcomes]]:
    """A hybrid, and the draws of a control whose accuracies differ by `spread` (standard deviation) between draws."""
    ability = rng.uniform(0.3, 0.7, n)
    hybrid = named(rng.random(n) < ability + lead)
    return hybrid, [named(rng.random(n) < np.clip(ability + rng.normal(0, spread), 0, 1)) for _ in range(draws)]


def control_difference(n: int, draws: int, spread: float, lead: float = 0.0) -> Setting:
    def draw(rng: Rng) -> Drawn:
        return st.paired_difference(*control_data(rng, n, draws, spread, lead)).difference

    return Setting("difference to a control", f"{n} problems, {draws} draws spread {spread:.0%}", lead, draw)


def control_accuracy(n: int, draws: int, spread: float) -> Setting:
    def draw(rng: Rng) -> Drawn:
        return st.accuracy_interval(control_data(rng, n, draws, spread, 0.0)[1])

    return Setting("accuracy of a control", f"{n} problems, {draws} draws spread {spread:.0%}", 0.5, draw)


def gap_share(n: int, p: float, gap: float, share: float) -> Setting:
    def draw(rng: Rng) -> Drawn:
        low = rng.beta(4 * p, 4 * (1 - p), n)
        high = low + gap * (1 - low) / (1 - p)
        chances = low, high, low + share * (high - low)
        base, target, arm = (named(rng.random(n) < chance) for chance in chances)
        return st.gap_recovered(arm, base, target, gap_of(target, base))

    return Setting("gap recovered", f"{n} problems, gap {gap:.0%}, arm recovers {share:.0%}", share, draw)


def control_gap(n: int, gap: float, draws: int, spread: float) -> Setting:
    def draw(rng: Rng) -> Drawn:
        low = rng.uniform(0.3, 0.5, n)
        base, target = named(rng.random(n) < low), named(rng.random(n) < low + gap)
        arms = [named(rng.random(n) < low + gap / 2 + rng.normal(0, spread)) for _ in range(draws)]
        return st.gap_recovered(arms, base, target, gap_of(target, base))

    return Setting("gap recovered", f"{n} problems, gap {gap:.0%}, {draws} draws spread {spread:.0%}", 0.5, draw)


def pass_at(n: int, samples: int, k: int) -> Setting:
    def draw(rng: Rng) -> Drawn:
        matrix = rng.random((n, samples)) < rng.beta(0.6, 1.4, (n, 1))
        return st.pass_curve(named(matrix), [k], resamples=RESAMPLES).points[0]

    truth = 1 - float(np.mean((1 - np.random.default_rng(0).beta(0.6, 1.4, 10**7)) ** k))
    return Setting("pass@k", f"{n} problems x {samples}, k={k}", truth, draw)


def pass_lead(n: int, samples: int, k: int) -> Setting:
    def draw(rng: Rng) -> Drawn:
        p = rng.beta(0.6, 1.4, (n, 1))
        a, b = rng.random((n, samples)) < p, rng.random((n, samples)) < p**1.5
        return st.pass_difference(named(a), named(b), k, resamples=RESAMPLES).difference

    p = np.random.default_rng(0).beta(0.6, 1.4, 10**7)
    truth = float(np.mean((1 - p**1.5) ** k - (1 - p) ** k))
    return Setting("pass@k difference", f"{n} problems x {samples}, k={k}", truth, draw)


def sure_votes(n: int, wrong: float, samples: int) -> Callable[[Rng], st.Calibration | None]:
    def draw(rng: Rng) -> st.Calibration | None:
        right = rng.random(n) >= wrong
        return st.calibration({str(i): [("7", bool(x))] * samples for i, x in enumerate(right)}, resamples=RESAMPLES)

    return draw


def votes(rng: Rng, n: int, samples: int, sharpness: float) -> dict[str, list[tuple[str | None, bool]]]:
    given: dict[str, list[tuple[str | None, bool]]] = {}
    for i in range(n):
        p = rng.beta(1.2, 0.8)
        law = np.array([p, *((1 - p) * rng.dirichlet([0.5] * 5))]) ** sharpness
        picks = rng.choice(6, size=samples, p=law / law.sum())
        given[str(i)] = [(str(x), bool(x == 0)) for x in picks]
    return given


def overconfidence(n: int, wrong: float) -> Setting:
    def draw(rng: Rng) -> Drawn:
        told = sure_votes(n, wrong, 4)(rng)
        return told and told.overconfidence

    return Setting("overconfidence", f"{n} problems x 4, surely wrong on {wrong:.0%}", wrong, draw)


def error(n: int, wrong: float) -> Setting:
    def draw(rng: Rng) -> Drawn:
        told = sure_votes(n, wrong, 4)(rng)
        return told and told.error

    return Setting("calibration error", f"{n} problems x 4, surely wrong on {wrong:.0%}", wrong, draw)


def vote_setting(kind: str, n: int, sharpness: float) -> Setting:
    """The truth is that of very many problems with as many samples."""
    whole = st.calibration(votes(np.random.default_rng(0), 40_000, 12, sharpness), resamples=2)
    assert whole is not None

    def read(told: st.Calibration | None) -> Drawn:
        assert told is not None
        return told.error if kind == "calibration error" else told.overconfidence

    def draw(rng: Rng) -> Drawn:
        return read(st.calibration(votes(rng, n, 12, sharpness), resamples=RESAMPLES))

    truth = read(whole)
    assert truth is not None
    return Setting(kind, f"{n} problems x 12, sharpness {sharpness}", truth.value, draw)


def steered(n: int, a: float, b: float) -> Setting:
    def draw(rng: Rng) -> Drawn:
        return st.share_interval(rng.beta(a, b, n), resamples=RESAMPLES)

    return Setting("steered share", f"{n} problems, beta({a}, {b})", a / (a + b), draw)


def slope_data(rng: Rng, n: int, samples: int) -> dict[str, list[tuple[bool, float]]]:
    """log p of an answer is higher by 1.5 nats where it is right, on problems of half the kind."""
    given = {}
    for i in range(n):
        right = rng.random(samples) < rng.beta(1, 1)
        lift = 1.5 * (rng.random() < 0.5)
        given[str(i)] = list(zip(right.tolist(), (rng.normal(-20, 3, samples) + lift * right).tolist(), strict=True))
    return given


def slope(n: int, samples: int) -> Setting:
    def draw(rng: Rng) -> Drawn:
        return st.sharpening_slope(slope_data(rng, n, samples), resamples=RESAMPLES).difference

    return Setting("sharpening slope", f"{n} problems x {samples}", 1.5 * 0.5 / 6, draw)


def tax(n: int, samples: int) -> Setting:
    def curve(p: np.ndarray) -> float:
        points = [1 - float(np.mean((1 - p) ** k)) for k in range(1, samples + 1)]
        return sum(points[-1] - point for point in points[:-1]) / ((samples - 1) * (1 - points[0]))

    def draw(rng: Rng) -> Drawn:
        p = rng.beta(0.6, 1.4, (n, 1))
        base, arm = rng.random((n, samples)) < p, rng.random((n, samples)) < p**2 / (p**2 + (1 - p) ** 2)
        told = st.sharpening_tax(named(base), named(arm), samples, resamples=RESAMPLES)
        return told and told.difference

    p = np.random.default_rng(0).beta(0.6, 1.4, 10**6)
    return Setting("sharpening tax", f"{n} problems x {samples}", curve(p) - curve(p**2 / (p**2 + (1 - p) ** 2)), draw)


def settings() -> list[Setting]:
    return [
        *(single_share(30, 1 - wrong) for wrong in (0.02, 0.04, 0.06, 0.08, 0.1)),
        single_share(50, 0.02),
        single_share(200, 0.65),
        *(sure_share(30, wrong) for wrong in (0.02, 0.04, 0.06, 0.08, 0.1)),
        beta_share(30, 8, 1, 16),
        beta_share(50, 0.6, 0.6, 8),
        single_difference(60, 0.2, 0.1),
        single_difference(200, 0.3, 0.1),
        single_difference(500, 0.08, 0.05),
        beta_difference(30, 4),
        beta_difference(100, 4),
        control_difference(200, 5, 0.0),
        control_difference(200, 5, 0.05),
        control_difference(200, 5, 0.1),
        control_accuracy(200, 5, 0.05),
        control_accuracy(100, 5, 0.1),
        *(gap_share(200, 0.5, gap, 0.0) for gap in (0.05, 0.08, 0.1, 0.15, 0.3)),
        gap_share(50, 0.5, 0.15, 0.0),
        gap_share(200, 0.5, 0.1, 0.9),
        gap_share(200, 0.5, 0.3, 0.9),
        control_gap(200, 0.3, 5, 0.05),
        pass_at(50, 16, 1),
        pass_at(50, 16, 8),
        pass_lead(50, 16, 8),
        pass_lead(200, 16, 16),
        *(overconfidence(30, wrong) for wrong in (0.02, 0.04, 0.06, 0.08, 0.1)),
        vote_setting("overconfidence", 60, 1.5),
        vote_setting("overconfidence", 60, 4.0),
        *(error(30, wrong) for wrong in (0.04, 0.1)),
        vote_setting("calibration error", 60, 1.5),
        vote_setting("calibration error", 60, 4.0),
        steered(30, 1, 5),
        steered(100, 2, 10),
        slope(50, 16),
        slope(200, 8),
        tax(50, 16),
        tax(200, 8),
    ]


class Covered(NamedTuple):
    """What a setting gave."""

    share: float
    """Of the intervals that were given, those that hold the truth."""
    given: float
    """Share of runs in which one was given."""
    width: float
    """Median."""


def simulate(setting: Setting, runs: int = RUNS, seed: int = 0) -> Covered:
    """The share of intervals that hold the truth; where none is given it is drawn again, up to five times as often."""
    rng, drawn, tried = np.random.default_rng([seed, len(setting.name)]), [], 0
    while len(drawn) < runs and tried < 5 * runs:
        tried += 1
        if (interval := setting.draw(rng)) is not None:
            drawn.append(interval)
    low, high = np.array([(each.low, each.high) for each in drawn]).T
    inside = float(np.mean((low <= setting.truth) & (setting.truth <= high)))
    return Covered(inside, len(drawn) / tried, float(np.median(high - low)))


def main() -> None:
    print(f"{'interval':24} {'setting':52} {'truth':>7} {'covered':>8} {'given':>6} {'width':>6}")
    for setting in settings():
        covered = simulate(setting)
        flag = "" if 0.93 <= covered.share <= 0.99 else "  <--"
        print(f"{setting.kind:24} {setting.name:52} {setting.truth:7.3f} {covered.share:8.3f} {covered.given:6.2f} "
              f"{covered.width:6.3f}{flag}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
