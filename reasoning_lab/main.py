"""The entry: overrides → one typed Experiment, checked before any work → its stage → row.json.

`reasoning-lab` (or `python -m reasoning_lab.main`) composes and checks everything first, for a sweep every cell of it,
and writes down what it checked: what works later, here or on a cluster, reads that and composes nothing. Nothing heavy
is imported before there is something to check: --help, completion and a look at a sweep come without torch.
"""

import argparse
import os
import sys
from pathlib import Path

from reasoning_lab.disk import disk_error
from reasoning_lab.launch.errors import ConfigError

USAGE_ERROR = 2
"""Exit status of a mistake in files or overrides."""


def main() -> None:
    """The console script."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # Threads that spin for work starve the other cells' threads.
    try:
        sys.exit(_status(sys.argv[1:]))
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(USAGE_ERROR)
    except OSError as error:
        if (told := disk_error(error, Path.cwd())) is None:
            raise
        sys.stderr.write(f"error: {told}\n")
        sys.exit(1)


def _status(words: list[str]) -> int:
    """Do what was typed; the exit status."""
    if words[:1] == ["sweep"]:
        from reasoning_lab.launch.commands import sweep_command

        return sweep_command(words[1:])
    from hydra import version
    from hydra._internal.utils import get_args_parser

    arguments = get_args_parser().parse_args()
    version.setbase("1.3")
    if arguments.help:
        return show_help(arguments)
    if arguments.experimental_rerun:
        raise ConfigError("--experimental-rerun reads a pickle, which could run code; give the same overrides again.")
    if arguments.cfg or arguments.info or arguments.shell_completion or arguments.hydra_help:
        return show_config(arguments)
    from reasoning_lab.launch.check import is_sweep
    from reasoning_lab.launch.start import run_one, run_sweep

    return run_sweep(arguments) if is_sweep(arguments) else run_one(arguments)


def show_help(arguments: argparse.Namespace) -> int:
    """Groups, options and values."""
    from reasoning_lab.launch.check import composer_of

    text = composer_of(arguments).help(arguments.overrides, arguments.resolve)
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:  # A reader such as `head` has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def show_config(arguments: argparse.Namespace) -> int:
    """Hydra's own answers about the config, which run nothing; a config that would be refused is refused here."""
    import hydra

    from reasoning_lab.launch.check import composer_of
    from reasoning_lab.launch.compose import CONFIG_NAME, conf_dir, own_the_launchers

    own_the_launchers()
    if not arguments.shell_completion:
        composer_of(arguments).compose(arguments.overrides, arguments.multirun)
    hydra.main(version_base="1.3", config_path=conf_dir(), config_name=CONFIG_NAME)(lambda _: None)()
    return 0


if __name__ == "__main__":
    # Hydra names things by this module, whose name must not be __main__.
    from reasoning_lab.main import main as entry

    entry()
