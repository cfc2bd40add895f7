"""The shared library: where it is found, its constants, and the prototype of every function, each declared once.

Nothing else in this package touches ctypes types by name but through here. SPDX-License-Identifier: MIT
"""
from __future__ import annotations

import ctypes
import os
from ctypes import (CFUNCTYPE, POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint8, c_void_p)
from typing import List

SONAME = "libmm.so.mm0"

# Statuses (mm_context.h).
STATUS = {
    "MM_OK": 0,
    "MM_E_ARGUMENT": -1,
    "MM_E_NOMEM": -2,
    "MM_E_LIMIT": -3,
    "MM_E_OVERFLOW": -4,
    "MM_E_CANCELLED": -5,
    "MM_E_UNSUPPORTED": -6,
    "MM_E_INTERNAL": -7,
    "MM_E_IO": -20,
    "MM_E_NOT_FOUND": -21,
    "MM_E_FORMAT": -22,
    "MM_E_SHAPE": -40,
    "MM_E_DTYPE": -41,
    "MM_E_STATE": -42,
    "MM_E_CONTEXT_FULL": -60,
}

# Context options (mm_context.h).
MM_CONTEXT_THREADS = 1
MM_CONTEXT_MEMORY_LIMIT = 2
MM_CONTEXT_CPU_LEVEL = 3
MM_CONTEXT_MEMORY_USED = 100
MM_CONTEXT_MEMORY_PEAK = 101
MM_CPU_REFERENCE, MM_CPU_AVX2, MM_CPU_AVX512, MM_CPU_AMX = range(4)
MM_CPU_NEON, MM_CPU_DOTPROD = 1, 2
MM_LOG_ERROR, MM_LOG_WARNING, MM_LOG_INFO, MM_LOG_DEBUG = range(1, 5)

# Element types (mm_tensor.h).
MM_DTYPE_F32, MM_DTYPE_F16, MM_DTYPE_BF16, MM_DTYPE_I32, MM_DTYPE_I64, MM_DTYPE_U8 = range(6)
MM_DTYPE_Q8_0, MM_DTYPE_Q8_ROW = 36, 43

# Flags and roles of tokens (mm_tokenizer.h).
MM_TOKENS_ADD_SPECIAL = 1
MM_TOKENS_PARSE_SPECIAL = 2
MM_TOKENS_SKIP_SPECIAL = 4
MM_TOKEN_BOS, MM_TOKEN_EOS, MM_TOKEN_PAD, MM_TOKEN_UNK, MM_TOKEN_CLS, MM_TOKEN_SEP, MM_TOKEN_MASK = range(7)

# Options of a tokenizer trainer and their values (mm_tokenizer.h).
MM_TOKENIZER_TRAINER_MODEL = 1
MM_TOKENIZER_TRAINER_VOCAB_SIZE = 2
MM_TOKENIZER_TRAINER_MIN_FREQUENCY = 3
MM_TOKENIZER_TRAINER_LIMIT_ALPHABET = 4
MM_TOKENIZER_TRAINER_MAX_PIECE_LENGTH = 5
MM_TOKENIZER_TRAINER_NORMALIZATION = 6
MM_TOKENIZER_TRAINER_LOWERCASE = 7
MM_TOKENIZER_TRAINER_PRE_TOKENIZER = 8
MM_TOKENIZER_TRAINER_SPECIAL_TOKEN = 50
MM_TOKENIZER_TRAINER_BOS_TOKEN = 51
MM_TOKENIZER_TRAINER_EOS_TOKEN = 52
MM_TOKENIZER_TRAINER_PAD_TOKEN = 53
MM_TOKENIZER_TRAINER_UNK_TOKEN = 54
MM_TOKENIZER_TRAINER_CLS_TOKEN = 55
MM_TOKENIZER_TRAINER_SEP_TOKEN = 56
MM_TOKENIZER_TRAINER_MASK_TOKEN = 57
MM_TOKENIZER_BPE, MM_TOKENIZER_WORD_PIECE, MM_TOKENIZER_UNIGRAM = range(3)
MM_NORMALIZATION_NONE, MM_NORMALIZATION_NFC, MM_NORMALIZATION_NFKC = range(3)
(MM_PRE_TOKENIZER_DEFAULT, MM_PRE_TOKENIZER_BYTE_LEVEL, MM_PRE_TOKENIZER_METASPACE, MM_PRE_TOKENIZER_WHITESPACE,
 MM_PRE_TOKENIZER_BERT) = range(5)

