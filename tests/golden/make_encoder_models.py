#!/usr/bin/env python3
"""Tiny encoders of text and pictures, and models of two towers; what is written where stands in golden_models.py.
SPDX-License-Identifier: MIT"""
import json

import torch
from golden_models import ROOT, ids_of, pixels_of, randomize, rename, run, save, text_inputs, write_case
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (BertConfig, BertForMaskedLM, BertForSequenceClassification, CLIPConfig, CLIPModel, CLIPTextConfig,
                          CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModel,
                          CLIPVisionModelWithProjection, DeiTConfig, DeiTForImageClassification,
                          DeiTForImageClassificationWithTeacher, DeiTModel, Dinov2WithRegistersConfig,
                          Dinov2WithRegistersForImageClassification, Dinov2WithRegistersModel, DistilBertConfig,
                          DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel, RobertaConfig,
                          RobertaForMaskedLM, RobertaForSequenceClassification, RobertaModel, Siglip2Config, Siglip2Model,
                          Siglip2TextConfig, Siglip2TextModel, Siglip2VisionConfig, Siglip2VisionModel, SiglipConfig, SiglipModel,
                          SiglipTextConfig, SiglipTextModel, SiglipVisionConfig, SiglipVisionModel, ViTMAEConfig,
                          ViTConfig, ViTImageProcessorPil, ViTMAEForPreTraining, VisionTextDualEncoderConfig, VisionTextDualEncoderModel, XLMRobertaConfig,
                          XLMRobertaModel)

OUTPUTS = ("last_hidden_state", "pooler_output", "logits", "cls_logits", "distillation_logits", "image_embeds", "text_embeds",
           "logits_per_image", "logits_per_text", "mask", "loss")


def outputs_of(model, inputs, states=(), **options):
    """What transformers answers under the names of our outputs, and hidden states by "hidden_states.<k>"."""
    inputs = {k: v.float() if v.is_floating_point() else v for k, v in inputs.items()}
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True, **options)
    r = {k: out[k] for k in OUTPUTS if k in out and out[k] is not None}
    for k in states:
        r[f"hidden_states.{k}"] = out.hidden_states[k]
    return r


def write(name, case, model, inputs, states=(), kind="exact", **options):
    write_case(name, case, inputs, outputs_of(model, inputs, states, **options), kind)


LABELS = dict(id2label={i: n for i, n in enumerate(["sad", "glad", "mad"])}, label2id={"sad": 0, "glad": 1, "mad": 2})

# Texts


