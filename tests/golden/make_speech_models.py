#!/usr/bin/env python3
"""Tiny Whisper checkpoints; what is written where stands in golden_models.py. SPDX-License-Identifier: MIT"""
import json
import math

import numpy as np
import torch
from golden_models import greedy_margin, ids_of, pixels_of, randomize, round_to, run, save, write_case, write_media
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration


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


LANGUAGES = ["en", "de", "haw"]


def speech_tokenizer():
    letters = "abcdefghijklmnopqrstuvwxyz.,?\u0120"
    t = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|endoftext|>", "<|startoftranscript|>", *(f"<|{x}|>" for x in LANGUAGES), "<|translate|>", "<|transcribe|>",
                          "<|nospeech|>", "<|notimestamps|>"])
    t.add_tokens([f"<|{n * 0.02:.2f}|>" for n in range(51)])
    return t


def sound(seed, count):
    """Triangular tones that come and go, in whole numbers, so that the test makes the same."""
    t = np.arange(count, dtype=np.int64)
    x = np.zeros(count, np.int64)
    for k in range(3):
        step = (seed * 7919 + k * 104729) % 9000 + 300
        x += (np.abs(t * step % 65536 - 32768) - 16384) // 8 * ((t * (k + 1) >> 12) & 1 ^ (k & 1))
    return (x / 32768).astype(np.float32)


def transcribe(model, extractor, tokenizer, samples, **options):
    """(begin, end, text) of each segment, as transformers has them."""
    long = len(samples) > 16000
    features = extractor(samples, sampling_rate=16000, return_tensors="pt", **(dict(truncation=False, padding="longest") if long else {})).input_features
    with torch.no_grad():
        out = model.generate(features, return_segments=True, **options)
    segments = out["segments"][0] if isinstance(out, dict) else []
    first = tokenizer.token_to_id("<|0.00|>")
    return [(float(s["start"]), float(s["end"]), tokenizer.decode([i for i in s["tokens"].tolist() if i < first])) for s in segments]


def make_transcriptions(name):
    """A model of windows of one second that knows three languages: short and long sounds, with timestamps and without. The seed is the first whose
    answers stay the same when all weights are a little off."""
    tokenizer = speech_tokenizer()
    extractor = WhisperFeatureExtractor(feature_size=10, chunk_length=1)
    size, special = tokenizer.get_vocab_size(), tokenizer.token_to_id
    c = config(vocab_size=size, max_source_positions=50, max_target_positions=24, pad_token_id=special("<|endoftext|>"),
               bos_token_id=special("<|endoftext|>"), eos_token_id=special("<|endoftext|>"), decoder_start_token_id=special("<|startoftranscript|>"))
    generation = dict(eos_token_id=special("<|endoftext|>"), pad_token_id=special("<|endoftext|>"), bos_token_id=special("<|endoftext|>"),
                      decoder_start_token_id=special("<|startoftranscript|>"), no_timestamps_token_id=special("<|notimestamps|>"),
                      max_initial_timestamp_index=10, is_multilingual=True, max_length=24,
                      lang_to_id={f"<|{x}|>": special(f"<|{x}|>") for x in LANGUAGES},
                      task_to_id={x: special(f"<|{x}|>") for x in ("transcribe", "translate")},
                      suppress_tokens=[special("<|nospeech|>"), 3], begin_suppress_tokens=[special("<|endoftext|>"), 4])
    cases = [("short", 11200, dict(task="transcribe"), 0), ("german", 14400, dict(task="translate", language="de"), 0),
             ("stamped", 12801, dict(task="transcribe", return_timestamps=True), 1), ("long", 54400, dict(task="transcribe", return_timestamps=True), 1),
             ("long_english", 35333, dict(task="transcribe", language="en", return_timestamps=True), 1)]
    for seed in range(700, 900):
        model = randomize(WhisperForConditionalGeneration(c), seed, 0.3)
        with torch.no_grad():  # timestamps are likely, the end is, other orders are not
            w = model.model.decoder.embed_tokens.weight
            w[special("<|startoftranscript|>"):special("<|0.00|>")] *= 0.3
            w[special("<|0.00|>"):] *= 0.75
            w[special("<|endoftext|>")] *= 1.4
        round_to(model, torch.bfloat16)
        model.generation_config = type(model.generation_config)(**generation)
        sounds = [sound(seed + n, count) for n, (_, count, _, _) in enumerate(cases)]
        answers = [transcribe(model, extractor, tokenizer, x, **dict(options, return_timestamps=options.get("return_timestamps", False)))
                   for x, (_, _, options, _) in zip(sounds, cases)]
        texts = {text for segments in answers for _, _, text in segments}
        if any(len(a) > 1 for a, case in zip(answers, cases) if not case[3]):
            continue  # timestamps though none were asked for
        if len(texts) < 6 or any(len(a) < (3 if case[0] == "long" else 1) for a, case in zip(answers, cases)):
            continue
        state = {k: v.clone() for k, v in model.state_dict().items()}
        steady = True
        for trial in range(3):
            g = torch.Generator().manual_seed(trial)
            model.load_state_dict({k: v * (1 + 2e-3 * torch.randn(v.shape, generator=g)) for k, v in state.items()})
            steady = steady and all(transcribe(model, extractor, tokenizer, x, **dict(options, return_timestamps=options.get("return_timestamps", False))) == a
                                    for x, a, (_, _, options, _) in zip(sounds, answers, cases))
        model.load_state_dict(state)
        if steady:
            break
    else:
        raise SystemExit(f"{name}: no model whose answers are steady")
    folder = save(name, model, torch.bfloat16)
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 10, "chunk_length": 1,
                                                                 "sampling_rate": 16000, "hop_length": 160, "n_fft": 400, "padding_value": 0.0}) + "\n")
    lines = []
    for n, ((case, count, options, stamped), segments) in enumerate(zip(cases, answers)):
        lines.append(f"{case} {seed + n} {count} {options.get('language', '-')} {options['task']} {stamped} {len(segments)}")
        lines += [f"{begin:.2f} {end:.2f} {text}" for begin, end, text in segments]
    (folder / "transcriptions.txt").write_text("\n".join(lines) + "\n")


run("speech", make_all, lambda: make_transcriptions("whisper_speaks"))
