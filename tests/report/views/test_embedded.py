"""Data that may stand inside a script element."""

import json
import re

import pytest

from reasoning_lab.report.views.embedded import embedded_json
from reasoning_lab.report.words import visible
from tests.report.browser import HOSTILE, Page


@pytest.mark.parametrize("text", [HOSTILE, "<!--<script>", "a\ufeffb", "𝔸" * 3])
def test_embedded_json_survives_a_script_element(text: str) -> None:
    document = embedded_json({"text": visible(text)})
    assert not re.search(r"[<>&]", document)
    assert json.loads(document)["text"] == visible(text)
    assert json.loads(Page(f'<script type="application/json">{document}</script>').scripts[0])["text"] == visible(text)
