#!/usr/bin/env python3
"""Tiny encoder-decoders: T5, BART and mBART, vision encoders with text decoders, and BLIP; what is written where stands in
golden_models.py. Greedy answers to a source are cases of sessions with media, though the source may be text (input_ids). What beam
search finds is written where it stays the same with noise on the logits, above what half precision keys and values cause.
SPDX-License-Identifier: MIT"""
import json

import torch
from golden_models import (BEAMS, LEAST_MARGIN, MEDIA, ROOT, ids_of, pixels_of, randomize, run, save, write_case)
from safetensors.torch import save_file
from transformers import (BartConfig, BartForCausalLM, BartForConditionalGeneration, BertConfig, BertLMHeadModel, BlipConfig,
                          BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering, LogitsProcessorList,
                          MBartConfig, MBartForCausalLM, MBartForConditionalGeneration, RobertaConfig, RobertaForCausalLM, T5Config,
                          T5EncoderModel, T5ForConditionalGeneration, TrOCRConfig, TrOCRForCausalLM, VisionEncoderDecoderConfig,
                          VisionEncoderDecoderModel, ViTConfig, ViTModel)

EAGER = dict(attn_implementation="eager")


def masked(ids, *lengths, side="right", pad=0):
    """The ids with `pad` in place of those behind (or before) each row's length, and the mask."""
    mask = torch.zeros_like(ids)
    for row, n in enumerate(lengths):
        mask[row, slice(0, n) if side == "right" else slice(ids.shape[1] - n, None)] = 1
    return torch.where(mask.bool(), ids, torch.full_like(ids, pad)), mask


def forward(model, inputs, **options):
    with torch.no_grad():
        out = model(**inputs, **options)
    names = ("logits", "last_hidden_state", "encoder_last_hidden_state", "image_embeds", "itm_score", "question_embeds")
    return {n: out[n] for n in names if n in out and out[n] is not None}


# Generation


def stir(model, seed, end=0):
    """Random weights among which what the last linear layers add outweighs the token, else each token would repeat itself, and whose
    logits are far apart, the end's a likely one."""
    randomize(model, seed, 0.25)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith((".encoder_attn.out_proj.weight", ".fc2.weight", ".crossattention.output.dense.weight", ".intermediate.dense.weight",
                              ".EncDecAttention.o.weight", ".DenseReluDense.wo.weight")):
                p *= 4
            if name.endswith("decoder.final_layer_norm.weight"):
                p *= 4
            if name.endswith(("decoder.layers.0.final_layer_norm.weight", "decoder.layer_norm.weight", "lm_head.layer_norm.weight",
                              "transform.LayerNorm.weight")):
                p *= 1.5
            if name.endswith(("lm_head.bias", "predictions.bias")):
                p[end] += 2
    return model


def generate(model, source, prompt, noise=0.0, seed=0, **options):
    g = torch.Generator().manual_seed(seed)

    def disturb(ids, scores):
        return scores + noise * scores[scores.isfinite()].abs().max() * (2 * torch.rand(scores.shape, generator=g) - 1)

    inputs = dict(source)
    # the cache of transformers' T5 has as many layers as its encoder
    cached = not isinstance(model, T5ForConditionalGeneration) or model.config.num_decoder_layers <= model.config.num_layers
    if prompt is not None:  # BLIP cuts the last token, its processor's [SEP]
        inputs["input_ids"] = torch.cat([prompt, torch.zeros(1, 1, dtype=torch.long)], 1)
    with torch.no_grad():
        return model.generate(**inputs, do_sample=False, use_cache=cached, return_dict_in_generate=True, output_scores=True, output_logits=True,
                              logits_processor=LogitsProcessorList([disturb] if noise else []), **options)


def write_generated(name, case, kind, source, more):
    tensors = {k: v if v.is_floating_point() else v.to(torch.int32) for k, v in source.items()}
    save_file({k: v.contiguous() for k, v in {**tensors, **more}.items()}, ROOT / name / f"{case}.{kind}.safetensors")
    (BEAMS if kind == "beams" else MEDIA).append(f"{name} {case}")


