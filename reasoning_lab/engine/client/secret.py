"""An API key that shows itself nowhere."""

import os
from typing import Any

SHORTEST = 8
"""Shorter values ("EMPTY", "none") guard nothing; to strike them out would garble texts that contain them."""


class Secret:
    """A key from the environment. Its repr and str are stars, it can't be pickled, and it strikes itself out of any
    text."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")

    def authorise(self, request: Any) -> Any:
        """The HTTP request with the key as its bearer token."""
        request.headers["Authorization"] = f"Bearer {self.__value}"
        return request

    def redact(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self.__value, "***") if len(self.__value) >= SHORTEST else text


def from_environment(name: str | None, optional: bool, group: str, instead: str) -> Secret | None:
    """The key in the environment variable `name`, None where none is set and `optional`.

    Arguments: `group` is the config group whose field api_key_env is, `instead` what to choose without a key. No
    message shows a value, for it may be a key in the wrong place.
    """
    value = os.environ.get(name, "").strip() if name else ""
    if value and not (value.isascii() and value.isprintable() and " " not in value):
        raise ValueError(
            f"{group}.api_key_env={name}: the variable's value has characters that no key has; set it again."
        )
    if not value and not optional:
        export = f"export {name}" if name else "export one and name its variable"
        raise ValueError(
            f"{group}.api_key_env={name}: no key is set there; {export} in the shell, or choose {instead}."
        )
    return Secret(value) if value else None
