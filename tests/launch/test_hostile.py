"""A config is no code: files and overrides that would run, import, write or leak something, by mechanism.

Each case of a mechanism is refused in one line, before anything of it happens; its neighbour, which only configures,
passes. Cases in files stand in a folder that is handed in by --config-dir.
"""

import os
import time
from pathlib import Path

import pytest
import yaml

from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer, conf_dir, lab_root, resolved, resolved_hydra
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.options import split_launching
from reasoning_lab.launch.secret_words import HOUSE_NAMES, is_secret_name
from reasoning_lab.launch.sources import check_yaml
from reasoning_lab.launch.typed import build, build_plain
from reasoning_lab.launch.whitelist import check_plain

SECONDS = 5.0
"""In which any answer is there, on a busy machine; the bombs would take for ever."""
ANY = Composer()
"""Where no file is handed in."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, a package that touches the canary when it is imported, and secrets in the environment."""
    package = tmp_path / "modules" / "evilpkg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\n")
    (package / "config.yaml").write_text("a: 1\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("SOME_API_KEY", "hunter22")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter22@host/db")
    monkeypatch.setenv("LAB_FLAVOUR", "vanilla")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def written(place: Path, body: str, file: str = "experiment/given.yaml") -> Composer:
    """A composer with the file in its --config-dir."""
    target = place / "given" / file
    target.parent.mkdir(parents=True, exist_ok=True)
    package = "# @package _global_\n" if file.startswith("experiment/") else ""
    target.write_text(package + body.replace("CANARY", str(place / "canary")))
    return Composer(str(place / "given"))


def launched(composer: Composer, *overrides: str, multirun: bool = False) -> Experiment:
    """All that a launch does with a config before the first work."""
    config = composer.compose(["arms=single", *overrides], multirun)
    resolved_hydra(config)
    if multirun:
        return next(build(cell.config) for cell in composer.cells(config))
    return build(config)


def refused(place: Path, composer: Composer, word: str, *overrides: str, multirun: bool = False) -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        launched(composer, *overrides, multirun=multirun)
    text = str(caught.value)
    assert word in text
    assert "\n" not in text
    assert "hunter22" not in text
    assert not (place / "canary").exists()
    assert not list((place / "here").iterdir())
    assert time.monotonic() - started < SECONDS


# -- files -------------------------------------------------------------------------------------------------------------

