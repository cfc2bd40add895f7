#!/usr/bin/env python3
"""Tiny composites (MMModel): transformers' towers and decoders, and the trunks, heads and projectors between them in torch, as
docs/models.md defines them; what is written where stands in golden_models.py.
SPDX-License-Identifier: MIT"""
import json
import math

import torch
from golden_models import MEDIA as MEDIA_CASES
from golden_models import ROOT, folder_of, greedy_margin, ids_of, pixels_of, run, tensors_of, write_case, write_media
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import (BertConfig, BertLMHeadModel, BertModel, LlamaConfig, LlamaForCausalLM, ViTConfig, ViTModel, WhisperConfig)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

ORDER = ("text", "vision", "audio", "video")
MEDIA = {"text": "text", "vision": "image", "audio": "audio", "video": "video"}
SMALL = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, attn_implementation="eager")
C, HEADS, LAYERS, WIDE, EPS = 12, 3, 2, 16, 1e-5
TRUNK = dict(num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=WIDE, hidden_act="gelu", layer_norm_eps=EPS)
VOCABULARY, PICTURE_TOKEN = 61, 60
WINDOW = 6


def text_tower():
    return BertModel(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=40, **SMALL), add_pooling_layer=False)


def vision_tower():
    return ViTModel(ViTConfig(image_size=16, patch_size=8, **dict(SMALL, hidden_size=20)), add_pooling_layer=False)


def audio_tower():
    return WhisperEncoder(WhisperConfig(d_model=12, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=20, num_mel_bins=5,
                                        max_source_positions=WINDOW, attn_implementation="eager"))


TOWERS = {"text": text_tower, "vision": vision_tower, "audio": audio_tower, "video": vision_tower}
WIDTHS = {"text": 16, "vision": 20, "audio": 12, "video": 20}


def llama():
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
                                        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=None, eos_token_id=None, pad_token_id=None,
                                        attn_implementation="eager"))


def bert_decoder():
    return BertLMHeadModel(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=40, is_decoder=True, add_cross_attention=True,
                                      tie_word_embeddings=False, **SMALL))


def attend(q, k, v, mask):
    """[B, T, C] each, mask [B, N] of the keys or None."""
    B, T, width = q.shape
    q, k, v = (x.view(B, x.shape[1], HEADS, width // HEADS).transpose(1, 2) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(width // HEADS)
    if mask is not None:
        scores = scores.masked_fill(mask[:, None, None, :] == 0, float("-inf"))
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, width)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(C, C) for _ in range(4))

    def forward(self, x, states, mask):
        return self.output(attend(self.query(x), self.key(states), self.value(states), mask))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(C, WIDE), nn.Linear(WIDE, C)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class Layer(nn.Module):
    """A post-norm block, with attention across to the other streams where there are any."""

    def __init__(self, across):
        super().__init__()
        self.norm1, self.norm2, self.attention, self.feed_forward = nn.LayerNorm(C, EPS), nn.LayerNorm(C, EPS), Attention(), FeedForward()
        if across:
            self.cross_norm, self.cross_attention = nn.LayerNorm(C, EPS), Attention()

    def forward(self, x, mask, others=None, others_mask=None):
        x = self.norm1(x + self.attention(x, x, mask))
        if others is not None:
            x = self.cross_norm(x + self.cross_attention(x, others, others_mask))
        return self.norm2(x + self.feed_forward(x))


class Stream(nn.Module):
    def __init__(self, width, across):
        super().__init__()
        self.projection, self.embedding, self.norm = nn.Linear(width, C), nn.Parameter(torch.zeros(C)), nn.LayerNorm(C, EPS)
        if across:
            self.layers = nn.ModuleList(Layer(True) for _ in range(LAYERS))

    def forward(self, x):
        return self.norm(self.projection(x) + self.embedding)