def write_greedy(name, model, make_source, start, seed, case="greedy", make_prompt=None, tokens=16):
    """The first source whose answer is decided by a clear distance at every step."""
    for s in range(seed, seed + 600):
        source, prompt = make_source(s), make_prompt(s) if make_prompt else None
        before = None if prompt is None else torch.cat([torch.tensor([start]), prompt], 1)
        out = generate(model, source, before, num_beams=1, max_new_tokens=tokens)
        ids = out.sequences[0, -len(out.logits):]
        steps = torch.stack(out.logits)[:, 0]
        chosen = steps[model.generation_config.forced_bos_token_id is not None:]
        top = chosen.topk(2).values
        margin = ((top[:, 0] - top[:, 1]) / chosen.abs().amax(1)).min()
        if margin >= LEAST_MARGIN and len(set(ids.tolist())) >= 4:
            more = {} if prompt is None else {"prompt_ids": prompt[0].to(torch.int32)}
            write_generated(name, case, "media", source, {"generated_ids": ids.to(torch.int32), **more})
            return
    raise SystemExit(f"{name}: no source with a margin of {LEAST_MARGIN}")


def write_beams(name, model, make_source, start, seed, case, beams, penalty, early, tokens=10):
    """The first source whose hypotheses are the same under noise, and of which some end before the others."""
    options = dict(num_beams=beams, num_return_sequences=beams, length_penalty=penalty, max_new_tokens=tokens,
                   early_stopping={0: False, 1: True, 2: "never"}[early])
    eos = model.generation_config.eos_token_id
    if isinstance(model, (BlipForConditionalGeneration, BlipForQuestionAnswering)):
        eos = model.config.text_config.sep_token_id
    for s in range(seed, seed + 600):
        source = make_source(s)
        out = generate(model, source, None, **options)
        ended = (out.sequences[:, len(start):] == eos).any(1)
        if not ended.any() or (early != 1 and ended.all()):
            continue
        if all(torch.equal(generate(model, source, None, noise=2e-3, seed=n, **options).sequences, out.sequences) for n in range(5)):
            break
    else:
        raise SystemExit(f"{name} {case}: no source with clear hypotheses")
    sequences = out.sequences[:, len(start):].clone()
    for row in sequences:
        at = (row == eos).nonzero()
        if len(at):
            row[int(at[0]) + 1:] = -1
    write_generated(name, case, "beams", source, {
        "sequences": sequences.to(torch.int32), "sequences_scores": out.sequences_scores,
        "num_beams": torch.tensor([beams], dtype=torch.int32), "length_penalty": torch.tensor([penalty]),
        "early_stopping": torch.tensor([early], dtype=torch.int32), "max_new_tokens": torch.tensor([tokens], dtype=torch.int32)})


def write_generation_config(name, **keys):
    (ROOT / name / "generation_config.json").write_text(json.dumps(keys, indent=1, sort_keys=True) + "\n")


# T5