def text_config(kind, **options):
    if kind is DistilBertConfig:
        base = dict(vocab_size=41, dim=24, n_layers=2, n_heads=3, hidden_dim=36, max_position_embeddings=40, dropout=0.0,
                    attention_dropout=0.0, seq_classif_dropout=0.0)
    else:
        base = dict(vocab_size=41, hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=3,
                    max_position_embeddings=40, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return kind(**dict(base, attn_implementation="eager", **options))


def make_text(name, seed, kind, config, dtype=torch.float32, cases=None, shards=1, edit=None, padding=0, **options):
    model = randomize(kind(config, **options), seed, 0.3)
    save(name, model, dtype, shards=shards, edit=edit)
    inputs = text_inputs(seed, config.vocab_size, (1, 7))
    for case in ("pad_right", "pad_left"):
        ids, mask = inputs[case]["input_ids"], inputs[case]["attention_mask"]
        inputs[case]["input_ids"] = torch.where(mask == 1, ids.clamp(min=padding + 1), padding)
    inputs["unmasked"] = {"input_ids": inputs["pad_right"]["input_ids"]}
    for case in cases or inputs:
        write(name, case, model, inputs[case], (0, 1, 2) if case == "len7" else ())


def make_texts():
    make_text("roberta", 201, RobertaModel, text_config(RobertaConfig, pad_token_id=1, type_vocab_size=1), padding=1)
    make_text("roberta_pad3", 202, RobertaModel, text_config(RobertaConfig, pad_token_id=3, layer_norm_eps=1e-5, hidden_act="relu"),
              torch.bfloat16, ("pad_right", "pad_left"), shards=2, padding=3, add_pooling_layer=False)
    make_text("roberta_mlm", 203, RobertaForMaskedLM, text_config(RobertaConfig, pad_token_id=1), torch.float16,
              ("len7", "pad_right"), padding=1)
    make_text("roberta_class", 204, RobertaForSequenceClassification, text_config(RobertaConfig, pad_token_id=1, **LABELS),
              cases=("pad_right",), padding=1)
    make_text("xlm_roberta", 205, XLMRobertaModel, text_config(XLMRobertaConfig, pad_token_id=1, type_vocab_size=1),
              torch.float16, ("len7", "pad_left"), padding=1)
    make_text("distilbert", 211, DistilBertModel, text_config(DistilBertConfig))
    make_text("distilbert_sharded", 214, DistilBertModel, text_config(DistilBertConfig, activation="relu", n_heads=2), torch.float16,
              shards=2)
    make_text("distilbert_mlm", 212, DistilBertForMaskedLM, text_config(DistilBertConfig, activation="relu"), torch.bfloat16,
              ("len7", "pad_left"))
    make_text("distilbert_class", 213, DistilBertForSequenceClassification, text_config(DistilBertConfig, **LABELS), torch.float16,
              ("pad_right",))
    make_text("bert_mlm", 221, BertForMaskedLM, text_config(BertConfig), cases=("len7", "pad_right"))
    rename(ROOT / "bert_mlm/model.safetensors",  # as the first files of BERT have it
           lambda n: n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"))
    make_text("bert_mlm_untied", 222, BertForMaskedLM, text_config(BertConfig, tie_word_embeddings=False, hidden_act="gelu_new"),
              torch.bfloat16, ("len7",), shards=3)
    make_text("bert_class", 223, BertForSequenceClassification, text_config(BertConfig, **LABELS), cases=("len7", "pad_left"))
    make_text("bert_regression", 224, BertForSequenceClassification, text_config(BertConfig, num_labels=1), torch.float16,
              ("pad_right",), edit=lambda c: c.update(problem_type="regression"))


# Pictures


def vision_config(kind, **options):
    base = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=36, image_size=24, patch_size=8)
    if kind is Dinov2WithRegistersConfig:
        base.pop("intermediate_size")
        base.update(mlp_ratio=2)
    return kind(**dict(base, attn_implementation="eager", **options))


def make_vision(name, seed, kind, config, sizes, dtype=torch.float32, shards=1, interpolate=True, edit=None, change=None):
    """`sizes`: (batch, height, width). The first case has hidden states."""
    model = randomize(kind(config), seed, 0.25)
    folder = save(name, model, dtype, shards=shards, edit=edit)
    if change:
        rename(folder / "model.safetensors", change)
    trained = config.image_size if isinstance(config.image_size, (list, tuple)) else [config.image_size] * 2
    for n, (batch, height, width) in enumerate(sizes):
        pixels = pixels_of(seed + n, (batch, config.num_channels, height, width))
        if n:
            pixels = pixels.to(torch.float16 if n % 2 else torch.bfloat16)
        extra = {"interpolate_pos_encoding": True} if interpolate and [height, width] != list(trained) else {}
        write(name, f"b{batch}_{height}x{width}", model, {"pixel_values": pixels},
              range(config.num_hidden_layers + 1) if not n else (), **extra)


def mae_inputs(seed, config, batch, height, width):
    patches = (height // config.patch_size) * (width // config.patch_size)
    return {"pixel_values": pixels_of(seed, (batch, config.num_channels, height, width)),
            "noise": torch.rand((batch, patches), generator=torch.Generator().manual_seed(seed))}


def make_mae(name, seed, sizes, dtype=torch.float32, change=None, **options):
    config = vision_config(ViTMAEConfig, decoder_hidden_size=16, decoder_num_attention_heads=2, decoder_intermediate_size=20,
                           patch_size=4, num_channels=1, **options)
    model = randomize(ViTMAEForPreTraining(config), seed, 0.25)
    folder = save(name, model, dtype)
    if change:
        rename(folder / "model.safetensors", change)
    for n, (batch, height, width) in enumerate(sizes):
        inputs = mae_inputs(seed + n, config, batch, height, width)
        extra = {"interpolate_pos_encoding": True} if [height, width] != [config.image_size] * 2 else {}
        with torch.no_grad():
            restore = model(**inputs, **extra).ids_restore
        out = outputs_of(model, inputs, **extra)
        out["ids_restore"] = restore.to(torch.int32)
        write_case(name, f"b{batch}_{height}x{width}", inputs, out, "joint")  # the loss is of the whole batch


def make_visions():
    make_vision("deit", 301, DeiTModel, vision_config(DeiTConfig), [(1, 24, 24), (2, 40, 16)])
    make_vision("deit_class", 302, DeiTForImageClassification, vision_config(DeiTConfig, qkv_bias=False, **LABELS), [(2, 24, 24)],
                torch.bfloat16)
    make_vision("deit_teacher", 303, DeiTForImageClassificationWithTeacher, vision_config(DeiTConfig, **LABELS),
                [(1, 24, 24), (2, 33, 24)], shards=2)
    make_vision("deit_teacher_rectangle", 304, DeiTForImageClassificationWithTeacher,
                vision_config(DeiTConfig, image_size=[16, 32], num_channels=1, **LABELS), [(1, 16, 32)], torch.float16)
    make_vision("dinov2_registers", 311, Dinov2WithRegistersModel, vision_config(Dinov2WithRegistersConfig, num_register_tokens=3),
                [(1, 24, 24), (2, 48, 16), (1, 8, 60)], interpolate=False)
    make_vision("dinov2_registers_class", 312, Dinov2WithRegistersForImageClassification,
                vision_config(Dinov2WithRegistersConfig, use_swiglu_ffn=True, **LABELS), [(1, 24, 24), (1, 16, 16)], torch.bfloat16,
                interpolate=False)
    make_vision("dinov2_registers_f16", 313, Dinov2WithRegistersModel,
                vision_config(Dinov2WithRegistersConfig, num_register_tokens=1, use_swiglu_ffn=True, num_channels=1), [(2, 24, 24), (1, 32, 24)],
                torch.float16, shards=2, interpolate=False)
    make_mae("vit_mae", 321, [(2, 24, 24), (1, 16, 32)], mask_ratio=0.6, norm_pix_loss=True, decoder_num_hidden_layers=1)
    make_mae("vit_mae_deep", 322, [(1, 24, 24)], torch.float16,  # its decoder deeper, named as files before transformers 5 have it
             lambda n: n.replace("decoder.decoder_encoder.layer.", "decoder.decoder_layers."), decoder_num_hidden_layers=3)
    make_vision("clip_vision", 331, CLIPVisionModel, vision_config(CLIPVisionConfig), [(1, 24, 24), (2, 40, 16)])
    make_vision("clip_vision_projection", 332, CLIPVisionModelWithProjection,
                vision_config(CLIPVisionConfig, projection_dim=10, hidden_act="gelu", num_channels=1), [(1, 24, 24), (2, 24, 32)],
                torch.bfloat16, shards=2)
    make_vision("clip_vision_projection_f16", 334, CLIPVisionModelWithProjection,
                vision_config(CLIPVisionConfig, projection_dim=21, num_hidden_layers=1), [(2, 24, 24)], torch.float16)
    make_vision("clip_vision_old", 333, CLIPVisionModel, vision_config(CLIPVisionConfig, num_hidden_layers=1), [(1, 24, 24)],
                torch.float16, change=lambda n: "vision_model." + n)
    make_vision("siglip_vision", 341, SiglipVisionModel, vision_config(SiglipVisionConfig), [(1, 24, 24), (2, 30, 41)])
    make_vision("siglip_vision_no_head", 342, SiglipVisionModel, vision_config(SiglipVisionConfig, vision_use_head=False),
                [(2, 24, 24)], torch.bfloat16, change=lambda n: "vision_model." + n)


# The towers of texts


def clip_ids(seed, lengths, end, padding, vocabulary):
    """Texts with their end token, one of them with two, padded to the longest."""
    ids = torch.full((len(lengths), max(lengths)), padding)
    mask = torch.zeros_like(ids)
    for i, n in enumerate(lengths):
        ids[i, :n] = ids_of(seed + i, (n,), vocabulary - 1).clamp(max=vocabulary - 2)
        ids[i, ids[i] == end] = 4
        ids[i, n - 1] = end
        ids[i, n:] = padding
        mask[i, :n] = 1
    return {"input_ids": ids, "attention_mask": mask}


CLIP_TEXT = dict(vocab_size=37, max_position_embeddings=12, pad_token_id=1, bos_token_id=0, num_attention_heads=2, hidden_size=20,
                 intermediate_size=32, num_hidden_layers=2, attn_implementation="eager")


def make_towers():
    config = CLIPTextConfig(**dict(CLIP_TEXT, eos_token_id=2))  # the first published configurations: the largest id
    model = randomize(CLIPTextModel(config), 401, 0.3)
    save("clip_text", model)
    write("clip_text", "len7", model, {"input_ids": ids_of(401, (1, 7), 37)}, (0, 1, 2))
    write("clip_text", "pad_right", model, clip_ids(402, (9, 4), 36, 36, 37))
    config = CLIPTextConfig(**dict(CLIP_TEXT, eos_token_id=7, projection_dim=6))
    model = randomize(CLIPTextModelWithProjection(config), 403, 0.3)
    save("clip_text_projection", model, torch.bfloat16, shards=2)
    write("clip_text_projection", "pad_right", model, clip_ids(404, (5, 12), 7, 7, 37))
    write("clip_text_projection", "no_end", model, {"input_ids": torch.tensor([[5, 9, 30, 11]])})
    siglip = dict(CLIP_TEXT, max_position_embeddings=9, eos_token_id=1)
    model = randomize(SiglipTextModel(SiglipTextConfig(**siglip, projection_size=14)), 405, 0.3)
    save("siglip_text", model)
    write("siglip_text", "full", model, {"input_ids": clip_ids(406, (9, 4), 1, 1, 37)["input_ids"]}, (0, 2))
    write("siglip_text", "masked", model, clip_ids(407, (6, 3), 1, 1, 37))
    model = randomize(Siglip2TextModel(Siglip2TextConfig(**siglip)), 408, 0.3)
    save("siglip2_text", model, torch.float16)
    rename(ROOT / "siglip2_text/model.safetensors", lambda n: "text_model." + n.removeprefix("text_model."))
    write("siglip2_text", "full", model, {"input_ids": clip_ids(409, (9, 4), 1, 0, 37)["input_ids"]})
    make_naflex("siglip2_vision", 411, torch.float32)
    make_naflex("siglip2_vision_no_head", 412, torch.bfloat16, vision_use_head=False)


# No size one patch wide: torch 2 interpolates those with antialias wrongly, in the vertical pass.
def naflex_inputs(seed, sizes, rows, patch_values):
    mask = torch.zeros((len(sizes), rows), dtype=torch.int64)
    for i, (h, w) in enumerate(sizes):
        mask[i, :h * w] = 1
    return {"pixel_values": pixels_of(seed, (len(sizes), rows, patch_values)), "spatial_shapes": torch.tensor(sizes),
            "pixel_attention_mask": mask}


SIGLIP2_VISION = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=36, num_patches=16, patch_size=4,
                      attn_implementation="eager")


def make_naflex(name, seed, dtype, **options):
    model = randomize(Siglip2VisionModel(Siglip2VisionConfig(**SIGLIP2_VISION, **options)), seed, 0.25)
    save(name, model, dtype)
    write(name, "sizes", model, naflex_inputs(seed, [(2, 3), (4, 2), (1, 7), (3, 2)], 8, 48), (0, 1, 2))
    write(name, "large", model, naflex_inputs(seed + 1, [(6, 5)], 30, 48))


# Two towers


def vision_part(kind, **options):
    part = vision_config(kind, **options).to_dict()
    part.pop("attn_implementation", None)
    return part


def make_pair(name, seed, model, cases, dtype=torch.float32, shards=1, alone=False):
    """Cases of pictures and texts together, and maybe of each alone."""
    randomize(model, seed, 0.3)
    with torch.no_grad():
        model.logit_scale.fill_(1.3)
        if hasattr(model, "logit_bias"):
            model.logit_bias.fill_(-0.7)
    save(name, model, dtype, shards=shards)
    for case, pictures, words in cases:
        options = {}
        if "spatial_shapes" not in pictures and pictures["pixel_values"].shape[2:] != (24, 24):
            options["interpolate_pos_encoding"] = True
        inputs = {k: v.float() if v.is_floating_point() else v for k, v in dict(pictures, **words).items()}
        with torch.no_grad():
            out = model(**inputs, **options)
        out = {k: out[k] for k in OUTPUTS if k in out and out[k] is not None}
        write_case(name, case, inputs, out, "joint")
    if alone:
        write_case(name, "image_only", pictures, {"image_embeds": out["image_embeds"]}, "joint")
        write_case(name, "text_only", words, {"text_embeds": out["text_embeds"]}, "joint")
    return model


def add_words(folder, words, padding, end, processor, lower=True):
    """A tokenizer of whole words, and a processor of pictures."""
    t = Tokenizer(models.WordPiece(words, unk_token="<unk>"))
    t.normalizer = normalizers.Lowercase() if lower else None
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", words["</s>"])])
    t.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "unk_token": "<unk>", "pad_token": padding}, indent=1) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")
    assert end == words["</s>"]
    return t


