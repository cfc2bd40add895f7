/* Every key is known or refused, every count is bounded, and a part that something reads and that is missing is named.
 * SPDX-License-Identifier: MIT */
#include "composite_config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "architecture_config.h"
#include "early_fusion.h"

const char *const mmi_tower_names[MMI_TOWERS] = {"text", "vision", "audio", "video"};
static const char *const media_names[MMI_TOWERS] = {"text", "image", "audio", "video"};

enum { MAX_NAME = 64, MAX_LABELS = 1 << 20, MAX_SIZE = 1 << 17, MAX_SKIP = 1 << 16 };

typedef struct {
    mm_context *ctx;
    mm_model *m;
    const mmi_json *doc;
    mmi_composite_config *c;
    int fused, hierarchical, soft; /* there is a "fusion"; how it is shared */
} reader;

static const mm_model *part(const reader *r, size_t index) { return r->m->parts[index]; }

/* A text in the model's arena. */
static mm_status keep(reader *r, const char *text, const char **out)
{
    size_t n = strlen(text) + 1;
    char *own = mmi_arena_alloc(r->ctx, &r->m->own, n);

    if (!own) return MM_E_NOMEM;
    *out = memcpy(own, text, n);
    return MM_OK;
}

static mm_status keep_joined(reader *r, const char *before, const char *name, const char *behind, const char **out)
{
    char text[2 * MAX_NAME + 32];
    (void)snprintf(text, sizeof text, "%s%s%s", before, name, behind);
    return keep(r, text, out);
}

/* One of the names; absent: *out stays. */
static mm_status choose(const reader *r, const mmi_json_node *object, const char *key, const char *const *names, int *out)
{
    const char *text = NULL;
    mm_status st = mmi_json_text(r->ctx, r->doc, object, key, 0, &text);

    if (st || !text) return st;
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], text)) {
            *out = i;
            return MM_OK;
        }
    return mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s \"%.60s\" is not known", mmi_json_name(r->doc), key, text);
}

static mm_status read_pool(const reader *r, const mmi_json_node *object, mmi_pooling *out)
{
    static const char *const names[] = {"first", "mean", NULL};
    int pool = *out == MMI_POOL_MEAN;
    mm_status st = choose(r, object, "pool", names, &pool);

    *out = pool ? MMI_POOL_MEAN : MMI_POOL_FIRST;
    return st;
}

/* Names stand in those of tensors and outputs. */
static mm_status read_name(reader *r, const mmi_json_node *object, const char *key, int required, const char **out)
{
    const char *text = NULL;
    mm_status st = mmi_json_text(r->ctx, r->doc, object, key, required, &text);
    size_t n = text ? strlen(text) : 0;

    if (st || !text) return st;
    if (!n || n > MAX_NAME || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != n)
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s \"%.70s\" is no name of 1 to %d letters, digits, _ and -", mmi_json_name(r->doc), key, text, MAX_NAME);
    return keep(r, text, out);
}

static mm_status read_towers(reader *r)
{
    static const char *const video[] = {"mean", "concat", NULL};
    const mm_model *const *p = (const mm_model *const *)r->m->parts;
    int joined = 0;
    mm_status st;

    for (size_t t = 0; t < MMI_TOWERS; t++) {
        const mmi_model_info *i = p[t] ? &p[t]->info : NULL;
        if (!i) continue;
        if (!(t == MMI_TEXT_TOWER ? i->vocabulary > 0 : t == MMI_AUDIO_TOWER ? i->hears : i->sees))
            return mmi_fail(r->ctx, MM_E_UNSUPPORTED, "%s: %s_config: %s takes no %s", mmi_json_name(r->doc), mmi_tower_names[t], p[t]->class_name, media_names[t]);
        r->c->towers |= 1u << t;
    }
    if (p[MMI_DECODER] && (!p[MMI_DECODER]->info.generates || p[MMI_DECODER]->info.position_streams))
        return mmi_fail(r->ctx, MM_E_UNSUPPORTED, "%s: decoder_config: %s is no causal decoder of text alone", mmi_json_name(r->doc), p[MMI_DECODER]->class_name);
    if (!r->c->towers && !p[MMI_DECODER])
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: none of text_config, vision_config, audio_config, video_config and decoder_config is there", mmi_json_name(r->doc));
    st = choose(r, mmi_json_root(r->doc), "video_pooling", video, &joined);
    r->c->video_joined = joined;
    return st;
}

