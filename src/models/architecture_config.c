/* SPDX-License-Identifier: MIT */
#include "architecture_config.h"

#include <stdio.h>
#include <string.h>

static mm_status kind_of(mm_context *ctx, const char *where, const char *name, size_t n, mmi_rope_kind *out)
{
    static const struct {
        const char *name;
        mmi_rope_kind kind;
    } kinds[] = {{"default", MMI_ROPE_DEFAULT}, {"none", MMI_ROPE_DEFAULT}, {"mrope", MMI_ROPE_DEFAULT}, {"linear", MMI_ROPE_LINEAR}, {"dynamic", MMI_ROPE_DYNAMIC},
                 {"yarn", MMI_ROPE_YARN}, {"llama3", MMI_ROPE_LLAMA3}, {"longrope", MMI_ROPE_LONG}, {"su", MMI_ROPE_LONG}};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].name) == n && !memcmp(kinds[i].name, name, n)) {
            *out = kinds[i].kind;
            return MM_OK;
        }
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: rotary scaling \"%.*s\" is not supported", where, (int)(n < 40 ? n : 40), name);
}

/* A list of factors, as many as the other. */
static mm_status read_factors(mm_context *ctx, const mmi_json *doc, const mmi_json_node *s, const char *key, mmi_rope_spec *r, float *out)
{
    const mmi_json_node *list = mmi_json_get(s, key), *node;
    size_t n = 0;
    double v;

    for (node = mmi_json_kind_of(list) == MMI_JSON_ARRAY ? mmi_json_first(list) : NULL; node && n < MMI_ROPE_PAIRS; node = mmi_json_next(node)) {
        if (!mmi_json_number(node, &v) || v < 1e-6 || v > 1e6)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: %s must hold numbers from 1e-6 to 1e6", mmi_json_name(doc), key);
        out[n++] = (float)v;
    }
    if (!n || node || (r->listed && r->listed != n))
        return mmi_fail(ctx, MM_E_FORMAT, "%s: %s must list a number for each pair of the rotary width", mmi_json_name(doc), key);
    r->listed = n;
    return MM_OK;
}

/* The factors of long and short texts; `context` is what the model was stretched to. */
static mm_status read_longrope(mm_context *ctx, const mmi_json *doc, const mmi_json_node *s, double context, mmi_rope_spec *r)
{
    mm_status st;

    r->sets = 2;
    r->factor = context / r->original_context;
    if ((st = mmi_json_f64(ctx, doc, s, "factor", 0, 1e-6, 1e6, &r->factor))) return st;
    if ((st = read_factors(ctx, doc, s, "short_factor", r, r->factors[0]))) return st;
    return read_factors(ctx, doc, s, "long_factor", r, r->factors[1]);
}

mm_status mmi_rope_from_json(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, double context, mmi_rope_spec *r, double *partial)
{
    const mmi_json_node *s = mmi_json_get(root, "rope_parameters"); /* transformers 5 */
    mm_status st;

    *r = mmi_rope_plain(10000, context);
    if ((st = mmi_json_f64(ctx, doc, root, "rope_theta", 0, 1e-3, 1e12, &r->theta))) return st;
    if ((st = mmi_json_f64(ctx, doc, root, "partial_rotary_factor", 0, 0.01, 1, partial))) return st;
    return mmi_rope_scaling_from_json(ctx, doc, mmi_json_kind_of(s) == MMI_JSON_OBJECT ? s : mmi_json_get(root, "rope_scaling"), r, partial);
}

