/* libFuzzer target: open a safetensors file, read all of it, and what was read must fill the file and write back to a file
 * that reads the same. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "fuzz_file.h"

#include <string.h>

#include "safetensors_writer.h"

static void write_and_compare(mm_context *ctx, const mmi_safetensors *s)
{
    char path[] = "/tmp/fuzz_safetensors.XXXXXX";
    size_t count = mmi_safetensors_count(s);
    mmi_safetensors *copy;
    int fd = mkstemp(path);

    if (fd < 0) abort();
    if (!mmi_safetensors_write(ctx, path, mmi_safetensors_at(s, 0), count)) { /* the tensors stand in one array */
        if (mmi_safetensors_open(ctx, path, &copy) || mmi_safetensors_count(copy) != count) abort();
        for (size_t i = 0; i < count; i++) {
            const mmi_safetensors_tensor *a = mmi_safetensors_at(s, i), *b = mmi_safetensors_at(copy, i);
            if (strcmp(a->name, b->name) || a->bytes != b->bytes || (a->bytes && memcmp(a->data, b->data, a->bytes))) abort();
        }
        mmi_safetensors_destroy(copy);
    }
    close(fd);
    (void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mm_context *ctx;
    mmi_safetensors *s;
    char path[32];
    int fd = fuzz_file_open(data, size, path);

    if (mm_context_create(NULL, &ctx)) abort();
    if (!mmi_safetensors_open(ctx, path, &s)) {
        size_t sum = 0;
        for (size_t i = 0; i < mmi_safetensors_count(s); i++) sum += mmi_safetensors_at(s, i)->bytes;
        if (sum > size) abort();
        write_and_compare(ctx, s);
        mmi_safetensors_destroy(s);
    }
    mm_context_destroy(ctx);
    close(fd);
    return 0;
}
