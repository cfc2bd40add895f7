#!/usr/bin/env python3
"""Tiny LLaVA, Qwen2-VL, Qwen2.5-VL, Idefics3, SmolVLM and PaliGemma checkpoints; what is written where stands in golden_models.py.
Greedy cases of pictures hold, beside prompt_ids and generated_ids, what the processor would give for them (pixel_values, grids).
SPDX-License-Identifier: MIT"""
import json
from types import SimpleNamespace

import gguf
import numpy as np
import torch
from golden_models import ROOT, ids_of, only_logits, pixels_of, randomize, rename, run, save, tensors_of, write_case
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (CLIPVisionConfig, Gemma2Config, GemmaConfig, Idefics3ForConditionalGeneration, Idefics3Processor, LlamaConfig, LlavaConfig,
                          LlavaForConditionalGeneration, LlavaProcessor, PaliGemmaConfig, PaliGemmaForConditionalGeneration,
                          PaliGemmaProcessor, Qwen2VLProcessor, SmolVLMProcessor,
                          Qwen2_5_VLForConditionalGeneration, Qwen2VLForConditionalGeneration, SiglipVisionConfig,
                          SmolVLMForConditionalGeneration, ViTConfig)

GREEDY_TOKENS = 16
LEAST_MARGIN = 0.02


def forward(model, inputs, **derived):
    with torch.no_grad():
        out = model(**inputs, **derived, output_hidden_states=True, use_cache=False)
    return {"last_hidden_state": out.hidden_states[-1], "logits": out.logits}


def write_forward(name, case, model, inputs, **derived):
    """`derived`: what transformers is given besides, since its processors derive it."""
    joint = len({v.shape[0] for v in inputs.values()}) > 1  # media of all rows in one list
    write_case(name, case, inputs, only_logits(forward(model, inputs, **derived)), "joint" if joint else "exact")


def write_greedy(name, model, prompts, media, placeholders, case="image", derive=lambda ids: {}):
    """The first of the prompts (id tensors [1, T]) whose continuation is decided by a clear distance at every step and holds no placeholder."""
    for prompt in prompts:
        with torch.no_grad():
            out = model.generate(input_ids=prompt, **media, **derive(prompt), do_sample=False, max_new_tokens=GREEDY_TOKENS,
                                 output_logits=True, return_dict_in_generate=True)
        generated, margin = out.sequences[0, prompt.shape[1]:], 1.0
        for logits in out.logits:
            top = logits[0].topk(2).values
            margin = min(margin, float((top[0] - top[1]) / logits.abs().max()))
        if margin >= LEAST_MARGIN and len(set(generated.tolist())) >= 4 and not placeholders & set(generated.tolist()):
            break
    else:
        raise SystemExit(f"{name}: no prompt with a margin of {LEAST_MARGIN}")
    save_file({"prompt_ids": prompt[0].to(torch.int32), "generated_ids": generated.to(torch.int32),
               **{k: v.contiguous() for k, v in media.items()}}, ROOT / name / f"{case}.greedy.safetensors")


def text_config(**options):
    base = dict(vocab_size=61, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                head_dim=8, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=None, eos_token_id=None, pad_token_id=None,
                tie_word_embeddings=False, attn_implementation="eager")
    base.update(options)
    return base


def with_images(seed, vocabulary, token, length, runs):
    """Random ids without the placeholder, but for runs (start, count) of it."""
    ids = ids_of(seed, (1, length), vocabulary)
    ids[ids == token] = 1
    for start, count in runs:
        ids[0, start:start + count] = token
    return ids


def new_names(folder, vision):
    """The names of transformers 4.52 to 4.57 and of the modules in memory, instead of those of the hub that save() writes."""
    def change(name):
        if name.startswith("language_model."):
            name = name.removeprefix("language_model.")
        elif name.startswith(vision) or name.startswith("multi_modal_projector"):
            return "model." + name
        return "model.language_model." + name.removeprefix("model.") if name != "lm_head.weight" else name
    rename(folder / "model.safetensors", change)


# LLaVA