def make_t5(name, seed, dtype=torch.float32, shards=1, **options):
    base = dict(vocab_size=47, d_model=20, d_kv=6, d_ff=20, num_layers=2, num_decoder_layers=1, num_heads=3, relative_attention_num_buckets=8,
                relative_attention_max_distance=20, feed_forward_proj="relu", decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    config = T5Config(**{**base, **options}, **EAGER)
    model = stir(T5ForConditionalGeneration(config), seed)
    with torch.no_grad():
        for side in (model.encoder, model.decoder):
            side.block[0].layer[0].SelfAttention.relative_attention_bias.weight *= 6
        if not model.config.scale_decoder_outputs:
            model.lm_head.weight = torch.nn.Parameter(torch.randn(model.lm_head.weight.shape, generator=torch.Generator().manual_seed(seed)) * 0.25)
    save(name, model, dtype, shards=shards, edit=lambda c: c.update(scale_decoder_outputs=model.config.scale_decoder_outputs))
    ids, mask = masked(ids_of(seed, (2, 9), 47), 9, 5)
    answer, answer_mask = masked(ids_of(seed + 1, (2, 6), 47), 4, 6)
    inputs = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": answer, "decoder_attention_mask": answer_mask}
    write_case(name, "padded", inputs, forward(model, inputs))
    inputs = {"input_ids": ids_of(seed + 2, (1, 41), 47), "decoder_input_ids": ids_of(seed + 3, (1, 27), 47)}
    write_case(name, "long", inputs, forward(model, inputs))
    return model


def t5_source(s):
    return {"input_ids": ids_of(s, (1, 7), 47)}


def make_t5s():
    model = make_t5("t5_relu", 101)
    write_greedy("t5_relu", model, t5_source, [0], 101)
    write_beams("t5_relu", model, t5_source, [0], 101, "beams4", 4, 1.0, 0)
    write_beams("t5_relu", model, t5_source, [0], 101, "beams3_early", 3, 0.6, 1)
    write_beams("t5_relu", model, t5_source, [0], 101, "beams4_never", 4, 1.5, 2)
    model = make_t5("t5_gated_bf16", 102, torch.bfloat16, feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_layers=1, num_decoder_layers=2,
                    num_heads=5, d_kv=4)
    write_greedy("t5_gated_bf16", model, t5_source, [0], 102)
    make_t5("t5_sharded_f16", 103, torch.float16, shards=2, feed_forward_proj="gated-silu", num_decoder_layers=None, num_layers=1,
            relative_attention_num_buckets=4, relative_attention_max_distance=9)
    config = T5Config(vocab_size=31, d_model=12, d_kv=5, d_ff=20, num_layers=2, num_heads=2, relative_attention_num_buckets=6,
                      relative_attention_max_distance=12, feed_forward_proj="gated-gelu", **EAGER)
    model = randomize(T5EncoderModel(config), 104, 0.25)
    save("t5_encoder", model)
    ids, mask = masked(ids_of(104, (2, 19), 31), 19, 6, side="left")
    inputs = {"input_ids": ids, "attention_mask": mask}
    write_case("t5_encoder", "padded", inputs, forward(model, inputs))


# BART and mBART

BART = dict(vocab_size=43, d_model=18, encoder_layers=2, decoder_layers=1, encoder_attention_heads=3, decoder_attention_heads=2, encoder_ffn_dim=14,
            decoder_ffn_dim=18, max_position_embeddings=20, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
            forced_eos_token_id=None)


def make_bart(name, seed, make=BartForConditionalGeneration, config=BartConfig, dtype=torch.float32, **options):
    model = stir(make(config(**{**BART, **options}, **EAGER)), seed)
    model.final_logits_bias.copy_(torch.randint(-8, 8, model.final_logits_bias.shape, generator=torch.Generator().manual_seed(seed)) / 8)
    model.final_logits_bias[0, 2] += 2
    model.generation_config.forced_eos_token_id = None
    save(name, model, dtype)
    ids, mask = masked(ids_of(seed, (2, 9), 43), 9, 5, pad=1)
    answer, answer_mask = masked(ids_of(seed + 1, (2, 6), 43), 4, 6, pad=1)
    inputs = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": answer, "decoder_attention_mask": answer_mask}
    write_case(name, "padded", inputs, forward(model, inputs))
    ids, mask = masked(ids_of(seed + 2, (2, 7), 43), 4, 7, side="left", pad=1)
    inputs = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": ids_of(seed + 3, (2, 20), 43)}
    write_case(name, "left", inputs, forward(model, inputs))
    return model


def bart_source(s):
    return {"input_ids": ids_of(s, (1, 8), 43)}


def make_barts():
    model = make_bart("bart", 111, scale_embedding=True)
    write_greedy("bart", model, bart_source, [2], 111)
    write_beams("bart", model, bart_source, [2], 111, "beams3", 3, 2.0, 0)
    write_beams("bart", model, bart_source, [2], 111, "beams4_early", 4, 1.0, 1)
    model = make_bart("bart_untied_bf16", 112, dtype=torch.bfloat16, tie_word_embeddings=False, activation_function="relu", encoder_layers=1,
                      encoder_attention_heads=2, decoder_attention_heads=3)
    model.generation_config.forced_bos_token_id = 0
    write_generation_config("bart_untied_bf16", decoder_start_token_id=2, forced_bos_token_id=0, eos_token_id=2, pad_token_id=1, bos_token_id=0)
    write_greedy("bart_untied_bf16", model, bart_source, [2], 112)
    make_bart("mbart", 113, MBartForConditionalGeneration, MBartConfig, scale_embedding=True)
    model = make_bart("mbart_f16", 114, MBartForConditionalGeneration, MBartConfig, torch.float16, decoder_layers=2, encoder_layers=1)
    write_greedy("mbart_f16", model, bart_source, [2], 114)


# Vision encoders with text decoders


def make_vision_pair(name, seed, decoder, hidden=18, image=(8, 8), dtype=torch.float32, shards=1, keep=None, greedy=False, beams=(), **options):
    vit = ViTModel(ViTConfig(hidden_size=hidden, num_hidden_layers=1, num_attention_heads=3, intermediate_size=14, image_size=list(image), patch_size=4,
                             num_channels=3, **EAGER), add_pooling_layer=False)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(vit.config, decoder.config, **options)
    model = stir(VisionEncoderDecoderModel(config=config, encoder=vit, decoder=decoder), seed, 4)
    generation = model.generation_config
    generation.decoder_start_token_id, generation.eos_token_id, generation.pad_token_id = 2, 4, 1
    generation.forced_eos_token_id = None

    def edit(c):
        c.update(decoder_start_token_id=2, eos_token_id=4, pad_token_id=1)
        if keep:
            keep(c)
    save(name, model, dtype, shards=shards, edit=edit)
    vocabulary = decoder.config.vocab_size
    ids, mask = masked(ids_of(seed, (2, 7), vocabulary), 7, 4, pad=1)
    inputs = {"pixel_values": pixels_of(seed, (2, 3, *image)), "decoder_input_ids": ids, "decoder_attention_mask": mask}
    write_case(name, "padded", inputs, forward(model, inputs))
    ids, mask = masked(ids_of(seed + 1, (1, 9), vocabulary), 6, side="left", pad=1)
    inputs = {"pixel_values": pixels_of(seed + 1, (1, 3, 12, 8) if image == (8, 8) else (1, 3, *image)), "decoder_input_ids": ids,
              "decoder_attention_mask": mask}
    write_case(name, "left", inputs, forward(model, inputs, interpolate_pos_encoding=image == (8, 8)))

    def source(s):
        return {"pixel_values": pixels_of(s, (1, 3, *image))}
    if greedy:
        write_greedy(name, model, source, [2], seed)
    for arguments in beams:
        write_beams(name, model, source, [2], seed, *arguments)


def trocr(**options):
    base = dict(vocab_size=41, d_model=18, decoder_layers=2, decoder_attention_heads=3, decoder_ffn_dim=14, max_position_embeddings=20, pad_token_id=1,
                is_decoder=True)
    return TrOCRForCausalLM(TrOCRConfig(**{**base, **options}, **EAGER))


def make_vision_pairs():
    text = dict(vocab_size=41, hidden_size=20, num_hidden_layers=1, num_attention_heads=5, intermediate_size=18, max_position_embeddings=20,
                is_decoder=True, add_cross_attention=True, pad_token_id=1, **EAGER)
    make_vision_pair("ved_roberta", 121, RobertaForCausalLM(RobertaConfig(**text, type_vocab_size=1)), image=(8, 12), greedy=True,
                     beams=[("beams4", 4, 1.0, 0), ("beams3_never", 3, 0.5, 2)])
    make_vision_pair("ved_roberta_f16", 122, RobertaForCausalLM(RobertaConfig(**{**text, "tie_word_embeddings": False, "hidden_act": "relu",
                                                                                  "num_hidden_layers": 2}, type_vocab_size=2)), hidden=15, dtype=torch.float16)
    make_vision_pair("ved_bert", 123, BertLMHeadModel(BertConfig(**text, type_vocab_size=2)), hidden=15, shards=2, greedy=True)
    make_vision_pair("ved_trocr", 124, trocr(cross_attention_hidden_size=21), hidden=21, greedy=True)
    make_vision_pair("ved_trocr_sinusoidal_bf16", 125, trocr(use_learned_position_embeddings=False, layernorm_embedding=False, scale_embedding=True,
                                                              activation_function="relu"), dtype=torch.bfloat16, greedy=True)
    small = {k: v for k, v in BART.items() if not k.startswith("forced") and not k.startswith("encoder")}
    make_vision_pair("ved_bart", 126, BartForCausalLM(BartConfig(**{**small, "vocab_size": 41}, is_decoder=True, **EAGER)), hidden=15)
    make_vision_pair("ved_mbart", 127, MBartForCausalLM(MBartConfig(**{**small, "vocab_size": 41}, is_decoder=True, scale_embedding=True, **EAGER)), greedy=True)


# BLIP


def blip_config(**options):
    text = dict(vocab_size=40, hidden_size=20, intermediate_size=18, num_hidden_layers=1, num_attention_heads=5, max_position_embeddings=20, bos_token_id=38,
                eos_token_id=2, sep_token_id=3, pad_token_id=0)
    vision = dict(hidden_size=18, intermediate_size=14, num_hidden_layers=1, num_attention_heads=3, image_size=8, patch_size=4)
    text.update(options.pop("text", {}))
    vision.update(options.pop("vision", {}))
    return BlipConfig(text_config=text, vision_config=vision, **options, **EAGER)


def blip_source(s):
    return {"pixel_values": pixels_of(s, (1, 3, 8, 8))}


def make_captions():
    for name, seed, dtype, options in (
            ("blip_caption", 131, torch.float32, {}),
            ("blip_caption_bf16", 141, torch.bfloat16, dict(text={"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": "gelu_new"},
                                                             vision={"hidden_size": 20, "num_attention_heads": 5, "hidden_act": "relu"}))):
        model = stir(BlipForConditionalGeneration(blip_config(**options)), seed, 3)
        save(name, model, dtype)
        ids, mask = masked(ids_of(seed, (2, 6), 40), 6, 4)
        inputs = {"pixel_values": pixels_of(seed, (2, 3, 8, 8)), "input_ids": ids, "attention_mask": mask}
        write_case(name, "padded", inputs, forward(model, inputs))
        inputs = {"pixel_values": pixels_of(seed + 1, (1, 3, 12, 16)), "input_ids": ids_of(seed + 1, (1, 7), 40)}
        write_case(name, "other_size", inputs, forward(model, inputs, interpolate_pos_encoding=True))
        write_greedy(name, model, blip_source, [38], seed, "prompt", lambda s: ids_of(s, (1, 3), 38), tokens=10)
        if dtype == torch.float32:
            write_greedy(name, model, blip_source, [38], seed)
            write_beams(name, model, blip_source, [38], seed, "beams4", 4, 1.0, 0)
            write_beams(name, model, blip_source, [38], seed, "beams3_early", 3, -0.5, 1)


def make_answers():
    for name, seed, dtype, options in (
            ("blip_answer", 143, torch.float32, dict(vision={"hidden_size": 20, "num_attention_heads": 2})),
            ("blip_answer_f16", 144, torch.float16, dict(text={"num_attention_heads": 2}, vision={"hidden_size": 20, "num_attention_heads": 5}))):
        model = stir(BlipForQuestionAnswering(blip_config(**options)), seed, 3)
        save(name, model, dtype)
        logits = {}
        model.text_decoder.register_forward_hook(lambda module, arguments, out: logits.update(logits=out.logits))
        ids, mask = masked(ids_of(seed, (2, 8), 40), 8, 4)
        answer, answer_mask = masked(ids_of(seed + 1, (2, 4), 40), 3, 4)
        inputs = {"pixel_values": pixels_of(seed, (2, 3, 8, 8)), "input_ids": ids, "attention_mask": mask, "decoder_input_ids": answer,
                  "decoder_attention_mask": answer_mask}
        write_case(name, "padded", inputs, {**forward(model, inputs), **logits})

        def source(s):
            return {**blip_source(s), "input_ids": ids_of(s, (1, 6), 38)}
        write_greedy(name, model, source, [38], seed, tokens=10)


def make_retrievals():
    for name, seed, dtype, options in (
            ("blip_retrieval", 151, torch.float32, dict(image_text_hidden_size=12)),
            ("blip_retrieval_bf16", 152, torch.bfloat16, dict(image_text_hidden_size=7, text={"num_hidden_layers": 2, "num_attention_heads": 2}))):
        model = randomize(BlipForImageTextRetrieval(blip_config(**options)), seed, 0.25)
        save(name, model, dtype)
        features = {}
        model.vision_proj.register_forward_hook(lambda module, arguments, out: features.update(image_embeds=torch.nn.functional.normalize(out, dim=-1)))
        model.text_proj.register_forward_hook(lambda module, arguments, out: features.update(text_embeds=torch.nn.functional.normalize(out, dim=-1)))
        ids, mask = masked(ids_of(seed, (2, 8), 40), 8, 4)
        inputs = {"pixel_values": pixels_of(seed, (2, 3, 8, 8)), "input_ids": ids, "attention_mask": mask}
        cosine = forward(model, inputs, use_itm_head=False)["itm_score"]
        assert torch.allclose(cosine, features["image_embeds"] @ features["text_embeds"].T)
        write_case(name, "padded", inputs, {**forward(model, inputs), **features})


run("encoder_decoder", make_t5s, make_barts, make_vision_pairs, make_captions, make_answers, make_retrievals)
