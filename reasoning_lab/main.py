"""The entry: overrides → one typed Experiment, checked before any work → its stage → row.json.

`reasoning-lab` (or `python -m reasoning_lab.main`) composes and checks everything first, for a sweep every cell of it,
and then hands over to Hydra, which runs `launch.job.work` here, in processes of this machine or on a cluster. Nothing
heavy is imported before there is something to check: --help and completion come without torch.
"""

import argparse
import os
import sys

import hydra
from hydra import version
from hydra._internal.utils import get_args_parser

from reasoning_lab.launch.check import check, composer_of
from reasoning_lab.launch.compose import CONFIG_NAME, conf_dir
from reasoning_lab.launch.errors import ConfigError

USAGE_ERROR = 2
"""Exit status of a mistake in files or overrides."""


def main() -> None:
    """The console script."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # Threads that spin for work starve the other cells' threads.
    arguments = get_args_parser().parse_args()
    version.setbase("1.3")
    try:
        if arguments.help:
            return show_help(arguments)
        if arguments.experimental_rerun:
            raise ConfigError(
                "--experimental-rerun reads a pickle, which could run code; give the same overrides again."
            )
        if arguments.cfg or arguments.info or arguments.shell_completion or arguments.hydra_help:
            return show_config()
        launch = check(arguments)
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(USAGE_ERROR)
    from reasoning_lab.launch.sweep import hand_over, run_sweep

    return run_sweep(launch) if launch.is_sweep else hand_over()


def show_help(arguments: argparse.Namespace) -> None:
    """Groups, options and values."""
    text = composer_of(arguments).help(arguments.overrides, arguments.resolve)
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:  # A reader such as `head` has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_config() -> None:
    """Hydra's own answers about the config, which run nothing."""
    hydra.main(version_base="1.3", config_path=conf_dir(), config_name=CONFIG_NAME)(lambda _: None)()


if __name__ == "__main__":
    # Hydra names things by this module, whose name must not be __main__.
    from reasoning_lab.main import main as entry

    entry()
