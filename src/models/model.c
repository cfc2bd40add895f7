/* Opening: the architecture is found by name, its parts and configuration read, its weights loaded, then what came with them.
 * SPDX-License-Identifier: MIT */
#include "model.h"

#include <string.h>

#include "adapter.h"
#include "block_quant.h"
#include "gguf_tokenizer.h"
#include "projector_file.h"
#include "registry.h"
#include "size.h"
#include "weight_init.h"
#include "weight_loader.h"

static mm_status model_new(mm_context *ctx, const char *path, const char *format, mm_model **out)
{
    mm_model *m = mmi_zalloc(ctx, sizeof *m);

    *out = m;
    if (!m) return MM_E_NOMEM;
    atomic_init(&m->references, 1);
    m->pooling = MMI_POOL_MEAN;
    m->forced_first = m->forced_last = -1;
    m->path = mmi_strdup(ctx, path);
    m->format = mmi_strdup(ctx, format);
    return m->path && m->format ? MM_OK : MM_E_NOMEM;
}

void mmi_model_retain(mm_model *m) { atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed); }

mm_status mmi_model_derive(mm_context *ctx, mm_model *base, mm_model **out)
{
    mm_model *m = *out = mmi_zalloc(ctx, sizeof *m);
    mm_status st = MM_OK;

    if (!m) return MM_E_NOMEM;
    memcpy((char *)m + offsetof(mm_model, arch), (const char *)base + offsetof(mm_model, arch), sizeof *m - offsetof(mm_model, arch));
    atomic_init(&m->references, 1);
    mmi_model_retain(base);
    m->base = base;
    m->adapter = NULL;
    memset(m->parts, 0, sizeof m->parts);
    m->weights = mmi_alloc_array(ctx, m->n_weights, sizeof *m->weights);
    if (!m->weights) st = MM_E_NOMEM;
    for (size_t i = 0; i < m->n_weights && !st; i++) {
        m->weights[i] = base->weights[i];
        m->weights[i].data_owned = 0;
    }
    for (size_t i = 0; i < m->arch->n_parts && !st; i++)
        if (base->parts[i]) st = mmi_model_derive(ctx, base->parts[i], &m->parts[i]);
    if (!st) return MM_OK;
    mmi_model_release(m);
    *out = NULL;
    return st;
}

static void release_derived(mm_model *m)
{
    for (size_t i = 0; m->weights && i < m->n_weights; i++) {
        if (m->weights[i].packed != m->base->weights[i].packed) mmi_free(m->weights[i].packed);
        if (m->weights[i].data_owned) mmi_free((void *)(uintptr_t)m->weights[i].data);
    }
    mmi_adapter_destroy(m->adapter);
    mmi_free(m->weights);
    mmi_model_release(m->base);
    mmi_free(m);
}

void mmi_model_release(mm_model *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) return;
    for (size_t i = 0; i < MMI_MAX_PARTS; i++) mmi_model_release(m->parts[i]);
    if (m->base) {
        release_derived(m);
        return;
    }
    for (size_t i = 0; i < m->n_weights; i++) mmi_weight_clear(&m->weights[i]);
    mmi_weight_clear(&m->inverse_frequencies);
    mmi_weight_clear(&m->position_table);
    for (size_t i = 0; i < m->n_maps; i++) mmi_file_map_release(m->maps[i]);
    for (size_t i = 0; m->labels && i < m->n_labels; i++) mmi_free(m->labels[i]);
    mmi_tokenizer_release(m->tokenizer);
    mmi_chat_template_destroy(m->chat_template);
    mmi_free(m->labels);
    mmi_free(m->maps);
    mmi_free(m->weights);
    mmi_free(m->rows);
    mmi_free(m->slots);
    mmi_free(m->config);
    mmi_arena_clear(&m->own);
    mmi_free(m->part_names);
    mmi_free(m->class_name);
    mmi_free(m->path);
    mmi_free(m->config_text);
    mmi_free(m->format);
    mmi_free(m->dtypes);
    mmi_free(m->bos_text);
    mmi_speech_tokens_clear(&m->speech);
    mmi_free(m->suppressed.data);
    mmi_free(m->first_suppressed.data);
    mmi_free(m->eos_text);
    mmi_free(m);
}

