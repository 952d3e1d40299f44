"""Where a page's numbers come from, in words. Dates and commands stand on pages alone: files stay the same bytes."""

from collections.abc import Sequence

from reasoning_lab.report.data import Provenance
from reasoning_lab.report.words import capital

MOST_NAMES = 12
"""Artifacts of a group, or commands, that are named."""


def provenance_facts(given: Provenance) -> list[str]:
    """Code, versions, machine and shape by which the artifacts were built, a line for each that differs; then models
    and data."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for origin in given.origins:
        groups.setdefault(origin.settings, []).append(origin.name)
    lines = [_built(settings, names if len(groups) > 1 else []) for settings, names in groups.items()]
    lines += [
        f"{capital(origin.name)} was begun by an earlier attempt: {'; '.join(settings)}."
        for origin in given.origins
        for settings in origin.earlier
    ]
    return [*lines, *([f"Sources: {'; '.join(given.sources)}."] if given.sources else [])]


def _built(settings: Sequence[str], names: Sequence[str]) -> str:
    what = _listed(list(dict.fromkeys(names))) if names else "All artifacts"
    return f"{capital(what)}: {'; '.join(settings) or 'built by an earlier version, which recorded nothing'}."


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - MOST_NAMES
    return between.join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def provenance_dates(given: Provenance) -> list[str]:
    """When the artifacts were built, by which commands, and when the page was written."""
    dates = sorted(origin.built for origin in given.origins if origin.built)
    commands = dict.fromkeys(origin.command for origin in given.origins if origin.command)
    first, last = (_minute(dates[0]), _minute(dates[-1])) if dates else ("", "")
    return [
        *([f"Built {first}{'' if first == last else f' to {last}'} UTC."] if dates else []),
        *([f"Built by: {_listed(list(commands), '; ')}."] if commands else []),
        *([given.page] if given.page else []),
    ]


def _minute(built: str) -> str:
    """'2026-01-31 12:59' of an ISO time."""
    return built[:16].replace("T", " ")
