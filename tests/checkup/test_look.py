"""Every claim of stage=check, green where nothing is wrong and red where a defect was planted."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.checkup import look
from reasoning_lab.checkup.findings import Claim, Finding, findings_table
from reasoning_lab.checkup.law import law_claims, stream_claims, weight_claims
from reasoning_lab.checkup.look import look_at
from reasoning_lab.checkup.machine import Need, free_memory, memory_claim, speed_claim
from reasoning_lab.checkup.tokens import token_claims, vocabulary_claims
from reasoning_lab.engine.transformers import RowCache
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.loaded import LoadedModel, load_model
from reasoning_lab.model_pair.pair import ModelSource, PromptFormat
from reasoning_lab.model_pair.reader import Reader, load_reader
from reasoning_lab.model_pair.residual import Decoder
from reasoning_lab.stages import Run
from reasoning_lab.steering.hybrid.parts import Parts
from tests.command import lab
from tests.hub import RLVR, tiny
from tests.runs import run_of, staged

EMBEDDED = Path(__file__).parents[2] / "reasoning_lab" / "model_pair" / "embedded"
QUESTION = "Lily has 40 cards. She sells 5. How many cards now?\n"
SMALL = ("tracking=local", "runtime.device=cpu", "runtime.threads=1", "runtime.workers=1", "runtime.rows=4",
         "benchmark.n_problems=4", "stage=check")  # fmt: skip
R1 = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
QWQ = "Qwen/QwQ-32B"
CHATS = (
    R1, QWQ, "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Open-Reasoner-Zero/Open-Reasoner-Zero-0.5B",
    "microsoft/Phi-3.5-mini-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3-1.7B",
    "allenai/OLMo-2-0425-1B-Instruct",
)  # fmt: skip


def looked(root: Path, *overrides: str) -> list[Finding]:
    run = made(root, *overrides)
    return list(look_at(run.experiment, run.arms, run.context))


def made(root: Path, *overrides: str) -> Run:
    return run_of(build(Composer().compose([*SMALL, *overrides])), root)


def broken(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Those that don't hold, by claim; each with a next move."""
    red = {each.claim: each for each in findings if not each.holds}
    assert all(each.move and each.found for each in red.values())
    return red


