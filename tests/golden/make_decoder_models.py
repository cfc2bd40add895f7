#!/usr/bin/env python3
"""Tiny text decoders, directories and GGUF files; what is written where stands in golden_models.py.
SPDX-License-Identifier: MIT"""
import contextlib
import math

import gguf
import numpy as np
import torch
from golden_models import (folder_of, ids_of, only_logits, pixels_of, quantize, randomize, rounded_activations, run, save,
                           text_inputs, write_case, write_greedy)
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GemmaConfig, GemmaForCausalLM,
                          GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM, Phi3Config, Phi3ForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

F16, BF16 = torch.float16, torch.bfloat16
BASE = dict(vocab_size=47, hidden_size=24, intermediate_size=28, num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=1, max_position_embeddings=128, bos_token_id=None, eos_token_id=None, pad_token_id=None,
            attn_implementation="eager")


def outputs_of(model, inputs):
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True, use_cache=False)
    return {"last_hidden_state": out.hidden_states[-1], "logits": out.logits}


def random_model(kind, config, seed, std=0.25):
    model = randomize(kind(config), seed, std)
    if "Gemma" in kind.__name__:  # their norms are stored less one, their embeddings scaled up
        with torch.no_grad():
            model.get_input_embeddings().weight *= 0.3
            for name, p in model.named_parameters():
                if name.endswith("norm.weight"):
                    p.sub_(1)
    return model


def make(name, kind, config, seed, dtype=torch.float32, lengths=(6, 70), padding=False, embeds=False, prompts=(5, 67), **options):
    model = random_model(kind, config, seed)
    save(name, model, dtype, **options)
    for case, inputs in text_inputs(seed, config.vocab_size, lengths, padding).items():
        write_case(name, case, inputs, only_logits(outputs_of(model, inputs)))
    if embeds:  # a batch with a mask, and positions that begin elsewhere
        mask = torch.tensor([[1] * 5, [0, 0, 1, 1, 1]])
        inputs = {"inputs_embeds": pixels_of(seed, (2, 5, config.hidden_size)), "attention_mask": mask}
        write_case(name, "embeds", inputs, outputs_of(model, inputs))
        inputs = {"input_ids": ids_of(seed, (2, 5), config.vocab_size), "attention_mask": mask,
                  "position_ids": torch.arange(5).repeat(2, 1) + 7}
        write_case(name, "positions", inputs, outputs_of(model, inputs))
    for length in prompts:
        write_greedy(name, f"prompt{length}", model, length, seed + length)
    return model


def matters(model, **changed):
    """Another value of these settings gives other logits: what is set is tested."""
    other = {**model.config.to_dict(), **changed}
    other = type(model)(type(model.config)(**other, attn_implementation="eager")).eval()
    other.load_state_dict(model.state_dict())
    inputs = {"input_ids": ids_of(5, (1, 70), model.config.vocab_size)}
    a, b = outputs_of(model, inputs)["logits"], outputs_of(other, inputs)["logits"]
    assert (a - b).abs().max() > 0.02 * a.abs().max(), (type(model), changed)


PLAIN = dict(rope_type="default", rope_theta=10000.0)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)


def make_mistrals():
    config = MistralConfig(**{**BASE, "num_attention_heads": 6, "num_key_value_heads": 3}, head_dim=10, sliding_window=9)
    matters(make("mistral", MistralForCausalLM, config, 1, F16, padding=True, shards=2), sliding_window=None)
    config = MistralConfig(**BASE, sliding_window=None, tie_word_embeddings=True)
    make("mistral_full", MistralForCausalLM, config, 2, BF16, prompts=(67,))


def make_qwens():
    config = Qwen2Config(**{**BASE, "hidden_size": 40, "num_attention_heads": 5}, tie_word_embeddings=True, sliding_window=8)
    make("qwen2", Qwen2ForCausalLM, config, 11, BF16, padding=True)  # a window that is not used
    config = Qwen2Config(**{**BASE, "max_position_embeddings": 1024}, use_sliding_window=True, sliding_window=7, max_window_layers=1, rope_parameters=YARN)
    model = make("qwen2_window", Qwen2ForCausalLM, config, 12, F16, edit=lambda c: c.pop("layer_types"))
    matters(model, layer_types=["full_attention"] * 2)
    matters(model, rope_parameters=PLAIN)
    config = Qwen3Config(**{**BASE, "num_attention_heads": 5}, head_dim=12)
    make("qwen3", Qwen3ForCausalLM, config, 13, padding=True, embeds=True)
    config = Qwen3Config(**BASE, head_dim=14, use_sliding_window=True, sliding_window=8, tie_word_embeddings=True,
                         layer_types=["sliding_attention", "full_attention"], attention_bias=True, rope_parameters=LLAMA3)
    model = make("qwen3_types", Qwen3ForCausalLM, config, 14, BF16, shards=3)
    matters(model, layer_types=["full_attention"] * 2)
    matters(model, rope_parameters=PLAIN)