LOGGING = {  # name: (handlers, formatters and so on of hydra.job_logging, word of the message)
    "factory": ("{handlers: {e: {'()': os.system, command: touch CANARY}}}", "handlers.e.()=os.system"),
    "factory by a number of the run": (
        "{handlers: {e: {'()': '${oc.select:n.${hydra.job.num}}', command: touch CANARY}}}\nn: {'0': os.system}",
        "handlers.e.()=os.system",
    ),
    "factory of no number": (
        "{handlers: {e: {'()': '${n.n${hydra.job.num}}', command: touch CANARY}}}\nn: {n7: os.system}",
        "hydra.job_logging",
    ),
    "class by interpolation": ("{handlers: {e: {class: '${n}', x: touch CANARY}}}\nn: os.system", "class=os.system"),
    "handler by interpolation": (
        "{handlers: {e: '${n}'}}\nn: {'()': os.system, command: touch CANARY}", "handlers.e.()=os.system"
    ),
    "handlers by a resolver": (
        "{handlers: '${oc.create:{e: {class: os.system}}}'}", "handlers.e.class=os.system"
    ),
    "handler decoded": (
        "{handlers: {e: '${oc.decode:\"{\\\"()\\\": os.system, command: touch CANARY}\"}'}}", "hydra.job_logging"
    ),
    "handler decoded with the run's folder in it": (
        "{handlers: {e: \"${oc.decode:'{class: evilpkg.Handler, x: ${hydra.runtime.output_dir}}'}\"}}",
        "class=evilpkg.Handler",
    ),
    "stream by interpolation": (
        "{handlers: {console: {stream: '${n}'}}}\nn: ext://os.environ", "stream=ext://os.environ"
    ),
    "ext in a level": ("{handlers: {console: {level: 'ext://evilpkg'}}}", "level=ext://evilpkg"),
    "ext in a formatter": ("{formatters: {simple: {datefmt: 'ext://evilpkg'}}}", "datefmt=ext://evilpkg"),
    "cfg": ("{handlers: {console: {level: 'cfg://handlers'}}}", "level=cfg://handlers"),
    "attributes": ("{handlers: {console: {'.': {terminator: x}}}}", "handlers.console.."),
    "filters": ("{filters: {f: {'()': os.system}}}", "job_logging.filters"),
    "filters of a handler": ("{handlers: {console: {filters: [f]}}}", "console.filters"),
    "a queue": ("{handlers: {e: {class: logging.handlers.QueueHandler, queue: evilpkg.x}}}", "QueueHandler"),
    "a socket": ("{handlers: {e: {class: logging.handlers.SocketHandler, host: h, port: 1}}}", "SocketHandler"),
    "formatter class": ("{formatters: {simple: {class: evilpkg.Formatter}}}", "class=evilpkg.Formatter"),
    "formatter factory": ("{formatters: {e: {'()': evilpkg.Formatter}}}", "()=evilpkg.Formatter"),
    "formatter that reaches into objects": ("{formatters: {simple: {style: '{', format: '{args}'}}}", "style={"),
    "formatter of a thousand million columns": ("{formatters: {simple: {format: '%(name)999999999s'}}}", "format="),
    "a file elsewhere": ("{handlers: {file: {filename: CANARY}}}", "filename="),
    "a file beside outputs": ("{handlers: {file: {filename: main.log}}}", "filename=main.log"),
    "a file by interpolation": ("{handlers: {file: {filename: '${n}/x'}}}\nn: /etc", "filename=/etc/x"),
    "a file above outputs": ("{handlers: {file: {filename: '${outputs}/../x.log'}}}", "filename=outputs/../x.log"),
    "a run's own resolver": ("{handlers: {file: {filename: '${hydra:runtime.output_dir}/x'}}}", "filename"),
    "nothing to refer to": ("{loggers: {x: {level: '${nowhere.at.all}'}}}", "hydra.job_logging.loggers.x.level"),
    "a value left open": ("{loggers: {x: {level: '???'}}}", "hydra.job_logging.loggers.x.level"),
    "an unknown resolver": ("{loggers: {x: {level: '${evil:1}'}}}", "hydra.job_logging.loggers.x.level"),
}  # fmt: skip
HYDRA = {  # name: (what stands under hydra and beside it, word of the message)
    "logging of Hydra itself": ("hydra_logging: {handlers: {e: {'()': os.system}}}", "hydra.hydra_logging.handlers.e"),
    "callback": ("callbacks: {e: {_target_: os.system, command: touch CANARY}}", "hydra.callbacks.e"),
    "callback of Hydra's": (
        "callbacks: {e: {_target_: hydra.experimental.callbacks.LogJobReturnCallback}}", "hydra.callbacks.e"
    ),
    "callback by interpolation": ("callbacks: '${n}'\nn: {e: {_target_: os.system}}", "hydra.callbacks.e"),
    "callback by a resolver": ("callbacks: {e: '${oc.create:{_target_: os.system}}'}", "hydra.callbacks.e"),
    "launcher's class by interpolation": ("launcher: {_target_: '${n}'}\nn: os.system", "launcher._target_=os.system"),
    "class within the launcher": ("launcher: {e: {_target_: os.system}}", "hydra.launcher"),
    "arguments of the launcher": ("launcher: {_args_: [1]}", "launcher._args_"),
    "shell lines": ("launcher: {setup: [touch CANARY]}", "hydra.launcher.setup"),
    "shell lines by interpolation": ("launcher: {setup: '${n}'}\nn: [touch CANARY]", "hydra.launcher.setup"),
    "batch options": ("launcher: {additional_parameters: {wrap: touch CANARY}}", "additional_parameters"),
    "a second line in a name": ('launcher: {partition: "main\\ntouch CANARY"}', "hydra.launcher.partition"),
    "sweeper's class": ("sweeper: {_target_: subprocess.Popen}", "sweeper._target_=subprocess.Popen"),
    "class within the sweeper": ("sweeper: {sampler: {_target_: os.system}}", "sampler._target_=os.system"),
    "an axis of Hydra's": ("sweeper: {params: {+hydra.callbacks.e._target_: os.system}}", "params.+hydra.callbacks"),
    "code of the search space": ("sweeper: {custom_search_space: evilpkg.f}", "custom_search_space=evilpkg.f"),
    "a study elsewhere": ("sweeper: {storage: 'sqlite:///CANARY'}", "hydra.sweeper.storage"),
    "a study by a driver": ("sweeper: {storage: 'evil+pkg://x'}", "hydra.sweeper.storage"),
    "folder of runs": ("run: {dir: CANARY}", "hydra.run.dir"),
    "folder of runs by interpolation": ("run: {dir: '${outputs}/${n}'}\nn: ../../x", "hydra.run.dir"),
    "folder of sweeps": ("sweep: {dir: ../x}", "hydra.sweep.dir"),
    "folder of cells": ("sweep: {subdir: '${hydra.job.num}/../../x'}", "hydra.sweep.subdir"),
    "folder of cells at the root": ("sweep: {subdir: /x}", "hydra.sweep.subdir"),
    "folder of the config": ("output_subdir: ../../x", "hydra.output_subdir"),
    "no folder of the config": ("output_subdir: null", "hydra.output_subdir"),
    "name of the log": ("job: {name: ../../x}", "hydra.job.name"),
    "working directory": ("job: {chdir: true}", "hydra.job.chdir"),
    "environment": ("job: {env_set: {LD_PRELOAD: evil.so}}", "hydra.job.env_set"),
    "environment copied": ("job: {env_copy: [SOME_API_KEY]}", "hydra.job.env_copy"),
    "folder of jobs": ("launcher: {submitit_folder: CANARY}", "submitit_folder"),
    "verbosity": ("verbose: {a: 1}", "hydra.verbose"),
    "overrides that nobody typed": ("overrides: {hydra: ['hydra.launcher.setup=[touch CANARY]']}", "hydra.overrides"),
}  # fmt: skip
TASK = {
    "class by interpolation": ("sampler: {_target_: '${n}'}\nn: os.system", "sampler._target_=os.system"),
    "class by a resolver": ("title: '${oc.create:{_target_: os.system}}'", "title._target_=os.system"),
    "class in free values": ("published: [{_target_: os.system}]", "published[0]._target_=os.system"),
    "module by a lookalike": ("sampler: {_target_: reasoning_lab.ｏs.system}", "sampler._target_"),
    "partial": ("sampler: {_partial_: true}", "sampler._partial_"),
    "secret of the environment": ("title: '${oc.env:SOME_API_KEY}'", "SOME_API_KEY"),
    "secret by an interpolated name": ("title: '${oc.env:SOME_${published}}'\npublished: API_KEY", "SOME_API_KEY"),
    "secret decoded": ("title: '${oc.decode:${oc.env:SOME_API_KEY}}'", "SOME_API_KEY"),
    "secret with a default": ("title: '${oc.env:OTHER_PASSWORD,none}'", "OTHER_PASSWORD"),
    "secret in a harmless name": ("title: '${oc.env:DATABASE_URL}'", "DATABASE_URL"),
    "an interpolation left for later": (r"title: '\${oc.env:SOME_API_KEY}'", "title"),
    "interpolations of characters": (
        "a0: xxxxxxxxxx\n" + "".join(f"a{n + 1}: '{f'${{a{n}}}' * 10}'\n" for n in range(10)), "stand for more"
    ),
    "interpolations of lists": (
        "a0: [x]\n" + "".join(f"a{n + 1}: {[f'${{a{n}}}'] * 10}\n" for n in range(9)), "stand for more"
    ),
    "interpolation of itself": ("title: '${title}'", "title"),
}  # fmt: skip
YAML = {
    "tag of a call": ("!!python/object/apply:os.system ['touch CANARY']", "tag !!python/object/apply:os.system"),
    "tag of a value": ("title: !!python/object/apply:os.system ['touch CANARY']", "tag !!python"),
    "tag of a path": ("title: !!python/object/apply:pathlib.Path [CANARY]", "tag !!python"),
    "tag of one's own": ("title: !evil x", "tag !evil"),
    "a key twice": ("title: a\ntitle: b", "key title stands there twice"),
    "a number as key twice": ("arms: {1: a, 1: b}", "key 1 stands there twice"),
    "a list as key": ("? [a]\n: 1", "a key is a list"),
    "anchors of anchors": (
        "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(12)),
        "anchors stand for more",
    ),
    "merges of merges": (
        "a0: &a0 {x: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{p: *a{n}, q: *a{n}}}\n" for n in range(40)),
        "anchors",
    ),
    "an anchor within itself": ("a: &a [*a]", "within itself"),
    "depth": ("a: " + "[" * 50_000, "within one another"),
    "many values": ("a: [" + "1," * 40_000 + "]", "more than 10,000 values"),
    "a large file": ("title: " + "x" * 200_000, "bytes"),
    "many interpolations": ("title: '" + "${seed}" * 1000 + "'", "interpolations"),
    "no yaml": ("a: [", "no valid yaml"),
    "a list": ("- a\n- b", "given"),
    "defaults outside the folder": ("defaults: [/../../secret]", "secret"),
    "defaults of itself": ("defaults: [/experiment/given]", "lead to one another"),
    "defaults that are none": ("defaults: {a: [1]}", "efaults"),
}


