/* libmm: sessions, in which a language model reads and writes text.
 *
 * A session hangs on the context it was created with: it must be destroyed before the context, and both serve one thread
 * at a time. It keeps the model's keys and values for the tokens read so far, so that a conversation goes on without
 * reading its beginning again. SPDX-License-Identifier: MIT */
#ifndef MM_SESSION_H
#define MM_SESSION_H

#include "mm_audio.h"
#include "mm_model.h"
#include "mm_video.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mm_session mm_session;

/* Create an empty session.
 *
 *   model  retained by the session
 *   out    receives the session; the caller destroys it; NULL after a failure
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_UNSUPPORTED (the model does not generate) or MM_E_NOMEM. Since 0.1. */
MM_API mm_status mm_session_create(mm_context *ctx, mm_model *model, mm_session **out);
MM_API void mm_session_destroy(mm_session *session); /* NULL allowed */

/* Options, set one by one. An unknown option or a value out of bounds is MM_E_ARGUMENT with a message that names both. */
enum {
    MM_SESSION_MAX_TOKENS = 1,         /* i64, 1..: tokens that one generate may write; default 256 */
    MM_SESSION_CONTEXT = 2,            /* i64, 1..model's context: tokens that the session may hold; default the model's context */
    MM_SESSION_WHEN_FULL = 3,          /* i64, MM_WHEN_FULL_*: what happens when it holds so many; default MM_WHEN_FULL_STOP */
    MM_SESSION_KEEP = 4,               /* i64, 0..: first tokens that a sliding window keeps; default 0 */
    MM_SESSION_TOP_K = 5,              /* i64, 0..: sample among the K likeliest, 0 (default): all */
    MM_SESSION_SEED = 6,               /* i64: of the random numbers; default 0 */
    MM_SESSION_REPEAT_LAST = 7,        /* i64, -1..: tokens that the penalties look back on, -1: all; default 64 */
    MM_SESSION_KV_TYPE = 8,            /* i64, MM_DTYPE_F16 (default) or MM_DTYPE_F32; only while the session is empty */
    MM_SESSION_PARSE_SPECIAL = 9,      /* i64, 0 or 1 (default): whether append_text reads special tokens spelled out in the text */
    MM_SESSION_BEAMS = 10,             /* i64, 1 (default)..64: sequences searched side by side (beam search), by the model's probabilities alone;
                                        * the best becomes the text, all at once. Since 0.2 */
    MM_SESSION_EARLY_STOPPING = 11,    /* i64, MM_EARLY_STOPPING_*: when a search with beams ends; default MM_EARLY_STOPPING_OFF. Since 0.2 */

    MM_SESSION_TEMPERATURE = 50,       /* f64, 0..100: 0 (default) takes the likeliest token */
    MM_SESSION_TOP_P = 51,             /* f64, >0..1: sample among the likeliest that have this probability together; default 1 */
    MM_SESSION_MIN_P = 52,             /* f64, 0..1: drop tokens less likely than this share of the likeliest; default 0 */
    MM_SESSION_REPEAT_PENALTY = 53,    /* f64, >0..10: divides positive logits of tokens seen before (arXiv:1909.05858); default 1 */
    MM_SESSION_PRESENCE_PENALTY = 54,  /* f64, -10..10: taken off the logit of a token seen before; default 0 */
    MM_SESSION_FREQUENCY_PENALTY = 55, /* f64, -10..10: times how often it was seen; default 0 */
    MM_SESSION_LENGTH_PENALTY = 56,    /* f64, -100..100: a sequence's score is its log-probability over its length to this power; default 1. Since 0.2 */

    MM_SESSION_STOP = 80,              /* str: add a text at which generate stops; NULL forgets them all */
    /* What generate may write, from its next call on; each call begins at the beginning. Of the tokens that may follow, one is picked as always;
     * an end token may follow where the text may end. The last one set counts; NULL: anything. MM_E_FORMAT, MM_E_UNSUPPORTED and MM_E_LIMIT
     * say what is wrong with it, and then the one before stays. Since 0.2. */
    MM_SESSION_GRAMMAR = 81,           /* str: a grammar in GBNF, the notation of llama.cpp; its rule `root` is the text */
    MM_SESSION_JSON_SCHEMA = 82        /* str: a JSON schema; the text is JSON that it describes ("{}": any); docs/constrained.md has its keywords */
};
enum {
    MM_EARLY_STOPPING_OFF = 0,   /* when no running sequence is likely to become better than the found ones */
    MM_EARLY_STOPPING_ON = 1,    /* when as many as there are beams were found */
    MM_EARLY_STOPPING_NEVER = 2  /* when no running sequence can become better, whatever it goes on with */
};
enum {
    MM_WHEN_FULL_STOP = 0, /* generate ends with MM_STOP_FULL, append fails with MM_E_CONTEXT_FULL */
    MM_WHEN_FULL_SLIDE = 1 /* the older half of the tokens behind MM_SESSION_KEEP is dropped, and what stays is read again */
};
MM_API mm_status mm_session_set_i64(mm_session *session, int32_t option, int64_t value);
MM_API mm_status mm_session_set_f64(mm_session *session, int32_t option, double value);
MM_API mm_status mm_session_set_str(mm_session *session, int32_t option, const char *value); /* copied */
MM_API mm_status mm_session_bounds_i64(int32_t option, int64_t *lowest, int64_t *highest);
MM_API mm_status mm_session_bounds_f64(int32_t option, double *lowest, double *highest);

