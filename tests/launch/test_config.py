"""Every option of every group composes and builds; every mistake is one message; nothing hostile is built."""

import dataclasses
import math
import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from reasoning_lab.artifacts.key import canonical_form
from reasoning_lab.cue.search import CueSearch, NoCue
from reasoning_lab.experiment import Experiment, Taxonomy
from reasoning_lab.launch.compose import Composer, conf_dir, lab_root
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.typed import _target as target
from reasoning_lab.launch.typed import build
from reasoning_lab.report.data import Published
from reasoning_lab.sampler.ancestral import Temperature
from reasoning_lab.sampler.cue import Cued
from reasoning_lab.steering.coefficient import Candidates

CONF = Path(conf_dir())
LAUNCHERS = lab_root() / "multirun_launchers"
HYBRID_ROW = ("what", "base", "hybrid", "thinking", "gap_recovered", "steered", "source")
"""Keys of a published row of a hybrid model, in the order of the page's columns."""
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())


def options(group: str, root: Path = CONF) -> list[str]:
    return sorted(file.stem for file in (root / group).glob("*.yaml"))


def menu(*groups: str) -> list[tuple[str, str]]:
    return [(group, option) for group in groups for option in options(group)]


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def experiment(composer: Composer, *overrides: str) -> Experiment:
    return build(composer.compose(overrides))


def message(composer: Composer, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        experiment(composer, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- the menu ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "option"), menu(*[g for g in GROUPS if g != "arms"]))
def test_every_option_composes_and_builds(composer: Composer, group: str, option: str) -> None:
    # A pair without siblings or a sampler without alpha can't fill the default arms; one arm fits all.
    arms = [] if group == "experiment" else ["arms=single"]
    if group == "steering":  # Vectors need categories, and candidates a greedy sampler.
        arms += ["taxonomy=embedded", "sampler=greedy"]
    if group == "engine":  # A server leaves out no id.
        arms += ["sampler.redraw=from_cut"]
    built = experiment(composer, f"{group}={option}", *arms)
    if group == "model_pair":
        assert built.model_pair.name == option


@pytest.mark.parametrize("option", options("arms"))
def test_every_set_of_arms_composes_and_builds(composer: Composer, option: str) -> None:
    steered = ["taxonomy=embedded", "steering=embedded"] if option.startswith("hybrid") else []
    if option == "hybrid_compat":  # Its candidates end in a token.
        steered += ["steering=venhoff2025_embedded", "sampler=greedy"]
    built = experiment(composer, f"arms={option}", *steered)
    assert built.baseline in built.arms
    assert built.sampler in [arm.sampler for arm in built.arms.values()]


@pytest.mark.parametrize("option", options("sweep", LAUNCHERS))
@pytest.mark.parametrize("launcher", options("hydra/launcher", LAUNCHERS))
def test_every_sweep_composes_under_every_launcher(composer: Composer, option: str, launcher: str) -> None:
    if is_study(option):
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    master = composer.compose([f"sweep={option}", f"hydra/launcher={launcher}"], multirun=True)
    cells = composer.cells(master)
    built = [build(cell.config) for cell in cells]
    assert (len(built) > 1) != is_study(option)
    assert build(cells[-1].config) == built[-1]
    told = [str(canonical_form([one.sampler, one.taxonomy, one.steering, one.seed])) for one in built]
    assert len(set(told)) == len(built), "no two cells are one"


def is_study(option: str) -> bool:
    """Whether a sweeper chooses its cells as it goes, so that one stands for all."""
    text = (LAUNCHERS / "sweep" / f"{option}.yaml").read_text()
    return "override /hydra/sweeper: optuna" in text


