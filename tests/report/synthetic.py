"""Made-up arms that look like real ones: texts of the corpus grammar, costs and chains as the samplers make them."""

import random
import re
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from reasoning_lab.benchmark import grammar
from reasoning_lab.records import Completion, Grade, Move, Problem, Verdict
from reasoning_lab.report import ArmResult, Published, Report

TO_ID = grammar.grammar_vocabulary()
TO_TOKEN = {index: token for token, index in TO_ID.items()}
GRAMMAR = grammar.Grammar()


def encode(text: str) -> tuple[int, ...]:
    return (*(TO_ID[token] for token in re.findall(grammar.TOKEN_PATTERN, text)), TO_ID[grammar.EOS])


def decode(ids: Iterable[int]) -> str:
    return "".join(TO_TOKEN[i] for i in ids).replace(grammar.EOS, "")


def grade(problem: grammar.WordProblem, name: str, chain: int, text: str) -> Grade:
    answer = grammar.final_answer(text)
    verdict: Verdict = "ungradable" if answer is None else "correct" if answer == problem.answer else "wrong"
    rule = "none" if answer is None else "conclusion"
    return Grade(
        name, chain, verdict, None if answer is None else str(answer), "conclusion" if answer else "no answer", rule
    )


def text_of(rng: random.Random, problem: grammar.WordProblem, weights: tuple[float, float, float], cut: float) -> str:
    style = rng.choices("DSV", weights)[0]
    text = grammar.response(rng, GRAMMAR, problem, style)  # type: ignore[arg-type]
    return text[: text.rfind(" ", 0, len(text) // 2 + 1)] if rng.random() < cut else text


def chain_of(rng: random.Random, drafts: list[tuple[int, ...]], n: int, block: int = 16) -> tuple[Move, ...]:
    """Moves up a ladder of blocks; the last move of each rung leads to the next draft, the others mostly fail."""
    moves: list[Move] = []
    for rung, (draft, following) in enumerate(pairwise(drafts), 1):
        cap = 10**9 if rung == len(drafts) - 1 else rung * block
        state, target = draft[:cap], following[:cap]
        for step in range(1, n // (len(drafts) - 1)):
            cut = rng.randrange(len(state))
            moves.append(_failed(rng, rung, step, cut, state[cut:], rng.choice(drafts)[cut:cap]))
        cut = next((i for i, (a, b) in enumerate(zip(state, target, strict=False)) if a != b), len(state) - 1)
        moves.append(Move(rung, n // (len(drafts) - 1), cut, state[cut:], target[cut:], rng.random() * 4, True))
    return tuple(moves)


def _failed(rng: random.Random, rung: int, step: int, cut: int, old: tuple[int, ...], new: tuple[int, ...]) -> Move:
    """A move that redraws the same text, is given up early, or is rejected at its end."""
    if rng.random() < 0.35 or not new or new == old:
        return Move(rung, step, cut, old, old, 0.0, True)
    if rng.random() < 0.5:
        return Move(rung, step, cut, old, new[: rng.randint(1, len(new))], None, False)
    return Move(rung, step, cut, old, new, -rng.random() * 9, False)


def arm(
    name: str,
    label: str,
    problems: dict[str, grammar.WordProblem],
    weights: tuple[float, float, float],
    cost: float = 1.0,
    chains: int = 1,
    proposals: int = 0,
    role: str = "base",
    sampler: str = "",
    cut: float = 0.01,
    sharp: float = 0.0,
    seed: int = 0,
    scored: bool = False,
) -> ArmResult:
    rng = random.Random(f"{name} {seed}")
    completions, grades, scores = [], [], []
    for key, problem in problems.items():
        favourite = text_of(rng, problem, weights, cut)
        for chain in range(chains):
            text = favourite if rng.random() < sharp else text_of(rng, problem, weights, cut)
            ids = encode(text)
            drafts = [encode(text_of(rng, problem, (0.3, 0.5, 0.2), 0)) for _ in range(4)] + [ids]
            moves = chain_of(rng, drafts, proposals) if proposals and not chain else ()
            accepted = sum(m.accepted for m in moves) if moves else round(proposals * 0.44)
            moved = sum(m.moved for m in moves) if moves else round(proposals * 0.14)
            log_p = -len(ids) * (0.3 - 0.2 * weights[2]) * rng.uniform(0.6, 1.4)
            completions.append(
                Completion(key, chain, text, ids, "stop", log_p, log_p / len(ids), round(len(ids) * cost),
                           proposals, accepted, moved, moves)
            )  # fmt: skip
            grades.append(grade(problem, key, chain, text))
            scores.append((log_p / len(ids), log_p / len(ids) * rng.uniform(0.9, 1.8)))
    texts = [c.text for c in completions]
    return ArmResult(
        name, label, role, sampler, completions, grades,
        checks=float(np.mean([grammar.n_sentences(t, "check") for t in texts])),
        backtracks=float(np.mean([grammar.n_sentences(t, "backtrack") for t in texts])),
        scored=scores if scored else None,
    )  # fmt: skip


def report(n_problems: int = 200, n_passk: int = 60, samples: int = 16, proposals: int = 48) -> Report:
    drawn = grammar.heldout_problems(n_problems)
    words = {f"p{i}": problem for i, problem in enumerate(drawn)}
    few = dict(list(words.items())[:n_passk])
    tags = [{"length": str(p.length), "long_tail": str(p.long_tail).lower()} for p in drawn]
    problems = {k: Problem(k, p.text, str(p.answer), t) for (k, p), t in zip(words.items(), tags, strict=True)}
    mix, careful, direct = (0.52, 0.38, 0.1), (0.12, 0.08, 0.8), (0.7, 0.2, 0.1)
    arms = [
        arm("base", "base, T = 1", words, mix, scored=True, sampler="ancestral, temperature 1", cut=0.03),
        arm("greedy", "base, greedy", words, direct, sampler="most probable token"),
        arm("low_temperature", "base, T = 1/4", words, (0.6, 0.2, 0.2), sampler="ancestral, temperature 1/4"),
        arm("top_p", "base, top-p 0.9", words, (0.4, 0.3, 0.3)),
        arm("best_of_16", "best of 16 by log p", words, (0.5, 0.1, 0.4), cost=16),
        arm("vote_16", "vote of 16, T = 1", words, (0.2, 0.2, 0.6), cost=16),
        arm("vote_16_cold", "vote of 16, T = 1/4", words, (0.1, 0.05, 0.85), cost=15),
        arm("smc", "power SMC, 16 particles", words, (0.25, 0.15, 0.6), cost=17),
        arm("power", "power α = 4", words, (0.22, 0.14, 0.64), cost=20, proposals=proposals, scored=True,
            sampler="Metropolis–Hastings on p^4, blocks of 16, 10 moves a block"),
        arm("hybrid", "hybrid, greedy", words, (0.3, 0.1, 0.6), role="hybrid"),
        arm("hybrid_power", "hybrid, power α = 4", words, (0.1, 0.1, 0.8), cost=21, proposals=proposals, role="hybrid"),
        arm("grpo", "GRPO, T = 1", words, (0.24, 0.1, 0.66), role="grpo", scored=True),
        arm("grpo_cold", "GRPO, T = 1/4", words, (0.06, 0.02, 0.92), role="grpo"),
        arm("thinking", "thinking, T = 1", words, careful, role="thinking", cut=0.005),
    ]  # fmt: skip
    passk = [
        arm("base", "base, T = 1", few, mix, chains=samples, cut=0.03),
        arm("power", "power α = 4", few, (0.16, 0.1, 0.74), cost=20, chains=samples, proposals=proposals, sharp=0.55),
        arm("grpo", "GRPO, T = 1", few, (0.1, 0.02, 0.88), chains=samples, sharp=0.85, role="grpo"),
    ]
    return Report(
        "Power sampling of the embedded pair", arms, problems, decode, "base", "power", "grpo", passk,
        grpo_length=50.1,
        published=[
            Published("Qwen2.5-Math-7B on MATH500, power α = 4", ".748 (Karan & Du 2025, Table 1)", "power",
                      "another model and other problems; only the order of the arms can be compared"),
            Published("Qwen2.5-Math-7B on MATH500, base", ".496 (ibid.)", "base", "theirs ran with top-k 50"),
            Published("Qwen2.5-Math-7B on MATH500, GRPO", ".785 (ibid.)", "grpo", "trained on MATH"),
        ],
        footer=[
            "A model organism, not evidence about large models.",
            "Model: embedded pair; numerics: float32, invariant; seed 0; made-up data.",
        ],
    )  # fmt: skip