/* Append text or tokens. Nothing is computed until tokens are needed. An empty session whose tokenizer begins texts with a token
 * begins with it. Of an encoder-decoder whose source is text (T5, BART, a question about a picture) they are the source, and the answer begins anew;
 * a source is all text or all tokens. mm_session_length and the calls beside it then tell of the answer, which begins with the model's own tokens. Of
 * one whose source is a picture or sound they begin the answer.
 * Returns MM_OK, MM_E_ARGUMENT (an id out of range; placeholders of media without a medium), MM_E_FORMAT (malformed UTF-8), MM_E_STATE (text behind a
 * source of tokens, or tokens behind one of text), MM_E_UNSUPPORTED (text for a model without a tokenizer), MM_E_CONTEXT_FULL, MM_E_NOMEM; after a
 * failure the session is as it was. Since 0.1. */
MM_API mm_status mm_session_append_text(mm_session *session, const char *text);
MM_API mm_status mm_session_append_tokens(mm_session *session, const int32_t *ids, size_t count);

/* Append a picture: it joins the next text that is appended, at the family's placeholder for pictures ("<image>", "<|image_pad|>", ...) there, or
 * in front of it where the text has none left; without a text it stands alone. A model with an encoder for pictures (captions, reading of
 * text) answers from the picture instead, and begins anew with it. A picture is processed at once and encoded once: the same picture again, in this
 * session or a fork, costs nothing more.
 *
 *   image  borrowed for the call
 *
 * Returns MM_OK, MM_E_ARGUMENT, MM_E_UNSUPPORTED (the model takes text alone, or has no processor), MM_E_SHAPE or MM_E_LIMIT (a picture that
 * the processor cannot take; the message has its size), MM_E_NOMEM, MM_E_CANCELLED. Threads: as the session. Since 0.2. */
MM_API mm_status mm_session_append_image(mm_session *session, const mm_image *image);

/* Append a video, as a picture: the frames that the model's processor samples from it (Qwen2-VL: arXiv:2409.12191), read now. Two calls with the same
 * video are two videos. Else as mm_session_append_image, and what reading a frame returns. Since 0.2. */
MM_API mm_status mm_session_append_video(mm_session *session, const mm_video *video);

/* Append a sound, as a picture: a model that hears answers from it (Whisper: arXiv:2212.04356). It is resampled as needed; one longer than the model
 * takes at a time is MM_E_LIMIT (mm_session_transcribe reads long ones). Else as mm_session_append_image. Since 0.2. */
MM_API mm_status mm_session_append_audio(mm_session *session, const mm_audio *audio);

/* Make the session hold exactly this text, which says its special tokens itself (as mm_model_apply_chat_template writes them; of a model that takes
 * media the token that begins a text is put in front where the text does not begin with it, as transformers does), with the media appended since the
 * last text at their placeholders: what it has in common with the session's beginning, media included, is kept with its
 * keys and values. Returns as mm_session_append_text and mm_session_append_image. Since 0.2. */
MM_API mm_status mm_session_set_text(mm_session *session, const char *text);

/* Make the session hold exactly these tokens (of an encoder-decoder, its answer): the longest common beginning with what it holds is kept with its keys,
 * values and media. Media appended since the last text belong to placeholders behind it. Returns as mm_session_append_tokens. Since 0.1. */
MM_API mm_status mm_session_set_tokens(mm_session *session, const int32_t *ids, size_t count);

/* Drop tokens from the end until `length` are left. MM_OK or MM_E_ARGUMENT. Since 0.1. */
MM_API mm_status mm_session_rewind(mm_session *session, size_t length);

/* A second session that holds the same tokens, keys and values, and options; both go on independently. Since 0.1. */
MM_API mm_status mm_session_fork(mm_session *session, mm_session **out);

/* Tokens held; borrowed until the session changes. Since 0.1. */
MM_API size_t mm_session_length(const mm_session *session);
MM_API const int32_t *mm_session_tokens(const mm_session *session);

/* Scores of the next token, [V] float32, computing what was appended. Borrowed until the session changes. MM_OK, MM_E_STATE (the
 * session is empty, or has no source to answer from), MM_E_NOMEM, MM_E_CANCELLED. Since 0.1. */
