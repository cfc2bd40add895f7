"""Models through Python, against what transformers gave (tests/golden/models). SPDX-License-Identifier: MIT"""
import gc
import importlib.util
import json
import pathlib
import shutil
import tempfile
import unittest

if importlib.util.find_spec("numpy") is None:
    raise unittest.SkipTest("numpy is missing: `make deps` installs it")

import numpy as np

import libmm

MODELS = pathlib.Path("tests/golden/models")
PICTURES = pathlib.Path("tests/golden/images")


class Forward(unittest.TestCase):
    def check(self, name, case):
        """The documented bound for f32 weights: 1e-4 of the largest value."""
        inputs = libmm.read_safetensors(MODELS / name / f"{case}.in.safetensors")
        want = libmm.read_safetensors(MODELS / name / f"{case}.out.safetensors")
        got = libmm.open(MODELS / name).forward(inputs)
        for key, w in want.items():
            self.assertEqual(got[key].shape, w.shape, key)
            self.assertLessEqual(np.abs(got[key] - w).max(), 1e-4 * np.abs(w).max(), key)

    def test_adapter(self):
        adapters = pathlib.Path("tests/golden/adapters")
        base = libmm.open(MODELS / "llama_gqa")
        inputs = libmm.read_safetensors(adapters / "llama/in.safetensors")
        want = libmm.read_safetensors(adapters / "llama/out.safetensors")["logits"]
        adapted = base.adapt(adapters / "llama")
        self.assertEqual((base.info.adapter, adapted.info.adapter), (None, "LoRA of 11 matrices, rank 3, alpha 6"))
        with tempfile.TemporaryDirectory() as folder:
            adapted.save_adapter(folder)
            for model in (adapted, adapted.merge_adapter(), base.adapt(folder)):
                self.assertLessEqual(np.abs(model.forward(inputs)["logits"] - want).max(), 1e-4 * np.abs(want).max())
        nothing = base.adapt(adapters / "llama", scale=0)
        self.assertLessEqual(np.abs(nothing.forward(inputs)["logits"] - base.forward(inputs)["logits"]).max(), 1e-5 * np.abs(want).max())
        with self.assertRaises(libmm.Error):
            base.merge_adapter()

    def test_llama(self):
        self.check("llama_gqa", "len7")

    def test_bert(self):
        self.check("bert", "pad_right")

    def test_vit(self):
        self.check("vit_class", "b2_40x16")

    def test_dinov2(self):
        self.check("dinov2", "b2_28x42")

    def test_create_and_save(self):
        config = {"architectures": ["ViTForImageClassification"], "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                  "intermediate_size": 32, "image_size": 16, "patch_size": 8, "num_labels": 3, "initializer_range": 0.5, "dtype": "float32"}
        pixels = {"pixel_values": np.linspace(-1, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)}
        model = libmm.Model.create(config, seed=4)
        self.assertEqual(model.info.format, "created")
        want = model.forward(pixels)["logits"]
        np.testing.assert_array_equal(want, libmm.Model.create(json.dumps(config), 4).forward(pixels)["logits"])
        self.assertGreater(np.abs(want - libmm.Model.create(config, 5).forward(pixels)["logits"]).max(), 1e-3)
        with tempfile.TemporaryDirectory() as folder:
            model.save(folder)
            got = libmm.open(folder).forward(pixels)["logits"]
            self.assertLessEqual(np.abs(got - want).max(), 1e-5 * np.abs(want).max())
            model.save(pathlib.Path(folder), "BF16")
            self.assertEqual(json.loads((pathlib.Path(folder) / "config.json").read_text())["dtype"], "bfloat16")
            with self.assertRaises(ValueError):
                model.save(folder, "Q4_0")
        with self.assertRaises(libmm.Error):
            libmm.Model.create({})
        with self.assertRaises(ValueError):
            libmm.Model.create(config, seed=2**63)

    def test_lists_are_inputs(self):
        model = libmm.open(MODELS / "llama_gqa")
        a = model.forward({"input_ids": [[1, 2, 3]]})
        b = model.forward({"input_ids": np.array([[1, 2, 3]], np.int32), "attention_mask": np.ones((1, 3), bool)})
        np.testing.assert_array_equal(a["logits"], b["logits"])

    def test_refused(self):
        model = libmm.open(MODELS / "llama_gqa")
        for inputs, name in (({}, "MM_E_ARGUMENT"), ({"input_ids": [[1]], "nonsense": [1]}, "MM_E_ARGUMENT"),
                             ({"input_ids": [[10**6]]}, "MM_E_ARGUMENT"), ({"input_ids": [[-1]]}, "MM_E_ARGUMENT")):
            with self.assertRaises(libmm.Error) as e:
                model.forward(inputs)
            self.assertEqual(e.exception.name, name)
        self.assertIn("logits", model.forward({"input_ids": [[1]]}))  # and still works


class Facts(unittest.TestCase):
    def test_llama(self):
        info = libmm.open(MODELS / "llama_words").info
        self.assertEqual((info.architecture, info.class_name, info.format), ("llama", "LlamaForCausalLM", "safetensors"))
        self.assertEqual((info.layers, info.hidden_size, info.vocabulary, info.context), (2, 32, 45, 128))
        self.assertTrue(info.generates)
        self.assertFalse(info.sees)
        self.assertIsNone(info.image_size)

    def test_vit(self):
        info = libmm.open(MODELS / "vit_class").info
        self.assertEqual(info.labels, ("tabby cat", "grüner Baum", '"quoted"', "d", "e"))
        self.assertEqual(info.image_size, (32, 32))
        self.assertFalse(info.generates)

    def test_missing(self):
        with self.assertRaises(libmm.Error) as e:
            libmm.open(MODELS / "no_such_model")
        self.assertEqual(e.exception.name, "MM_E_NOT_FOUND")
        self.assertIn("no_such_model", str(e.exception))


class Pictures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:  # the model, and how its pictures are prepared
            for name in ("config.json", "model.safetensors"):
                shutil.copy(MODELS / "vit_class" / name, folder)
            with open(pathlib.Path(folder) / "preprocessor_config.json", "w", encoding="utf-8") as f:
                json.dump({"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}, f)
            cls.model = libmm.open(folder)

    def setUp(self):
        self.picture = np.random.default_rng(1).integers(0, 256, (48, 40, 3), dtype=np.uint8)

    def test_classify_is_softmax_of_logits(self):
        pixels = self.model.preprocess(self.picture)["pixel_values"]
        self.assertEqual((pixels.dtype, pixels.shape[:2]), (np.dtype(np.float32), (1, 3)))
        logits = self.model.forward({"pixel_values": pixels})["logits"][0].astype(np.float64)
        p = np.exp(logits - logits.max())
        p /= p.sum()
        got = self.model.classify(self.picture)
        self.assertEqual([label for label, _ in got], [self.model.info.labels[i] for i in np.argsort(-p)])
        np.testing.assert_allclose([v for _, v in got], np.sort(p)[::-1], rtol=1e-5)
        self.assertEqual(self.model.classify(self.picture, top=2), got[:2])

    def test_where_it_looks(self):
        light = np.zeros((32, 32, 3), np.uint8)
        light[20:24, 4:8] = 255
        looks = libmm.open("tests/golden/explanations/spotlight").explain(light)
        self.assertEqual((looks.dtype, looks.shape, int(looks.argmax())), (np.dtype(np.float32), (8, 8), 5 * 8 + 1))
        self.assertAlmostEqual(float(looks.sum()), 1, places=5)
        picture = libmm.Image("examples/images/house.png")
        session = libmm.open("tests/golden/pipelines/llava").session(max_tokens=3).append(picture).append("what")
        first = len(session)
        session.generate().read()
        looks = session.explain(picture, first)
        self.assertEqual(looks.shape, (4, 4))
        self.assertAlmostEqual(float(looks.sum()), 1, places=5)
        with self.assertRaises(libmm.Error):
            session.explain(libmm.Image(light), first)

    def test_pictures_saved(self):
        with tempfile.TemporaryDirectory() as folder:
            libmm.Image(self.picture).save_png(folder + "/a.png")
            np.testing.assert_array_equal(libmm.Image(folder + "/a.png").pixels, self.picture)

    def test_labels_of_the_caller(self):
        clip = libmm.open(MODELS / "clip")
        labels = ["cat", "green tree", "red hat"]
        got = dict(clip.classify(self.picture, labels=labels, template="a {}"))
        picture = clip.embed(self.picture).astype(np.float64)
        words = clip.embed(["a " + label for label in labels]).astype(np.float64)
        scores = np.exp(1.3) * words @ picture  # logit_scale of the checkpoint
        p = np.exp(scores - scores.max())
        np.testing.assert_allclose([got[label] for label in labels], p / p.sum(), rtol=1e-4)
        with self.assertRaises(libmm.Error) as e:
            clip.classify(self.picture)
        self.assertEqual(e.exception.name, "MM_E_UNSUPPORTED")

    def test_embed(self):
        one = self.model.embed(self.picture)
        both = self.model.embed([self.picture, libmm.Image(self.picture[::-1])])
        self.assertEqual(both.shape, (2, 32))
        np.testing.assert_array_equal(both[0], one)
        np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, rtol=1e-5)
        plain = self.model.embed(self.picture, normalize=False)
        np.testing.assert_allclose(plain / np.linalg.norm(plain), one, rtol=1e-5, atol=1e-7)

    def test_sources_are_equal(self):
        path = PICTURES / "png_rgb16_gamma.png"
        image = libmm.Image(path)
        self.assertEqual(image.pixels.shape, (image.height, image.width, 3))
        for other in (libmm.Image(str(path)), libmm.Image(path.read_bytes()), libmm.Image(image.pixels)):
            np.testing.assert_array_equal(other.pixels, image.pixels)

    def test_refused(self):
        for bad in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)):
            with self.assertRaises(ValueError):
                libmm.Image(bad)
        for bad in (b"", b"not a picture at all"):
            with self.assertRaises(libmm.Error):
                libmm.Image(bad)
        with self.assertRaises(libmm.Error) as e:
            libmm.Image(PICTURES / "png_wide.png", max_pixels=1)
        self.assertEqual(e.exception.name, "MM_E_LIMIT")
        with self.assertRaises(libmm.Error) as e:
            libmm.open(MODELS / "llama_words").embed(self.picture)
        self.assertEqual(e.exception.name, "MM_E_UNSUPPORTED")
        with self.assertRaises(TypeError):
            self.model.embed(["a text", self.picture])


