"""Tokenizers: text to token ids and back. SPDX-License-Identifier: MIT"""
from __future__ import annotations

import ctypes
import os
from typing import Any, Callable, List, Optional, Sequence, Tuple, Union

from . import _library as _c
from ._context import Context, Handle, HangingHandle, c_text, checked, default_context, take_text
from ._library import lib


def _take_ids(pointer: Any, count: int) -> List[int]:
    try:
        return pointer[:count]
    finally:
        lib.mm_ids_free(pointer)


def ids_array(ids: Sequence[int]) -> Tuple[Any, int]:
    """Ids as the library takes them, and how many."""
    count = len(ids)
    return (ctypes.c_int32 * count)(*(checked(i, 32, "a token id") for i in ids)), count


def _text_first(function: Callable[..., int], size: Any) -> Callable[..., int]:
    """`function(..., char **text, size_t *size)` as a function whose last argument is the text."""
    return lambda *arguments: function(*arguments, ctypes.byref(size))


class Tokenizer:
    """Gives the ids that the Hugging Face `tokenizers` package gives for the same file.

    Tokenizer(path) opens a Hugging Face directory, a tokenizer.json or a .gguf file; Model.tokenizer is a model's own.
    It is immutable: threads may share it, each with a context of its own (`with_context`).
    """

    def __init__(self, path: Union[str, "os.PathLike[str]"], context: Optional[Context] = None):
        self.context = context or default_context()
        with self.context.call() as p:
            pointer = self.context.make(lib.mm_tokenizer_release, lib.mm_tokenizer_open, p, os.fsencode(path))
        self._handle = Handle(pointer, lib.mm_tokenizer_release)

    @classmethod
    def _borrowed(cls, pointer: int, context: Context) -> "Tokenizer":
        lib.mm_tokenizer_retain(pointer)
        return cls._with(Handle(pointer, lib.mm_tokenizer_release), context)

    @classmethod
    def _with(cls, handle: Handle, context: Context) -> "Tokenizer":
        out = cls.__new__(cls)
        out.context = context
        out._handle = handle
        return out

    def with_context(self, context: Context) -> "Tokenizer":
        """The same tokenizer, working through another context."""
        return self._with(self._handle, context)

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> List[int]:
        """The ids of a text.

        add_special    put the special tokens around it that the model expects
        parse_special  special tokens that are written out in the text are those tokens, else mere text
        """
        data = text.encode("utf-8")
        ids, count = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        flags = (_c.MM_TOKENS_ADD_SPECIAL if add_special else 0) | (_c.MM_TOKENS_PARSE_SPECIAL if parse_special else 0)
        with self.context.call() as p:
            status = lib.mm_tokenizer_encode(self._handle.pointer, p, data, len(data), flags, ctypes.byref(ids), ctypes.byref(count))
            out = _take_ids(ids, count.value)
            self.context.check(status)
        return out

    def encode_pair(self, first: str, second: str, *, add_special: bool = True,
                    parse_special: bool = True) -> Tuple[List[int], List[int]]:
        """The ids of two texts in one sequence, and for each id which text it belongs to (token_type_ids)."""
        a, b = first.encode("utf-8"), second.encode("utf-8")
        ids, types, count = ctypes.POINTER(ctypes.c_int32)(), ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        flags = (_c.MM_TOKENS_ADD_SPECIAL if add_special else 0) | (_c.MM_TOKENS_PARSE_SPECIAL if parse_special else 0)
        with self.context.call() as p:
            status = lib.mm_tokenizer_encode_pair(self._handle.pointer, p, a, len(a), b, len(b), flags, ctypes.byref(ids),
                                                  ctypes.byref(types), ctypes.byref(count))
            out = _take_ids(ids, count.value), _take_ids(types, count.value)
            self.context.check(status)
        return out

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """The text of ids."""
        array, count = ids_array(ids)
        size = ctypes.c_size_t()
        flags = _c.MM_TOKENS_SKIP_SPECIAL if skip_special else 0
        with self.context.call() as p:
            text = self.context.make(lib.mm_text_free, _text_first(lib.mm_tokenizer_decode, size), self._handle.pointer, p, array, count,
                                     flags)
        return take_text(text, size.value)

    def decoder(self, *, skip_special: bool = False) -> "TokenDecoder":
        """A decoder that takes one id at a time and gives whole characters."""
        return TokenDecoder(self, skip_special=skip_special)

    def token(self, token_id: int) -> Optional[str]:
        """A token as the vocabulary writes it, None for an id without one. Bytes that are no UTF-8 come as surrogates."""
        size = ctypes.c_size_t()
        pointer = lib.mm_tokenizer_token(self._handle.pointer, token_id, ctypes.byref(size))
        return None if pointer is None else ctypes.string_at(pointer, size.value).decode("utf-8", "surrogateescape")

    def find(self, token: str) -> Optional[int]:
        """The id of a token that is written so, None for none."""
        data = token.encode("utf-8", "surrogateescape")
        found = lib.mm_tokenizer_find(self._handle.pointer, data, len(data))
        return None if found < 0 else found

    def is_special(self, token_id: int) -> bool:
        """Whether decode(skip_special=True) leaves the token out."""
        return bool(lib.mm_tokenizer_is_special(self._handle.pointer, token_id))

    def __len__(self) -> int:
        """The highest id plus one."""
        return lib.mm_tokenizer_size(self._handle.pointer)

    @property
    def truncation(self) -> int:
        """The number of tokens that tokenizer.json truncates to; 0 when it does not."""
        return lib.mm_tokenizer_truncation(self._handle.pointer)

    def _special(self, role: int) -> Optional[int]:
        found = lib.mm_tokenizer_special(self._handle.pointer, role)
        return None if found < 0 else found

    @property
    def bos(self) -> Optional[int]:
        """The id of the token that begins a text; like those below None where the tokenizer has none."""
        return self._special(_c.MM_TOKEN_BOS)

    @property
    def eos(self) -> Optional[int]:
        return self._special(_c.MM_TOKEN_EOS)

    @property
    def pad(self) -> Optional[int]:
        return self._special(_c.MM_TOKEN_PAD)

    @property
    def unk(self) -> Optional[int]:
        return self._special(_c.MM_TOKEN_UNK)

    @property
    def cls(self) -> Optional[int]:
        return self._special(_c.MM_TOKEN_CLS)

    @property
    def sep(self) -> Optional[int]:
        return self._special(_c.MM_TOKEN_SEP)

    @property
    def mask(self) -> Optional[int]:
        return self._special(_c.MM_TOKEN_MASK)


