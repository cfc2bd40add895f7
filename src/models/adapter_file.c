/* SPDX-License-Identifier: MIT */
#include "adapter_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dtype.h"
#include "pattern.h"
#include "safetensors_writer.h"
#include "size.h"

enum { MAX_PATTERNS = 4096 };

static const char key_prefix[] = "base_model.model.";

/* rank_pattern or alpha_pattern: the first expression that the end of a module's name matches gives the number. */
typedef struct {
    mmi_pattern **expressions;
    double *values;
    size_t count;
} number_rules;

typedef struct {
    char *config_path, *weights_path;
    mmi_json *config;
    mmi_adapter_spec spec;
    number_rules ranks, alphas;
    mmi_matcher *matcher;
} adapter_file;

static void rules_clear(number_rules *r)
{
    for (size_t i = 0; i < r->count; i++) mmi_pattern_destroy(r->expressions[i]);
    mmi_free(r->expressions);
    mmi_free(r->values);
}

static void file_clear(adapter_file *f)
{
    rules_clear(&f->ranks);
    rules_clear(&f->alphas);
    mmi_matcher_destroy(f->matcher);
    mmi_json_destroy(f->config);
    mmi_free(f->config_path);
    mmi_free(f->weights_path);
}

static mm_status read_rules(mm_context *ctx, const mmi_json *doc, const char *key, number_rules *out)
{
    const mmi_json_node *node = mmi_json_get(mmi_json_root(doc), key);
    mmi_text whole = {0};
    size_t n = mmi_json_count(node);
    mm_status st = MM_OK;

    if (mmi_json_kind_of(node) == MMI_JSON_ABSENT || mmi_json_kind_of(node) == MMI_JSON_NULL) return MM_OK;
    if (mmi_json_kind_of(node) != MMI_JSON_OBJECT) return mmi_fail(ctx, MM_E_FORMAT, "%s: %s must be an object", mmi_json_name(doc), key);
    if (n > MAX_PATTERNS) return mmi_fail(ctx, MM_E_LIMIT, "%s: %s has %zu members, at most %d are read", mmi_json_name(doc), key, n, MAX_PATTERNS);
    out->expressions = mmi_alloc_array(ctx, n, sizeof(mmi_pattern *));
    out->values = mmi_alloc_array(ctx, n, sizeof *out->values);
    if (!out->expressions || !out->values) return MM_E_NOMEM;
    for (node = mmi_json_first(node); node && !st; node = mmi_json_next(node)) {
        if (!mmi_json_number(node, &out->values[out->count]))
            return mmi_fail(ctx, MM_E_FORMAT, "%s: %s: \"%.200s\" must be a number", mmi_json_name(doc), key, mmi_json_key(node));
        st = mmi_text_format(ctx, &whole, "^(?:.*\\.)?(?:%s)$", mmi_json_key(node)) ? MM_E_NOMEM
                                                                                   : mmi_pattern_compile(ctx, key, whole.data, &out->expressions[out->count]);
        if (!st) out->count++;
        mmi_text_clear(&whole);
    }
    return st;
}

static mm_status rule_of(mm_context *ctx, mmi_matcher *matcher, const number_rules *r, const char *module, double otherwise, double *out)
{
    size_t start, end;
    int found = 0;
    mm_status st = MM_OK;

    *out = otherwise;
    for (size_t i = 0; i < r->count && !st && !found; i++) {
        st = mmi_matcher_begin(ctx, matcher, module, strlen(module));
        if (!st) st = mmi_matcher_next(ctx, matcher, r->expressions[i], &start, &end, &found);
        if (found) *out = r->values[i];
    }
    return st;
}

