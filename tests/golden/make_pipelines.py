#!/usr/bin/env python3
"""Tiny random models with all that belongs to them, as transformers' save_pretrained writes it (weights, tokenizer, processor, chat template), and what
transformers answers to prompts with media through its own processors (those of Pillow). Read by tests/unit/test_pipelines.c:

    pipelines/<model>/      the model
    pipelines/video/        the frames of a video
    pipelines/<model>.txt   a line a case, its fields between tabs: HOW, MEDIA (as KIND:FILE between spaces, "-": none), TEXT (\\n for a line's end), and
                            what HOW says:
        chat, raw           the prompt's ids and the generated ids, greedily; the prompt in the chat template, or as it is
        labels              TEXT: labels between commas; their probabilities
        rank                TEXT: texts between commas; their cosines with the picture

Needs torch, transformers 5, tokenizers, pillow, torchvision (videos) and num2words (SmolVLM). Run at the top of the repository.
SPDX-License-Identifier: MIT"""
import itertools
import json
import pathlib
import random
import shutil
import sys

import numpy as np
import torch
import transformers as tf
from golden_models import greedy_margin, randomize
from PIL import Image, ImageOps
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = pathlib.Path("tests/golden/pipelines")
HOUSE, CIRCLES, TREE = "examples/images/house.png", "examples/images/circles-red.png", "tests/golden/images/jpeg_420.jpg"
VIDEO, FILM = "tests/golden/pipelines/video", "tests/golden/videos/processed.y4m"
SOUND = "tests/golden/pipelines/sound.wav"
TOKENS = 8
LEAST_MARGIN = 0.01
EAGER = dict(attn_implementation="eager")
WORDS = "what is in this picture describe the man on a train red circles house tree where are they and how many of them".split()
TEXT = [" ".join(random.Random(i).choices(WORDS, k=12)).capitalize() + ".?!"[i % 3] for i in range(60)] + ["USER: what?\nASSISTANT: a house\n", "user\nassistant\nUser: Assistant:\n\n"]
CASES = {}


# Tokenizers

def trained(model, trainer, special, **parts):
    t = Tokenizer(model)
    for name, value in parts.items():
        setattr(t, name, value)
    t.train_from_iterator(TEXT, trainer)
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in special])
    return t


def byte_level(special, split=None, size=320):
    """A byte-level BPE; special tokens behind it."""
    pre = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split:
        pre = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    return trained(models.BPE(), trainer, special, pre_tokenizer=pre, decoder=decoders.ByteLevel())


def template(t, single):
    tokens = [(s, t.token_to_id(s)) for s in single.split() if s != "$A"]
    t.post_processor = processors.TemplateProcessing(single=single, pair=None, special_tokens=tokens)


def fast(t, **options):
    return tf.PreTrainedTokenizerFast(tokenizer_object=t, **options)


def sentence_bpe(special, size):
    """Vocabulary and merges of a BPE with bytes for what it does not know."""
    specials = special + ["<0x%02X>" % b for b in range(256)]
    t = trained(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
                trainers.BpeTrainer(vocab_size=size, special_tokens=specials, show_progress=False), [], pre_tokenizer=pre_tokenizers.Metaspace(split=False))
    model = json.loads(t.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def word_pieces():
    t = trained(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=120, show_progress=False,
                special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]), [], pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
                normalizer=normalizers.Lowercase())
    return json.loads(t.to_str())["model"]["vocab"]


def unigram(special, size=150):
    t = trained(models.Unigram(), trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False), [],
                pre_tokenizer=pre_tokenizers.Metaspace())
    return [tuple(p) for p in json.loads(t.to_str())["model"]["vocab"]]


# Models and cases

def prepare(model, seed, ends=(), std=0.25):
    """Random; the rows of the tokens in `ends` are large enough to come up."""
    randomize(model, seed, std)
    with torch.no_grad():
        for e in ends:
            model.get_output_embeddings().weight[e] *= 1.5
    return model


def stored(name, model, *others):
    """Save all, and read the model back."""
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    for o in others:
        o.save_pretrained(folder)
    for f in folder.glob("*"):
        f.chmod(0o644)
        if f.suffix == ".json":  # without the blanks
            f.write_text(json.dumps(json.loads(f.read_text()), ensure_ascii=False, separators=(",", ":")) + "\n")
    size = sum(f.stat().st_size for f in folder.glob("*"))
    print(name, size)
    return type(model).from_pretrained(folder, dtype=torch.float32, **EAGER).eval()


