"""What a logging section may say. logging.config makes objects of what it reads: classes by `class` and `()`,
attributes by `.`, anything at all by ext:// and cfg://. So every key is known here, and every other is refused."""

import re
from collections.abc import Mapping
from typing import Any

from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.places import check_below

STREAM, FILE = "logging.StreamHandler", "logging.FileHandler"
FORMATTERS = ("logging.Formatter", "colorlog.ColoredFormatter")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
_SECTION = {"version", "formatters", "handlers", "loggers", "root", "disable_existing_loggers", "incremental"}
_HANDLER = {STREAM: {"stream"}, FILE: {"filename", "mode", "delay", "encoding"}}
_FORMATTER = {"format", "datefmt", "style", "class", "()", "log_colors"}
_LOGGER = {"level", "handlers", "propagate"}
_FORMAT = re.compile(r"(%%|[^%]|%\(\w+\)[ 0-]?\d{0,3}(\.\d{1,3})?[sdf])*")
_CONVERTED = re.compile(r"[a-z]+://")


def check_logging(path: str, section: Any, outputs: str) -> None:
    """ConfigError for anything beside plain handlers to the terminal or to files below `outputs`, their formats and
    levels."""
    if section is None:
        return
    _check_keys(path, section, _SECTION)
    for name, formatter in _named(path, section, "formatters"):
        _check_formatter(f"{path}.formatters.{name}", formatter)
    for name, handler in _named(path, section, "handlers"):
        _check_handler(f"{path}.handlers.{name}", handler, outputs)
    loggers = [(f"{path}.loggers.{name}", logger) for name, logger in _named(path, section, "loggers")]
    for where, logger in [*loggers, (f"{path}.root", section.get("root") or {})]:
        _check_keys(where, logger, _LOGGER)
        _check_scalars(where, {key: value for key, value in logger.items() if key != "handlers"})
        if not all(isinstance(name, str) for name in logger.get("handlers") or []):
            raise ConfigError(f"{where}.handlers: must be names of handlers.")
    _check_scalars(path, {key: section[key] for key in section if key in ("version", "incremental")})


def _check_handler(where: str, handler: Any, outputs: str) -> None:
    kind = handler.get("class") if isinstance(handler, Mapping) else None
    if kind not in _HANDLER:
        named = (
            next((key for key in ("()", "class") if key in handler), "class") if kind is None and handler else "class"
        )
        shown = handler.get(named) if isinstance(handler, Mapping) else handler
        raise ConfigError(f"{where}.{named}={shown}: not allowed; a handler is a {STREAM} or a {FILE}.")
    _check_keys(where, handler, {"class", "level", "formatter"} | _HANDLER[kind])
    _check_scalars(where, {key: value for key, value in handler.items() if key not in ("stream", "filename")})
    if (stream := handler.get("stream")) is not None and stream not in STREAMS:
        raise ConfigError(f"{where}.stream={stream}: not allowed; only {' and '.join(STREAMS)} are.")
    if kind == FILE:
        check_below(f"{where}.filename", handler.get("filename"), outputs)


def _check_formatter(where: str, formatter: Any) -> None:
    _check_keys(where, formatter, _FORMATTER)
    for key in ("class", "()"):
        if key in formatter and formatter[key] not in FORMATTERS:
            raise ConfigError(f"{where}.{key}={formatter[key]}: not allowed; a formatter is {' or '.join(FORMATTERS)}.")
    if formatter.get("style", "%") != "%":
        raise ConfigError(f"{where}.style={formatter['style']}: not allowed, for it reaches into objects; use %.")
    layout = formatter.get("format")
    if layout is not None and not (isinstance(layout, str) and len(layout) < 1000 and _FORMAT.fullmatch(layout)):
        raise ConfigError(f"{where}.format={layout!r}: must be text with fields such as %(asctime)s or %(name)20s.")
    colors = formatter.get("log_colors") or {}
    _check_scalars(where, {key: value for key, value in formatter.items() if key not in ("log_colors", "format")})
    _check_keys(f"{where}.log_colors", colors, set(colors) if isinstance(colors, Mapping) else set())
    _check_scalars(f"{where}.log_colors", colors)


def _named(path: str, section: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    """The parts of a section by name."""
    parts = section.get(key) or {}
    _check_keys(f"{path}.{key}", parts, set(parts) if isinstance(parts, Mapping) else set())
    return [(str(name), part) for name, part in parts.items()]


def _check_keys(where: str, node: Any, known: set[str]) -> None:
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where}={node}: must be a mapping.")
    if unknown := [key for key in node if key not in known or not isinstance(key, str)]:
        raise ConfigError(f"{where}.{unknown[0]}: not allowed; it may have {', '.join(sorted(known))}.")


def _check_scalars(where: str, node: Mapping[str, Any]) -> None:
    """Plain values, none of which logging would resolve to an object."""
    for key, value in node.items():
        if isinstance(value, (Mapping, list)) or (isinstance(value, str) and _CONVERTED.match(value)):
            raise ConfigError(f"{where}.{key}={value}: not allowed; write a plain value.")
