#!/usr/bin/env python3
"""Tiny Llama, BERT, ViT and DINOv2 checkpoints and GGUF files; what is written where stands in golden_models.py.
SPDX-License-Identifier: MIT"""
import contextlib
import json

import gguf
import numpy as np
import torch
from golden_models import (GREEDY, ROOT, folder_of, greedy_ids, ids_of, only_logits, pixels_of, quantize, randomize, rename,
                           round_to, rounded_activations, run, save, tensors_of, text_inputs, write_beams, write_case, write_config,
                           write_greedy)
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (BertConfig, BertModel, Dinov2Config, Dinov2ForImageClassification, Dinov2Model, LlamaConfig,
                          LlamaForCausalLM,
                          ViTConfig, ViTForImageClassification, ViTModel)

# Language models


def run_llama(model, inputs):
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True, use_cache=False)
    return {"last_hidden_state": out.hidden_states[-1], "logits": out.logits}

def llama_config(**options):
    base = dict(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=16, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=None,
                eos_token_id=None,
                pad_token_id=None, attn_implementation="eager")
    base.update(options)
    return LlamaConfig(**base)


def make_llama(name, seed, dtype=torch.float32, lengths=(1, 7, 70), padding=False, edit=None, shards=1, prefix="", greedy=True,
               **options):
    model = randomize(LlamaForCausalLM(llama_config(**options)), seed, 0.25)
    save(name, model, dtype, edit=edit, shards=shards, prefix=prefix)
    for case, inputs in text_inputs(seed, model.config.vocab_size, lengths, padding).items():
        write_case(name, case, inputs, only_logits(run_llama(model, inputs)))
    if greedy:
        write_greedy(name, "short", model, 5, seed)
        write_greedy(name, "long", model, 67, seed + 1000)
    return model


SMALL = dict(num_attention_heads=2, num_key_value_heads=1, head_dim=16, intermediate_size=24)


def scaling_matters(name, model):
    """A rotary scaling that changed nothing would test nothing."""
    theta = model.config.rope_parameters["rope_theta"]
    plain = LlamaForCausalLM(llama_config(rope_parameters=dict(rope_type="default", rope_theta=theta), **SMALL))
    plain.load_state_dict(model.state_dict())
    inputs = {"input_ids": ids_of(5, (1, 70), model.config.vocab_size)}
    a, b = run_llama(model, inputs)["logits"], run_llama(plain.eval(), inputs)["logits"]
    assert (a - b).abs().max() > 0.05 * a.abs().max(), name


