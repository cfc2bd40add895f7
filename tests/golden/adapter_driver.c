/* What compare_adapters.py asks: a new adapter of libmm's making, with numbers in B, written.
 *
 * usage: adapter_driver MODEL DIRECTORY (list | expression) TARGET...
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "adapter_file.h"

int main(int argc, char **argv)
{
    mm_context *ctx = NULL;
    mm_model *base = NULL, *m = NULL;
    mmi_adapter_spec spec = {(const char *const *)argv + 4, (size_t)argc - 4, argc > 3 && !strcmp(argv[3], "expression"), 4, 8, 0, 0};

    if (argc < 5 || mm_context_create(NULL, &ctx)) return 2;
    if (mmi_model_open(ctx, argv[1], &base) || mmi_adapter_create(ctx, base, &spec, 1, &m)) {
        fprintf(stderr, "%s\n", mm_context_error(ctx));
        return 1;
    }
    for (size_t i = 0; i < m->adapter->n_pairs; i++) {
        const mmi_weight *b = &m->adapter->pairs[i].b;
        for (size_t k = 0; k < b->rows * b->cols; k++) ((float *)(uintptr_t)b->data)[k] = (float)((k * 37 + i) % 19) / 40 - 0.2f;
    }
    if (mmi_adapter_save(ctx, m, argv[2])) {
        fprintf(stderr, "%s\n", mm_context_error(ctx));
        return 1;
    }
    mmi_model_release(m);
    mmi_model_release(base);
    mm_context_destroy(ctx);
    return 0;
}
