/* libFuzzer target: open a manifest and read all of its examples; what is read is touched. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* memfd_create */
#include <string.h>

#include "fuzz_file.h"
#include "manifest.h"

static size_t touch(const char *s) { return s ? strlen(s) : 0; }

static size_t touch_record(const mmi_record *r)
{
    size_t n = touch(r->audio) + touch(r->video) + touch(r->text) + touch(r->caption) + touch(r->question) + touch(r->answer) +
               touch(r->prompt) + touch(r->chosen) + touch(r->rejected);

    for (size_t i = 0; i < r->image_count; i++) n += touch(r->images[i]);
    for (size_t i = 0; i < r->label_count; i++) n += touch(r->labels[i].head) + touch(r->labels[i].name);
    for (size_t i = 0; i < r->value_count; i++) n += r->values[i] > 0;
    for (size_t i = 0; i < r->message_count; i++) {
        const mmi_chat_message *m = &r->messages[i];
        n += touch(m->role) + touch(m->content);
        for (size_t k = 0; k < m->part_count; k++) n += touch(m->parts[k].type) + touch(m->parts[k].text);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    const char *name = path;
    const int fd = fuzz_file_open(data, size, path);
    mm_context *ctx = NULL;
    mmi_manifest *m = NULL;
    mmi_record r = {0};

    if (mm_context_create(NULL, &ctx)) abort();
    if (!mmi_manifest_open(ctx, &name, 1, &m)) {
        for (size_t i = 0; i < mmi_manifest_count(m); i++) {
            if (mmi_manifest_read(ctx, m, i, &r)) {
                if (!strstr(ctx->error, path) || r.where) abort(); /* each sentence names the file */
            } else if (touch_record(&r) == SIZE_MAX) {
                abort();
            }
        }
    }
    mmi_record_clear(&r);
    mmi_manifest_close(m);
    mm_context_destroy(ctx);
    close(fd);
    return 0;
}
