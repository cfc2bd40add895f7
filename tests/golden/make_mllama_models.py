#!/usr/bin/env python3
"""Tiny checkpoints of Llama 3.2 Vision; what is written where stands in golden_models.py. The mask of what text attends to is made by the
functions of transformers' processor, and left out of the inputs where libmm is to find it by itself.
SPDX-License-Identifier: MIT"""
import json
import types

import torch
from golden_models import (LEAST_MARGIN, ids_of, pixels_of, randomize, run, save, write_beams, write_case, write_media)
from transformers import (MllamaConfig, MllamaForCausalLM, MllamaForConditionalGeneration, MllamaTextConfig, MllamaVisionConfig,
                          MllamaVisionModel)
from transformers.models.mllama.processing_mllama import convert_sparse_cross_attention_mask_to_dense, get_cross_attention_token_mask

EAGER = dict(attn_implementation="eager")
VISION = dict(hidden_size=15, num_hidden_layers=3, num_global_layers=2, attention_heads=3, intermediate_size=14, vision_output_dim=45, image_size=12,
              patch_size=4, max_num_tiles=3, intermediate_layers_indices=[0, 2],
              supported_aspect_ratios=[[1, 1], [1, 2], [1, 3], [2, 1], [3, 1]])
TEXT = dict(vocab_size=45, hidden_size=24, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=3, intermediate_size=14,
            cross_attention_layers=[1, 3], max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=None,
            rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                 original_max_position_embeddings=16))


def build(vision, text, token, seed, std):
    config = MllamaConfig(vision_config=MllamaVisionConfig(**vision), text_config=MllamaTextConfig(**text), image_token_index=token, **EAGER)
    return randomize(MllamaForConditionalGeneration(config), seed, std)


def pictures_of(model, seed, rows):
    """Tensors as the processor makes them of canvases (kinds, counted from 1) of each row of the batch, padded with pictures of kind 0."""
    c = model.config.vision_config
    n = max(len(row) for row in rows)
    pixels = pixels_of(seed, (len(rows), n, c.max_num_tiles, 3, c.image_size, c.image_size))
    kinds = torch.zeros(len(rows), n, dtype=torch.long)
    mask = torch.zeros(len(rows), n, c.max_num_tiles, dtype=torch.long)
    mask[:, :, 0] = 1
    for b, row in enumerate(rows):
        for k, kind in enumerate(row):
            kinds[b, k] = kind
            h, w = c.supported_aspect_ratios[kind - 1]
            mask[b, k, :h * w] = 1
        pixels[b, len(row):] = 0
    for b in range(len(rows)):
        for k in range(n):
            pixels[b, k, mask[b, k].sum():] = 0
    return {"pixel_values": pixels, "aspect_ratio_ids": kinds, "aspect_ratio_mask": mask}


def seen(model, ids, pictures):
    c = model.config.vision_config
    counts = [[int(m.sum()) for m, k in zip(row, kinds) if k] for row, kinds in zip(pictures["aspect_ratio_mask"], pictures["aspect_ratio_ids"])]
    sparse = [get_cross_attention_token_mask(row.tolist(), model.config.image_token_index) for row in ids]
    return torch.tensor(convert_sparse_cross_attention_mask_to_dense(sparse, counts, c.max_num_tiles, ids.shape[1]))


def forward(model, **inputs):
    with torch.no_grad():
        return {"logits": model(**inputs).logits}


def prompt_of(model, seed, length, places):
    ids = ids_of(seed, (1, length), min(model.config.text_config.vocab_size, model.config.image_token_index))
    ids[0, places] = model.config.image_token_index
    return ids


def write_greedy_media(name, case, model, kinds, length, places, seed, count=12):
    """The first prompt whose continuation is decided by a clear distance at every step; in half the caches' precision too."""
    for s in range(seed, seed + 400):
        pictures, prompt = pictures_of(model, s, [kinds]), prompt_of(model, s, length, places)
        mask, ids, margin = seen(model, prompt, pictures), prompt, 1.0
        for _ in range(count):
            logits = forward(model, input_ids=ids, cross_attention_mask=mask, **pictures)["logits"][0, -1]
            top = logits.topk(2).values
            margin = min(margin, float((top[0] - top[1]) / logits.abs().max()))
            ids, mask = torch.cat([ids, logits.argmax()[None, None]], 1), torch.cat([mask, mask[:, -1:]], 1)
            if margin < LEAST_MARGIN:
                break
        generated = ids[:, length:]
        if margin >= LEAST_MARGIN and len(set(generated[0].tolist())) >= 4:
            break
    else:
        raise SystemExit(f"{name}: no prompt with a margin of {LEAST_MARGIN}")
    again = model.generate(input_ids=prompt, cross_attention_mask=seen(model, prompt, pictures), **pictures, do_sample=False,
                           max_new_tokens=count, eos_token_id=None, pad_token_id=0)
    assert torch.equal(again[:, length:], generated)
    blind = model.generate(input_ids=prompt, do_sample=False, max_new_tokens=count, eos_token_id=None, pad_token_id=0)
    assert not torch.equal(blind, again), "the pictures do not matter"
    write_media(name, case, pictures, prompt, generated)