PROCESSOR = dict(image_processor_type="ViTImageProcessor", do_resize=True, size={"height": 24, "width": 24}, resample=3,
                 do_rescale=True, rescale_factor=1 / 255, do_normalize=True, image_mean=[0.5, 0.4, 0.3], image_std=[0.3, 0.25, 0.2])
LABELS_ASKED = ["cat", "green tree", "very small dog with a hat"]
TEMPLATE = "This is a photo of {}."


def zero_shot(folder, name, model, tokenizer, sigmoid, padding):
    """Probabilities of labels for a picture of noise, and the vectors of its texts, before they are normalized."""
    pixels = torch.randint(0, 256, (31, 40, 3), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)
    image = Image.fromarray(pixels.numpy())
    prepared = ViTImageProcessorPil(**{k: v for k, v in PROCESSOR.items() if k != "image_processor_type"})(image, return_tensors="pt")
    rows = []
    for label in LABELS_ASKED:
        ids = tokenizer.encode(TEMPLATE.format(label)).ids
        length = model.config.text_config.max_position_embeddings
        ids = ids[:length - 1] + ids[-1:] if len(ids) > length else ids
        ids = torch.tensor([ids + [padding] * (length - len(ids))] if sigmoid else [ids])
        with torch.no_grad():
            out = model(input_ids=ids, pixel_values=prepared["pixel_values"])
            feature = model.get_text_features(input_ids=ids).pooler_output
        rows.append((out.logits_per_image[0, 0], feature[0]))
    scores = torch.stack([r[0] for r in rows])
    expected = {"pixels": pixels, "probabilities": scores.sigmoid() if sigmoid else scores.softmax(0),
                "text_features": torch.stack([r[1] for r in rows]), "image_embeds": out.image_embeds}
    save_file({k: v.contiguous() for k, v in expected.items()}, folder / "zero_shot.expected.safetensors")


