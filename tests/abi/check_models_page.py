#!/usr/bin/env python3
"""docs/models.md names every class and GGUF architecture that src/models opens, and no class that it does not.

    python3 tests/abi/check_models_page.py

SPDX-License-Identifier: MIT
"""
import glob
import re
import sys

source = "\n".join(open(path, encoding="utf-8").read() for path in sorted(glob.glob("src/models/*.c")))
page = open("docs/models.md", encoding="utf-8").read()
table = "\n".join(line for line in page.split("## Files")[0].split("\n") if line.startswith("|"))

lists = re.findall(r"\b\w*classes\d*\[\] = \{([^}]*)\}", source)
classes = {name for text in lists for name in re.findall(r'"(\w+)"', text)}
formats = set(re.findall(r'\.gguf = "(\w+)"', source))
first = re.findall(r"^\| ([^|]*) \|", table, re.M)
named = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
wrong = [f"{name}: src/models opens it, docs/models.md has no row" for name in sorted((classes | formats) - named)]
wrong += [f"{name}: docs/models.md has a row, src/models does not open it" for name in sorted(named - classes - formats)
          if re.search(r"Model|For[A-Z]|Transformer", name)]
if not classes or not named:
    wrong.append("no classes were found")
print("\n".join(wrong) or f"check_models_page: {len(classes)} classes, {len(formats)} GGUF architectures")
sys.exit(bool(wrong))