def seen(claims: Iterator[Claim]) -> dict[str, Finding]:
    return broken([claim.finding() for claim in claims])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the embedded base, to be spoilt."""
    return Path(shutil.copytree(EMBEDDED / "base", tmp_path / "model"))


def edit(file: Path, **changed: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def loaded(folder: Path) -> LoadedModel[Any]:
    return load_model(ModelSource(str(folder)), "float32", "cpu")


def reader_of(folder: Path, prompt_format: PromptFormat = "raw") -> Reader:
    return load_reader(ModelSource(str(folder), prompt_format=prompt_format))


def token_reds(folder: Path, prompt_format: PromptFormat = "chat", tags: tuple[str, ...] = ()) -> dict[str, Finding]:
    return seen(token_claims("thinking", reader_of(folder, prompt_format), QUESTION.strip(), tags))


# --- the whole --------------------------------------------------------------------------------------------------------


def test_all_claims_hold_of_the_embedded_pair(tmp_path: Path) -> None:
    heard = StringIO()
    run = run_of(build(Composer().compose([*SMALL, "experiment=hybrid", "stage=check"])), tmp_path, heard=heard)
    metrics = staged(run.experiment, tmp_path)
    written = json.loads((tmp_path / "runs" / "run" / "check.json").read_text())
    assert metrics == {"claims": float(len(written))} and all(each["holds"] for each in written)
    assert {"base", "thinking", "hybrid", "machine", "benchmark", "judge", "run"} <= {
        each["subject"] for each in written
    }


def test_a_claim_that_does_not_hold_ends_in_exit_status_1_and_a_page_with_the_next_move(
    tmp_path: Path, model: Path
) -> None:
    spoil(model, torch.nan)
    done = lab(tmp_path, *SMALL, "arms=single", f"model_pair.base.path={model}")
    assert done.returncode == 1
    assert "weights are finite, every token has a row" in done.stderr and "claims do not hold" in done.stderr
    assert "→ fetch the weights again" in done.stdout and "✗" in done.stdout and "✓" in done.stdout
    (file,) = tmp_path.glob("outputs/runs/*/check.json")
    red = {each["claim"]: each["move"] for each in json.loads(file.read_text()) if not each["holds"]}
    assert red["weights are finite, every token has a row"] == "fetch the weights again"


def test_brackets_are_shown_as_they_are() -> None:
    table = findings_table([Finding("base", "claim", False, "[/red] found", "move [b]")])
    assert r"\[/red] found" in str(next(iter(table.columns[3].cells)))


# --- prompts, tokenizers ----------------------------------------------------------------------------------------------


def test_prompts_that_do_not_fit(tmp_path: Path) -> None:
    red = broken(looked(tmp_path, "arms=single", "runtime.max_prompt_tokens=8"))
    assert "runtime.max_prompt_tokens=8" in red["prompts, answers and layers fit the models"].found


def test_a_folder_without_tokenizer_ends_the_look_at_its_model(tmp_path: Path, model: Path) -> None:
    (model / "tokenizer.json").unlink()
    findings = looked(tmp_path, "arms=single", f"model_pair.base.path={model}")
    red = broken(findings)
    assert "tokenizer and config load" in red and not any(each.claim == "weights load" for each in findings)


def test_a_tokenizer_that_changes_the_prompt(model: Path) -> None:
    edit(model / "tokenizer.json", normalizer={"type": "Lowercase"})
    assert set(token_reds(model, "raw")) == {"the tokenizer gives a prompt back"}


def template(folder: Path, text: str | None) -> Path:
    """The folder with another chat template."""
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told.pop("chat_template", None)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "tokenizer_config.json").write_text(json.dumps(told | ({} if text is None else {"chat_template": text})))
    return folder


def test_hub_style_tokenizers_have_nothing_wrong(tmp_path: Path) -> None:
    """Those that a pair prompts by their template. A base model that was trained by RL in its unused template would not
    stop at the end of a turn: that is told."""
    for hub_id in CHATS:
        assert not token_reds(tiny(hub_id, tmp_path)), hub_id
    assert set(token_reds(tiny(RLVR, tmp_path))) == {"an answer's end is a stop id"}


def test_a_template_that_drops_the_prompt_or_is_not_there(tmp_path: Path) -> None:
    folder = tiny(R1, tmp_path)
    assert "the prompt holds the problem" in token_reds(template(folder, "{{ bos_token }}Hello"))
    load_reader.cache_clear()
    assert "the prompt holds the problem" in token_reds(template(folder, None))


@pytest.mark.parametrize(("begin", "found"), [("", "none, though"), ("{{ bos_token }}{{ bos_token }}", "2 of them")])
def test_no_bos_and_two(tmp_path: Path, begin: str, found: str) -> None:
    folder = template(tiny(R1, tmp_path), begin + "<｜User｜>{{ messages[0]['content'] }}")
    assert token_reds(folder)["one BOS where the model has one"].found.startswith(found)


def test_a_stop_id_is_missing_or_none_of_the_tokenizers(tmp_path: Path) -> None:
    folder = tiny(QWQ, tmp_path)
    tokenizer = reader_of(folder).tokenizer
    load_reader.cache_clear()
    for name in ("config.json", "generation_config.json"):
        edit(folder / name, eos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"))
    edit(folder / "tokenizer_config.json", eos_token="<|endoftext|>")
    red = token_reds(folder)["an answer's end is a stop id"]
    assert "ends an answer by '<|im_end|>'" in red.found and "add 322 to eos_token_id" in red.move
    load_reader.cache_clear()
    edit(folder / "generation_config.json", eos_token_id=5000)
    assert "stop id 5000 is no token" in token_reds(folder)["an answer's end is a stop id"].found


def test_think_tags_of_one_piece_and_of_several(tmp_path: Path) -> None:
    for hub_id, pieces in ((R1, "1 token"), ("Open-Reasoner-Zero/Open-Reasoner-Zero-0.5B", "3 tokens")):
        claims = token_claims("thinking", reader_of(tiny(hub_id, tmp_path)), QUESTION, ("<think>",))
        (found,) = [each.finding() for each in claims if "<think>" in each.claim]
        assert found.holds and (found.found == pieces or (pieces != "1 token" and found.found != "1 token"))


def test_a_tag_that_cannot_be_written_or_is_left_out_of_the_text(tmp_path: Path, model: Path) -> None:
    assert "<think> can be written and is read" in token_reds(model, "raw", ("<think>",))
    folder = tiny(R1, tmp_path)
    told = json.loads((folder / "tokenizer.json").read_text())
    for each in told["added_tokens"]:
        each["special"] = True
    (folder / "tokenizer.json").write_text(json.dumps(told))
    red = token_reds(folder, tags=("<think>", "</think>"))
    assert "left out of every answer's text" in red["</think> can be written and is read"].found


def test_vocabularies_that_do_not_map(tmp_path: Path, model: Path) -> None:
    other = reader_of(tiny(R1, tmp_path))
    red = seen(vocabulary_claims(reader_of(model), other, "base, thinking", steers=True))
    assert "lacks" in red["the vocabularies map"].found
    same = seen(vocabulary_claims(reader_of(model), reader_of(EMBEDDED / "thinking"), "base, thinking", steers=True))
    assert not same


# --- weights, law -----------------------------------------------------------------------------------------------------


def spoil(folder: Path, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[-1]
    weights[name].view(-1)[0] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_that_are_torn(tmp_path: Path, model: Path) -> None:
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "weights load" in broken(looked(tmp_path, "arms=single", f"model_pair.base.path={model}"))


def test_weights_with_nan_and_tokens_without_a_row(model: Path) -> None:
    prompt = reader_of(model).encode(QUESTION)
    assert not seen(weight_claims("base", loaded(model), prompt))
    whole = loaded(model)
    whole.reader.tokenizer.add_tokens(["<extra>"])
    assert "token 91, and the model has rows for 91" in seen(weight_claims("base", whole, prompt))[
        "weights are finite, every token has a row"
    ].found  # fmt: skip
    load_reader.cache_clear()
    spoil(model, torch.nan)
    red = seen(weight_claims("base", loaded(model), prompt))["weights are finite, every token has a row"]
    assert "NaN or infinite values in 1 tensors" in red.found


def test_a_tokenizer_of_another_model(model: Path) -> None:
    """Each word has its neighbour's id: every text can be written and read, and the model reads noise."""
    told = json.loads((model / "tokenizer.json").read_text())
    vocabulary = told["model"]["vocab"]
    words = [word for word in vocabulary if word not in {each["content"] for each in told["added_tokens"]}]
    ids = [vocabulary[word] for word in words]
    told["model"]["vocab"] = vocabulary | dict(zip(words, [*ids[1:], ids[0]], strict=True))
    (model / "tokenizer.json").write_text(json.dumps(told))
    model_read = loaded(model)
    assert set(seen(weight_claims("base", model_read, model_read.encode(QUESTION)))) == {
        "it reads a prompt better than by chance"
    }


