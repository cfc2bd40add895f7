/* SPDX-License-Identifier: MIT */
#include "weight_loader.h"

#include <stdio.h>
#include <string.h>

#include "dtype.h"
#include "quant_pack.h"
#include "size.h"
#include "tensor.h"
#include "weight_init.h"

typedef struct {
    int32_t dtype;
    const char *dtype_name;
    int32_t rank;
    int64_t shape[MM_TENSOR_MAX_RANK];
    const void *data;
    size_t bytes;
    mmi_file_map *map;
} found_tensor;

static int find_tensor(const mmi_weight_source *s, const char *name, found_tensor *out)
{
    if (s->gguf) {
        const mmi_gguf_tensor *t = mmi_gguf_tensor_find(s->gguf, name);
        if (!t) return 0;
        *out = (found_tensor){t->dtype, "a ggml type that libmm does not read", t->rank, {0}, t->data, t->bytes, mmi_gguf_map(s->gguf)};
        memcpy(out->shape, t->shape, sizeof t->shape);
    } else {
        const mmi_safetensors_tensor *t = mmi_safetensors_find(s->safetensors, name);
        if (!t) return 0;
        *out = (found_tensor){t->dtype, t->file_type, t->rank, {0}, t->data, t->bytes, t->map};
        memcpy(out->shape, t->shape, sizeof t->shape);
    }
    return 1;
}

/* A row's name, to its end or the next alternative, with the layer put in and one of the prefixes before it; the inner one is of the base alone. */
static int format_name(char *out, size_t size, const char *outer, const char *inner, const char *pattern, int64_t layer)
{
    int length, before, n;

    if (*pattern == '/') {
        pattern++;
        inner = "";
    }
    length = (int)strcspn(pattern, "|+");
    before = (int)strcspn(pattern, "%|+");
    n = before < length ? snprintf(out, size, "%s%s%.*s%lld%.*s", outer, inner, before, pattern, (long long)layer, length - before - 1,
                                       pattern + before + 1)
                            : snprintf(out, size, "%s%s%.*s", outer, inner, length, pattern);
    return n >= 0 && (size_t)n < size;
}

int mmi_weight_todays_name(const mm_model *m, const mmi_weight_row *row, int64_t layer, int module, char *out, size_t size)
{
    const mmi_part_row *part = m->part;
    const char *modules = part ? part->modules : m->arch->modules;
    const char *pattern = row->hf, *next;
    int base = mmi_text_ends_with(m->class_name, "Model") && !mmi_text_ends_with(m->class_name, "LMHeadModel") && !(part && part->role == MMI_ROLE_DECODER);

    for (int i = 0; i < m->info.naming && (next = strchr(pattern, '+')); i++) pattern = next + 1;
    if (module && (row->flags & MMI_ROW_RENAMED)) pattern = strrchr(pattern, '|') + 1;
    if (module && modules) return format_name(out, size, *pattern == '/' ? "" : modules, "", pattern, layer);
    return format_name(out, size, part && !(part->bare && *pattern == '/') ? part->prefixes[0] : "",
                       base || (part && part->bare) ? "" : m->arch->prefixes[0], pattern, layer);
}

int mmi_weight_row_name(const mm_model *m, const mmi_weight_row *row, int64_t layer, size_t index, char *name, size_t size)
{
    static const char *const none[] = {"", NULL};
    const char *const *outer = m->part ? m->part->prefixes : none;
    const char *pattern = row->hf;
    size_t n_outer = 0, n_inner = 0;

    while (outer[n_outer]) n_outer++;
    while (m->arch->prefixes[n_inner]) n_inner++;
    for (; pattern && index >= n_outer * n_inner; index -= n_outer * n_inner) {
        pattern = strpbrk(pattern, "|+");
        if (pattern) pattern++;
    }
    return pattern && format_name(name, size, outer[index / n_inner], m->arch->prefixes[index % n_inner], pattern, layer);
}

