/* SPDX-License-Identifier: MIT */
#include "model_save.h"

#include <string.h>

#include "adapter.h"
#include "composite_export.h"
#include "dtype.h"
#include "file.h"
#include "safetensors_writer.h"
#include "size.h"
#include "text.h"
#include "weight_loader.h"

/* A tensor to be written, beside its mmi_safetensors_tensor. */
typedef struct {
    const mmi_weight *weight;
    int turned; /* the file has it [cols, rows] */
} source;

typedef struct {
    const mmi_export *as; /* NULL: what it is */
    mmi_arena names;      /* of its tensors there */
    mmi_safetensors_tensor *tensors;
    source *sources;
    size_t count, tensor_capacity, source_capacity;
} listing;

/* A part whose weights are another checkpoint's, and were left alone, stays there; another class knows no such parts. */
static int is_written(const mm_model *part, const mmi_export *as) { return part && (as || !part->borrowed || part->changed); }

static void clear(listing *l)
{
    mmi_free(l->tensors);
    mmi_free(l->sources);
    mmi_arena_clear(&l->names);
}

static mm_status name_there(mm_context *ctx, listing *l, mmi_safetensors_tensor *t)
{
    char name[320], *own;

    if (!mmi_export_name(l->as, t->name, name, sizeof name)) return mmi_fail(ctx, MM_E_LIMIT, "the name of tensor %.100s is too long", t->name);
    own = mmi_arena_alloc(ctx, &l->names, strlen(name) + 1);
    if (!own) return MM_E_NOMEM;
    t->name = memcpy(own, name, strlen(name) + 1);
    t->rank = mmi_export_rank(name, t->rank);
    return MM_OK;
}

/* Add the float weights of m and its parts, as `dtype`, MM_SAVE_AS_IS: as they are stored. */
static mm_status list_weights(mm_context *ctx, const mm_model *m, int32_t dtype, listing *l)
{
    mm_status st = MM_OK;

    for (size_t i = 0; i < m->n_weights && !st; i++) {
        const mmi_weight *w = &m->weights[i];
        mmi_safetensors_tensor *t;
        if (mmi_dtype_is_quantized(w->dtype)) continue;
        if (mmi_grow(ctx, (void **)&l->tensors, &l->tensor_capacity, l->count, sizeof *l->tensors)) return MM_E_NOMEM;
        if (mmi_grow(ctx, (void **)&l->sources, &l->source_capacity, l->count, sizeof *l->sources)) return MM_E_NOMEM;
        t = &l->tensors[l->count];
        memset(t, 0, sizeof *t);
        t->name = w->name;
        t->dtype = dtype == MM_SAVE_AS_IS ? w->stored : dtype;
        t->rank = mmi_weights_file_shape(m, i, t->shape);
        t->bytes = w->rows * w->cols * mmi_dtype_get(t->dtype)->block_bytes;
        l->sources[l->count++] = (source){w, m->rows[i]->flags & MMI_ROW_TRANSPOSED};
        if (l->as) st = name_there(ctx, l, t);
    }
    for (size_t i = 0; i < m->arch->n_parts && !st; i++)
        if (is_written(m->parts[i], l->as)) st = list_weights(ctx, m->parts[i], dtype, l);
    return st;
}

/* `count` values as `dtype`, in place. */
static size_t narrow(int32_t dtype, float *values, size_t count)
{
    unsigned char *out = (unsigned char *)values; /* never ahead of what is read */

    if (dtype == MM_DTYPE_F32) return count * sizeof *values;
    for (size_t i = 0; i < count; i++) {
        uint16_t half = dtype == MM_DTYPE_F16 ? mmi_f32_to_f16(values[i]) : mmi_f32_to_bf16(values[i]);
        memcpy(out + 2 * i, &half, 2);
    }
    return count * 2;
}

/* Rows are gathered until there are so many values, before they are written. */
enum { GATHER = 1 << 16 };

static mm_status emit_rows(mm_context *ctx, const mmi_weight *w, int32_t dtype, mmi_file_writer *out)
{
    size_t rows = mmi_size_min(w->rows, GATHER / w->cols + 1);
    float *values = mmi_alloc_array(ctx, rows * w->cols, sizeof *values);
    mm_status st = values ? MM_OK : MM_E_NOMEM;

    for (size_t r = 0; r < w->rows && !st; r += rows) {
        rows = mmi_size_min(rows, w->rows - r);
        for (size_t i = 0; i < rows; i++) mmi_weight_read_row(w, r + i, values + i * w->cols);
        st = mmi_file_append(ctx, out, values, narrow(dtype, values, rows * w->cols));
    }
    mmi_free(values);
    return st;
}