const mmi_weight *mmi_model_weight(const mm_model *m, int slot, int64_t layer)
{
    int32_t i = (size_t)slot < m->n_slots ? m->slots[(size_t)(layer + 1) * m->n_slots + (size_t)slot] : 0; /* a table may lack the last slots */
    return i ? &m->weights[i - 1] : NULL;
}

void mmi_model_positions(const mm_model *m, const int32_t *ids, size_t count, int32_t *out)
{
    int32_t base = (int32_t)m->info.position_base, next = base;
    for (size_t t = 0; t < count; t++) out[t] = base && ids && ids[t] == base - 1 ? base - 1 : next++;
}

int32_t mmi_model_position(const mm_model *m, int32_t id, size_t index)
{
    int32_t base = (int32_t)m->info.position_base;
    return base && id == base - 1 ? id : base + (int32_t)index;
}

int mmi_model_head(const mm_model *m, const char *head, const char *const **names, size_t *count)
{
    if (head) return m->arch->head && m->arch->head(m, head, names, count);
    if (!m->info.classifies) return 0;
    *names = (const char *const *)m->labels;
    *count = m->n_labels;
    return 1;
}

size_t mmi_model_parameters(const mm_model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_weights; i++) n += m->weights[i].rows * m->weights[i].cols;
    for (size_t i = 0; i < m->arch->n_parts; i++) n += m->parts[i] ? mmi_model_parameters(m->parts[i]) : 0;
    for (size_t i = 0; m->adapter && i < m->adapter->n_pairs; i++) n += m->adapter->pairs[i].a.rows * (m->adapter->pairs[i].a.cols + m->adapter->pairs[i].b.rows);
    return n;
}

size_t mmi_model_weight_bytes(const mm_model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_weights; i++) n += mmi_weight_bytes(&m->weights[i]);
    for (size_t i = 0; i < m->arch->n_parts; i++) n += m->parts[i] ? mmi_model_weight_bytes(m->parts[i]) : 0;
    for (size_t i = 0; m->adapter && i < m->adapter->n_pairs; i++) n += mmi_weight_bytes(&m->adapter->pairs[i].a) + mmi_weight_bytes(&m->adapter->pairs[i].b);
    return n;
}

static mm_status adopt_architecture(mm_context *ctx, mm_model *m, const mmi_architecture *arch, const char *class_name, size_t n)
{
    m->arch = arch;
    m->table = arch->rows;
    m->table_rows = arch->n_rows;
    m->class_name = mmi_alloc(ctx, n + 1);
    m->config = mmi_zalloc(ctx, arch->config_bytes);
    if (!m->class_name || !m->config) return MM_E_NOMEM;
    memcpy(m->class_name, class_name, n);
    m->class_name[n] = 0;
    return MM_OK;
}

/* What a model that is being opened is, and for whom. */
typedef struct {
    const mmi_part_row *as; /* a part of another model; NULL: a whole */
    int bare;               /* of a part: without weights, which are the whole's */
    int trainable;
    int32_t quantized;      /* mmi_weight_source.quantized */
} opening;

/* What a part that comes from another checkpoint needs of the whole's. */
typedef struct {
    const char *base;               /* the folder that its path counts from, NULL: the working directory */
    const mmi_safetensors *weights; /* NULL: none */
    const opening *how;             /* the whole is opened */
} origin;

static mm_status read_configuration(mm_context *ctx, mm_model *m, const mmi_json *config, const origin *o);
static mm_status open_path(mm_context *ctx, const char *path, const opening *how, mm_model **out);

static int has_prefix(const mmi_safetensors *weights, const char *const *prefixes)
{
    for (size_t i = 0; weights && i < mmi_safetensors_count(weights); i++)
        for (const char *const *p = prefixes; *p; p++)
            if (!strncmp(mmi_safetensors_at(weights, i)->name, *p, strlen(*p))) return 1;
    return 0;
}

/* A part from another checkpoint: its configuration alone where the whole has its tensors. */
static mm_status open_part(mm_context *ctx, mm_model *m, size_t index, const mmi_json *own, const char *from, const origin *o)
{
    static const char *const keys[] = {"from", NULL};
    const opening how = {&m->arch->parts[index], has_prefix(o->weights, m->arch->parts[index].prefixes), o->how->trainable,
                         o->how->quantized};
    const char *base = o->base && *from != '/' ? o->base : "";
    mmi_text path = {0};
    mm_status st = mmi_json_only(ctx, own, mmi_json_root(own), keys);

    if (!st && !*from) st = mmi_fail(ctx, MM_E_FORMAT, "%s: \"from\" names nothing", mmi_json_name(own));
    if (!st && mmi_text_format(ctx, &path, "%s%s%s", base, *base ? "/" : "", from)) st = MM_E_NOMEM;
    if (!st) st = open_path(ctx, path.data, &how, &m->parts[index]);
    if (!st) {
        m->parts[index]->part = how.as;
        m->parts[index]->borrowed = !how.bare;
        if (!how.bare) st = mmi_weights_name_part(ctx, m->parts[index]);
    }
    mmi_text_clear(&path);
    return st;
}

