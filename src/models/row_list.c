/* SPDX-License-Identifier: MIT */
#include "row_list.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEXT = 256 };

static const char *keep(mmi_row_list *l, const char *text)
{
    size_t n = strlen(text) + 1;
    char *own = mmi_arena_alloc(l->ctx, &l->m->own, n);

    if (own) memcpy(own, text, n);
    else l->st = MM_E_NOMEM;
    return own;
}

int mmi_row_add(mmi_row_list *l, int flags, int64_t rows, int64_t cols, const char *name, ...)
{
    char text[TEXT], shape[64];
    mmi_weight_row *row;
    va_list args;

    if (l->st) return 0;
    if (l->count == l->capacity) {
        size_t more = 2 * l->capacity + 32;
        row = mmi_arena_grow(l->ctx, &l->m->own, l->rows, l->capacity * sizeof *row, more * sizeof *row);
        if (!row) {
            l->st = MM_E_NOMEM;
            return 0;
        }
        l->rows = row;
        l->capacity = more;
    }
    va_start(args, name);
    (void)vsnprintf(text, sizeof text, name, args);
    va_end(args);
    (void)snprintf(shape, sizeof shape, cols ? "%lld,%lld" : "%lld", (long long)rows, (long long)cols);
    row = &l->rows[l->count];
    memset(row, 0, sizeof *row);
    row->slot = (int)l->count;
    row->hf = keep(l, text);
    row->shape = keep(l, shape);
    row->flags = flags;
    return (int)l->count++;
}

int mmi_row_add_linear(mmi_row_list *l, int flags, int64_t rows, int64_t cols, const char *prefix, const char *name)
{
    int slot = mmi_row_add(l, flags, rows, cols, "%s%s.weight", prefix, name);

    (void)mmi_row_add(l, flags, rows, 0, "%s%s.bias", prefix, name);
    return slot;
}

int mmi_row_add_norm(mmi_row_list *l, int flags, int64_t width, const char *prefix, const char *name)
{
    return mmi_row_add_linear(l, flags, width, 0, prefix, name);
}

mm_status mmi_row_list_finish(mmi_row_list *l)
{
    l->m->table = l->rows;
    l->m->table_rows = l->count;
    return l->st;
}