mm_status mmi_rope_scaling_from_json(mm_context *ctx, const mmi_json *doc, const mmi_json_node *s, mmi_rope_spec *r, double *partial)
{
    const double context = r->original_context;
    const char *kind = NULL;
    int scaled;
    mm_status st;

    if (mmi_json_kind_of(s) != MMI_JSON_OBJECT) return MM_OK;
    if ((st = mmi_json_text(ctx, doc, s, "type", 0, &kind))) return st; /* before transformers 4.43 */
    if ((st = mmi_json_text(ctx, doc, s, "rope_type", 0, &kind))) return st;
    if (kind && (st = kind_of(ctx, mmi_json_name(doc), kind, strlen(kind), &r->kind))) return st;
    if ((st = mmi_json_f64(ctx, doc, s, "rope_theta", 0, 1e-3, 1e12, &r->theta))) return st;
    if ((st = mmi_json_f64(ctx, doc, s, "partial_rotary_factor", 0, 0.01, 1, partial))) return st;
    scaled = r->kind != MMI_ROPE_DEFAULT && r->kind != MMI_ROPE_LONG;
    if (scaled && (st = mmi_json_f64(ctx, doc, s, "factor", 1, 1e-6, 1e6, &r->factor))) return st;
    if ((st = mmi_json_f64(ctx, doc, s, "original_max_position_embeddings", r->kind == MMI_ROPE_LLAMA3, 1, 1e9, &r->original_context))) return st;
    if (scaled || r->kind == MMI_ROPE_LONG) { /* Phi-3 has it outside, where it counts for all kinds */
        if ((st = mmi_json_f64(ctx, doc, mmi_json_root(doc), "original_max_position_embeddings", 0, 1, 1e9, &r->original_context))) return st;
    }
    if (r->kind == MMI_ROPE_LONG && (st = read_longrope(ctx, doc, s, context, r))) return st;
    if ((st = mmi_json_f64(ctx, doc, s, "beta_fast", 0, 1e-6, 1e6, &r->beta_fast))) return st;
    if ((st = mmi_json_f64(ctx, doc, s, "beta_slow", 0, 1e-6, 1e6, &r->beta_slow))) return st;
    if ((st = mmi_json_f64(ctx, doc, s, "attention_factor", 0, 1e-6, 1e6, &r->attention_factor))) return st;
    if ((st = mmi_json_f64(ctx, doc, s, "mscale", 0, 0, 1e6, &r->mscale))) return st;
    if ((st = mmi_json_f64(ctx, doc, s, "mscale_all_dim", 0, 0, 1e6, &r->mscale_all_dim))) return st;
    if ((st = mmi_json_bool(ctx, doc, s, "truncate", 0, &r->truncate))) return st;
    if ((st = mmi_json_f64(ctx, doc, s, "low_freq_factor", r->kind == MMI_ROPE_LLAMA3, 1e-6, 1e6, &r->low_frequency_factor))) return st;
    return mmi_json_f64(ctx, doc, s, "high_freq_factor", r->kind == MMI_ROPE_LLAMA3, 1e-6, 1e6, &r->high_frequency_factor);
}

mm_status mmi_rope_from_gguf(mm_context *ctx, const mmi_gguf *f, const char *arch, double context, mmi_rope_spec *r)
{
    char key[128];
    const char *kind = NULL;
    size_t n = 0;
    mm_status st;

    *r = mmi_rope_plain(10000, context);
    snprintf(key, sizeof key, "%s.rope.freq_base", arch);
    if ((st = mmi_gguf_f64(ctx, f, key, 0, 1e-3, 1e12, &r->theta))) return st;
    snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
    if ((st = mmi_gguf_string(ctx, f, key, 0, &kind, &n))) return st;
    if (kind && (st = kind_of(ctx, mmi_gguf_path(f), kind, n, &r->kind))) return st;
    snprintf(key, sizeof key, "%s.rope.scaling.factor", arch);
    if ((st = mmi_gguf_f64(ctx, f, key, r->kind != MMI_ROPE_DEFAULT, 1e-6, 1e6, &r->factor))) return st;
    snprintf(key, sizeof key, "%s.rope.scaling.original_context_length", arch);
    return mmi_gguf_f64(ctx, f, key, r->kind == MMI_ROPE_LLAMA3, 1, 1e9, &r->original_context);
}

mm_status mmi_rope_prepare(mm_context *ctx, mm_model *m, const mmi_rope_spec *ropes, size_t count, int64_t dim, float *scales)
{
    mmi_weight *w = &m->inverse_frequencies;
    size_t half = (size_t)dim / 2;
    float *inverse;

    mmi_weight_clear(w);
    for (size_t i = 0; i < count; i++) {
        w->shape[0] += mmi_rope_rows(&ropes[i]);
        if (ropes[i].listed && ropes[i].listed != half)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: short_factor and long_factor list %zu numbers, expected %zu", m->path, ropes[i].listed, half);
    }
    inverse = mmi_alloc_array(ctx, (size_t)w->shape[0] * half, sizeof *inverse);
    if (!inverse) return MM_E_NOMEM;
    w->dtype = MM_DTYPE_F32;
    w->rank = 2;
    w->shape[1] = dim / 2;
    w->rows = (size_t)w->shape[0];
    w->cols = half;
    w->data = inverse;
    w->data_owned = 1;
    for (size_t i = 0; i < count; i++)
        for (int row = 0; row < mmi_rope_rows(&ropes[i]); row++, inverse += half) scales[i] = mmi_rope_frequencies(&ropes[i], (size_t)dim, row, inverse);
    return MM_OK;
}

mm_status mmi_config_activation_named(mm_context *ctx, const mmi_json *doc, const char *key, const char *name, mmi_activation *out)
{
    static const struct {
        const char *name;
        mmi_activation act;
    } names[] = {{"relu", MMI_ACT_RELU}, {"gelu", MMI_ACT_GELU}, {"gelu_new", MMI_ACT_GELU_TANH}, {"gelu_fast", MMI_ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", MMI_ACT_GELU_TANH}, {"quick_gelu", MMI_ACT_QUICK_GELU}, {"silu", MMI_ACT_SILU}, {"swish", MMI_ACT_SILU},
                 {"tanh", MMI_ACT_TANH}, {"sigmoid", MMI_ACT_SIGMOID}, {"linear", MMI_ACT_NONE}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i].name)) {
            *out = names[i].act;
            return MM_OK;
        }
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %s \"%.40s\" is not supported", mmi_json_name(doc), key, name);
}

