/* SPDX-License-Identifier: MIT */
#include "adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dtype.h"
#include "pattern.h"
#include "random.h"
#include "size.h"

enum { NAME_SIZE = 256 };

static const char weight_suffix[] = ".weight";

static int cut_suffix(char *name)
{
    size_t n = strlen(name), s = sizeof weight_suffix - 1;
    if (n <= s || strcmp(name + n - s, weight_suffix)) return 0;
    name[n - s] = 0;
    return 1;
}

/* Name `index` of a module, today's first. 0: no more. */
static int module_name(const mmi_module *u, size_t index, char name[NAME_SIZE])
{
    if (index ? !mmi_weight_row_name(u->owner, u->place.row, u->place.layer, index - 1, name, NAME_SIZE)
              : !mmi_weight_todays_name(u->owner, u->place.row, u->place.layer, 1, name, NAME_SIZE))
        return 0;
    return cut_suffix(name);
}

static int is_multiplied(const mm_model *m, const mmi_weight_place *at)
{
    for (size_t r = 0; r < m->table_rows; r++) /* a table that is the output's matrix too has a row for each */
        if (m->table[r].slot == at->row->slot && (m->table[r].flags & MMI_ROW_TABLE)) return 0;
    return m->weights[at->weight].rank > 1;
}

static mm_status list_own(mm_context *ctx, const mm_model *m, mmi_modules *out)
{
    mmi_module u = {m, {0}, 0, 0};
    char name[NAME_SIZE];
    mm_status st = MM_OK;

    while (mmi_weights_next(m, &u.place)) {
        if (!u.place.row->hf || !module_name(&u, 0, name)) continue;
        if (mmi_grow(ctx, (void **)&out->list, &out->capacity, out->count, sizeof *out->list)) return MM_E_NOMEM;
        u.multiplied = is_multiplied(m, &u.place);
        out->list[out->count++] = u;
    }
    for (size_t i = 0; i < m->arch->n_parts && !st; i++)
        if (m->parts[i]) st = list_own(ctx, m->parts[i], out);
    return st;
}

/* Today's names first: another that some prefix would make the same must not hide them. */
mm_status mmi_modules_list(mm_context *ctx, const mm_model *m, mmi_modules *out)
{
    char name[NAME_SIZE], first[NAME_SIZE];
    int64_t other;
    mm_status st = list_own(ctx, m, out);

    for (size_t i = 0; i < out->count && !st; i++) {
        (void)module_name(&out->list[i], 0, name);
        if (mmi_hash_map_put(ctx, &out->names, name, strlen(name), (int64_t)i, NULL)) st = MM_E_NOMEM;
    }
    for (size_t i = 0; i < out->count && !st; i++) {
        for (size_t k = 1; module_name(&out->list[i], k, name) && !st; k++) {
            int known = mmi_hash_map_get(&out->names, name, strlen(name), &other);
            if (known && (other == (int64_t)i || other < 0)) continue;
            if (known && module_name(&out->list[other], 0, first) && !strcmp(first, name)) continue;
            if (mmi_hash_map_put(ctx, &out->names, name, strlen(name), known ? -1 : (int64_t)i, NULL)) st = MM_E_NOMEM;
        }
    }
    return st;
}

void mmi_modules_clear(mmi_modules *modules)
{
    mmi_free(modules->list);
    mmi_hash_map_clear(&modules->names);
}

void mmi_adapter_destroy(mmi_adapter *adapter)
{
    if (!adapter) return;
    for (size_t i = 0; i < adapter->n_pairs; i++) {
        mmi_weight_clear(&adapter->pairs[i].a);
        mmi_weight_clear(&adapter->pairs[i].b);
        mmi_free(adapter->pairs[i].module);
    }
    mmi_free(adapter->pairs);
    mmi_free(adapter->description);
    mmi_free(adapter);
}

