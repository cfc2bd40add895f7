"""The prototypes and constants of the Python package against the text of include/. SPDX-License-Identifier: MIT"""
import ctypes
import glob
import importlib.util
import re
import unittest

if importlib.util.find_spec("numpy") is None:
    raise unittest.SkipTest("numpy is missing: `make deps` installs it")

import libmm
from libmm import _library

TEXT = ""
for path in sorted(glob.glob("include/mm_*.h")):
    with open(path, encoding="utf-8") as f:
        TEXT += f.read()
TEXT = re.sub(r"/\*.*?\*/", "", TEXT, flags=re.S)
TEXT = "\n".join(line for line in TEXT.split("\n") if not line.lstrip().startswith("#"))


def split_arguments(text):
    """The arguments of a C declaration; a comma inside brackets is none between arguments."""
    out, depth = [""], 0
    for c in text:
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            out.append("")
        else:
            out[-1] += c
    return [] if text.strip() == "void" else [a.strip() for a in out]


def kind_of_c(declaration):
    if "(*" in declaration or re.search(r"\bmm_\w+_fn\b", declaration):
        return "function"
    if "*" in declaration:
        return "pointer"
    name = re.sub(r"\bconst\b", "", declaration).split()[0]
    return {"int32_t": "i32", "mm_status": "i32", "int64_t": "i64", "size_t": "size", "double": "f64", "void": "none"}[name]


def kind_of_ctypes(t):
    if t is None:
        return "none"
    if issubclass(t, ctypes._CFuncPtr):
        return "function"
    if issubclass(t, (ctypes._Pointer, ctypes.c_void_p, ctypes.c_char_p)):
        return "pointer"
    # c_size_t is another type's name: tell by the type it is
    return {ctypes.c_int32: "i32", ctypes.c_size_t: "size", ctypes.c_int64: "i64", ctypes.c_double: "f64"}[t]


class Prototypes(unittest.TestCase):
    def test_every_declaration(self):
        found = {}
        for result, name, rest in re.findall(r"MM_API\s+([\w\s*]*?)\b(mm_\w+)\s*\((.*?)\)\s*;", TEXT, flags=re.S):
            found[name] = (kind_of_c(result + " "), [kind_of_c(a) for a in split_arguments(rest)])
        self.assertGreater(len(found), 80)
        ours = {name: (kind_of_ctypes(result), [kind_of_ctypes(a) for a in arguments])
                for name, (result, arguments) in _library.PROTOTYPES.items()}
        self.assertEqual(ours, found)

    def test_constants(self):
        values = {}
        for body in re.findall(r"enum\s*\{(.*?)\}", TEXT, flags=re.S):
            for name, value in re.findall(r"(MM_\w+)\s*=\s*([^,]+)", body):
                values[name] = eval(value)  # our own headers: numbers and shifts
        self.assertGreater(len(values), 90)
        ours = dict(_library.STATUS)
        ours.update({n: v for n, v in vars(_library).items() if n.startswith("MM_")})
        for name, value in ours.items():
            self.assertEqual(value, values[name], name)
        for name in values:  # those that the package must know whole
            if re.match(r"MM_(E|OK|CONTEXT|CPU|LOG|TOKENS?|MODEL|SESSION|STOP|WHEN)\b|MM_(E|CONTEXT|MODEL|SESSION|STOP)_", name):
                self.assertIn(name, ours)

    def test_status_names(self):
        for name, value in _library.STATUS.items():
            self.assertEqual(_library.lib.mm_status_name(value).decode(), name)

    def test_version(self):
        self.assertRegex(libmm.__version__, r"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main()
