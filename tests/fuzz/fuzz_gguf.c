/* libFuzzer target: open a GGUF file and read everything that it claims to hold. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "fuzz_file.h"
#include "gguf.h"

static volatile unsigned sink;

static void read_bytes(const void *bytes, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((const unsigned char *)bytes)[i];
    sink = sum;
}

static void read_key(mm_context *ctx, const mmi_gguf *g, const char *key)
{
    mmi_gguf_type type = MMI_GGUF_U8;
    const char *text;
    int64_t integer;
    double number;
    size_t n, count = 0;
    int truth, found;

    if (!mmi_gguf_has(g, key)) abort();
    (void)mmi_gguf_i64(ctx, g, key, 1, -100, 100, &integer);
    (void)mmi_gguf_f64(ctx, g, key, 1, -1, 1, &number);
    (void)mmi_gguf_bool(ctx, g, key, 1, &truth);
    if (!mmi_gguf_string(ctx, g, key, 1, &text, &n)) read_bytes(text, n);
    if (mmi_gguf_array(ctx, g, key, 1, &type, &count, &found)) return;
    for (size_t i = 0; i < count; i++) {
        (void)mmi_gguf_array_i64(ctx, g, key, i, &integer);
        (void)mmi_gguf_array_f64(ctx, g, key, i, &number);
        if (!mmi_gguf_array_string(ctx, g, key, i, &text, &n)) read_bytes(text, n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mm_context *ctx;
    mmi_gguf *g;
    char path[32];
    int fd = fuzz_file_open(data, size, path);

    if (mm_context_create(NULL, &ctx)) abort();
    if (!mmi_gguf_open(ctx, path, &g)) {
        for (size_t i = 0; i < mmi_gguf_key_count(g); i++) read_key(ctx, g, mmi_gguf_key(g, i));
        for (size_t i = 0; i < mmi_gguf_tensor_count(g); i++) {
            const mmi_gguf_tensor *t = mmi_gguf_tensor_at(g, i);
            if (mmi_gguf_tensor_find(g, t->name) != t) abort();
            read_bytes(t->data, t->bytes);
        }
        mmi_gguf_destroy(g);
    }
    mm_context_destroy(ctx);
    close(fd);
    return 0;
}