static mm_status read_part(mm_context *ctx, mm_model *m, size_t index, const mmi_json *config, const origin *o)
{
    const mmi_part_row *row = &m->arch->parts[index];
    const mmi_architecture *arch;
    const char *type = row->type, *class_name, *from = NULL;
    const mmi_json *use;
    mmi_json *own = NULL;
    mm_status st = mmi_json_part(ctx, config, row->config, &own);

    if (!st && m->arch->free_parts) {
        if (!own) return MM_OK;
        st = mmi_json_text(ctx, own, mmi_json_root(own), "from", 0, &from);
        if (!st && from) st = open_part(ctx, m, index, own, from, o);
        if (st || from) goto cleanup;
    }
    use = !own && !row->type && row->role == MMI_ROLE_DECODER ? config : own;
    if (!st && !use) st = mmi_fail(ctx, MM_E_FORMAT, "%s: %s is missing", mmi_json_name(config), row->config);
    if (!st && !type) st = mmi_json_text(ctx, config, mmi_json_root(config), "model_type", 1, &type);
    if (!st) st = mmi_json_text(ctx, use, mmi_json_root(use), "model_type", 0, &type);
    if (st) goto cleanup;
    class_name = mmi_registry_class_of(type, row->role);
    arch = class_name ? mmi_registry_find_class(class_name) : NULL;
    if (!arch || arch->n_parts) {
        st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: model_type \"%.60s\" is not supported there", mmi_json_name(use), type);
        goto cleanup;
    }
    if ((st = model_new(ctx, m->path, m->format, &m->parts[index]))) goto cleanup;
    m->parts[index]->part = row;
    m->parts[index]->part_tied = mmi_json_true(mmi_json_get(mmi_json_root(config), "tie_word_embeddings"));
    if ((st = adopt_architecture(ctx, m->parts[index], arch, class_name, strlen(class_name)))) goto cleanup;
    st = read_configuration(ctx, m->parts[index], use, o);
cleanup:
    mmi_json_destroy(own);
    return st;
}

/* The parts' first, whose numbers the whole may need. */
static mm_status read_configuration(mm_context *ctx, mm_model *m, const mmi_json *config, const origin *o)
{
    mm_status st = MM_OK;

    for (size_t i = 0; i < m->arch->n_parts && !st; i++)
        if (!m->parts[i]) st = read_part(ctx, m, i, config, o);
    if (!st) st = m->arch->read_hf(ctx, m, config);
    return st ? st : mmi_initials_read(ctx, m, config);
}

static void add_end_token(mm_model *m, int64_t id)
{
    if (id < 0 || id >= m->info.vocabulary || m->n_end_tokens == MMI_MAX_END_TOKENS) return;
    for (size_t i = 0; i < m->n_end_tokens; i++)
        if (m->end_tokens[i] == id) return;
    m->end_tokens[m->n_end_tokens++] = (int32_t)id;
}

/* Texts of the tokens that templates name, and the end token. */
static mm_status note_special_tokens(mm_context *ctx, mm_model *m)
{
    const char *bos, *eos;
    size_t n;

    if (!m->tokenizer) return MM_OK;
    if (mmi_tokenizer_size(m->tokenizer) > m->info.vocabulary + m->info.unpredicted) {
        /* Ids without an embedding cannot be computed: the look-up refuses them when they come up. */
        mmi_log(ctx, MM_LOG_WARNING, "the tokenizer has %lld tokens, the model embeds %lld", (long long)mmi_tokenizer_size(m->tokenizer),
                (long long)m->info.vocabulary);
    }
    bos = mmi_tokenizer_token(m->tokenizer, mmi_tokenizer_special(m->tokenizer, MMI_SPECIAL_BOS), &n);
    eos = mmi_tokenizer_token(m->tokenizer, mmi_tokenizer_special(m->tokenizer, MMI_SPECIAL_EOS), &n);
    m->bos_text = mmi_strdup(ctx, bos ? bos : "");
    m->eos_text = mmi_strdup(ctx, eos ? eos : "");
    if (!m->bos_text || !m->eos_text) return MM_E_NOMEM;
    add_end_token(m, mmi_tokenizer_special(m->tokenizer, MMI_SPECIAL_EOS));
    return MM_OK;
}

