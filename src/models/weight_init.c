/* SPDX-License-Identifier: MIT */
#include "weight_init.h"

#include <math.h>
#include <string.h>

#include "random.h"
#include "size.h"

mm_status mmi_initials_read(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    const mmi_json_node *root = mmi_json_root(doc);
    const int pairwise = m->info.comparison == MMI_JUDGE_EACH;
    double range = 0.02, layer_scale = 1, logit_scale = 2.6592; /* the log of 1 / 0.07, as CLIP's configurations round it */
    int64_t padding = -1;
    mm_status st;

    if ((st = mmi_json_f64(ctx, doc, root, "init_std", 0, 0, 1e3, &range))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "initializer_range", 0, 0, 1e3, &range))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "layerscale_value", 0, -1e3, 1e3, &layer_scale))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "logit_scale_init_value", 0, -1e3, 1e3, &logit_scale))) return st;
    if (mmi_json_integer(mmi_json_get(root, "pad_token_id"), &padding) && padding < 0) padding = -1;
    /* SigLIP begins with log 10 and -10 (Zhai et al. 2023, section 3.2), so that most pairs are taken not to belong together. */
    m->initials = (mmi_initials){(float)range, (float)layer_scale, pairwise ? logf(10) : (float)logit_scale, -10, padding};
    return MM_OK;
}

static float beginning(const mm_model *m, const mmi_weight_row *row, float usual)
{
    const double own = m->arch->beginning ? m->arch->beginning(m, row->slot) : -1;
    return own < 0 ? usual : (float)own;
}

/* Nonzero: every element begins as *out; else they are drawn. */
static int is_constant(const mm_model *m, const mmi_weight_row *row, const mmi_weight *w, float *out)
{
    const struct {
        const char *end;
        float value;
    } ends[] = {
        {"logit_scale", m->initials.logit_scale},
        {"logit_bias", m->initials.logit_bias},
        {"bias", 0},
        {".lambda1", m->initials.layer_scale},
        {".gate_attn", 0.785398163397448f}, /* pi / 4, of Llama 3.2 Vision's global layers; its other gates begin closed */
        {".gate_ffn", 0.785398163397448f},
        {"gate", 0},
    };

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (!mmi_text_ends_with(w->name, ends[i].end)) continue;
        *out = ends[i].value;
        return 1;
    }
    *out = beginning(m, row, 1 - m->info.norm_offset);
    return w->rank == 1 && mmi_text_ends_with(w->name, ".weight"); /* a norm's */
}

enum { CHUNK = 4096 };

typedef struct {
    float *values;
    size_t count;
    uint64_t seed, stream;
    float range;
} draw_job;

static void draw_task(void *arg, size_t task, int worker)
{
    const draw_job *j = arg;
    size_t end = mmi_size_min(j->count, (task + 1) * CHUNK);

    (void)worker;
    for (size_t i = task * CHUNK; i < end; i++) j->values[i] = j->range * (float)mmi_random_normal_at(j->seed, j->stream, i);
}

/* FNV-1a */
static uint64_t stream_of(const char *name)
{
    uint64_t h = 0xCBF29CE484222325u;

    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001B3u;
    return h;
}

/* [1, 1 + rows * cols, C], of which the class token's stay 0: sines and cosines of the patch's column, then of its row, in falling frequencies, as the authors of masked
 * autoencoders have it (arXiv:2111.06377, appendix A.1). */
static mm_status fill_sines(mm_context *ctx, const mm_model *m, const mmi_weight *w, float *values)
{
    const int64_t tokens = w->shape[1], quarter = w->shape[2] / 4, cols = m->info.image_size[1] / m->info.patch;

    if (w->shape[2] % 4) return mmi_fail(ctx, MM_E_FORMAT, "%s: sines of two directions need a width that 4 divides, not %lld", w->name, (long long)w->shape[2]);
    for (int64_t p = 0; p + 1 < tokens; p++) {
        float *v = values + (p + 1) * w->shape[2];
        for (int64_t i = 0; i < quarter; i++) {
            const double frequency = pow(10000, -(double)i / (double)quarter), x = (double)(p % cols) * frequency, y = (double)(p / cols) * frequency;
            v[i] = (float)sin(x);
            v[quarter + i] = (float)cos(x);
            v[2 * quarter + i] = (float)sin(y);
            v[3 * quarter + i] = (float)cos(y);
        }
    }
    return mmi_check_cancel(ctx);
}

mm_status mmi_weight_draw(mm_context *ctx, const mm_model *m, const mmi_weight_row *row, mmi_weight *w, int64_t seed)
{
    draw_job j = {mmi_weight_values(w), w->rows * w->cols, (uint64_t)seed, stream_of(w->name), beginning(m, row, m->initials.range)};
    int64_t padding = m->initials.padding;
    float value = 0;

    if (row->flags & MMI_ROW_SINES) return fill_sines(ctx, m, w, j.values);
    if (is_constant(m, row, w, &value)) {
        for (size_t i = 0; i < j.count; i++) j.values[i] = value;
        return MM_OK;
    }
    mmi_thread_pool_run(mmi_context_pool(ctx), draw_task, &j, (j.count + CHUNK - 1) / CHUNK, &ctx->cancel);
    if (row->flags & MMI_ROW_PADDED && padding >= 0 && (uint64_t)padding < w->rows) memset(j.values + (size_t)padding * w->cols, 0, w->cols * sizeof(float));
    return mmi_check_cancel(ctx);
}