/* "fusion" and "fusion_config" */
static mm_status read_fusion(reader *r)
{
    static const char *const joins[] = {"late", "early", "interactive", NULL}, *const late[] = {"hidden_act", "pool", NULL},
                      *const deep[] = {"num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps", NULL};
    mmi_fusion_config *f = &r->c->fusion;
    mmi_json *own = NULL;
    const mmi_json_node *root;
    int join = -1;
    int64_t C = 0;
    mm_status st = choose(r, mmi_json_root(r->doc), "fusion", joins, &join);

    if (!st) st = mmi_json_part(r->ctx, r->doc, "fusion_config", &own);
    root = own ? mmi_json_root(own) : NULL;
    if (!st && join < 0 && own) st = mmi_fail(r->ctx, MM_E_FORMAT, "%s: fusion_config without \"fusion\"", mmi_json_name(r->doc));
    if (st || join < 0) goto cleanup;
    r->fused = 1;
    f->join = (mmi_join)join;
    f->pool = MMI_POOL_MEAN;
    for (size_t t = 0; t < MMI_TOWERS; t++) {
        if (!part(r, t)) continue;
        f->names[f->n_streams] = mmi_tower_names[t];
        f->widths[f->n_streams++] = part(r, t)->info.hidden;
    }
    if (f->n_streams < (f->join == MMI_JOIN_INTERACTIVE ? 2 : 1))
        st = mmi_fail(r->ctx, MM_E_FORMAT, "%s: fusion \"%s\" of %zu modalities: another *_config is missing", mmi_json_name(r->doc), joins[join], f->n_streams);
    if (!st) st = mmi_json_i64(r->ctx, r->doc, mmi_json_root(r->doc), "hidden_size", 1, 1, MAX_SIZE, &C);
    if (st) goto cleanup;
    f->stack = (mmi_stack_config){.hidden = C, .act = MMI_ACT_GELU};
    if (own) st = mmi_json_only(r->ctx, own, root, f->join == MMI_JOIN_LATE ? late : deep);
    if (!st && f->join == MMI_JOIN_LATE) {
        if (own) st = mmi_config_activation(r->ctx, own, root, "hidden_act", &f->stack.act);
        if (!st && own) st = read_pool(r, root, &f->pool);
    } else if (!st) {
        f->stack = (mmi_stack_config){2, C, C >= 128 ? C / 64 : 1, 4 * C, 1e-5f, MMI_ACT_GELU};
        st = own ? mmi_stack_config_read(r->ctx, own, root, &mmi_stack_usual_keys, &f->stack) : mmi_stack_config_check(r->ctx, mmi_json_name(r->doc), &f->stack);
        if (!st && f->stack.layers > MMI_MAX_TRUNK_LAYERS)
            st = mmi_fail(r->ctx, MM_E_LIMIT, "%s: num_hidden_layers %lld, allowed are %d", mmi_json_name(own), (long long)f->stack.layers, MMI_MAX_TRUNK_LAYERS);
    }
cleanup:
    mmi_json_destroy(own);
    return st;
}

static mm_status read_sharing(reader *r)
{
    static const char *const kinds[] = {"hard", "soft", "hierarchical", NULL}, *const mixings[] = {"l2", "cross_stitch", NULL},
                      *const keys[] = {"kind", "mixing", NULL};
    mmi_json *own = NULL;
    int kind = 0, mixing = 0;
    mm_status st = mmi_json_part(r->ctx, r->doc, "sharing", &own);

    if (st || !own) return st;
    if (!(st = mmi_json_only(r->ctx, own, mmi_json_root(own), keys)) && !(st = choose(r, mmi_json_root(own), "kind", kinds, &kind)))
        st = choose(r, mmi_json_root(own), "mixing", mixings, &mixing);
    if (!st && kind && !r->fused) st = mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s sharing without \"fusion\" has no trunk to share", mmi_json_name(r->doc), kinds[kind]);
    if (!st && kind != 1 && mmi_json_get(mmi_json_root(own), "mixing"))
        st = mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"mixing\" is of soft sharing", mmi_json_name(own));
    if (!st && kind == 1 && mixing && r->c->fusion.join == MMI_JOIN_LATE)
        st = mmi_fail(r->ctx, MM_E_FORMAT, "%s: late fusion has no layers for cross_stitch units", mmi_json_name(own));
    r->soft = kind == 1;
    r->hierarchical = kind == 2;
    r->c->fusion.stitched = r->soft && mixing;
    r->c->l2_tied = r->soft && !mixing;
    mmi_json_destroy(own);
    return st;
}