static int find_row(const mm_model *m, const mmi_weight_source *s, const mmi_weight_row *row, int64_t layer, char *name, size_t size, found_tensor *out)
{
    if (s->projector) {
        char pattern[128];
        return row->hf && mmi_projector_file_name(s->projector, row->hf, pattern, sizeof pattern) && format_name(name, size, "", "", pattern, layer) &&
               find_tensor(s, name, out);
    }
    if (s->gguf) return row->gguf && format_name(name, size, "", "", row->gguf, layer) && find_tensor(s, name, out);
    for (size_t i = 0; mmi_weight_row_name(m, row, layer, i, name, size); i++)
        if (find_tensor(s, name, out)) return 1;
    if (row->hf) (void)mmi_weight_todays_name(m, row, layer, 0, name, size);
    return 0;
}

/* The shape that a text asks for, "2I,C" with the model's numbers, to its end or a '>'. */
static int32_t resolve_shape(const mm_model *m, const char *text, int64_t shape[MM_TENSOR_MAX_RANK])
{
    int32_t rank = 0;

    while (*text && *text != '>') {
        int64_t n = 0;
        int digits = 0;
        for (; *text >= '0' && *text <= '9'; text++, digits = 1) n = n * 10 + (*text - '0');
        if (*text && *text != ',' && *text != '>') n = (digits ? n : 1) * m->arch->dimension(m, *text++);
        shape[rank++] = n;
        if (*text == ',') text++;
    }
    return rank;
}

/* The shape that a row is used in. */
static int32_t expected_shape(const mm_model *m, const mmi_weight_row *row, int64_t shape[MM_TENSOR_MAX_RANK])
{
    const char *used = strchr(row->shape, '>');
    return resolve_shape(m, used ? used + 1 : row->shape, shape);
}

void mmi_weight_shape_text(const int64_t *shape, int32_t rank, char out[128])
{
    size_t at = 0;
    out[at++] = '[';
    for (int32_t d = 0; d < rank && at < 110; d++) at += (size_t)snprintf(out + at, 128 - at, d ? ", %lld" : "%lld", (long long)shape[d]);
    snprintf(out + at, 128 - at, "]");
}

int mmi_weights_same_shape(const int64_t *a, int32_t a_rank, const int64_t *b, int32_t b_rank)
{
    while (a_rank > b_rank && *a == 1) a++, a_rank--;
    while (b_rank > a_rank && *b == 1) b++, b_rank--;
    return a_rank == b_rank && !memcmp(a, b, (size_t)a_rank * sizeof *a);
}

static void swap(int64_t *a, int64_t *b)
{
    int64_t kept = *a;
    *a = *b;
    *b = kept;
}

static mm_status keep_map(mm_context *ctx, mm_model *m, mmi_file_map *map)
{
    mmi_file_map **grown;

    for (size_t i = m->n_maps; i-- > 0;)
        if (m->maps[i] == map) return MM_OK;
    grown = mmi_realloc(ctx, m->maps, (m->n_maps + 1) * sizeof *grown);
    if (!grown) return MM_E_NOMEM;
    m->maps = grown;
    mmi_file_map_retain(map);
    m->maps[m->n_maps++] = map;
    return MM_OK;
}

/* The elements of a matrix stored [cols, rows] as [rows, cols], in tiles that the cache holds. */
static mm_status transpose(mm_context *ctx, const found_tensor *t, const int64_t shape[2], void **out)
{
    enum { TILE = 32 };
    size_t rows = (size_t)shape[0], cols = (size_t)shape[1], size = t->bytes / rows / cols;
    char *to = *out = mmi_alloc(ctx, t->bytes);

    if (!to) return MM_E_NOMEM;
    for (size_t r0 = 0; r0 < rows; r0 += TILE)
        for (size_t c0 = 0; c0 < cols; c0 += TILE)
            for (size_t r = r0; r < mmi_size_min(r0 + TILE, rows); r++)
                for (size_t c = c0; c < mmi_size_min(c0 + TILE, cols); c++)
                    memcpy(to + (r * cols + c) * size, (const char *)t->data + (c * rows + r) * size, size);
    return MM_OK;
}