def picture(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def prompts(seed):
    """Sentences of known words."""
    rng = random.Random(seed)
    return (" ".join(rng.choices(WORDS, k=rng.randint(2, 6))) for _ in range(300))


class NoPrompt(Exception):
    pass


def first_seed(seed, make):
    """make() with the first seed from this one on whose model has all cases."""
    for s in itertools.count(seed):
        try:
            return make(s)
        except NoPrompt as e:
            print(f"seed {s}: {e.args[0]}")
            CASES.pop(e.args[1], None)
            if s > seed + 200:
                raise


def write(name, how, media, text, *columns):
    joined = [" ".join(str(int(x)) if how in ("chat", "raw") else f"{float(x):.7f}" for x in c) for c in columns]
    CASES.setdefault(name, []).append("\t".join([how, " ".join(f"{k}:{f}" for k, f in media) or "-", text.replace("\n", "\\n"), *joined]))


def add_case(name, how, model, texts, media, inputs_of, prompt_of=None, ends=False, shape="{}", **options):
    """The first of the texts whose continuation is decided by a clear distance at every step; `ends`: and ends."""
    eos = model.generation_config.eos_token_id
    eos = set(eos if isinstance(eos, list) else [eos])
    for text in texts:
        text = shape.format(text)
        inputs = inputs_of(text)
        with torch.no_grad():
            out = model.generate(**inputs, do_sample=False, max_new_tokens=TOKENS, output_scores=True, return_dict_in_generate=True, **options)
        n = len(out.scores)
        prompt, generated = out.sequences[0, :-n].tolist(), out.sequences[0, -n:].tolist()
        margin = min(greedy_margin(s[0]) for s in out.scores if torch.isfinite(s[0]).sum() > 1)  # but where a token is forced
        ended = generated[-1] in eos
        if margin >= LEAST_MARGIN and len(set(generated)) >= 3 and (ended or not ends) and not set(generated) & {t for t in (
                getattr(model.config, "image_token_id", None), getattr(model.config, "video_token_id", None)) if t is not None}:
            break
        if "-v" in sys.argv:
            print(round(margin, 4), prompt, generated)
    else:
        raise NoPrompt(f"{name} {how} {media}: no prompt with a margin of {LEAST_MARGIN}", name)
    write(name, how, media, text, prompt_of(inputs) if prompt_of else prompt, generated)


def conversation(text, media):
    return [{"role": "user", "content": [{"type": kind} for kind, _ in media] + [{"type": "text", "text": text}]}]


def through(processor, media, how, extra=None):
    """What the processor makes of a text and the media, in the chat template or not."""
    def inputs(text):
        options = dict(extra or {})
        if how == "chat":
            text = processor.apply_chat_template(conversation(text, media), add_generation_prompt=True, tokenize=False)
            bos = processor.tokenizer.bos_token
            options["add_special_tokens"] = not (bos and text.startswith(bos))  # as apply_chat_template does when it tokenizes
        images = [picture(f) for kind, f in media if kind == "image"]
        videos = [film(f) for kind, f in media if kind == "video"]
        if images:
            options["images"] = images
        if videos:
            options["videos"] = videos
            options["video_metadata"] = [{"total_num_frames": len(v), "fps": 2.0 if f.endswith("y4m") else 24.0} for v, (k, f) in
                                         zip(videos, [m for m in media if m[0] == "video"])]
        return processor(text=[text], return_tensors="pt", **options)
    return inputs


def early_fusion(name, model, processor, media_sets, mark, before="", after="", seed=0):
    """The chat and the raw prompts of a model that takes media among its tokens. None ends with a medium: behind the last patch of one, transformers'
    generate counts each of Qwen2-VL's positions on by itself, not from the largest as its own forward does."""
    for i, media in enumerate(media_sets):
        add_case(name, "chat", model, prompts(seed + i), media, through(processor, media, "chat"), ends=i == 0)
    one, two = [("image", HOUSE)], [("image", TREE), ("image", CIRCLES)]
    add_case(name, "raw", model, prompts(seed + 10), one, through(processor, one, "raw"), shape="look: " + mark + "{}")
    add_case(name, "raw", model, prompts(seed + 11), two, through(processor, two, "raw"), shape="{} " + mark + " or " + mark + "?")
    front = through(processor, two, "raw")
    add_case(name, "raw", model, prompts(seed + 12), two, lambda t: front((before + mark + after) * 2 + t))
    rest = through(processor, two, "raw")
    add_case(name, "raw", model, prompts(seed + 13), two, lambda t: rest(before + mark + after + t), shape="{} " + mark + ".")


def film(path):
    """A video as an array of frames [N, H, W, 3]."""
    if pathlib.Path(path).is_dir():
        return np.stack([np.asarray(picture(f)) for f in sorted(pathlib.Path(path).iterdir())])
    from make_videos import rgb
    data = pathlib.Path(path).read_bytes()
    header, _, rest = data.partition(b"\n")
    width, height = (int(next(p for p in header.decode().split() if p[0] == k)[1:]) for k in "WH")
    size, frames = width * height, []
    while rest:
        _, _, rest = rest.partition(b"\n")
        frames.append(rgb([np.frombuffer(rest[i * size:(i + 1) * size], np.uint8).reshape(height, width) for i in range(3)], False))
        rest = rest[3 * size:]
    return np.stack(frames)


def make_frames():
    folder = ROOT / "video"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for i in range(5):
        y, x = np.mgrid[0:24, 0:32]
        Image.fromarray(np.stack([(x // 4 + i) % 2 * 200, (y // 3 + 2 * i) % 2 * 150, 0 * x + 40 * i], -1).astype(np.uint8)).save(folder / f"frame{i}.png")


# Early fusion

def decoder_config(vocabulary, **options):
    base = dict(vocab_size=vocabulary, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                head_dim=16, max_position_embeddings=512, tie_word_embeddings=False)
    base.update(options)
    return base


LLAVA_TEMPLATE = ("{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
                  "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
                  "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}{% endfor %}"
                  "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")


def make_llava():
    vocab, merges = sentence_bpe(["<unk>", "<s>", "</s>"], 360)
    t = tf.LlamaTokenizer(vocab=vocab, merges=merges, add_bos_token=True)
    t.add_tokens([AddedToken("<image>", special=True, normalized=False)], special_tokens=True)
    t.add_special_tokens({"pad_token": "<pad>"})
    if not t("a").input_ids[0] == t.bos_token_id:
        raise SystemExit("the tokenizer of Llama begins no text")
    image = tf.models.clip.image_processing_pil_clip.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = tf.LlavaProcessor(image, t, patch_size=7, vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=LLAVA_TEMPLATE)
    vision = tf.CLIPVisionConfig(image_size=28, patch_size=7, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2)
    text = tf.LlamaConfig(**decoder_config(len(t), bos_token_id=1, eos_token_id=2, pad_token_id=t.pad_token_id))
    config = tf.LlavaConfig(vision_config=vision, text_config=text, image_token_index=t.convert_tokens_to_ids("<image>"), vision_feature_layer=-2)
    model = stored("llava", prepare(tf.LlavaForConditionalGeneration(config), 1, [2]), processor)
    early_fusion("llava", model, processor, [[("image", TREE)], [("image", TREE), ("image", HOUSE)]], "<image>", after="\n", seed=100)


QWEN_TEMPLATE = ("{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
                 "{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
                 "{% for content in message['content'] %}{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
                 "{% elif content['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
                 "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]


def make_qwen(name, seed, family, cls, processor_class, vision, **video_options):
    t = byte_level(QWEN_SPECIAL, pre_tokenizers.Split(Regex(QWEN2), "isolated"))
    t = fast(t, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    ids = dict(zip(("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"), t.convert_tokens_to_ids(
        ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"])))
    sides = dict(patch_size=7, merge_size=2, temporal_patch_size=2)
    image = tf.models.qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 42}, **sides)
    video = tf.models.qwen2_vl.video_processing_qwen2_vl.Qwen2VLVideoProcessor(size={"shortest_edge": 14 * 14, "longest_edge": 28 * 28}, **sides, **video_options)
    processor = processor_class(image, t, video, chat_template=QWEN_TEMPLATE)
    text = decoder_config(len(t), head_dim=None, bos_token_id=None, eos_token_id=t.eos_token_id, pad_token_id=t.pad_token_id,
                          rope_parameters=dict(rope_type="default", rope_theta=5000.0, mrope_section=[2, 2, 2]))
    config = cls.config_class(vision_config=dict(vision, patch_size=7, temporal_patch_size=2, spatial_merge_size=2), text_config=text, **ids)
    model = prepare(cls(config), seed, [t.eos_token_id])
    model.generation_config = tf.GenerationConfig(eos_token_id=t.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]), pad_token_id=t.pad_token_id)
    model = stored(name, model, processor)
    early_fusion(name, model, processor, [[("image", TREE)], [("image", TREE), ("image", HOUSE)], [("video", VIDEO)], [("image", HOUSE), ("video", FILM)]],
                 "<|image_pad|>", "<|vision_start|>", "<|vision_end|>", seed)
    film_ = [("video", FILM)]
    front = through(processor, film_, "raw")
    add_case(name, "raw", model, prompts(seed + 20), film_, lambda x: front("<|vision_start|><|video_pad|><|vision_end|>" + x))


def make_qwens():
    make_qwen("qwen2_vl", 200, "qwen2_vl", tf.Qwen2VLForConditionalGeneration, tf.Qwen2VLProcessor,
              dict(depth=2, embed_dim=16, hidden_size=24, num_heads=2, mlp_ratio=2))
    make_qwen("qwen2_5_vl", 300, "qwen2_5_vl", tf.Qwen2_5_VLForConditionalGeneration, tf.Qwen2_5_VLProcessor,
              dict(depth=2, hidden_size=16, out_hidden_size=24, num_heads=2, intermediate_size=20, window_size=28, fullatt_block_indexes=[1],
                   tokens_per_second=2), fps=2, min_frames=2, max_frames=4, do_sample_frames=True)


def make_idefics(name, seed, t, cls, processor_of, template_begin):
    special = ["<image>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>"] + [f"<row_{r}_col_{c}>" for r in (1, 2, 3) for c in (1, 2, 3)]
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in special])
    t = fast(t, bos_token=template_begin, eos_token="<end_of_utterance>", pad_token="<|end_of_text|>")
    chat = (template_begin + "{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}"
            "{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}"
            "{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")
    processor = processor_of(t, dict(size={"longest_edge": 42}, max_image_size={"longest_edge": 21}), dict(image_seq_len=1, chat_template=chat))
    vision = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, image_size=21, patch_size=7)
    text = dict(decoder_config(len(t)), model_type="llama", bos_token_id=t.bos_token_id, eos_token_id=t.eos_token_id, pad_token_id=t.pad_token_id)
    config = cls.config_class(vision_config=vision, text_config=text, image_token_id=t.convert_tokens_to_ids("<image>"), scale_factor=3, tie_word_embeddings=False,
                              pad_token_id=t.pad_token_id)
    model = prepare(cls(config), seed, [t.eos_token_id])
    model.generation_config = tf.GenerationConfig(eos_token_id=t.eos_token_id, bos_token_id=t.bos_token_id, pad_token_id=t.pad_token_id)
    model = stored(name, model, processor)
    early_fusion(name, model, processor, [[("image", TREE)], [("image", TREE), ("image", HOUSE)]], "<image>", seed=seed)


def make_idefics3s():
    t = byte_level(["<|begin_of_text|>", "<|end_of_text|>"], size=300)
    template(t, "<|begin_of_text|> $A")
    make_idefics("idefics3", 600, t, tf.Idefics3ForConditionalGeneration, lambda t, image, rest: tf.Idefics3Processor(
        tf.models.idefics3.image_processing_pil_idefics3.Idefics3ImageProcessorPil(**image), t, **rest), "<|begin_of_text|>")
    t = byte_level(["<|im_start|>", "<|end_of_text|>"], pre_tokenizers.Digits(True), size=300)
    make_idefics("smolvlm", 700, t, tf.SmolVLMForConditionalGeneration, lambda t, image, rest: tf.SmolVLMProcessor(
        tf.models.smolvlm.image_processing_pil_smolvlm.SmolVLMImageProcessorPil(**image), t,
        tf.models.smolvlm.video_processing_smolvlm.SmolVLMVideoProcessor(**image), **rest), "<|im_start|>")


def make_paligemma():
    tf.models.paligemma.processing_paligemma.EXTRA_TOKENS = ["<loc0000>", "<loc0001>", "<seg000>"]
    vocab, merges = sentence_bpe(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], 360)
    t = tf.GemmaTokenizer(vocab=vocab, merges=merges)
    t.add_tokens([AddedToken("\n", normalized=False)])
    image = tf.models.siglip.image_processing_pil_siglip.SiglipImageProcessorPil(size={"height": 28, "width": 28})
    image.image_seq_length = 16
    processor = tf.PaliGemmaProcessor(image, t)
    vision = tf.SiglipVisionConfig(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7,
                                   vision_use_head=False)
    text = tf.GemmaConfig(**decoder_config(len(t), tie_word_embeddings=True, bos_token_id=2, eos_token_id=1, pad_token_id=0))
    config = tf.PaliGemmaConfig(vision_config=vision, text_config=text, image_token_index=t.convert_tokens_to_ids("<image>"), projection_dim=24, hidden_size=24,
                                bos_token_id=2, eos_token_id=1, pad_token_id=0)
    model = stored("paligemma", prepare(tf.PaliGemmaForConditionalGeneration(config), 801, [1]), processor)
    one, two = [("image", HOUSE)], [("image", TREE), ("image", CIRCLES)]
    for i, (media, shape, before) in enumerate(((one, "{}", "<image>"), (one, "<image>{}", ""), (two, "<image>{} <image> red", ""), (two, "{}", "<image><image>"))):
        def inputs(text, media=media, before=before):
            return processor(images=[[picture(f) for _, f in media]], text=[before + text], return_tensors="pt")
        add_case("paligemma", "raw", model, prompts(810 + i), media, inputs, shape=shape, ends=not i)


# An answer that attends across

MLLAMA_TEMPLATE = ("{{- bos_token }}{% for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
                   "{% for content in message['content'] %}{% if content['type'] == 'image' %}{{- '<|image|>' }}{% elif content['type'] == 'text' %}"
                   "{{- content['text'] }}{% endif %}{% endfor %}{{- '<|eot_id|>' }}{% endfor %}"
                   "{% if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")


def make_mllama():
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|finetune_right_pad_id|>"]
    t = byte_level(special, pre_tokenizers.Split(Regex(QWEN2), "isolated"), size=280)
    t.add_special_tokens([AddedToken("<|image|>", normalized=False, special=True)])  # behind all that are embedded for the output
    template(t, "<|begin_of_text|> $A")
    t = fast(t, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", pad_token="<|finetune_right_pad_id|>")
    image = tf.models.mllama.image_processing_pil_mllama.MllamaImageProcessorPil(size={"height": 14, "width": 14}, max_image_tiles=4)
    processor = tf.MllamaProcessor(image, t, chat_template=MLLAMA_TEMPLATE)
    vision = dict(hidden_size=16, num_hidden_layers=2, num_global_layers=1, attention_heads=2, intermediate_size=20, vision_output_dim=32, image_size=14, patch_size=7,
                  max_num_tiles=4, intermediate_layers_indices=[1],
                  supported_aspect_ratios=[[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]])
    text = dict(vocab_size=len(t) - 1, hidden_size=24, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1, intermediate_size=24,
                cross_attention_layers=[1], max_position_embeddings=512, pad_token_id=t.pad_token_id, bos_token_id=t.bos_token_id,
                eos_token_id=t.convert_tokens_to_ids(["<|eot_id|>", "<|end_of_text|>"]), rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    config = tf.MllamaConfig(vision_config=vision, text_config=text, image_token_index=t.convert_tokens_to_ids("<|image|>"))

    def make(n):
        model = stored("mllama", prepare(tf.MllamaForConditionalGeneration(config), n, [t.eos_token_id]), processor)
        for ends, media in enumerate(([("image", TREE), ("image", HOUSE)], [("image", TREE)])):
            add_case("mllama", "chat", model, prompts(n + ends), media, through(processor, media, "chat"), ends=ends)
        media = [("image", CIRCLES)]  # the raw form that its authors write
        add_case("mllama", "raw", model, prompts(n + 2), media, through(processor, media, "raw"), shape="<|image|><|begin_of_text|>{}")
    first_seed(1601, make)


def make_blips():
    vocab = word_pieces()
    vocab.update({"[DEC]": len(vocab)})
    t = tf.BertTokenizer(vocab=vocab, do_lower_case=True)
    t.add_special_tokens({"bos_token": "[DEC]"})
    image = tf.models.blip.image_processing_pil_blip.BlipImageProcessorPil(size={"height": 24, "width": 24})
    processor = tf.BlipProcessor(image, t)
    text = tf.models.blip.configuration_blip.BlipTextConfig(
        vocab_size=len(t), hidden_size=24, encoder_hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64,
        bos_token_id=t.convert_tokens_to_ids("[DEC]"), pad_token_id=0, sep_token_id=t.sep_token_id, eos_token_id=t.sep_token_id, projection_dim=16)
    vision = tf.models.blip.configuration_blip.BlipVisionConfig(hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, image_size=24,
                                                                patch_size=8, projection_dim=16)
    config = tf.BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    for name, cls, seed in (("blip_caption", tf.BlipForConditionalGeneration, 416), ("blip_answer", tf.BlipForQuestionAnswering, 501)):
        first_seed(seed, lambda n: across(name, spread(cls(config), n, t.sep_token_id), processor, n))


def across(name, model, processor, seed, **options):
    """Pictures with a text each, the second's answer ending."""
    model = stored(name, model, processor)
    for ends, file in enumerate((HOUSE, TREE)):
        add_case(name, "raw", model, prompts(seed + ends), [("image", file)], lambda x: processor(images=picture(file), text=x, return_tensors="pt", **options),
                 ends=ends)


def vision_config(**options):
    return tf.ViTConfig(**dict(dict(hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, image_size=24, patch_size=8), **options))


def make_readers():
    """As TrOCR, and as Donut, whose answer begins with a task."""
    t = byte_level(["<s>", "<pad>", "</s>", "<unk>"], size=280)
    template(t, "<s> $A </s>")
    t = fast(t, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>")
    processor = tf.TrOCRProcessor(tf.models.vit.image_processing_pil_vit.ViTImageProcessorPil(size={"height": 24, "width": 24}), t)
    eos, bos, pad = t.eos_token_id, t.bos_token_id, t.pad_token_id
    text = tf.TrOCRConfig(vocab_size=len(t), d_model=24, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32, max_position_embeddings=64,
                          cross_attention_hidden_size=24, is_decoder=True, add_cross_attention=True, bos_token_id=bos, eos_token_id=eos, pad_token_id=pad,
                          decoder_start_token_id=eos)
    reader("trocr", 901, vision_config(), text, processor, eos, eos, pad, lambda x: {})
    vocab = unigram(["<s>", "<pad>", "</s>", "<unk>"])
    t = tf.XLMRobertaTokenizer(vocab=vocab + [("<mask>", 0.0)])
    t.add_special_tokens({"additional_special_tokens": ["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>"]})
    eos, pad = t.eos_token_id, t.pad_token_id
    processor = tf.DonutProcessor(tf.models.donut.image_processing_pil_donut.DonutImageProcessorPil(size={"height": 32, "width": 24}), t)
    text = tf.MBartConfig(vocab_size=len(t), d_model=24, decoder_layers=2, encoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32,
                          max_position_embeddings=64, is_decoder=True, add_cross_attention=True, is_encoder_decoder=False, bos_token_id=0, eos_token_id=eos, pad_token_id=pad)
    start = t.convert_tokens_to_ids("<s_docvqa>")
    reader("donut", 1001, vision_config(image_size=(32, 24)), text, processor, start, eos, pad,
           lambda x: {"decoder_input_ids": torch.tensor([[start] + processor.tokenizer(x, add_special_tokens=False).input_ids])},
           "<s_question>{}</s_question><s_answer>")


def reader(name, seed, encoder, decoder, processor, start, end, pad, answer_of, shape=None):
    config = tf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = start, pad, end

    def make(n):
        model = spread(tf.VisionEncoderDecoderModel(config), n, end)
        model.generation_config = tf.GenerationConfig(decoder_start_token_id=start, pad_token_id=pad, eos_token_id=end)
        model = stored(name, model, processor)
        for ends, file in enumerate((HOUSE, TREE)):
            add_case(name, "raw", model, prompts(n + ends) if shape else [""], [("image", file)], lambda x: dict(pixel_values=processor(
                images=picture(file), return_tensors="pt")["pixel_values"], **answer_of(x)), ends=ends and shape, shape=shape or "{}")
    first_seed(seed, make)


def make_texts():
    """T5 and BART, from a text to another."""
    t = tf.T5Tokenizer(vocab=unigram(["<pad>", "</s>", "<unk>"]) + [("<extra_id_1>", 0.0), ("<extra_id_0>", 0.0)], extra_ids=2)
    config = tf.T5Config(vocab_size=len(t), d_model=24, d_kv=12, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    first_seed(1101, lambda n: from_text("t5", spread(tf.T5ForConditionalGeneration(config), n, 1), t, n))
    t = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], size=280)
    template(t, "<s> $A </s>")
    t = tf.PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
    eos, bos, pad = t.eos_token_id, t.bos_token_id, t.pad_token_id
    config = tf.BartConfig(vocab_size=len(t), d_model=24, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
                           decoder_ffn_dim=32, max_position_embeddings=64, bos_token_id=bos, eos_token_id=eos, pad_token_id=pad, decoder_start_token_id=eos,
                           forced_eos_token_id=eos, forced_bos_token_id=bos)
    first_seed(1201, lambda n: from_text("bart", spread(tf.BartForConditionalGeneration(config), n, eos), t, n))


def from_text(name, model, t, seed):
    model = stored(name, model, t)
    for ends in range(2):
        add_case(name, "raw", model, prompts(seed + ends), [], lambda x: t(x, return_tensors="pt"), ends=ends)


def make_whisper():
    vocab = {c: i for i, c in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    names = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>",
             "<|notimestamps|>"] + ["<|%.2f|>" % (i * 0.02) for i in range(51)]
    t = byte_level(names, size=270)
    first = t.token_to_id("<|endoftext|>")
    t.post_processor = processors.TemplateProcessing(single="<|startoftranscript|> <|notimestamps|> $A <|endoftext|>", pair=None, special_tokens=[
        (n, t.token_to_id(n)) for n in ("<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>")])
    t = fast(t, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>")
    feature = tf.WhisperFeatureExtractor(feature_size=12, chunk_length=1)
    ids = {n: t.convert_tokens_to_ids(n) for n in names}
    config = tf.WhisperConfig(vocab_size=len(t), num_mel_bins=12, d_model=24, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
                              encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=50, max_target_positions=48, pad_token_id=first, bos_token_id=first,
                              eos_token_id=first, decoder_start_token_id=ids["<|startoftranscript|>"], suppress_tokens=None, begin_suppress_tokens=[220, first])

    def make(n):
        model = spread(tf.WhisperForConditionalGeneration(config), n, first)
        model.generation_config = tf.GenerationConfig(
            decoder_start_token_id=ids["<|startoftranscript|>"], eos_token_id=first, pad_token_id=first, bos_token_id=first, suppress_tokens=[1, 7, 30],
            begin_suppress_tokens=[220, first], is_multilingual=True, lang_to_id={"<|en|>": ids["<|en|>"], "<|de|>": ids["<|de|>"]},
            task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]}, no_timestamps_token_id=ids["<|notimestamps|>"], max_length=40,
            return_timestamps=False)
        model = stored("whisper", model, feature, t)
        for i, (file, language, task) in enumerate(((SOUND, "en", "transcribe"), (SOUND, "de", "translate"))):
            features = feature(sound(file), sampling_rate=16000, return_tensors="pt")["input_features"]
            prompt = ["<|startoftranscript|>", f"<|{language}|>", f"<|{task}|>", "<|notimestamps|>"]
            inputs = {"input_features": features, "decoder_input_ids": torch.tensor([[ids[p] for p in prompt]])}
            add_case("whisper", "raw", Plain(model), ["".join(prompt[1:])], [("audio", file)], lambda _: inputs)
    first_seed(1301, make)


class Plain:
    """Whisper's decoder from given ids, by the generation of all models."""
    def __init__(self, model):
        self.model, self.config, self.generation_config = model, model.config, model.generation_config

    def generate(self, **options):
        return tf.GenerationMixin.generate(self.model, **options)


def make_pairs():
    """CLIP and SigLIP: labels and texts to a picture."""
    TEXT.append("This is a photo of two photos.")  # the last to learn from it
    t = trained(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"), trainers.BpeTrainer(vocab_size=120, end_of_word_suffix="</w>", show_progress=False,
                special_tokens=["<|startoftext|>", "<|endoftext|>"]), [], pre_tokenizer=pre_tokenizers.Split(Regex(r"\p{L}+|[^\s\p{L}]+"), "removed", invert=True),
                normalizer=normalizers.Lowercase())
    template(t, "<|startoftext|> $A <|endoftext|>")
    t = fast(t, bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>", model_max_length=16)
    image = tf.models.clip.image_processing_pil_clip.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    sides = dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    config = tf.CLIPConfig(projection_dim=16, vision_config=dict(sides, image_size=28, patch_size=7, projection_dim=16), text_config=dict(
        sides, vocab_size=len(t), max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1, projection_dim=16))
    pair("clip", tf.CLIPModel(config), tf.CLIPProcessor(image, t), 1401, padding=True)
    vocab = unigram(["<pad>", "</s>", "<unk>"])
    t = Tokenizer(models.Unigram(vocab, 2, False))
    t.normalizer, t.pre_tokenizer, t.decoder = normalizers.Lowercase(), pre_tokenizers.Metaspace(), decoders.Metaspace()
    template(t, "$A </s>")
    t = fast(t, eos_token="</s>", pad_token="</s>", unk_token="<unk>", model_max_length=64, model_input_names=["input_ids"])
    image = tf.models.siglip.image_processing_pil_siglip.SiglipImageProcessorPil(size={"height": 28, "width": 28})
    config = tf.SiglipConfig(vision_config=dict(sides, image_size=28, patch_size=7), text_config=dict(
        sides, vocab_size=len(t), max_position_embeddings=64, bos_token_id=1, eos_token_id=1, pad_token_id=1, projection_size=24))
    pair("siglip", tf.SiglipModel(config), tf.SiglipProcessor(image, t), 1501, padding="max_length")


def pair(name, model, processor, seed, **padding):
    model = stored(name, randomize(model, seed, 0.3), processor)
    labels = ["red circles", "a house", "the train", "how many trees"]
    for file in (HOUSE, TREE):
        guess = tf.pipeline("zero-shot-image-classification", model=model, tokenizer=processor.tokenizer, image_processor=processor.image_processor)
        found = {x["label"]: x["score"] for x in guess(picture(file), candidate_labels=labels)}
        assert len({round(p, 3) for p in found.values()}) == len(labels)
        write(name, "labels", [("image", file)], ",".join(labels), [found[x] for x in labels])
        with torch.no_grad():
            out = model(**processor(images=picture(file), text=labels, return_tensors="pt", **padding))
        cosines = torch.nn.functional.cosine_similarity(out.image_embeds, out.text_embeds)
        assert len({round(float(c), 4) for c in cosines}) == len(labels)
        write(name, "rank", [("image", file)], ",".join(labels), cosines)


def sound(path):
    import wave
    with wave.open(path) as w:
        assert w.getframerate() == 16000 and w.getsampwidth() == 2 and w.getnchannels() == 1
        return np.frombuffer(w.readframes(w.getnframes()), np.int16).astype(np.float32) / 32768


def make_sound():
    import wave
    x = np.arange(16000 * 7 // 10) / 16000
    wave_ = np.sin(2 * np.pi * (300 + 400 * x) * x) * np.sin(9 * x) * 0.5
    with wave.open(SOUND, "wb") as w:
        w.setnchannels(1), w.setsampwidth(2), w.setframerate(16000)
        w.writeframes((wave_ * 32767).astype("<i2").tobytes())


def spread(model, seed, end):
    """As prepare, for decoders that attend across: small biases, and far from their beginning, else each token would repeat itself."""
    randomize(model, seed, 0.25 if any("position" in n for n, _ in model.named_parameters()) else 0.4)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p *= 0.25
            if "position" in name:
                p *= 6
            if name.endswith(("predictions.bias", "lm_head.bias")):
                p[end] += 1
    return model


def main():
    torch.set_num_threads(1)
    tf.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    makers = {m.__name__: m for m in (make_llava, make_qwens, make_idefics3s, make_paligemma, make_mllama, make_blips, make_readers, make_texts, make_whisper, make_pairs)}
    make_frames()
    make_sound()
    for m in makers.values():
        if len(sys.argv) < 2 or m.__name__ in sys.argv[1:]:
            m()
            for name, cases in CASES.items():
                (ROOT / f"{name}.txt").write_text("".join(c + "\n" for c in cases))


if __name__ == "__main__":
    main()