/* A part of the model that may be missing: what libmm does not support is left out with a warning, what is broken is an error. */
static mm_status tolerate(mm_context *ctx, mm_status st, const char *what)
{
    if (st != MM_E_UNSUPPORTED) return st;
    mmi_log(ctx, MM_LOG_WARNING, "the model is opened without its %s: %s", what, ctx->error);
    return MM_OK;
}

static mm_status read_template(mm_context *ctx, mm_model *m, const char *text, size_t n)
{
    mm_status st = mmi_chat_template_create(ctx, text, n, &m->chat_template);
    /* A template that does not parse takes chat away, not the model. */
    if (st == MM_E_FORMAT || st == MM_E_LIMIT) st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s", ctx->error);
    return tolerate(ctx, st, "chat template");
}

static mm_status open_gguf(mm_context *ctx, const char *path, const opening *how, mm_model **out)
{
    mmi_gguf *f = NULL;
    mm_model *m = NULL;
    const mmi_architecture *arch;
    const char *name = NULL, *tokenizer = NULL, *text = NULL;
    size_t n = 0, tokenizer_size = 0, text_size = 0;
    int64_t id = -1;
    mm_status st;

    if ((st = mmi_gguf_open(ctx, path, &f))) goto cleanup;
    if ((st = model_new(ctx, path, "gguf", &m))) goto cleanup;
    if ((st = mmi_gguf_string(ctx, f, "general.architecture", 1, &name, &n))) goto cleanup;
    arch = mmi_registry_find_gguf(name, n);
    if (!arch || (how->as && arch->n_parts)) {
        st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: architecture \"%.*s\" is not supported", path, (int)mmi_size_min(n, 60), name);
        goto cleanup;
    }
    if ((st = adopt_architecture(ctx, m, arch, name, n))) goto cleanup;
    if ((st = arch->read_gguf(ctx, m, f))) goto cleanup;
    if (!how->bare && (st = mmi_weights_load(ctx, m, &(mmi_weight_source){.gguf = f, .name = path, .trainable = how->trainable, .quantized = how->quantized}))) goto cleanup;
    if ((st = mmi_gguf_string(ctx, f, "tokenizer.ggml.model", 0, &tokenizer, &tokenizer_size))) goto cleanup;
    if (tokenizer && (st = tolerate(ctx, mmi_tokenizer_from_gguf(ctx, f, &m->tokenizer), "tokenizer"))) goto cleanup;
    if ((st = note_special_tokens(ctx, m))) goto cleanup;
    if ((st = mmi_gguf_i64(ctx, f, "tokenizer.ggml.eot_token_id", 0, -1, INT32_MAX, &id))) goto cleanup;
    add_end_token(m, id);
    if ((st = mmi_gguf_string(ctx, f, "tokenizer.chat_template", 0, &text, &text_size))) goto cleanup;
    if (text && (st = read_template(ctx, m, text, text_size))) goto cleanup;
    *out = m;
    m = NULL;
cleanup:
    mmi_model_release(m);
    mmi_gguf_destroy(f);
    return st;
}

/* eos_token_id is a number or a list of numbers. */
static void read_end_tokens(mm_model *m, const mmi_json_node *config)
{
    const mmi_json_node *node = mmi_json_get(config, "eos_token_id");
    int64_t id;

    if (mmi_json_integer(node, &id)) add_end_token(m, id);
    for (node = mmi_json_kind_of(node) == MMI_JSON_ARRAY ? mmi_json_first(node) : NULL; node; node = mmi_json_next(node))
        if (mmi_json_integer(node, &id)) add_end_token(m, id);
}