/* The trunk of a task; one for all but in soft sharing. */
static mm_status find_trunk(reader *r, const char *task, size_t *out)
{
    mmi_fusion_config *f = &r->c->fusion;

    for (*out = 0; *out < f->n_trunks; ++*out)
        if (!r->soft || !strcmp(f->trunks[*out].task, task)) return MM_OK;
    if (f->n_trunks == MMI_MAX_TRUNKS)
        return mmi_fail(r->ctx, MM_E_LIMIT, "%s: more than %d tasks with a trunk each", mmi_json_name(r->doc), MMI_MAX_TRUNKS);
    f->trunks[f->n_trunks++].task = r->soft ? task : NULL;
    return MM_OK;
}

static mm_status find_input(const reader *r, const char *name, const char *who, size_t *out)
{
    for (size_t t = 0; t < MMI_TOWERS; t++) {
        if (strcmp(name, mmi_tower_names[t])) continue;
        *out = t;
        return part(r, t) ? MM_OK : mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s reads \"%s\", but there is no %s_config", mmi_json_name(r->doc), who, name, name);
    }
    *out = MMI_FUSED;
    if (strcmp(name, "fused")) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s reads \"%.60s\", which is none of text, vision, audio, video and fused", mmi_json_name(r->doc), who, name);
    return r->fused ? MM_OK : mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s reads \"fused\", but there is no \"fusion\"", mmi_json_name(r->doc), who);
}

/* "depth" and "pool" of a reader whose input is set, and its trunk. */
static mm_status read_reader(reader *r, const mmi_json_node *object, const char *who, const char *task, mmi_reader *from)
{
    int64_t most = from->input == MMI_FUSED ? r->c->fusion.stack.layers : part(r, from->input)->info.layers;
    char state[40];
    mm_status st;

    from->depth = -1;
    from->state = "last_hidden_state";
    from->pool = MMI_POOL_MEAN;
    if ((st = mmi_json_i64(r->ctx, r->doc, object, "depth", 0, 0, most, &from->depth))) return st;
    if ((st = read_pool(r, object, &from->pool))) return st;
    if (from->input == MMI_FUSED) {
        if (from->depth >= 0 && !r->hierarchical)
            return mmi_fail(r->ctx, MM_E_FORMAT, "%s: %s has a \"depth\" in the trunk, which is of hierarchical sharing", mmi_json_name(r->doc), who);
        return find_trunk(r, task, &from->trunk);
    }
    if (from->depth < 0) return MM_OK;
    (void)snprintf(state, sizeof state, "hidden_states.%lld", (long long)from->depth);
    return keep(r, state, &from->state);
}

static mm_status read_labels(reader *r, const mmi_json_node *object, mmi_head *h)
{
    const mmi_json_node *list = mmi_json_get(object, "labels");
    size_t n = mmi_json_kind_of(list) == MMI_JSON_ARRAY ? mmi_json_count(list) : 0, i = 0;

    if (!n || n > MAX_LABELS)
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: head %s needs \"labels\", 1 to %d names", mmi_json_name(r->doc), h->name, MAX_LABELS);
    h->labels = mmi_arena_alloc_array(r->ctx, &r->m->own, n, sizeof *h->labels);
    if (!h->labels) return MM_E_NOMEM;
    h->size = (int64_t)n;
    for (list = mmi_json_first(list); list; list = mmi_json_next(list)) {
        const char *text = mmi_json_string(list);
        if (!text) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: label %zu of head %s is no text", mmi_json_name(r->doc), i, h->name);
        if (keep(r, text, &h->labels[i++])) return MM_E_NOMEM;
    }
    return MM_OK;
}

