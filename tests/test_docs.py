"""The page of departures and those who cite it: every number is there, and nothing cites what does not ship."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "reasoning_lab" / "docs" / "departures.md"
SOURCES = sorted(
    file
    for folder in ("reasoning_lab", "conf", "multirun_launchers")
    for file in (ROOT / folder).rglob("*")
    if file.suffix in {".py", ".yaml", ".md"} and "__pycache__" not in file.parts
)
NUMBER = re.compile(r"[BD]\d+")
CITATION = re.compile(r"departures((?:[\s#,]|and|to|or|[BD]\d+)*)")
"""The word and the numbers behind it, across the line breaks of a docstring or a comment."""
UNSHIPPED = re.compile(
    r"hybrid_steering\b(?! *=)|power_sampling\b(?! *=)|research notes?\b|"
    r"\b(?:platform|embedded_pair|codebases|field_2026|reliability_performance|design)\.md\b"
)


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def listed() -> list[str]:
    return re.findall(r"^\*\*([BD]\d+)\. ", PAGE.read_text(), re.MULTILINE)


def test_the_page_lists_each_number_once_and_in_order() -> None:
    assert listed() == [f"{paper}{n}" for paper in "DB" for n in range(1, 10)]


def test_what_cites_a_departure_is_read_as_such() -> None:
    text = "as theirs (departures D1, D4\n    and B2), departures B3 to B5; D7 alone is none"
    assert [NUMBER.findall(cited) for cited in CITATION.findall(text)] == [["D1", "D4", "B2"], ["B3", "B5"]]


def test_every_departure_that_is_cited_is_on_the_page() -> None:
    cited = {
        (number, name(file))
        for file in SOURCES
        for numbers in CITATION.findall(file.read_text())
        for number in NUMBER.findall(numbers)
    }
    assert {"D1", "D5", "D9", "B1", "B4", "B9"} <= {number for number, _ in cited}
    assert not {(number, file) for number, file in cited if number not in listed()}


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_nothing_cites_a_note_that_does_not_ship(file: Path) -> None:
    assert not UNSHIPPED.findall(file.read_text())


def test_options_that_the_page_names_exist() -> None:
    groups = {folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir()}
    options = re.findall(r"`(\w+)=(\w+)`", PAGE.read_text())
    assert {"sampler", "steering", "experiment"} <= {group for group, _ in options}
    for group, option in options:
        assert group in groups
        assert (ROOT / "conf" / group / f"{option}.yaml").is_file(), f"{group}={option}"


def test_keys_that_the_page_names_exist() -> None:
    configs = "\n".join(file.read_text() for file in (ROOT / "conf").rglob("*.yaml"))
    keys = {key for line in re.findall(r"`([\w.= ]+)`", PAGE.read_text()) for key in re.findall(r"\.(\w+)=", line)}
    assert {"normalise", "hook", "grader"} <= keys
    for key in keys:
        assert re.search(rf"^ *{key}:", configs, re.MULTILINE), key
