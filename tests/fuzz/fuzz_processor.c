/* libFuzzer target: the first line is the configuration of an image processor (a name before the brace is passed over), two
 * bytes behind it are the size of a picture that it then processes. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL, *brace = size ? memchr(data, '{', size) : NULL;
    const size_t n = end ? (size_t)(end - data) : size, from = brace && brace < data + n ? (size_t)(brace - data) : 0;
    mmi_json *doc = NULL;
    mmi_image *image = NULL;
    mm_tensor_map *map = NULL;
    mmi_image_processor p;
    mm_context *ctx;

    if (mm_context_create(NULL, &ctx)) abort();
    if (!mmi_json_parse(ctx, "config", (const char *)data + from, n - from, &doc) && !mmi_image_processor_from_json(ctx, doc, "ViTImageProcessor", &p)) {
        const size_t width = size > n + 1 ? data[n + 1] % 64 + 1u : 9, height = size > n + 2 ? data[n + 2] + 1u : 17;
        if (p.height * p.width > 1 << 16 || p.tile * p.tile > 1 << 12 || p.max_pixels > 1 << 18 || p.patch * p.patch * p.max_patches > 1 << 20 ||
            p.shortest > 256 || p.longest > 256 || p.crop_height * p.crop_width > 1 << 16 || p.pad_height * p.pad_width > 1 << 16)
            goto cleanup; /* allowed, but slow */
        if (mmi_image_create(ctx, width, height, &image)) abort();
        memset(image->pixels, 77, mmi_image_bytes(image));
        if (mmi_image_processor_run(ctx, &p, (const mmi_image *const *)&image, 1, &map, NULL) ? map != NULL : !mm_tensor_map_get(map, "pixel_values"))
            abort();
    }
cleanup:
    mm_tensor_map_destroy(map);
    mmi_image_destroy(image);
    mmi_json_destroy(doc);
    mm_context_destroy(ctx);
    return 0;
}