def old_rope(config):
    """The keys before transformers 5."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope


def make_beams():
    """Beam search of a model with an end token, which its configuration names."""
    model = randomize(LlamaForCausalLM(llama_config(eos_token_id=7, **SMALL)), 25, 0.25)
    with torch.no_grad():
        model.model.embed_tokens.weight[7] *= 1.5  # likely, but not the likeliest
    save("llama_beams", model, torch.bfloat16)
    for n, options in enumerate((dict(beams=2), dict(beams=4, length_penalty=2.0), dict(beams=3, early_stopping=True),
                                 dict(beams=4, length_penalty=0.6, early_stopping="never"), dict(beams=5, length_penalty=-1.0),
                                 dict(beams=3, length_penalty=0.0, tokens=1))):
        write_beams("llama_beams", f"search{n}", model, {"input_ids": ids_of(100 + n, (1, 3 + 2 * n), 61)}, end=7, **options)


def make_llamas():
    make_llama("llama_gqa", 1, padding=True, hidden_size=48, num_attention_heads=6, num_key_value_heads=3, head_dim=14,
               tie_word_embeddings=False, vocab_size=67,
               intermediate_size=40)
    make_llama("llama_tied_bias", 2, padding=True, hidden_size=40, num_attention_heads=5, num_key_value_heads=1, head_dim=8,
               attention_bias=True,
               mlp_bias=True, max_position_embeddings=1024)
    make_llama("llama_bf16", 3, torch.bfloat16)
    make_llama("llama_f16", 4, torch.float16, hidden_act="gelu_pytorch_tanh")
    make_llama("llama_sharded", 5, shards=3, lengths=(7,), tie_word_embeddings=False, **SMALL)
    make_llama("llama_no_prefix", 6, torch.bfloat16, lengths=(7,), greedy=False, **SMALL)
    folder = ROOT / "llama_no_prefix"
    rename(folder / "model.safetensors", lambda n: n.removeprefix("model."))
    make_beams()
    rope = dict(rope_theta=10000.0, original_max_position_embeddings=64)
    for name, parameters, edit in (
            ("llama_linear", dict(rope_type="linear", rope_theta=5000.0, factor=3.0), None),
            ("llama_dynamic", dict(rope_type="dynamic", rope_theta=500.0, factor=2.0), None),
            ("llama_yarn", dict(rope, rope_type="yarn", factor=4.0), None),
            ("llama_yarn_mscale", dict(rope, rope_type="yarn", factor=8.0, beta_fast=3.0, beta_slow=0.5, mscale=0.8,
                                       mscale_all_dim=0.4, truncate=False), None),
            ("llama_llama3", dict(rope, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0), None),
            ("llama_llama3_old", dict(rope, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0), old_rope)):
        model = make_llama(name, 10, torch.bfloat16, lengths=(70,), edit=edit, rope_parameters=parameters, **SMALL)
        if name != "llama_dynamic":  # unscaled within the trained length
            scaling_matters(name, model)


def make_words():
    """A model with a tokenizer, an end token and a chat template, for text and stop texts."""
    letters = "abcdefghijklmnopqrstuvwxyz.,!?\u0120\u010a"
    vocabulary = {t: i for i, t in enumerate(["<s>", "</s>", "<pad>"] + list(letters))}
    merges = [("t", "h"), ("th", "e"), ("a", "n"), ("i", "n"), ("\u0120", "t"), ("o", "n"), ("r", "e"), ("s", "t"),
              ("\u0120", "a"), ("e", "r")]
    for a, b in merges:
        vocabulary.setdefault(a + b, len(vocabulary))
    t = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<s>", "</s>", "<pad>"])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    name = "llama_words"
    model = randomize(LlamaForCausalLM(llama_config(vocab_size=len(vocabulary), bos_token_id=0)), 21, 0.25)
    with torch.no_grad():
        model.model.embed_tokens.weight[:3] *= 0.05  # special tokens are never likely
    folder = save(name, model, torch.bfloat16)
    t.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
              "model_max_length": 128,
              "chat_template": "{{ bos_token }}{% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}"
                               "{% if add_generation_prompt %}assistant\n{% endif %}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    prompt = torch.tensor([t.encode("the man on the train").ids])
    ids, margin = greedy_ids(model, prompt, 60)
    assert margin > 1e-3 and (ids > 2).all(), (margin, ids)
    # ends at the first token that the greedy continuation reaches from another prompt
    other = torch.tensor([t.encode("a stone, in the inn").ids])
    ids, margin = greedy_ids(model, other, 40)
    elsewhere = greedy_ids(model, prompt, 60)[0][0].tolist()
    end = next(i for n, i in enumerate(ids[0].tolist()) if n >= 6 and i not in ids[0][:n].tolist() and i not in elsewhere)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, end]}) + "\n")
    cut = ids[0][:ids[0].tolist().index(end) + 1]
    save_file({"prompt_ids": other[0].to(torch.int32), "generated_ids": cut.to(torch.int32)}, folder / "end.greedy.safetensors")
    GREEDY.append("llama_words end")


# BERT


def run_bert(model, inputs):
    with torch.no_grad():
        out = model(**inputs)
    r = {"last_hidden_state": out.last_hidden_state}
    if out.pooler_output is not None:
        r["pooler_output"] = out.pooler_output
    return r


def bert_config(**options):
    base = dict(vocab_size=53, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                max_position_embeddings=80,
                type_vocab_size=2, layer_norm_eps=1e-12, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0,
                attn_implementation="eager")
    base.update(options)
    return BertConfig(**base)


def bert_inputs(seed, vocabulary):
    cases = text_inputs(seed, vocabulary, (1, 7, 70))
    types = torch.zeros_like(cases["len7"]["input_ids"])
    types[:, 4:] = 1
    cases["types"] = {"input_ids": cases["len7"]["input_ids"], "token_type_ids": types}
    types = torch.tensor([[0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]])
    cases["pad_types"] = dict(cases["pad_right"], token_type_ids=types)
    cases["positions"] = {"input_ids": cases["len7"]["input_ids"], "position_ids": torch.tensor([[9, 0, 3, 79, 1, 1, 2]])}
    return cases


def make_bert(name, seed, dtype=torch.float32, pooler=True, prefix="", cases=None, **options):
    model = randomize(BertModel(bert_config(**options), add_pooling_layer=pooler), seed, 0.3)
    save(name, model, dtype, prefix=prefix)
    for case, inputs in bert_inputs(seed, model.config.vocab_size).items():
        if cases is None or case in cases:
            write_case(name, case, inputs, run_bert(model, inputs))
    return model


def make_berts():
    make_bert("bert", 31)
    make_bert("bert_no_pooler", 32, pooler=False, hidden_act="relu", num_attention_heads=2, cases=("len7", "pad_left"))
    make_bert("bert_prefix", 33, torch.bfloat16, prefix="bert.", hidden_act="gelu_new", type_vocab_size=3,
              cases=("len70", "pad_types"))
    make_bert("bert_f16", 34, torch.float16, hidden_size=36, num_attention_heads=3, cases=("len1", "len70", "pad_types"))


# Vision


def run_vision(model, inputs, **options):
    with torch.no_grad():
        inner = getattr(model, "vit", None) or getattr(model, "dinov2", None) or model
        out = inner(**inputs, **options)
        r = {"last_hidden_state": out.last_hidden_state}
        if getattr(out, "pooler_output", None) is not None:
            r["pooler_output"] = out.pooler_output
        if inner is not model:
            r["logits"] = model(**inputs, **options).logits
    return r


def vision_config(kind, **options):
    base = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8, num_channels=3,
                layer_norm_eps=1e-6,
                attn_implementation="eager")
    if kind is ViTConfig:
        base.update(intermediate_size=48, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    else:
        base.update(mlp_ratio=2, image_size=28, patch_size=7)
    base.update(options)
    return kind(**base)


def make_vision(name, seed, kind, config, sizes, dtype=torch.float32, edit=None, **options):
    """`sizes`: (batch, height, width); the positions are interpolated where the grid is not the trained one."""
    model = randomize(kind(config, **options), seed, 0.25)
    save(name, model, dtype, edit=edit)
    is_vit = isinstance(config, ViTConfig)
    trained = config.image_size if isinstance(config.image_size, (list, tuple)) else [config.image_size] * 2
    for n, (batch, height, width) in enumerate(sizes):
        pixels = pixels_of(seed + n, (batch, config.num_channels, height, width))
        if n:  # the others in half the size: inputs are widened exactly
            pixels = pixels.to(torch.float16 if n % 2 else torch.bfloat16)
        inputs = {"pixel_values": pixels}
        extra = {"interpolate_pos_encoding": True} if is_vit and [height, width] != list(trained) else {}
        write_case(name, f"b{batch}_{height}x{width}", inputs, run_vision(model, {"pixel_values": pixels.float()}, **extra))


def make_visions():
    labels = {i: n for i, n in enumerate(["tabby cat", "gr\u00fcner Baum", "\"quoted\"", "d", "e"])}
    classes = dict(id2label=labels, label2id={v: k for k, v in labels.items()})
    make_vision("vit", 41, ViTModel, vision_config(ViTConfig), [(1, 32, 32), (2, 32, 32), (1, 24, 40), (1, 65, 48)])
    make_vision("vit_class", 42, ViTForImageClassification, vision_config(ViTConfig, num_hidden_layers=1, **classes),
                [(1, 32, 32), (2, 40, 16)])
    make_vision("vit_class_f16", 45, ViTForImageClassification,
                vision_config(ViTConfig, qkv_bias=False, image_size=[16, 24], num_attention_heads=2, **classes), [(2, 16, 24)], torch.float16)
    make_vision("vit_no_bias", 43, ViTModel, vision_config(ViTConfig, qkv_bias=False, hidden_act="relu", num_channels=1),
                [(2, 32, 32)], torch.bfloat16, add_pooling_layer=False)
    make_vision("vit_rectangle", 44, ViTModel,
                vision_config(ViTConfig, image_size=[24, 40], hidden_size=24, num_attention_heads=3), [(1, 24, 40)], torch.float16)
    make_vision("dinov2", 51, Dinov2Model, vision_config(Dinov2Config), [(1, 28, 28), (2, 28, 42), (1, 70, 35), (1, 30, 29)])
    make_vision("dinov2_swiglu", 52, Dinov2Model,
                vision_config(Dinov2Config, use_swiglu_ffn=True, hidden_size=24, num_attention_heads=3),
                [(1, 28, 28), (1, 14, 49)], torch.float16)
    make_vision("dinov2_class_bf16", 54, Dinov2ForImageClassification,
                vision_config(Dinov2Config, num_hidden_layers=1, use_swiglu_ffn=True, num_channels=1, **classes), [(1, 28, 28), (2, 14, 28)],
                torch.bfloat16)
    make_vision("dinov2_class", 53, Dinov2ForImageClassification,
                vision_config(Dinov2Config, num_hidden_layers=1, qkv_bias=False, **classes), [(2, 28, 28), (1, 35, 56)])


# GGUF


def permute(w, heads):
    """Rows of a query or key matrix from half-split rotation to interleaved, as llama.cpp's converter stores them."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def unpermute(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def write_gguf_llama(name, kind, seed, config, rope_factors=None, other=None):
    """`other`: the type of matrices whose rows are no whole number of blocks."""
    folder = folder_of(name)
    rng = np.random.default_rng(seed)
    model = randomize(LlamaForCausalLM(config), seed, 1.2 / config.hidden_size ** 0.5)
    w = gguf.GGUFWriter(folder / "model.gguf", "llama")
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_key_length(config.head_dim)
    w.add_value_length(config.head_dim)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_rope_dimension_count(config.head_dim)
    w.add_rope_freq_base(config.rope_parameters["rope_theta"])
    w.add_vocab_size(config.vocab_size)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
             "post_attention_layernorm": "ffn_norm"}
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
           "lm_head.weight": "output.weight"}
    state, seen = model.state_dict(), set()
    for key, p in state.items():
        if p.data_ptr() in seen:
            continue
        seen.add(p.data_ptr())
        if key in top:
            target = top[key]
        else:
            _, _, layer, rest = key.split(".", 3)
            target = f"blk.{layer}.{names[rest.rsplit('.', 1)[0]]}.{rest.rsplit('.', 1)[1]}"
        a = p.numpy().copy()
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(target.split(".")[-2])
        if heads:
            a = permute(a, heads)
        if a.ndim == 1:
            w.add_tensor(target, a)
            continue
        k = kind if a.shape[1] % (256 if "_K" in kind else 32) == 0 or kind in ("F32", "F16", "BF16") else other
        data, meaning, q = quantize(k, a, rng)
        w.add_tensor(target, data, raw_dtype=q)
        p.copy_(torch.from_numpy(unpermute(meaning, heads) if heads else meaning))
    if rope_factors is not None:
        w.add_tensor("rope_freqs.weight", rope_factors.astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return model


def make_gguf_llama(name, kind, seed, factors=None, other=None, padding=False, **options):
    config = llama_config(**options)
    with torch.no_grad():
        model = write_gguf_llama(name, kind, seed, config, factors, other)
    exact = kind in ("F32", "F16", "BF16")
    for case, inputs in text_inputs(seed, config.vocab_size, (1, 7, 70), padding).items():
        expected = run_llama(model, inputs)
        if not exact:
            with rounded_activations(model):
                rounded = run_llama(model, inputs)
            keep = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
            for k in list(expected):
                error = (rounded[k] - expected[k])[keep].abs().max() / expected[k][keep].abs().max()
                assert 1e-3 < error < 0.1, (name, case, k, float(error))
                expected[k + ".int8"] = rounded[k]
            expected = {k: v for k, v in expected.items() if k.startswith("logits")}
        write_case(name, case, inputs, only_logits(expected), "exact" if exact else "int8", "/model.gguf")
    with contextlib.nullcontext() if exact else rounded_activations(model):
        write_greedy(name, "short", model, 5, seed, file="/model.gguf")
    return model


def make_gguf_bert():
    name = "gguf_bert_f32"
    config = bert_config()
    model = randomize(BertModel(config), 81, 0.3)
    folder = folder_of(name)
    w = gguf.GGUFWriter(folder / "model.gguf", "bert")
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_layer_norm_eps(config.layer_norm_eps)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.CLS)
    names = {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
             "embeddings.token_type_embeddings": "token_types",
             "embeddings.LayerNorm": "token_embd_norm", "attention.self.query": "attn_q", "attention.self.key": "attn_k",
             "attention.self.value": "attn_v",
             "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
             "intermediate.dense": "ffn_up",
             "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
    for key, p in model.state_dict().items():
        if key.startswith("pooler") or not p.is_floating_point():  # the converter drops the pooler
            continue
        stem, last = key.rsplit(".", 1)
        layer = ""
        if stem.startswith("encoder.layer."):
            _, _, n, stem = stem.split(".", 3)
            layer = f"blk.{n}."
        w.add_tensor(f"{layer}{names[stem]}.{last}", p.numpy().copy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    model.pooler = None
    for case, inputs in bert_inputs(81, config.vocab_size).items():
        write_case(name, case, inputs, run_bert(model, inputs), file="/model.gguf")


def make_ggufs():
    small = dict(num_attention_heads=6, num_key_value_heads=3, head_dim=12, hidden_size=48, vocab_size=67)
    make_gguf_llama("gguf_f32", "F32", 61, padding=True, tie_word_embeddings=False, **small)
    make_gguf_llama("gguf_f16", "F16", 62, **small)
    make_gguf_llama("gguf_bf16", "BF16", 63, tie_word_embeddings=False, **small)
    # a vocabulary of no whole number of packed rows
    blocks = dict(hidden_size=64, intermediate_size=96, vocab_size=70, max_position_embeddings=1024)
    for n, kind in enumerate(("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")):
        make_gguf_llama("gguf_" + kind.lower(), kind, 64 + n, padding=kind == "Q4_0",
                        num_hidden_layers=2 if kind == "Q4_0" else 1, **blocks)
    for n, kind in enumerate(("Q4_K", "Q5_K", "Q6_K")):
        make_gguf_llama("gguf_" + kind.lower(), kind, 71 + n, other="Q8_0", hidden_size=256, intermediate_size=96,
                        num_hidden_layers=1)
    for n, kind in enumerate(("Q2_K", "Q3_K")):
        make_gguf_llama("gguf_" + kind.lower(), kind, 75 + n, other="Q8_0", hidden_size=256, intermediate_size=96,
                        num_hidden_layers=1)
    make_gguf_llama("gguf_iq4_nl", "IQ4_NL", 77, num_hidden_layers=1, **blocks)
    # Llama 3: the converter stores the scaling as factors on the frequencies
    rope = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=64)
    model = LlamaForCausalLM(llama_config(rope_parameters=rope, **SMALL))
    plain = LlamaForCausalLM(llama_config(**SMALL))
    factors = (plain.model.rotary_emb.inv_freq / model.model.rotary_emb.inv_freq).numpy()
    assert factors.max() > 7.9 and factors.min() == 1 and ((factors > 1) & (factors < 7.9)).any(), factors
    scaling_matters("gguf_llama3", make_gguf_llama("gguf_llama3", "F32", 74, factors=factors, rope_parameters=rope, **SMALL))
    make_gguf_bert()


run("base", make_llamas, make_words, make_berts, make_visions, make_ggufs)
