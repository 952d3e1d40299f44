"""Made-up hybrid models: a seeded generator of arms, annotations, taxonomy and vectors that look like real ones."""

import random
import re
from dataclasses import replace
from itertools import pairwise

from reasoning_lab.benchmark import grammar
from reasoning_lab.records import Annotation, Completion, Grade, Problem
from reasoning_lab.report import ArmResult, CategoryView, HybridReport, Report, TaxonomyView, VectorView
from reasoning_lab.statistics import Interval

from . import synthetic

KINDS = ("state", "step", "check", "backtrack", "conclude", "restate", "plan", "estimate")
NULLS = {
    "bias": ("bias only", (0.5, 0.4, 0.1), 1),
    "random_vectors": ("norm-matched random vectors", (0.55, 0.4, 0.05), 5),
    "random_categories": ("random category", (0.45, 0.3, 0.25), 5),
    "random_positions": ("random positions, matched rate", (0.5, 0.3, 0.2), 5),
    "no_vector": ("gate fires, no vector", (0.52, 0.38, 0.1), 1),
}
RIVALS = {
    "thinking_choice": ("thinking chooses among base's top 10", (0.15, 0.1, 0.75), 1),
    "published": ("published defaults", (0.4, 0.3, 0.3), 1),
}
MIX, GOOD, BEST = (0.52, 0.38, 0.1), (0.2, 0.15, 0.65), (0.05, 0.03, 0.92)


def tokens_of(completion: Completion) -> tuple[str, ...]:
    """The corpus's own tokens, and an empty text for the stop id."""
    return (*re.findall(grammar.TOKEN_PATTERN, completion.text), "")


def annotation(rng: random.Random, completion: Completion, n: int, rate: float) -> Annotation:
    """Categories change at sentence ends; the gate fires at a rate, where the models tend to disagree."""
    texts = tokens_of(completion)
    category, categories = rng.randrange(n), list[int]()
    for text in texts:
        categories.append(category)
        if text.strip() in {".", "?", "!"}:
            category = rng.randrange(n)
    steered = tuple(rng.random() < rate for _ in texts)
    other = [rng.choice(completion.ids) for _ in texts]
    base = tuple(o if s else i for i, o, s in zip(completion.ids, other, steered, strict=True))
    coefficients = tuple(rng.choice((0.5, 1.0, 1.5)) if s else 0.0 for s in steered)
    return Annotation(
        completion.problem, completion.chain, tuple(categories), steered, coefficients, base, completion.ids
    )


def taxonomy(n: int = 8) -> TaxonomyView:
    """Categories named after the corpus's kinds of sentence."""
    sentences = (
        "So the total is 14.",
        "Wait, that does not match.",
        "Let me check: 3 + 4 = 7.",
        "She has 12 apples left.",
    )
    categories = tuple(
        CategoryView(
            i, f"{KINDS[i % len(KINDS)].capitalize()}{'' if i < len(KINDS) else f' {i // len(KINDS) + 1}'}",
            "States an intermediate result that follows from the sentence before it.",
            sentences[i % 4 :] + sentences[: i % 4] if i % 5 != 4 else sentences[:1],
            2 * (n - i) / (n * (n + 1)), f"{KINDS[i % len(KINDS)]} {90 - i} %",
        )
        for i in range(n)
    )  # fmt: skip
    scores = {"consistency": (0.81, 0.77, 0.84), "completeness": (0.74, 0.70, 0.79), "independence": (0.66, 0.60, 0.71),
              "final": (0.74, 0.71, 0.77), "NMI": (0.71, 0.68, 0.74), "ARI": (0.64, 0.60, 0.69),
              "purity": (0.86, 0.84, 0.88)}  # fmt: skip
    return TaxonomyView(
        "top-3 SAE with 8 latents at layer 2, boundary position, 7 412 sentences", "lexical (TF-IDF, offline)",
        categories,
        {name: Interval(*score) for name, score in scores.items()}, 1,
        ("214 sentences of fewer than 3 words skipped.",),
    )  # fmt: skip


