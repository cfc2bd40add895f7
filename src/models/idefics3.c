/* Idefics3: Laurencon et al. 2024 (arXiv:2408.12637), and SmolVLM: Marafioti et al. 2025 (arXiv:2504.05299). A picture is split into tiles and
 * seen once more as a whole; squares of patches are laid side by side into one token each (pixel shuffle, section 3.1), projected, and stand
 * among the text. From a Hugging Face directory (Idefics3ForConditionalGeneration, SmolVLMForConditionalGeneration).
 * SPDX-License-Identifier: MIT */
#include "idefics3.h"

#include <stdio.h>
#include <string.h>

#include "early_fusion.h"
#include "idefics3_vision.h"
#include "index_ops.h"
#include "io.h"
#include "linear_op.h"
#include "shape_ops.h"

enum { VISION, TEXT };

typedef struct {
    int64_t scale; /* side of the square of patches that becomes a token */
} idefics3_config;

enum { PROJECTION };

/* C width of the text, S of a square of patches */
static const mmi_weight_row rows[] = {{PROJECTION, "connector.modality_projection.proj.weight", NULL, "C,S", 0, 0}};

static int64_t dimension(const mm_model *m, char letter)
{
    const idefics3_config *c = m->config;
    return letter == 'C' ? m->info.hidden : m->parts[VISION]->info.hidden * c->scale * c->scale;
}

static mm_status read_hf(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const char *const token_keys[] = {"image_token_id", NULL};
    idefics3_config *c = m->config;
    mm_status st;

    if ((st = mmi_fusion_describe(ctx, m, doc, VISION, TEXT))) return st;
    if (m->parts[VISION]->arch != &mmi_idefics3_vision) /* the squares of patches are its own */
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %s is no tower of Idefics3", mmi_json_name(doc), m->parts[VISION]->class_name);
    if ((st = mmi_fusion_token(ctx, m, doc, token_keys, 128257, &m->info.image_token))) return st;
    c->scale = 2;
    return mmi_json_i64(ctx, doc, mmi_json_root(doc), "scale_factor", 0, 1, 64, &c->scale);
}

/* Which of the pictures [total, size] are none, but zeros that fill a row of the batch up: indices of the others. */
static size_t real_pictures(const float *pixels, size_t total, size_t size, int32_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i < total; i++, pixels += size) {
        size_t k = 0;
        while (k < size && pixels[k] == 0) k++;
        if (k < size) out[n++] = (int32_t)i;
    }
    return n;
}

/* Patches [n, h, w] with any pixel that the mask [.., H, W] counts, of the pictures `real`. */
static mmi_value patch_mask(mmi_io *io, const int32_t *mask, const int32_t *real, int64_t n, int64_t H, int64_t W)
{
    int64_t P = io->model->info.patch, h = H / P, w = W / P;
    void *data;
    mmi_value v = mmi_graph_constant(io->g, MM_DTYPE_I32, 3, (int64_t[]){n, h, w}, &data);
    int32_t *out = data;

    if (!out) return 0;
    memset(out, 0, (size_t)(n * h * w) * sizeof *out);
    for (int64_t i = 0; i < n; i++, out += h * w)
        for (int64_t y = 0; y < h * P; y++)
            for (int64_t x = 0; x < w * P; x++) out[y / P * w + x / P] |= mask[(real[i] * H + y) * W + x] != 0;
    return v;
}

/* Squares of `scale` x `scale` patches side by side: x [n, side^2, C] -> [n (side / scale)^2, scale^2 C]. */
static mmi_value shuffle(mmi_io *io, mmi_value x, int64_t h, int64_t w, int64_t scale)
{
    mmi_graph *g = io->g;
    int64_t n, C;

    if (g->status) return 0;
    n = mmi_graph_look(g, x)->shape[0];
    C = mmi_graph_look(g, x)->shape[2];
    if (h != w || h % scale)
        return mmi_graph_fail(g, MM_E_SHAPE, "pictures of %lld x %lld patches are no squares of a multiple of scale_factor %lld", (long long)h, (long long)w,
                              (long long)scale);
    x = mmi_contiguous(g, x); /* [n h / scale, scale, w / scale, scale C], of which the middle two are exchanged */
    x = mmi_graph_view(g, x, 4, (int64_t[]){n * h / scale, w / scale, scale, scale * C}, (int64_t[]){scale * w * C, scale * C, w * C, 1}, 0);
    return mmi_reshape(g, x, 2, (int64_t[]){n * h * w / (scale * scale), scale * scale * C});
}

