"""Answers of a model whose ids are not the base model's: scored, shown and compared as the base reads them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reasoning_lab.artifacts.vectors import read_by
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import load_reader
from reasoning_lab.report.collect.answers import collect_report
from reasoning_lab.report.collect.hybrid import collect_hybrid
from reasoning_lab.stages import Run
from tests.runs import answers, run_of, staged
from tests.test_hybrid_stages import PLAIN

EMBEDDED = Path(__file__).parents[2] / "reasoning_lab" / "model_pair" / "embedded"
TURNED = 7


def turned(id: int, size: int) -> int:
    return (id + TURNED) % size


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded base under other ids: every token's, and with it its row of the tied table; one law, written
    otherwise."""
    folder = Path(shutil.copytree(EMBEDDED / "base", tmp_path_factory.mktemp("other") / "model"))
    weights = load_file(folder / "model.safetensors")
    table = weights["model.embed_tokens.weight"]
    size = len(table)
    weights["model.embed_tokens.weight"] = table.roll(TURNED, 0).contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    told = json.loads((folder / "tokenizer.json").read_text())
    told["model"]["vocab"] = {word: turned(id, size) for word, id in told["model"]["vocab"].items()}
    told["added_tokens"] = [each | {"id": turned(each["id"], size)} for each in told["added_tokens"]]
    (folder / "tokenizer.json").write_text(json.dumps(told))
    for name in ("config.json", "generation_config.json"):
        data = json.loads((folder / name).read_text())
        ids = {key: turned(data[key], size) for key in ("eos_token_id", "pad_token_id") if data.get(key) is not None}
        (folder / name).write_text(json.dumps(data | ids))
    return folder


def run_with(other: Path, root: Path) -> Run:
    """The hybrid's experiment with that model as the thinking one; greedy, so that its answers are the base's."""
    greedy = [f"model_pair.thinking.path={other}", "sampler.top_k=1", "stage=report"]
    return run_of(build(Composer().compose([*PLAIN, *greedy, "arms=hybrid_without_bias"])), root)


def test_texts_are_read_token_by_token(other: Path) -> None:
    base, theirs = ModelSource("package:embedded/base"), ModelSource(str(other))
    text = "Lily has 40 cards. She sells 5."
    ours, written = load_reader(base).encode(text), load_reader(theirs).encode(text)
    assert ours != written and read_by(base, theirs, [written]) == [ours]
    assert read_by(base, base, [written]) == [written]


def test_scores_under_the_base_are_of_the_texts_and_not_of_the_numbers(other: Path, tmp_path: Path) -> None:
    run = run_with(other, tmp_path)
    own, theirs = (run.context.get(run.arms.rows[name].draws[0].scores) for name in ("base", "thinking"))
    assert [each.text for each in answers(run, "base")] == [each.text for each in answers(run, "thinking")]
    assert [each.ids for each in answers(run, "base")] != [each.ids for each in answers(run, "thinking")]
    torch.testing.assert_close(torch.tensor(own), torch.tensor(theirs), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_page_shows_the_tokens_of_the_model_that_wrote_them_and_compares_what_the_base_reads(
    other: Path, tmp_path: Path
) -> None:
    """Two models of one law: the same texts in the same pieces, and no place at which they differ."""
    run = run_with(other, tmp_path)
    staged(run.experiment, tmp_path)
    shown = collect_hybrid(run.arms, collect_report(run.arms, "", (), run.context), (), run.context)
    assert shown.token_texts["thinking"] == shown.token_texts["base"]
    read = {arm.name: [answer.ids for answer in arm.completions] for arm in shown.report.arms}
    assert read["thinking"] == read["base"]
    for note, ids in zip(shown.annotations["thinking"], read["thinking"], strict=True):
        assert note.base_choices == note.thinking_choices == ids
    assert shown.shares["thinking"] == shown.shares["base"]
