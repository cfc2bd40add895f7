/* The tokens by which a speech model is told what to do (Whisper: arXiv:2212.04356, section 2.3), from generation_config.json.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_SPEECH_TOKENS_H
#define MMI_SPEECH_TOKENS_H

#include "ids.h"
#include "json.h"

typedef struct {
    char *code; /* "en" */
    int32_t id;
} mmi_speech_language;

typedef struct {
    mmi_speech_language *languages; /* none: the model knows one */
    size_t n_languages;
    int32_t transcribe, translate;  /* -1: not told apart */
    int32_t no_timestamps;          /* timestamps are the ids behind it; -1: not told, and no timestamps */
    int32_t first_timestamp_most;   /* steps that the first timestamp may count, -1: any */
} mmi_speech_tokens;

/* `vocabulary` bounds the ids. `doc` NULL: nothing is told. */
mm_status mmi_speech_tokens_read(mm_context *ctx, const mmi_json *doc, int64_t vocabulary, mmi_speech_tokens *out);
void mmi_speech_tokens_clear(mmi_speech_tokens *tokens);

/* The token of a language by its code, -1: it has none. */
int32_t mmi_speech_language_id(const mmi_speech_tokens *tokens, const char *code);

#endif