def write_picture_beams(name, case, model, kinds, length, places, seed, **options):
    pictures, prompt = pictures_of(model, seed, [kinds]), prompt_of(model, seed, length, places)
    mask = seen(model, prompt, pictures)
    whole = types.SimpleNamespace(config=model.config, generate=lambda **inputs: model.generate(cross_attention_mask=mask, **inputs))
    model.config.is_encoder_decoder = False
    write_beams(name, case, whole, {"input_ids": prompt, **pictures}, **options)


def forward_cases(name, model, seed):
    token, vocabulary = model.config.image_token_index, min(model.config.text_config.vocab_size, model.config.image_token_index)
    ids = ids_of(seed, (2, 7), vocabulary)
    padded = torch.ones_like(ids)
    padded[1, :3] = 0
    write_case(name, "text", {"input_ids": ids, "attention_mask": padded}, forward(model, input_ids=ids, attention_mask=padded))

    pictures, ids = pictures_of(model, seed + 1, [[2]]), prompt_of(model, seed + 1, 6, [2])
    write_case(name, "one", {"input_ids": ids, **pictures}, forward(model, input_ids=ids, cross_attention_mask=seen(model, ids, pictures), **pictures))

    # Two together, one later; another row with one alone behind its padding.
    pictures, ids = pictures_of(model, seed + 2, [[1, 4, 3], [2]]), ids_of(seed + 2, (2, 11), vocabulary)
    ids[0, [1, 2, 7]] = token
    ids[1, 5] = token
    padded = torch.ones_like(ids)
    padded[1, :4] = 0
    inputs = {"input_ids": ids, "attention_mask": padded, **pictures}
    write_case(name, "several", inputs, forward(model, cross_attention_mask=seen(model, ids, pictures), **inputs))

    pictures, ids = pictures_of(model, seed + 3, [[4, 3]]), ids_of(seed + 3, (1, 6), vocabulary)
    mask = torch.randint(0, 2, (1, 6, 2, model.config.vision_config.max_num_tiles), generator=torch.Generator().manual_seed(seed))
    mask[0, 2] = 0
    inputs = {"input_ids": ids, "cross_attention_mask": mask, "position_ids": torch.tensor([[3, 4, 5, 6, 9, 10]]), **pictures}
    write_case(name, "mask", inputs, forward(model, **inputs))


def mllama():
    model = build(VISION, TEXT, 47, 11, 0.35)
    folder = save("mllama", model)
    processor = {"image_processor_type": "MllamaImageProcessor", "do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True,
                 "do_resize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "max_image_tiles": 3, "resample": 2,
                 "rescale_factor": 1 / 255, "size": {"height": 12, "width": 12}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")
    forward_cases("mllama", model, 100)
    write_greedy_media("mllama", "greedy", model, [2], 6, [1], 200)
    write_greedy_media("mllama", "greedy_two", model, [4, 3], 9, [2, 6], 300)
    write_picture_beams("mllama", "beams", model, [5, 1], 7, [0, 3], 400, beams=3)


def mllama_bf16():
    """All four tiles, a placeholder within the vocabulary, a head of its own although the configuration says tied, sharded."""
    vision = dict(VISION, hidden_size=14, attention_heads=7, num_global_layers=1, vision_output_dim=42, image_size=8, max_num_tiles=4,
                  intermediate_layers_indices=[2, 0], supported_aspect_ratios=None, hidden_act="quick_gelu", norm_eps=1e-3)
    text = dict(TEXT, hidden_size=40, num_attention_heads=5, num_key_value_heads=1, num_hidden_layers=3, cross_attention_layers=[1],
                tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=500000.0))
    model = build(vision, text, 40, 12, 0.5)
    save("mllama_bf16", model, torch.bfloat16, shards=2)
    forward_cases("mllama_bf16", model, 500)
    write_greedy_media("mllama_bf16", "greedy", model, [6], 5, [0], 600)


def parts_f16():
    """The two halves, as classes of their own."""
    vision = randomize(MllamaVisionModel(MllamaVisionConfig(**VISION, **EAGER)), 13, 0.3)
    save("mllama_vision_f16", vision, torch.float16)
    holder = types.SimpleNamespace(config=types.SimpleNamespace(vision_config=vision.config))
    pictures = pictures_of(holder, 700, [[3, 1]])
    with torch.no_grad():
        write_case("mllama_vision_f16", "two", pictures, {"last_hidden_state": vision(**pictures).last_hidden_state})
    text = randomize(MllamaForCausalLM(MllamaTextConfig(**TEXT, **EAGER)), 14, 0.3)
    save("mllama_text_f16", text, torch.float16)
    ids = ids_of(800, (2, 8), 45)
    write_case("mllama_text_f16", "text", {"input_ids": ids}, forward(text, input_ids=ids))
    inputs = {"input_ids": ids, "cross_attention_states": pixels_of(801, (2, 9, 24))}
    write_case("mllama_text_f16", "states", inputs, forward(text, **inputs))


run("mllama", mllama, mllama_bf16, parts_f16)