class TokenDecoder:
    """Turns ids into text one at a time: what push and finish return is together what decode gives for all ids."""

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool = False):
        self.context = tokenizer.context
        with self.context.call() as p:
            pointer = self.context.make(lib.mm_token_decoder_destroy, lib.mm_token_decoder_create, tokenizer._handle.pointer, p,
                                        _c.MM_TOKENS_SKIP_SPECIAL if skip_special else 0)
        self._handle = Handle(pointer, lib.mm_token_decoder_destroy, tokenizer._handle)

    def push(self, token_id: int) -> str:
        """The text that this id makes certain, maybe empty."""
        size = ctypes.c_size_t()
        with self.context.call() as p:
            text = self.context.make(lib.mm_text_free, _text_first(lib.mm_token_decoder_push, size), self._handle.pointer, p,
                                     checked(token_id, 32, "a token id"))
        return take_text(text, size.value)

    def finish(self) -> str:
        """The text that was still held back; the decoder then begins anew."""
        size = ctypes.c_size_t()
        with self.context.call() as p:
            text = self.context.make(lib.mm_text_free, _text_first(lib.mm_token_decoder_finish, size), self._handle.pointer, p)
        return take_text(text, size.value)


_INTEGERS = {
    "vocab_size": _c.MM_TOKENIZER_TRAINER_VOCAB_SIZE, "min_frequency": _c.MM_TOKENIZER_TRAINER_MIN_FREQUENCY,
    "limit_alphabet": _c.MM_TOKENIZER_TRAINER_LIMIT_ALPHABET, "max_piece_length": _c.MM_TOKENIZER_TRAINER_MAX_PIECE_LENGTH,
    "lowercase": _c.MM_TOKENIZER_TRAINER_LOWERCASE,
}
_CHOICES = {
    "model": (_c.MM_TOKENIZER_TRAINER_MODEL,
              {"bpe": _c.MM_TOKENIZER_BPE, "wordpiece": _c.MM_TOKENIZER_WORD_PIECE, "unigram": _c.MM_TOKENIZER_UNIGRAM}),
    "normalization": (_c.MM_TOKENIZER_TRAINER_NORMALIZATION,
                      {"none": _c.MM_NORMALIZATION_NONE, "nfc": _c.MM_NORMALIZATION_NFC, "nfkc": _c.MM_NORMALIZATION_NFKC}),
    "pre_tokenizer": (_c.MM_TOKENIZER_TRAINER_PRE_TOKENIZER,
                      {"default": _c.MM_PRE_TOKENIZER_DEFAULT, "byte_level": _c.MM_PRE_TOKENIZER_BYTE_LEVEL,
                       "metaspace": _c.MM_PRE_TOKENIZER_METASPACE, "whitespace": _c.MM_PRE_TOKENIZER_WHITESPACE,
                       "bert": _c.MM_PRE_TOKENIZER_BERT}),
}
_TOKENS = {
    "bos_token": _c.MM_TOKENIZER_TRAINER_BOS_TOKEN, "eos_token": _c.MM_TOKENIZER_TRAINER_EOS_TOKEN,
    "pad_token": _c.MM_TOKENIZER_TRAINER_PAD_TOKEN, "unk_token": _c.MM_TOKENIZER_TRAINER_UNK_TOKEN,
    "cls_token": _c.MM_TOKENIZER_TRAINER_CLS_TOKEN, "sep_token": _c.MM_TOKENIZER_TRAINER_SEP_TOKEN,
    "mask_token": _c.MM_TOKENIZER_TRAINER_MASK_TOKEN,
}