@pytest.mark.parametrize("option", [option for option in options("sweep", LAUNCHERS) if not is_study(option)])
def test_a_sweeps_file_and_the_readme_tell_its_cells(composer: Composer, option: str) -> None:
    head = (LAUNCHERS / "sweep" / f"{option}.yaml").read_text().split("defaults:")[0]
    n = len(composer.cells(composer.compose([f"sweep={option}"], multirun=True)))
    told = re.search(r"((?:\d+ x )*\d+) cells", head)
    assert told is not None and math.prod(map(int, told[1].split(" x "))) == n and "Cost: " in head
    row = re.search(rf"^\| `{option}` \|.*\| (\d+) \|", (LAUNCHERS / "README.md").read_text(), re.MULTILINE)
    assert row is not None and int(row[1]) == n


def test_the_study_asks_the_same_trials_again_and_maximises_the_metric(composer: Composer) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    sweeper = composer.compose(["sweep=power_study"], multirun=True).hydra.sweeper
    assert (sweeper.direction, sweeper.sampler.seed, sweeper.n_jobs) == ("maximize", 0, 1)
    assert experiment(composer, "arms=power", "metric=accuracy").metric == "accuracy"


TARGETED = [pair for pair in menu(*GROUPS) if pair[0] not in ("arms", "experiment")]
SIBLINGS = {"cue": "hendrycks_math"}
"""Options of a group that have no class of their own are this one, with a few values changed."""


@pytest.mark.parametrize(("group", "option"), TARGETED)
def test_a_file_lists_every_field_and_no_other(group: str, option: str) -> None:
    data = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
    if "_target_" not in data:
        assert data["defaults"] == [SIBLINGS[group], "_self_"]
        return
    known = {field.name for field in dataclasses.fields(target(data["_target_"], group)) if field.init}
    assert set(data) - {"_target_", "defaults"} == known


@pytest.mark.parametrize("option", options("experiment"))
def test_an_experiment_opens_with_its_paper_and_its_published_rows_fit_the_report(
    composer: Composer, option: str
) -> None:
    head = (CONF / "experiment" / f"{option}.yaml").read_text().split("defaults:")[0]
    assert "arXiv" in head
    assert "Published" in head
    built = experiment(composer, f"experiment={option}")
    rows = [Published(**row) for row in built.published if "arm" in row]
    assert all(row.arm is None or row.arm in built.arms for row in rows)
    hybrids = [row for row in built.published if "arm" not in row]
    assert all(tuple(row) == HYBRID_ROW and all(isinstance(cell, str) for cell in row.values()) for row in hybrids)
    assert all(cell in head for row in hybrids for cell in (row["base"], row["hybrid"], row["thinking"]))


@pytest.mark.parametrize("option", options("experiment"))
def test_a_published_row_of_a_hybrid_names_the_version_of_its_paper(composer: Composer, option: str) -> None:
    """Version 1 and the ICML 2026 version have other methods and other numbers for the same pair."""
    rows = [row for row in experiment(composer, f"experiment={option}").published if "arm" not in row]
    version = "ICML 2026 version" if "2026" in option else "version 1"
    assert all(version in row["source"] for row in rows)
    if rows and option.startswith("venhoff"):
        assert version in (CONF / "experiment" / f"{option}.yaml").read_text().splitlines()[1]


PAIRS_2025 = ("r1-math1.5b", "r1-llama8b", "r1-14b", "r1-32b", "qwq-32b")
PAIRS_2026 = (*PAIRS_2025, "orz-0.5b", "orz-1.5b", "orz-7b", "orz-32b")


