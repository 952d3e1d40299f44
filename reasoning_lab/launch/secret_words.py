"""What looks like a secret, by its name or by its shape: configs and commands are saved, logged and shared, and no
secret is to be in them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from reasoning_lab.launch.errors import ConfigError

WORDS = ("KEY", "TOKEN", "SECRET", "PASS", "AUTH", "CREDENTIAL", "PWD", "COOKIE", "BEARER")
"""An environment variable with one of these in its name can't be read into a config."""
NO_SECRETS = frozenset({"PWD", "OLDPWD"})
"""Variables of every shell that hold a folder."""
WITHIN = re.compile(
    "SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|COOKIE|BEARER|APIKEY|PWD|AUTHORIZATION|AUTHENTICATION"
)
ENDING = re.compile("(KEYS?|TOKEN|PASS|AUTH)$")
"""Of a part of a key's name: counts are of `tokens`, and a `tokenizer` is none."""
HOUSE_NAMES = frozenset({"api_key_env", "return_token_ids", "return_tokens_as_token_ids"})
"""Keys of our own that sound like a secret and hold none: the name of a variable, switches of a server."""
_SIGNED = re.compile("^(SIG|SIGNATURE)$")
_HASHES = re.compile("revision|commit|sha|hash|digest", re.IGNORECASE)
"""Names of keys whose values may be 40 hexadecimal digits."""
SHAPES = {
    "a URL with a user or a password": re.compile(r"\b[A-Za-z][\w+.-]*://[^/\s@?#]+@"),
    "a key of the Hugging Face hub": re.compile(r"(?<![\w/-])hf_[A-Za-z0-9]{16,}"),
    "an API key": re.compile(
        r"(?<![\w/.-])(sk|pk|rk)-(?=[\w-]*\d)[\w-]{16,}|\bAIza[\w-]{30,}|\b(AKIA|ASIA)[0-9A-Z]{16}\b"
    ),
    "an access token": re.compile(r"\b(gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|pypi-|npm_|wandb_v1_)[\w-]{16,}"),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"),
    "an authorization header": re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{12,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
_HEX_KEY = re.compile(r"[0-9a-f]{40}")
_ASSIGNED = re.compile(
    r"""(?:(?P<query>[?&;#])|(?<![\w.-]))-{0,2}(?P<name>[A-Za-z_][\w.-]*)=["']?(?P<value>[^\s"'&;]+)"""
)
_HARMLESS = re.compile(r"\$.*|null|true|false|", re.IGNORECASE | re.DOTALL)


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable's name says that it holds a secret."""
    return name not in NO_SECRETS and any(word in name.upper() for word in WORDS)


def is_secret_name(key: str) -> bool:
    """Whether a part of a dotted key is the name of a secret: judge.extra.api_key, headers.Authorization."""
    return any(_names_secret(segment) for segment in key.split(".") if segment not in HOUSE_NAMES)


def _names_secret(segment: str) -> bool:
    if WITHIN.search(re.sub(r"[^A-Z]", "", segment.upper())):
        return True
    parts = re.split(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])", segment)
    return any(ENDING.search(part.upper()) for part in parts)


def secret_shape(key: str, text: str) -> str | None:
    """What a text looks like that is, or has in it, a secret; None of any other text."""
    for what, shape in SHAPES.items():
        if shape.search(text):
            return what
    if _HEX_KEY.fullmatch(text) and not _HASHES.search(key):
        return "a key of 40 digits"
    for found in _ASSIGNED.finditer(text):
        signs = found["query"] and _SIGNED.match(found["name"].rpartition("-")[2].upper())
        if (is_secret_name(found["name"]) or signs) and not _HARMLESS.fullmatch(found["value"]):
            return f"a value of {found['name']}"
    return None


def check_no_secrets(plain: Any, path: str = "") -> None:
    """ConfigError for the first value of a plain config that looks like a secret; the value is not shown."""
    for key, value in _leaves(plain, path):
        if is_secret_name(re.sub(r"\[\d+\]", "", key)) and not _is_harmless(value):
            raise ConfigError(_refusal(key, "it has the name of a secret"))
        if isinstance(value, str) and (shape := secret_shape(key, value)):
            raise ConfigError(_refusal(key, f"it looks like {shape}"))


def check_overrides(overrides: Sequence[str]) -> None:
    """The same of the command line, before anything repeats it."""
    for line in overrides:
        key = line.partition("=")[0].lstrip("+~").strip()
        check_no_secrets({key: _value(line)})


def _value(line: str) -> Any:
    """What an override sets: plain data where it is written as such, else its text."""
    try:
        (override,) = OverridesParser.create().parse_overrides([line])
        value = override.value()
    except (HydraException, ValueError, TypeError):
        value = None
    return value if isinstance(value, (dict, list, bool)) else line.partition("=")[2]


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value that is no container, with its key."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from _leaves(child, f"{path}[{index}]")
    else:
        yield path, node


def _is_harmless(value: Any) -> bool:
    return value is None or isinstance(value, bool) or (isinstance(value, str) and bool(_HARMLESS.fullmatch(value)))


def _refusal(key: str, why: str) -> str:
    return (
        f"{key}: {why}, and configs and commands are saved and shared (the value is not shown); leave it in an "
        "environment variable of the shell. A judge's key is read from the one that judge.api_key_env names."
    )
