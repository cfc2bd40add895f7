#!/usr/bin/env python3
"""Tiny Whisper checkpoints; what is written where stands in golden_models.py. SPDX-License-Identifier: MIT"""
import json

import torch
from golden_models import greedy_margin, ids_of, pixels_of, randomize, run, save, write_case, write_media
from transformers import WhisperConfig, WhisperForConditionalGeneration


def config(**options):
    base = dict(vocab_size=59, num_mel_bins=10, d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4,
                decoder_attention_heads=2, encoder_ffn_dim=40, decoder_ffn_dim=48, max_source_positions=24, max_target_positions=40,
                dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, pad_token_id=1, bos_token_id=1, eos_token_id=1,
                decoder_start_token_id=2, suppress_tokens=None, begin_suppress_tokens=None, attn_implementation="eager")
    base.update(options)
    return WhisperConfig(**base)


def outputs(model, inputs):
    with torch.no_grad():
        out = model(**inputs, use_cache=False)
    return {"logits": out.logits, "encoder_last_hidden_state": out.encoder_last_hidden_state}


def make(name, seed, dtype=torch.float32, shards=1, generation=None, **options):
    c = config(**options)
    model = randomize(WhisperForConditionalGeneration(c), seed, 0.25)
    folder = save(name, model, dtype, shards=shards)
    generation = generation or {}
    (folder / "generation_config.json").write_text(json.dumps(dict(generation, eos_token_id=1, decoder_start_token_id=2)) + "\n")
    frames = 2 * c.max_source_positions
    one = {"input_features": pixels_of(seed, (1, c.num_mel_bins, frames)), "decoder_input_ids": ids_of(seed, (1, 9), c.vocab_size)}
    two = {"input_features": pixels_of(seed + 1, (2, c.num_mel_bins, frames)), "decoder_input_ids": ids_of(seed + 1, (2, 5), c.vocab_size)}
    write_case(name, "one", one, outputs(model, one))
    write_case(name, "two", two, outputs(model, two))
    # greedy, from the start token on, past what the configuration rules out
    for s in range(seed, seed + 400):
        features, ids, least = pixels_of(s, (1, c.num_mel_bins, frames)), torch.tensor([[2]]), 1.0
        for n in range(12):
            with torch.no_grad():
                logits = model(input_features=features, decoder_input_ids=ids, use_cache=False).logits[0, -1]
            logits[generation.get("suppress_tokens", [])] = -torch.inf
            if not n:
                logits[generation.get("begin_suppress_tokens", [])] = -torch.inf
            least = min(least, greedy_margin(logits))
            ids = torch.cat([ids, logits.argmax()[None, None]], 1)
            if ids[0, -1] == 1:
                break
        if least >= 0.02 and ids.shape[1] > 6 and len(set(ids[0].tolist())) > 5:
            break
    else:
        raise SystemExit(f"{name}: no sound with a clear margin")
    write_media(name, "greedy", {"input_features": features}, torch.zeros(1, 0, dtype=torch.long), ids[:, 1:])


def make_all():
    make("whisper", 601)
    make("whisper_f16", 602, torch.float16, d_model=36, encoder_attention_heads=3, decoder_attention_heads=6, decoder_layers=3, encoder_layers=1,
         scale_embedding=True, activation_function="relu", generation={"suppress_tokens": [3, 9, 17], "begin_suppress_tokens": [5, 1]})
    make("whisper_sharded", 603, torch.bfloat16, shards=2, num_mel_bins=7, max_source_positions=15)


run("speech", make_all)
