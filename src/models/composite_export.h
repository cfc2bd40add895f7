/* A composite that has the shape of a class of transformers, as that class. SPDX-License-Identifier: MIT */
#ifndef MMI_COMPOSITE_EXPORT_H
#define MMI_COMPOSITE_EXPORT_H

#include "model.h"
#include "text.h"

/* How it is written there. */
typedef struct {
    mmi_text config; /* config.json */
    const char *class_name;
} mmi_export;

/* config: the composite's own config.json. MM_E_UNSUPPORTED says why the class cannot be it. The export is the caller's to clear, after a failure too. */
mm_status mmi_export_make(mm_context *ctx, const mm_model *m, const char *config, const char *class_name, mmi_export *out);
void mmi_export_clear(mmi_export *e);

/* The name there of a tensor; 0: it does not fit. */
int mmi_export_name(const mmi_export *e, const char *tensor, char *out, size_t size);
/* How many dimensions it has there: a temperature none. */
int32_t mmi_export_rank(const char *name, int32_t rank);

#endif