# Facts about a model (mm_model.h): numbers, then texts.
MM_MODEL_PARAMETERS = 1
MM_MODEL_WEIGHT_BYTES = 2
MM_MODEL_LAYERS = 3
MM_MODEL_HIDDEN_SIZE = 4
MM_MODEL_VOCABULARY = 5
MM_MODEL_CONTEXT = 6
MM_MODEL_GENERATES = 7
MM_MODEL_SEES = 8
MM_MODEL_LABELS = 9
MM_MODEL_IMAGE_HEIGHT = 10
MM_MODEL_IMAGE_WIDTH = 11
MM_MODEL_KV_TOKEN_BYTES = 12
MM_MODEL_HEARS = 13
MM_MODEL_WATCHES = 14
MM_MODEL_ARCHITECTURE = 1
MM_MODEL_CLASS = 2
MM_MODEL_FORMAT = 3
MM_MODEL_DTYPES = 4
MM_MODEL_TOKENIZER = 5
MM_MODEL_POOLING = 6
MM_MODEL_ADAPTER = 7
MM_MODEL_PARTS = 8
MM_MODEL_HEADS = 9

# Session options and reasons to stop (mm_session.h).
MM_SESSION_MAX_TOKENS = 1
MM_SESSION_CONTEXT = 2
MM_SESSION_WHEN_FULL = 3
MM_SESSION_KEEP = 4
MM_SESSION_TOP_K = 5
MM_SESSION_SEED = 6
MM_SESSION_REPEAT_LAST = 7
MM_SESSION_KV_TYPE = 8
MM_SESSION_PARSE_SPECIAL = 9
MM_SESSION_BEAMS = 10
MM_SESSION_EARLY_STOPPING = 11
MM_SESSION_TEMPERATURE = 50
MM_SESSION_TOP_P = 51
MM_SESSION_MIN_P = 52
MM_SESSION_REPEAT_PENALTY = 53
MM_SESSION_PRESENCE_PENALTY = 54
MM_SESSION_FREQUENCY_PENALTY = 55
MM_SESSION_LENGTH_PENALTY = 56
MM_SESSION_STOP = 80
MM_SESSION_GRAMMAR = 81
MM_SESSION_JSON_SCHEMA = 82
MM_SAVE_AS_IS = -1
MM_WHEN_FULL_STOP, MM_WHEN_FULL_SLIDE = range(2)
MM_EARLY_STOPPING_OFF, MM_EARLY_STOPPING_ON, MM_EARLY_STOPPING_NEVER = range(3)
MM_TASK_TRANSCRIBE, MM_TASK_TRANSLATE = range(2)
MM_STOP_NONE, MM_STOP_END, MM_STOP_LENGTH, MM_STOP_TEXT, MM_STOP_CALLBACK, MM_STOP_FULL = range(6)

# Facts about a run (mm_train.h): whole numbers, then others.
MM_TRAINER_STEP = 1
MM_TRAINER_STEPS = 2
MM_TRAINER_PARAMETERS = 3
MM_TRAINER_SKIPPED = 4
MM_TRAINER_LOSS = 1
MM_TRAINER_GRADIENT_NORM = 2
MM_TRAINER_LEARNING_RATE = 3
MM_TRAINER_SAMPLES_PER_SECOND = 4

# Callbacks.
LOG_FN = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
PROGRESS_FN = CFUNCTYPE(c_int32, c_void_p, c_char_p, c_int64, c_int64)
GENERATE_FN = CFUNCTYPE(c_int32, c_void_p, c_int32, c_void_p, c_size_t)
TRANSCRIBE_FN = CFUNCTYPE(c_int32, c_void_p, c_double, c_double, c_void_p, c_size_t)
FREE_FN = CFUNCTYPE(None, c_void_p)
TRAINER_FN = CFUNCTYPE(c_int32, c_void_p, c_void_p)

_handle = c_void_p            # mm_context *, mm_model *, ...: opaque
_text = c_char_p              # const char *, borrowed
_out_handle = POINTER(c_void_p)
_ids = POINTER(c_int32)
_sizes = POINTER(c_int64)

