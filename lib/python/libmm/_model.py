"""Models. SPDX-License-Identifier: MIT"""
from __future__ import annotations

import ctypes
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from . import _library as _c
from ._audio import Audio
from ._context import Context, Handle, c_text, checked, take_text
from ._image import Image, ImageSource, image_of
from ._library import lib
from ._session import Session, Stream
from ._tensor import array_of, arrays_of, map_of
from ._tokenizer import Tokenizer
from ._video import Video

Message = Union[Mapping[str, Any], Tuple[str, Any]]  # {"role": ..., "content": ...} or (role, content); content: str or list of parts


@dataclass(frozen=True)
class Info:
    """Facts about a model."""

    architecture: str            #: "llama", "bert", "vit", "dinov2"
    class_name: str              #: config.json's class, or general.architecture
    format: str                  #: "safetensors", "gguf" or "created"
    dtypes: str                  #: element types of its matrices and how many of each
    parameters: int
    weight_bytes: int            #: what the weights take in memory, mapped files included
    layers: int
    hidden_size: int
    vocabulary: int              #: token ids it takes, 0 for a model without text
    context: int                 #: most tokens of a text, 0 for a model without text
    generates: bool              #: sessions may write text with it
    sees: bool                   #: takes images
    hears: bool                  #: takes sound
    watches: bool                #: takes video
    image_size: Optional[Tuple[int, int]]  #: height and width that it was trained on
    labels: Tuple[str, ...]      #: of its own classifier, empty for none
    kv_token_bytes: int          #: of key/value cache that a token of a session takes
    tokenizer: Optional[str]     #: kind of tokenizer, "BPE"
    pooling: Optional[str]       #: how embeddings are made: "mean" or "first"
    adapter: Optional[str]       #: of an adapted model: "LoRA of 24 matrices, rank 8, alpha 16"
    parts: Optional[str]         #: the models that it is made of, "vision: ViTModel, text: BertModel"
    heads: Optional[str]         #: of an MMModel, "shape: classification of vision, 3"