class TokenizerTrainer:
    """Trains a tokenizer on texts.

        trainer = TokenizerTrainer(model="bpe", vocab_size=8000, special_tokens=["<s>"], eos_token="</s>")
        trainer.add_file("corpus.txt")
        tokenizer = trainer.train("my-tokenizer")  # a directory, or nothing

    The options are those of mm_tokenizer.h: model ("bpe", "wordpiece", "unigram"), vocab_size, min_frequency, limit_alphabet,
    max_piece_length, normalization ("none", "nfc", "nfkc"), lowercase, pre_tokenizer ("default", "byte_level", "metaspace", "whitespace",
    "bert"), special_tokens (the first ids, in this order), and bos_token, eos_token, pad_token, unk_token, cls_token, sep_token and
    mask_token, which follow them where they are not among them.
    """

    def __init__(self, *, special_tokens: Sequence[str] = (), context: Optional[Context] = None, **options: Any):
        self.context = context or default_context()
        with self.context.call() as p:
            pointer = self.context.make(lib.mm_tokenizer_trainer_destroy, lib.mm_tokenizer_trainer_create, p)
            self._handle = HangingHandle(pointer, lib.mm_tokenizer_trainer_destroy, self.context)
            for token in special_tokens:
                self._set_token(_c.MM_TOKENIZER_TRAINER_SPECIAL_TOKEN, token)
            for name, value in options.items():
                if name in _INTEGERS:
                    self._set_number(_INTEGERS[name], checked(value, 64, name))
                elif name in _CHOICES:
                    option, values = _CHOICES[name]
                    if value not in values:
                        raise ValueError(f"{name} is {value!r}, allowed are {', '.join(map(repr, values))}")
                    self._set_number(option, values[value])
                elif name in _TOKENS:
                    self._set_token(_TOKENS[name], value)
                else:
                    raise TypeError(f"no option of a tokenizer trainer is called {name!r}")

    def _set_number(self, option: int, value: int) -> None:
        self.context.check(lib.mm_tokenizer_trainer_set_i64(self._handle.pointer, option, value))

    def _set_token(self, option: int, token: str) -> None:
        self.context.check(lib.mm_tokenizer_trainer_set_str(self._handle.pointer, option, c_text(token, "a special token")))

    def add(self, text: str) -> None:
        """Learn from a text."""
        data = text.encode("utf-8")
        with self.context.call():
            self.context.check(lib.mm_tokenizer_trainer_add_text(self._handle.pointer, data, len(data)))

    def add_file(self, path: Union[str, "os.PathLike[str]"]) -> None:
        """Learn from the lines of a UTF-8 text file."""
        with self.context.call():
            self.context.check(lib.mm_tokenizer_trainer_add_file(self._handle.pointer, os.fsencode(path)))

    def train(self, directory: Union[str, "os.PathLike[str]", None] = None) -> Tokenizer:
        """The tokenizer, written to a directory as tokenizer.json and tokenizer_config.json too if there is one."""
        with self.context.call():
            pointer = self.context.make(lib.mm_tokenizer_release, lib.mm_tokenizer_trainer_train, self._handle.pointer,
                                        None if directory is None else os.fsencode(directory))
        return Tokenizer._with(Handle(pointer, lib.mm_tokenizer_release), self.context)