/* The two towers of a contrastive head, and how its outputs are called: the first head's as CLIP's. */
static mm_status read_contrastive(reader *r, const mmi_json_node *object, mmi_head *h)
{
    const mmi_json_node *n = mmi_json_get(object, "inputs");
    static const char *const pools[] = {"first", "mean", "pooler", NULL};
    char before[MAX_NAME + 2] = "", text[MAX_NAME + 32];
    int pool = 1;
    mm_status st;

    n = mmi_json_kind_of(n) == MMI_JSON_ARRAY && mmi_json_count(n) == 2 ? mmi_json_first(n) : NULL;
    for (int i = 0; i < 2; i++, n = mmi_json_next(n)) {
        const char *name = mmi_json_string(n);
        if (!name) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: head %s needs two \"inputs\"", mmi_json_name(r->doc), h->name);
        if ((st = find_input(r, name, h->name, &h->from[i].input))) return st;
    }
    if (h->from[0].input == h->from[1].input || h->from[0].input == MMI_FUSED || h->from[1].input == MMI_FUSED)
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: the \"inputs\" of head %s must be two towers", mmi_json_name(r->doc), h->name);
    if ((st = mmi_json_i64(r->ctx, r->doc, object, "dim", 1, 1, MAX_SIZE, &h->size))) return st;
    if ((st = mmi_json_bool(r->ctx, r->doc, object, "sigmoid", 0, &h->sigmoid))) return st;
    if ((st = choose(r, object, "pool", pools, &pool))) return st;
    h->pooled = pool == 2;
    for (const mmi_head *other = r->c->heads; other < h; other++)
        if (other->kind == MMI_HEAD_CONTRASTIVE) (void)snprintf(before, sizeof before, "%s_", h->name);
    for (int i = 0; i < 2; i++) {
        const char *name = media_names[h->from[i].input];
        h->from[i].depth = -1;
        h->from[i].state = h->pooled ? "pooler_output" : "last_hidden_state";
        h->from[i].pool = pool ? MMI_POOL_MEAN : MMI_POOL_FIRST;
        if (h->pooled && h->from[i].input != MMI_TEXT_TOWER && h->from[i].input != MMI_VISION_TOWER)
            return mmi_fail(r->ctx, MM_E_UNSUPPORTED, "%s: head %s: a tower of %s pools nothing itself", mmi_json_name(r->doc), h->name, name);
        (void)snprintf(text, sizeof text, "%slogits_per_%s", before, name);
        if (keep(r, text, &h->logits[i]) || keep_joined(r, before, name, "_embeds", &h->embeds[i])) return MM_E_NOMEM;
    }
    return MM_OK;
}

static mm_status read_head(reader *r, const mmi_json_node *object, mmi_head *h)
{
    static const char *const kinds[] = {"classification", "regression", "matching", "contrastive", NULL},
                      *const keys[][10] = {{"name", "kind", "labels", "input", "depth", "pool", "task"}, {"name", "kind", "size", "input", "depth", "pool", "task"},
                                          {"name", "kind", "depth", "pool", "task"}, {"name", "kind", "dim", "inputs", "pool", "sigmoid"}};
    const char *input = "fused", *task;
    int kind = -1;
    mm_status st;

    if (mmi_json_kind_of(object) != MMI_JSON_OBJECT) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: a head is no object", mmi_json_name(r->doc));
    if ((st = read_name(r, object, "name", 1, &h->name))) return st;
    for (const mmi_head *other = r->c->heads; other < h; other++)
        if (!strcmp(other->name, h->name)) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: two heads are called %s", mmi_json_name(r->doc), h->name);
    if ((st = choose(r, object, "kind", kinds, &kind))) return st;
    if (kind < 0) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: head %s has no \"kind\"", mmi_json_name(r->doc), h->name);
    if ((st = mmi_json_only(r->ctx, r->doc, object, keys[kind]))) return st;
    h->kind = (mmi_head_kind)kind;
    if (h->kind == MMI_HEAD_CONTRASTIVE) return read_contrastive(r, object, h);
    h->size = 2;
    task = h->name;
    if ((st = read_name(r, object, "task", 0, &task))) return st;
    if ((st = mmi_json_text(r->ctx, r->doc, object, "input", 0, &input))) return st;
    if ((st = find_input(r, input, h->name, &h->from[0].input))) return st;
    if ((st = read_reader(r, object, h->name, task, &h->from[0]))) return st;
    if (h->kind == MMI_HEAD_REGRESSION && (st = mmi_json_i64(r->ctx, r->doc, object, "size", 1, 1, MAX_SIZE, &h->size))) return st;
    if (h->kind == MMI_HEAD_CLASSIFICATION && (st = read_labels(r, object, h))) return st;
    return keep_joined(r, "", h->name, "_logits", &h->output);
}