/* A list of token ids; one that the model has not is no token that it could generate. */
static mm_status read_ids(mm_context *ctx, const mm_model *m, const mmi_json *doc, const char *key, mmi_ids *out)
{
    const mmi_json_node *node = doc ? mmi_json_get(mmi_json_root(doc), key) : NULL;
    int64_t id;

    if (mmi_json_kind_of(node) != MMI_JSON_ARRAY) return MM_OK;
    for (node = mmi_json_first(node); node; node = mmi_json_next(node)) {
        if (!mmi_json_integer(node, &id)) return mmi_fail(ctx, MM_E_FORMAT, "%s: %s must be a list of token ids", mmi_json_name(doc), key);
        if (id >= 0 && id < m->info.vocabulary && mmi_ids_add(ctx, out, (int32_t)id)) return MM_E_NOMEM;
    }
    return MM_OK;
}

static mm_status read_forced(mm_context *ctx, const mm_model *m, const mmi_json *doc, const char *key, int32_t *out)
{
    int64_t id = *out;
    mm_status st = doc ? mmi_json_i64(ctx, doc, mmi_json_root(doc), key, 0, -1, m->info.vocabulary - 1, &id) : MM_OK;
    *out = (int32_t)id;
    return st;
}

/* What generation_config.json rules out and forces. */
static mm_status read_generation(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    mm_status st = read_ids(ctx, m, doc, "suppress_tokens", &m->suppressed);
    if (!st) st = read_ids(ctx, m, doc, "begin_suppress_tokens", &m->first_suppressed);
    if (!st) st = read_forced(ctx, m, doc, "forced_bos_token_id", &m->forced_first);
    return st ? st : read_forced(ctx, m, doc, "forced_eos_token_id", &m->forced_last);
}

/* A token that generation_config.json names, or config.json, or its decoder's part, in this order; -1: none does. */
static int64_t generation_token(const mm_model *m, const mmi_hf_directory *d, const char *key)
{
    const mmi_json_node *config = mmi_json_root(d->config);
    const mmi_json_node *places[] = {d->generation_config ? mmi_json_root(d->generation_config) : NULL, config, mmi_json_get(config, "decoder"),
                                     mmi_json_get(config, "decoder_config")};
    int64_t id;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (mmi_json_integer(mmi_json_get(places[i], key), &id) && id >= 0 && id < m->info.vocabulary) return id;
    return -1;
}

/* What an answer ends with, and an encoder-decoder's begins with, where the architecture has not said so itself. */
static void read_answer_tokens(mm_model *m, const mmi_hf_directory *d)
{
    int64_t first = generation_token(m, d, "decoder_start_token_id");

    if (m->n_start_tokens) return;
    read_end_tokens(m, d->generation_config ? mmi_json_root(d->generation_config) : NULL);
    read_end_tokens(m, mmi_json_root(d->config));
    read_end_tokens(m, mmi_json_get(mmi_json_root(d->config), "decoder"));
    read_end_tokens(m, mmi_json_get(mmi_json_root(d->config), "text_config"));
    read_end_tokens(m, mmi_json_get(mmi_json_root(d->config), "decoder_config"));
    if (!m->info.ids_input || strcmp(m->info.ids_input, "decoder_input_ids")) return;
    if (first < 0) first = generation_token(m, d, "bos_token_id");
    if (first >= 0) m->start_tokens[m->n_start_tokens++] = (int32_t)first;
}

static const char *template_of(const mmi_hf_directory *d)
{
    const mmi_json_node *node = d->tokenizer_config ? mmi_json_get(mmi_json_root(d->tokenizer_config), "chat_template") : NULL;

    if (d->chat_template) return d->chat_template;
    if (d->chat_template_json) return mmi_json_string(mmi_json_get(mmi_json_root(d->chat_template_json), "chat_template"));
    if (mmi_json_kind_of(node) == MMI_JSON_ARRAY) { /* named templates: the default one */
        for (node = mmi_json_first(node); node; node = mmi_json_next(node)) {
            const char *name = mmi_json_string(mmi_json_get(node, "name"));
            if (name && !strcmp(name, "default")) return mmi_json_string(mmi_json_get(node, "template"));
        }
    }
    return mmi_json_string(node);
}