@pytest.mark.parametrize("pair", PAIRS_2026)
def test_a_pairs_layers_are_those_that_its_file_names(composer: Composer, pair: str) -> None:
    """The comment of conf/model_pair says where the SAE reads and where vectors are added; the experiments do so."""
    head = " ".join((CONF / "model_pair" / f"{pair}.yaml").read_text().split("_target_")[0].replace("#", " ").split())
    told = re.search(r"at layer (\d+) \((\d+) categories\).*at layer (\d+)", head)
    assert told is not None
    names = [f"venhoff2026_math500_{pair}"]
    names += [f"venhoff2025_{benchmark}_{pair}" for benchmark in ("math500", "gsm8k")] if pair in PAIRS_2025 else []
    for name in names:
        built = experiment(composer, f"experiment={name}")
        assert isinstance(built.taxonomy, Taxonomy)
        assert built.model_pair.name == pair
        found = (built.taxonomy.layer, built.taxonomy.n_clusters, built.steering.inner.layer)
        assert found == tuple(map(int, told.groups()))
        if "2025" in name:  # 6 candidates for the 32B models, 50 for the others; never the base model's token left out.
            rule = built.steering.inner.coefficient
            assert isinstance(rule, Candidates)
            assert (len(rule.pairs), rule.include_unsteered) == (6 if "32b" in pair else 50, True)


def test_each_behaviour_of_the_published_code_is_one_switch(composer: Composer) -> None:
    """An arm of venhoff2025_compat differs in one field from the arm that it is read against, whatever the root has."""
    arms = experiment(composer, "experiment=venhoff2025_compat", "steering.vectors.steps=7", "steering.layer=1").arms
    assert arms["hybrid"].steering.inner.vectors.steps == 7

    def leaves(name: str) -> dict[str, object]:
        rule = arms[name].steering
        flat: dict[str, object] = {}
        pending = [("", dataclasses.asdict(rule))]
        while pending:
            path, node = pending.pop()
            for key, value in node.items():
                if isinstance(value, dict):
                    pending.append((f"{path}{key}.", value))
                else:
                    flat[path + key] = value
        return flat

    def changed(name: str, than: str) -> dict[str, object]:
        ours, theirs = leaves(name), leaves(than)
        return {key: ours.get(key) for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}

    assert changed("b1_raw_activations", "hybrid") == {"normalise": False}
    assert changed("b2_input_hook", "hybrid") == {"vectors.hook": "input"}
    assert changed("b3_targets", "hybrid") == {"vectors.positions": "targets"}
    assert changed("b4_no_unsteered", "candidates") == {"coefficient.include_unsteered": False}
    assert changed("b5_unit_vectors", "random_vectors") == {"norm": "unit"}
    assert changed("b6_window_all", "hybrid") == {"window": 0}
    assert changed("b7_strings", "hybrid") == {"vocabulary": "strings"}
    assert changed("compat", "b4_no_unsteered") == {
        "normalise": False, "vectors.hook": "input", "vectors.positions": "targets", "coefficient.windows": (0,),
        "vocabulary": "strings",
    }  # fmt: skip


# -- what reaches what -------------------------------------------------------------------------------------------------


def test_the_root_sampler_reaches_every_arm(composer: Composer) -> None:
    arms = experiment(composer, "sampler.alpha=8", "sampler.n_steps=3", "sampler.block_size=32").arms
    assert arms["power"].sampler == arms["power"].sampler.__class__(192, 8.0, 32, 3)
    assert (arms["power_karan2025"].sampler.alpha, arms["power_karan2025"].sampler.n_steps) == (8, 3)
    assert arms["power_karan2025"].sampler.compat == "karan2025"
    for name in ("low_temperature", "grpo_low_temperature", "thinking_low_temperature"):
        assert arms[name].sampler.temperature == 1 / 8
    for name in ("best_of_n_low_temperature", "majority_low_temperature"):
        assert arms[name].sampler.pool.temperature == 1 / 8
        assert arms[name].sampler.pool.tokens_matched_to == "power"


def test_the_benchmark_sets_every_length(composer: Composer) -> None:
    arms = experiment(composer, "benchmark.max_new_tokens=100").arms
    assert {arm.sampler.max_new_tokens for arm in arms.values()} == {100}