mm_status mmi_adapter_begin(mm_context *ctx, mm_model *base, const mmi_adapter_spec *spec, double strength, mm_model **out)
{
    mm_status st;

    *out = NULL;
    if (base->adapter)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "the model has an adapter already (%s): merge it before it gets another", base->adapter->description);
    if ((st = mmi_model_derive(ctx, base, out))) return st;
    (*out)->adapter = mmi_zalloc(ctx, sizeof *(*out)->adapter);
    if (!(*out)->adapter) {
        mmi_model_release(*out);
        *out = NULL;
        return MM_E_NOMEM;
    }
    (*out)->adapter->rank = spec->rank;
    (*out)->adapter->alpha = spec->alpha;
    (*out)->adapter->rslora = spec->rslora;
    (*out)->adapter->dropout = spec->dropout;
    (*out)->adapter->strength = strength;
    return MM_OK;
}

const mmi_weight *mmi_adapter_target(const mmi_adapter_pair *pair) { return &pair->owner->weights[pair->place.weight]; }

/* Zeros in the shape of `like`, whose dimension 0 becomes `rows`; narrow: whose dimension 1 becomes `rank` and the others 1. */
static mm_status half(mm_context *ctx, const char *module, char which, const mmi_weight *like, int64_t rank, mmi_weight *out)
{
    char name[NAME_SIZE + 64];

    (void)snprintf(name, sizeof name, "base_model.model.%s.lora_%c.weight", module, which);
    out->name = mmi_strdup(ctx, name);
    if (!out->name) return MM_E_NOMEM;
    out->dtype = MM_DTYPE_F32;
    out->rank = like->rank;
    for (int32_t d = 0; d < like->rank; d++) out->shape[d] = which == 'A' ? like->shape[d] : 1;
    out->shape[0] = which == 'A' ? rank : like->shape[0];
    if (which == 'B') out->shape[1] = rank;
    out->rows = (size_t)out->shape[0];
    out->cols = which == 'A' ? like->cols : (size_t)rank;
    if (out->rows && out->cols > SIZE_MAX / sizeof(float) / out->rows)
        return mmi_fail(ctx, MM_E_OVERFLOW, "%s: rank %lld is too large", name, (long long)rank);
    out->data = mmi_zalloc_array(ctx, out->rows * out->cols, sizeof(float));
    out->data_owned = out->data != NULL;
    return out->data ? MM_OK : MM_E_NOMEM;
}

mm_status mmi_adapter_pair_add(mm_context *ctx, mmi_adapter *adapter, mmi_module *module, int64_t rank, double alpha)
{
    char name[NAME_SIZE];
    mmi_adapter_pair *p;
    const mmi_weight *w = &module->owner->weights[module->place.weight];
    mm_status st;

    if (mmi_grow(ctx, (void **)&adapter->pairs, &adapter->capacity, adapter->n_pairs, sizeof *adapter->pairs)) return MM_E_NOMEM;
    p = &adapter->pairs[adapter->n_pairs++];
    memset(p, 0, sizeof *p);
    module->pair = adapter->n_pairs;
    p->owner = module->owner;
    p->place = module->place;
    p->alpha = alpha;
    (void)module_name(module, 0, name);
    p->module = mmi_strdup(ctx, name);
    if (!p->module) return MM_E_NOMEM;
    st = half(ctx, name, 'A', w, rank, &p->a);
    return st ? st : half(ctx, name, 'B', w, rank, &p->b);
}

mm_status mmi_adapter_finish(mm_context *ctx, mm_model *m)
{
    mmi_adapter *adapter = m->adapter;
    mmi_text text = {0};

    for (size_t i = 0; i < adapter->n_pairs; i++) {
        mmi_adapter_pair *p = &adapter->pairs[i];
        mmi_weight *w = &p->owner->weights[p->place.weight];
        w->lora_a = &p->a;
        w->lora_b = &p->b;
        w->lora_scale = (float)(adapter->strength * p->alpha / (adapter->rslora ? sqrt((double)p->a.rows) : (double)p->a.rows));
    }
    if (mmi_text_format(ctx, &text, "LoRA of %zu matrices, rank %lld, alpha %g", adapter->n_pairs, (long long)adapter->rank, adapter->alpha))
        return MM_E_NOMEM;
    adapter->description = text.data;
    return MM_OK;
}

