"""The files of a taxonomy."""

import csv
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from reasoning_lab.report import HybridReport, write_taxonomy
from tests.report.browser import Page


def test_taxonomy_files(given: HybridReport, tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=160)
    write_taxonomy(given.taxonomy, tmp_path, console)
    assert {path.name for path in tmp_path.iterdir()} == {"categories.csv", "taxonomy.md", "taxonomy.html"}
    with (tmp_path / "categories.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["share"]) for line in lines] == [c.share for c in given.taxonomy.categories]
    parsed = Page((tmp_path / "taxonomy.html").read_text(encoding="utf-8"))
    assert isinstance(console.file, StringIO)
    for words in (
        "".join(parsed.words),
        (tmp_path / "taxonomy.md").read_text(encoding="utf-8"),
        console.file.getvalue(),
    ):
        assert "lexical (TF-IDF, offline)" in words and "1 category has no sentence." in words and "0.81" in words
        assert all(c.title in words for c in given.taxonomy.categories)
    write_taxonomy(replace(given.taxonomy, categories=(), judge="", scores={}), tmp_path / "none", None)
    assert "Nobody named or scored" in (tmp_path / "none" / "taxonomy.md").read_text(encoding="utf-8")