class Model:
    """A model, opened with libmm.open(). It never changes and may be shared: `with_context` gives the same model for another
    thread, working through that thread's context."""

    def __init__(self, path: Union[str, "os.PathLike[str]"], context: Optional[Context] = None, *,
                 projector: Union[None, str, "os.PathLike[str]"] = None, weights: Optional[str] = None):
        """projector: the second file of a GGUF pair. weights: "Q8_ROW" or "Q8_0" to have float matrices quantized, None: as they are."""
        kinds = {None: None, "Q8_0": _c.MM_DTYPE_Q8_0, "Q8_ROW": _c.MM_DTYPE_Q8_ROW}
        if weights not in kinds:
            raise ValueError(f"weights {weights!r} is neither Q8_0 nor Q8_ROW")
        second = None if projector is None else os.fsencode(projector)
        self.context = context or Context()
        with self.context.call() as p:
            if weights:
                pointer = self.context.make(lib.mm_model_release, lib.mm_model_open_quantized, p, os.fsencode(path), second, kinds[weights])
            elif second is None:
                pointer = self.context.make(lib.mm_model_release, lib.mm_model_open, p, os.fsencode(path))
            else:
                pointer = self.context.make(lib.mm_model_release, lib.mm_model_open_pair, p, os.fsencode(path), second)
        self._handle = Handle(pointer, lib.mm_model_release)
        self.info = self._read_info()

    @classmethod
    def create(cls, config: Union[str, Mapping[str, Any]], seed: int = 0, context: Optional[Context] = None) -> "Model":
        """A new model with random weights, from the keys of a config.json or its text."""
        out = cls.__new__(cls)
        out.context = context or Context()
        text = config if isinstance(config, str) else json.dumps(config)
        with out.context.call() as p:
            pointer = out.context.make(lib.mm_model_release, lib.mm_model_create, p, c_text(text, "config"), checked(seed, 64, "seed"))
        out._handle = Handle(pointer, lib.mm_model_release)
        out.info = out._read_info()
        return out

    @classmethod
    def _borrowed(cls, pointer: int, context: Context) -> "Model":
        """One that something else owns too."""
        lib.mm_model_retain(pointer)
        out = cls.__new__(cls)
        out.context, out._handle = context, Handle(pointer, lib.mm_model_release)
        out.info = out._read_info()
        return out

    def save(self, directory: Union[str, "os.PathLike[str]"], dtype: Optional[str] = None, *, as_class: Optional[str] = None) -> None:
        """Write it as a Hugging Face directory. dtype "F32", "F16" or "BF16" of the weights; None: as they are.

        as_class: an MMModel of that shape as "LlavaForConditionalGeneration", "CLIPModel" or "VisionTextDualEncoderModel".
        """
        kinds = {None: _c.MM_SAVE_AS_IS, "F32": _c.MM_DTYPE_F32, "F16": _c.MM_DTYPE_F16, "BF16": _c.MM_DTYPE_BF16}
        if dtype not in kinds:
            raise ValueError(f"dtype {dtype!r} is none of F32, F16 and BF16")
        with self.context.call() as p:
            self.context.check(lib.mm_model_save_as(self._handle.pointer, p, os.fsencode(directory), kinds[dtype], as_class and c_text(as_class, "as_class")))

    def with_context(self, context: Context) -> "Model":
        """The same model, working through another context."""
        out = Model.__new__(Model)
        out.context, out._handle, out.info = context, self._handle, self.info
        return out

    def _derived(self, make: Any, *arguments: Any) -> "Model":
        out = Model.__new__(Model)
        out.context = self.context
        with self.context.call() as p:
            out._handle = Handle(self.context.make(lib.mm_model_release, make, p, self._handle.pointer, *arguments), lib.mm_model_release)
        out.info = out._read_info()
        return out

    def adapt(self, directory: Union[str, "os.PathLike[str]"], scale: float = 1.0) -> "Model":
        """The model with a low-rank adapter (LoRA) from a directory of peft; it shares this one's weights."""
        return self._derived(lib.mm_model_adapt, os.fsencode(directory), scale)

    def merge_adapter(self) -> "Model":
        """An adapted model with the adapter's terms added into its matrices."""
        return self._derived(lib.mm_model_merge_adapter)

    def save_adapter(self, directory: Union[str, "os.PathLike[str]"]) -> None:
        """Write an adapted model's adapter, without the model, as peft does."""
        with self.context.call() as p:
            self.context.check(lib.mm_model_save_adapter(self._handle.pointer, p, os.fsencode(directory)))

    def _number(self, fact: int) -> int:
        out = ctypes.c_int64()
        lib.mm_model_get_i64(self._handle.pointer, fact, ctypes.byref(out))
        return out.value

    def _string(self, fact: int) -> Optional[str]:
        text = lib.mm_model_get_str(self._handle.pointer, fact)
        return None if text is None else text.decode("utf-8", "replace")

    def _read_info(self) -> Info:
        labels = []
        for i in range(self._number(_c.MM_MODEL_LABELS)):
            label = lib.mm_model_label(self._handle.pointer, i)
            labels.append(f"LABEL_{i}" if label is None else label.decode("utf-8", "replace"))
        sees = bool(self._number(_c.MM_MODEL_SEES))
        return Info(
            architecture=self._string(_c.MM_MODEL_ARCHITECTURE) or "",
            class_name=self._string(_c.MM_MODEL_CLASS) or "",
            format=self._string(_c.MM_MODEL_FORMAT) or "",
            dtypes=self._string(_c.MM_MODEL_DTYPES) or "",
            parameters=self._number(_c.MM_MODEL_PARAMETERS),
            weight_bytes=self._number(_c.MM_MODEL_WEIGHT_BYTES),
            layers=self._number(_c.MM_MODEL_LAYERS),
            hidden_size=self._number(_c.MM_MODEL_HIDDEN_SIZE),
            vocabulary=self._number(_c.MM_MODEL_VOCABULARY),
            context=self._number(_c.MM_MODEL_CONTEXT),
            generates=bool(self._number(_c.MM_MODEL_GENERATES)),
            sees=sees,
            hears=bool(self._number(_c.MM_MODEL_HEARS)),
            watches=bool(self._number(_c.MM_MODEL_WATCHES)),
            image_size=(self._number(_c.MM_MODEL_IMAGE_HEIGHT), self._number(_c.MM_MODEL_IMAGE_WIDTH)) if sees else None,
            labels=tuple(labels),
            kv_token_bytes=self._number(_c.MM_MODEL_KV_TOKEN_BYTES),
            tokenizer=self._string(_c.MM_MODEL_TOKENIZER),
            pooling=self._string(_c.MM_MODEL_POOLING),
            adapter=self._string(_c.MM_MODEL_ADAPTER),
            parts=self._string(_c.MM_MODEL_PARTS),
            heads=self._string(_c.MM_MODEL_HEADS),
        )

    @property
    def tokenizer(self) -> Optional[Tokenizer]:
        """The model's tokenizer, None when it has none."""
        pointer = lib.mm_model_tokenizer(self._handle.pointer)
        return None if pointer is None else Tokenizer._borrowed(pointer, self.context)

    def session(self, **options: Any) -> Session:
        """An empty session; the options are those of Session."""
        return Session(self, **options)

    def apply_chat_template(self, messages: Sequence[Message], *, open_reply: bool = True) -> str:
        """A conversation as the model's chat template writes it, special tokens spelled out. The content of a message is a text, or a list of
        pictures, videos, sounds and at last a text.

        open_reply  end with the opening of the assistant's next turn
        """
        return self._conversation(messages, open_reply)[0]

    def _conversation(self, messages: Sequence[Message], open_reply: bool) -> Tuple[str, List[Union[Image, Video, Audio]]]:
        roles, contents, kinds, media = [], [], [], []
        for m in messages:
            role, content = (m["role"], m["content"]) if isinstance(m, Mapping) else m
            parts = [content] if isinstance(content, str) else list(content)
            texts = [p for p in parts if isinstance(p, str)]
            own = [p if isinstance(p, (Video, Audio)) else image_of(p, self.context) for p in parts if not isinstance(p, str)]
            roles.append(c_text(role, "a role"))
            contents.append(c_text("".join(texts), "a message"))
            kinds.append(b" ".join({Video: b"video", Audio: b"audio"}.get(type(p), b"image") for p in own))
            media += own
        count = len(roles)
        array = ctypes.c_char_p * count
        with self.context.call() as p:
            text = self.context.make(lib.mm_text_free, lib.mm_model_apply_chat_template_media, self._handle.pointer, p, array(*roles),
                                     array(*contents), array(*kinds), count, int(open_reply))
        return take_text(text), media

    def chat(self, messages: Sequence[Message], **options: Any) -> Stream:
        """The assistant's next turn of a conversation, as a stream of text.

        messages  {"role": "user", "content": "..."} or (role, content), the last one to be answered; a content may be a list of pictures,
                  videos, sounds and at last a text
        options   of the session
        """
        text, media = self._conversation(messages, True)
        session = Session(self, **options)
        for m in media:
            session.append(m)
        return session.set_text(text).generate()

    def generate(self, prompt: str, *, media: Sequence[Any] = (), system: Optional[str] = None, raw: bool = False, **options: Any) -> Stream:
        """The answer to a prompt as a stream of text.

        media    pictures, videos and sounds in front of the prompt, or at its placeholders
        system   the system message of the conversation
        raw      continue the prompt as it is, without the chat template
        options  of the session
        """
        if raw:
            if system is not None:
                raise ValueError("a system message needs the chat template, which raw leaves out")
            session = Session(self, **options)
            for m in media:
                session.append(m if isinstance(m, (Video, Audio)) else image_of(m, self.context))
            return session.append(prompt).generate()
        return self.chat(([] if system is None else [("system", system)]) + [("user", [*media, prompt])], **options)

    def transcribe(self, audio: Union[str, Audio], *, language: Optional[str] = None, translate: bool = False,
                   timestamps: bool = False) -> List[Tuple[float, float, str]]:
        """What is said in a sound: see Session.transcribe."""
        sound = audio if isinstance(audio, Audio) else Audio(audio, context=self.context)
        return Session(self).transcribe(sound, language=language, translate=translate, timestamps=timestamps)

    def forward(self, inputs: Mapping[str, Any]) -> Dict[str, np.ndarray]:
        """Run the model on named arrays, named as transformers names them: input_ids, attention_mask, pixel_values, ... in;
        last_hidden_state, pooler_output, logits, ... out, float32."""
        with self.context.call() as p:
            tensors = map_of(self.context, inputs)
            pointer = self.context.make(lib.mm_tensor_map_destroy, lib.mm_model_forward, self._handle.pointer, p, tensors.pointer)
            return arrays_of(Handle(pointer, lib.mm_tensor_map_destroy))

    def embed(self, inputs: Union[str, ImageSource, Sequence[Union[str, ImageSource]]], *, normalize: bool = True) -> np.ndarray:
        """One vector per text or picture: [C] float32 for one, [N, C] for a list.

        inputs     text as str; pictures as Image, numpy array, pathlib.Path or the bytes of a file
        normalize  rows of unit length
        """
        one = not isinstance(inputs, (list, tuple))
        items: List[Any] = [inputs] if one else list(inputs)  # type: ignore[arg-type]
        texts = sum(isinstance(i, str) for i in items)
        if texts not in (0, len(items)):
            raise TypeError("texts and pictures do not go into one call")
        if texts or not items and not self.info.sees:
            array: Any = (ctypes.c_char_p * len(items))(*(c_text(t, "a text") for t in items))
            function = lib.mm_model_embed_texts
        else:
            pictures = [image_of(i, self.context) for i in items]
            array = (ctypes.c_void_p * len(items))(*(i._handle.pointer for i in pictures))
            function = lib.mm_model_embed_images
        with self.context.call() as p:
            pointer = self.context.make(lib.mm_tensor_release, function, self._handle.pointer, p, array, len(items), int(normalize))
        out = array_of(Handle(pointer, lib.mm_tensor_release))
        return out[0] if one else out

    def preprocess(self, *media: Any) -> Dict[str, np.ndarray]:
        """What the model's processors make of pictures, of one video or of one sound: arrays that forward takes."""
        one = media[0] if len(media) == 1 else None
        if isinstance(one, (Video, Audio)):
            function = lib.mm_model_preprocess_video if isinstance(one, Video) else lib.mm_model_preprocess_audio
            arguments: Tuple[Any, ...] = (one._handle.pointer,)
        else:
            pictures = [image_of(i, self.context) for i in media]
            function = lib.mm_model_preprocess_images
            arguments = ((ctypes.c_void_p * len(pictures))(*(i._handle.pointer for i in pictures)), len(pictures))
        with self.context.call() as p:
            pointer = self.context.make(lib.mm_tensor_map_destroy, function, self._handle.pointer, p, *arguments)
            return arrays_of(Handle(pointer, lib.mm_tensor_map_destroy))

    def classify(self, image: Union[str, ImageSource], *, labels: Optional[Sequence[str]] = None, template: Optional[str] = None,
                 top: Optional[int] = None) -> List[Tuple[str, float]]:
        """The model's own classes for a picture, or labels of yours (zero-shot, by CLIP or SigLIP), as (label, probability), the likeliest
        first.

        template  with labels: the text that stands for one, with "{}" in its place; default "This is a photo of {}."
        top       how many; default all
        """
        picture = image_of(image, self.context)
        with self.context.call() as p:
            if labels is None:
                names: Sequence[str] = self.info.labels
                pointer = self.context.make(lib.mm_tensor_release, lib.mm_model_classify_image, self._handle.pointer, p,
                                            picture._handle.pointer)
            else:
                names = labels
                array = (ctypes.c_char_p * len(labels))(*(c_text(t, "a label") for t in labels))
                pointer = self.context.make(lib.mm_tensor_release, lib.mm_model_classify_labels, self._handle.pointer, p,
                                            picture._handle.pointer, array, len(labels),
                                            None if template is None else c_text(template, "template"))
        return self._ranked(names, pointer, top)

    def explain(self, image: Union[str, ImageSource]) -> np.ndarray:
        """Where in a picture the model looks to classify or embed it: [rows, cols] float32 that adds up to 1, a grid over the whole picture. Where one
        that answers with text looked, Session.explain() tells."""
        picture = image_of(image, self.context)
        with self.context.call() as p:
            pointer = self.context.make(lib.mm_tensor_release, lib.mm_model_explain_image, self._handle.pointer, p, picture._handle.pointer)
        return array_of(Handle(pointer, lib.mm_tensor_release))

    def classify_text(self, text: str, *, top: Optional[int] = None) -> List[Tuple[str, float]]:
        """The model's own classes for a text, as classify()."""
        with self.context.call() as p:
            pointer = self.context.make(lib.mm_tensor_release, lib.mm_model_classify_text, self._handle.pointer, p, c_text(text, "text"))
        return self._ranked(self.info.labels, pointer, top)

    @staticmethod
    def _ranked(names: Sequence[str], pointer: Any, top: Optional[int]) -> List[Tuple[str, float]]:
        probabilities = array_of(Handle(pointer, lib.mm_tensor_release))
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [(names[i], float(probabilities[i])) for i in order]

    def __repr__(self) -> str:
        return f"<libmm.Model {self.info.class_name}, {self.info.parameters} parameters>"


def open(path: Union[str, "os.PathLike[str]"], context: Optional[Context] = None, *,
         projector: Union[None, str, "os.PathLike[str]"] = None, **options: Any) -> Model:
    """Open a model: a Hugging Face directory or a .gguf file. Its files must not change while the model lives.

    context    to work through; default: one of its own, made with `options`, which are those of Context
    projector  the .gguf file of a vision projector that goes with the language model in `path`
    """
    if context is not None and options:
        raise TypeError("give a context or the options of a new one, not both")
    return Model(path, context or Context(**options), projector=projector)