/* Whether a name is a target; *which tells which. */
static mm_status matches(mm_context *ctx, const mmi_adapter_spec *spec, const mmi_pattern *expression, mmi_matcher *matcher, const char *name,
                         size_t *which, int *found)
{
    size_t n = strlen(name), start, end;
    mm_status st;

    *found = 0;
    if (expression) {
        *which = 0;
        st = mmi_matcher_begin(ctx, matcher, name, n);
        return st ? st : mmi_matcher_next(ctx, matcher, expression, &start, &end, found);
    }
    for (size_t i = 0; i < spec->n_targets && !*found; i++) {
        size_t k = strlen(spec->targets[i]);
        *found = k > 0 && k <= n && !strcmp(name + n - k, spec->targets[i]) && (k == n || name[n - k - 1] == '.');
        *which = i;
    }
    return MM_OK;
}

static void draw(mmi_weight *a, uint64_t seed, uint64_t stream)
{
    float *data = (float *)(uintptr_t)a->data;
    double bound = 1.0 / sqrt((double)a->cols); /* Kaiming with a = sqrt(5) */

    for (size_t i = 0; i < a->rows * a->cols; i++) data[i] = (float)((2.0 * mmi_random_unit_at(seed, stream, i) - 1.0) * bound);
}

mm_status mmi_adapter_create(mm_context *ctx, mm_model *base, const mmi_adapter_spec *spec, uint64_t seed, mm_model **out)
{
    int all = !spec->is_expression && spec->n_targets == 1 && !strcmp(spec->targets[0], "all-linear"), found;
    mmi_modules modules = {0};
    mmi_text whole = {0};
    mmi_pattern *expression = NULL;
    mmi_matcher *matcher = NULL;
    unsigned char *used = NULL;
    char name[NAME_SIZE];
    size_t which = 0;
    mm_model *m = NULL;
    mm_status st;

    *out = NULL;
    if (spec->rank < 1 || spec->rank > MMI_ADAPTER_MAX_RANK || !isfinite(spec->alpha) || !spec->n_targets)
        return mmi_fail(ctx, MM_E_ARGUMENT, "an adapter needs a rank of 1..%d, a finite alpha and target modules", MMI_ADAPTER_MAX_RANK);
    if ((st = mmi_adapter_begin(ctx, base, spec, 1.0, &m))) goto cleanup;
    if ((st = mmi_modules_list(ctx, m, &modules))) goto cleanup;
    if (!(used = mmi_zalloc(ctx, spec->n_targets))) st = MM_E_NOMEM;
    if (!st && spec->is_expression) {
        st = mmi_text_format(ctx, &whole, "^(?:%s)$", spec->targets[0]) ? MM_E_NOMEM : mmi_pattern_compile(ctx, "target_modules", whole.data, &expression);
        if (!st) st = mmi_matcher_create(ctx, &matcher);
    }
    for (size_t i = 0; i < modules.count && !st; i++) {
        mmi_module *u = &modules.list[i];
        if (!u->multiplied || (all && (u->place.row->shape[0] == 'V' || u->owner->weights[u->place.weight].rank != 2))) continue;
        found = all;
        for (size_t k = 0; (k == 0 || !found) && !st && module_name(u, k, name); k++)
            if (!all) st = matches(ctx, spec, expression, matcher, name, &which, &found);
        if (st || !found) continue;
        used[which] = 1;
        if (!(st = mmi_adapter_pair_add(ctx, m->adapter, u, spec->rank, spec->alpha))) draw(&m->adapter->pairs[m->adapter->n_pairs - 1].a, seed, i);
    }
    for (size_t i = 0; i < spec->n_targets && !st; i++)
        if (!used[i]) st = mmi_fail(ctx, MM_E_NOT_FOUND, "target_modules: \"%.200s\" is no matrix of the model", spec->targets[i]);
    if (!st) st = mmi_adapter_finish(ctx, m);
    if (st) goto cleanup;
    *out = m;
    m = NULL;
cleanup:
    mmi_matcher_destroy(matcher);
    mmi_pattern_destroy(expression);
    mmi_text_clear(&whole);
    mmi_modules_clear(&modules);
    mmi_free(used);
    mmi_model_release(m);
    return st;
}

