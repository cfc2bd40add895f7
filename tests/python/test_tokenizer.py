"""Tokenizers through Python, against the ids that the `tokenizers` package gave. SPDX-License-Identifier: MIT"""
import importlib.util
import os
import tempfile
import unittest

if importlib.util.find_spec("numpy") is None:
    raise unittest.SkipTest("numpy is missing: `make deps` installs it")

import libmm

FOLDER = "tests/golden/tokenizers/"


class Bert(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.t = libmm.Tokenizer(FOLDER + "bert.json")
        cls.begin, cls.end, cls.mask = (cls.t.find(name) for name in ("[CLS]", "[SEP]", "[MASK]"))

    def test_special(self):
        t = self.t
        ids = t.encode("hello")
        self.assertEqual((ids[0], ids[-1]), (self.begin, self.end))
        self.assertEqual(t.encode("hello", add_special=False), ids[1:-1])
        self.assertTrue(t.is_special(self.begin))
        self.assertFalse(t.is_special(ids[1]))
        self.assertIsNone(t.bos)  # a tokenizer.json alone gives no roles
        self.assertIsNone(t.find("no such token, surely"))
        self.assertIn(self.mask, t.encode("a [MASK] b"))
        self.assertNotIn(self.mask, t.encode("a [MASK] b", parse_special=False))

    def test_pair(self):
        t = self.t
        ids, types = t.encode_pair("one", "two")
        a, b = t.encode("one", add_special=False), t.encode("two", add_special=False)
        self.assertEqual(ids, [self.begin, *a, self.end, *b, self.end])
        self.assertEqual(types, [0] * (len(a) + 2) + [1] * (len(b) + 1))

    def test_tokens(self):
        t = self.t
        for i in range(len(t)):
            token = t.token(i)
            if token is not None:
                self.assertEqual(t.find(token), i)
        self.assertIsNone(t.token(len(t)))
        self.assertIsNone(t.token(-1))


class ByteLevel(unittest.TestCase):
    TEXTS = ["", "Hello world", " two  spaces\n\n", "naïve café — 你好 🙂🏽", "a\0b", "e\u0301", "\t\r\n"]

    @classmethod
    def setUpClass(cls):
        cls.t = libmm.Tokenizer(FOLDER + "gpt2.json")

    def test_round_trip(self):
        for text in self.TEXTS:
            self.assertEqual(self.t.decode(self.t.encode(text)), text)

    def test_decoder_gives_whole_characters(self):
        for text in self.TEXTS:
            decoder, out = self.t.decoder(), []
            for i in self.t.encode(text):
                out.append(decoder.push(i))
                out[-1].encode("utf-8")
                self.assertNotIn("\ufffd", out[-1])
            out.append(decoder.finish())
            self.assertEqual("".join(out), text)

    def test_refused(self):
        with self.assertRaises(UnicodeEncodeError):
            self.t.encode("\ud800")
        with self.assertRaises(libmm.Error) as e:
            self.t.decode([-1])
        self.assertEqual(e.exception.name, "MM_E_ARGUMENT")
        with self.assertRaises(ValueError):
            self.t.decode([2**31])
        with self.assertRaises(ValueError):
            self.t.decoder().push(2**40)
        with self.assertRaises(libmm.Error) as e:
            libmm.Tokenizer("tests/golden/no_such_tokenizer.json")
        self.assertEqual(e.exception.name, "MM_E_NOT_FOUND")

    def test_decoder_keeps_its_tokenizer(self):
        decoder = libmm.Tokenizer(FOLDER + "gpt2.json").decoder()
        ids = self.t.encode("still here")
        self.assertEqual("".join(decoder.push(i) for i in ids) + decoder.finish(), "still here")


class Training(unittest.TestCase):
    def test_train(self):
        with tempfile.TemporaryDirectory() as folder:
            for model in ("bpe", "wordpiece", "unigram"):
                trainer = libmm.TokenizerTrainer(model=model, vocab_size=400, lowercase=1, special_tokens=["<pad>"], eos_token="</s>")
                trainer.add("A text, the first one.")
                trainer.add_file("tests/golden/tokenizer_training/corpus.txt")
                t = trainer.train(os.path.join(folder, model))
                opened = libmm.Tokenizer(os.path.join(folder, model))
                text = "the tokenizer reads a text"
                self.assertEqual(t.decode(t.encode(text)), text)
                self.assertEqual(opened.encode(text), t.encode(text))
                self.assertEqual(len(t), 400)
                self.assertEqual(t.token(t.eos), "</s>")
                self.assertEqual(t.find("<pad>"), t.eos - 1)

    def test_refused(self):
        with self.assertRaises(libmm.Error) as e:
            libmm.TokenizerTrainer().train()
        self.assertEqual(e.exception.name, "MM_E_STATE")
        with self.assertRaises(libmm.Error) as e:
            libmm.TokenizerTrainer(vocab_size=0)
        self.assertEqual(e.exception.name, "MM_E_ARGUMENT")
        with self.assertRaises(ValueError):
            libmm.TokenizerTrainer(model="sentencepiece")
        with self.assertRaises(TypeError):
            libmm.TokenizerTrainer(vocabulary=3)


if __name__ == "__main__":
    unittest.main()
