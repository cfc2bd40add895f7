#!/usr/bin/env python3
"""Writes tests/golden/grammars/: grammars and JSON schemas with texts that follow them and texts that do not.

The verdicts are not libmm's: for grammars they come from Python's `re` and `json` and a few lines of counting here; for schemas from
jsonschema (with its format checks) on what json.loads reads. Texts are made by changing a character here and there in good ones.
Needs jsonschema and rfc3339-validator: python3 tests/golden/make_grammars.py
SPDX-License-Identifier: MIT
"""
import json
import pathlib
import random
import re

import jsonschema

OUT = pathlib.Path(__file__).parent / "grammars"
rng = random.Random(7)


def balanced(text):
    n = len(text) // 2
    return text == "a" * n + "b" * n


def is_json(text):
    def refuse(word):
        raise ValueError(word)
    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return text == text.strip()


def sums(text):
    """Digits joined by + and * and parentheses, as `eval` takes them."""
    if not re.fullmatch(r"[0-9+*()]*", text) or re.search(r"[0-9]{2}|\)\(|[0-9]\(|\)[0-9]|(^|[+*(])[+*]|\(\)", text):
        return False
    try:
        eval(text, {})  # of the characters above alone
    except (SyntaxError, TypeError):
        return False
    return True


# grammar, a regular expression or a function that says the same, some texts that follow it
GRAMMARS = [
    (r'root ::= "yes" | "no"', r"yes|no", ["yes", "no"]),
    (r'root ::= [a-c]+ ("-" [0-9]{2})?', r"[a-c]+(-[0-9]{2})?", ["abc", "a-12"]),
    (r'root ::= [^a-y\n]*', r"[^a-y\n]*", ["", "zZ€", "💡z"]),
    (r'root ::= "a"{2,4} "b"{0,}', r"a{2,4}b*", ["aa", "aaaabb"]),
    (r'root ::= "x"{3} | "y"{2,} | "z"{0} "w"', r"x{3}|y{2,}|w", ["xxx", "yyy", "w"]),
    (r'root ::= ("ab" | "a" "c"?)* # ambiguous', r"(ab|ac?)*", ["", "abaca", "aaab"]),
    ('root ::= item ("," ws item)*\nitem ::= [a-z_]\\\n'.replace("\\\n", "[a-z0-9_]*\n") + 'ws ::= " "?\n', r"[a-z_][a-z0-9_]*(, ?[a-z_][a-z0-9_]*)*", ["a", "ab, c1,_"]),
    (r'root ::= "\x41\u00e9\U0001F4A1" "\t\n\r\\\"" [\]\[\\]', 'A\u00e9\U0001F4A1\t\n\r\\\\"[\\]\\[\\\\]', ["A\u00e9\U0001F4A1\t\n\r\\\"]"]),
    (r'root ::= . . "."', r"(?s)..\.", ["ab.", "€\n.", "💡💡."]),
    ('# comment\nroot ::= (  # in the middle\n  "a" |\n\n  b\n)+ "c"\r\nb ::=\n  "b" # end', r"[ab]+c", ["abc", "bbc"]),
    (r'root ::= [à-ü€-₿x]{1,3}', "[à-ü€-₿x]{1,3}", ["é", "x€ü"]),
    (r'root ::= [^\x00-\x7F]?' + ' "-" [-a] [a-]', "[^\x00-\x7F]?-[-a][a-]", ["é--a", "-aa"]),
    (r'root ::= ("a"* "b"*)* | ""+ "c"', r"(a|b)*|c", ["", "abba", "c"]),
    (r'root ::= ("a"?){12} "a"{12}', r"a{12,24}", ["a" * 12, "a" * 24]),
    (r'root ::= (("a" | "b"){2}){1,2}', r"([ab]{2}){1,2}", ["ab", "abba"]),
    ('root ::= "a" root "b" | ""', balanced, ["", "ab", "aaabbb"]),
    ('root ::= term ("+" term)*\nterm ::= factor ("*" factor)*\nfactor ::= [0-9] | "(" root ")"', sums, ["1", "1+2*3", "(1+2)*((3))"]),
    ('root ::= value\nvalue ::= object | array | string | number | "true" | "false" | "null"\n'
     'object ::= "{" ws (string ws ":" ws value ws ("," ws string ws ":" ws value ws)*)? "}"\n'
     'array ::= "[" ws (value ws ("," ws value ws)*)? "]"\n'
     'string ::= "\\"" ([^"\\\\\\x00-\\x1F] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\\""\n'
     'number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)?\nws ::= [ \\t\\n\\r]*', is_json,
     ['{"a" : [1, -2.5e+3, {}], "b\\n\\u00e9": "€"}', '[[], [true,null] ]', "0.5", '"\\""']),
]

