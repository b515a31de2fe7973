"""Folders as Hugging Face has them: what is saved opens here and there, and nothing broken gets in."""

import contextlib
import dataclasses
import json
import re
import tracemalloc

import numpy as np
import pytest
from tiny_models import (
    DEEP,
    MODELS,
    SCALINGS,
    TOKENS,
    called,
    change,
    each,
    logits,
    made,
    open_there,
    rewrite,
    theirs_logits,
)

import tinyllm as tl
from tinyllm import nn
from tinyllm.errors import UserError
from tinyllm.models import family, from_pretrained, names
from tinyllm.models.layout import hf_names
from tinyllm.models.pretrained import second_names
from tinyllm.nn import DecoderLM
from tinyllm.tensor import no_grad


def test_every_family_is_tested():
    assert {settings["model_type"] for settings in MODELS.values()} == set(names())


@each
@pytest.mark.parametrize("bits", [None, 8, 4])
def test_a_model_comes_back_with_its_config_and_its_bits(tmp_path, name, bits):
    model = made(name)
    if bits:
        tl.quantize(model, bits)
    model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)  # into a folder that is there
    loaded = from_pretrained(tmp_path)
    assert loaded.config == model.config and not loaded.training
    assert np.array_equal(logits(loaded), logits(model))
    if isinstance(loaded, DecoderLM):
        with no_grad():
            cache = loaded.new_cache()
            one_by_one = [loaded(TOKENS[:1, t : t + 1], cache).data for t in range(12)]
        assert np.array_equal(np.concatenate(one_by_one, 1), logits(model)[:1])
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation["eos_token_id"] is None


