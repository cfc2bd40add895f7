/* What an image or video processor of Hugging Face does to its pictures, read from preprocessor_config.json,
 * video_preprocessor_config.json or processor_config.json: one plain description for all classes.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PROCESSOR_CONFIG_H
#define MMI_PROCESSOR_CONFIG_H

#include "json.h"
#include "resize.h"

/* How the size to resize to follows from the size of the picture. */
typedef enum {
    MMI_SIZE_EXACT,            /* height x width */
    MMI_SIZE_SHORTEST,         /* the shorter side becomes `shortest`, the longer one in proportion */
    MMI_SIZE_SHORTEST_LONGEST, /* so, but less where the longer side would pass `longest` */
    MMI_SIZE_LONGEST,          /* the longer side becomes `longest`, the shorter one in proportion, made even */
    MMI_SIZE_INSIDE            /* as large as fits into height x width, in proportion */
} mmi_size_rule;

/* How the arrays are laid out, and by which function they are made. */
typedef enum {
    MMI_LAYOUT_PLANES,  /* ViT, CLIP and most others: [n, 3, H, W] */
    MMI_LAYOUT_PAGE,    /* Donut: so, turned and shrunk into a page and centered on it */
    MMI_LAYOUT_SPLIT,   /* Idefics3, SmolVLM: square tiles, then the whole picture as one more tile */
    MMI_LAYOUT_CANVAS,  /* Mllama: the tiles of the canvas that fits best */
    MMI_LAYOUT_GRID,    /* Qwen2-VL: a row of numbers a patch, patches that are merged later side by side */
    MMI_LAYOUT_PATCHES  /* SigLIP 2: a row of numbers a patch, filled up to a fixed count */
} mmi_pixel_layout;

typedef struct {
    mmi_pixel_layout layout;
    int do_resize, do_center_crop, do_rescale, do_normalize, do_pad;
    mmi_size_rule size_rule;
    size_t height, width, shortest, longest;
    mmi_filter resample;
    size_t crop_height, crop_width;
    size_t pad_height, pad_width; /* zeros below and to the right, after normalizing */
    double rescale_factor;
    double mean[3], std[3];
    int do_square;                          /* LLaVA: first padded to a square, with the mean as color */
    int do_thumbnail, do_align_long_axis;   /* PAGE */
    int do_image_splitting;                 /* SPLIT */
    size_t tile, max_tiles;                 /* SPLIT, CANVAS: side of a tile, and most tiles of a picture */
    size_t patch, temporal, merge;          /* GRID, PATCHES: side of a patch, frames of one, patches merged each way */
    size_t min_pixels, max_pixels;          /* GRID: of a resized picture */
    size_t max_patches;                     /* PATCHES */
    int do_sample_frames;                   /* of a video; the numbers are for src/video/frame_sampling.h */
    size_t num_frames, min_frames, max_frames; /* num_frames 0: not given */
    double fps;                             /* 0: not given */
    size_t max_video_tokens;                /* GRID: of a whole video; 0: no bound */
} mmi_image_processor;

/* Sides named in a configuration, and pixels of all that one call makes. */
enum { MMI_PROCESSOR_MAX_SIDE = 65536, MMI_PROCESSOR_MAX_PIXELS = 1 << 26 };

/* The longest side that Idefics3 and SmolVLM resize to, whatever "size" says. */
enum { MMI_SPLIT_MAX_SIDE = 4096 };

/* Read a preprocessor_config.json, or a processor_config.json that holds one as "image_processor".
 *
 *   type  the class to take when the document names none, such as "ViTImageProcessor" (the model's own);
 *         NULL: a document without a class is refused
 *
 * A missing key has the default of its class; keys that the class does not have are passed over, as transformers does.
 * MM_E_FORMAT or MM_E_UNSUPPORTED name the document and the key. */
mm_status mmi_image_processor_from_json(mm_context *ctx, const mmi_json *doc, const char *type, mmi_image_processor *out);

/* The same for videos: a video_preprocessor_config.json, a processor_config.json that holds one as "video_processor", or the
 * preprocessor_config.json of older checkpoints, which serves both; "video_processor_type", such as "Qwen2VLVideoProcessor". */
mm_status mmi_video_processor_from_json(mm_context *ctx, const mmi_json *doc, const char *type, mmi_image_processor *out);

#endif