/* What changes the sum W + s B A, or adds to it. */
static mm_status refuse_variants(mm_context *ctx, const mmi_json *doc)
{
    static const char *const keys[] = {"modules_to_save", "use_dora", "lora_bias", "use_qalora", "layer_replication", "trainable_token_indices",
                                       "target_parameters", "alora_invocation_tokens", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config"};
    static const char *const usual[] = {"gaussian", "eva", "orthogonal"}; /* others take something out of the base's weights first */
    const mmi_json_node *root = mmi_json_root(doc), *node;
    const char *text = "none";
    mm_status st;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        node = mmi_json_get(root, keys[i]);
        text = mmi_json_string(mmi_json_first(node));
        if (mmi_json_true(node) || mmi_json_string(node) || mmi_json_count(node))
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %s%s%.100s is not supported", mmi_json_name(doc), keys[i], text ? ": " : "", text ? text : "");
    }
    text = "none";
    if ((st = mmi_json_text(ctx, doc, root, "bias", 0, &text))) return st;
    if (strcmp(text, "none")) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: bias \"%.60s\" is not supported", mmi_json_name(doc), text);
    text = mmi_json_string(mmi_json_get(root, "init_lora_weights"));
    for (size_t i = 0; text && i < sizeof usual / sizeof *usual; i++)
        if (!strcmp(text, usual[i])) text = NULL;
    if (text) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: init_lora_weights \"%.60s\" is not supported", mmi_json_name(doc), text);
    return MM_OK;
}

static mm_status read_file_config(mm_context *ctx, const char *directory, adapter_file *f)
{
    const mmi_json_node *root;
    const char *type = NULL;
    mm_status st;

    f->config_path = mmi_file_join(ctx, directory, "adapter_config.json");
    f->weights_path = mmi_file_join(ctx, directory, "adapter_model.safetensors");
    if (!f->config_path || !f->weights_path) return MM_E_NOMEM;
    if ((st = mmi_json_read(ctx, f->config_path, MMI_HF_MAX_CONFIG, &f->config))) return st;
    root = mmi_json_root(f->config);
    if ((st = mmi_json_text(ctx, f->config, root, "peft_type", 1, &type))) return st;
    if (strcmp(type, "LORA")) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: peft_type \"%.60s\" is not supported, LORA is", f->config_path, type);
    if ((st = refuse_variants(ctx, f->config))) return st;
    f->spec.rank = 8;
    f->spec.alpha = 8;
    if ((st = mmi_json_i64(ctx, f->config, root, "r", 0, 1, MMI_ADAPTER_MAX_RANK, &f->spec.rank))) return st;
    if ((st = mmi_json_f64(ctx, f->config, root, "lora_alpha", 0, -1e6, 1e6, &f->spec.alpha))) return st;
    if ((st = mmi_json_bool(ctx, f->config, root, "use_rslora", 0, &f->spec.rslora))) return st;
    if ((st = mmi_json_f64(ctx, f->config, root, "lora_dropout", 0, 0, 1, &f->spec.dropout))) return st;
    if ((st = read_rules(ctx, f->config, "rank_pattern", &f->ranks))) return st;
    if ((st = read_rules(ctx, f->config, "alpha_pattern", &f->alphas))) return st;
    return mmi_matcher_create(ctx, &f->matcher);
}

/* "base_model.model.<module>.lora_A.weight", of older versions with ".default" before ".weight": the module, and 'A' or 'B'; 'W' for a copy of the
 * base's weight, which peft puts beside the adapters of embeddings and outputs; 0: another name. */
static char split_key(const char *key, char *module, size_t size)
{
    static const char *const ends[] = {".lora_A.weight", ".lora_B.weight", ".lora_A.default.weight", ".lora_B.default.weight", ".base_layer.weight", ".weight"};
    size_t n = strlen(key), p = sizeof key_prefix - 1;

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t e = strlen(ends[i]);
        if (n <= p + e || strncmp(key, key_prefix, p) || strcmp(key + n - e, ends[i]) || n - p - e >= size) continue;
        memcpy(module, key + p, n - p - e);
        module[n - p - e] = 0;
        return "ABABWW"[i];
    }
    return 0;
}

/* A block-quantized weight is not compared: it is near its copy at best. */
static int same_weight(const mmi_weight *w, const mmi_safetensors_tensor *t, float *rows)
{
    mmi_weight from = {.dtype = t->dtype, .data = t->data, .cols = w->cols};
    size_t bytes = 0;

    if (mmi_dtype_bytes(t->dtype, w->rows * w->cols, &bytes) || bytes != t->bytes || t->rank != w->rank || memcmp(t->shape, w->shape, (size_t)w->rank * sizeof *w->shape))
        return 0;
    for (size_t r = 0; r < w->rows && !mmi_dtype_is_quantized(w->dtype); r++) {
        mmi_weight_read_row(w, r, rows);
        mmi_weight_read_row(&from, r, rows + w->cols);
        if (memcmp(rows, rows + w->cols, w->cols * sizeof *rows)) return 0;
    }
    return 1;
}