static mm_status read_heads(reader *r)
{
    const mmi_json_node *list = mmi_json_get(mmi_json_root(r->doc), "heads");
    size_t n;
    mm_status st = MM_OK;

    if (!list || mmi_json_kind_of(list) == MMI_JSON_NULL) return MM_OK;
    n = mmi_json_count(list);
    if (mmi_json_kind_of(list) != MMI_JSON_ARRAY || n > MMI_MAX_HEADS)
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"heads\" must be a list of at most %d", mmi_json_name(r->doc), MMI_MAX_HEADS);
    r->c->heads = mmi_arena_alloc_array(r->ctx, &r->m->own, n + 1, sizeof *r->c->heads);
    if (!r->c->heads) return MM_E_NOMEM;
    memset(r->c->heads, 0, (n + 1) * sizeof *r->c->heads);
    for (list = mmi_json_first(list); list && !st; list = mmi_json_next(list)) st = read_head(r, list, &r->c->heads[r->c->n_heads++]);
    return st;
}

/* Of the towers that a decoder may read, the first but the text, which a decoder without attention across reads itself. */
static const char *usual_input(const reader *r, int across)
{
    for (size_t t = MMI_VISION_TOWER; t < MMI_TOWERS; t++)
        if (part(r, t)) return mmi_tower_names[t];
    return across && part(r, MMI_TEXT_TOWER) ? mmi_tower_names[MMI_TEXT_TOWER] : NULL;
}

static int reads_text(const reader *r)
{
    size_t input = r->c->decoder.input;
    return r->c->reads && part(r, MMI_TEXT_TOWER) && (input == MMI_TEXT_TOWER || input == MMI_FUSED);
}

/* "projector" and "image_token_index" */
static mm_status read_projector(reader *r)
{
    static const char *const keys[] = {"layers", "hidden_act", "input", "depth", "skip", NULL}, *const tokens[] = {"image_token_index", NULL};
    const mmi_json_node *root = mmi_json_root(r->doc), *object = mmi_json_get(root, "projector");
    const mm_model *decoder = part(r, MMI_DECODER);
    mmi_composite_config *c = r->c;
    const char *input;
    int across = decoder && decoder->info.cross.layers;
    mm_status st;

    if (object && mmi_json_kind_of(object) != MMI_JSON_OBJECT) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: projector must be an object", mmi_json_name(r->doc));
    if (object && !decoder) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: a projector, but no decoder_config", mmi_json_name(r->doc));
    input = decoder ? usual_input(r, across) : NULL;
    if ((st = mmi_json_only(r->ctx, r->doc, object, keys))) return st;
    if ((st = mmi_json_text(r->ctx, r->doc, object, "input", 0, &input))) return st;
    if (!input) return !object && !across ? MM_OK : mmi_fail(r->ctx, MM_E_FORMAT, "%s: the decoder has nothing to read", mmi_json_name(r->doc));
    if ((st = find_input(r, input, "the projector", &c->decoder.input))) return st;
    if ((st = read_reader(r, object, "the projector", "decoder", &c->decoder))) return st;
    c->reads = 1;
    c->projector_layers = 2;
    c->projector_act = MMI_ACT_GELU;
    if ((st = mmi_json_i64(r->ctx, r->doc, object, "layers", 0, 1, 2, &c->projector_layers))) return st;
    if ((st = mmi_json_i64(r->ctx, r->doc, object, "skip", 0, 0, MAX_SKIP, &c->skip))) return st;
    if ((st = mmi_config_activation(r->ctx, r->doc, object, "hidden_act", &c->projector_act))) return st;
    if ((st = keep_joined(r, "", c->decoder.input == MMI_FUSED ? "fused" : media_names[c->decoder.input], "_features", &c->features))) return st;
    if (across) return MM_OK;
    if (reads_text(r))
        return mmi_fail(r->ctx, MM_E_UNSUPPORTED, "%s: the decoder %s has no attention across, so that the projector cannot read \"%s\", which is of text",
                        mmi_json_name(r->doc), decoder->class_name, input);
    r->m->info.vocabulary = decoder->info.vocabulary;
    r->m->info.unpredicted = decoder->info.unpredicted;
    if ((st = mmi_fusion_token(r->ctx, r->m, r->doc, tokens, -1, &r->m->info.image_token))) return st;
    return r->m->info.image_token >= 0 ? MM_OK : mmi_fail(r->ctx, MM_E_FORMAT, "%s: image_token_index is missing", mmi_json_name(r->doc));
}