def make_pairs():
    words = {w: i for i, w in enumerate(["<s>", "<pad>", "<unk>", "this", "is", "a", "photo", "of", ".", "cat", "green", "tree", "very",
                                         "small", "dog", "with", "hat", "red"])}
    words["</s>"] = 36
    text = {k: v for k, v in CLIP_TEXT.items() if k != "attn_implementation"}
    text.update(num_hidden_layers=1, intermediate_size=24)
    small = dict(num_hidden_layers=1, intermediate_size=28)
    pictures = [{"pixel_values": pixels_of(500 + n, s)} for n, s in enumerate([(3, 3, 24, 24), (2, 3, 40, 24)])]
    model = CLIPModel(CLIPConfig(text_config=dict(text, eos_token_id=2), vision_config=vision_part(CLIPVisionConfig, **small), projection_dim=14))
    make_pair("clip", 501, model, [("both", pictures[0], clip_ids(502, (9, 4), 36, 36, 37))], alone=True)
    tokenizer = add_words(ROOT / "clip", words, "</s>", 36, PROCESSOR)
    zero_shot(ROOT / "clip", "clip", model, tokenizer, False, 36)
    make_pair("clip_first_end", 503, CLIPModel(CLIPConfig(
        text_config=dict(text, eos_token_id=7, hidden_act="gelu"), vision_config=vision_part(CLIPVisionConfig, hidden_size=16,
                                                                                           num_attention_heads=2), projection_dim=9)),
        [("both", pictures[1], clip_ids(504, (5, 12, 8), 7, 7, 37))], torch.bfloat16, 3)
    siglip_text = dict(text, eos_token_id=36, hidden_size=24, num_attention_heads=3, max_position_embeddings=9)
    model = SiglipModel(SiglipConfig(text_config=siglip_text, vision_config=vision_part(SiglipVisionConfig, **small)))
    make_pair("siglip", 505, model, [("both", pictures[0], {"input_ids": clip_ids(506, (9, 4), 36, 1, 37)["input_ids"]})])
    tokenizer = add_words(ROOT / "siglip", words, "<pad>", 36, PROCESSOR)
    zero_shot(ROOT / "siglip", "siglip", model, tokenizer, True, 1)
    make_pair("siglip_projection", 507, SiglipModel(SiglipConfig(
        text_config=dict(siglip_text, hidden_size=18, projection_size=24), vision_config=vision_part(SiglipVisionConfig, **small))),
        [("both", pictures[1], clip_ids(508, (9, 6, 2), 36, 1, 37))], torch.float16)
    for name, dtype, shards in (("siglip2", torch.float32, 1), ("siglip2_bf16", torch.bfloat16, 2)):
        model = Siglip2Model(Siglip2Config(text_config=siglip_text, vision_config={
            k: v for k, v in dict(SIGLIP2_VISION, **small).items() if k != "attn_implementation"}))
        make_pair(name, 509, model, [("both", naflex_inputs(510, [(2, 3), (4, 2), (1, 7)], 8, 48),
                                      {"input_ids": clip_ids(511, (9, 4), 36, 1, 37)["input_ids"]})], dtype, shards, shards == 1)
    bert = dict(vocab_size=37, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, max_position_embeddings=12)
    vit = dict(hidden_size=20, num_hidden_layers=1, num_attention_heads=2, intermediate_size=28, image_size=24, patch_size=8)
    model = VisionTextDualEncoderModel(VisionTextDualEncoderConfig(text_config=BertConfig(**bert).to_dict(), vision_config=ViTConfig(**vit).to_dict(), projection_dim=9,
                                                                   attn_implementation="eager"))
    make_pair("dual_encoder", 512, model, [("both", pictures[0], clip_ids(513, (9, 4), 36, 36, 37))], alone=True)


if __name__ == "__main__":
    run("encoders", make_texts, make_visions, make_towers, make_pairs)