def in_hydra(section: str) -> str:
    """The lines under `hydra`, what follows them at the root."""
    first, _, rest = section.partition("\n")
    return f"hydra:\n  {first}\n{rest}\n"


CASES = (
    [(f"logging: {name}", in_hydra(f"job_logging: {body}"), word) for name, (body, word) in LOGGING.items()]
    + [(f"hydra: {name}", in_hydra(body), word) for name, (body, word) in HYDRA.items()]
    + [(f"task: {name}", body, word) for name, (body, word) in TASK.items()]
    + [(f"yaml: {name}", body, word) for name, (body, word) in YAML.items()]
)
ON_SLURM = ("setup", "additional_parameters", "partition", "submitit_folder")


@pytest.mark.parametrize(("name", "body", "word"), CASES, ids=[name for name, _, _ in CASES])
def test_a_hostile_file_is_refused_by_name_and_does_nothing(place: Path, name: str, body: str, word: str) -> None:
    (place / "secret.yaml").write_text("title: hunter22\n")
    slurm = ["hydra/launcher=slurm"] if any(key in body for key in ON_SLURM) else []
    optuna = (
        ["hydra/sweeper=optuna"] if "custom_search_space" in body or "storage" in body or "sampler: {_t" in body else []
    )
    refused(
        place, written(place, body), word, "experiment=given", *slurm, *(optuna if name.startswith("hydra") else [])
    )


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


