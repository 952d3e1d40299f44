"""What a cell is called and how it ended is shown as it is written: brackets are no markup."""

import json
import socket
from pathlib import Path

from reasoning_lab.launch.options import Launching
from reasoning_lab.launch.sweep_folder import Sweep
from tests.command import lab


def test_status_shows_brackets_of_names_and_errors(tmp_path: Path) -> None:
    told = {"status": "failed", "host": socket.gethostname(), "error": "ValueError: ends in [/INST] and [bold]"}
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "status.json").write_text(json.dumps(told))
    launcher = {"_target_": "reasoning_lab.launch.launchers.LocalLauncher", "processes": 1}
    options = Launching(False, False, None, "continue", 9, True)
    Sweep.create(tmp_path, [["arms=[power,base]"], ["arms=[base]"]], options, command="x arms=[power,base]",
                 launcher=launcher, identity="x", files={})  # fmt: skip
    done = lab(tmp_path, "sweep", "status", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "arms=[power,base] " in done.stdout.split("\n", 2)[2]
    assert "[/INST] and [bold]" in done.stdout