# name: (result, arguments), as the headers declare them.
PROTOTYPES = {
    # mm_context.h
    "mm_status_name": (_text, [c_int32]),
    "mm_build_version": (_text, []),
    "mm_context_create": (c_int32, [c_void_p, _out_handle]),
    "mm_context_destroy": (None, [_handle]),
    "mm_context_error": (_text, [_handle]),
    "mm_context_set_i64": (c_int32, [_handle, c_int32, c_int64]),
    "mm_context_get_i64": (c_int32, [_handle, c_int32, POINTER(c_int64)]),
    "mm_context_set_log": (c_int32, [_handle, LOG_FN, c_void_p]),
    "mm_context_set_progress": (c_int32, [_handle, PROGRESS_FN, c_void_p]),
    "mm_context_cancel": (None, [_handle]),
    "mm_text_free": (None, [c_void_p]),
    # mm_tensor.h
    "mm_dtype_name": (_text, [c_int32]),
    "mm_tensor_create": (c_int32, [_handle, c_int32, c_int32, _sizes, _out_handle]),
    "mm_tensor_copy": (c_int32, [_handle, c_int32, c_int32, _sizes, c_void_p, _out_handle]),
    "mm_tensor_wrap": (c_int32, [_handle, c_int32, c_int32, _sizes, c_void_p, FREE_FN, c_void_p, _out_handle]),
    "mm_tensor_retain": (None, [_handle]),
    "mm_tensor_release": (None, [_handle]),
    "mm_tensor_dtype": (c_int32, [_handle]),
    "mm_tensor_rank": (c_int32, [_handle]),
    "mm_tensor_shape": (_sizes, [_handle]),
    "mm_tensor_elements": (c_int64, [_handle]),
    "mm_tensor_bytes": (c_size_t, [_handle]),
    "mm_tensor_data": (c_void_p, [_handle]),
    "mm_tensor_const_data": (c_void_p, [_handle]),
    "mm_tensor_map_create": (c_int32, [_handle, _out_handle]),
    "mm_tensor_map_destroy": (None, [_handle]),
    "mm_tensor_map_set": (c_int32, [_handle, _handle, _text, _handle]),
    "mm_tensor_map_get": (c_void_p, [_handle, _text]),
    "mm_tensor_map_count": (c_size_t, [_handle]),
    "mm_tensor_map_name": (_text, [_handle, c_size_t]),
    "mm_tensor_map_at": (c_void_p, [_handle, c_size_t]),
    "mm_tensor_map_read": (c_int32, [_handle, _text, _out_handle]),
    "mm_tensor_map_write": (c_int32, [_handle, _handle, _text]),
    # mm_image.h
    "mm_image_read": (c_int32, [_handle, _text, c_int64, _out_handle]),
    "mm_image_decode": (c_int32, [_handle, c_char_p, c_size_t, c_int64, _out_handle]),
    "mm_image_save_png": (c_int32, [_handle, _handle, _text]),
    "mm_image_create": (c_int32, [_handle, c_int64, c_int64, c_void_p, _out_handle]),
    "mm_image_destroy": (None, [_handle]),
    "mm_image_width": (c_int64, [_handle]),
    "mm_image_height": (c_int64, [_handle]),
    "mm_image_pixels": (POINTER(c_uint8), [_handle]),
    # mm_audio.h
    "mm_audio_read": (c_int32, [_handle, _text, _out_handle]),
    "mm_audio_decode": (c_int32, [_handle, c_char_p, c_size_t, _out_handle]),
    "mm_audio_create": (c_int32, [_handle, c_int32, c_void_p, c_size_t, _out_handle]),
    "mm_audio_resample": (c_int32, [_handle, _handle, c_int32, _out_handle]),
    "mm_audio_destroy": (None, [_handle]),
    "mm_audio_rate": (c_int32, [_handle]),
    "mm_audio_count": (c_size_t, [_handle]),
    "mm_audio_samples": (POINTER(c_float), [_handle]),
    # mm_video.h
    "mm_video_open": (c_int32, [_handle, _text, c_int64, c_double, _out_handle]),
    "mm_video_wrap": (c_int32, [_handle, c_void_p, c_size_t, c_int64, c_double, FREE_FN, c_void_p, _out_handle]),
    "mm_video_destroy": (None, [_handle]),
    "mm_video_frames": (c_int64, [_handle]),
    "mm_video_rate": (c_double, [_handle]),
    "mm_video_frame": (c_int32, [_handle, _handle, c_int64, _out_handle]),
    # mm_tokenizer.h
    "mm_tokenizer_open": (c_int32, [_handle, _text, _out_handle]),
    "mm_tokenizer_retain": (None, [_handle]),
    "mm_tokenizer_release": (None, [_handle]),
    "mm_tokenizer_encode": (c_int32, [_handle, _handle, c_char_p, c_size_t, c_int32, POINTER(_ids), POINTER(c_size_t)]),
    "mm_tokenizer_encode_pair": (c_int32, [_handle, _handle, c_char_p, c_size_t, c_char_p, c_size_t, c_int32, POINTER(_ids),
                                           POINTER(_ids), POINTER(c_size_t)]),
    "mm_ids_free": (None, [_ids]),
    "mm_tokenizer_decode": (c_int32, [_handle, _handle, _ids, c_size_t, c_int32, _out_handle, POINTER(c_size_t)]),
    "mm_tokenizer_token": (c_void_p, [_handle, c_int32, POINTER(c_size_t)]),
    "mm_tokenizer_find": (c_int32, [_handle, c_char_p, c_size_t]),
    "mm_tokenizer_size": (c_int32, [_handle]),
    "mm_tokenizer_special": (c_int32, [_handle, c_int32]),
    "mm_tokenizer_is_special": (c_int32, [_handle, c_int32]),
    "mm_tokenizer_truncation": (c_int32, [_handle]),
    "mm_tokenizer_trainer_create": (c_int32, [_handle, _out_handle]),
    "mm_tokenizer_trainer_destroy": (None, [_handle]),
    "mm_tokenizer_trainer_set_i64": (c_int32, [_handle, c_int32, c_int64]),
    "mm_tokenizer_trainer_set_str": (c_int32, [_handle, c_int32, c_char_p]),
    "mm_tokenizer_trainer_add_text": (c_int32, [_handle, c_char_p, c_size_t]),
    "mm_tokenizer_trainer_add_file": (c_int32, [_handle, _text]),
    "mm_tokenizer_trainer_train": (c_int32, [_handle, _text, _out_handle]),
    "mm_token_decoder_create": (c_int32, [_handle, _handle, c_int32, _out_handle]),
    "mm_token_decoder_destroy": (None, [_handle]),
    "mm_token_decoder_push": (c_int32, [_handle, _handle, c_int32, _out_handle, POINTER(c_size_t)]),
    "mm_token_decoder_finish": (c_int32, [_handle, _handle, _out_handle, POINTER(c_size_t)]),
    # mm_model.h
    "mm_model_open": (c_int32, [_handle, _text, _out_handle]),
    "mm_model_create": (c_int32, [_handle, _text, c_int64, _out_handle]),
    "mm_model_save": (c_int32, [_handle, _handle, _text, c_int32]),
    "mm_model_save_as": (c_int32, [_handle, _handle, _text, c_int32, _text]),
    "mm_model_open_pair": (c_int32, [_handle, _text, _text, _out_handle]),
    "mm_model_open_quantized": (c_int32, [_handle, _text, _text, c_int32, _out_handle]),
    "mm_model_adapt": (c_int32, [_handle, _handle, _text, c_double, _out_handle]),
    "mm_model_merge_adapter": (c_int32, [_handle, _handle, _out_handle]),
    "mm_model_save_adapter": (c_int32, [_handle, _handle, _text]),
    "mm_model_retain": (None, [_handle]),
    "mm_model_release": (None, [_handle]),
    "mm_model_get_i64": (c_int32, [_handle, c_int32, POINTER(c_int64)]),
    "mm_model_get_str": (_text, [_handle, c_int32]),
    "mm_model_label": (_text, [_handle, c_size_t]),
    "mm_model_tokenizer": (c_void_p, [_handle]),
    "mm_model_forward": (c_int32, [_handle, _handle, _handle, _out_handle]),
    "mm_model_preprocess_image": (c_int32, [_handle, _handle, _handle, _out_handle]),
    "mm_model_embed_texts": (c_int32, [_handle, _handle, POINTER(c_char_p), c_size_t, c_int32, _out_handle]),
    "mm_model_embed_images": (c_int32, [_handle, _handle, POINTER(c_void_p), c_size_t, c_int32, _out_handle]),
    "mm_model_explain_image": (c_int32, [_handle, _handle, _handle, _out_handle]),
    "mm_model_classify_image": (c_int32, [_handle, _handle, _handle, _out_handle]),
    "mm_model_classify_text": (c_int32, [_handle, _handle, c_char_p, _out_handle]),
    "mm_model_classify_labels": (c_int32, [_handle, _handle, _handle, POINTER(c_char_p), c_size_t, c_char_p, _out_handle]),
    "mm_model_apply_chat_template": (c_int32, [_handle, _handle, POINTER(c_char_p), POINTER(c_char_p), c_size_t, c_int32,
                                               _out_handle]),
    "mm_model_apply_chat_template_media": (c_int32, [_handle, _handle, POINTER(c_char_p), POINTER(c_char_p), POINTER(c_char_p), c_size_t,
                                                     c_int32, _out_handle]),
    "mm_model_preprocess_images": (c_int32, [_handle, _handle, _out_handle, c_size_t, _out_handle]),
    "mm_model_preprocess_video": (c_int32, [_handle, _handle, _handle, _out_handle]),
    "mm_model_preprocess_audio": (c_int32, [_handle, _handle, _handle, _out_handle]),
    # mm_session.h
    "mm_session_create": (c_int32, [_handle, _handle, _out_handle]),
    "mm_session_destroy": (None, [_handle]),
    "mm_session_set_i64": (c_int32, [_handle, c_int32, c_int64]),
    "mm_session_set_f64": (c_int32, [_handle, c_int32, c_double]),
    "mm_session_set_str": (c_int32, [_handle, c_int32, _text]),
    "mm_session_bounds_i64": (c_int32, [c_int32, POINTER(c_int64), POINTER(c_int64)]),
    "mm_session_bounds_f64": (c_int32, [c_int32, POINTER(c_double), POINTER(c_double)]),
    "mm_session_append_text": (c_int32, [_handle, _text]),
    "mm_session_append_image": (c_int32, [_handle, _handle]),
    "mm_session_append_video": (c_int32, [_handle, _handle]),
    "mm_session_append_audio": (c_int32, [_handle, _handle]),
    "mm_session_set_text": (c_int32, [_handle, _text]),
    "mm_session_explain": (c_int32, [_handle, _handle, c_size_t, _out_handle]),
    "mm_session_beam": (c_int32, [_handle, c_size_t, POINTER(_ids), POINTER(c_size_t), POINTER(c_double)]),
    "mm_session_transcribe": (c_int32, [_handle, _handle, _text, c_int32, c_int32, TRANSCRIBE_FN, c_void_p]),
    "mm_session_append_tokens": (c_int32, [_handle, _ids, c_size_t]),
    "mm_session_set_tokens": (c_int32, [_handle, _ids, c_size_t]),
    "mm_session_rewind": (c_int32, [_handle, c_size_t]),
    "mm_session_fork": (c_int32, [_handle, _out_handle]),
    "mm_session_length": (c_size_t, [_handle]),
    "mm_session_tokens": (_ids, [_handle]),
    "mm_session_logits": (c_int32, [_handle, POINTER(POINTER(c_float))]),
    "mm_session_generate": (c_int32, [_handle, GENERATE_FN, c_void_p, POINTER(c_int32)]),

    "mm_trainer_create": (c_int32, [_handle, _text, _out_handle]),
    "mm_trainer_destroy": (None, [_handle]),
    "mm_trainer_resume": (c_int32, [_handle]),
    "mm_trainer_run": (c_int32, [_handle, c_int64, TRAINER_FN, c_void_p]),
    "mm_trainer_checkpoint": (c_int32, [_handle]),
    "mm_trainer_save": (c_int32, [_handle, _text]),
    "mm_trainer_evaluate": (c_int32, [_handle, _out_handle]),
    "mm_trainer_get_i64": (c_int32, [_handle, c_int32, POINTER(c_int64)]),
    "mm_trainer_get_f64": (c_int32, [_handle, c_int32, POINTER(c_double)]),
    "mm_trainer_output": (c_char_p, [_handle]),
    "mm_trainer_model": (c_void_p, [_handle]),
    "mm_evaluate": (c_int32, [_handle, _handle, _text, _out_handle]),
}


def _candidates() -> List[str]:
    """Where the library may be, best first. Never the bare name libmm.so: another package's library is called so too."""
    named = os.environ.get("LIBMM_PATH")
    if named:
        return [named]
    here = os.path.dirname(os.path.abspath(__file__))
    tree = os.path.dirname(os.path.dirname(here))  # lib/ of a source tree, which holds lib/python/libmm
    return [os.path.join(here, SONAME), os.path.join(tree, SONAME), SONAME]


def _load() -> ctypes.CDLL:
    failures = []
    for path in _candidates():
        if os.path.isabs(path) and not os.path.exists(path):
            failures.append(f"{path}: no such file")
            continue
        try:
            library = ctypes.CDLL(path)
        except OSError as e:
            failures.append(str(e))
            continue
        for name, (result, arguments) in PROTOTYPES.items():
            try:
                function = getattr(library, name)
            except AttributeError:
                raise ImportError(f"{path} has no {name}: it is another library or an older libmm than this package needs") from None
            function.restype = result
            function.argtypes = arguments
        return library
    raise ImportError("libmm's shared library was not found; build it with `make lib`, install it, or set LIBMM_PATH to it ("
                      + "; ".join(failures) + ")")


lib = _load()