static void add_rows(mmi_composite_config *c, const mm_model *m, mmi_row_list *l)
{
    char name[MAX_NAME + 16];

    mmi_fusion_rows(l, &c->fusion);
    for (size_t i = 0; i < c->n_heads; i++) {
        mmi_head *h = &c->heads[i];
        size_t input = h->from[0].input;
        (void)snprintf(name, sizeof name, "heads.%s", h->name);
        if (h->kind != MMI_HEAD_CONTRASTIVE) {
            h->slot = mmi_row_add_linear(l, 0, h->size, input == MMI_FUSED ? c->fusion.stack.hidden : m->parts[input]->info.hidden, "", name);
            continue;
        }
        for (int k = 0; k < 2; k++) {
            int slot = mmi_row_add(l, 0, h->size, m->parts[h->from[k].input]->info.hidden, "%s.%s.weight", name, mmi_tower_names[h->from[k].input]);
            if (!k) h->slot = slot;
        }
        (void)mmi_row_add(l, MMI_ROW_TABLE, 1, 0, "%s.logit_scale", name);
        if (h->sigmoid) (void)mmi_row_add(l, MMI_ROW_TABLE, 1, 0, "%s.logit_bias", name);
    }
    if (!c->reads) return;
    {
        size_t input = c->decoder.input;
        int64_t D = m->parts[MMI_DECODER]->info.hidden;
        c->projector = mmi_row_add_linear(l, 0, D, input == MMI_FUSED ? c->fusion.stack.hidden : m->parts[input]->info.hidden, "projector.", "linear_1");
        if (c->projector_layers == 2) (void)mmi_row_add_linear(l, 0, D, D, "projector.", "linear_2");
    }
}

/* Whether one medium alone gives what the head reads. */
static int of_one_input(const mmi_composite_config *c, const mmi_head *h) { return h->from[0].input != MMI_FUSED || c->fusion.n_streams == 1; }

static mm_status describe_labels(reader *r, const mmi_head *h)
{
    mm_model *m = r->m;

    m->info.classifies = 1;
    m->info.label_output = h->output;
    m->n_labels = (size_t)h->size;
    m->labels = mmi_zalloc_array(r->ctx, m->n_labels, sizeof *m->labels);
    for (size_t i = 0; m->labels && i < m->n_labels; i++)
        if (!(m->labels[i] = mmi_strdup(r->ctx, h->labels[i]))) return MM_E_NOMEM;
    return m->labels ? MM_OK : MM_E_NOMEM;
}

/* The first classes, and the first common space, are what the model as a whole answers with. */
static mm_status describe_heads(reader *r)
{
    static const char *const kinds[] = {"classification", "regression", "matching", "contrastive"};
    mmi_model_info *info = &r->m->info;
    mmi_text text = {0};
    mm_status st = MM_OK;

    for (size_t i = 0; i < r->c->n_heads && !st; i++) {
        const mmi_head *h = &r->c->heads[i];
        const mmi_reader *f = h->from;
        if (h->kind == MMI_HEAD_CLASSIFICATION && !info->classifies && of_one_input(r->c, h)) st = describe_labels(r, h);
        for (int k = 0; k < 2 && h->kind == MMI_HEAD_CONTRASTIVE && (!info->embedding || k); k++) {
            info->embedding = h->size;
            if (f[k].input == MMI_TEXT_TOWER) info->text_output = h->embeds[k];
            if (f[k].input == MMI_VISION_TOWER) info->image_output = h->embeds[k];
            if (k && !info->compares && info->text_output && info->image_output) {
                info->compares = 1;
                info->comparison = h->sigmoid ? MMI_JUDGE_EACH : MMI_JUDGE_CHOICE;
            }
        }
        if (!st && mmi_text_format(r->ctx, &text, "%s%s: %s of %s", i ? "; " : "", h->name, kinds[h->kind], f->input == MMI_FUSED ? "fused" : mmi_tower_names[f->input]))
            st = MM_E_NOMEM;
        if (!st && h->kind == MMI_HEAD_CONTRASTIVE && mmi_text_format(r->ctx, &text, " and %s", mmi_tower_names[f[1].input])) st = MM_E_NOMEM;
        if (!st && f->depth >= 0 && mmi_text_format(r->ctx, &text, " at %lld", (long long)f->depth)) st = MM_E_NOMEM;
        if (!st && mmi_text_format(r->ctx, &text, ", %lld", (long long)h->size)) st = MM_E_NOMEM;
    }
    if (!st && text.size) st = keep(r, text.data, &r->m->head_names);
    mmi_text_clear(&text);
    return st;
}

