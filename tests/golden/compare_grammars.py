#!/usr/bin/env python3
"""Hold libmm's grammars against llama.cpp's and its JSON schemas against jsonschema, on many random texts, and count the differences.

  llama   at each step of random walks the set of tokens of MODEL that may follow, against llama.cpp's grammar sampler
  schema  random texts of each schema of make_grammars.py, held against jsonschema

Needs what make_grammars.py needs, llama_cpp, a GGUF model with a tokenizer, and the driver:

  cc -std=c11 -O2 -Iinclude $(printf ' -I%s' src/*/) -o build/grammar_driver tests/golden/grammar_driver.c lib/libmm.a \\
     -lpng -ljpeg -lcjson -lutf8proc -lpcre2-8 -lopenblas -lm -pthread

usage: compare_grammars.py MODEL.gguf [--driver build/grammar_driver] [--count N] [llama|schema]...
SPDX-License-Identifier: MIT
"""
import argparse
import json
import random
import subprocess
import sys
import tempfile

import make_grammars as make


class Driver:
    def __init__(self, path, kind, text, model):
        self.file = tempfile.NamedTemporaryFile("w", encoding="utf-8")
        self.file.write(text)
        self.file.flush()
        self.process = subprocess.Popen([path, kind, self.file.name, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline().strip()
        if ready != "ready":
            raise SystemExit(f"{text}: {ready}")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def is_text(piece):
    try:
        return bool(piece.decode())
    except UnicodeDecodeError:
        return False


def compare_llama(options):
    import ctypes
    import llama_cpp
    import numpy as np
    # kept alive: llama.cpp calls it until the end
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, None)
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(options.model.encode(), params)
    vocab = llama_cpp.llama_model_get_vocab(model)
    size = llama_cpp.llama_vocab_n_tokens(vocab)
    ids = np.arange(size)
    control = np.array([llama_cpp.llama_vocab_is_control(vocab, i) or llama_cpp.llama_vocab_is_eog(vocab, i) for i in range(size)])
    eog = np.array([llama_cpp.llama_vocab_is_eog(vocab, i) for i in range(size)])
    buffer = ctypes.create_string_buffer(1024)
    pieces = [buffer.raw[:llama_cpp.llama_token_to_piece(vocab, i, buffer, 1024, 0, False)] for i in range(size)]
    data = (llama_cpp.llama_token_data * size)()
    rng = random.Random(options.seed)
    steps = differences = 0
    for grammar, _, good in make.GRAMMARS:
        driver = Driver(options.driver, "gbnf", grammar, options.model)
        for walk in range(options.count):
            sampler = llama_cpp.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
            if not sampler:
                print(f"llama.cpp refuses {grammar}")
                break
            driver.ask("begin")
            target = rng.choice(good).encode()  # followed half of the time, so that walks get somewhere
            for _ in range(12):
                array = np.ctypeslib.as_array(data)
                array["id"], array["logit"], array["p"] = ids, 0, 0
                candidates = llama_cpp.llama_token_data_array(data, size, -1, False)
                llama_cpp.llama_sampler_apply(sampler, ctypes.byref(candidates))
                allowed = array["logit"] == 0
                have = [int(i) for i in driver.ask("mask").split()]
                # U+100000 and above: llama.cpp lets no token end behind their first byte
                want = set(ids[allowed & ~control].tolist()) | {i for i in have if i >= 0 and pieces[i] == b"\xf4"}
                end = bool((allowed & eog).any())
                steps += 1
                if set(have) - {-1} != want or (-1 in have) != end:
                    differences += 1
                    only = [pieces[i] for i in sorted((set(have) - {-1}) ^ want)[:5]]
                    print(f"{grammar!r}: differ in {only}, end {-1 in have} {end}")
                    break
                whole = [i for i in want if is_text(pieces[i])]  # inside a character llama.cpp lets malformed ones go on, and the text end
                follow = [i for i in whole if target.startswith(pieces[i])]
                pick = max(follow, key=lambda i: len(pieces[i])) if follow and rng.random() < 0.5 else rng.choice(sorted(whole)) if whole else None
                if pick is None:
                    break
                target = target[len(pieces[pick]):] if pick in follow else b""
                llama_cpp.llama_sampler_accept(sampler, pick)
                assert driver.ask(f"accept {pick}") == "ok"
            llama_cpp.llama_sampler_free(sampler)
        driver.close()
    print(f"llama: {steps} steps, {differences} differences")
    return differences


def compare_schema(options):
    total = differences = 0
    for schema, _, _ in make.SCHEMAS:
        driver = Driver(options.driver, "schema", json.dumps(schema), options.model)
        validator = make.jsonschema.Draft202012Validator(schema, format_checker=make.jsonschema.Draft202012Validator.FORMAT_CHECKER)
        line, count = driver.ask(f"walk {options.seed} {options.count}"), 0
        while line != "end":
            text = bytes.fromhex(line).decode()
            total, count = total + 1, count + 1
            if not validator.is_valid(json.loads(text)):
                differences += 1
                print(f"{json.dumps(schema)}: {text} is not valid")
            line = driver.process.stdout.readline().rstrip("\n")
        if not count:
            print(f"{json.dumps(schema)}: no text")
            differences += 1
        driver.close()
    print(f"schema: {total} texts, {differences} differences")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--driver", default="build/grammar_driver")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("kinds", nargs="*", default=["llama", "schema"])
    options = parser.parse_args()
    sys.exit(sum({"llama": compare_llama, "schema": compare_schema}[k](options) for k in options.kinds) > 0)


if __name__ == "__main__":
    main()
