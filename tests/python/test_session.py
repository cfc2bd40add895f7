"""Sessions and streams through Python: greedy ids against transformers, streams that are left early, threads.
SPDX-License-Identifier: MIT"""
import gc
import importlib.util
import pathlib
import subprocess
import sys
import threading
import unittest

if importlib.util.find_spec("numpy") is None:
    raise unittest.SkipTest("numpy is missing: `make deps` installs it")

import numpy as np

import libmm

MODELS = pathlib.Path("tests/golden/models")


class Greedy(unittest.TestCase):
    def check(self, name, case, file=""):
        want = libmm.read_safetensors(MODELS / name / f"{case}.greedy.safetensors")
        prompt, ids = want["prompt_ids"].tolist(), want["generated_ids"].tolist()
        session = libmm.open(MODELS / name / file).session(max_tokens=len(ids)).append(prompt)
        stream = session.generate()
        stream.read()
        self.assertEqual(session.tokens, prompt + ids)
        return stream, ids

    def test_without_a_tokenizer(self):
        stream, ids = self.check("llama_gqa", "short")
        self.assertEqual((stream.reason, stream.ids), ("length", ids))

    def test_quantized(self):
        self.check("gguf_q4_0", "short", "model.gguf")

    def test_end_token(self):
        stream, ids = self.check("llama_words", "end")
        self.assertEqual((stream.reason, stream.ids), ("end", ids[:-1]))