/* sentence-transformers: 1_Pooling/config.json and max_seq_length's stand-in, the tokenizer's truncation. */
static mm_status read_pooling(mm_context *ctx, mm_model *m, const mmi_hf_directory *d)
{
    static const char *const other[] = {"pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens",
                                        "pooling_mode_lasttoken"};
    const mmi_json_node *root;
    int mean = 0, first = 0;
    mm_status st;

    if (m->tokenizer) m->max_text = mmi_tokenizer_truncation(m->tokenizer);
    if (!d->pooling) return MM_OK;
    root = mmi_json_root(d->pooling);
    if ((st = mmi_json_bool(ctx, d->pooling, root, "pooling_mode_mean_tokens", 0, &mean))) return st;
    if ((st = mmi_json_bool(ctx, d->pooling, root, "pooling_mode_cls_token", 0, &first))) return st;
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (mmi_json_true(mmi_json_get(root, other[i])))
            return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: %s is not supported", mmi_json_name(d->pooling), other[i]);
    if (mean == first) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: one of mean and cls pooling is expected", mmi_json_name(d->pooling));
    m->pooling = mean ? MMI_POOL_MEAN : MMI_POOL_FIRST;
    m->is_sentence_model = 1;
    return MM_OK;
}

static mm_status read_image_processor(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    mm_status st = mmi_image_processor_from_json(ctx, doc, m->arch->processor, &m->processor);

    m->has_processor = !st;
    return tolerate(ctx, st, "image processor");
}

/* Whether a file of processors speaks of this one, "image_processor" or "feature_extractor": in an object, or by its type. What it is where the model
 * takes but one kind need not be said. */
static int speaks_of(const mm_model *m, const mmi_json *doc, const char *object, const char *type)
{
    const mmi_json_node *root = mmi_json_root(doc);
    return !(m->info.sees && m->info.hears) || mmi_json_get(root, object) || mmi_json_get(root, type);
}

static mm_status read_processor(mm_context *ctx, mm_model *m, const mmi_hf_directory *d)
{
    const mmi_json *doc = d->preprocessor_config ? d->preprocessor_config : d->processor_config;
    mm_status st;

    if (m->info.hears && doc && speaks_of(m, doc, "feature_extractor", "feature_extractor_type")) {
        st = tolerate(ctx, mmi_audio_processor_from_json(ctx, doc, &m->sound_processor), "feature extractor");
        m->has_sound_processor = !st && m->sound_processor.feature_size;
        if (st) return st;
    }
    if (!m->info.sees || !doc || !speaks_of(m, doc, "image_processor", "image_processor_type")) return MM_OK;
    st = read_image_processor(ctx, m, doc);
    if (st || !m->arch->video_processor) return st;
    if (d->video_preprocessor_config) doc = d->video_preprocessor_config;
    st = mmi_video_processor_from_json(ctx, doc, m->arch->video_processor, &m->video_processor);
    m->has_video_processor = !st;
    return tolerate(ctx, st, "video processor");
}

/* What a text model has besides its weights goes to the whole that it becomes a part of. */
static void inherit(mm_model *m, mm_model *text)
{
    m->tokenizer = text->tokenizer;
    m->chat_template = text->chat_template;
    m->bos_text = text->bos_text;
    m->eos_text = text->eos_text;
    memcpy(m->end_tokens, text->end_tokens, sizeof m->end_tokens);
    m->n_end_tokens = text->n_end_tokens;
    text->tokenizer = NULL;
    text->chat_template = NULL;
    text->bos_text = text->eos_text = NULL;
}

/* The tokenizer of a part, a decoder's before another's, where the whole came without one. */
static void inherit_tokenizer(mm_model *m)
{
    for (int decoders = 1; decoders >= 0; decoders--)
        for (size_t i = 0; i < m->arch->n_parts && !m->tokenizer; i++)
            if (m->parts[i] && m->parts[i]->tokenizer && (m->arch->parts[i].role == MMI_ROLE_DECODER) == decoders) inherit(m, m->parts[i]);
}

static void inherit_processors(mm_model *m)
{
    for (size_t i = 0; i < m->arch->n_parts; i++) {
        const mm_model *part = m->parts[i];
        if (part && part->has_processor && !m->has_processor) {
            m->processor = part->processor;
            m->has_processor = 1;
        }
        if (part && part->has_sound_processor && !m->has_sound_processor) {
            m->sound_processor = part->sound_processor;
            m->has_sound_processor = 1;
        }
    }
}

/* The class that config.json names; of a part the one that its model_type stands for there, whatever heads it was saved with. */
static const char *class_of(const mmi_json *config, const mmi_part_row *as)
{
    const mmi_json_node *root = mmi_json_root(config);
    const char *type = as ? mmi_json_string(mmi_json_get(root, "model_type")) : NULL, *name = type ? mmi_registry_class_of(type, as->role) : NULL;

    return name ? name : mmi_json_string(mmi_json_first(mmi_json_get(root, "architectures")));
}