@pytest.mark.parametrize("name, dropouts, changes", [
    ("gpt2", {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.0}, {"attention_dropout": 0.0}),
    ("gpt2", {"resid_pdrop": 0.0, "embd_pdrop": 0.2, "attn_pdrop": 0.3},
     {"dropout": 0.0, "embed_dropout": 0.2, "attention_dropout": 0.3}),
    ("gpt2", {"resid_pdrop": 0.2, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
     {"dropout": 0.2, "embed_dropout": 0.0, "attention_dropout": 0.0}),
    ("llama", {"attention_dropout": 0.25}, {"attention_dropout": 0.25}),
    ("mistral", {"attention_dropout": 0.0}, {}),
])
def test_dropout_is_written_read_and_applied(tmp_path, name, dropouts, changes):
    model = made(name, **changes)
    model.save_pretrained(tmp_path)
    found = json.loads((tmp_path / "config.json").read_text())
    assert {key: found[key] for key in dropouts} == dropouts
    loaded = from_pretrained(tmp_path)
    assert loaded.config == model.config
    before = logits(loaded)
    assert np.array_equal(before, logits(loaded.train())) == (not any(dropouts.values()))
    assert np.array_equal(before, logits(loaded.eval()))


def test_a_mistral_says_whether_it_has_a_window(tmp_path):
    """Where nothing is said, transformers takes a window of 4096 tokens."""
    made("mistral", window=None).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["sliding_window"] is None
    assert from_pretrained(tmp_path).config.window is None
    change(tmp_path, sliding_window=...)
    assert from_pretrained(tmp_path).config.window == 4096


@each
def test_transformers_opens_what_is_saved(tmp_path, transformers, name):
    model = made(name)
    model.save_pretrained(tmp_path, eos_token_id=3)
    theirs, info = open_there(transformers, tmp_path, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(theirs).__name__ == model.architecture
    assert model.objective == "masked" or theirs.generation_config.eos_token_id == 3
    np.testing.assert_allclose(logits(model), theirs_logits(theirs, model), rtol=1e-4, atol=1e-4)


@each
@pytest.mark.parametrize("dtype, options", [("float32", {}), ("float32", {"max_shard_size": "8KB"}),
                                            ("bfloat16", {})], ids=str)
def test_what_transformers_saves_opens_here(tmp_path, transformers, name, dtype, options):
    made(name).save_pretrained(tmp_path / "ours")
    open_there(transformers, tmp_path / "ours", dtype=dtype).save_pretrained(tmp_path / "theirs", **options)
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists() == bool(options)
    ours, theirs = from_pretrained(tmp_path / "theirs"), open_there(transformers, tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "back")
    first, back = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("ours", "back"))
    assert (first == back) == (dtype == "float32")
    np.testing.assert_allclose(logits(ours), theirs_logits(theirs, ours), rtol=1e-4, atol=1e-4)
    assert ours.config.context == 12
    for setting, value in vars(made(name).config).items():
        assert "dropout" not in setting or getattr(ours.config, setting) == value


@pytest.mark.parametrize("name", [name for name in MODELS if family(name.split()[0]).objective != "masked"])
def test_transformers_has_the_same_states_after_every_block(tmp_path, transformers, name):
    """Its last state is after the last norm, as `hidden` here; of an encoder-decoder, the decoder's."""
    ours, found = made(name), []
    ours.save_pretrained(tmp_path)
    block = re.compile(r"(h|(model|language_model)\.layers|decoder\.block)\.\d+")
    blocks = [path for path, _ in ours.named_modules() if block.fullmatch(path)]
    with contextlib.ExitStack() as stack:
        for path in blocks:
            stack.enter_context(nn.tap(ours, path, lambda x, y: found.append(y.data)))
        with nn.tap(ours, "lm_head", lambda x, y: found.append(x.data)):
            logits(ours)
    theirs = called(open_there(transformers, tmp_path), ours, output_hidden_states=True)
    states = theirs.decoder_hidden_states if ours.is_encoder_decoder else theirs.hidden_states
    last = found.pop() / (ours.config.width**-0.5 if getattr(ours.config, "scaled", False) else 1)
    assert len(blocks) == len(found) == len(states) - 1 >= 1
    for mine, other in zip([*found[:-1], last], states[1:], strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["yarn", "llama3"])
def test_a_scaling_that_says_no_training_context_has_the_model_s(tmp_path, transformers, kind):
    made(f"llama {kind}", scaling=made(f"llama {kind}").config.scaling | {
        "original_max_position_embeddings": 12}).save_pretrained(tmp_path)
    said = {"rope_type": kind, "factor": 4.0, **SCALINGS[kind]}
    del said["original_max_position_embeddings"]
    change(tmp_path, rope_scaling=said)
    ours, theirs = from_pretrained(tmp_path), open_there(transformers, tmp_path)
    np.testing.assert_allclose(logits(ours), theirs_logits(theirs, ours), rtol=1e-4, atol=1e-4)


@each
def test_half_precision_prefixes_and_a_second_copy_of_a_tied_head_are_read(tmp_path, name):
    model = made(name)
    for p in model.parameters():
        p.data = p.data.astype(np.float16).astype(np.float32)
    model.save_pretrained(tmp_path)
    copies = {model.file_name(name): model.file_name(tied) for name, tied in second_names(model).items()}
    rewrite(tmp_path, lambda state: state | {name: state[tied] for name, tied in copies.items()})
    rewrite(tmp_path, lambda state: {family(name.split()[0]).layout.prefix + n: a.astype(np.float16)
                                     for n, a in state.items()})
    assert np.array_equal(logits(from_pretrained(tmp_path)), logits(model))


def test_masks_of_old_files_are_left_out(tmp_path):
    model = made("gpt2")
    model.save_pretrained(tmp_path)
    masks = {f"h.{i}.attn.bias": np.tril(np.ones((1, 1, 6, 6), np.float32)) for i in range(2)}
    rewrite(tmp_path, lambda state: state | masks | {"h.0.attn.masked_bias": np.array(-1e4, np.float32)})
    assert np.array_equal(logits(from_pretrained(tmp_path)), logits(model))


@pytest.mark.parametrize("name, changes, message", [
    ("gpt2", {"model_type": "bart"}, "there is no model 'bart'; did you mean bert"),
    ("gpt2", {"model_type": ["gpt2"]}, "model_type"),
    ("gpt2", {"activation_function": "relu"}, "activation_function = 'relu'.* GPT cannot run"),
    ("gpt2", {"tie_word_embeddings": False}, "tie_word_embeddings"),
    ("gpt2", {"n_inner": 8}, "n_inner = 8"),
    ("gpt2", {"n_head": 3}, "3 heads cannot share a width of 32"),
    ("gpt2", {"n_embd": "4"}, "config.json.*width must be a whole number, at least 1"),
    ("gpt2", {"n_embd": ...}, "n_embd is missing"),
    ("gpt2", {"n_layer": 2**24}, "16777216 layers, the weights 28 arrays"),
    ("gpt2", {"attn_pdrop": 1.0}, "attention_dropout must be a number, at least 0 and below 1, got 1.0"),
    ("gpt2", {"n_layer": 3}, r"lack h\.2"), ("gpt2", {"n_layer": 1}, r"hold h\.1"),
    ("gpt2", {"vocab_size": 8}, r"wte\.weight has shape \(19, 32\)"),
    ("gpt2", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "another library"),
    ("gpt2", {"quantization_config": {"quant_method": "tinyllm", "bits": 8}}, r"lack h\.0\.attn"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
    ("llama", {"head_dim": 16}, r"q_proj\.weight has shape \(32, 32\) in the weights and \(32, 64\)"),
    ("llama", {"head_dim": 7}, "set an even head_width"),
    ("llama", {"rope_scaling": {"rope_type": "yarn"}}, "config.json.*lacks rope_scaling.factor"),
    ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "scaling.*lacks"),
    ("llama", {"rope_scaling": {"rope_type": "longrope", "factor": 8.0}}, "longrope.*not known"),
    ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 0.0}}, "scaling"),
    ("falcon", {"rope_scaling": {"rope_type": "linear"}}, "config.json.*lacks rope_scaling.factor"),
    ("deepseek_v3", {"rope_scaling": DEEP | {"mscale_all_dim": "x"}}, "mscale_all_dim must be a number"),
    ("falcon", {"rope_scaling": DEEP | {"truncate": 1}}, "rope_scaling.truncate, where true or false"),
    ("llama", {"rope_scaling": [8.0]}, "must be an object"),
    ("qwen2", {"use_sliding_window": True}, "use_sliding_window = True"),
    ("mistral", {"sliding_window": 0}, "window must be a whole number, at least 1"),
    ("t5", {"feed_forward_proj": "gated-silu"}, "mlp must be one of relu, gated-gelu, got 'gated-silu'"),
    ("t5", {"is_encoder_decoder": False}, "is_encoder_decoder = False"),
    ("t5", {"relative_attention_num_buckets": 3}, "buckets must be a whole number, at least 4"),
    ("t5", {"relative_attention_max_distance": 16}, "max_distance must exceed half of 32 buckets"),
    ("t5", {"num_decoder_layers": 2**24}, "16777216 layers, the weights"),
    ("t5", {"decoder_start_token_id": 19}, "start 19 is not in a vocabulary of 19"),
    ("t5", {"d_kv": 7}, r"SelfAttention\.q\.weight has shape"),
    *[(name, {"is_causal": "bert" in name}, "is_causal = ") for name in ("gpt2", "t5", "bert")],
    *[(name, {"per_layer_config": {"0": {"skip": ["mlp"]}}}, "per_layer_config") for name in ("bert", "t5")],
    ("gpt2", {"model_type": "gpt_neox"}, "no model 'gpt_neox' any more: train a falcon, or open its folders"),
    ("deepseek_v3", {"first_k_dense_replace": 1}, "first_k_dense_replace = 1"),
    *[(name, {"layer_types": ["sliding_attention"] * 2}, "layer_types = ") for name in ("smollm3", "qwen3")],
    ("t5", {"dense_act_fn": "silu"}, "dense_act_fn = 'silu'"), ("t5", {"is_gated_act": True}, "is_gated_act"),
    ("deepseek_v3", {"head_dim": 8}, "head_dim = 8"), ("mistral", {"attention_bias": True}, "attention_bias"),
    ("llama tied", {"tie_word_embeddings": False}, r"lack lm_head\.weight"),
    ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
    ("bert", {"is_decoder": True}, "is_decoder = True"),
    ("bert", {"add_cross_attention": True}, "add_cross_attention"),
    ("bert", {"hidden_act": "relu"}, "hidden_act = 'relu'"),
    ("bert", {"tie_word_embeddings": False}, "tie_word_embeddings"),
    ("bert", {"architectures": ["BertForQuestionAnswering"]}, "BertForQuestionAnswering.*BertModel"),
    ("bert", {"architectures": ["BertForSequenceClassification"]}, r"lack pooler\.weight"),
    ("bert", {"architectures": [{}]}, "tinyllm runs"),
    ("bert", {"type_vocab_size": 3}, r"encoder\.segments\.weight has shape"),
    ("bert", {"num_attention_heads": 5}, "5 heads cannot share"),
    ("fuyu", {"qk_layernorm": False}, "qk_layernorm = False"), ("fuyu", {"num_channels": 1}, "channels = 1"),
    ("fuyu", {"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
    ("fuyu", {"text_config": [1]}, "text_config must be an object"),
    ("fuyu", {"image_token_id": ...}, "token 71011 is outside"), ("fuyu", {"patch_size": ...}, "of 30 do"),
])
def test_other_models_are_refused(tmp_path, name, changes, message):
    made(name).save_pretrained(tmp_path)
    change(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as error:
        from_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("text, message", [
    (None, r"cannot read .*config\.json"), ("{", "is not JSON"), ("[]", "a list, where an object"),
    ("[" * 100_000, "nested too deeply"), (" " * 2**25, "more than"), ("{}", "there is no model None"),
    ('{"model_type": "gpt2"}', "vocab_size is missing"),
])
def test_broken_configs_are_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("edit, message", [
    (lambda state: state | {"lm_head.weight": state["wte.weight"] + 1}, r"lm_head\.weight differs from wte"),
    (lambda state: state | {"transformer.ln_f.bias": state["ln_f.bias"]}, r"holds ln_f\.bias twice"),
    (lambda state: state | {"ln_f.bias": np.arange(32)}, r"ln_f\.bias is int64"),
    (lambda state: state | {"ln_f.bias": state["ln_f.bias"] * np.inf}, r"ln_f\.bias holds numbers that"),
])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_broken_weights_are_refused(tmp_path, edit, message):
    made("gpt2").save_pretrained(tmp_path)
    rewrite(tmp_path, edit)
    with pytest.raises(UserError, match=message):
        from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="there are no weights"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("name", names())
def test_a_config_that_lies_about_its_sizes_takes_no_memory(tmp_path, name):
    made(name).save_pretrained(tmp_path)
    cls = family(name).config_class
    fields = {field.name: hf_names(cls, field)[0] for field in dataclasses.fields(cls)}
    sizes = [fields[size] for size in ("width", "context", "hidden") if size in fields]
    change(tmp_path, **dict.fromkeys(sizes, 2**22), vocab_size=2**24)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"has shape|head_dim"):
        from_pretrained(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        made("gpt2").save_pretrained(tmp_path / "file" / "folder")


def test_a_folder_of_checkpoints_is_told_from_one_of_them(tmp_path):
    made("llama").save_pretrained(tmp_path / "run" / "checkpoints" / "step-00000003")
    with pytest.raises(UserError, match=r"no config\.json: give a checkpoint in it, such as .*step-00000003"):
        from_pretrained(tmp_path / "run")


def test_a_name_that_is_no_folder_is_not_downloaded(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*none: give the folder of a model"):
        from_pretrained(tmp_path / "none")
