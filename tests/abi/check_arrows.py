#!/usr/bin/env python3
"""The folders of src/ are levels, and arrows point down only: a file includes headers of its own folder and of folders below.

    python3 tests/abi/check_arrows.py

Read from the #include lines. Also: the command sees nothing but include/, file names are unique, each src/*/x.c has its
x.h, each outside library's header is included in one file, public headers include none of ours. SPDX-License-Identifier: MIT
"""
import os
import re
import sys

# From the bottom up; folders of one level do not see each other.
LEVELS = [
    ["base"],
    ["tensor"],
    ["kernels"],
    ["formats"],
    ["tokenizer", "image", "audio", "graph"],
    ["video"],
    ["blocks"],
    ["models"],
    ["compress", "sampler", "parallel"],
    ["train"],
    ["api"],
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}

# Outside libraries stay behind one file each of the library; the command uses them as any application does.
ONE_FILE = ["cblas.h", "jpeglib.h", "sndfile.h", "cJSON.h", "pcre2.h"]
ONE_FOLDER = {"utf8proc.h": "tokenizer",  # tables of characters, which several steps of tokenizing look up
              "png.h": "image"}  # a reader and a writer

NO_HEADER = {"cli", "api", "kernels"}  # programs, functions of include/, and versions of what kernels.h declares

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def sources(top):
    for folder, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(files):
            if name.endswith((".c", ".h")):
                yield os.path.join(folder, name)


def main():
    problems = []
    where = {}  # header or source name -> path
    files = list(sources("src")) + list(sources("include"))
    if not any(f.startswith("src/") for f in files):
        sys.exit("check_arrows: run me from the top of the tree")
    for path in files:
        name = os.path.basename(path)
        if name in where:
            problems.append(f"{path} and {where[name]} have the same name")
        where[name] = path
        parts = path.split("/")
        if parts[0] == "src" and (len(parts) < 3 or parts[1] != "cli" and parts[1] not in LEVEL):
            problems.append(f"{path} is in no folder of the house (tests/abi/check_arrows.py lists them)")

    users = {name: [] for name in ONE_FILE}
    arrows = 0
    for path in files:
        with open(path, encoding="utf-8") as f:
            text = f.read()
        folder = path.split("/")[1] if path.startswith("src/") else "include"
        for quote, target in INCLUDE.findall(text):
            base = os.path.basename(target)
            for name in ONE_FILE:
                if folder != "cli" and (base == name or base == name.lower()):
                    users[name].append(path)
            if base in ONE_FOLDER and folder != ONE_FOLDER[base]:
                problems.append(f"{path} includes {base}, which only src/{ONE_FOLDER[base]} may")
            if quote == "<" and base not in where:
                continue
            if base not in where:
                if base not in ONE_FILE:
                    problems.append(f'{path} includes "{target}", which is nowhere in src/ or include/')
                continue
            if quote == "<" or "/" in target:
                problems.append(f'{path} includes {target}: headers of ours are named alone and in quotes')
            arrows += 1
            to = where[base]
            if to.startswith("include/"):
                continue
            to_folder = to.split("/")[1]
            if folder == "include":
                problems.append(f"{path} includes {to}: public headers see only each other")
            elif to_folder == folder:
                continue
            elif folder == "cli" or to_folder == "cli":
                problems.append(f"{path} includes {to}: the command is a client of include/ alone")
            elif LEVEL.get(to_folder, 0) >= LEVEL.get(folder, 99):
                kind = "sideways" if LEVEL[to_folder] == LEVEL[folder] else "upward"
                problems.append(f"{path} includes {to}: an arrow {kind}")
    for name, paths in users.items():
        if len(paths) > 1:
            problems.append(f"{name} is included in {len(paths)} files: {', '.join(paths)}")

    for path in files:
        parts = path.split("/")
        if path.endswith(".c") and parts[0] == "src" and parts[1] not in NO_HEADER:
            header = path[:-2] + ".h"
            if not os.path.exists(header):
                problems.append(f"{path} has no {os.path.basename(header)} beside it")
            else:
                with open(path, encoding="utf-8") as f:
                    ours = [t for q, t in INCLUDE.findall(f.read()) if q == '"']
                if not ours or ours[0] != os.path.basename(header):
                    problems.append(f"{path} does not include its own {os.path.basename(header)} first")

    for line in problems:
        print("  " + line)
    if problems:
        sys.exit(f"check_arrows: {len(problems)} broken")
    print(f"check_arrows: {arrows} includes of {len(files)} files point down")


if __name__ == "__main__":
    main()