/* A model of the documents of a directory, its weights from `source`. */
static mm_status assemble(mm_context *ctx, const mmi_hf_directory *d, const char *format, const opening *how, const mmi_weight_source *source, mm_model **out)
{
    mm_model *m = NULL;
    const mmi_architecture *arch;
    const char *class_name, *text;
    mm_status st;

    if ((st = model_new(ctx, d->path ? d->path : source->name, format, &m))) goto cleanup;
    class_name = class_of(d->config, how->as);
    if (!class_name) {
        st = mmi_fail(ctx, MM_E_FORMAT, "%s names no class in \"architectures\"", mmi_json_name(d->config));
        goto cleanup;
    }
    arch = mmi_registry_find_class(class_name);
    if (!arch || (how->as && arch->n_parts)) {
        st = mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: architecture \"%.60s\" is not supported%s", mmi_json_name(d->config), class_name, arch ? " as a part" : "");
        goto cleanup;
    }
    if ((st = adopt_architecture(ctx, m, arch, class_name, strlen(class_name)))) goto cleanup;
    if ((st = read_configuration(ctx, m, d->config, &(origin){d->path, d->weights, how}))) goto cleanup;
    if (!how->bare && (st = mmi_weights_load(ctx, m, source))) goto cleanup;
    if (d->tokenizer && m->info.vocabulary &&
        (st = tolerate(ctx, mmi_tokenizer_from_json(ctx, d->tokenizer, d->tokenizer_config, &m->tokenizer), "tokenizer")))
        goto cleanup;
    if (!m->tokenizer) inherit_tokenizer(m);
    if (!m->bos_text && (st = note_special_tokens(ctx, m))) goto cleanup;
    read_answer_tokens(m, d);
    if (m->info.generates && (st = read_generation(ctx, m, d->generation_config ? d->generation_config : d->config))) goto cleanup;
    if (m->info.hears && m->info.generates && (st = mmi_speech_tokens_read(ctx, d->generation_config, m->info.vocabulary, &m->speech))) goto cleanup;
    text = template_of(d);
    if (text) {
        mmi_chat_template_destroy(m->chat_template);
        m->chat_template = NULL;
        if ((st = read_template(ctx, m, text, strlen(text)))) goto cleanup;
    }
    if ((st = read_pooling(ctx, m, d))) goto cleanup;
    if ((st = read_processor(ctx, m, d))) goto cleanup;
    inherit_processors(m);
    *out = m;
    m = NULL;
cleanup:
    mmi_model_release(m);
    return st;
}

static mm_status open_directory(mm_context *ctx, const char *path, const opening *how, mm_model **out)
{
    mmi_hf_directory *d = NULL;
    mm_status st = mmi_hf_directory_open(ctx, path, &d);

    if (!st) {
        mmi_weight_source source = {.safetensors = d->weights, .name = path, .trainable = how->trainable, .quantized = how->quantized};
        st = assemble(ctx, d, "safetensors", how, &source, out);
    }
    mmi_hf_directory_destroy(d);
    return st;
}

/* The system maps pages around those that are read, so some of each packed tensor came back after it was let go. */
static void forget_maps(const mm_model *m)
{
    for (size_t i = 0; i < m->n_maps; i++) mmi_file_map_forget(m->maps[i], mmi_file_map_data(m->maps[i]), mmi_file_map_size(m->maps[i]));
    for (size_t i = 0; i < m->arch->n_parts; i++)
        if (m->parts[i]) forget_maps(m->parts[i]);
}

