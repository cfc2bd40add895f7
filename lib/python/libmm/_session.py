"""Sessions, in which a language model reads and writes text, and the streams that they write. SPDX-License-Identifier: MIT"""
from __future__ import annotations

import ctypes
import json
import queue
import threading
import weakref
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _library as _c
from ._audio import Audio
from ._context import Context, Handle, HangingHandle, c_text, checked
from ._image import Image
from ._library import lib
from ._tensor import array_of
from ._tokenizer import ids_array
from ._video import Video

if TYPE_CHECKING:
    from ._model import Model

# Keyword arguments: the option and the type of its value, or the values that names stand for.
_INTEGERS = {
    "max_tokens": _c.MM_SESSION_MAX_TOKENS,
    "context_size": _c.MM_SESSION_CONTEXT,
    "keep": _c.MM_SESSION_KEEP,
    "top_k": _c.MM_SESSION_TOP_K,
    "seed": _c.MM_SESSION_SEED,
    "repeat_last": _c.MM_SESSION_REPEAT_LAST,
    "parse_special": _c.MM_SESSION_PARSE_SPECIAL,
    "beams": _c.MM_SESSION_BEAMS,
}
_NUMBERS = {
    "temperature": _c.MM_SESSION_TEMPERATURE,
    "top_p": _c.MM_SESSION_TOP_P,
    "min_p": _c.MM_SESSION_MIN_P,
    "repeat_penalty": _c.MM_SESSION_REPEAT_PENALTY,
    "presence_penalty": _c.MM_SESSION_PRESENCE_PENALTY,
    "frequency_penalty": _c.MM_SESSION_FREQUENCY_PENALTY,
    "length_penalty": _c.MM_SESSION_LENGTH_PENALTY,
}
_NAMED = {
    "when_full": (_c.MM_SESSION_WHEN_FULL, {"stop": _c.MM_WHEN_FULL_STOP, "slide": _c.MM_WHEN_FULL_SLIDE}),
    "early_stopping": (_c.MM_SESSION_EARLY_STOPPING, {False: _c.MM_EARLY_STOPPING_OFF, True: _c.MM_EARLY_STOPPING_ON,
                                                      "never": _c.MM_EARLY_STOPPING_NEVER}),
    "kv_type": (_c.MM_SESSION_KV_TYPE, {"f16": _c.MM_DTYPE_F16, "f32": _c.MM_DTYPE_F32}),
}
OPTIONS = tuple(sorted([*_INTEGERS, *_NUMBERS, *_NAMED, "stop", "grammar", "json_schema"]))

_REASONS = {_c.MM_STOP_END: "end", _c.MM_STOP_LENGTH: "length", _c.MM_STOP_TEXT: "text", _c.MM_STOP_CALLBACK: "closed",
            _c.MM_STOP_FULL: "full"}


class _Writer(threading.Thread):
    """Runs mm_session_generate, and waits inside its callback until the next piece is asked for. So the session never is
    ahead of what the reader has seen. It knows nothing of the Stream, which may be dropped at any time."""

    def __init__(self, context: Context, session: HangingHandle):
        super().__init__(name="libmm generate", daemon=True)
        self.context = context
        self.session = session
        self.pieces: "queue.SimpleQueue[Any]" = queue.SimpleQueue()  # str; at last None or an exception
        self.turn = threading.Semaphore(0)  # one release for each piece that is wanted
        self.stopped = False
        self.reason = ctypes.c_int32()
        self.ids: List[int] = []

    def run(self) -> None:
        state = self.context._state
        last: Any = None
        try:
            callback = _c.GENERATE_FN(self.on_piece)
            self.context.check(lib.mm_session_generate(self.session.pointer, callback, None, ctypes.byref(self.reason)))
        except BaseException as e:
            last = e
        finally:
            state.release()
            self.pieces.put(last)

    def on_piece(self, user: Any, token_id: int, text: Any, size: int) -> int:
        try:
            if token_id >= 0:
                self.ids.append(token_id)
            if size:
                self.pieces.put(ctypes.string_at(text, size).decode("utf-8", "replace"))
                self.turn.acquire()
            return 1 if self.stopped else 0
        except BaseException as e:
            self.context._state.raised = e
            return 1

    def finish(self) -> None:
        self.stopped = True  # a prompt that is being read stops at its next progress report, a text at its next piece
        self.turn.release()
        if threading.current_thread() is not self:
            self.join()


