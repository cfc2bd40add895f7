/* Qwen2-VL: Wang et al. 2024 (arXiv:2409.12191), and Qwen2.5-VL: Bai et al. 2025 (arXiv:2502.13923). Tokens of pictures and videos of any size
 * among those of Qwen2, whose rotary positions count time, height and width of their grids. From a Hugging Face directory
 * (Qwen2VLForConditionalGeneration, Qwen2_5_VLForConditionalGeneration).
 * SPDX-License-Identifier: MIT */
#include "qwen2_vl.h"

#include "early_fusion.h"
#include "io.h"
#include "qwen2_vl_vision.h"

enum { VISION, TEXT };

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const char *const image_keys[] = {"image_token_id", NULL}, *const video_keys[] = {"video_token_id", NULL};
    mm_status st;

    if ((st = mmi_fusion_describe(ctx, m, doc, VISION, TEXT))) return st;
    if (m->parts[VISION]->arch != &mmi_qwen2_vl_vision || m->info.position_streams != 3)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %s and %s are not the tower and the text model of Qwen2-VL", mmi_json_name(doc),
                        m->parts[VISION]->class_name, m->parts[TEXT]->class_name);
    if (m->parts[VISION]->info.hidden != m->info.hidden)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: vision_config makes tokens of %lld, the text has %lld", mmi_json_name(doc),
                        (long long)m->parts[VISION]->info.hidden, (long long)m->info.hidden);
    if ((st = mmi_fusion_token(ctx, m, doc, image_keys, 151655, &m->info.image_token))) return st;
    if ((st = mmi_fusion_token(ctx, m, doc, video_keys, 151656, &m->info.video_token))) return st;
    if (m->info.image_token == m->info.video_token)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: image_token_id and video_token_id are both %d", mmi_json_name(doc), m->info.image_token);
    return MM_OK;
}

static mmi_value see(mmi_io *io, const char *features, const char *pixels, const char *grid)
{
    static const char *const wanted[] = {"pooler_output", NULL};
    mmi_value given = mmi_io_optional(io, features, MM_DTYPE_F32, 2), x = given ? 0 : mmi_io_optional(io, pixels, MM_DTYPE_F32, 2);
    mmi_io vision;

    if (!x) return given;
    mmi_io_part(&vision, io, VISION, wanted);
    mmi_io_give(&vision, "pixel_values", x);
    mmi_io_give(&vision, "grid_thw", mmi_io_require(io, grid, MM_DTYPE_I32, 2));
    mmi_io_build(&vision);
    return mmi_io_find_output(&vision, "pooler_output");
}

/* input_ids and what the text model takes beside them; pixel_values and image_grid_thw or image_features; pixel_values_videos and video_grid_thw
 * or video_features -> what the text model gives; image_features, video_features. What the positions are made of besides is taken before. */
static void build(mmi_io *io)
{
    mmi_fused media[2] = {{io->model->info.image_token, "image_features", see(io, "image_features", "pixel_values", "image_grid_thw")},
                          {io->model->info.video_token, "video_features", see(io, "video_features", "pixel_values_videos", "video_grid_thw")}};

    (void)mmi_io_optional(io, "second_per_grid_ts", MM_DTYPE_F32, 1);
    (void)mmi_io_optional(io, "mm_token_type_ids", MM_DTYPE_I32, 2); /* follow from input_ids */
    mmi_fusion_decode(io, TEXT, media, 2);
}

