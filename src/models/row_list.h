/* A weight table that a configuration makes: rows in slots of their own, one after the other, in the model's arena.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ROW_LIST_H
#define MMI_ROW_LIST_H

#include "model.h"

typedef struct {
    mm_context *ctx;
    mm_model *m; /* whose table it becomes */
    mmi_weight_row *rows;
    size_t count, capacity;
    mm_status st; /* of the first failure; later calls do nothing */
} mmi_row_list;

/* A matrix [rows, cols], or a vector [rows] where cols is 0. Returns its slot. The name may hold '%%' for the layer. */
int mmi_row_add(mmi_row_list *l, int flags, int64_t rows, int64_t cols, const char *name, ...) __attribute__((format(printf, 5, 6)));

/* A weight [rows, cols] and its bias [rows], as "<name>.weight" and "<name>.bias" with `prefix` before; and a norm's of this width, alike. */
int mmi_row_add_linear(mmi_row_list *l, int flags, int64_t rows, int64_t cols, const char *prefix, const char *name);
int mmi_row_add_norm(mmi_row_list *l, int flags, int64_t width, const char *prefix, const char *name);

mm_status mmi_row_list_finish(mmi_row_list *l); /* the model has the table */

#endif