static mm_status describe(reader *r)
{
    const mm_model *text = part(r, MMI_TEXT_TOWER), *vision = part(r, MMI_VISION_TOWER), *decoder = part(r, MMI_DECODER);
    mmi_composite_config *c = r->c;
    mmi_model_info *info = &r->m->info;
    int32_t token = info->image_token;

    memset(info, 0, sizeof *info);
    if (decoder) {
        *info = decoder->info;
        info->features = 0;
        info->fusion = !c->reads ? MMI_FUSION_NONE : info->cross.layers ? MMI_FUSION_CROSS : MMI_FUSION_TOKENS;
        info->image_token = info->video_token = -1;
        if (info->fusion == MMI_FUSION_TOKENS) {
            info->image_token = token;
            info->generates = c->decoder.input == MMI_VISION_TOWER; /* sessions know placeholders of pictures */
        } else if (info->fusion == MMI_FUSION_CROSS) {
            info->ids_input = "decoder_input_ids";
            info->text_is_source = reads_text(r);
        }
        if (text && text->info.position_base != info->position_base)
            return mmi_fail(r->ctx, MM_E_UNSUPPORTED, "%s: positions count from %lld in %s and from %lld in %s", mmi_json_name(r->doc), (long long)text->info.position_base,
                            text->class_name, (long long)info->position_base, decoder->class_name);
        if (text && info->fusion == MMI_FUSION_CROSS) info->vocabulary = info->vocabulary > text->info.vocabulary ? info->vocabulary : text->info.vocabulary;
        if (text) info->text_context = text->info.context;
    } else {
        for (size_t t = 0; t < MMI_TOWERS; t++) {
            if (!part(r, t)) continue;
            if (!info->hidden) info->hidden = part(r, t)->info.hidden;
            info->layers += part(r, t)->info.layers;
        }
        if (r->fused) info->hidden = c->fusion.stack.hidden;
        if (text) {
            info->vocabulary = text->info.vocabulary;
            info->context = text->info.context;
            info->position_base = text->info.position_base;
        }
    }
    if (text) {
        info->pads_text = text->info.pads_text;
        info->pad_token = text->info.pad_token;
    }
    if (vision) {
        info->sees = 1;
        memcpy(info->image_size, vision->info.image_size, sizeof info->image_size);
        info->patch = vision->info.patch;
        info->channels = vision->info.channels;
    }
    info->hears = part(r, MMI_AUDIO_TOWER) != NULL;
    info->decoder_layers = c->fusion.n_trunks ? c->fusion.stack.layers : 0;
    return describe_heads(r);
}

mm_status mmi_composite_read(mm_context *ctx, mm_model *m, const mmi_json *doc)
{
    static const char *const keys[] = {"architectures", "model_type", "hidden_size", "text_config", "vision_config", "audio_config", "video_config", "decoder_config",
                                       "fusion", "fusion_config", "projector", "image_token_index", "heads", "sharing", "video_pooling", "bos_token_id",
                                       "eos_token_id", "pad_token_id", "decoder_start_token_id", "dtype", "torch_dtype", "transformers_version",
                                       "initializer_range", "logit_scale_init_value", NULL};
    reader r = {.ctx = ctx, .m = m, .doc = doc, .c = m->config};
    mmi_row_list rows = {.ctx = ctx, .m = m};
    mmi_fusion_config *f = &r.c->fusion;
    mm_status st;

    if ((st = mmi_json_only(ctx, doc, mmi_json_root(doc), keys))) return st;
    if ((st = read_towers(&r))) return st;
    if ((st = read_fusion(&r))) return st;
    if ((st = read_sharing(&r))) return st;
    if ((st = read_heads(&r))) return st;
    if ((st = read_projector(&r))) return st;
    if (r.fused && !f->n_trunks && f->join != MMI_JOIN_LATE)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: no head reads \"fused\", and the projector does not", mmi_json_name(doc));
    if (r.soft && f->n_trunks < 2) return mmi_fail(ctx, MM_E_FORMAT, "%s: soft sharing of %zu tasks that read \"fused\"", mmi_json_name(doc), f->n_trunks);
    if ((st = describe(&r))) return st;
    add_rows(r.c, m, &rows);
    return mmi_row_list_finish(&rows);
}
