/* A session: tokens, their keys and values, and the loop that writes on. include/mm_session.h says what each call promises.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_SESSION_H
#define MMI_SESSION_H

#include "mm_session.h"
#include "model.h"
#include "session_media.h"

mm_status mmi_session_create(mm_context *ctx, mm_model *model, mm_session **out);
void mmi_session_destroy(mm_session *s);
mm_context *mmi_session_context(const mm_session *s);
mm_status mmi_session_set_i64(mm_session *s, int32_t option, int64_t value);
mm_status mmi_session_set_f64(mm_session *s, int32_t option, double value);
mm_status mmi_session_add_stop(mm_session *s, const char *text); /* NULL: forget all */
mm_status mmi_session_set_constraint(mm_session *s, int32_t option, const char *text); /* MM_SESSION_GRAMMAR, MM_SESSION_JSON_SCHEMA */
int mmi_session_bounds_i64(int32_t option, int64_t *lowest, int64_t *highest); /* 0: no such option */
int mmi_session_bounds_f64(int32_t option, double *lowest, double *highest);
mm_status mmi_session_append_text(mm_session *s, const char *text);
mm_status mmi_session_set_text(mm_session *s, const char *text);
mm_status mmi_session_append_tokens(mm_session *s, const int32_t *ids, size_t count);
mm_status mmi_session_set_tokens(mm_session *s, const int32_t *ids, size_t count);
mm_status mmi_session_rewind(mm_session *s, size_t length);
mm_status mmi_session_fork(mm_session *s, mm_session **out);
size_t mmi_session_length(const mm_session *s);
const int32_t *mmi_session_tokens(const mm_session *s);

/* Tokens with their media behind what is held; `placed` counts from the first of `ids`. After a failure nothing changed. */
mm_status mmi_session_add(mm_session *s, const int32_t *ids, size_t count, const mmi_placed *placed, size_t n_placed);

#endif
