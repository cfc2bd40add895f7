/* SPDX-License-Identifier: MIT */
#include "media.h"

#include <string.h>

#include "embedding.h"

void mmi_medium_clear(mmi_medium *m)
{
    mm_tensor_map_destroy(m->inputs);
    memset(m, 0, sizeof *m);
}

mm_status mmi_media_image(mm_context *ctx, const mm_model *m, const mm_image *image, mmi_medium *out)
{
    mm_tensor *pixels = NULL;
    mm_status st;

    memset(out, 0, sizeof *out);
    out->modality = MMI_IMAGE;
    st = mmi_prepare_image(ctx, m, image, &pixels);
    if (!st) st = mm_tensor_map_create(ctx, &out->inputs);
    if (!st) st = mm_tensor_map_set(ctx, out->inputs, "pixel_values", pixels);
    mm_tensor_release(pixels);
    return st;
}