def hybrid(n_problems: int = 200, n_categories: int = 8, extra: int = 0, draws: int = 5) -> HybridReport:
    """Base, hybrid, thinking, every control, a competitor, `extra` further arms."""
    words = {f"p{i}": problem for i, problem in enumerate(grammar.heldout_problems(n_problems))}
    problems = {k: Problem(k, p.text, str(p.answer), {"length": str(p.length)}) for k, p in words.items()}
    controls = {name: (label, mix, min(n, draws)) for name, (label, mix, n) in {**NULLS, **RIVALS}.items()}
    others = {"power": ("base, power α = 4", GOOD, 1)}
    named = {"base": ("base, T = 1", MIX, 1), "hybrid": ("hybrid, T = 1", GOOD, 1),
             "thinking": ("thinking, T = 1", BEST, 1), **controls, **others}  # fmt: skip
    arms = [_arm(name, label, words, mix, chains) for name, (label, mix, chains) in named.items()]
    arms += [replace(arms[1], name=f"extra_{i}", label=f"hybrid, coefficient {0.25 * i:g}") for i in range(extra)]
    rng = random.Random(7)
    rates = {"base": 0.0, "thinking": 0.0, "power": 0.0}
    notes = {
        arm.name: [annotation(rng, c, n_categories, rates.get(arm.name, 0.15)) for c in arm.completions] for arm in arms
    }
    vectors = tuple(
        VectorView(i, 4.0 + i, None if i == 5 else 1.2, None if i == 5 else 0.9 + 0.05 * i, 40 * (i + 1),
                   "too few" if i == 5 else "")
        for i in range(-1, n_categories)
    )  # fmt: skip
    report = Report(
        "Hybrid of the embedded pair", arms, problems, synthetic.decode, "base", "hybrid", "thinking",
        footer=["A model organism, not evidence about large models.", "Seed 0; made-up data."],
    )  # fmt: skip
    shares = {
        name: _mixture(random.Random(i), n_categories) for i, name in enumerate(("base", "power", "hybrid", "thinking"))
    }
    truths: dict[str, dict[str, float]] = {
        name: dict(zip(KINDS, _mixture(random.Random(i), 5), strict=False)) for i, name in enumerate(shares)
    }
    published = (
        ("Qwen2.5-32B with QwQ-32B, MATH500, V1", "63.4", "84.4", "86.4", "91", "12.0", "Venhoff et al. 2025, Table 2"),
        ("the same, V2", "60.9", "66.3", "98.3", "14.3", "–", "authors' repository, 2026"),
    )
    return HybridReport(
        report, notes,
        {arm.name: [tokens_of(c) for c in arm.completions] for arm in arms}, dict(synthetic.TO_TOKEN),
        taxonomy(n_categories),
        vectors, truths, shares, published,
    )  # fmt: skip


def _mixture(rng: random.Random, n: int) -> tuple[float, ...]:
    cuts = sorted([0.0, 1.0, *(rng.random() for _ in range(n - 1))])
    return tuple(b - a for a, b in pairwise(cuts))


def _arm(
    name: str, label: str, words: dict[str, grammar.WordProblem], mix: tuple[float, float, float], chains: int
) -> ArmResult:
    role = name if name in ("base", "thinking") else "hybrid"
    made = synthetic.arm(name, label, words, mix, chains=chains, role=role,
                         sampler="ancestral, temperature 1")  # fmt: skip
    is_null, is_steered = name in NULLS, name not in ("base", "thinking", "power")
    return replace(made, checks=round(made.checks or 0.0, 6), n_draws=chains, is_null=is_null, is_steered=is_steered)


# --- by hand ---------------------------------------------------------------------------------------------------


def _arm_by_hand(name: str, right: list[str]) -> ArmResult:
    """One answer of two tokens per letter: problem i's are right[i]."""
    answers = [(f"p{i}", chain, verdict) for i, verdicts in enumerate(right) for chain, verdict in enumerate(verdicts)]
    completions = [Completion(p, c, "ab", (1, 2), "stop", -1.0, -1.0, 2) for p, c, _ in answers]
    grades = [Grade(p, c, "correct" if v == "c" else "wrong", "1", "") for p, c, v in answers]
    is_null, n_draws = name.startswith("null"), len(right[0]) if name.startswith("null") else 1
    return ArmResult(name, name, "hybrid", "", completions, grades, checks=0.5, is_null=is_null,
                     is_steered=name not in ("base", "thinking"), n_draws=n_draws)  # fmt: skip


def small(**right: list[str]) -> HybridReport:
    """Arms base, hybrid and thinking, nulls named null* (a letter per draw), any others; half of each answer is
    steered."""
    arms = [_arm_by_hand(name, verdicts) for name, verdicts in right.items()]
    problems = {f"p{i}": Problem(f"p{i}", "q", "1") for i in range(len(right["base"]))}
    notes = {a.name: [Annotation(c.problem, c.chain, (0, 1), (True, False), (1.5, 0.0), (2, 2), (1, 2))
                      for c in a.completions] for a in arms}  # fmt: skip
    taxonomy = TaxonomyView("by hand", "", (), {}, 0)
    return HybridReport(
        Report("t", arms, problems, str, "base", "hybrid", "thinking"),
        notes,
        {a.name: [("a", "b")] * len(a.completions) for a in arms}, {1: "a", 2: "b"}, taxonomy, (), {}, {},
    )  # fmt: skip