BENIGN = {
    "logging to a file below outputs": "hydra: {job_logging: {handlers: {file: {filename: '${outputs}/all.log'}}}}",
    "levels and formats": "hydra: {job_logging: {root: {level: DEBUG}, formatters: {simple: {format: '%(message)s'}}}}",
    "a terminal": "hydra: {job_logging: {handlers: {console: {stream: ext://sys.stderr}}}}",
    "a level by interpolation": "hydra: {job_logging: {root: {level: '${oc.env:LAB_LEVEL,INFO}'}}}",
    "a folder for runs": "hydra: {run: {dir: '${outputs}/mine/${now:%H-%M-%S}'}}",
    "a folder for cells": "hydra: {sweep: {dir: '${outputs}/mine', subdir: 'cell_${hydra.job.num}'}}",
    "a name of the log": "hydra: {job: {name: my_run-2.log}}",
    "loggers by name": "hydra: {verbose: [reasoning_lab]}",
    "no working directory": "hydra: {job: {chdir: false}}",
    "axes": "hydra: {sweeper: {params: {sampler.alpha: '1,2'}}}",
    "a folder of the environment": "title: '${oc.env:PWD} ${oc.env:LAB_FLAVOUR}'",
    "interpolations": "title: '${seed} ${sampler.alpha} ${stage}'",
    "a standard tag": "title: !!str 5",
    "anchors": "published: [&a {what: x}, *a]",
    "merges": "published: [{what: &a {b: 1}, c: {<<: *a}}]",
    "a class of ours by name": "sampler: {_target_: reasoning_lab.sampler.power.Power}",
    "defaults within the folder": "defaults: [other]",
}


@pytest.mark.parametrize("name", BENIGN)
def test_its_benign_neighbour_passes(place: Path, name: str) -> None:
    composer = written(place, BENIGN[name])
    (place / "given" / "experiment" / "other.yaml").write_text("# @package _global_\ntitle: other\n")
    assert launched(composer, "experiment=given", "sampler=power").stage == "report"


