"""Keys: what enters them, what doesn't, and the golden one of each kind."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import pytest

from reasoning_lab.artifacts.arms import Arms, arms_of
from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.key import APART, Apart, Enters, canonical_form, digest
from reasoning_lab.artifacts.preferences import Preferences
from reasoning_lab.artifacts.sizes import Size
from reasoning_lab.artifacts.steered import Steered
from reasoning_lab.artifacts.trajectories import Trajectories
from reasoning_lab.judge.preference import PreferenceOption
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.sampler.power import Power

GOLDEN = Path(__file__).parents[1] / "golden" / "keys.json"


# --- the canonical form ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    value: int
    extra: int = 0


@dataclass(frozen=True)
class Made(Artifact[str]):
    kind: ClassVar[str] = "made"
    version: ClassVar[int] = 1
    option: Option
    upstream_one: "Made | None" = None
    name: Annotated[str, APART] = ""
    length_of: Annotated[str, Enters(len)] = ""

    @property
    def slug(self) -> str:
        return "made"

    def build(self, context: Context, folder: Path) -> None:
        raise NotImplementedError

    def read(self, folder: Path) -> str:
        raise NotImplementedError


def test_the_form_has_module_class_kind_version_and_the_fields_that_differ_from_their_defaults() -> None:
    here = __name__
    assert Made(Option(3)).canonical() == {
        "class": f"{here}.Made", "kind": "made", "version": 1, "option": {"class": f"{here}.Option", "value": 3},
    }  # fmt: skip


def test_an_upstream_artifact_enters_by_its_key_alone() -> None:
    one = Made(Option(3))
    assert Made(Option(4), one).canonical()["upstream_one"] == {"key": one.key}
    assert canonical_form([one, {"a": one}]) == [{"key": one.key}, {"a": {"key": one.key}}]
    assert Made(Option(4), replace(one, option=Option(5))).key != Made(Option(4), one).key


def test_another_version_is_another_key() -> None:
    old = Made(Option(3)).key
    before = Made.version
    try:
        Made.version = 2
        assert Made(Option(3)).key != old
        assert Made(Option(4), Made(Option(3))).key != Made(Option(4)).key
    finally:
        Made.version = before
    assert Made(Option(3)).key == old


def test_a_class_of_the_same_name_in_another_module_is_another_key() -> None:
    other = type("Option", (), {"__annotations__": {"value": int, "extra": int}, "extra": 0})
    other.__module__ = "my_lab.options"
    theirs = dataclass(frozen=True)(other)
    assert canonical_form(theirs(3)) == {"class": "my_lab.options.Option", "value": 3} != canonical_form(Option(3))


def test_marks_of_fields_are_obeyed() -> None:
    assert Made(Option(3), name="a").key == Made(Option(3), name="b").key
    assert Made(Option(3), length_of="ab").key == Made(Option(3), length_of="cd").key
    assert Made(Option(3), length_of="ab").key != Made(Option(3), length_of="abc").key


def test_a_field_added_with_its_old_meaning_as_default_keeps_old_keys() -> None:
    assert "extra" not in canonical_form(Option(1))
    assert canonical_form(Option(1, extra=1)) != canonical_form(Option(1))


def test_upstream_artifacts_are_found_within_plain_dataclasses() -> None:
    @dataclass(frozen=True)
    class Law:
        of: Made

    @dataclass(frozen=True)
    class Drawn(Made):
        law: Law | None = None

    inner = Made(Option(1))
    assert Drawn(Option(2), law=Law(inner)).upstream() == (inner,)


# --- the lab's own --------------------------------------------------------------------------------------------------


def arms(*overrides: str) -> Arms:
    return arms_of(build(Composer().compose(["runtime.device=cpu", *overrides])))


def of_each_kind() -> dict[str, Artifact[Any]]:
    """One artifact of each kind, all of the embedded pair."""
    hybrid = arms("experiment=hybrid", "benchmark.n_problems=4", "taxonomy.benchmark.n_problems=8")
    row, categories = hybrid.rows["random_positions"], hybrid.categories
    assert categories is not None and hybrid.vectors is not None and row.drawn is not None and hybrid.cue is not None
    found: list[Artifact[Any]] = [
        row.draws[0].completions, row.draws[0].grades, row.draws[0].scores, categories.traces, categories.activations,
        categories.clusters, categories.naming, hybrid.vectors, row.drawn, hybrid.cue.openings, hybrid.cue,
        Size(hybrid.pair.base), Trajectories(row.draws[0].grades),
    ]  # fmt: skip
    return {each.kind: each for each in found if each is not None}


@pytest.fixture(scope="module")
def kinds() -> dict[str, Artifact[Any]]:
    return of_each_kind()


def test_keys_are_the_golden_ones(kinds: dict[str, Artifact[Any]]) -> None:
    """A key that changes by accident makes every user draw anew. Where it should change, bump `version` and write
    tests/golden/keys.json again: python -m tests.artifacts.test_key."""
    assert {kind: each.key for kind, each in kinds.items()} == json.loads(GOLDEN.read_text())


def test_bumping_a_version_changes_the_key_of_its_kind_and_of_all_below(
    kinds: dict[str, Artifact[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, each in kinds.items():
        with monkeypatch.context() as patch:
            patch.setattr(type(each), "version", type(each).version + 1)
            bumped = {name: digest(fresh(other).canonical()) for name, other in kinds.items()}
        assert bumped[kind] != each.key
        changed = {name for name, key in bumped.items() if key != kinds[name].key}
        assert changed == {name for name, other in kinds.items() if kind in kinds_behind(other)}


def fresh(value: Any) -> Any:
    """The artifact with no key remembered, nor those of what it is made of."""
    made = replace(value)
    for field in fields(made):
        item = getattr(made, field.name)
        if isinstance(item, (Artifact, Steered)):
            object.__setattr__(made, field.name, fresh(item))
    return made


def kinds_behind(artifact: Artifact[Any]) -> set[str]:
    return {artifact.kind}.union(*(kinds_behind(each) for each in artifact.upstream()))


def test_every_field_that_can_change_a_result_changes_its_key(kinds: dict[str, Artifact[Any]]) -> None:
    tried = 0
    for each in kinds.values():
        for name, hint in get_type_hints(type(each), include_extras=True).items():
            is_apart = any(isinstance(mark, Apart) for mark in getattr(hint, "__metadata__", ()))
            if name in ("kind", "version") or (other := another(getattr(each, name), hint)) is None:
                continue
            changed = replace(each, **{name: other})
            assert (changed.key == each.key) == is_apart, f"{type(each).__name__}.{name}"
            tried += 1
    assert tried > 25


def another(value: Any, hint: Any) -> Any:
    """Another value that the field can have; None where no simple one is."""
    if get_origin(hint) is Literal:
        return next(choice for choice in get_args(hint) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str) or (value is None and str in get_args(hint)):
        return f"{value}x"
    if isinstance(value, ModelSource):
        return ModelSource("org/model", revision="1")
    if isinstance(value, tuple) and value:
        return (*value[:-1], value[-1] + 1)
    numbers = [field.name for field in fields(value) if type(getattr(value, field.name)) is int] if value else []
    return replace(value, **{numbers[0]: 2 * getattr(value, numbers[0]) or 1}) if numbers else None


def test_what_changes_an_answer_changes_its_key() -> None:
    answers = arms("benchmark.n_problems=4").rows["power"].draws[0].completions
    assert isinstance(answers.sampler, Power)
    changed = [
        replace(answers, model=ModelSource("org/model", revision="1")),
        replace(answers, model=ModelSource("org/model", revision="2")),
        replace(answers, dtype="bfloat16"),
        replace(answers, problems=replace(answers.problems, first=3)),
        replace(answers, seed=1),
        replace(answers, chains=(1, 2)),
        replace(answers, budget_of=answers),
        *(replace(answers, sampler=replace(answers.sampler, **{name: value})) for name, value in (
            ("alpha", 2.0), ("block_size", 8), ("n_steps", 5), ("max_new_tokens", 32), ("compat", "karan2025"),
            ("stop_rule", "first_eos"), ("proposal_temperature", 1.0))),
    ]  # fmt: skip
    assert len({answers.key, *(other.key for other in changed)}) == len(changed) + 1
    assert replace(answers, pair="other", writer="other", caption="other").key == answers.key


def test_a_reading_enters_where_candidates_carry_their_answers_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keys() -> dict[str, str]:
        rows = arms("benchmark.n_problems=4").rows
        return {name: rows[name].draws[0].completions.key for name in ("power", "majority")}

    before, benchmark = keys(), type(arms().problems.benchmark)
    monkeypatch.setattr(benchmark, "reading", property(lambda _: "another reader"))
    after = keys()
    assert after["power"] == before["power"]
    assert after["majority"] != before["majority"]


def test_another_judge_names_anew() -> None:
    names = ("lexical", "openai")
    keys = [arms("experiment=hybrid", f"judge={name}").categories.naming.key for name in names]  # type: ignore[union-attr]
    assert keys[0] != keys[1]


def test_preferences_are_keyed_by_judge_order_and_template() -> None:
    pytest.importorskip("alpaca_eval", reason="the extra alpaca is not installed")
    judge = build(Composer().compose(["judge=alpaca_eval"])).judge
    assert isinstance(judge, PreferenceOption)
    told = Preferences(arms("benchmark.n_problems=4").rows["power"].draws[0].completions, judge, 0)
    others = [replace(told, seed=1), replace(told, judge=replace(judge, model="another"))]
    assert len({told.key, *(other.key for other in others)}) == 3
    assert len(told.canonical()["template"]) == 64


def test_a_grader_is_another_grading_of_the_same_answers() -> None:
    ours, theirs = (
        arms("benchmark.n_problems=4", "arms=single", *more).rows["main"].draws[0]
        for more in ((), ("benchmark.grader=venhoff2025",))
    )
    assert ours.completions.key == theirs.completions.key
    assert ours.grades.key != theirs.grades.key


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({kind: each.key for kind, each in of_each_kind().items()}, indent=1) + "\n")
