"""The models of the demos, where `make models` has fetched them: answers that were read, not computed, and meanings that a
person would order the same way. Skipped without the files. SPDX-License-Identifier: MIT"""
import importlib.util
import os
import pathlib
import unittest

if importlib.util.find_spec("numpy") is None:
    raise unittest.SkipTest("numpy is missing: `make deps` installs it")

import numpy as np

import libmm

CACHE = pathlib.Path(os.environ.get("MM_CACHE") or pathlib.Path.home() / ".cache" / "libmm")


def model_or_skip(name):
    if not (CACHE / name).exists():
        raise unittest.SkipTest(f"{CACHE / name} is not there: `make models` fetches it")
    return libmm.open(CACHE / name)


class SmolLM2(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = model_or_skip("smollm2-135m-instruct-q4_1.gguf")

    def test_facts(self):
        info = self.model.info
        self.assertEqual((info.architecture, info.format, info.layers, info.vocabulary), ("llama", "gguf", 30, 49152))
        self.assertEqual(info.parameters, 134515008)

    def test_writes(self):
        self.assertTrue(self.model.generate("The capital of France is", raw=True, max_tokens=4).read().startswith(" Paris"))
        self.assertIn("gravity", self.model.generate("What is gravity?", max_tokens=24).read().lower())

    def test_chat_ids(self):
        ids = self.model.tokenizer.encode(self.model.apply_chat_template([("user", "Hi")]), add_special=False)
        self.assertEqual(ids[:2], [1, 9690])  # <|im_start|>, system
        self.assertEqual(self.model.tokenizer.token(ids[0]), "<|im_start|>")

    def test_left_early_goes_on(self):
        session = self.model.session(max_tokens=30).append("Once upon a time")
        whole = session.fork().generate().read()
        stream, got = session.generate(), ""
        while len(got) < 10:
            got += next(stream)
        stream.close()
        self.assertEqual(got + session.generate().read()[:len(whole) - len(got)], whole)


class MiniLM(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = model_or_skip("minilm")

    def test_ranks_by_meaning(self):
        vectors = self.model.embed(["How do I bake bread?", "Mix flour, water and yeast, and put it into the oven.",
                                    "The train to Berlin leaves at noon.", "A loaf needs an hour in the heat."])
        self.assertEqual(vectors.shape, (4, 384))
        scores = vectors[1:] @ vectors[0]
        self.assertEqual(int(np.argmin(scores)), 1)
        self.assertEqual(int(np.argmax(scores)), 0)

    def test_long_texts_are_cut(self):
        words = "word " * 2000
        np.testing.assert_array_equal(self.model.embed(words), self.model.embed(words + "and more"))


class Dinov2(unittest.TestCase):
    def test_pictures(self):
        model = model_or_skip("dinov2-small")
        folder = pathlib.Path("examples/images")
        names = ["circles-red.png", "circles-green.png", "stripes-blue.png"]
        vectors = model.embed([folder / n for n in names])
        self.assertEqual(vectors.shape, (3, 384))
        alike = vectors @ vectors.T
        self.assertGreater(alike[0, 1], alike[0, 2])
        self.assertGreater(alike[0, 1], alike[1, 2])


if __name__ == "__main__":
    unittest.main()