# -- search paths, links, numbers of cells -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["pkg://evilpkg", "pkg://evilpkg.sub", "file:///nowhere/at/all", "evil://x"])
def test_a_search_path_is_a_folder(place: Path, path: str) -> None:
    composer = written(place, "")
    word = path.replace("evil://x", "schema evil")
    refused(place, composer, word, f"hydra.searchpath=['{path}']")
    (place / "given" / "mine.yaml").write_text(
        f"defaults: [config, _self_]\nn: '{path}'\nhydra:\n  searchpath: ['${{n}}']\n"
    )
    refused(place, Composer(str(place / "given"), "mine"), word)


def test_a_search_path_that_is_a_folder_is_searched(place: Path) -> None:
    (place / "more" / "experiment").mkdir(parents=True)
    (place / "more" / "experiment" / "extra.yaml").write_text("# @package _global_\ntitle: found\n")
    folders = f"['file://{place}/more','file://{lab_root()}/multirun_launchers']"
    found = launched(Composer(), f"hydra.searchpath={folders}", "experiment=extra")
    assert found.title == "found"


@pytest.mark.parametrize(
    ("link", "key"), [("runs", "hydra.run.dir"), ("sweeps", "hydra.sweep.dir")], ids=["runs", "sweeps"]
)
def test_a_link_that_leads_out_of_outputs_is_elsewhere(place: Path, link: str, key: str) -> None:
    (place / "out").mkdir()
    (place / "out" / link).symlink_to("/etc")
    with pytest.raises(ConfigError, match=f"{key}=.*it leads to /etc/"):
        launched(Composer(), f"outputs={place}/out")


def test_outputs_itself_may_be_a_link(place: Path) -> None:
    (place / "real").mkdir()
    (place / "out").symlink_to(place / "real")
    assert launched(Composer(), f"outputs={place}/out").outputs == f"{place}/out"


def test_a_file_that_is_a_link_out_of_its_folder_is_not_read(place: Path) -> None:
    (place / "secret.yaml").write_text("# @package _global_\ntitle: hunter22\n")
    composer = written(place, "")
    (place / "given" / "experiment" / "link.yaml").symlink_to(place / "secret.yaml")
    refused(place, composer, "leads out of", "experiment=link")


def test_a_cell_is_checked_by_its_own_number(place: Path) -> None:
    """What is harmless in the first cell and not in the fourth is refused where the fourth is written down."""
    file = "{filename: '${oc.select:n.${hydra.job.num}}'}"
    body = f"hydra: {{job_logging: {{handlers: {{file: {file}}}}}}}\nn: {{'0': outputs/a, '3': /etc/x}}"
    composer = written(place, body)
    config = composer.compose(["experiment=given"])
    assert resolved_hydra(config, Path("outputs/0"), 0)["job_logging"]["handlers"]["file"]["filename"] == "outputs/a"
    with pytest.raises(ConfigError, match="filename=/etc/x"):
        resolved_hydra(config, Path("outputs/3"), 3)


def test_nothing_is_left_to_be_resolved(place: Path) -> None:
    """The data that is saved is plain; read again by anybody it is what was checked."""
    config = Composer().compose(["title='a ${seed}'", "arms=single"])
    plain = resolved_hydra(config, place / "here" / "outputs" / "runs" / "x")
    again = yaml.safe_load(yaml.safe_dump(plain))
    assert again == plain
    assert plain["overrides"]["task"] == ["title='a ${seed}'", "arms=single"]
    assert plain["job_logging"]["handlers"]["file"]["filename"] == f"{place}/here/outputs/runs/x/main.log"
    del plain["overrides"]
    assert "${" not in str(plain)
    task = split_launching(resolved(config))[1]
    assert build_plain(yaml.safe_load(yaml.safe_dump(task))) == build(config)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("sampler", {"_target_": "os.system"}, "sampler._target_=os.system"),
        ("title", "${oc.env:HOME}", "title"),
        ("title", "???", "title"),
        ("title", object(), "title: is a object"),
        ("outputs", "postgresql://me:hunter22@host/db", "outputs"),
    ],
    ids=["class", "interpolation", "missing", "object", "secret"],
)
def test_a_saved_config_is_checked_again_when_a_job_reads_it(key: str, value: object, word: str) -> None:
    plain = split_launching(resolved(Composer().compose(["arms=single"])))[1]
    check_plain(plain)
    with pytest.raises(ConfigError) as caught:
        build_plain(plain | {key: value})
    assert word in str(caught.value)
    assert "hunter22" not in str(caught.value)