ADDRESS = {"type": "object", "properties": {"street": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]{5}(-[0-9]{4})?$"}},
           "required": ["zip"], "additionalProperties": False}
TREE = {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
    "value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "required": ["value"], "additionalProperties": False}}}
# schema, values that follow it in the order in which we write, texts of other values
SCHEMAS = [
    ({}, [1, "a", None, [1, {"b": True}], {"a": {}}], []),
    (True, [0, {}], []),
    ({"type": "object"}, [{}, {"x": [1]}], [1, "a"]),
    ({"type": "boolean"}, [True, False], [0, "true"]),
    ({"type": ["string", "null"], "maxLength": 2}, ["", "é€", None], ["abc", 1]),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "\n\"\\", "€💡x"], ["a", "abcd", 12]),
    ({"type": "integer", "minimum": -13, "maximum": 1207}, [-13, -9, 0, 7, 99, 100, 1000, 1199, 1207], [-14, 1208, 2000, 1.5, "1"]),
    ({"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 102}, [100, 101], [99, 102, 10, 1000]),
    ({"type": "integer", "minimum": 5.5}, [6, 10, 12345], [5, 0, -6]),
    ({"type": "integer", "maximum": -1}, [-1, -10, -123], [0, 1]),
    ({"minimum": 3, "maximum": 3}, [3], [2, 4, 33]),
    ({"type": "number"}, [0, -1.5, 2e10, 0.25], ["0", None]),
    ({"enum": ["a", 1, None, [1, {"x": "y\"z"}], 0.1, True]}, ["a", 1, None, [1, {"x": "y\"z"}], 0.1, True], ["b", 2, 0.2, False]),
    ({"const": {"a": -12, "b": "\u00e4\\"}}, [{"a": -12, "b": "\u00e4\\"}], [{"a": -12}, {"a": -13, "b": "\u00e4\\"}]),
    ({"type": "string", "enum": ["a", "b"], "title": "t"}, ["a", "b"], ["c"]),
    ({"type": "string", "pattern": "^[A-Z]{2}-\\d+(\\.|/)?$"}, ["AB-1", "XY-007.", "QQ-5/"], ["AB-", "aB-1", "AB-1x"]),
    ({"type": "string", "pattern": "^(foo|b[^\\x00-\\x60\"]+)?\\s?\\\\\\u00e9$"}, ["foo\\é", "bcd \\é", "\t\\é", "\\é"], ["b\\é", "foo é"]),
    ({"type": "string", "pattern": "a.c"}, ["abc", "xxa\"cyy", "a\\c"], ["ac", "a\nc"]),
    ({"type": "string", "pattern": "^\\w\\W\\S\\D(?:x{2,3}|y{2}|z{1,})$"}, ["a-b-xx", "_ ;_yy", "0!?azzz"], ["--b-xx", "a-b-x", "a-b0yy"]),
    ({"type": "string", "format": "date"}, ["2024-02-29", "2000-02-29", "1999-12-31", "2023-04-30", "0400-02-29"],
     ["2023-02-29", "1900-02-29", "2023-04-31", "0000-01-01", "2023-00-10", "2023-1-1"]),
    ({"type": "string", "format": "date-time"}, ["2024-02-29T23:59:59Z", "1985-04-12T23:20:50.52+01:30"], ["2024-02-30T00:00:00Z", "2024-02-29T24:00:00Z", "2024-02-29"]),
    ({"type": "string", "format": "time"}, ["00:00:00Z", "23:59:59.5-08:00"], ["24:00:00Z", "23:59"]),
    ({"type": "string", "format": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g"]),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3}, [[1], [1, 2, 3]], [[], [1, 2, 3, 4], ["1"]]),
    ({"type": "array", "items": {"type": "boolean"}}, [[], [True, False, True, True]], [[1], {}]),
    ({"type": "array", "minItems": 2}, [[1, "a"], [None, [], {}]], [[], [1]]),
    ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": {"type": "null"}, "maxItems": 3}, [["a", 1], ["a", 1, None]], [["a", "b"], [1, 1], ["a", 1, 1]]),
    ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "maxItems": 1}, [["a"]], [["a", 1, 2], [1]]),
    (ADDRESS, [{"zip": "12345"}, {"street": "x", "zip": "12345-6789"}], [{"street": "x"}, {"zip": "1234"}, {"zip": "12345", "a": 1}]),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/definitions/s"}, "c\"\\é": {"type": "null"}}, "definitions": {"s": {"type": "string"}}},
     [{}, {"a": 1}, {"b": "x"}, {"a": 1, "c\"\\é": None}, {"a": 1, "b": "", "c\"\\é": None}], [{"a": "x"}, {"b": 1}, {"c\"\\é": 1}]),
    ({"type": "object", "properties": {"ab": {"type": "integer"}, "abc": {"type": "integer"}, "é": {"type": "integer"}}, "required": ["abc"], "additionalProperties": {"type": "string"}},
     [{"abc": 1}, {"ab": 1, "abc": 2, "é": 3, "a": "x", "abcd": "y", "": "z", "ê": "w", "éé": "v"}], [{"ab": 1}, {"abc": "x"}, {"abc": 1, "é": "x"}, {"abc": 1, "q": 2}]),
    ({"type": "object", "required": ["x"]}, [{"x": 1}, {"x": {}, "y": 2}], [{}, {"y": 1}]),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, [{}, {"a": 1, "b": 2}], [{"a": "x"}]),
    (TREE, [{"value": 1}, {"value": 1, "children": [{"value": 2, "children": []}, {"value": 3}]}], [{"children": []}, {"value": 1, "children": [{}]}]),
    ({"anyOf": [{"type": "string", "maxLength": 1}, {"type": "array", "items": {"$ref": "#"}}]}, ["a", [], [["b"], "c"]], ["ab", [1], {}]),
    ({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}, "required": ["kind", "n"]},
                {"type": "object", "properties": {"kind": {"enum": ["b", "c"]}, "s": {"type": "string"}}, "required": ["kind", "s"]}, {"type": "null"}]},
     [{"kind": "a", "n": 1}, {"kind": "c", "s": "x"}, None], [{"kind": "a", "s": "x"}, {"kind": "d", "n": 1}]),
    ({"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}], "$defs": {"base": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}},
      "properties": {"c": {"type": "null"}}}, [{"a": 1, "b": "x"}, {"a": 1, "b": "x", "c": None}], [{"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": "x", "c": 1}]),
    ({"allOf": [{"type": "integer", "minimum": 2}], "description": "d"}, [2, 30], [1, "2"]),
]