def make_gemmas():
    config = GemmaConfig(**BASE, head_dim=12)
    make("gemma", GemmaForCausalLM, config, 21, padding=True, embeds=True, edit=lambda c: c.update(hidden_act="gelu"))
    config = GemmaConfig(**{**BASE, "num_key_value_heads": 3}, head_dim=10, tie_word_embeddings=False, attention_bias=True)
    make("gemma_bias", GemmaForCausalLM, config, 22, BF16, lengths=(6,), prompts=(67,))
    config = Gemma2Config(**{**BASE, "num_attention_heads": 6, "num_key_value_heads": 3}, head_dim=10, sliding_window=6,
                          query_pre_attn_scalar=20, attn_logit_softcapping=2.0, final_logit_softcapping=1.5)
    model = make("gemma2", Gemma2ForCausalLM, config, 23, F16, padding=True, embeds=True, edit=lambda c: c.pop("layer_types"))
    matters(model, sliding_window=100)
    matters(model, attn_logit_softcapping=None)
    matters(model, query_pre_attn_scalar=10)
    config = Gemma2Config(**BASE, head_dim=12, sliding_window=11, attn_logit_softcapping=None, final_logit_softcapping=None,
                          layer_types=["full_attention", "sliding_attention"], attention_bias=True, tie_word_embeddings=False)
    make("gemma2_types", Gemma2ForCausalLM, config, 24, shards=2, prompts=(67,))
    rope = {"full_attention": dict(rope_type="linear", rope_theta=50000.0, factor=8.0), "sliding_attention": PLAIN}
    config = Gemma3TextConfig(**{**BASE, "num_attention_heads": 6, "num_key_value_heads": 3}, head_dim=10, sliding_window=6,
                              query_pre_attn_scalar=20, final_logit_softcapping=2.0, rope_parameters=rope,
                              layer_types=["sliding_attention", "full_attention"])
    model = make("gemma3", Gemma3ForCausalLM, config, 25, F16, padding=True, embeds=True)
    matters(model, sliding_window=100)
    matters(model, rope_parameters={"full_attention": PLAIN, "sliding_attention": PLAIN})

    def old(c):  # the keys before transformers 5
        rope = c.pop("rope_parameters")
        c["rope_theta"] = rope["full_attention"]["rope_theta"]
        c["rope_scaling"] = dict(rope_type="linear", factor=8.0)
        c["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        c["sliding_window_pattern"] = 2
        c.pop("layer_types")

    rope = {**rope, "sliding_attention": dict(rope_type="default", rope_theta=100.0)}
    config = Gemma3TextConfig(**BASE, head_dim=12, sliding_window=9, rope_parameters=rope, attention_bias=True,
                              layer_types=["sliding_attention", "full_attention"], tie_word_embeddings=False)
    make("gemma3_old", Gemma3ForCausalLM, config, 26, edit=old, prompts=(67,))


def longrope(half):
    return dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0 + 0.1 * i for i in range(half)],
                long_factor=[1.5 + 0.7 * i * i for i in range(half)])


def phi3_config(rope, **options):
    return Phi3Config(**{**BASE, **options}, original_max_position_embeddings=32, rope_parameters=rope)


def make_phi3s():
    config = phi3_config(dict(PLAIN, partial_rotary_factor=0.5), num_attention_heads=4, num_key_value_heads=2, hidden_size=32,
                         sliding_window=9, tie_word_embeddings=True)
    matters(make("phi3", Phi3ForCausalLM, config, 31, BF16, padding=True), sliding_window=None)
    config = phi3_config(longrope(4), max_position_embeddings=1024)
    model = make("phi3_longrope", Phi3ForCausalLM, config, 32, F16, prompts=(5, 20, 67), shards=2)  # 20: grows beyond
    matters(model, rope_parameters={**longrope(4), "long_factor": longrope(4)["short_factor"]})
    matters(model, rope_parameters={**longrope(4), "attention_factor": 1.0})
    # the engine reads a prompt in chunks, of which the first is within the original context
    config = Phi3Config(**{**BASE, "num_hidden_layers": 1, "max_position_embeddings": 1024}, rope_parameters=longrope(4),
                        original_max_position_embeddings=300)
    make("phi3_chunks", Phi3ForCausalLM, config, 33, BF16, lengths=(6,), prompts=(310,))