# -- shell lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        ["slurm", "hydra.launcher.setup=['module load cuda','source env.sh']"],
        ["slurm", "+hydra.launcher.additional_parameters={exclusive: true}"],
        ["submitit_slurm", "+hydra.launcher.additional_parameters.exclusive=true"],
        ["slurm_gpu", "hydra.launcher.partition=gpu"],
        ["local"],
    ],
    ids=" ".join,
)
def test_shell_lines_may_be_typed(place: Path, overrides: list[str]) -> None:
    assert launched(Composer(), f"hydra/launcher={overrides[0]}", *overrides[1:], multirun=True)


def test_shell_lines_of_a_file_that_takes_the_labs_name_are_refused(place: Path) -> None:
    own = (lab_root() / "multirun_launchers" / "hydra" / "launcher" / "slurm.yaml").read_text()
    composer = written(place, own.replace("setup: null", "setup: [touch CANARY]"), "hydra/launcher/slurm.yaml")
    refused(place, composer, "hydra.launcher.setup", "hydra/launcher=slurm", multirun=True)


def test_shell_lines_that_were_typed_are_not_another_files(place: Path) -> None:
    composer = written(place, "hydra: {launcher: {setup: [touch CANARY]}}")
    overrides = ["experiment=given", "hydra/launcher=slurm"]
    refused(place, composer, "hydra.launcher.setup", *overrides, "hydra.launcher.partition=x", multirun=True)
    assert launched(composer, *overrides, "hydra.launcher.setup=[module load cuda]", multirun=True)


# -- secrets -----------------------------------------------------------------------------------------------------------