class Sessions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = libmm.open(MODELS / "llama_words")

    def test_logits_are_the_model_s(self):
        session = self.model.session(kv_type="f32").append("hello world")
        want = self.model.forward({"input_ids": [session.tokens]})["logits"][0, -1]
        np.testing.assert_allclose(session.logits(), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())

    def test_rewind_fork_set_tokens(self):
        session = self.model.session(max_tokens=8, temperature=0)
        session.append("hello")
        prompt = session.tokens
        self.assertEqual(prompt[0], self.model.tokenizer.bos)
        self.assertEqual(len(session), len(prompt))
        fork = session.fork()
        text = session.generate().read()
        self.assertEqual(fork.tokens, prompt)
        self.assertEqual(fork.generate().read(), text)
        session.rewind(len(prompt))
        self.assertEqual(session.generate().read(), text)
        session.set_tokens(prompt)
        self.assertEqual(session.generate().read(), text)
        with self.assertRaises(libmm.Error):
            session.rewind(len(session) + 1)
        with self.assertRaises(ValueError):
            session.rewind(-1)

    def test_options(self):
        session = self.model.session()
        for wrong in (dict(temperature=-1), dict(max_tokens=0), dict(context_size=10**9)):
            with self.assertRaises(libmm.Error) as e:
                session.set(**wrong)
            self.assertEqual(e.exception.name, "MM_E_ARGUMENT")
        with self.assertRaises(TypeError):
            session.set(temprature=1)
        with self.assertRaises(ValueError):
            session.set(when_full="wait")
        with self.assertRaises(ValueError):
            session.set(max_tokens=2**64)
        with self.assertRaises(ValueError):
            session.append("cut\0short")
        self.assertEqual(libmm.Session.bounds("top_p")[1], 1)
        self.assertEqual(libmm.Session.bounds("max_tokens")[0], 1)

    def test_seed(self):
        def sample(seed):
            return self.model.session(temperature=5, seed=seed, max_tokens=20).append("hello").generate().read()
        self.assertEqual(sample(1), sample(1))
        self.assertGreater(len({sample(i) for i in range(5)}), 1)

    def test_stop_text(self):
        whole = self.model.session(max_tokens=20).append("hello").generate().read()
        self.assertGreater(len(whole), 4)
        stop = whole[3:5]
        stream = self.model.session(max_tokens=20, stop=["not this", stop]).append("hello").generate()
        self.assertEqual(stream.read(), whole[:whole.index(stop)])
        self.assertEqual(stream.reason, "text")

    def test_constraints(self):
        session = self.model.session(max_tokens=30, grammar='root ::= "then" | "on a stone."').append("hello")
        stream = session.generate()
        self.assertIn(stream.read(), ("then", "on a stone."))
        self.assertEqual(stream.reason, "end")
        self.assertIn(session.fork().generate().read(), ("then", "on a stone."))
        self.assertIn(session.generate(json_schema={"type": ["null", "boolean"]}).read(), ("null", "true", "false"))
        with self.assertRaises(libmm.Error) as e:
            session.set(json_schema={"not": {}})
        self.assertEqual(e.exception.name, "MM_E_UNSUPPORTED")
        with self.assertRaises(libmm.Error) as e:
            session.set(grammar="root ::= x")
        self.assertIn('"x"', str(e.exception))
        free = session.fork().generate(grammar=None).read()
        self.assertNotIn(free, ("null", "true", "false"))

    def test_context_full(self):
        session = self.model.session(context_size=6, max_tokens=100, seed=3, temperature=3).append([3, 4])
        stream = session.generate()
        stream.read()
        self.assertIn(stream.reason, ("full", "end"))
        self.assertLessEqual(len(session), 6)
        with self.assertRaises(libmm.Error) as e:
            session.append([3] * 7)
        self.assertEqual(e.exception.name, "MM_E_CONTEXT_FULL")

    def test_chat(self):
        messages = [{"role": "user", "content": "hello"}, ("assistant", "world"), ("user", "hello")]
        text = self.model.apply_chat_template(messages)
        self.assertEqual(text, "<s>user\nhello\nassistant\nworld\nuser\nhello\nassistant\n")
        self.assertEqual(self.model.apply_chat_template(messages, open_reply=False), text[:-len("assistant\n")])
        # The template has written <s>: it is not added once more.
        ids = self.model.tokenizer.encode(text, add_special=False)
        self.assertEqual(ids.count(self.model.tokenizer.bos), 1)
        want = self.model.session(max_tokens=5).append(ids).generate().read()
        self.assertEqual(self.model.chat(messages, max_tokens=5).read(), want)
        self.assertEqual(self.model.generate("hello", system="world", max_tokens=5).read(),
                         self.model.chat([("system", "world"), ("user", "hello")], max_tokens=5).read())
        self.assertEqual(self.model.generate("hello", raw=True, max_tokens=5).read(),
                         self.model.session(max_tokens=5).append("hello").generate().read())
        with self.assertRaises(ValueError):
            self.model.generate("hello", raw=True, system="world")


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = libmm.open(MODELS / "llama_words")

    def session(self, **options):
        return self.model.session(**{"max_tokens": 40, "temperature": 4.0, "seed": 7, **options}).append("hello")

    def test_pieces_are_the_text(self):
        pieces = list(self.session().generate())
        self.assertGreater(len(pieces), 3)
        self.assertEqual("".join(pieces), self.session().generate().read())

    def test_left_early(self):
        """The session holds what was handed out, and the context is free again."""
        for leave in ("close", "with", "drop", "cycle"):
            session = self.session()
            before = len(session)
            stream = session.generate()
            got = next(stream) + next(stream)
            if leave == "close":
                stream.close()
                self.assertEqual(stream.reason, "closed")
                self.assertEqual(list(stream), [])
            elif leave == "with":
                with stream:
                    pass
            elif leave == "cycle":
                stream.itself = stream
            del stream
            gc.collect()
            self.assertEqual(self.model.tokenizer.decode(session.tokens[before:]), got)
            session.generate(max_tokens=1).read()  # neither cancelled nor blocked
            self.assertEqual(threading.active_count(), 1)

    def test_context_is_taken_meanwhile(self):
        session = self.session()
        stream = session.generate()
        next(stream)
        for call in (lambda: self.model.embed("hello"), lambda: session.append([3]), lambda: next(session.generate())):
            with self.assertRaises(libmm.Error) as e:
                call()
            self.assertEqual(e.exception.name, "MM_E_STATE")
        stream.close()
        self.model.embed("hello")

    def test_not_begun(self):
        session = self.session()
        before = session.tokens
        session.generate()
        stream = session.generate()
        stream.close()
        self.assertEqual((list(stream), session.tokens), ([], before))

    def test_session_dropped_while_busy(self):
        """What hangs on a busy context is freed later, not under the call."""
        session, other = self.session(), self.session()
        stream = session.generate()
        next(stream)
        busy = self.model.context.memory_used
        del other
        gc.collect()
        self.assertEqual(self.model.context.memory_used, busy)
        stream.close()
        self.assertLess(self.model.context.memory_used, busy)

    def test_failure_comes_out(self):
        session = self.model.session()  # empty
        with self.assertRaises(libmm.Error) as e:
            next(session.generate())
        self.assertEqual(e.exception.name, "MM_E_STATE")

    def test_program_end_with_an_open_stream(self):
        code = ("import libmm\n"
                f"m = libmm.open({str(MODELS / 'llama_words')!r})\n"
                "s = m.session(max_tokens=100, temperature=4.0).append('hello').generate()\n"
                "print(len(next(s)) > 0)\n")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "True\n", ""))