static mm_status check_copy(mm_context *ctx, const adapter_file *f, const mmi_safetensors_tensor *t, const mmi_module *u)
{
    const mmi_weight *w = &u->owner->weights[u->place.weight];
    float *rows = mmi_alloc_array(ctx, w->cols, 2 * sizeof *rows);
    int same = rows && same_weight(w, t, rows);

    mmi_free(rows);
    if (!rows) return MM_E_NOMEM;
    return same ? MM_OK : mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: tensor %.300s: it differs from the model's, and whole weights are not taken from adapters",
                                   f->weights_path, t->name);
}

/* Row of the weight for each of peft's, where the base's file orders the rows of a head for interleaved rotation. */
static size_t base_row(const mmi_adapter_pair *p, size_t row)
{
    size_t dim = p->owner->info.kv.dim, i;

    if (!p->owner->arch->gguf_interleaved || strcmp(p->owner->format, "gguf") || !(p->place.row->flags & MMI_ROW_ROTATED)) return row;
    i = row % dim;
    return row - i + (i < dim / 2 ? 2 * i : 2 * (i - dim / 2) + 1);
}

/* As the matrices of the model are: packed where there is a kernel for that. */
static mm_status pack(mm_context *ctx, mmi_weight *w)
{
    mmi_weight packed = *w;
    int in_place;
    mm_status st;

    packed.data = NULL;
    packed.data_owned = 0;
    st = mmi_weight_adopt(ctx, &packed, w->data, w->rows * w->cols * sizeof(float), 1, &in_place);
    if (st || in_place) return st;
    mmi_free((void *)(uintptr_t)w->data);
    *w = packed;
    return MM_OK;
}

static mm_status take_tensor(mm_context *ctx, const adapter_file *f, const mmi_safetensors_tensor *t, mm_model *m, mmi_modules *modules)
{
    mmi_adapter *adapter = m->adapter;
    char module[256], have[128], want[128];
    char side = split_key(t->name, module, sizeof module);
    size_t elements = 1;
    double rank, alpha = 0;
    int64_t expected[2];
    const mmi_weight *target;
    int64_t index = -1;
    mmi_adapter_pair *p;
    int *has;
    mmi_module *u;
    mmi_weight *w, from = {0};
    mm_status st;

    if (!side) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: tensor %.300s is no matrix of LoRA", f->weights_path, t->name);
    if (!mmi_hash_map_get(&modules->names, module, strlen(module), &index) || index < 0)
        return mmi_fail(ctx, MM_E_NOT_FOUND, "%s: tensor %.300s: the model has no such module", f->weights_path, t->name);
    u = &modules->list[index];
    if (side != 'W' && !u->multiplied)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: tensor %.300s: the module is no matrix that is multiplied", f->weights_path, t->name);
    if (t->dtype != MM_DTYPE_F32 && t->dtype != MM_DTYPE_F16 && t->dtype != MM_DTYPE_BF16)
        return mmi_fail(ctx, MM_E_DTYPE, "%s: tensor %.300s is of type %s, expected floats", f->weights_path, t->name, t->file_type);
    if (side == 'W') return check_copy(ctx, f, t, u);
    if (!u->pair) {
        if ((st = rule_of(ctx, f->matcher, &f->ranks, module, (double)f->spec.rank, &rank))) return st;
        if ((st = rule_of(ctx, f->matcher, &f->alphas, module, f->spec.alpha, &alpha))) return st;
        if (!(rank >= 1 && rank <= MMI_ADAPTER_MAX_RANK) || rank != floor(rank))
            return mmi_fail(ctx, MM_E_FORMAT, "%s: rank_pattern: a rank of %g for %s", f->config_path, rank, module);
    } else {
        rank = (double)adapter->pairs[u->pair - 1].a.rows;
    }
    target = &u->owner->weights[u->place.weight];
    expected[0] = side == 'A' ? (int64_t)rank : (int64_t)target->rows;
    expected[1] = side == 'A' ? (int64_t)target->cols : (int64_t)rank;
    for (int32_t d = 0; d < t->rank; d++) elements *= (size_t)t->shape[d]; /* as many as the file has bytes for */
    if (t->rank < 2 || t->shape[0] != expected[0] || elements / (size_t)expected[0] != (size_t)expected[1] || elements % (size_t)expected[0]) {
        mmi_weight_shape_text(t->shape, t->rank, have);
        mmi_weight_shape_text(expected, 2, want);
        return mmi_fail(ctx, MM_E_SHAPE, "%s: tensor %.300s is %s, expected %s", f->weights_path, t->name, have, want);
    }
    if (!u->pair && (st = mmi_adapter_pair_add(ctx, adapter, u, (int64_t)rank, alpha))) return st;
    p = &adapter->pairs[u->pair - 1];
    w = side == 'A' ? &p->a : &p->b;
    has = side == 'A' ? &p->has_a : &p->has_b;
    if (*has) return mmi_fail(ctx, MM_E_FORMAT, "%s: tensor %.300s: its module has a lora_%c already", f->weights_path, t->name, side);
    from.dtype = t->dtype;
    from.data = t->data;
    from.cols = w->cols;
    for (size_t row = 0; row < w->rows; row++)
        mmi_weight_read_row(&from, row, (float *)(uintptr_t)w->data + (side == 'B' ? base_row(p, row) : row) * w->cols);
    *has = 1;
    return pack(ctx, w);
}

