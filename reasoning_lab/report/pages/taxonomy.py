"""The page of a taxonomy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_lab.report.data import TaxonomyView
from reasoning_lab.report.pages.kit import html_page
from reasoning_lab.report.views.taxonomy import print_taxonomy, write_categories, write_taxonomy_markdown

if TYPE_CHECKING:
    from rich.console import Console


def write_taxonomy(view: TaxonomyView, out_dir: Path, console: Console | None = None) -> None:
    """categories.csv, taxonomy.md and taxonomy.html; the table on the terminal too where one is given."""
    out_dir.mkdir(parents=True, exist_ok=True)
    write_categories(view, out_dir)
    write_taxonomy_markdown(view, out_dir / "taxonomy.md")
    (out_dir / "taxonomy.html").write_text(html_page("taxonomy", "Taxonomy", {}, view=view), encoding="utf-8")
    if console is not None:
        print_taxonomy(view, console)