int32_t mmi_weights_file_shape(const mm_model *m, size_t index, int64_t shape[MM_TENSOR_MAX_RANK])
{
    const mmi_weight_row *row = m->rows[index];
    int32_t rank = resolve_shape(m, row->shape, shape);

    if (row->flags & MMI_ROW_TRANSPOSED) swap(&shape[0], &shape[1]);
    return rank;
}

/* How much room there is. */
typedef struct {
    size_t weights, rows;
} capacities;

/* The next weight of m, its name and shape set. */
static mm_status next_weight(mm_context *ctx, mm_model *m, const mmi_weight_row *row, const char *name, int32_t dtype, int32_t rank,
                             const int64_t *shape, capacities *room, mmi_weight **out)
{
    mmi_weight *w;

    if (mmi_grow(ctx, (void **)&m->weights, &room->weights, m->n_weights, sizeof *m->weights)) return MM_E_NOMEM;
    if (mmi_grow(ctx, (void **)&m->rows, &room->rows, m->n_weights, sizeof *m->rows)) return MM_E_NOMEM;
    m->rows[m->n_weights] = row;
    *out = w = &m->weights[m->n_weights];
    memset(w, 0, sizeof *w);
    w->name = mmi_strdup(ctx, name);
    if (!w->name) return MM_E_NOMEM;
    w->dtype = dtype;
    w->rank = rank;
    w->fixed = (row->flags & MMI_ROW_SINES) != 0;
    memcpy(w->shape, shape, sizeof w->shape);
    m->n_weights++;
    return MM_OK;
}

static mm_status draw_row(mm_context *ctx, mm_model *m, const mmi_weight_source *s, const mmi_weight_row *row, int64_t layer, capacities *room)
{
    int64_t shape[MM_TENSOR_MAX_RANK] = {0};
    int32_t rank = expected_shape(m, row, shape);
    size_t elements, bytes, needed = 0;
    char name[256];
    mmi_weight *w;
    mm_status st;

    if (!row->hf || row->flags & MMI_ROW_TIED) return MM_OK;
    if (!mmi_weight_todays_name(m, row, layer, 0, name, sizeof name)) return mmi_fail(ctx, MM_E_LIMIT, "%s: the name of tensor %.100s is too long", s->name, name);
    if ((st = mmi_tensor_measure(ctx, MM_DTYPE_F32, rank, shape, &elements, &bytes))) return st;
    /* No file bounds these sizes, and a system that promises more memory than it has would end the process when the weights are written. */
    if (mmi_size_add(mmi_heap_used(ctx->heap), bytes, &needed) || needed > mmi_heap_machine())
        return mmi_fail(ctx, MM_E_NOMEM, "%s: with tensor %s, of %zu bytes, the weights are more than the machine's memory", s->name, name, bytes);
    if (s->taken) mmi_log(ctx, MM_LOG_WARNING, "%s has no tensor %s: it is drawn", s->name, name);
    if ((st = next_weight(ctx, m, row, name, MM_DTYPE_F32, rank, shape, room, &w))) return st;
    if ((st = mmi_weight_own(ctx, w, NULL, bytes))) return st;
    m->slots[(size_t)(layer + 1) * m->n_slots + (size_t)row->slot] = (int32_t)m->n_weights;
    return mmi_weight_draw(ctx, m, row, w, s->seed);
}

/* Worth it: no convolution, whole blocks, and rows enough for a packed group. */
static int is_quantized_here(const mmi_weight_source *s, const mmi_weight_row *row, const mmi_weight *w)
{
    return s->quantized && !mmi_dtype_is_quantized(w->dtype) && !(row->flags & MMI_ROW_TABLE) && w->rank == 2 && w->shape[0] >= MMI_PACK_ROWS &&
           w->shape[1] % (int64_t)mmi_dtype_get(s->quantized)->block == 0;
}

