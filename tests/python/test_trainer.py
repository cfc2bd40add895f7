"""Training through Python. That it trains right is tested in C (tests/unit/test_trainer.c). SPDX-License-Identifier: MIT"""
import importlib.util
import json
import math
import pathlib
import tempfile
import unittest

if importlib.util.find_spec("numpy") is None:
    raise unittest.SkipTest("numpy is missing: `make deps` installs it")

import numpy as np

import libmm

WORDS = pathlib.Path("tests/golden/models/llama_words").resolve()
TEXTS = ["the one in the", "an ant on the stone", "there!", "a rest in an inn", "on and on", "the rest"]


class Training(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        (self.folder / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))

    def tearDown(self):
        self._folder.cleanup()

    def config(self, output="run", **more):
        path = self.folder / f"{output}.json"
        data = {"train": "texts.jsonl", "validation": "texts.jsonl"}
        path.write_text(json.dumps({"output": output, "steps": 8, "batch_size": 3, "model": {"from": str(WORDS)},
                                    "tasks": [{"objective": "causal_lm", "data": data}], **more}))
        return path

    def test_run(self):
        trainer = libmm.Trainer(self.config())
        self.assertEqual((trainer.step, trainer.steps, trainer.skipped), (0, 8, 0))
        self.assertTrue(math.isnan(trainer.loss))
        self.assertGreater(trainer.parameters, 1000)
        self.assertEqual(trainer.output, str(self.folder / "run"))
        before = trainer.evaluate()["causal_lm"]
        model = trainer.model
        ids = {"input_ids": np.array([[0, 36, 37]], np.int32)}
        first = model.forward(ids)["logits"]
        seen = []
        trainer.run(lambda t: seen.append((t.step, t.loss, t.gradient_norm, t.learning_rate, t.samples_per_second)) or t.step == 5)
        self.assertEqual([s[0] for s in seen], [1, 2, 3, 4, 5])
        self.assertTrue(all(math.isfinite(x) and x > 0 for s in seen for x in s))
        trainer.run()
        self.assertEqual(trainer.step, 8)
        after = trainer.evaluate()["causal_lm"]
        self.assertLess(after["loss"], before["loss"])
        self.assertAlmostEqual(after["perplexity"], math.exp(after["loss"]), places=3)
        self.assertEqual(after["samples"], len(TEXTS))
        self.assertGreater(np.abs(model.forward(ids)["logits"] - first).max(), 1e-3)
        saved = libmm.open(trainer.output)
        self.assertAlmostEqual(libmm.evaluate(saved, self.config())["causal_lm"]["loss"], after["loss"], places=2)
        del trainer
        self.assertTrue(model.generate("the", max_tokens=2))  # outlives the trainer

    def test_resume(self):
        whole, parts = libmm.Trainer(self.config("whole")), libmm.Trainer(self.config("parts"))
        whole.run()
        parts.run(steps=3)
        parts.checkpoint()
        parts.run(steps=1)
        parts = libmm.Trainer(self.config("parts"))
        parts.resume()
        self.assertEqual(parts.step, 3)
        parts.run()
        a, b = (libmm.read_safetensors(self.folder / n / "checkpoint-00000008.safetensors") for n in ("whole", "parts"))
        self.assertEqual(a.keys(), b.keys())
        for name in a:
            self.assertTrue(np.array_equal(a[name], b[name]), name)
        parts.save(self.folder / "elsewhere")
        self.assertTrue((self.folder / "elsewhere/model.safetensors").exists())

    def test_failures(self):
        with self.assertRaises(libmm.Error) as e:
            libmm.Trainer(self.config(stpes=3))
        self.assertEqual(e.exception.name, "MM_E_FORMAT")
        self.assertIn("stpes", str(e.exception))
        trainer = libmm.Trainer(self.config())
        with self.assertRaises(libmm.Error) as e:
            trainer.resume()
        self.assertEqual(e.exception.name, "MM_E_NOT_FOUND")

        def fails(t):
            raise KeyError("mine")

        with self.assertRaises(KeyError):
            trainer.run(fails)
        self.assertEqual(trainer.step, 1)
        trainer.run(steps=1)
        self.assertEqual(trainer.step, 2)


if __name__ == "__main__":
    unittest.main()