/* [cols, rows] of [rows, cols]. */
static mm_status emit_turned(mm_context *ctx, const mmi_weight *w, int32_t dtype, mmi_file_writer *out)
{
    size_t count = w->rows * w->cols;
    float *row = mmi_alloc_array(ctx, w->cols, sizeof *row), *values = mmi_alloc_array(ctx, count, sizeof *values);
    mm_status st = row && values ? MM_OK : MM_E_NOMEM;

    for (size_t r = 0; r < w->rows && !st; r++) {
        mmi_weight_read_row(w, r, row);
        for (size_t c = 0; c < w->cols; c++) values[c * w->rows + r] = row[c];
    }
    if (!st) st = mmi_file_append(ctx, out, values, narrow(dtype, values, count));
    mmi_free(values);
    mmi_free(row);
    return st;
}

static mm_status emit(mm_context *ctx, void *arg, size_t index, mmi_file_writer *out)
{
    const listing *l = arg;
    const source *s = &l->sources[index];
    mm_status st = mmi_progress(ctx, "saving the model", (int64_t)index, (int64_t)l->count);

    if (st || !l->tensors[index].bytes) return st;
    return s->turned ? emit_turned(ctx, s->weight, l->tensors[index].dtype, out) : emit_rows(ctx, s->weight, l->tensors[index].dtype, out);
}

static mm_status write_weights(mm_context *ctx, const mm_model *m, const char *path, int32_t dtype, const mmi_export *as)
{
    listing l = {.as = as};
    mm_status st = list_weights(ctx, m, dtype, &l);

    if (!st) st = mmi_safetensors_stream(ctx, path, l.tensors, l.count, emit, &l);
    clear(&l);
    return st;
}

mm_status mmi_model_save_weights(mm_context *ctx, const mm_model *m, const char *path) { return write_weights(ctx, m, path, MM_SAVE_AS_IS, NULL); }

/* The elements of t as w has them. */
static mm_status read_values(mm_context *ctx, const mmi_safetensors_tensor *t, int turned, mmi_weight *w)
{
    const mmi_weight file = {.dtype = t->dtype, .rows = turned ? w->cols : w->rows, .cols = turned ? w->rows : w->cols, .data = t->data};
    float *values = mmi_weight_values(w), *row;

    if (!turned) {
        for (size_t r = 0; r < file.rows; r++) mmi_weight_read_row(&file, r, values + r * file.cols);
        return MM_OK;
    }
    row = mmi_alloc_array(ctx, file.cols, sizeof *row);
    if (!row) return MM_E_NOMEM;
    for (size_t r = 0; r < file.rows; r++) {
        mmi_weight_read_row(&file, r, row);
        for (size_t c = 0; c < file.cols; c++) values[c * w->cols + r] = row[c];
    }
    mmi_free(row);
    return MM_OK;
}

/* Every tensor is there and fits, before the first is taken. */
static mm_status check_weights(mm_context *ctx, mm_model *m, const mmi_safetensors *f, const char *path)
{
    mm_status st = MM_OK;

    for (size_t i = 0; i < m->n_weights; i++) {
        const mmi_safetensors_tensor *t = mmi_safetensors_find(f, m->weights[i].name);
        int64_t shape[MM_TENSOR_MAX_RANK] = {0};
        int32_t rank = mmi_weights_file_shape(m, i, shape);
        if (mmi_dtype_is_quantized(m->weights[i].dtype)) continue;
        if (!mmi_weight_values(&m->weights[i]))
            return mmi_fail(ctx, MM_E_ARGUMENT, "cannot read %s: the model was not opened to be changed", path);
        if (!t) return mmi_fail(ctx, MM_E_NOT_FOUND, "%s has no tensor %s", path, m->weights[i].name);
        if (t->dtype != MM_DTYPE_F32 && t->dtype != MM_DTYPE_F16 && t->dtype != MM_DTYPE_BF16)
            return mmi_fail(ctx, MM_E_DTYPE, "%s: tensor %s is of type %s, which no weight is", path, t->name, t->file_type);
        if (!mmi_weights_same_shape(t->shape, t->rank, shape, rank))
            return mmi_fail(ctx, MM_E_SHAPE, "%s: tensor %s has another shape than the model's", path, t->name);
    }
    for (size_t i = 0; i < m->arch->n_parts && !st; i++)
        if (is_written(m->parts[i], NULL)) st = check_weights(ctx, m->parts[i], f, path);
    return st;
}