def test_the_main_job_has_the_arms_of_the_paper_and_their_baselines(composer: Composer) -> None:
    built = experiment(composer)
    assert list(built.arms) == [
        "base", "low_temperature", "power", "cue", "cued_power", "greedy", "best_of_n", "best_of_n_low_temperature",
        "majority", "majority_low_temperature", "power_karan2025", "grpo", "grpo_low_temperature", "thinking",
        "thinking_low_temperature",
    ]  # fmt: skip
    assert built.benchmark.n_problems >= 200
    assert built.passk.arms == ("base", "power", "grpo")


def test_best_of_n_and_the_vote_choose_from_one_pool(composer: Composer) -> None:
    arms = experiment(composer).arms
    assert arms["best_of_n"].sampler.pool == arms["majority"].sampler.pool
    assert arms["best_of_n_low_temperature"].sampler.pool == arms["majority_low_temperature"].sampler.pool


def test_the_cue_of_a_benchmark_is_looked_for_on_its_training_side(composer: Composer) -> None:
    """The option has the benchmark's name; a benchmark without one has none, and says so where an arm waits for it."""
    for benchmark in options("benchmark"):
        built = experiment(composer, f"benchmark={benchmark}", "arms=single")
        assert isinstance(built.cue, CueSearch), benchmark
        assert built.cue.benchmark.split == "train"
        assert built.cue.benchmark.max_new_tokens == built.benchmark.max_new_tokens
    assert isinstance(experiment(composer, "cue=none", "arms=single").cue, NoCue)
    assert isinstance(experiment(composer, "benchmark=math500", "cue=gsm8k", "arms=single").cue, CueSearch)


def test_power_and_hybrid_stand_beside_the_cue_and_on_top_of_it(composer: Composer) -> None:
    for group in ("karan2025", "base_model", "karan2025_table1", "baselines"):
        arms = experiment(composer, f"arms={group}").arms
        assert arms["cue"].sampler == Cued(Temperature(192, 1.0))
        assert arms["cued_power"].sampler == Cued(arms["power"].sampler)
    for name in ("hybrid", "venhoff2025_math500_qwq-32b", "venhoff2026_math500_orz-7b"):
        built = experiment(composer, f"experiment={name}")
        assert built.arms["cue"].sampler == built.arms["cued_hybrid"].sampler == Cued(built.sampler)
        assert built.arms["cued_hybrid"].steering == built.steering != built.arms["cue"].steering


def test_a_whole_number_where_a_number_is_wanted_is_the_same_experiment(composer: Composer) -> None:
    assert repr(experiment(composer, "sampler.alpha=4")) == repr(experiment(composer, "sampler.alpha=4.0"))


def test_runtime_and_tracking_are_no_part_of_the_sampler(composer: Composer) -> None:
    plain, other = experiment(composer), experiment(composer, "runtime.rows=7", "tracking=local", "outputs=elsewhere")
    assert plain.arms == other.arms