def make_llava(name, seed, vision, text, dtype=torch.float32, shards=1, size=(16, 16), tokens=16, **options):
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=60, attn_implementation="eager", **options)
    model = randomize(LlavaForConditionalGeneration(config), seed, 0.25)
    folder = save(name, model, dtype, shards=shards)
    two = with_images(seed, 61, 60, 2 * tokens + 5, [(1, tokens), (tokens + 3, tokens)])
    write_forward(name, "two", model, {"input_ids": two, "pixel_values": pixels_of(seed, (2, 3) + size)})
    batch = torch.cat([with_images(seed + k, 61, 60, tokens + 8, [(2 + k, tokens)]) for k in range(2)])
    mask = torch.ones_like(batch)
    batch[0, :2] = mask[0, :2] = 0
    batch[1, -3:] = mask[1, -3:] = 0
    write_forward(name, "padded", model,
                  {"input_ids": batch, "attention_mask": mask, "pixel_values": pixels_of(seed + 1, (2, 3) + size)})
    write_forward(name, "text", model, {"input_ids": ids_of(seed, (1, 7), 60)})
    one = pixels_of(seed + 2, (1, 3) + size)
    write_greedy(name, model, (with_images(s, 61, 60, tokens + 6, [(2, tokens)]) for s in range(seed, seed + 400)), {"pixel_values": one}, {60})
    return model, folder


def make_llavas():
    small = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, patch_size=4, attn_implementation="eager")
    _, folder = make_llava("llava_vit", 1, ViTConfig(image_size=(24, 16), **small), LlamaConfig(**text_config(num_attention_heads=6, num_key_value_heads=3)),
               size=(24, 16), tokens=24, vision_feature_layer=-2)
    new_names(folder, "vision_tower")
    make_llava("llava_clip", 2, CLIPVisionConfig(image_size=16, projection_dim=8, **small),
               LlamaConfig(**text_config(attention_bias=True, num_key_value_heads=1, tie_word_embeddings=True)), torch.bfloat16, shards=2, tokens=17,
               vision_feature_layer=[-1, 0], vision_feature_select_strategy="full", multimodal_projector_bias=False,
               projector_hidden_act="silu")


# Qwen2-VL and Qwen2.5-VL: 59 stands for a picture's tokens, 60 for a video's

def token_types(ids):
    return {"mm_token_type_ids": (ids == 59).int() + 2 * (ids == 60).int()}