static mm_status take_weights(mm_context *ctx, mm_model *m, const mmi_safetensors *f)
{
    mm_status st = MM_OK;

    for (size_t i = 0; i < m->n_weights && !st; i++)
        if (!mmi_dtype_is_quantized(m->weights[i].dtype))
            st = read_values(ctx, mmi_safetensors_find(f, m->weights[i].name), m->rows[i]->flags & MMI_ROW_TRANSPOSED, &m->weights[i]);
    for (size_t i = 0; i < m->arch->n_parts && !st; i++)
        if (is_written(m->parts[i], NULL)) st = take_weights(ctx, m->parts[i], f);
    return st;
}

mm_status mmi_model_load_weights(mm_context *ctx, mm_model *m, const char *path)
{
    mmi_safetensors *f = NULL;
    mm_status st = mmi_safetensors_open(ctx, path, &f);

    if (!st) st = check_weights(ctx, m, f, path);
    if (!st) st = take_weights(ctx, m, f);
    if (!st) st = mmi_weights_prepare(ctx, m);
    mmi_safetensors_destroy(f);
    return st;
}

/* Quantized weights have no place in safetensors; `common` becomes the type that all matrices are written in, -1: there are several. */
static mm_status check_types(mm_context *ctx, const mm_model *m, int32_t dtype, const mmi_export *as, int *seen, int32_t *common)
{
    mm_status st = MM_OK;

    for (size_t i = 0; i < m->n_weights; i++) {
        const mmi_weight *w = &m->weights[i];
        int32_t type = dtype == MM_SAVE_AS_IS ? w->stored : dtype;
        if (mmi_dtype_is_quantized(w->dtype))
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "cannot save the model: tensor %s is %s, which safetensors does not have", w->name, mm_dtype_name(w->dtype));
        if (w->rank < 2) continue;
        *common = *seen && *common != type ? -1 : type;
        *seen = 1;
    }
    for (size_t i = 0; i < m->arch->n_parts && !st; i++)
        if (is_written(m->parts[i], as)) st = check_types(ctx, m->parts[i], dtype, as, seen, common);
    return st;
}

/* A config.json's text with every "dtype" and "torch_dtype" naming this type. In JSON a quote, a name and a quote in a row are that name and nothing
 * else: a quote within a string has a backslash before it. */
static int name_type(mm_context *ctx, const char *text, int32_t dtype, mmi_text *out)
{
    static const char *const keys[] = {"\"dtype\"", "\"torch_dtype\""};
    const char *type = dtype == MM_DTYPE_F32 ? "float32" : dtype == MM_DTYPE_F16 ? "float16" : "bfloat16", *done = text;

    for (const char *at = text; *at; at++) {
        const char *value = NULL;
        for (size_t k = 0; k < 2; k++)
            if (!strncmp(at, keys[k], strlen(keys[k]))) value = at + strlen(keys[k]);
        if (value) value += strspn(value, " \t\r\n:");
        if (!value || *value != '"') continue;
        value++;
        if (mmi_text_append(ctx, out, done, (size_t)(value - done)) || mmi_text_append(ctx, out, type, strlen(type))) return 1;
        done = at = value + strcspn(value, "\"");
        if (!*at) break;
    }
    return mmi_text_append(ctx, out, done, strlen(done));
}

/* A composite's text with the paths of its parts ("from") counted from where they are. */
static mm_status place_parts(mm_context *ctx, const mm_model *m, const char *text, mmi_text *out)
{
    static const char key[] = "\"from\"";
    const char *where = m->config_text ? "." : m->path, *done = text, *at;
    char *base = NULL;
    mm_status st = MM_OK;

    while (m->arch->free_parts && !st && (at = strstr(text, key))) {
        text = at + sizeof key - 1;
        text += strspn(text, " \t\r\n:");
        if (text[0] != '"' || text[1] == '/') continue;
        if (!base && !(base = mmi_file_absolute(ctx, where))) st = mmi_fail(ctx, MM_E_NOT_FOUND, "cannot save the model: %s is no longer there", where);
        if (!st && (mmi_text_append(ctx, out, done, (size_t)(text++ - done)) || mmi_json_quote(ctx, out, base, strlen(base)))) st = MM_E_NOMEM;
        if (!st) out->data[out->size - 1] = '/'; /* in place of the quote at its end */
        done = text;
    }
    if (!st && mmi_text_append(ctx, out, done, strlen(done))) st = MM_E_NOMEM;
    mmi_free(base);
    return st;
}