static mm_status load_row(mm_context *ctx, mm_model *m, const mmi_weight_source *s, const mmi_weight_row *row, int64_t layer, capacities *room)
{
    int64_t shape[MM_TENSOR_MAX_RANK] = {0};
    int32_t rank = expected_shape(m, row, shape);
    int turned = (row->flags & MMI_ROW_TRANSPOSED) && !s->gguf;
    void *own = NULL;
    char name[256], have[128], want[128];
    found_tensor t;
    mmi_weight *w;
    int in_place = 0;
    mm_status st;

    if (!find_row(m, s, row, layer, name, sizeof name, &t)) {
        if (s->taken) return draw_row(ctx, m, s, row, layer, room);
        if ((row->flags & (MMI_ROW_OPTIONAL | MMI_ROW_TIED)) || (s->gguf && !s->projector && !row->gguf)) return MM_OK;
        if (s->projector && s->projector->bare && !strncmp(name, "v.post_ln.", 10)) return MM_OK;
        return mmi_fail(ctx, MM_E_NOT_FOUND, "%s has no tensor %s", s->name, name);
    }
    if (t.dtype < 0) return mmi_fail(ctx, MM_E_DTYPE, "%s: tensor %s is of type %s, which libmm does not compute with", s->name, name, t.dtype_name);
    if (turned) swap(&shape[0], &shape[1]);
    if (!mmi_weights_same_shape(t.shape, t.rank, shape, rank)) {
        mmi_weight_shape_text(t.shape, t.rank, have);
        mmi_weight_shape_text(shape, rank, want);
        return mmi_fail(ctx, MM_E_SHAPE, "%s: tensor %s is %s, expected %s", s->name, name, have, want);
    }
    if (turned) swap(&shape[0], &shape[1]);
    for (size_t i = 0; layer < 0 && i < m->n_weights; i++) { /* one tensor for two */
        if (strcmp(m->weights[i].name, name)) continue;
        m->slots[row->slot] = (int32_t)i + 1;
        return MM_OK;
    }
    if ((st = next_weight(ctx, m, row, name, t.dtype, rank, shape, room, &w))) return st;
    if (!s->trainable) st = keep_map(ctx, m, t.map);
    if (!st && turned) st = transpose(ctx, &t, shape, &own);
    if (!st && s->trainable)
        st = mmi_weight_own(ctx, w, own ? own : t.data, t.bytes);
    else if (!st && is_quantized_here(s, row, w))
        st = mmi_weight_quantize(ctx, w, own ? own : t.data, t.bytes, s->quantized);
    else if (!st)
        st = mmi_weight_adopt(ctx, w, own ? own : t.data, t.bytes, !(row->flags & MMI_ROW_TABLE), &in_place);
    if (own && in_place) {
        w->data_owned = 1;
        own = NULL;
        in_place = 0;
    }
    mmi_free(own);
    if (st) return st;
    if (!in_place) mmi_file_map_forget(t.map, t.data, t.bytes);
    if (s->taken) ++*s->taken;
    m->slots[(size_t)(layer + 1) * m->n_slots + (size_t)row->slot] = (int32_t)m->n_weights;
    return MM_OK;
}

static size_t matrices_of(const mm_model *m, int32_t dtype)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_weights; i++) n += m->weights[i].rank > 1 && m->weights[i].dtype == dtype;
    for (size_t i = 0; i < m->arch->n_parts; i++) n += m->parts[i] ? matrices_of(m->parts[i], dtype) : 0;
    return n;
}

static mm_status list_dtypes(mm_context *ctx, mm_model *m)
{
    mmi_text text = {0};

    for (int32_t d = 0; d <= MM_DTYPE_Q8_ROW; d++) {
        size_t n = matrices_of(m, d);
        if (n && mmi_text_format(ctx, &text, "%s%s x %zu", text.size ? ", " : "", mm_dtype_name(d), n)) {
            mmi_text_clear(&text);
            return MM_E_NOMEM;
        }
    }
    m->dtypes = text.data;
    return MM_OK;
}

mm_status mmi_weights_prepare(mm_context *ctx, mm_model *m)
{
    mm_status st = MM_OK;

    for (size_t i = 0; i < m->arch->n_parts && !st; i++)
        if (m->parts[i]) st = mmi_weights_prepare(ctx, m->parts[i]);
    return !st && m->arch->prepare ? m->arch->prepare(ctx, m) : st;
}

