/* SPDX-License-Identifier: MIT */
#include "data_set.h"

#include <string.h>

#include "data_order.h"

enum { LOGGED = 10 };

struct mmi_data_set {
    const mmi_manifest *manifest;
    mmi_data_set_options options;
    size_t *lines;
    size_t count;
    unsigned char *bad; /* [count], of lines; NULL without skip_bad. A line that was bad once is not read again */
    atomic_size_t skipped;
};

mm_status mmi_data_set_create(mm_context *ctx, const mmi_manifest *manifest, const mmi_data_set_options *options, mmi_data_set **out)
{
    mmi_data_set *set = mmi_zalloc(ctx, sizeof *set);
    mm_status st = MM_E_NOMEM;

    *out = NULL;
    if (!set) goto cleanup;
    set->manifest = manifest;
    set->options = *options;
    atomic_init(&set->skipped, 0);
    st = mmi_manifest_split(ctx, manifest, options->split_seed, options->validation, options->want_validation, &set->lines, &set->count);
    if (st) goto cleanup;
    if (!set->count) {
        st = mmi_fail(ctx, MM_E_ARGUMENT, "of %zu examples none are left for %s with a validation share of %g",
                      mmi_manifest_count(manifest), options->want_validation ? "validation" : "training", options->validation);
        goto cleanup;
    }
    if (options->skip_bad) {
        set->bad = mmi_zalloc(ctx, set->count);
        if (!set->bad) {
            st = MM_E_NOMEM;
            goto cleanup;
        }
    }
    *out = set;
    set = NULL;
cleanup:
    mmi_data_set_destroy(set);
    return st;
}

void mmi_data_set_destroy(mmi_data_set *set)
{
    if (!set) return;
    mmi_free(set->lines);
    mmi_free(set->bad);
    mmi_free(set);
}

size_t mmi_data_set_count(const mmi_data_set *set) { return set->count; }
size_t mmi_data_set_skipped(const mmi_data_set *set) { return atomic_load(&set->skipped); }

/* What lies in the example, and not in the machine or the host. */
static int is_bad_example(mm_status st)
{
    return st == MM_E_FORMAT || st == MM_E_NOT_FOUND || st == MM_E_IO || st == MM_E_LIMIT || st == MM_E_UNSUPPORTED || st == MM_E_SHAPE;
}

mm_status mmi_data_set_read(mm_context *ctx, mmi_data_set *set, uint64_t position, mmi_example_fn fn, void *arg)
{
    const uint64_t epoch = position / set->count;
    const size_t first = (size_t)(position % set->count);
    mmi_record record = {0};
    mm_status st = MM_OK;

    for (size_t i = 0; i < set->count; i++) {
        const size_t turn = (first + i) % set->count;
        const size_t at = set->options.in_order ? turn : mmi_data_order_at(set->options.seed, epoch, set->count, turn);

        if (set->bad && set->bad[at]) continue;
        st = mmi_check_cancel(ctx);
        if (!st) st = mmi_manifest_read(ctx, set->manifest, set->lines[at], &record);
        if (!st) {
            st = fn(ctx, arg, &record, epoch, set->lines[at]);
            if (is_bad_example(st) && strncmp(ctx->error, record.where, strlen(record.where)))
                (void)mmi_fail(ctx, st, "%s: %s", record.where, ctx->error); /* a picture's reader does not know who named it */
        }
        if (!st || !set->bad || !is_bad_example(st)) goto cleanup;
        set->bad[at] = 1;
        if (atomic_fetch_add(&set->skipped, 1) < LOGGED) mmi_log(ctx, MM_LOG_WARNING, "skipped: %s", ctx->error);
    }
    st = mmi_fail(ctx, MM_E_FORMAT, "all %zu examples of a data set are bad; the last one: %s", set->count, ctx->error);
cleanup:
    mmi_record_clear(&record);
    return st;
}