/* The config.json that the model was made of. */
static mm_status read_config(mm_context *ctx, const mm_model *m, char **out)
{
    char *from;
    size_t size;
    mm_status st;

    *out = m->config_text ? mmi_strdup(ctx, m->config_text) : NULL;
    if (m->config_text) return *out ? MM_OK : MM_E_NOMEM;
    from = mmi_file_join(ctx, m->path, "config.json");
    if (!from) return MM_E_NOMEM;
    st = mmi_file_exists(from) ? mmi_file_read(ctx, from, MMI_HF_MAX_CONFIG, out, &size)
                               : mmi_fail(ctx, MM_E_NOT_FOUND, "cannot save the model: %s, which it was opened from, is no longer there", from);
    mmi_free(from);
    return st;
}

/* dtype -1: as it is. */
static mm_status write_config(mm_context *ctx, const char *directory, const char *text, int32_t dtype)
{
    char *path = mmi_file_join(ctx, directory, "config.json");
    mmi_text out = {0};
    mm_status st = !path || (dtype < 0 ? mmi_text_append(ctx, &out, text, strlen(text)) : name_type(ctx, text, dtype, &out)) ? MM_E_NOMEM : MM_OK;

    if (!st) st = mmi_file_write(ctx, path, &(mmi_file_piece){out.data, out.size}, 1);
    mmi_text_clear(&out);
    mmi_free(path);
    return st;
}

mm_status mmi_model_check_class(mm_context *ctx, const mm_model *m, const char *class_name)
{
    mmi_export as = {0};
    char *config = NULL;
    mm_status st = read_config(ctx, m, &config);

    if (!st) st = mmi_export_make(ctx, m, config, class_name, &as);
    mmi_export_clear(&as);
    mmi_free(config);
    return st;
}

mm_status mmi_model_save(mm_context *ctx, const mm_model *m, const char *directory, int32_t dtype, const char *class_name)
{
    int32_t common = -1;
    int seen = 0;
    char *path = NULL, *config = NULL;
    mmi_export export = {0}, *as = class_name && strcmp(class_name, m->class_name) ? &export : NULL;
    mmi_text placed = {0};
    mm_status st;

    if (dtype != MM_SAVE_AS_IS && dtype != MM_DTYPE_F32 && dtype != MM_DTYPE_F16 && dtype != MM_DTYPE_BF16)
        return mmi_fail(ctx, MM_E_ARGUMENT, "weights can be saved as F32, F16 or BF16, or as they are, not as dtype %d", (int)dtype);
    if (m->adapter)
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "cannot save the model with an adapter beside it (%s): merge it first, or save the adapter alone",
                        m->adapter->description);
    if (!strcmp(m->format, "gguf"))
        return mmi_fail(ctx, MM_E_UNSUPPORTED, "cannot save the model: %s is a GGUF file, which came without a config.json", m->path);
    if ((st = check_types(ctx, m, dtype, as, &seen, &common))) return st;
    if ((st = read_config(ctx, m, &config))) goto cleanup;
    if ((st = as ? mmi_export_make(ctx, m, config, class_name, as) : place_parts(ctx, m, config, &placed))) goto cleanup;
    if ((st = mmi_file_make_directory(ctx, directory))) goto cleanup;
    if ((st = write_config(ctx, directory, as ? as->config.data : placed.data, common))) goto cleanup;
    if (!m->config_text && (st = mmi_hf_directory_copy(ctx, m->path, directory))) goto cleanup;
    path = mmi_file_join(ctx, directory, "model.safetensors");
    st = path ? write_weights(ctx, m, path, dtype, as) : MM_E_NOMEM;
cleanup:
    mmi_export_clear(&export);
    mmi_text_clear(&placed);
    mmi_free(config);
    mmi_free(path);
    return st;
}
