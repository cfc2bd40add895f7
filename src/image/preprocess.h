/* From a picture to what a vision model takes: the image processors of Hugging Face that resize, crop, rescale and
 * normalize one picture to one array, as transformers' PIL-based classes compute it.
 *
 * The processor is a plain description read from preprocessor_config.json; each step is a function of its own in
 * preprocess.c, and resizing takes a window. A processor that makes several arrays from a picture (tiles, patches in an
 * order of its own) is another description with another function over the same steps.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PREPROCESS_H
#define MMI_PREPROCESS_H

#include "image.h"
#include "json.h"
#include "resize.h"

/* How the size to resize to follows from the size of the picture. */
typedef enum {
    MMI_SIZE_EXACT,            /* height x width */
    MMI_SIZE_SHORTEST,         /* the shorter side becomes `shortest`, the longer one in proportion */
    MMI_SIZE_SHORTEST_LONGEST, /* so, but less where the longer side would pass `longest` */
    MMI_SIZE_INSIDE            /* as large as fits into height x width, in proportion */
} mmi_size_rule;

typedef struct {
    int do_resize, do_center_crop, do_rescale, do_normalize, do_pad;
    mmi_size_rule size_rule;
    size_t height, width, shortest, longest;
    mmi_filter resample;
    size_t crop_height, crop_width;
    size_t pad_height, pad_width; /* zeros below and to the right, after normalizing */
    double rescale_factor;
    double mean[3], std[3];
} mmi_image_processor;

/* Sides named in a preprocessor_config.json, and pixels of one processed picture. */
enum { MMI_PROCESSOR_MAX_SIDE = 65536, MMI_PROCESSOR_MAX_PIXELS = 1 << 26 };

/* Read a preprocessor_config.json, or a processor_config.json that holds one as "image_processor".
 *
 *   type  the class to take when the document names none, such as "ViTImageProcessor" (the model's own);
 *         NULL: a document without a class is refused
 *
 * A missing key has the default of its class; keys that the class does not have are passed over, as transformers does.
 * MM_E_FORMAT or MM_E_UNSUPPORTED name the document and the key. */
mm_status mmi_image_processor_from_json(mm_context *ctx, const mmi_json *doc, const char *type, mmi_image_processor *out);

/* The size of what mmi_preprocess_image makes from a picture of width x height pixels.
 * MM_E_SHAPE: a side would be 0, or the picture is larger than the padded size; MM_E_LIMIT. */
mm_status mmi_image_processor_output_size(mm_context *ctx, const mmi_image_processor *p, size_t width, size_t height,
                                          size_t *out_width, size_t *out_height);

/* Process one picture into `out`: [3, out_height, out_width] float32, one plane for each of R, G and B.
 * As mmi_image_processor_output_size, and MM_E_OVERFLOW, MM_E_NOMEM or MM_E_CANCELLED. */
mm_status mmi_preprocess_image(mm_context *ctx, const mmi_image_processor *p, const mmi_image *image, float *out);

#endif