def gpt2_config(**options):
    base = dict(vocab_size=47, n_embd=24, n_layer=2, n_head=3, n_positions=128, bos_token_id=None, eos_token_id=None,
                attn_implementation="eager", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    return GPT2Config(**{**base, **options})


def make_gpt2s():
    make("gpt2", GPT2LMHeadModel, gpt2_config(n_layer=1), 41, padding=True, embeds=True)
    config = gpt2_config(n_inner=36, tie_word_embeddings=False, scale_attn_by_inverse_layer_idx=True, activation_function="relu")
    make("gpt2_untied", GPT2LMHeadModel, config, 42, F16, shards=2, prompts=(67,))


# GGUF, as llama.cpp's converter writes it


def write_common(w, c):
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_head_count(c.num_attention_heads)
    w.add_vocab_size(c.vocab_size)
    if isinstance(c, GPT2Config):
        w.add_feed_forward_length(c.n_inner or 4 * c.n_embd)
        w.add_layer_norm_eps(c.layer_norm_epsilon)
        return
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    rope = c.rope_parameters.get("full_attention", c.rope_parameters)
    w.add_rope_freq_base(rope["rope_theta"])
    if getattr(c, "head_dim", None):
        w.add_key_length(c.head_dim)
        w.add_value_length(c.head_dim)
    if rope["rope_type"] in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        w.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def write_own(w, c, pattern):
    """What one family adds."""
    if isinstance(c, (Gemma2Config, Gemma3TextConfig)):
        w.add_sliding_window(c.sliding_window)
        if c.final_logit_softcapping:
            w.add_final_logit_softcapping(c.final_logit_softcapping)
    if isinstance(c, Gemma2Config):
        w.add_attn_logit_softcapping(c.attn_logit_softcapping)
    if pattern:
        w.add_sliding_window_pattern(pattern)
    if isinstance(c, Phi3Config):
        rope, rotary = c.rope_parameters, c.hidden_size // c.num_attention_heads
        w.add_rope_dimension_count(int(rotary * rope.get("partial_rotary_factor", 1.0)))
        w.add_rope_scaling_orig_ctx_len(c.original_max_position_embeddings)
        w.add_sliding_window(c.sliding_window or 0)
        if rope["rope_type"] == "longrope":
            scale = c.max_position_embeddings / c.original_max_position_embeddings
            w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(c.original_max_position_embeddings)))
            w.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], np.float32))
            w.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], np.float32))


def write_gguf(name, model, architecture, kind, seed, pattern=None):
    c, rng = model.config, np.random.default_rng(seed)
    names = gguf.get_tensor_name_map(architecture, c.num_hidden_layers)
    w = gguf.GGUFWriter(folder_of(name) / "model.gguf", gguf.MODEL_ARCH_NAMES[architecture])
    write_common(w, c)
    write_own(w, c, pattern)
    gemma, seen = "Gemma" in type(model).__name__, set()
    for key, p in model.state_dict().items():
        if p.data_ptr() in seen:
            continue
        seen.add(p.data_ptr())
        target, a = names.get_name(key, (".weight", ".bias")), p.numpy()
        if a.ndim == 1:
            w.add_tensor(target, (a + 1 if gemma and key.endswith("norm.weight") else a).astype(np.float32))
            continue
        turned = any(part in key for part in ("c_attn", "c_proj", "c_fc"))
        data, meaning, q = quantize(kind, np.ascontiguousarray(a.T if turned else a), rng)
        w.add_tensor(target, data, raw_dtype=q)
        p.copy_(torch.from_numpy(np.ascontiguousarray(meaning.T if turned else meaning)))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def make_gguf(name, model_class, config, architecture, kind, seed, lengths=(70,), prompts=(67,), pattern=None):
    model = random_model(model_class, config, seed, 1.2 / config.hidden_size ** 0.5)
    with torch.no_grad():
        write_gguf(name, model, architecture, kind, seed, pattern)
    exact = kind in ("F32", "F16", "BF16")
    for case, inputs in text_inputs(seed, config.vocab_size, lengths, False).items():
        expected = outputs_of(model, inputs)
        if not exact:
            with rounded_activations(model):
                expected["logits.int8"] = outputs_of(model, inputs)["logits"]
            expected.pop("last_hidden_state")
        write_case(name, case, inputs, only_logits(expected), "exact" if exact else "int8", "/model.gguf")
    with contextlib.nullcontext() if exact else rounded_activations(model):
        for length in prompts:
            write_greedy(name, f"prompt{length}", model, length, seed + length, file="/model.gguf")
    return model