def with_grids(seed, length, media):
    """Ids with runs for (start, token, grid)."""
    ids = ids_of(seed, (1, length), 59)
    for start, token, (t, h, w) in media:
        ids[0, start:start + t * h * w // 4] = token
    return ids


def patches(seed, *grids):
    return pixels_of(seed, (sum(t * h * w for t, h, w in grids), 3 * 2 * 2 * 2))


def make_qwen(name, seed, cls, config, dtype=torch.float32, seconds=None, edit=None):
    text = text_config(num_attention_heads=3, num_key_value_heads=1, rope_parameters=dict(rope_type="default", rope_theta=5000.0,
                                                                                       mrope_section=[1, 2, 1]))
    config["text_config"].update(text)
    model = randomize(cls(cls.config_class(**config, image_token_id=59, video_token_id=60, vision_start_token_id=57, vision_end_token_id=58,
                                           attn_implementation="eager")), seed, 0.25)
    folder = save(name, model, dtype, edit=edit)
    a, b, v = (1, 4, 6), (1, 6, 2), (3, 4, 4)
    inputs = {"input_ids": with_grids(seed, 18, [(2, 59, a), (10, 59, b)]), "pixel_values": patches(seed, a, b), "image_grid_thw": torch.tensor([a, b])}
    write_forward(name, "images", model, inputs, **token_types(inputs["input_ids"]))
    video = {"pixel_values_videos": patches(seed + 1, v), "video_grid_thw": torch.tensor([v])}
    if seconds:
        video["second_per_grid_ts"] = torch.tensor([seconds])
    inputs = {"input_ids": with_grids(seed + 1, 23, [(1, 60, v), (15, 59, a)]), "pixel_values": patches(seed + 2, a), "image_grid_thw": torch.tensor([a]),
              **video}
    write_forward(name, "video", model, inputs, **token_types(inputs["input_ids"]))
    batch = torch.cat([with_grids(seed + 2, 11, [(4, 59, a)]), with_grids(seed + 3, 11, [(3, 59, b)])])
    mask = torch.ones_like(batch)
    batch[0, :3] = mask[0, :3] = 0
    batch[1, -2:] = mask[1, -2:] = 0
    inputs = {"input_ids": batch, "attention_mask": mask, "pixel_values": patches(seed + 3, a, b), "image_grid_thw": torch.tensor([a, b])}
    write_forward(name, "padded", model, inputs, **token_types(batch))
    write_forward(name, "text", model, {"input_ids": ids_of(seed, (1, 7), 59)})
    media = {"pixel_values": patches(seed + 4, a), "image_grid_thw": torch.tensor([a])}
    write_greedy(name, model, (with_grids(s, 12, [(3, 59, a)]) for s in range(seed, seed + 400)), media, {59, 60}, derive=token_types)
    write_greedy(name, model, (with_grids(s, 17, [(3, 60, v)]) for s in range(seed, seed + 400)), video, {59, 60}, "video", token_types)
    return model, folder


def hub_config(config):
    """As on the hub: flat, older keys."""
    text = config.pop("text_config")
    text.pop("model_type")
    rope = text.pop("rope_parameters")
    config["vision_config"].pop("model_type")
    config["vision_config"].pop("rope_parameters", None)
    config.update({k: v for k, v in text.items() if k not in config})
    config.update(rope_theta=rope["rope_theta"], rope_scaling={"type": "mrope", "mrope_section": rope["mrope_section"]})


def make_qwens():
    vision = dict(depth=2, embed_dim=16, hidden_size=24, num_heads=2, mlp_ratio=2, patch_size=2)
    make_qwen("qwen2_vl", 11, Qwen2VLForConditionalGeneration, dict(vision_config=vision, text_config={}, tie_word_embeddings=True))
    make_qwen("qwen2_vl_hub", 12, Qwen2VLForConditionalGeneration, dict(vision_config=vision, text_config={}), torch.float16, edit=hub_config)
    vision = dict(depth=3, hidden_size=16, out_hidden_size=24, num_heads=2, intermediate_size=12, patch_size=2, window_size=8,
                  fullatt_block_indexes=[1], tokens_per_second=3)
    _, folder = make_qwen("qwen2_5_vl", 13, Qwen2_5_VLForConditionalGeneration, dict(vision_config=vision, text_config={}), seconds=0.7)
    new_names(folder, "visual")
    make_qwen("qwen2_5_vl_hub", 14, Qwen2_5_VLForConditionalGeneration, dict(vision_config=vision, text_config={}, tie_word_embeddings=True), torch.bfloat16,
              edit=hub_config)


# Idefics3 and SmolVLM

def make_idefics(name, seed, cls, dtype=torch.float32, scale=2, side=8, patch=2, shards=1, **options):
    vision = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, image_size=side, patch_size=patch)
    config = cls.config_class(vision_config=vision, text_config=dict(text_config(**options), model_type="llama"), image_token_id=60, scale_factor=scale,
                              tie_word_embeddings=options.get("tie_word_embeddings", False), attn_implementation="eager")
    model = randomize(cls(config), seed, 0.25)
    folder = save(name, model, dtype, shards=shards)
    n = (side // patch // scale) ** 2
    tiles = with_images(seed, 61, 60, 3 * n + 7, [(1 + k * (n + 1), n) for k in range(3)])
    write_forward(name, "tiles", model, {"input_ids": tiles, "pixel_values": pixels_of(seed, (1, 3, 3, side, side))})
    batch = torch.cat([with_images(seed + 1, 61, 60, 2 * n + 4, [(0, n), (n + 2, n)]), with_images(seed + 2, 61, 60, 2 * n + 4, [(1, n)])])
    mask = torch.ones_like(batch)
    batch[1, -2:] = mask[1, -2:] = 0
    pixels = pixels_of(seed + 1, (2, 2, 3, side, side))
    seen = torch.zeros(2, 2, side, side, dtype=torch.int64)
    seen[0, 0] = seen[0, 1, :side - 3, :] = seen[1, 0, :, :side // 2 + 1] = 1  # a part of a patch counts
    pixels *= seen[:, :, None]
    pixels[1, 1] = 0
    write_forward(name, "padded", model, {"input_ids": batch, "attention_mask": mask, "pixel_values": pixels, "pixel_attention_mask": seen})
    write_forward(name, "text", model, {"input_ids": ids_of(seed, (1, 7), 60)})
    media = {"pixel_values": pixels[1:, :1], "pixel_attention_mask": seen[1:, :1].to(torch.int32)}
    write_greedy(name, model, (with_images(s, 61, 60, n + 6, [(2, n)]) for s in range(seed, seed + 400)), media, {60})
    return model, folder


def make_idefics3s():
    make_idefics("idefics3", 21, Idefics3ForConditionalGeneration, num_key_value_heads=1, intermediate_size=24)
    make_idefics("idefics3_bf16", 22, Idefics3ForConditionalGeneration, torch.bfloat16, side=14, patch=2, scale=7, shards=2,
                 num_attention_heads=6, num_key_value_heads=3)
    make_idefics("smolvlm", 23, SmolVLMForConditionalGeneration, side=12, patch=2, scale=3, tie_word_embeddings=True)
    make_idefics("smolvlm_f16", 24, SmolVLMForConditionalGeneration, torch.float16, attention_bias=True)


# PaliGemma, of Gemma and Gemma 2

def make_paligemma(name, seed, text, dtype=torch.float32, size=8, shards=1):
    vision = SiglipVisionConfig(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, image_size=size, patch_size=2,
                                vision_use_head=False)
    config = PaliGemmaConfig(vision_config=vision, text_config=text, image_token_index=60, projection_dim=24, hidden_size=24,
                             attn_implementation="eager")
    model = randomize(PaliGemmaForConditionalGeneration(config), seed, 0.25)
    folder = save(name, model, dtype, shards=shards)
    n = (size // 2) ** 2
    ids = with_images(seed, 61, 60, n + 9, [(0, n)])
    types = torch.zeros_like(ids)
    types[0, n + 4:] = 1
    pixels = pixels_of(seed, (1, 3, size, size))
    write_forward(name, "prefix", model, {"input_ids": ids, "token_type_ids": types, "pixel_values": pixels})
    write_forward(name, "causal", model, {"input_ids": ids, "pixel_values": pixels})
    batch = torch.cat([with_images(seed + 1 + k, 61, 60, n + 7, [(2, n)]) for k in range(2)])
    types, mask = torch.zeros_like(batch), torch.ones_like(batch)
    types[0, n + 3:] = types[1, -1:] = 1
    batch[0, :2] = mask[0, :2] = 0
    write_forward(name, "padded", model, {"input_ids": batch, "attention_mask": mask, "token_type_ids": types,
                                          "pixel_values": pixels_of(seed + 1, (2, 3, size, size))})
    media = {"pixel_values": pixels_of(seed + 2, (1, 3, size, size))}
    write_greedy(name, model, (with_images(s, 61, 60, n + 5, [(0, n)]) for s in range(seed, seed + 400)), media, {60},
                 derive=lambda i: {"token_type_ids": torch.zeros_like(i)})
    return model, folder


def make_paligemmas():
    make_paligemma("paligemma", 31, GemmaConfig(**text_config(num_key_value_heads=1, tie_word_embeddings=True)), torch.bfloat16)
    _, folder = make_paligemma("paligemma2", 32, Gemma2Config(**text_config(num_attention_heads=6, tie_word_embeddings=True, sliding_window=6,
                                                              query_pre_attn_scalar=12, attn_logit_softcapping=5.0,
                                                              final_logit_softcapping=4.0)), size=6)
    new_names(folder, "vision_tower")


# Pairs of GGUF files, of the same weights as directories

LETTERS = "abcdefghijklmnopqrstuvwxyz.,!?\u0120\u010a"
MERGES = [("t", "h"), ("th", "e"), ("a", "n"), ("i", "n"), ("\u0120", "t"), ("o", "n"), ("r", "e"), ("s", "t"), ("\u0120", "a"), ("e", "r")]
SPECIAL = ["<s>", "</s>", "<pad>"]
IMAGE_TOKENS = ["<fake_token_around_image>", "<global-img>"] + [f"<row_{r}_col_{c}>" for r in (1, 2) for c in (1, 2)]


def vocabulary():
    """61 tokens, the last of which stands for pictures."""
    tokens = SPECIAL + list(LETTERS) + [a + b for a, b in MERGES] + IMAGE_TOKENS
    return tokens + [f"<extra_{i}>" for i in range(60 - len(tokens))] + ["<image>"]


def write_tokenizer(folder):
    tokens = vocabulary()
    t = Tokenizer(models.BPE(vocab={k: i for i, k in enumerate(tokens)}, merges=MERGES))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([k for k in tokens if k[0] == "<"])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    t.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def add_tensor(w, name, p):
    """Matrices as they are stored, vectors in float32."""
    a = p.detach().float().numpy()
    w.add_tensor(name, a.astype(np.float16) if a.ndim > 1 and p.dtype == torch.float16 else a)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_text_gguf(folder, config, tensors):
    """Llama, its tensors named as in a directory of its own."""
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
    tokens = vocabulary()
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if k[0] == "<" else gguf.TokenType.NORMAL for k in tokens])
    w.add_token_merges([" ".join(m) for m in MERGES])
    w.add_bos_token_id(0)
    w.add_eos_token_id(1)
    w.add_add_bos_token(True)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, p in tensors.items():
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads if "k_proj" in name else 0
        if heads:  # the order of interleaved rotation
            p = p.reshape(heads, 2, p.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(p.shape)
        add_tensor(w, names.get_name(name, try_suffixes=(".weight", ".bias")), p)
    finish(w)


def write_projector_gguf(folder, kind, config, tensors, act, blocks, swapped=False, layers=None, scale=None):
    """`tensors` under the names of the directory; `blocks` of the tower are kept."""
    w = gguf.GGUFWriter(folder / "mmproj.gguf", "clip")
    w.add_type(gguf.GGUFType.MMPROJ)
    w.add_clip_projector_type(kind)
    w.add_clip_has_vision_encoder(True)
    w.add_vision_image_size(config.image_size)
    w.add_vision_patch_size(config.patch_size)
    w.add_vision_embedding_length(config.hidden_size)
    w.add_vision_feed_forward_length(config.intermediate_size)
    w.add_vision_block_count(blocks)
    w.add_vision_head_count(config.num_attention_heads)
    w.add_vision_attention_layernorm_eps(config.layer_norm_eps)
    w.add_vision_projection_dim(24)
    w.add_vision_image_mean([0.5, 0.4, 0.3])
    w.add_vision_image_std([0.2, 0.3, 0.4])
    if act == "gelu":
        w.add_vision_use_gelu(True)
    if layers:
        w.add_array("clip.vision.feature_layer", layers)
    if scale:
        w.add_vision_projector_scale_factor(scale)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, config.num_hidden_layers)
    for name, p in tensors.items():
        if "encoder.layers." in name and int(name.split("layers.")[1].split(".")[0]) >= blocks:
            continue
        name = name.replace("vision_tower.encoder", "vision_tower.vision_model.encoder").replace("vision_tower.emb", "vision_tower.vision_model.emb")
        name = name.replace("vision_tower.p", "vision_tower.vision_model.p")
        name = name.replace("linear_1", "linear_0")  # as the first of the converter's two
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target, name
        if swapped and "ffn_" in target:
            target = target.replace("ffn_up", "ffn_?").replace("ffn_down", "ffn_up").replace("ffn_?", "ffn_down")
        add_tensor(w, target.removesuffix(".weight") if "class_embd" in target else target, p)
    finish(w)


def split_text(tensors, *prefixes):
    """Those of the text under the names of its own class, and the others."""
    text, rest = {}, {}
    for name, p in tensors.items():
        prefix = next((x for x in prefixes if name.startswith(x)), None)
        if prefix is None and name != "lm_head.weight":
            rest[name] = p
        else:
            name = name.removeprefix(prefix or "")
            text[name if name.startswith(("lm_head", "model.")) else "model." + name] = p
    return text, rest


def make_pairs():
    vision = CLIPVisionConfig(image_size=8, patch_size=4, hidden_size=16, intermediate_size=20, num_hidden_layers=3, num_attention_heads=2, projection_dim=8,
                              attn_implementation="eager")
    model, folder = make_llava("llava_pair", 41, vision, LlamaConfig(**text_config(num_key_value_heads=1)), torch.float16, size=(8, 8), tokens=4)
    write_tokenizer(folder)
    processor = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8},
                 "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")
    text, rest = split_text(tensors_of(model, torch.float16), "language_model.")
    rest = {k: v for k, v in rest.items() if "post_layernorm" not in k}
    write_text_gguf(folder, model.config.text_config, text)
    write_projector_gguf(folder, "mlp", vision, rest, "quick_gelu", 2, swapped=True)

    model, folder = make_idefics("idefics3_pair", 42, Idefics3ForConditionalGeneration, torch.float16)
    text, rest = split_text(tensors_of(model, torch.float16), "model.text_model.")
    write_text_gguf(folder, model.config.text_config, text)
    write_projector_gguf(folder, "idefics3", model.config.vision_config, rest, "gelu", 2, scale=2)