typedef struct {
    const mmi_weight *w;   /* with lora_a and lora_b */
    const float *a;        /* [r, cols] */
    float *scratch;        /* [workers, cols + r] */
    char *out;
    size_t element;
} merge_job;

static void merge_row(void *arg, size_t row, int worker)
{
    const merge_job *j = arg;
    const mmi_weight *w = j->w;
    size_t rank = w->lora_a->rows;
    float *x = j->scratch + (size_t)worker * (w->cols + rank), *b = x + w->cols;
    char *out = j->out + row * w->cols * j->element;

    mmi_weight_read_row(w, row, x);
    mmi_weight_read_row(w->lora_b, row, b);
    for (size_t k = 0; k < rank; k++) {
        const float *a = j->a + k * w->cols;
        float s = w->lora_scale * b[k];
        for (size_t c = 0; c < w->cols; c++) x[c] += s * a[c];
    }
    if (w->dtype == MM_DTYPE_F32) {
        memcpy(out, x, w->cols * sizeof *x);
        return;
    }
    for (size_t c = 0; c < w->cols; c++) {
        uint16_t h = w->dtype == MM_DTYPE_F16 ? mmi_f32_to_f16(x[c]) : mmi_f32_to_bf16(x[c]);
        memcpy(out + c * sizeof h, &h, sizeof h);
    }
}

/* `w` becomes a weight of its own. */
static mm_status merge_weight(mm_context *ctx, const mmi_weight *adapted, mmi_weight *w)
{
    merge_job j = {adapted, NULL, NULL, NULL, 0};
    mmi_thread_pool *pool = mmi_context_pool(ctx);
    mmi_weight merged = *w;
    float *a = NULL;
    int in_place = 0;
    size_t rank = adapted->lora_a->rows;
    mm_status st = MM_E_NOMEM;

    if (mmi_dtype_is_quantized(w->dtype))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "tensor %s is %s: an adapter is merged into float weights alone", w->name, mm_dtype_name(w->dtype));
    j.element = mmi_dtype_get(w->dtype)->block_bytes;
    j.a = a = mmi_alloc_array(ctx, rank * w->cols, sizeof *a);
    j.scratch = mmi_alloc_array(ctx, (size_t)mmi_thread_pool_size(pool) * (w->cols + rank), sizeof *j.scratch);
    j.out = mmi_alloc_array(ctx, w->rows * w->cols, j.element);
    if (!j.a || !j.scratch || !j.out) goto cleanup;
    for (size_t k = 0; k < rank; k++) mmi_weight_read_row(adapted->lora_a, k, a + k * w->cols);
    mmi_thread_pool_run(pool, merge_row, &j, w->rows, NULL);
    merged.data = NULL;
    merged.packed = NULL;
    st = mmi_weight_adopt(ctx, &merged, j.out, w->rows * w->cols * j.element, w->packed != NULL, &in_place);
    if (st) goto cleanup;
    merged.stored = w->stored;
    if (in_place) {
        merged.data_owned = 1;
        j.out = NULL;
    }
    *w = merged;
cleanup:
    mmi_free(a);
    mmi_free(j.scratch);
    mmi_free(j.out);
    return st;
}

mm_status mmi_adapter_merge(mm_context *ctx, const mm_model *adapted, mm_model **out)
{
    const mmi_adapter *adapter = adapted->adapter;
    mm_model *m = NULL;
    mm_status st;

    *out = NULL;
    if (!adapter) return mmi_fail(ctx, MM_E_ARGUMENT, "the model has no adapter to merge");
    st = mmi_model_derive(ctx, adapted->base, &m);
    for (size_t i = 0; i < adapter->n_pairs && !st; i++) {
        const mmi_adapter_pair *p = &adapter->pairs[i];
        mm_model *to = m;
        for (size_t k = 0; k < m->arch->n_parts; k++)
            if (p->owner == adapted->parts[k]) to = m->parts[k];
        st = merge_weight(ctx, mmi_adapter_target(p), &to->weights[p->place.weight]);
        if (!st) st = mmi_progress(ctx, "merging the adapter", (int64_t)i + 1, (int64_t)adapter->n_pairs);
    }
    if (!st) *out = m;
    else mmi_model_release(m);
    return st;
}