MM_API mm_status mm_session_logits(mm_session *session, const float **out);

/* Receives generated text as it comes: whole UTF-8 characters, `size` bytes and a NUL, and the id that completed them (text may be empty
 * while a character is unfinished, and the id is -1 for text that waited to the end). Returning nonzero stops with MM_STOP_CALLBACK. Called on
 * the thread that runs generate. */
typedef int32_t (*mm_generate_fn)(void *user, int32_t id, const char *text, size_t size);

/* Why generate ended. */
enum {
    MM_STOP_NONE = 0,
    MM_STOP_END = 1,      /* the model's end token, which is not part of the text */
    MM_STOP_LENGTH = 2,   /* MM_SESSION_MAX_TOKENS */
    MM_STOP_TEXT = 3,     /* one of the stop texts, which is not handed out */
    MM_STOP_CALLBACK = 4,
    MM_STOP_FULL = 5      /* the context is full */
};

/* Write on from what was appended. Generated tokens become part of the session (the end token too). Text that may be the beginning of
 * a stop text is held back until it is decided.
 *
 *   fn      NULL for none
 *   reason  receives MM_STOP_*; may be NULL
 *
 * Returns MM_OK, MM_E_STATE (the session is empty or has no source to answer from; no token can follow the grammar),
 * MM_E_CONTEXT_FULL (no room for the text that was appended), MM_E_LIMIT (the grammar is too ambiguous), MM_E_NOMEM or MM_E_CANCELLED: tokens so far stay. Since 0.1. */
MM_API mm_status mm_session_generate(mm_session *session, mm_generate_fn fn, void *user, int32_t *reason);

/* Where in a picture the model looked when it wrote what stands behind the first `first` tokens of the session. The tokens are computed once more, all
 * together, and their attention followed back to the patches: by rollout (arXiv:2005.00928) through a text that has the picture among its
 * tokens and through the vision tower; across to the source where the model answers from one.
 *
 *   image  borrowed; a picture that the session holds, known by its pixels
 *   first  0 to the length: mm_session_length before mm_session_generate; the length itself: where the next token would look
 *   out    receives a new tensor [rows, cols] float32 that adds up to 1: a grid of equal cells over the whole picture, about as large as the
 *          model's patches there; what its processor cuts away is 0. The caller releases it; NULL after a failure
 *
 * It takes memory for layers * tokens^2 numbers. The session stays as it is. Returns MM_OK, MM_E_ARGUMENT (the session does not hold the picture), MM_E_STATE (the
 * session is empty; nothing looked at the picture, as where it stands behind the answer), MM_E_UNSUPPORTED (the model takes no pictures, or has no grid of
 * patches), MM_E_NOMEM or MM_E_CANCELLED. Since 0.2. */
MM_API mm_status mm_session_explain(mm_session *session, const mm_image *image, size_t first, mm_tensor **out);

/* Receives a stretch of recognized speech: from `begin` to `end` seconds, `size` bytes of UTF-8 and a NUL. Returning nonzero stops. Called on the thread that
 * runs transcribe. */
typedef int32_t (*mm_transcribe_fn)(void *user, double begin, double end, const char *text, size_t size);

enum {
    MM_TASK_TRANSCRIBE = 0,
    MM_TASK_TRANSLATE = 1 /* into English */
};

/* Write down what is said in a sound of any length (Whisper: arXiv:2212.04356). One longer than the model takes at a time is read by windows that begin
 * where the timestamps say that the last segment ended, as transformers does. The session's options of sampling count; what it held is dropped.
 *
 *   audio       borrowed
 *   language    "en", "de", ...; NULL: heard from the sound, where the model knows several
 *   task        MM_TASK_*
 *   timestamps  nonzero: a call of fn a segment, with the model's timestamps; 0: one call with all, unless the sound is longer than a window
 *   fn          NULL for none
 *
 * Returns MM_OK, MM_E_ARGUMENT (a language or task that the model does not know), MM_E_UNSUPPORTED (no speech model; beams), MM_E_SHAPE (a sound of no
 * whole frame), MM_E_LIMIT, MM_E_NOMEM or MM_E_CANCELLED. Since 0.2. */
MM_API mm_status mm_session_transcribe(mm_session *session, const mm_audio *audio, const char *language, int32_t task, int32_t timestamps,
                                       mm_transcribe_fn fn, void *user);

/* A sequence that the last generate with MM_SESSION_BEAMS above 1 found, `index` 0 being the best: its ids, which end with the end token unless they were
 * cut, borrowed until the next generate, and its score. MM_OK, or MM_E_ARGUMENT when there are fewer. Since 0.2. */
MM_API mm_status mm_session_beam(const mm_session *session, size_t index, const int32_t **ids, size_t *count, double *score);

#ifdef __cplusplus
}
#endif
#endif