KEYS = [
    "api_key", "apiKey", "X-Api-Key", "access_token", "token", "client_secret", "password", "passwd", "db_pass", "PASS",
    "passphrase", "auth", "Authorization", "headers.authorization", "credentials", "PWD", "DBPWD", "session_cookie",
    "bearer", "private_key", "hf_token", "wandbKey", "oauth", "keys",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_key_with_the_name_of_a_secret_is_refused_and_its_value_not_shown(place: Path, key: str) -> None:
    refused(place, ANY, key, f"+judge.extra.{key}=hunter22", "judge=openai")
    refused(place, ANY, key, f"{key}=hunter22")


@pytest.mark.parametrize(
    "key", ["api_key: hunter22", "headers: {Authorization: hunter22}", "x: sk-hunter22hunter22hun"]
)
def test_a_secret_in_a_file_is_refused_too(place: Path, key: str) -> None:
    composer = written(place, f"judge: {{extra: {{{key}}}}}")
    refused(place, composer, "judge.extra.", "experiment=given", "judge=openai")


VALUES = {
    "judge.base_url=https://me:hunter22@host/v1": "judge.base_url",
    "judge.base_url='https://host/v1?api_key=hunter22'": "judge.base_url",
    "title='https://host/x?a=1&X-Amz-Signature=hunter22'": "title",
    "title='see https://hunter22token@host/'": "title",
    "title=hf_hunter22hunter22hunter22": "title",
    "judge.api_key_env=sk-proj-hunter22hunter22hunter22": "judge.api_key_env",
    "title=ghp_hunter22hunter22hunter22": "title",
    "title=AKIAHUNTER22HUNTER22": "title",
    "tracking.entity=0123456789abcdef0123456789abcdef01234567": "tracking.entity",
    "title=eyJhunter22xx.eyJhunter22.sig": "title",
    "title='Bearer hunter22hunter22'": "title",
    "hydra.launcher.setup=['export HF_TOKEN=hunter22']": "hydra.launcher.setup",
    "hydra.launcher.setup=['login --password=hunter22']": "hydra.launcher.setup",
    "+judge.extra={headers: {Authorization: hunter22}}": "judge.extra.headers.Authorization",
    "seed=1,hunter22,sk-hunter22hunter22hunter22": "seed",
}


@pytest.mark.parametrize("override", VALUES)
def test_a_value_that_looks_like_a_secret_is_refused_and_not_shown(place: Path, override: str) -> None:
    refused(place, ANY, VALUES[override], override)


@pytest.mark.parametrize(
    "overrides",
    [
        ["benchmark.max_new_tokens=100"],
        ["judge=openai", "judge.api_key_env=MY_KEY", "+judge.extra.max_thinking_tokens=5", "+judge.extra.tokenizer=x"],
        ["judge=openai", "judge.base_url=http://localhost:8000/v1"],
        ["benchmark=gsm8k", "benchmark.revision=cc7b047b6e5bb11b4f1af84efc572db110a51b3c"],
        ["title='keys, tokens and passes at k: https://arxiv.org/abs/2510.14901?x=1'"],
        ["passk.n_samples=4"],
        ["hydra/launcher=slurm", "hydra.launcher.setup=['export HF_TOKEN=$(cat token)','export OMP_NUM_THREADS=1']"],
        ["tracking.project=sk-learn", "outputs=outputs/hf_models"],
    ],
    ids=lambda overrides: overrides[-1],
)
def test_what_only_sounds_like_a_secret_passes(place: Path, overrides: list[str]) -> None:
    assert launched(ANY, *overrides)


def test_no_key_of_the_house_sounds_like_a_secret_but_those_that_are_known() -> None:
    def names(node: object) -> set[str]:
        if isinstance(node, dict):
            return set(map(str, node)).union(*map(names, node.values()))
        return set().union(*map(names, node)) if isinstance(node, list) else set()

    folders = (Path(conf_dir()), lab_root() / "multirun_launchers")
    every = set().union(*(names(yaml.safe_load(f.read_text())) for d in folders for f in d.glob("**/*.yaml")))
    assert {name for name in every if is_secret_name(name)} == set()
    assert every >= HOUSE_NAMES


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("benchmark.n_problems=1000000000000", "benchmark.n_problems=1000000000000: must be a whole number of at most"),
        ("benchmark.n_problems=1000001", "benchmark.n_problems=1000001: must be at most 1,000,000; lower n_problems."),
        ("benchmark.n_problems=1e12", "benchmark.n_problems=1000000000000.0: must be a whole number"),
        ("n_samples=999999999", "n_samples=999999999: must be at most 10,000,000"),
        ("n_samples=1000000", "n_samples=1000000: must be at most 10,000,000 chains, and"),
        ("benchmark.max_new_tokens=99999999", "max_new_tokens=99999999: must be at most 10,000,000"),
        ("sampler.n_steps=99999999", "sampler.n_steps=99999999: must be at most 10,000,000"),
        ("runtime.rows=99999", "runtime.rows=99999: must be at most 65,536; lower rows."),
        ("runtime.workers=99999", "runtime.workers=99999: must be at most 1,024; lower workers."),
        ("runtime.threads=99999", "runtime.threads=99999: must be from 0 to 1,024"),
        ("runtime.threads=-1", "runtime.threads=-1: must be from 0 to 1,024"),
        ("passk.n_samples=99999999", "passk.n_samples=99999999: must be at most"),
        ("seed=99999999999999999999", "seed=99999999999999999999: must be a whole number of at most"),
        ("typical_length=nan", "typical_length=nan: must be a finite number."),
        ("typical_length=inf", "typical_length=inf: must be a finite number."),
        ("sampler.alpha=inf", "sampler.alpha=inf: must be a finite number."),
        ("sampler.alpha=-inf", "sampler.alpha=-inf: must be a finite number."),
        ("runtime.checkpoint_seconds=nan", "runtime.checkpoint_seconds=nan: must be a finite number."),
        ("+published=[{what: x, accuracy: nan}]", "published[0].accuracy=nan: must be a finite number."),
    ],
)
def test_a_number_beyond_any_use_is_refused_at_once(place: Path, override: str, word: str) -> None:
    refused(place, ANY, word, override)


def test_numbers_in_use_pass(place: Path) -> None:
    built = launched(Composer(), "benchmark.n_problems=5000", "n_samples=64", f"seed={2**62}", "runtime.rows=4096")
    assert (built.benchmark.n_problems, built.seed) == (5000, 2**62)


@pytest.mark.parametrize("text", ["a: 1\n", "", "# only words\n", "a: [1, 2]\nb: {c: &x d, e: *x}\n"])
def test_plain_yaml_passes(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    check_yaml("a.yaml", tmp_path / "a.yaml")
    assert os.listdir(tmp_path) == ["a.yaml"]
