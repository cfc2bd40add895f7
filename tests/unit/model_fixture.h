/* What the tests of whole models share: opening the tiny checkpoints of tests/golden/make_models.py, running them and comparing.
 * Through the public API only. SPDX-License-Identifier: MIT */
#ifndef MODEL_FIXTURE_H
#define MODEL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "mm_model.h"
#include "mm_session.h"

#define MODELS "tests/golden/models/"

/* Relative to the largest output. float32 sums of some dozen terms in another order differ by about 1e-6. */
static const double EXACT = 1e-4;

static inline void ok(mm_context *ctx, mm_status st)
{
    if (st) fail_msg("%s: %s", mm_status_name(st), mm_context_error(ctx));
}

/* The call failed with this status, and its sentence holds each of the parts (NULL at the end). */
static inline void refused(mm_context *ctx, mm_status have, mm_status want, ...)
{
    va_list parts;
    const char *part;

    if (have != want) fail_msg("%s (%s), expected %s", mm_status_name(have), mm_context_error(ctx), mm_status_name(want));
    va_start(parts, want);
    while ((part = va_arg(parts, const char *)))
        if (!strstr(mm_context_error(ctx), part)) fail_msg("\"%s\" does not say \"%s\"", mm_context_error(ctx), part);
    va_end(parts);
}

static inline int64_t memory_used(const mm_context *ctx)
{
    int64_t used = -1;
    assert_int_equal(mm_context_get_i64(ctx, MM_CONTEXT_MEMORY_USED, &used), MM_OK);
    return used;
}

static inline mm_model *open_golden(mm_context *ctx, const char *name)
{
    char path[256];
    mm_model *m = NULL;

    (void)snprintf(path, sizeof path, MODELS "%s", name);
    ok(ctx, mm_model_open(ctx, path, &m));
    assert_non_null(m);
    return m;
}

/* <directory of name>/<file>, where name may end in "/model.gguf". */
static inline mm_tensor_map *read_golden(mm_context *ctx, const char *name, const char *file, const char *suffix)
{
    char path[256];
    mm_tensor_map *map = NULL;
    const char *slash = strchr(name, '/');

    (void)snprintf(path, sizeof path, MODELS "%.*s/%s.%s.safetensors", (int)(slash ? slash - name : (long)strlen(name)), name, file,
                   suffix);
    ok(ctx, mm_tensor_map_read(ctx, path, &map));
    return map;
}

static inline int64_t fact(const mm_model *m, int32_t which)
{
    int64_t v = -1;
    assert_int_equal(mm_model_get_i64(m, which, &v), MM_OK);
    return v;
}

/* The mask of an output's tokens among the inputs; NULL: none. */
static inline const mm_tensor *mask_of(const mm_tensor_map *in, const char *output)
{
    int answers = mm_tensor_map_get(in, "decoder_input_ids") && strncmp(output, "encoder_", 8);
    return mm_tensor_map_get(in, answers ? "decoder_attention_mask" : "attention_mask");
}

/* The largest difference relative to the largest expected value; positions that the mask [B, T] (NULL: none) hides are left out.
 * Anything that is not finite counts as infinitely wrong. */
static inline double relative_error(const mm_tensor *have, const mm_tensor *want, const mm_tensor *mask)
{
    const float *a = mm_tensor_const_data(have), *b = mm_tensor_const_data(want);
    const int64_t *shape = mm_tensor_shape(want), n = mm_tensor_elements(want);
    int by_token = mask && mm_tensor_rank(want) == 3 && !memcmp(mm_tensor_shape(mask), shape, 2 * sizeof *shape);
    double worst = 0, largest = 0;

    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (by_token && !((const int64_t *)mm_tensor_const_data(mask))[i / shape[2]]) continue;
        if (!isfinite(a[i])) return INFINITY;
        worst = fmax(worst, d);
        largest = fmax(largest, fabs((double)b[i]));
    }
    return worst / largest;
}

static inline void assert_same_shape(const char *what, const mm_tensor *have, const mm_tensor *want)
{
    if (!have || mm_tensor_dtype(have) != MM_DTYPE_F32 || mm_tensor_rank(have) != mm_tensor_rank(want) ||
        memcmp(mm_tensor_shape(have), mm_tensor_shape(want), (size_t)mm_tensor_rank(want) * sizeof(int64_t)))
        fail_msg("%s: missing, or not F32 of the expected shape", what);
}

#endif