mm_status mmi_adapter_open(mm_context *ctx, mm_model *base, const char *directory, double strength, mm_model **out)
{
    adapter_file f = {0};
    mmi_safetensors *weights = NULL;
    mmi_modules modules = {0};
    mm_model *m = NULL;
    mm_status st;

    *out = NULL;
    if (!isfinite(strength)) return mmi_fail(ctx, MM_E_ARGUMENT, "the scale of an adapter must be finite");
    if ((st = read_file_config(ctx, directory, &f))) goto cleanup;
    if ((st = mmi_safetensors_open(ctx, f.weights_path, &weights))) goto cleanup;
    if ((st = mmi_adapter_begin(ctx, base, &f.spec, strength, &m))) goto cleanup;
    if ((st = mmi_modules_list(ctx, m, &modules))) goto cleanup;
    for (size_t i = 0; i < mmi_safetensors_count(weights) && !st; i++) st = take_tensor(ctx, &f, mmi_safetensors_at(weights, i), m, &modules);
    for (size_t i = 0; i < m->adapter->n_pairs && !st; i++) {
        const mmi_adapter_pair *p = &m->adapter->pairs[i];
        if (!p->has_a || !p->has_b) st = mmi_fail(ctx, MM_E_NOT_FOUND, "%s has no tensor %.300s", f.weights_path, (p->has_a ? &p->b : &p->a)->name);
    }
    if (!st && !m->adapter->n_pairs) st = mmi_fail(ctx, MM_E_FORMAT, "%s has no tensors", f.weights_path);
    if (!st) st = mmi_adapter_finish(ctx, m);
    if (st) goto cleanup;
    *out = m;
    m = NULL;
cleanup:
    mmi_modules_clear(&modules);
    mmi_safetensors_destroy(weights);
    mmi_model_release(m);
    file_clear(&f);
    return st;
}

/* The pairs whose number differs from the adapter's, as a rank_pattern or alpha_pattern. */
static mm_status write_rules(mm_context *ctx, const mmi_adapter *adapter, int ranks, mmi_text *out)
{
    size_t n = 0;

    if (mmi_text_format(ctx, out, ",\n  \"%s_pattern\": {", ranks ? "rank" : "alpha")) return MM_E_NOMEM;
    for (size_t i = 0; i < adapter->n_pairs; i++) {
        const mmi_adapter_pair *p = &adapter->pairs[i];
        if (ranks ? p->a.rows == (size_t)adapter->rank : p->alpha == adapter->alpha) continue;
        if (mmi_text_format(ctx, out, "%s", n++ ? ", " : "") || mmi_json_quote(ctx, out, p->module, strlen(p->module))) return MM_E_NOMEM;
        if (ranks ? mmi_text_format(ctx, out, ": %zu", p->a.rows) : mmi_text_format(ctx, out, ": %.17g", p->alpha)) return MM_E_NOMEM;
    }
    return mmi_text_append(ctx, out, "}", 1) ? MM_E_NOMEM : MM_OK;
}