class Trunk(nn.Module):
    def __init__(self, join, modalities):
        super().__init__()
        if join == "late":
            self.projection = nn.Linear(sum(WIDTHS[m] for m in modalities), C)
            return
        for m in modalities:
            self.add_module(m, Stream(WIDTHS[m], join == "interactive"))
        if join == "early":
            self.layers = nn.ModuleList(Layer(False) for _ in range(LAYERS))


def pool(x, mask, how):
    if how == "first":
        return x[:, 0]
    if mask is None:
        return x.mean(1)
    m = mask[:, :, None].float()
    return (x * m).sum(1) / m.sum(1)


def join_masks(streams):
    if all(m is None for _, m in streams):
        return None
    return torch.cat([torch.ones(x.shape[:2], dtype=torch.int64) if m is None else m for x, m in streams], 1)


class Composite(nn.Module):
    def __init__(self, config, parts):
        super().__init__()
        self.config = config
        self.modalities = [m for m in ORDER if m in parts]
        for m in self.modalities:
            self.add_module(m + "_model", parts[m])
        if "decoder" in parts:
            self.decoder = parts["decoder"]
        self.join, sharing = config.get("fusion"), config.get("sharing", {})
        self.soft = sharing.get("kind") == "soft"
        readers = [h for h in config.get("heads", []) if h["kind"] != "contrastive" and h.get("input", "fused") == "fused"]
        tasks = list(dict.fromkeys(h.get("task", h["name"]) for h in readers))
        projector = config.get("projector")
        if projector and projector["input"] == "fused":
            tasks.append("decoder")
        self.tasks = tasks if self.soft else ["all"] if tasks else []
        self.trunks = [Trunk(self.join, self.modalities) for _ in self.tasks]
        if self.soft:
            self.fusion = nn.ModuleDict(dict(zip(self.tasks, self.trunks)))
        elif self.trunks:
            self.fusion = self.trunks[0]
        self.stitched = sharing.get("mixing") == "cross_stitch"
        if self.stitched:
            self.stitches = nn.ParameterList(nn.Parameter(torch.zeros(len(self.tasks), len(self.tasks))) for _ in range(LAYERS))
        self.heads = nn.ModuleDict()
        for h in config.get("heads", []):
            if h["kind"] == "contrastive":
                own = nn.Module()
                for m in h["inputs"]:
                    own.add_module(m, nn.Linear(WIDTHS[m], h["dim"], bias=False))
                own.logit_scale = nn.Parameter(torch.tensor([1.3]))
                if h.get("sigmoid"):
                    own.logit_bias = nn.Parameter(torch.tensor([-0.7]))
            else:
                i = h.get("input", "fused")
                own = nn.Linear(C if i == "fused" else WIDTHS[i], len(h["labels"]) if "labels" in h else h.get("size", 2))
            self.heads[h["name"]] = own
        if projector:
            D = self.decoder.config.hidden_size
            self.projector = nn.Module()
            self.projector.linear_1 = nn.Linear(C if projector["input"] == "fused" else WIDTHS[projector["input"]], D)
            if projector.get("layers", 2) == 2:
                self.projector.linear_2 = nn.Linear(D, D)

    def tower(self, m, inputs):
        """Hidden states, the last behind the final norm, and the mask; None where the input is missing."""
        key = {"text": "input_ids", "vision": "pixel_values", "audio": "input_features", "video": "pixel_values_videos"}[m]
        if key not in inputs:
            return None
        model, x = self.get_submodule(m + "_model"), inputs[key]
        if m == "text":
            mask = inputs.get("attention_mask")
            out = model(x, attention_mask=mask, output_hidden_states=True)
            return list(out.hidden_states) + [out.last_hidden_state], mask
        if m in ("vision", "video"):
            raw = []  # the hidden states before the last norm
            hooks = [l.register_forward_hook(lambda _, i, o: raw.append(o[0] if isinstance(o, tuple) else o)) for l in model.layers]
            hooks.append(model.embeddings.register_forward_hook(lambda _, i, o: raw.append(o)))
            last = model(x.flatten(0, 1) if m == "video" else x).last_hidden_state
            states = raw + [last]
            for h in hooks:
                h.remove()
            if m == "video":
                states = [s.view(*x.shape[:2], *s.shape[1:]) for s in states]
                states = [s.flatten(1, 2) if self.config.get("video_pooling") == "concat" else s.mean(1) for s in states]
            return states, None
        out = model(x, output_hidden_states=True)
        return list(out.hidden_states)[:-1] + [None, out.last_hidden_state], None

    def run_trunks(self, towers):
        """fused[trunk][k], and the mask."""
        streams = [(towers[m][0][-1], towers[m][1]) for m in self.modalities]
        if self.join == "late":
            how = self.config.get("fusion_config", {}).get("pool", "mean")
            joined = torch.cat([pool(x, m, how) for x, m in streams], 1)
            return [[F.gelu(t.projection(joined))[:, None]] for t in self.trunks], None
        mask = join_masks(streams)
        x = [[t.get_submodule(m)(s) for m, (s, _) in zip(self.modalities, streams)] for t in self.trunks]
        if self.join == "early":
            x = [[torch.cat(own, 1)] for own in x]
        fused = [[torch.cat(own, 1)] for own in x]
        for l in range(LAYERS):
            new = []
            for t, own in zip(self.trunks, x):
                if self.join == "early":
                    new.append([t.layers[l](own[0], mask)])
                    continue
                row = []
                for i, m in enumerate(self.modalities):
                    rest = [(own[j], streams[j][1]) for j in range(len(own)) if j != i]
                    row.append(t.get_submodule(m).layers[l](own[i], streams[i][1], torch.cat([s for s, _ in rest], 1), join_masks(rest)))
                new.append(row)
            if self.stitched:
                a = self.stitches[l]
                new = [[new[t][s] + sum(a[t, u] * new[u][s] for u in range(len(new))) for s in range(len(new[0]))] for t in range(len(new))]
            x = new
            for t, own in enumerate(x):
                fused[t].append(torch.cat(own, 1))
        return fused, mask

    def read(self, towers, fused, name, depth, task):
        if name != "fused":
            states, mask = towers[name]
            return states[-1 if depth is None else depth], mask
        trunk = self.tasks.index(task) if self.soft else 0
        return fused[0][trunk][-1 if depth is None else depth], fused[1]

    def forward(self, **inputs):
        out, towers = {}, {m: self.tower(m, inputs) for m in self.modalities}
        whole = all(t is not None for t in towers.values())
        fused = self.run_trunks(towers) if self.trunks and whole else None
        first = True
        for h in self.config.get("heads", []):
            own, how = self.heads[h["name"]], h.get("pool", "mean")
            if h["kind"] == "contrastive":
                pre = "" if first else h["name"] + "_"
                e = [F.normalize(own.get_submodule(m)(pool(towers[m][0][-1], towers[m][1], how)), dim=-1) if towers[m] else None for m in h["inputs"]]
                for m, v in zip(h["inputs"], e):
                    if v is not None:
                        out[f"{pre}{MEDIA[m]}_embeds"] = v
                if all(v is not None for v in e):
                    scores = own.logit_scale.exp() * e[0] @ e[1].T + (own.logit_bias if h.get("sigmoid") else 0)
                    out[f"{pre}logits_per_{MEDIA[h['inputs'][0]]}"], out[f"{pre}logits_per_{MEDIA[h['inputs'][1]]}"] = scores, scores.T
                first = False
                continue
            name = h.get("input", "fused")
            if fused is None if name == "fused" else towers[name] is None:
                continue
            x, mask = self.read(towers, fused, name, h.get("depth"), h.get("task", h["name"]))
            out[h["name"] + "_logits"] = own(pool(x, mask, how))
        if hasattr(self, "decoder"):
            self.decode(inputs, towers, fused, out)
        return out

    def features(self, towers, fused):
        p = self.config["projector"]
        x, mask = self.read(towers, fused, p["input"], p.get("depth"), "decoder")
        x = self.projector.linear_1(x[:, p.get("skip", 0):])
        if p.get("layers", 2) == 2:
            x = self.projector.linear_2(F.gelu(x))
        return x, None if mask is None else mask[:, p.get("skip", 0):]

    def decode(self, inputs, towers, fused, out):
        p = self.config["projector"]
        if self.decoder.config.model_type == "bert":
            x, mask = self.features(towers, fused)
            out["logits"] = self.decoder(input_ids=inputs["decoder_input_ids"], attention_mask=inputs.get("decoder_attention_mask"),
                                         encoder_hidden_states=x, encoder_attention_mask=mask, use_cache=False).logits
            return
        ids = inputs["input_ids"]
        e = self.decoder.get_input_embeddings()(ids)
        if towers[p["input"]] is not None:
            e = e.clone()
            e[ids == PICTURE_TOKEN] = self.features(towers, fused)[0].flatten(0, 1)
        r = self.decoder(inputs_embeds=e, attention_mask=inputs.get("attention_mask"), output_hidden_states=True, use_cache=False)
        out["logits"], out["last_hidden_state"] = r.logits, r.hidden_states[-1]