static mm_status open_pair(mm_context *ctx, const char *text_path, const char *projector_path, const opening *how, mm_model **out)
{
    mmi_projector_file projector = {0};
    mmi_gguf *f = NULL;
    mm_model *m = NULL, *text = NULL;
    const char *class_name;
    mm_status st;

    *out = NULL;
    if ((st = open_gguf(ctx, text_path, how, &text))) goto cleanup;
    if ((st = mmi_gguf_open(ctx, projector_path, &f))) goto cleanup;
    if ((st = mmi_projector_file_read(ctx, f, text->tokenizer, &projector))) goto cleanup;
    if ((st = model_new(ctx, text_path, "gguf", &m))) goto cleanup;
    class_name = mmi_json_string(mmi_json_first(mmi_json_get(mmi_json_root(projector.config), "architectures")));
    if ((st = adopt_architecture(ctx, m, mmi_registry_find_class(class_name), class_name, strlen(class_name)))) goto cleanup;
    for (size_t i = 0; i < m->arch->n_parts && text; i++) {
        if (m->arch->parts[i].role != MMI_ROLE_DECODER) continue;
        inherit(m, text);
        m->parts[i] = text;
        text->part = &m->arch->parts[i]; /* by which its modules are known */
        text = NULL;
    }
    if ((st = read_configuration(ctx, m, projector.config, &(origin){NULL, NULL, how}))) goto cleanup;
    if ((st = mmi_weights_load(ctx, m, &(mmi_weight_source){.gguf = f, .name = projector_path, .projector = &projector, .quantized = how->quantized}))) goto cleanup;
    if (projector.processor && (st = read_image_processor(ctx, m, projector.processor))) goto cleanup;
    forget_maps(m);
    *out = m;
    m = NULL;
cleanup:
    mmi_projector_file_clear(&projector);
    mmi_gguf_destroy(f);
    mmi_model_release(text);
    mmi_model_release(m);
    return st;
}

static mm_status open_path(mm_context *ctx, const char *path, const opening *how, mm_model **out)
{
    mm_status st;

    *out = NULL;
    st = mmi_file_is_directory(path) ? open_directory(ctx, path, how, out) : open_gguf(ctx, path, how, out);
    if (!st) forget_maps(*out);
    return st;
}

mm_status mmi_model_open(mm_context *ctx, const char *path, mm_model **out) { return open_path(ctx, path, &(opening){0}, out); }
mm_status mmi_model_open_trainable(mm_context *ctx, const char *path, mm_model **out) { return open_path(ctx, path, &(opening){.trainable = 1}, out); }

mm_status mmi_model_open_pair(mm_context *ctx, const char *text_path, const char *projector_path, mm_model **out)
{
    return open_pair(ctx, text_path, projector_path, &(opening){0}, out);
}

mm_status mmi_model_open_quantized(mm_context *ctx, const char *path, const char *projector_path, int32_t dtype, mm_model **out)
{
    const opening how = {.quantized = dtype};

    *out = NULL;
    if (dtype != MM_DTYPE_Q8_ROW && !mmi_can_quantize(dtype))
        return mmi_fail(ctx, MM_E_DTYPE, "weights are quantized to Q8_0 or Q8_ROW, not to %s", mm_dtype_name(dtype));
    return projector_path ? open_pair(ctx, path, projector_path, &how, out) : open_path(ctx, path, &how, out);
}

mm_status mmi_model_create(mm_context *ctx, const char *config, int64_t seed, mm_model **out)
{
    static const char name[] = "the configuration of a new model";
    mmi_hf_directory d = {0};
    mm_status st;

    *out = NULL;
    st = mmi_json_parse(ctx, name, config, strlen(config), &d.config);
    if (!st) st = assemble(ctx, &d, "created", &(opening){.trainable = 1}, &(mmi_weight_source){.seed = seed, .name = name, .trainable = 1}, out);
    mmi_json_destroy(d.config);
    if (st) return st;
    (*out)->config_text = mmi_strdup(ctx, config);
    if ((*out)->config_text) return MM_OK;
    mmi_model_release(*out);
    *out = NULL;
    return MM_E_NOMEM;
}

mm_status mmi_model_create_in(mm_context *ctx, const char *directory, const char *weights, int64_t seed, mm_model **out)
{
    mmi_hf_directory *d = NULL, *other = NULL;
    mmi_weight_source source = {.seed = seed, .name = directory, .trainable = 1};
    size_t taken = 0;
    mm_status st;

    *out = NULL;
    st = mmi_hf_directory_read(ctx, directory, &d);
    if (!st && weights && !(st = mmi_hf_directory_open(ctx, weights, &other))) {
        source.safetensors = other->weights;
        source.name = weights;
        source.taken = &taken;
    }
    if (!st) st = assemble(ctx, d, "created", &(opening){.trainable = 1}, &source, out);
    if (!st && weights && !taken) {
        st = mmi_fail(ctx, MM_E_NOT_FOUND, "%s: no tensor of %s is in it", weights, (*out)->class_name);
        mmi_model_release(*out);
        *out = NULL;
    }
    mmi_hf_directory_destroy(other);
    mmi_hf_directory_destroy(d);
    return st;
}