class Stream(Iterator[str]):
    """Text as it is written: an iterator of str pieces. Writing begins with the first piece and goes on as pieces are asked
    for; meanwhile its context takes no other call.

    Leaving early is allowed: close(), the end of a with block or dropping the stream stops the writing, and the session
    then holds what was handed out.
    """

    def __init__(self, context: Context, session: HangingHandle):
        self._writer = _Writer(context, session)
        self._begun = self._done = False
        self._finish = weakref.finalize(self, _finish, self._writer)

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> str:
        if self._done:
            raise StopIteration
        writer = self._writer
        if not self._begun:
            writer.context._state.acquire(writer)
            try:
                writer.start()
            except BaseException:
                writer.context._state.release()
                raise
            self._begun = True
        else:
            writer.turn.release()
        try:
            piece = writer.pieces.get()
        except BaseException:  # KeyboardInterrupt
            self.close()
            raise
        if isinstance(piece, str):
            return piece
        self.close()
        if piece is not None:
            raise piece
        raise StopIteration

    def read(self) -> str:
        """All the text that is left."""
        return "".join(self)

    def close(self) -> None:
        """Stop writing. May be called again, and after the end."""
        self._done = True
        self._finish()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    @property
    def reason(self) -> Optional[str]:
        """Why the writing ended: "end" (the model's end token), "length" (max_tokens), "text" (a stop text), "full" (the
        context is full), "closed" (it was left early); None before."""
        if not self._done:
            return None
        return _REASONS.get(self._writer.reason.value, "closed")

    @property
    def ids(self) -> List[int]:
        """The tokens written so far, without an end token."""
        return list(self._writer.ids)


def _finish(writer: _Writer) -> None:
    if writer.ident is not None:  # it was started
        writer.finish()