# -- mistakes ----------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("sampler.alpha=0.5", "sampler.alpha=0.5: must be at least 1; below 1 the law is flattened, not sharpened."),
    ("sampler.alpha=0", "sampler.alpha=0.0: must be at least 1; below 1 the law is flattened, not sharpened."),
    ("sampler.alpha=-4", "sampler.alpha=-4.0: must be at least 1; below 1 the law is flattened, not sharpened."),
    ("sampler.alpha=abc", "sampler.alpha='abc': must be a number."),
    ("sampler.alpha=true", "sampler.alpha=True: must be a number."),
    ("sampler.alpha=[1,2]", "sampler.alpha=[1, 2]: must be a number."),
    ("sampler.alpha=null", "sampler.alpha=null: must be a number."),
    ("sampler.n_steps=0", "sampler.n_steps=0: must be a whole number of at least 1; raise n_steps."),
    ("sampler.n_steps=-3", "sampler.n_steps=-3: must be a whole number of at least 1; raise n_steps."),
    ("sampler.n_steps=2.5", "sampler.n_steps=2.5: must be a whole number."),
    ("sampler.n_steps=true", "sampler.n_steps=True: must be a whole number."),
    ("sampler.block_size=0", "sampler.block_size=0: must be a whole number of at least 1; raise block_size."),
    (
        "sampler.block_size=999",
        "sampler.block_size=999: must be at most max_new_tokens=192; "
        "lower block_size or raise benchmark.max_new_tokens.",
    ),
    (
        "benchmark.max_new_tokens=0",
        "benchmark.max_new_tokens=0: must be a whole number of at least 1; raise max_new_tokens.",
    ),
    ("benchmark.n_problems=0", "benchmark.n_problems=0: must be a whole number of at least 1; raise n_problems."),
    ("sampler.stop_rule=never", "sampler.stop_rule='never': must be one of full_ladder, jump_to_final_cap, first_eos."),
    ("tracking.mode=loud", "tracking.mode='loud': must be one of auto, online, offline, disabled."),
    (
        "sampler.alpa=3",
        "sampler.alpa: no such key; did you mean alpha? sampler has max_new_tokens, alpha, block_size, n_steps, "
        "proposal_temperature, stop_rule, compat, redraw.",
    ),
    (
        "+sampler.alpa=3",
        "sampler.alpa: no such key; did you mean alpha? sampler has max_new_tokens, alpha, block_size, n_steps, "
        "proposal_temperature, stop_rule, compat, redraw.",
    ),
    ("sampler=pwer", f"sampler=pwer: no such option; choose one of {', '.join(options('sampler'))}."),
    ("model_pair=gpt", f"model_pair=gpt: no such option; choose one of {', '.join(options('model_pair'))}."),
    ("sampler.alpha=???", "sampler.alpha: has no value; set sampler.alpha=..."),
    (
        "sampler=greedy",
        "arms.low_temperature.sampler.temperature: refers to sampler.alpha, which the chosen options don't have; "
        "set arms=single, or choose a sampler that has it.",
    ),
    (
        "model_pair=smollm2",
        "arms.grpo.role=grpo: model_pair=smollm2 has no grpo model; choose arms=base_model (or power, single), or drop "
        "the arm by ~arms.grpo.",
    ),
    ("arms.base.role=teacher", "arms.base.role='teacher': must be one of base, thinking, grpo."),
    ("passk.arms=base", "passk.arms='base': must be a list, such as [a,b]."),
    ("sampler=[", None),
    ("sampler.alpha=2,4", None),
    ("sampler", None),
]


@pytest.mark.parametrize(("override", "expected"), MISTAKES, ids=[override for override, _ in MISTAKES])
def test_a_mistake_is_one_message_with_key_value_and_what_is_allowed(
    composer: Composer, override: str, expected: str | None
) -> None:
    found = message(composer, override)
    assert expected is None or found == expected


def test_a_misspelt_group_option_is_listed_at_the_root_too(composer: Composer) -> None:
    assert "did you mean sampler?" in message(composer, "samplr.alpha=3")
    assert "baseline=mean: must be one of the arms (base, " in message(composer, "baseline=mean")


def test_a_mistake_in_one_cell_stops_the_whole_sweep(composer: Composer) -> None:
    master = composer.compose(["sweep=power_grid", "sampler.alpha=2,0.5"], multirun=True)
    with pytest.raises(ConfigError, match=r"sampler.alpha=0.5"):
        [build(cell.config) for cell in composer.cells(master)]


# -- hostile configs ---------------------------------------------------------------------------------------------------