/* The positions of one medium from `at` on: its grid's time, row and column. Returns how many tokens it has, 0: it does not fit. */
static size_t place(const mm_model *m, const mmi_medium *medium, size_t room, size_t count, int32_t at, int32_t *out)
{
    int64_t merge = mmi_qwen2_vl_merge(m->parts[VISION]), speed = mmi_qwen2_vl_tokens_per_second(m->parts[VISION]);
    int64_t T = medium->grid[0], H = medium->grid[1] / merge, W = medium->grid[2] / merge;
    float seconds = (float)(medium->rate > 0 ? 1.0 / medium->rate : 1), step = medium->modality == MMI_VIDEO && speed ? (float)speed * seconds : 1;

    if (T < 1 || H < 1 || W < 1 || T > (int64_t)room || H > (int64_t)room || W > (int64_t)room || T * H > (int64_t)room || T * H * W > (int64_t)room ||
        !(step >= 0 && step * (float)T < 1e9f))
        return 0;
    for (int64_t i = 0; i < T * H * W; i++) {
        out[i] = at + (int32_t)((float)(i / (H * W)) * step);
        out[(int64_t)count + i] = at + (int32_t)(i / W % H);
        out[2 * (int64_t)count + i] = at + (int32_t)(i % W);
    }
    return (size_t)(T * H * W);
}

static mm_status positions(mm_context *ctx, const mm_model *m, const int32_t *ids, size_t count, const mmi_medium *media, size_t n_media,
                           int32_t *next, int32_t *out)
{
    int64_t merge = mmi_qwen2_vl_merge(m->parts[VISION]);
    size_t taken[2] = {0, 0}, room;
    int32_t at = *next;

    for (size_t i = 0; i < count;) {
        int video = ids[i] == m->info.video_token;
        const mmi_medium *medium = NULL;
        size_t n = 0;
        while ((video || ids[i] == m->info.image_token) && taken[video] < n_media && !medium) {
            medium = &media[taken[video]++];
            if (medium->modality != (video ? MMI_VIDEO : MMI_IMAGE)) medium = NULL;
        }
        if (!medium) {
            out[i] = out[count + i] = out[2 * count + i] = at++;
            i++;
            continue;
        }
        for (room = 0; i + room < count && ids[i + room] == ids[i];) room++;
        n = place(m, medium, room, count, at, out + i);
        if (!n)
            return mmi_fail(ctx, MM_E_ARGUMENT, "input_ids holds %zu times token %d, fewer than a grid of %lld x %lld x %lld patches makes", room, ids[i],
                            (long long)medium->grid[0], (long long)medium->grid[1], (long long)medium->grid[2]);
        at += (int32_t)((medium->grid[1] > medium->grid[2] ? medium->grid[1] : medium->grid[2]) / merge);
        i += n;
    }
    *next = at;
    return MM_OK;
}

static mm_status write_prompt(mm_context *ctx, const mm_model *m, const char *text, const mmi_medium *media, size_t count, mmi_text *out)
{
    static const mmi_fusion_mark marks[2] = {{"<|image_pad|>", "<|vision_start|>", "<|vision_end|>", MMI_IMAGE, NULL},
                                             {"<|video_pad|>", "<|vision_start|>", "<|vision_end|>", MMI_VIDEO, NULL}};
    return mmi_fusion_write(ctx, m, text, media, count, marks, 2, out);
}

static const char *const classes[] = {"Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration", NULL};
static const char *const prefixes[] = {"", NULL};
static const char *const vision_prefixes[] = {"visual.", "model.visual.", NULL};
static const char *const text_prefixes[] = {"", "model.language_model.", NULL};
static const mmi_part_row parts[] = {
    {"vision_config", NULL, MMI_ROLE_ENCODER, vision_prefixes, 0, "model.visual."},
    {"text_config", NULL, MMI_ROLE_DECODER, text_prefixes, 0, "model.language_model."},
};

const mmi_architecture mmi_qwen2_vl = {
    .name = "qwen2_vl", .classes = classes, .prefixes = prefixes, .modules = "model.", .processor = "Qwen2VLImageProcessor", .video_processor = "Qwen2VLVideoProcessor", .read_hf = read_hf,
    .build = build, .write_prompt = write_prompt, .positions = positions, .parts = parts,
    .n_parts = sizeof parts / sizeof *parts,
};