class Contexts(unittest.TestCase):
    def test_options(self):
        context = libmm.Context(threads=3, memory_limit=10**9, cpu="reference")
        self.assertEqual((context.threads, context.memory_limit, context.cpu), (3, 10**9, "reference"))
        for wrong in (dict(threads=0), dict(threads=1000), dict(memory_limit=-1)):
            with self.assertRaises(libmm.Error):
                libmm.Context(**wrong)
        with self.assertRaises(ValueError):
            libmm.Context(cpu="quantum")
        with self.assertRaises(ValueError):
            libmm.Context(memory_limit=2**64)  # would be cut to 0, no limit
        with self.assertRaises(TypeError):
            libmm.open(MODELS / "llama_words", context, threads=1)

    def test_same_for_any_thread_count(self):
        model = libmm.open(MODELS / "llama_gqa")
        inputs = {"input_ids": [list(range(1, 60))]}
        results = [model.with_context(libmm.Context(threads=n)).forward(inputs)["logits"] for n in (1, 2, 5)]
        for r in results[1:]:
            np.testing.assert_array_equal(r, results[0])

    def test_cancel(self):
        model = libmm.open(MODELS / "llama_words")
        model.context.cancel()
        with self.assertRaises(libmm.Error) as e:
            model.session().append("hello").generate().read()
        self.assertEqual(e.exception.name, "MM_E_CANCELLED")
        model.session().append("hello").generate(max_tokens=2).read()

    def test_exceptions_of_callbacks_come_out(self):
        class Stop(Exception):
            pass

        seen = []

        def progress(what, done, total):
            seen.append((what, done, total))
            raise Stop()

        context = libmm.Context(progress=progress)
        with self.assertRaises(Stop):
            model = libmm.open(MODELS / "llama_words", context)
            list(model.session().append([3] * 100).generate())
        self.assertTrue(seen)

    def test_progress_cancels(self):
        model = libmm.open(MODELS / "llama_words").with_context(libmm.Context(progress=lambda *a: True))
        with self.assertRaises(libmm.Error) as e:
            model.session().append([3] * 100).logits()
        self.assertEqual(e.exception.name, "MM_E_CANCELLED")

    def test_callback_may_not_call_back(self):
        model = libmm.open(MODELS / "llama_words")
        caught = []

        def progress(what, done, total):
            try:
                other.embed("hello")
            except libmm.Error as e:
                caught.append(e.name)

        other = model.with_context(libmm.Context(progress=progress))
        other.session().append([3] * 100).logits()
        self.assertTrue(caught)
        self.assertEqual(set(caught), {"MM_E_STATE"})

    def test_threads_share_a_model(self):
        model = libmm.open(MODELS / "llama_words")
        want = [model.session(max_tokens=15, temperature=4.0, seed=i).append("hello").generate().read() for i in range(6)]
        got = [None] * 6

        def work(i, mine):
            got[i] = mine.session(max_tokens=15, temperature=4.0, seed=i).append("hello").generate().read()

        # Half of them on contexts of their own, half waiting for each other on one.
        shared = libmm.Context()
        threads = [threading.Thread(target=work, args=(i, model.with_context(libmm.Context() if i % 2 else shared))) for i in range(6)]
        for t in threads[1::2]:
            t.start()
        for t in threads[0::2]:  # a stream refuses to share its context, so one after another
            t.start()
            t.join()
        for t in threads[1::2]:
            t.join()
        self.assertEqual(got, want)

    def test_calls_of_threads_wait(self):
        model = libmm.open(MODELS / "llama_words")
        want = model.embed("hello world")
        failures = []

        def work():
            for _ in range(20):
                if not np.array_equal(model.embed("hello world"), want):
                    failures.append(1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failures, [])


if __name__ == "__main__":
    unittest.main()