HOSTILE = [
    "sampler._target_=os.system",
    "sampler._target_=subprocess.Popen",
    "sampler._target_=reasoning_lab.main.main",
    "sampler._target_=reasoning_lab.stages.STAGES",
    "sampler._target_=reasoning_lab.model_pair.loaded.load_model",
    "sampler._target_='${benchmark._target_}'",
    "_target_=builtins.exec",
    "+arms.base.steering.x._target_=os.system",
    "+arms.evil={_target_:os.system,command:id}",
    "+published=[{_target_:os.system,command:id}]",
    "benchmark={_target_:builtins.eval,_args_:['1']}",
    "+sampler._partial_=true",
    "+sampler._args_=[1]",
    "+hydra.callbacks.evil._target_=os.system",
    "+hydra.callbacks.evil._target_=hydra.experimental.callbacks.PickleJobInfoCallback",
    "+hydra.callbacks.evil._target_=reasoning_lab.main.main",
    "+hydra.callbacks.evil='${oc.decode:\"{_target_: os.system}\"}'",
    "hydra.callbacks='${oc.decode:\"{evil: {_target_: os.system}}\"}'",
    "hydra.launcher._target_=os.system",
    "hydra.sweeper._target_=subprocess.Popen",
    "+hydra.job_logging.handlers.evil={class:os.system}",
    "+hydra.job_logging.formatters.evil={'()':os.system}",
    "+hydra.hydra_logging.handlers.evil={'()':'ext://os.system'}",
    "hydra.job_logging.handlers.console.stream=ext://os.environ",
    "hydra.run.dir=../elsewhere",
    "hydra.run.dir=outputs/../../elsewhere",
    "hydra.sweep.dir=/tmp/elsewhere",
    "hydra.sweep.subdir=../../elsewhere",
    "+hydra.job.env_set={LD_PRELOAD:evil.so}",
    "hydra.job.chdir=true",
    "title='${oc.env:WANDB_API_KEY}'",
    "title='${oc.env:AWS_SECRET_ACCESS_KEY,none}'",
    "title='${oc.env:SLACK_WEBHOOK_URL,none}'",
    "title='${oc.env:MY_CREDS,none}'",
]


def test_a_run_does_not_change_its_folder(composer: Composer) -> None:
    assert "hydra.job.chdir=True: relative paths" in message(composer, "hydra.job.chdir=true")
    composer.compose(["hydra.job.chdir=false"])


@pytest.mark.parametrize("override", HOSTILE)
def test_a_hostile_override_is_refused_by_its_key(composer: Composer, override: str) -> None:
    found = message(composer, override)
    key = override.lstrip("+").split("=")[0].split(".")[0]
    assert key in found or "_target_" in found


@pytest.mark.parametrize(
    "body",
    [
        "_target_: os.system\ncommand: touch {canary}\n",
        "x: !!python/object/apply:os.system ['touch {canary}']\n",
        "# @package _global_\nhydra:\n  callbacks:\n    evil: {{_target_: os.system, command: touch {canary}}}\n",
        "# @package _global_\nhydra:\n  job_logging: {{handlers: {{evil: {{'()': os.system}}}}}}\n",
        "_target_: &t reasoning_lab.sampler.ancestral.Greedy\nmax_new_tokens: {{_target_: os.system}}\n",
    ],
)
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path: Path, body: str) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "sampler").mkdir()
    (tmp_path / "sampler" / "evil.yaml").write_text(body.format(canary=canary))
    composer = Composer(str(tmp_path))
    with pytest.raises(ConfigError):
        build(composer.compose(["sampler=evil", "arms=single"]))
    assert not canary.exists()


def test_a_hostile_value_in_a_sweep_is_refused_before_the_first_cell(composer: Composer) -> None:
    overrides = ["sweep=power_grid", "sampler._target_=reasoning_lab.sampler.power.Power,os.system"]
    with pytest.raises(ConfigError, match="sampler._target_=os.system: not allowed"):
        composer.cells(composer.compose(overrides, multirun=True))


# -- folders -----------------------------------------------------------------------------------------------------------


def test_run_folders_of_one_second_are_distinct() -> None:
    template = yaml.safe_load((CONF / "config.yaml").read_text())["hydra"]["run"]["dir"]
    found = {OmegaConf.create({"outputs": "o", "stage": "s", "dir": template}).dir for _ in range(200)}
    assert len(found) == 200
    assert len({name[-6:] for name in found}) > 150, "the random part alone tells runs of one microsecond apart"