mm_status mmi_config_activation(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const char *key, mmi_activation *out)
{
    const char *name = NULL;
    mm_status st = mmi_json_text(ctx, doc, root, key, 0, &name);

    return st || !name ? st : mmi_config_activation_named(ctx, doc, key, name, out);
}

/* A number, or a list of two. */
static mm_status size_pair(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const char *key, int64_t out[2])
{
    const mmi_json_node *node = mmi_json_get(root, key), *item;
    double v;

    if (mmi_json_kind_of(node) != MMI_JSON_ARRAY) {
        mm_status st = mmi_json_i64(ctx, doc, root, key, 0, 1, 1 << 16, &out[0]);
        out[1] = out[0];
        return st;
    }
    item = mmi_json_first(node);
    for (int i = 0; i < 2; i++, item = mmi_json_next(item)) {
        if (!item || !mmi_json_number(item, &v) || v < 1 || v > 1 << 16 || v != (double)(int64_t)v)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: %s must be a number or [height, width] of 1 to 65536", mmi_json_name(doc), key);
        out[i] = (int64_t)v;
    }
    return MM_OK;
}

mm_status mmi_config_image(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_json_node *root, int64_t image, int64_t patch)
{
    mmi_model_info *info = &m->info;
    int64_t patches[2] = {patch, patch};
    mm_status st;

    info->image_size[0] = info->image_size[1] = image;
    info->channels = 3;
    if ((st = size_pair(ctx, doc, root, "image_size", info->image_size))) return st;
    if ((st = size_pair(ctx, doc, root, "patch_size", patches))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, "num_channels", 0, 1, 64, &info->channels))) return st;
    if (patches[0] != patches[1])
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: patch_size [%lld, %lld] is not square", mmi_json_name(doc), (long long)patches[0], (long long)patches[1]);
    info->patch = patches[0];
    if (info->patch > info->image_size[0] || info->patch > info->image_size[1])
        return mmi_fail(ctx, MM_E_FORMAT, "%s: patch_size %lld is larger than image_size", mmi_json_name(doc), (long long)info->patch);
    info->sees = 1;
    return MM_OK;
}

mm_status mmi_config_labels(mm_context *ctx, mm_model *m, const mmi_json *doc, const mmi_json_node *root)
{
    const mmi_json_node *names = mmi_json_get(root, "id2label");
    int64_t count = 2; /* what transformers assumes */
    const char *problem = NULL;
    char key[24];
    mm_status st = mmi_json_i64(ctx, doc, root, "num_labels", 0, 1, 1 << 20, &count);

    if (st || (st = mmi_json_text(ctx, doc, root, "problem_type", 0, &problem))) return st;
    if (mmi_json_kind_of(names) == MMI_JSON_OBJECT) count = (int64_t)mmi_json_count(names);
    if (count < 1 || count > 1 << 20)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: id2label has %lld names, allowed are 1 to %d", mmi_json_name(doc), (long long)count, 1 << 20);
    m->n_labels = (size_t)count;
    m->info.classifies = 1;
    if (count == 1 || (problem && !strcmp(problem, "multi_label_classification"))) m->info.judgement = MMI_JUDGE_EACH;
    if (problem && !strcmp(problem, "regression")) m->info.judgement = MMI_JUDGE_NUMBERS;
    if (mmi_json_kind_of(names) != MMI_JSON_OBJECT) return MM_OK;
    m->labels = mmi_zalloc_array(ctx, m->n_labels, sizeof *m->labels);
    if (!m->labels) return MM_E_NOMEM;
    for (const mmi_json_node *n = mmi_json_first(names); n; n = mmi_json_next(n)) {
        const char *text = mmi_json_string(n), *id = mmi_json_key(n);
        size_t i = 0;
        for (const char *p = id; *p >= '0' && *p <= '9' && i <= m->n_labels; p++) i = i * 10 + (size_t)(*p - '0');
        snprintf(key, sizeof key, "%zu", i);
        if (!text || strcmp(key, id) || i >= m->n_labels || m->labels[i])
            return mmi_fail(ctx, MM_E_FORMAT, "%s: id2label.%.40s is not one of 0 to %zu with a name", mmi_json_name(doc), id, m->n_labels - 1);
        m->labels[i] = mmi_strdup(ctx, text);
        if (!m->labels[i]) return MM_E_NOMEM;
    }
    return MM_OK;
}
