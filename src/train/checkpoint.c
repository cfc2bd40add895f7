/* SPDX-License-Identifier: MIT */
#include "checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dtype.h"
#include "file.h"
#include "safetensors_writer.h"

#define PREFIX "checkpoint-"
#define SUFFIX ".safetensors"

static char *path_of(mm_context *ctx, const char *directory, uint64_t step)
{
    char name[64];
    (void)snprintf(name, sizeof name, PREFIX "%08llu" SUFFIX, (unsigned long long)step);
    return mmi_file_join(ctx, directory, name);
}

/* The step of a checkpoint's name, and what stands behind the name; NULL: it is none. */
static const char *step_of(const char *name, uint64_t *step)
{
    const size_t before = sizeof PREFIX - 1;
    uint64_t n = 0;

    if (strncmp(name, PREFIX, before)) return NULL;
    for (name += before; *name >= '0' && *name <= '9'; name++) {
        if (n > UINT64_MAX / 10 - 1) return NULL;
        n = 10 * n + (uint64_t)(*name - '0');
    }
    *step = n;
    return strncmp(name, SUFFIX, sizeof SUFFIX - 1) ? NULL : name + sizeof SUFFIX - 1;
}

/* Names and places of all that a checkpoint holds. */
typedef struct {
    mmi_safetensors_tensor *list;
    char **names;
    size_t n;
} contents;

static void contents_clear(contents *c)
{
    for (size_t i = 0; i < c->n; i++) mmi_free(c->names[i]);
    mmi_free(c->names);
    mmi_free(c->list);
}

static mm_status add(mm_context *ctx, contents *c, const char *group, const char *name, int32_t dtype, size_t elements, const void *data)
{
    mmi_safetensors_tensor *t = &c->list[c->n];
    mmi_text full = {0};

    if (mmi_text_format(ctx, &full, "%s.%s", group, name)) return MM_E_NOMEM;
    c->names[c->n++] = full.data;
    t->name = full.data;
    t->dtype = dtype;
    t->rank = 1;
    t->shape[0] = (int64_t)elements;
    t->data = data;
    t->bytes = elements * mmi_dtype_get(dtype)->block_bytes;
    return MM_OK;
}

/* `step` is borrowed; *c is cleared by the caller, after a failure too. */
static mm_status describe(mm_context *ctx, const mmi_parameters *p, const mmi_optimizer *o, int64_t *step, contents *c)
{
    const size_t most = 1 + p->count + mmi_optimizer_states(o);
    mm_status st;

    memset(c, 0, sizeof *c);
    c->list = mmi_zalloc_array(ctx, most, sizeof *c->list);
    c->names = mmi_zalloc_array(ctx, most, sizeof *c->names);
    if (!c->list || !c->names) return MM_E_NOMEM;
    st = add(ctx, c, "state", "step", MM_DTYPE_I64, 1, step);
    for (size_t i = 0; i < p->count && !st; i++)
        st = add(ctx, c, "weights", p->list[i].name, p->list[i].dtype, p->list[i].rows * p->list[i].cols, p->list[i].weights);
    for (size_t i = 0; i < mmi_optimizer_states(o) && !st; i++) {
        const char *name;
        float *data;
        size_t elements;
        mmi_optimizer_state(o, i, &name, &data, &elements);
        st = add(ctx, c, "optimizer", name, MM_DTYPE_F32, elements, data);
    }
    return st;
}

/* The newest checkpoint below step `below`. */
typedef struct {
    uint64_t below, newest;
    int found;
} newest_search;

/* Look through a directory; one that is not there has no checkpoint. What killed processes left of checkpoints that they were writing goes. */
static mm_status find_newest(mm_context *ctx, const char *directory, newest_search *s)
{
    DIR *d = opendir(directory);
    struct dirent *entry;
    const char *behind;
    uint64_t step;

    s->found = 0;
    if (!d) return errno == ENOENT ? MM_OK : mmi_file_fail(ctx, "read", directory, errno);
    while ((entry = readdir(d))) {
        if (!(behind = step_of(entry->d_name, &step))) continue;
        if (*behind) {
            (void)unlinkat(dirfd(d), entry->d_name, 0);
        } else if (step < s->below && (!s->found || step > s->newest)) {
            s->newest = step;
            s->found = 1;
        }
    }
    (void)closedir(d);
    return MM_OK;
}

/* All but the `keep` newest go. */
static mm_status drop_old(mm_context *ctx, const char *directory, size_t keep)
{
    newest_search s = {.below = UINT64_MAX};
    char *path;
    mm_status st;

    for (;; keep -= keep > 0) {
        if ((st = find_newest(ctx, directory, &s)) || !s.found) return st;
        s.below = s.newest;
        if (keep) continue;
        path = path_of(ctx, directory, s.newest);
        if (!path) return MM_E_NOMEM;
        (void)unlink(path); /* what stays behind is only old */
        mmi_free(path);
    }
}

mm_status mmi_checkpoint_write(mm_context *ctx, const char *directory, uint64_t step, const mmi_parameters *p, const mmi_optimizer *o, size_t keep)
{
    int64_t number = (int64_t)step;
    contents c = {0};
    char *path = path_of(ctx, directory, step);
    mm_status st = path ? describe(ctx, p, o, &number, &c) : MM_E_NOMEM;

    if (!st) st = mmi_safetensors_write(ctx, path, c.list, c.n);
    contents_clear(&c);
    mmi_free(path);
    return st ? st : drop_old(ctx, directory, keep);
}

mm_status mmi_checkpoint_find(mm_context *ctx, const char *directory, uint64_t *step)
{
    newest_search s = {.below = UINT64_MAX};
    mm_status st = find_newest(ctx, directory, &s);

    *step = s.newest;
    return st || s.found ? st : mmi_fail(ctx, MM_E_NOT_FOUND, "%s holds no checkpoint", directory);
}

mm_status mmi_checkpoint_read(mm_context *ctx, const char *directory, uint64_t step, mmi_parameters *p, mmi_optimizer *o)
{
    int64_t number = 0;
    mmi_safetensors *file = NULL;
    contents want = {0};
    char *path = path_of(ctx, directory, step);
    mm_status st = path ? mmi_safetensors_open(ctx, path, &file) : MM_E_NOMEM;

    if (!st) st = describe(ctx, p, o, &number, &want);
    for (int copy = 0; copy < 2 && !st; copy++) /* first all is compared */
        for (size_t i = (size_t)copy; !st && i < want.n; i++) { /* the first is the step, which is compared alone */
            const mmi_safetensors_tensor *to = &want.list[i], *from = mmi_safetensors_find(file, to->name);
            if (copy) memcpy((void *)(uintptr_t)to->data, from->data, to->bytes);
            else if (!from) st = mmi_fail(ctx, MM_E_FORMAT, "%s has no %s, which this run trains", path, to->name);
            else if (from->dtype != to->dtype || from->bytes != to->bytes)
                st = mmi_fail(ctx, MM_E_SHAPE, "%s: %s has %zu bytes of %s, this run has %zu of %s", path, to->name, from->bytes, mm_dtype_name(from->dtype),
                              to->bytes, mm_dtype_name(to->dtype));
            else if (!i && memcmp(from->data, &step, sizeof step)) st = mmi_fail(ctx, MM_E_FORMAT, "%s is not of the step in its name", path);
        }
    contents_clear(&want);
    mmi_safetensors_destroy(file);
    mmi_free(path);
    return st;
}