static mm_status write_config(mm_context *ctx, const mm_model *m, mmi_text *out)
{
    const mmi_adapter *a = m->adapter;
    int transposed = 0;

    for (size_t i = 0; i < a->n_pairs; i++) transposed |= a->pairs[i].place.row->flags & MMI_ROW_TRANSPOSED;
    if (mmi_text_format(ctx, out, "{\n  \"peft_type\": \"LORA\",\n  \"task_type\": null,\n  \"base_model_name_or_path\": ") ||
        mmi_json_quote(ctx, out, m->path, strlen(m->path)) ||
        mmi_text_format(ctx, out, ",\n  \"r\": %lld,\n  \"lora_alpha\": %.17g,\n  \"use_rslora\": %s,\n  \"lora_dropout\": %.17g,\n  \"bias\": \"none\",\n"
                                  "  \"fan_in_fan_out\": %s,\n  \"init_lora_weights\": true,\n  \"inference_mode\": true,\n  \"modules_to_save\": null,\n"
                                  "  \"target_modules\": [",
                        (long long)a->rank, a->alpha, a->rslora ? "true" : "false", a->dropout, transposed ? "true" : "false"))
        return MM_E_NOMEM;
    for (size_t i = 0; i < a->n_pairs; i++)
        if (mmi_text_format(ctx, out, i ? ",\n    " : "\n    ") || mmi_json_quote(ctx, out, a->pairs[i].module, strlen(a->pairs[i].module))) return MM_E_NOMEM;
    if (mmi_text_append(ctx, out, "]", 1)) return MM_E_NOMEM;
    if (write_rules(ctx, a, 1, out) || write_rules(ctx, a, 0, out)) return MM_E_NOMEM;
    return mmi_text_append(ctx, out, "\n}\n", 3) ? MM_E_NOMEM : MM_OK;
}

mm_status mmi_adapter_save(mm_context *ctx, const mm_model *m, const char *directory)
{
    const mmi_adapter *a = m->adapter;
    char *config_path = NULL, *weights_path = NULL;
    mmi_safetensors_tensor *tensors = NULL;
    float **rows = NULL;
    mmi_text config = {0};
    mmi_file_piece piece;
    mm_status st = MM_E_NOMEM;

    if (!a) return mmi_fail(ctx, MM_E_ARGUMENT, "the model has no adapter to save");
    config_path = mmi_file_join(ctx, directory, "adapter_config.json");
    weights_path = mmi_file_join(ctx, directory, "adapter_model.safetensors");
    tensors = mmi_zalloc_array(ctx, 2 * a->n_pairs, sizeof *tensors);
    rows = mmi_zalloc_array(ctx, 2 * a->n_pairs, sizeof *rows);
    if (!config_path || !weights_path || !tensors || !rows) goto cleanup;
    for (size_t i = 0; i < 2 * a->n_pairs; i++) {
        const mmi_adapter_pair *p = &a->pairs[i / 2];
        const mmi_weight *w = i % 2 ? &p->b : &p->a;
        rows[i] = mmi_alloc_array(ctx, w->rows * w->cols, sizeof **rows);
        if (!rows[i]) goto cleanup;
        for (size_t r = 0; r < w->rows; r++) mmi_weight_read_row(w, i % 2 ? base_row(p, r) : r, rows[i] + r * w->cols);
        tensors[i].name = w->name;
        tensors[i].dtype = MM_DTYPE_F32;
        tensors[i].rank = w->rank;
        memcpy(tensors[i].shape, w->shape, sizeof w->shape);
        tensors[i].data = rows[i];
        tensors[i].bytes = w->rows * w->cols * sizeof **rows;
    }
    if (write_config(ctx, m, &config)) goto cleanup;
    if ((st = mmi_file_make_directory(ctx, directory))) goto cleanup;
    if ((st = mmi_safetensors_write(ctx, weights_path, tensors, 2 * a->n_pairs))) goto cleanup;
    piece = (mmi_file_piece){config.data, config.size};
    st = mmi_file_write(ctx, config_path, &piece, 1);
cleanup:
    for (size_t i = 0; rows && i < 2 * a->n_pairs; i++) mmi_free(rows[i]);
    mmi_free(rows);
    mmi_free(tensors);
    mmi_text_clear(&config);
    mmi_free(config_path);
    mmi_free(weights_path);
    return st;
}