class Session:
    """A model's reading and writing of one text, with the keys and values of what it has read.

    Options, as keyword arguments here, in set() and in generate():

    max_tokens         tokens that one generate may write; 256
    context_size       tokens that the session may hold; the model's own bound
    when_full          "stop" (default), or "slide": the older half of the tokens behind `keep` is dropped
    keep               first tokens that sliding keeps; 0
    temperature        0 (default) takes the likeliest token
    top_k, top_p, min_p  sample among the k likeliest (0: all), those that have p together (1), those above a share of the best (0)
    seed               of the random numbers; 0
    repeat_penalty, presence_penalty, frequency_penalty, repeat_last  against repetition; 1, 0, 0, 64 tokens back
    beams              sequences searched side by side; the best becomes the text, all at once; 1
    length_penalty, early_stopping  of such a search: 1, and False, True or "never"
    stop               a text or texts at which generate stops
    grammar            a GBNF grammar (llama.cpp's notation) that the written text follows; None: any text
    json_schema        a JSON schema (a dict or text) instead; {} for any JSON. The last one set counts
    kv_type            "f16" (default) or "f32" keys and values; only while the session is empty
    parse_special      whether special tokens spelled out in appended text are those tokens; True
    """

    def __init__(self, model: "Model", context: Optional[Context] = None, **options: Any):
        self.model = model
        self.context = context or model.context
        with self.context.call() as p:
            pointer = self.context.make(lib.mm_session_destroy, lib.mm_session_create, p, model._handle.pointer)
            self._handle = HangingHandle(pointer, lib.mm_session_destroy, self.context, model._handle)
        self.set(**options)

    def set(self, **options: Any) -> "Session":
        """Set options; the others stay. Returns the session."""
        s = self._handle.pointer
        with self.context.call():
            for name, value in options.items():
                if name == "stop":
                    texts = [] if value is None else [value] if isinstance(value, str) else list(value)
                    self.context.check(lib.mm_session_set_str(s, _c.MM_SESSION_STOP, None))
                    for text in texts:
                        self.context.check(lib.mm_session_set_str(s, _c.MM_SESSION_STOP, c_text(text, "a stop text")))
                elif name == "grammar":
                    text = None if value is None else c_text(value, "the grammar")
                    self.context.check(lib.mm_session_set_str(s, _c.MM_SESSION_GRAMMAR, text))
                elif name == "json_schema":
                    text = value if value is None or isinstance(value, str) else json.dumps(value)
                    self.context.check(lib.mm_session_set_str(s, _c.MM_SESSION_JSON_SCHEMA, text if text is None else c_text(text, "the schema")))
                elif name in _INTEGERS:
                    self.context.check(lib.mm_session_set_i64(s, _INTEGERS[name], checked(value, 64, name)))
                elif name in _NUMBERS:
                    self.context.check(lib.mm_session_set_f64(s, _NUMBERS[name], float(value)))
                elif name in _NAMED:
                    option, values = _NAMED[name]
                    if value not in values:
                        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(str, values))}")
                    self.context.check(lib.mm_session_set_i64(s, option, values[value]))
                else:
                    raise TypeError(f"a session has no option {name!r}, it has {', '.join(OPTIONS)}")
        return self

    @staticmethod
    def bounds(option: str) -> Tuple[Union[int, float], Union[int, float]]:
        """The lowest and highest value of a numeric option."""
        if option in _INTEGERS:
            low, high = ctypes.c_int64(), ctypes.c_int64()
            lib.mm_session_bounds_i64(_INTEGERS[option], ctypes.byref(low), ctypes.byref(high))
            return low.value, high.value
        if option in _NUMBERS:
            lowest, highest = ctypes.c_double(), ctypes.c_double()
            lib.mm_session_bounds_f64(_NUMBERS[option], ctypes.byref(lowest), ctypes.byref(highest))
            return lowest.value, highest.value
        raise TypeError(f"{option!r} is no numeric option of a session")

    def append(self, text_or_ids: Union[str, Sequence[int], Image, Video, Audio]) -> "Session":
        """Append a text, token ids, a picture, a video or a sound. Media join the next text, at its placeholders or in front of it. Returns the session."""
        if isinstance(text_or_ids, (Image, Video, Audio)):
            function = {Image: lib.mm_session_append_image, Video: lib.mm_session_append_video, Audio: lib.mm_session_append_audio}[type(text_or_ids)]
            with self.context.call():
                self.context.check(function(self._handle.pointer, text_or_ids._handle.pointer))
        elif isinstance(text_or_ids, str):
            text = c_text(text_or_ids, "the text")
            with self.context.call():
                self.context.check(lib.mm_session_append_text(self._handle.pointer, text))
        else:
            ids, count = ids_array(text_or_ids)
            with self.context.call():
                self.context.check(lib.mm_session_append_tokens(self._handle.pointer, ids, count))
        return self

    def set_tokens(self, ids: Sequence[int]) -> "Session":
        """Hold exactly these tokens; what the beginnings have in common is not computed again. Returns the session."""
        array, count = ids_array(ids)
        with self.context.call():
            self.context.check(lib.mm_session_set_tokens(self._handle.pointer, array, count))
        return self

    def set_text(self, text: str) -> "Session":
        """Hold exactly this text, which spells its special tokens out, with the media appended since the last one; what the beginnings have in
        common is not computed again. Returns the session."""
        data = c_text(text, "the text")
        with self.context.call():
            self.context.check(lib.mm_session_set_text(self._handle.pointer, data))
        return self

    def beams(self) -> List[Tuple[List[int], float]]:
        """What the last generate with beams found, the best first: ids and score of each."""
        found: List[Tuple[List[int], float]] = []
        ids, count, score = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t(), ctypes.c_double()
        while not lib.mm_session_beam(self._handle.pointer, len(found), ctypes.byref(ids), ctypes.byref(count), ctypes.byref(score)):
            found.append((ids[:count.value], score.value))
        return found

    def transcribe(self, audio: Audio, *, language: Optional[str] = None, translate: bool = False,
                   timestamps: bool = False) -> List[Tuple[float, float, str]]:
        """What is said in a sound: (begin, end, text) of each segment, in seconds; one segment without timestamps, unless the sound is longer than
        the model takes at a time.

        language    "en", "de", ...; None: heard from the sound
        translate   into English
        """
        segments: List[Tuple[float, float, str]] = []

        def take(_user: Any, begin: float, end: float, text: int, size: int) -> int:
            segments.append((begin, end, ctypes.string_at(text, size).decode("utf-8", "replace")))
            return 0

        code = None if language is None else c_text(language, "the language")
        task = _c.MM_TASK_TRANSLATE if translate else _c.MM_TASK_TRANSCRIBE
        with self.context.call():
            self.context.check(lib.mm_session_transcribe(self._handle.pointer, audio._handle.pointer, code, task, int(timestamps),
                                                         _c.TRANSCRIBE_FN(take), None))
        return segments

    def explain(self, image: Image, first: int) -> np.ndarray:
        """Where in a picture that was appended the model looked when it wrote what stands behind the first `first` tokens (len() before generate()):
        [rows, cols] float32 that adds up to 1, a grid over the whole picture."""
        if first < 0:
            raise ValueError(f"a session has no token {first}")
        with self.context.call():
            pointer = self.context.make(lib.mm_tensor_release, lib.mm_session_explain, self._handle.pointer, image._handle.pointer,
                                        checked(first, 64, "first"))
        return array_of(Handle(pointer, lib.mm_tensor_release))

    def rewind(self, length: int) -> "Session":
        """Drop tokens from the end until `length` are left. Returns the session."""
        if length < 0:
            raise ValueError(f"a session cannot hold {length} tokens")
        with self.context.call():
            self.context.check(lib.mm_session_rewind(self._handle.pointer, checked(length, 64, "the length")))
        return self

    def fork(self) -> "Session":
        """A second session that holds the same tokens, keys and values, and options; both go on independently."""
        out = Session.__new__(Session)
        out.model, out.context = self.model, self.context
        with self.context.call():
            pointer = self.context.make(lib.mm_session_destroy, lib.mm_session_fork, self._handle.pointer)
            out._handle = HangingHandle(pointer, lib.mm_session_destroy, self.context, self.model._handle)
        return out

    def __len__(self) -> int:
        """Tokens held."""
        return lib.mm_session_length(self._handle.pointer)

    @property
    def tokens(self) -> List[int]:
        """The tokens held."""
        count = len(self)
        return lib.mm_session_tokens(self._handle.pointer)[:count] if count else []

    def logits(self) -> np.ndarray:
        """The scores of the next token, [V] float32, computing what was appended."""
        out = ctypes.POINTER(ctypes.c_float)()
        with self.context.call():
            self.context.check(lib.mm_session_logits(self._handle.pointer, ctypes.byref(out)))
            return np.ctypeslib.as_array(out, (self.model.info.vocabulary,)).copy()

    def generate(self, **options: Any) -> Stream:
        """Write on from what was appended. Options given here stay set. Generated tokens become part of the session."""
        self.set(**options)
        return Stream(self.context, self._handle)
