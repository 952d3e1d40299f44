"""The law of a hybrid model: what determines it beside its base model, and how it is made of both models."""

from dataclasses import dataclass

from reasoning_lab.artifacts.annotations import Annotations, HybridLaw
from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.completions import ProblemSet
from reasoning_lab.artifacts.vectors import SteeringVectors, vocabulary_between
from reasoning_lab.steering.hybrid.policy import HybridPolicy
from reasoning_lab.steering.steering import SteeringRule
from reasoning_lab.taxonomy.spans import ending_ids


@dataclass(frozen=True)
class Steered(HybridLaw):
    """A base model steered by a rule."""

    rule: SteeringRule
    vectors: SteeringVectors
    rate_of: Annotations | None = None
    """Answers whose steered fraction is the rate of a random gate."""

    def policy(self, context: Context, problems: ProblemSet) -> HybridPolicy:
        """Both models, clusters and vectors, for the problems' prompts."""
        vectors, taxonomy, rule = self.vectors, self.vectors.taxonomy, self.matched(context)
        base, thinking = vectors.models(context)
        ours, theirs = problems.encoded(base), problems.encoded(thinking)
        return HybridPolicy(
            base.policy,
            thinking.policy,
            context.get(taxonomy).clusters,
            taxonomy.layer,
            context.get(vectors).vectors,
            rule,
            {ours[problem]: theirs[problem] for problem in ours},
            ending_ids(base.reader),
            vocabulary_between(base.reader, thinking.reader, rule.inner.vocabulary),
            vectors.base_key,
            taxonomy.source,
        )

    def matched(self, context: Context) -> SteeringRule:
        """The rule, the rate of a random gate measured where it is matched."""
        if self.rate_of is None:
            return self.rule
        fractions = [annotation.steered_fraction for annotation in context.get(self.rate_of)]
        return self.rule.matched(sum(fractions) / len(fractions))