# What the processors write in a prompt

def fill(text, mark, replacements):
    parts = text.split(mark)
    return parts[0] + "".join(r + p for r, p in zip(replacements, parts[1:]))


def make_prompts():
    """prompts.json: a model, a text, its media as (kind, rows, columns, tokens), and the prompt. Placeholders by the processors' own functions."""
    cases = []

    def add(model, text, media, expected):
        cases.append({"model": model, "text": text, "media": [dict(zip(("kind", "rows", "cols", "tokens"), m)) for m in media], "prompt": expected})

    llava = SimpleNamespace(patch_size=4, num_additional_image_tokens=1, vision_feature_select_strategy="default", image_token="<image>")
    written = [LlavaProcessor.replace_image_token(llava, {"pixel_values": [np.zeros((3, 8, w))]}, 0) for w in (8, 12)]
    media = [("image", 0, 0, 4), ("image", 0, 0, 6)]
    add("llava_pair", "USER: <image>\nwhat is <image>?", media, fill("USER: <image>\nwhat is <image>?", "<image>", written))
    add("llava_pair", "and <image>", media, written[0] + "\n" + fill("and <image>", "<image>", written[1:]))
    idefics = SimpleNamespace(fake_image_token="<fake_token_around_image>", image_token="<image>", global_image_tag="<global-img>",
                              global_image_token="<global-img>", image_seq_len=3)
    tiles = {"rows": [[2, 0]], "cols": [[3, 0]]}
    text = "User:<image>and<image> what?"
    for model, cls in (("idefics3", Idefics3Processor), ("smolvlm", SmolVLMProcessor)):
        written = [cls.replace_image_token(idefics, tiles, i) for i in range(2)]
        add(model, text, [("image", 2, 3, 21), ("image", 0, 0, 3)], fill(text, "<image>", written))
        add(model, "User: what?", [("image", 2, 3, 21)], written[0] + "User: what?")
    qwen = SimpleNamespace(image_processor=SimpleNamespace(merge_size=2), video_processor=SimpleNamespace(merge_size=2), image_token="<|image_pad|>",
                           video_token="<|video_pad|>")
    grids = {"image_grid_thw": torch.tensor([[1, 4, 6]]), "video_grid_thw": torch.tensor([[3, 4, 4]])}
    image, video = Qwen2VLProcessor.replace_image_token(qwen, grids, 0), Qwen2VLProcessor.replace_video_token(qwen, grids, 0)
    text = "see <|vision_start|><|video_pad|><|vision_end|> and <|vision_start|><|image_pad|><|vision_end|>"
    media = [("image", 0, 0, 6), ("video", 0, 0, 12)]
    add("qwen2_vl", text, media, fill(fill(text, "<|video_pad|>", [video]), "<|image_pad|>", [image]))
    add("qwen2_vl", "what?", media, f"<|vision_start|>{image}<|vision_end|><|vision_start|>{video}<|vision_end|>what?")
    gemma = PaliGemmaProcessor.__new__(PaliGemmaProcessor)
    gemma.tokenizer, gemma.image_seq_length, gemma.image_token = SimpleNamespace(bos_token=""), 5, "<image>"
    gemma.image_processor = SimpleNamespace(fetch_images=lambda images: images)
    picture = Image.new("RGB", (4, 4))
    for text, count in (("caption en", 1), ("<image>caption <image> en", 2)):
        laid_out = PaliGemmaProcessor.prepare_inputs_layout(gemma, images=[[picture] * count], text=[text])[1][0]
        written = [PaliGemmaProcessor.replace_image_token(gemma, {}, 0)] * count
        add("paligemma", text, [("image", 0, 0, 5)] * count, fill(laid_out, "<image>", written))
    (ROOT / "early_fusion.prompts.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    run("early_fusion", make_llavas, make_qwens, make_idefics3s, make_paligemmas, make_pairs, make_prompts)