def make_ggufs():
    arch = gguf.MODEL_ARCH
    small = {**BASE, "num_attention_heads": 3, "num_key_value_heads": 1}
    blocks = {**BASE, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
              "num_hidden_layers": 1, "vocab_size": 43}
    make_gguf("gguf_qwen2", Qwen2ForCausalLM, Qwen2Config(**small, rope_parameters=YARN), arch.QWEN2, "F16", 51)
    make_gguf("gguf_qwen2_q8_0", Qwen2ForCausalLM, Qwen2Config(**blocks, tie_word_embeddings=True), arch.QWEN2, "Q8_0", 52,
              lengths=(12,))
    make_gguf("gguf_qwen3", Qwen3ForCausalLM, Qwen3Config(**small, head_dim=14, tie_word_embeddings=True), arch.QWEN3, "F32", 53)
    make_gguf("gguf_qwen3_q8_0", Qwen3ForCausalLM, Qwen3Config(**blocks, head_dim=24), arch.QWEN3, "Q8_0", 54, lengths=(12,))
    make_gguf("gguf_gemma", GemmaForCausalLM, GemmaConfig(**small, head_dim=12), arch.GEMMA, "F16", 55)
    make_gguf("gguf_gemma_q8_0", GemmaForCausalLM, GemmaConfig(**blocks, head_dim=16), arch.GEMMA, "Q8_0", 56, lengths=(12,))
    two = dict(query_pre_attn_scalar=12, sliding_window=7, attn_logit_softcapping=3.0, final_logit_softcapping=1.5)
    make_gguf("gguf_gemma2", Gemma2ForCausalLM, Gemma2Config(**small, head_dim=12, **two), arch.GEMMA2, "F32", 57)
    two["query_pre_attn_scalar"] = 16
    make_gguf("gguf_gemma2_q8_0", Gemma2ForCausalLM, Gemma2Config(**blocks, head_dim=16, **two), arch.GEMMA2, "Q8_0", 58,
              lengths=(12,))
    rope = {"full_attention": dict(rope_type="linear", rope_theta=50000.0, factor=8.0), "sliding_attention": PLAIN}
    three = dict(sliding_window=7, rope_parameters=rope)
    config = Gemma3TextConfig(**{**small, "num_hidden_layers": 6}, head_dim=8, query_pre_attn_scalar=8, **three)
    make_gguf("gguf_gemma3", Gemma3ForCausalLM, config, arch.GEMMA3, "F16", 59)  # the sixth layer is global, as the file need not say
    config = Gemma3TextConfig(**{**blocks, "num_hidden_layers": 2}, head_dim=16, query_pre_attn_scalar=16, **three,
                              layer_types=["full_attention", "sliding_attention"])
    make_gguf("gguf_gemma3_q8_0", Gemma3ForCausalLM, config, arch.GEMMA3, "Q8_0", 60, lengths=(12,), pattern=[False, True])
    make_gguf("gguf_phi3", Phi3ForCausalLM, phi3_config(longrope(4)), arch.PHI3, "F32", 61, prompts=(20, 67))
    config = phi3_config(dict(PLAIN, partial_rotary_factor=0.5), **{**blocks, "sliding_window": 9})
    make_gguf("gguf_phi3_q8_0", Phi3ForCausalLM, config, arch.PHI3, "Q8_0", 62, lengths=(12,))
    make_gguf("gguf_gpt2", GPT2LMHeadModel, gpt2_config(), arch.GPT2, "F16", 63)
    make_gguf("gguf_gpt2_q8_0", GPT2LMHeadModel, gpt2_config(n_embd=32, n_head=2, n_layer=1), arch.GPT2, "Q8_0", 64, lengths=(12,))


run("decoders", make_mistrals, make_qwens, make_gemmas, make_phi3s, make_gpt2s, make_ggufs)
