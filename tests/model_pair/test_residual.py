"""The decoder, cut open: the composition is the model, and what is read is transformers' own hidden states."""

import pytest
import torch
import transformers

from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.model_pair.residual import Decoder, causal_mask
from reasoning_lab.model_pair.toy import ToyPolicy

SMALL = {
    "vocab_size": 23, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip
FAMILIES = ("Llama", "Qwen2", "Qwen3", "Mistral", "Phi3")


def policy(family: str) -> HuggingFacePolicy:
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SMALL)
    return HuggingFacePolicy(getattr(transformers, f"{family}ForCausalLM")(config).double())


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_streams_are_the_hidden_states(family):
    """hidden_states[L + 1] is the output of layer L; transformers' last entry is already normed, so it is left out."""
    law = policy(family)
    ids = torch.randint(0, 23, (3, 11), generator=torch.Generator().manual_seed(1))
    theirs = law.model(ids, output_hidden_states=True, use_cache=False)
    decoder = Decoder(law)
    ours = decoder.read(ids, (0, 2))
    assert set(ours) == {0, 2}
    for layer, stream in ours.items():
        torch.testing.assert_close(stream, theirs.hidden_states[layer + 1], rtol=1e-10, atol=1e-12)
    logits = decoder.head(decoder.read(ids, (3,))[3])
    torch.testing.assert_close(logits, theirs.logits, rtol=1e-10, atol=1e-12)


@torch.inference_mode()
def test_a_pass_stops_after_the_deepest_layer():
    decoder = Decoder(policy("Llama"))
    ran = []
    for index, layer in enumerate(decoder._inner.layers):
        layer.register_forward_hook(lambda *_args, index=index: ran.append(index))
    decoder.read(torch.tensor([[3, 4, 5]]), (2, 0, 1))
    assert ran == [0, 1, 2]


@torch.inference_mode()
def test_padding_on_the_right_changes_nothing_before_it():
    decoder = Decoder(policy("Qwen3"))
    short, long = torch.tensor([[3, 4, 5]]), torch.tensor([[3, 4, 5, 2, 2]])
    torch.testing.assert_close(decoder.read(long, (2,))[2][:, :3], decoder.read(short, (2,))[2])


def test_layers_out_of_range_are_refused():
    decoder = Decoder(policy("Llama"))
    for layer in (-1, 4):
        with pytest.raises(ValueError, match=rf"layer={layer}: the model has layers 0 \.\.\. 3"):
            decoder.read(torch.tensor([[3]]), (layer,))


def test_other_architectures_are_refused():
    config = transformers.GPTNeoXConfig(
        vocab_size=23, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4
    )
    with pytest.raises(ValueError, match=r"has no model\.embed_tokens"):
        Decoder(HuggingFacePolicy(transformers.GPTNeoXForCausalLM(config)))


def test_a_policy_without_layers_is_refused():
    with pytest.raises(ValueError, match="ToyPolicy does not give access to its layers"):
        Decoder(ToyPolicy({}, 2, stop_id=0))


def test_a_stack_that_is_more_than_its_layers_is_refused():
    """Granite scales its embedding between embed_tokens and layer 0."""
    torch.manual_seed(0)
    config = transformers.GraniteConfig(**SMALL, embedding_multiplier=12.0)
    with pytest.raises(ValueError, match="no plain stack of layers"):
        Decoder(HuggingFacePolicy(transformers.GraniteForCausalLM(config).double()))


def test_causal_mask():
    seen = causal_mask(3, torch.float32, "cpu")[0, 0] == 0
    assert seen.tolist() == [[True, False, False], [True, True, False], [True, True, True]]