def mutated(text, alphabet):
    """The text with a character gone, changed, doubled or added."""
    i = rng.randrange(len(text) + 1)
    kind = rng.randrange(4)
    c = rng.choice(alphabet)
    return [text[:i] + text[i + 1:], text[:i] + c + text[i + 1:], text[:i] + text[i:i + 1] * 2 + text[i + 1:], text[:i] + c + text[i:]][kind]


def verdicts(follows, good, alphabet, count):
    accepted, rejected = dict.fromkeys(good), {}
    assert all(follows(t) for t in good), good
    for _ in range(count):
        text = rng.choice(good)
        for _ in range(rng.randrange(1, 3)):
            text = mutated(text, alphabet)
        (accepted if follows(text) else rejected)[text] = None
    return list(accepted), list(rejected)


def write(name, cases):
    with open(OUT / name, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=True) for c in cases) + "\n]\n")


def main():
    OUT.mkdir(exist_ok=True)
    cases = []
    for grammar, rule, good in GRAMMARS:
        follows = rule if callable(rule) else lambda t, r=rule: re.fullmatch(r, t) is not None
        accepted, rejected = verdicts(follows, good, "".join(good) + "ab1,[ €", 60)
        cases.append({"grammar": grammar, "accepted": accepted, "rejected": rejected})
    write("gbnf.json", cases)

    cases = []
    for schema, good, bad in SCHEMAS:
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)

        def valid(text):
            try:
                return validator.is_valid(json.loads(text))
            except ValueError:
                return False
        texts = []
        for value in good:
            texts.append(json.dumps(value, ensure_ascii=False))
            if schema is True or not ("const" in schema or "enum" in schema):  # of those, one spelling is written
                texts.append(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
        texts = list(dict.fromkeys(texts))
        assert not any(validator.is_valid(v) for v in bad), [v for v in bad if validator.is_valid(v)]
        _, rejected = verdicts(valid, texts, "".join(texts) + "01a\"\\,:[]{}", 50)
        cases.append({"schema": schema, "accepted": texts, "rejected": [json.dumps(v, ensure_ascii=False) for v in bad] + rejected})
    write("schemas.json", cases)


if __name__ == "__main__":
    main()