class Texts(unittest.TestCase):
    def test_rows_do_not_hang_together(self):
        model = libmm.open(MODELS / "llama_words")
        texts = ["hello world", "hello"]
        together = model.embed(texts)
        self.assertEqual(together.shape, (2, 32))
        for row, text in zip(together, texts):
            np.testing.assert_array_equal(row, model.embed(text))
        self.assertEqual(model.embed([]).shape, (0, 32))
        with self.assertRaises(ValueError):
            model.embed("cut\0short")

    def test_mean_of_hidden_states(self):
        model = libmm.open(MODELS / "llama_words")
        ids = model.tokenizer.encode("hello world")
        states = model.forward({"input_ids": [ids]})["last_hidden_state"][0]
        np.testing.assert_allclose(model.embed("hello world", normalize=False), states.mean(0), rtol=1e-4, atol=1e-5)


class Lifetimes(unittest.TestCase):
    def test_parts_outlive_the_model(self):
        model = libmm.open(MODELS / "llama_words")
        tokenizer, session = model.tokenizer, model.session(max_tokens=3)
        states = model.forward({"input_ids": [[3]]})["last_hidden_state"]
        copy = states.copy()
        del model
        gc.collect()
        np.testing.assert_array_equal(states, copy)
        self.assertEqual(tokenizer.decode(tokenizer.encode("hello")), "<s>hello")
        self.assertIsInstance(session.append("hello").generate().read(), str)

    def test_memory_comes_back(self):
        context = libmm.Context()
        before = context.memory_used
        model = libmm.open(MODELS / "llama_words", context)
        sessions = [model.session().append("hello") for _ in range(3)]
        sessions[0].logits()
        model.embed(["a", "b"])
        self.assertGreater(context.memory_used, before)
        del model, sessions
        gc.collect()
        # What the context keeps for itself: threads and kernels.
        rest = context.memory_used
        model = libmm.open(MODELS / "llama_words", context)
        model.session().append("hello").logits()
        del model
        gc.collect()
        self.assertEqual(context.memory_used, rest)

    def test_memory_limit(self):
        with self.assertRaises(libmm.Error) as e:
            libmm.open(MODELS / "llama_gqa", memory_limit=2000)
        self.assertEqual(e.exception.name, "MM_E_NOMEM")


if __name__ == "__main__":
    unittest.main()
