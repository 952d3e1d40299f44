"""Whether a run is mirrored online, offline or not at all; decided by the config, then WANDB_MODE, then the key."""

import netrc
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

if TYPE_CHECKING:
    from reasoning_lab.experiment import Tracking  # A mirror has no use for torch.

MODES = ("auto", "online", "offline", "disabled")
ALIVE_SECONDS = 3.0
"""Time in which a W&B server must answer anything at all to be tried [s]."""


def mode_of(tracking: "Tracking", environment: Mapping[str, str]) -> tuple[str, str | None]:
    """How a run is mirrored, and a notice where the user should know why."""
    if tracking.backend == "wandb":
        return resolve_mode(tracking.mode, environment)
    return ("disabled" if tracking.backend == "none" else "offline"), None


def resolve_mode(wanted: str, environment: Mapping[str, str]) -> tuple[str, str | None]:
    """online, offline or disabled, and a notice where the user should know why."""
    if wanted != "auto":
        return wanted, None
    named = environment.get("WANDB_MODE", "")
    if named in MODES[1:]:
        return named, None
    if named:
        return "offline", f"W&B: WANDB_MODE={named} is none of {', '.join(MODES[1:])}; this run is logged offline."
    if has_key(environment):
        return "online", None
    return "offline", (
        "W&B: no API key found, so this run is logged offline, in its folder. Set WANDB_API_KEY or run `wandb login` "
        "to log online, `tracking=local` to do without W&B."
    )


def has_key(environment: Mapping[str, str]) -> bool:
    """Whether a W&B key exists, in the environment or in netrc; its value is not kept."""
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    file = environment.get("NETRC") or str(Path(environment.get("HOME", "~")).expanduser() / ".netrc")
    try:
        return netrc.netrc(file).authenticators(host_of(environment)) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def host_of(environment: Mapping[str, str]) -> str:
    """The W&B server's name, without what a URL may hold of a user."""
    return urlparse(_base_url(environment)).hostname or ""


def unreachable(environment: Mapping[str, str]) -> str | None:
    """Why no server answers, or None; any HTTP answer below 500 but "too many requests" counts as alive."""
    try:
        with urllib.request.urlopen(_base_url(environment), timeout=ALIVE_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return None if error.code < 500 and error.code != 429 else f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return type(error).__name__


def _base_url(environment: Mapping[str, str]) -> str:
    return environment.get("WANDB_BASE_URL") or "https://api.wandb.ai"
