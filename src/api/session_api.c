/* include/mm_session.h. SPDX-License-Identifier: MIT */
#include "mm_session.h"

#include "session_generate.h"
#include "session.h"
#include "session_explain.h"
#include "transcription.h"

mm_status mm_session_create(mm_context *ctx, mm_model *model, mm_session **out)
{
    if (out) *out = NULL;
    if (!ctx) return MM_E_ARGUMENT;
    if (!model || !out) return mmi_fail(ctx, MM_E_ARGUMENT, "model or out is NULL");
    return mmi_session_create(ctx, model, out);
}

void mm_session_destroy(mm_session *s) { mmi_session_destroy(s); }

mm_status mm_session_set_i64(mm_session *s, int32_t option, int64_t value) { return s ? mmi_session_set_i64(s, option, value) : MM_E_ARGUMENT; }
mm_status mm_session_set_f64(mm_session *s, int32_t option, double value) { return s ? mmi_session_set_f64(s, option, value) : MM_E_ARGUMENT; }

mm_status mm_session_set_str(mm_session *s, int32_t option, const char *value)
{
    if (!s) return MM_E_ARGUMENT;
    if (option == MM_SESSION_GRAMMAR || option == MM_SESSION_JSON_SCHEMA) return mmi_session_set_constraint(s, option, value);
    if (option != MM_SESSION_STOP) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "%d is no text option of a session", option);
    return mmi_session_add_stop(s, value);
}

mm_status mm_session_bounds_i64(int32_t option, int64_t *lowest, int64_t *highest)
{
    return lowest && highest && mmi_session_bounds_i64(option, lowest, highest) ? MM_OK : MM_E_ARGUMENT;
}

mm_status mm_session_bounds_f64(int32_t option, double *lowest, double *highest)
{
    return lowest && highest && mmi_session_bounds_f64(option, lowest, highest) ? MM_OK : MM_E_ARGUMENT;
}

mm_status mm_session_append_text(mm_session *s, const char *text)
{
    if (!s) return MM_E_ARGUMENT;
    if (!text) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "text is NULL");
    return mmi_session_append_text(s, text);
}

mm_status mm_session_append_image(mm_session *s, const mm_image *image)
{
    if (!s) return MM_E_ARGUMENT;
    if (!image) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "image is NULL");
    return mmi_session_append_image(s, image);
}

mm_status mm_session_explain(mm_session *s, const mm_image *image, size_t first, mm_tensor **out)
{
    if (out) *out = NULL;
    if (!s) return MM_E_ARGUMENT;
    if (!image || !out) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "image or out is NULL");
    return mmi_session_explain(s, image, first, out);
}

mm_status mm_session_append_audio(mm_session *s, const mm_audio *audio)
{
    if (!s) return MM_E_ARGUMENT;
    if (!audio) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "audio is NULL");
    return mmi_session_append_audio(s, audio);
}

mm_status mm_session_transcribe(mm_session *s, const mm_audio *audio, const char *language, int32_t task, int32_t timestamps, mm_transcribe_fn fn, void *user)
{
    if (!s) return MM_E_ARGUMENT;
    if (!audio) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "audio is NULL");
    return mmi_session_transcribe(s, audio, language, task, timestamps != 0, fn, user);
}

mm_status mm_session_append_video(mm_session *s, const mm_video *video)
{
    if (!s) return MM_E_ARGUMENT;
    if (!video) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "video is NULL");
    return mmi_session_append_video(s, video);
}

mm_status mm_session_beam(const mm_session *s, size_t index, const int32_t **ids, size_t *count, double *score)
{
    return s && ids && count && score && mmi_session_beam(s, index, ids, count, score) ? MM_OK : MM_E_ARGUMENT;
}

mm_status mm_session_set_text(mm_session *s, const char *text)
{
    if (!s) return MM_E_ARGUMENT;
    if (!text) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "text is NULL");
    return mmi_session_set_text(s, text);
}

mm_status mm_session_append_tokens(mm_session *s, const int32_t *ids, size_t count)
{
    if (!s) return MM_E_ARGUMENT;
    if (!ids && count) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "ids is NULL");
    return mmi_session_append_tokens(s, ids, count);
}

mm_status mm_session_set_tokens(mm_session *s, const int32_t *ids, size_t count)
{
    if (!s) return MM_E_ARGUMENT;
    if (!ids && count) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "ids is NULL");
    return mmi_session_set_tokens(s, ids, count);
}

mm_status mm_session_rewind(mm_session *s, size_t length) { return s ? mmi_session_rewind(s, length) : MM_E_ARGUMENT; }

mm_status mm_session_fork(mm_session *s, mm_session **out)
{
    if (out) *out = NULL;
    if (!s) return MM_E_ARGUMENT;
    if (!out) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "out is NULL");
    return mmi_session_fork(s, out);
}

size_t mm_session_length(const mm_session *s) { return s ? mmi_session_length(s) : 0; }
const int32_t *mm_session_tokens(const mm_session *s) { return s ? mmi_session_tokens(s) : NULL; }

mm_status mm_session_logits(mm_session *s, const float **out)
{
    if (!s) return MM_E_ARGUMENT;
    if (!out) return mmi_fail(mmi_session_context(s), MM_E_ARGUMENT, "out is NULL");
    return mmi_session_logits(s, out);
}

mm_status mm_session_generate(mm_session *s, mm_generate_fn fn, void *user, int32_t *reason)
{
    if (reason) *reason = MM_STOP_NONE;
    return s ? mmi_session_generate(s, fn, user, reason) : MM_E_ARGUMENT;
}