def randomize(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if name.endswith(("logit_scale", "logit_bias")):
                continue
            if p.dim() > 1:
                p.copy_(torch.randn(p.shape, generator=g) * (1 if "decoder.bert.embeddings" in name else 0.6 if "stitch" in name else 0.2))
            elif "bias" in name or "embedding" in name:
                p.copy_(torch.randn(p.shape, generator=g) * 0.2)
            else:
                p.copy_(0.6 + torch.rand(p.shape, generator=g))
    return model.eval()


def make(name, seed, config, parts, sources=()):
    """The directory and the model. Parts in `sources` are other directories' ({part: path}), and not written."""
    sources = dict(sources)
    made = {k: parts[k]() for k in parts}
    model = Composite(config, made)
    kept = {k: {n: p.clone() for n, p in made[k].state_dict().items()} for k in sources}
    randomize(model, seed)
    for k in sources:
        made[k].load_state_dict(kept[k])
    own = {("decoder." if k == "decoder" else k + "_model.") + n: p for k in made if k not in sources for n, p in tensors_of(made[k], torch.float32).items()}
    for key, p in model.state_dict().items():
        if key.startswith("stitches."):
            own[f"fusion.cross_stitch.{key.removeprefix('stitches.')}.weight"] = p.contiguous().clone()
        elif key.split(".")[0] in ("fusion", "heads", "projector"):
            own[key] = p.contiguous().clone()
    whole = {"architectures": ["MMModel"], "model_type": "mm"}
    for k, m in made.items():
        if k in sources:
            whole[k + "_config"] = {"from": sources[k]}
            continue
        c = json.loads(m.config.to_json_string(use_diff=False))
        for drop in ("_name_or_path", "transformers_version", "dtype", "architectures", "id2label", "label2id"):
            c.pop(drop, None)
        whole[k + "_config"] = {n: v for n, v in sorted(c.items()) if v is not None}
    folder = folder_of(name)
    (folder / "config.json").write_text(json.dumps(dict(whole, **config), indent=1) + "\n")
    save_file(own, folder / "model.safetensors", metadata={"format": "pt"})
    return model


def forward(model, inputs):
    with torch.no_grad():
        return model(**inputs)


def inputs_of(seed, modalities, rows=2, length=7, padded=True):
    g = torch.Generator().manual_seed(seed)
    out = {}
    if "text" in modalities:
        out["input_ids"] = ids_of(seed, (rows, length), PICTURE_TOKEN)
        if padded:
            mask = torch.ones_like(out["input_ids"])
            mask[0, length - 3:] = 0
            out["input_ids"], out["attention_mask"] = out["input_ids"] * mask, mask
    if "vision" in modalities:
        out["pixel_values"] = pixels_of(seed, (rows, 3, 16, 16))
    if "audio" in modalities:
        out["input_features"] = torch.randn((rows, 5, 2 * WINDOW), generator=g)
    if "video" in modalities:
        out["pixel_values_videos"] = torch.randn((rows, 3, 3, 16, 16), generator=g)
    return out


def write(name, case, model, inputs):
    out = forward(model, inputs)
    write_case(name, case, inputs, out, "joint" if any("logits_per" in k for k in out) else "exact")


def parts_of(*names):
    return {n: TOWERS[n] for n in names}


ANSWER = dict(name="answer", kind="classification", labels=["red", "green", "gr\u00fcn", "blue"], pool="first")
COUNT = dict(name="count", kind="regression", size=3)
MATCH = dict(name="match", kind="matching", pool="mean")
SHAPE = dict(name="shape", kind="classification", labels=["circle", "square", "triangle"], input="vision", depth=1)


def make_ablation():
    """Each fusion with each way of sharing."""
    sharings = {"hard": None, "stitch": dict(kind="soft", mixing="cross_stitch"), "l2": dict(kind="soft"), "levels": dict(kind="hierarchical")}
    for n, (join, names) in enumerate((("late", ("text", "vision")), ("early", ("text", "vision")), ("interactive", ("text", "vision", "audio")))):
        for k, (sharing, value) in enumerate(sharings.items()):
            if join == "late" and sharing == "stitch":
                continue
            fused = [dict(ANSWER), dict(COUNT), dict(MATCH, task="answer")]
            if sharing == "levels" and join != "late":
                fused[0]["depth"], fused[1]["depth"] = 1, 0
            config = {"hidden_size": C, "fusion": join, "fusion_config": dict(pool="first") if join == "late" else TRUNK, "heads": fused + [SHAPE]}
            if value:
                config["sharing"] = value
            name, seed = f"mm_{join}_{sharing}", 10 * n + k
            model = make(name, seed, config, parts_of(*names))
            write(name, "padded", model, inputs_of(seed, names))
            write(name, "plain", model, inputs_of(seed + 1, names, rows=1, length=5, padded=False))


def make_towers():
    """Without a trunk: vectors of each tower compared, classes of one, frames of a video joined in both ways, a sound."""
    pair = [dict(name="pair", kind="contrastive", dim=10, inputs=["vision", "text"]), dict(name="hear", kind="contrastive", dim=6, inputs=["audio", "text"],
            sigmoid=True, pool="first"), SHAPE, dict(name="tone", kind="classification", labels=["sad", "glad"], input="text", pool="first", depth=0)]
    model = make("mm_towers", 41, {"heads": pair}, parts_of("text", "vision", "audio"))
    write("mm_towers", "all", model, inputs_of(41, ("text", "vision", "audio"), rows=3))
    write("mm_towers", "picture", model, inputs_of(42, ("vision",)))
    write("mm_towers", "words", model, inputs_of(43, ("text",)))
    for how in ("mean", "concat"):
        heads = [dict(COUNT, input="video", pool="first"), dict(name="speed", kind="regression", size=2, input="video", depth=2), dict(MATCH)]
        model = make("mm_video_" + how, 44, {"hidden_size": C, "fusion": "early", "fusion_config": TRUNK, "video_pooling": how, "heads": heads},
                     parts_of("audio", "video"))
        write("mm_video_" + how, "two", model, inputs_of(44, ("audio", "video")))


def with_pictures(seed, rows, length, start, count):
    ids = ids_of(seed, (rows, length), PICTURE_TOKEN)
    ids[:, start:start + count] = PICTURE_TOKEN
    return ids


def write_greedy(name, model, media, texts, grows):
    """A session's greedy answer to the first of the texts that is decided by a clear distance at every step; `grows` is what it is appended to."""
    for text in texts:
        given, margin = text[grows].shape[1], 1.0
        for _ in range(6):
            logits = forward(model, dict(media, **text))["logits"][0, -1]
            margin = min(margin, greedy_margin(logits))
            text = dict(text, **{grows: torch.cat([text[grows], logits.argmax()[None, None]], 1)})
        new = text[grows][:, given:]
        if margin >= 0.02 and PICTURE_TOKEN not in new and len(set(new[0].tolist())) >= 3:
            break
    else:
        raise SystemExit(f"{name}: no text with a margin {margin} {new}")
    if grows == "input_ids":
        write_media(name, "answer", media, text[grows][:, :given], new)
        return
    save_file(dict(media, input_ids=text["input_ids"].to(torch.int32), generated_ids=new[0].to(torch.int32)), ROOT / name / "answer.media.safetensors")
    MEDIA_CASES.append(f"{name} answer")


def make_decoders():
    """A picture among the tokens of a decoder, with a head on the tower; fused states that a decoder attends across to."""
    config = {"image_token_index": PICTURE_TOKEN, "projector": dict(layers=2, hidden_act="gelu", input="vision", depth=1, skip=1), "heads": [SHAPE]}
    model = make("mm_decoder", 51, config, dict(parts_of("vision"), decoder=llama))
    write("mm_decoder", "two", model, {"input_ids": with_pictures(51, 2, 9, 2, 4), "pixel_values": pixels_of(51, (2, 3, 16, 16))})
    write("mm_decoder", "text", model, {"input_ids": ids_of(52, (1, 7), PICTURE_TOKEN)})
    write_greedy("mm_decoder", model, {"pixel_values": pixels_of(53, (1, 3, 16, 16))},
                 ({"input_ids": with_pictures(seed, 1, 9, 2, 4)} for seed in range(53, 453)), "input_ids")
    config = {"hidden_size": C, "fusion": "early", "fusion_config": TRUNK, "projector": dict(layers=1, input="fused"), "heads": [MATCH],
              "sharing": dict(kind="soft", mixing="cross_stitch"), "decoder_start_token_id": 2}
    names = ("text", "vision")
    model = make("mm_across", 58, config, dict(parts_of(*names), decoder=bert_decoder))
    inputs = inputs_of(54, names)
    inputs["decoder_input_ids"] = ids_of(55, (2, 5), PICTURE_TOKEN)
    inputs["decoder_attention_mask"] = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    write("mm_across", "padded", model, inputs)
    write_greedy("mm_across", model, {"pixel_values": pixels_of(56, (1, 3, 16, 16))},
                 ({"input_ids": ids_of(seed, (1, 6), PICTURE_TOKEN), "decoder_input_ids": torch.tensor([[2]])} for seed in range(56, 456)), "decoder_input_ids")


def make_from():
    """A projector and a head alone: the tower and the decoder are other checkpoints of this folder."""
    WIDTHS["vision"] = ViTConfig.from_pretrained(ROOT / "vit").hidden_size
    parts = {"vision": lambda: ViTModel.from_pretrained(ROOT / "vit", attn_implementation="eager"),
             "decoder": lambda: LlamaForCausalLM.from_pretrained(ROOT / "llama_gqa", attn_implementation="eager")}
    config = {"image_token_index": PICTURE_TOKEN, "projector": dict(input="vision"), "heads": [SHAPE]}
    model = make("mm_from", 61, config, parts, {"vision": "../vit", "decoder": "../llama_gqa"})
    side = model.vision_model.config.image_size
    tokens = 1 + (side // model.vision_model.config.patch_size) ** 2
    write("mm_from", "one", model, {"input_ids": with_pictures(61, 1, tokens + 4, 2, tokens), "pixel_values": pixels_of(61, (1, 3, side, side))})
    WIDTHS["vision"] = 20


if __name__ == "__main__":
    run("composite", make_ablation, make_towers, make_decoders, make_from)