/* "vision: ViTModel, text: BertModel" */
static mm_status list_parts(mm_context *ctx, mm_model *m)
{
    mmi_text text = {0};

    for (size_t i = 0; i < m->arch->n_parts; i++) {
        const char *name = m->arch->parts[i].config;
        if (m->parts[i] && mmi_text_format(ctx, &text, "%s%.*s: %s", text.size ? ", " : "", (int)strcspn(name, "_"), name, m->parts[i]->class_name)) {
            mmi_text_clear(&text);
            return MM_E_NOMEM;
        }
    }
    m->part_names = text.data;
    return MM_OK;
}

static int64_t stacked_layers(const mm_model *m) { return m->info.layers > m->info.decoder_layers ? m->info.layers : m->info.decoder_layers; }

static int row_applies(const mm_model *m, const mmi_weight_row *row, int64_t layer)
{
    unsigned features = m->info.features | (layer >= 0 && m->arch->layer_features ? m->arch->layer_features(m, layer) : 0);
    const char *pattern = row->hf ? row->hf : row->gguf;

    if ((strchr(pattern, '%') != NULL) != (layer >= 0) || (row->when & ~features)) return 0;
    return layer < (row->flags & MMI_ROW_DECODER ? m->info.decoder_layers : m->info.layers) || layer < 0;
}

int mmi_weights_next(const mm_model *m, mmi_weight_place *at)
{
    for (;; at->next++) {
        if (at->next == (size_t)(stacked_layers(m) + 1) * m->table_rows) return 0;
        at->layer = (int64_t)(at->next / m->table_rows) - 1;
        at->row = &m->table[at->next % m->table_rows];
        if (!row_applies(m, at->row, at->layer)) continue;
        at->weight = m->slots[(size_t)(at->layer + 1) * m->n_slots + (size_t)at->row->slot];
        if (at->weight-- > 0) break;
    }
    at->next++;
    return 1;
}

mm_status mmi_weights_name_part(mm_context *ctx, mm_model *part)
{
    mmi_weight_place at = {0};
    char name[256];

    while (mmi_weights_next(part, &at)) {
        char *own;
        if (!at.row->hf || !mmi_weight_todays_name(part, at.row, at.layer, 0, name, sizeof name)) continue; /* of GGUF alone */
        if (!(own = mmi_strdup(ctx, name))) return MM_E_NOMEM;
        mmi_free(part->weights[at.weight].name);
        part->weights[at.weight].name = own;
    }
    return MM_OK;
}

mm_status mmi_weights_load(mm_context *ctx, mm_model *m, const mmi_weight_source *s)
{
    const mmi_architecture *a = m->arch;
    const int drawn = !s->gguf && !s->safetensors;
    capacities room = {0};
    int64_t layers = stacked_layers(m);
    mm_status st = MM_OK;

    for (size_t r = 0; r < m->table_rows; r++) m->n_slots = mmi_size_max(m->n_slots, (size_t)m->table[r].slot + 1);
    m->slots = mmi_zalloc_array(ctx, (size_t)(layers + 1) * m->n_slots, sizeof *m->slots);
    if (!m->slots) return MM_E_NOMEM;
    for (int64_t layer = -1; layer < layers && !st; layer++) {
        for (size_t r = 0; r < m->table_rows && !st; r++)
            if (row_applies(m, &m->table[r], layer)) st = drawn ? draw_row(ctx, m, s, &m->table[r], layer, &room) : load_row(ctx, m, s, &m->table[r], layer, &room);
        if (!st) st = mmi_progress(ctx, drawn ? "making the model" : "loading the model", layer + 2, layers + 1);
    }
    for (size_t i = 0; i < a->n_parts && !st; i++)
        if (m->parts[i] && !m->parts[i]->slots) st = mmi_weights_load(ctx, m->parts[i], s); /* else it came with its own file */
    if (!st && a->prepare) st = a->prepare(ctx, m);
    if (!st) st = list_parts(ctx, m);
    return st ? st : list_dtypes(ctx, m);
}
