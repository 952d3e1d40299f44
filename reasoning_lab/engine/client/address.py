"""A server's address and the name of its key, as a config gives them."""

import re
from urllib.parse import urlsplit

from reasoning_lab.checks import require


def check_address(base_url: str, group: str) -> None:
    """ValueError for what is no address, or may hold a secret; `group` is the config group whose field base_url is."""
    parts = urlsplit(base_url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            "base_url: must have no user, password, query or fragment (it is not shown, for it may hold a secret); "
            f"name the key's environment variable in {group}.api_key_env."
        )
    good = parts.scheme in ("http", "https") and bool(parts.hostname)
    require(good, "base_url", base_url, "http://HOST... or https://HOST...", "it usually ends in /v1")


def check_key_name(name: str | None) -> None:
    """ValueError for what can be no environment variable's name."""
    if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            "api_key_env: must be the NAME of an environment variable, such as OPENAI_API_KEY (what is there is "
            "not shown, for it may be a key); export the key in the shell and name its variable."
        )


def is_loopback(base_url: str) -> bool:
    """Whether the server is this machine."""
    host = urlsplit(base_url).hostname or ""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", host) is not None