/* pixel_values [B, n, M, H, W], pixel_attention_mask [B, n, H, W] -> features of all real pictures in order */
static mmi_value see(mmi_io *io)
{
    static const char *const wanted[] = {"last_hidden_state", NULL};
    const idefics3_config *c = io->model->config;
    mmi_graph *g = io->g;
    mmi_value x = mmi_io_optional(io, "pixel_values", MM_DTYPE_F32, 5), mask = mmi_io_optional(io, "pixel_attention_mask", MM_DTYPE_I32, 4), ids;
    const float *pixels = mmi_io_values(io, "pixel_values");
    mmi_value_info in, m;
    int64_t total, size, n;
    void *real;
    mmi_io vision;

    if (!x) return 0;
    in = *mmi_graph_look(g, x);
    total = in.shape[0] * in.shape[1];
    size = in.shape[2] * in.shape[3] * in.shape[4];
    ids = mmi_graph_constant(g, MM_DTYPE_I32, 2, (int64_t[]){1, total}, &real);
    if (!pixels) mmi_graph_fail(g, MM_E_INTERNAL, "pictures must be known while their graph is built");
    if (g->status) return 0;
    n = (int64_t)real_pictures(pixels, (size_t)total, (size_t)size, real);
    if (!n) return mmi_graph_fail(g, MM_E_ARGUMENT, "pixel_values hold no picture, all are zero");
    x = mmi_reshape(g, x, 3, (int64_t[]){1, total, size});
    if (n < total) x = mmi_gather(g, x, mmi_slice(g, ids, 1, 0, n));
    mmi_io_part(&vision, io, VISION, wanted);
    mmi_io_give(&vision, "pixel_values", mmi_reshape(g, x, 4, (int64_t[]){n, in.shape[2], in.shape[3], in.shape[4]}));
    if (mask) {
        m = *mmi_graph_look(g, mask);
        if (m.shape[0] * m.shape[1] != total || m.shape[2] != in.shape[3] || m.shape[3] != in.shape[4] || !m.data)
            return mmi_graph_fail(g, MM_E_SHAPE, "pixel_attention_mask does not fit pixel_values");
        mmi_io_give(&vision, "patch_attention_mask", patch_mask(io, m.data, real, n, in.shape[3], in.shape[4]));
    }
    mmi_io_build(&vision);
    x = shuffle(io, mmi_io_find_output(&vision, "last_hidden_state"), in.shape[3] / io->model->info.patch, in.shape[4] / io->model->info.patch, c->scale);
    return mmi_linear(g, x, mmi_io_weight(io, PROJECTION, -1), 0, MMI_ACT_NONE);
}

/* input_ids and what the text model takes beside them, pixel_values and pixel_attention_mask or image_features -> what it gives;
 * image_features */
static void build(mmi_io *io) { mmi_fusion_decode_images(io, TEXT, see); }

static mm_status write_tile(mm_context *ctx, const char *before, size_t tokens, mmi_text *out)
{
    if (mmi_text_format(ctx, out, "<fake_token_around_image>%s", before)) return MM_E_NOMEM;
    return mmi_fusion_repeat(ctx, "<image>", tokens, out);
}

/* Tiles row by row, then the whole picture; a picture that was not split is its whole alone. */
static mm_status write_image(mm_context *ctx, const mm_model *m, const mmi_medium *medium, mmi_text *out)
{
    size_t tokens = medium->tokens / ((size_t)(medium->rows * medium->cols) + 1);
    mm_status st = MM_OK;
    (void)m;

    for (int64_t r = 0; r < medium->rows; r++) {
        for (int64_t c = 0; c < medium->cols && !st; c++) {
            char name[64];
            (void)snprintf(name, sizeof name, "<row_%lld_col_%lld>", (long long)r + 1, (long long)c + 1);
            st = write_tile(ctx, name, tokens, out);
        }
        if (!st && mmi_text_append(ctx, out, "\n", 1)) st = MM_E_NOMEM;
    }
    if (!st && medium->rows && mmi_text_append(ctx, out, "\n", 1)) st = MM_E_NOMEM;
    if (!st) st = write_tile(ctx, "<global-img>", tokens, out);
    if (!st && mmi_text_format(ctx, out, "<fake_token_around_image>")) st = MM_E_NOMEM;
    return st;
}

static mm_status write_prompt(mm_context *ctx, const mm_model *m, const char *text, const mmi_medium *media, size_t count, mmi_text *out)
{
    static const mmi_fusion_mark mark = {"<image>", "", "", MMI_IMAGE, write_image};
    return mmi_fusion_write(ctx, m, text, media, count, &mark, 1, out);
}

static const char *const classes[] = {"Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration", NULL};
static const char *const prefixes[] = {"model.", "", NULL};
static const char *const vision_prefixes[] = {"model.vision_model.", "vision_model.", NULL};
static const char *const text_prefixes[] = {"model.text_model.", "text_model.", "", NULL};
static const mmi_part_row parts[] = {
    {"vision_config", "idefics3_vision", MMI_ROLE_ENCODER, vision_prefixes, 0, "model.vision_model."},
    {"text_config", "llama", MMI_ROLE_DECODER, text_prefixes, 1, "model.text_model."},
};

const mmi_architecture mmi_idefics3 = {
    .name = "idefics3", .classes = classes, .prefixes = prefixes, .modules = "model.", .processor = "Idefics3ImageProcessor", .rows = rows,
    .n_rows = sizeof rows / sizeof *rows, .config_bytes = sizeof(idefics3_config), .read_hf = read_hf, .dimension = dimension,
    .build = build, .write_prompt = write_prompt, .parts = parts, .n_parts = sizeof parts / sizeof *parts,
};