@pytest.fixture(scope="module")
def whole() -> LoadedModel[Any]:
    return load_model(ModelSource("package:embedded/base"), "float32", "cpu")


def test_a_cache_that_forgets(whole: LoadedModel[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [whole.encode(QUESTION), whole.encode("Tom has 3 pens.\n")]
    assert not seen(law_claims("base", whole.policy, prompts, 4, 64))
    aim = RowCache.aim

    def forgetful(cache: RowCache, rows: Any, positions: Any) -> Any:
        mask = aim(cache, rows, positions)
        mask[..., :4] = torch.finfo(mask.dtype).min
        return mask

    monkeypatch.setattr(RowCache, "aim", forgetful)
    red = seen(law_claims("base", whole.policy, prompts, 4, 64))
    assert set(red) == {"rows and cache give the law of an uncached pass"}


def test_layers_that_are_counted_otherwise(whole: LoadedModel[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = whole.encode(QUESTION)
    assert not seen(stream_claims("base", whole.policy, prompt, (1, 2)))
    read = Decoder.read
    monkeypatch.setattr(
        Decoder, "read", lambda self, ids, layers: {n: read(self, ids, (n - 1,))[n - 1] for n in layers}
    )
    assert set(seen(stream_claims("base", whole.policy, prompt, (1, 2)))) == {"layers 1, 2 are its own"}


def test_a_vector_that_does_not_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parts, "table", property(lambda self: torch.zeros_like(self.vectors.vectors)))
    red = broken(looked(tmp_path, "experiment=hybrid", "stage=check"))
    assert set(red) == {"a steered token moves, and as its law says"}
    assert "do not train vectors" in red["a steered token moves, and as its law says"].move


# --- benchmark, judge, machine ----------------------------------------------------------------------------------------


def test_a_grader_that_does_not_know_its_gold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arithmetic, "gold_text", lambda *_: "nothing")
    assert set(broken(looked(tmp_path, "arms=single"))) == {"a gold answer is graded correct"}


def test_a_grader_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise ValueError("no such grader")

    monkeypatch.setattr(Arithmetic, "grade", fails)
    red = broken(looked(tmp_path, "arms=single"))
    assert set(red) == {"a gold answer is graded correct", "one problem is drawn and graded"}
    assert red["one problem is drawn and graded"].found == "ValueError: no such grader"


def test_a_judge_without_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert set(broken(looked(tmp_path, "arms=single", "judge=openai"))) == {"it can be asked"}


def test_memory_that_does_not_suffice(tmp_path: Path) -> None:
    assert memory_claim(Need(10**9, 2 * 10**9), 3 * 10**9).finding().holds
    red = memory_claim(Need(10**9, 2 * 10**9), 3 * 10**9 - 1).finding()
    assert not red.holds and red.found == "1.00 GB of weights, 2.00 GB of caches; 3.0 GB are free" and red.move
    assert free_memory("cpu") > 10**8
    findings = {each.claim: each for each in looked(tmp_path, "arms=single", "runtime.rows=64")}
    # 64 rows of 64 + 192 + 1 positions, 4 layers of keys and values, 4 heads of 32, 4 bytes each.
    cache = 64 * 257 * 4 * 2 * 4 * 32 * 4
    assert f"{cache / 1e9:.2f} GB of caches" in findings["weights and caches fit"].found


def test_what_does_not_fit_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "free_memory", lambda _device: 10**6)
    findings = looked(tmp_path, "arms=single")
    assert set(broken(findings)) == {"weights and caches fit"}
    assert "weights load" not in {each.claim for each in findings}


def test_work_that_would_not_end() -> None:
    green = speed_claim(3600 * 1000.0, 500, 0.5).finding()
    assert green.holds and "1,000 tokens/s" in green.found and "1.0 h" in green.found
    assert speed_claim(7 * 24 * 3600.0, 1, 1.0).finding().holds
    assert not speed_claim(7 * 24 * 3600.0 + 1, 1, 1.0).finding().holds


def test_an_error_of_any_kind_is_a_claim_that_does_not_hold() -> None:
    def fails() -> str:
        raise KeyError("chat_template")

    found = Claim("base", "something", fails).finding()
    assert found == replace(found, holds=False) and found.found == "KeyError: 'chat_template'"
