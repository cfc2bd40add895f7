/* SPDX-License-Identifier: MIT */
#include "post_processor.h"

#include <string.h>

mm_status mmi_template_add(mm_context *ctx, mmi_template *t, const char *where, int32_t id, int32_t type_id)
{
    if (t->count == MMI_TEMPLATE_MAX_PIECES)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: a post-processor template of more than %d tokens", where, (int)MMI_TEMPLATE_MAX_PIECES);
    t->pieces[t->count].id = id;
    t->pieces[t->count++].type_id = type_id;
    return MM_OK;
}

void mmi_post_processor_init(mmi_post_processor *p)
{
    static const mmi_template_piece pair[] = {{MMI_TEMPLATE_A, 0}, {MMI_TEMPLATE_B, 1}};

    memset(p, 0, sizeof *p);
    memcpy(p->single.pieces, pair, sizeof pair[0]);
    memcpy(p->pair.pieces, pair, sizeof pair);
    p->single.count = 1;
    p->pair.count = 2;
}

/* The ids of a special token named in a template. */
static mm_status load_special(mm_context *ctx, const mmi_json *doc, const mmi_json_node *specials, const char *name, int64_t vocabulary_size,
                              int32_t type_id, mmi_template *t)
{
    const mmi_json_node *ids = mmi_json_get(mmi_json_get(specials, name), "ids");
    mm_status st = MM_OK;

    if (mmi_json_kind_of(ids) != MMI_JSON_ARRAY)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: the template's special token %.60s has no ids", mmi_json_name(doc), name);
    for (const mmi_json_node *node = mmi_json_first(ids); node && !st; node = mmi_json_next(node)) {
        int64_t id = -1;
        if (!mmi_json_integer(node, &id) || id < 0 || id >= vocabulary_size)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: the template's special token %.60s has an id that is no token", mmi_json_name(doc), name);
        st = mmi_template_add(ctx, t, mmi_json_name(doc), (int32_t)id, type_id);
    }
    return st;
}

static mm_status load_template(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, const char *key, int64_t vocabulary_size,
                               mmi_template *t)
{
    const mmi_json_node *list = mmi_json_get(node, key), *specials = mmi_json_get(node, "special_tokens");
    int has_a = 0, has_b = 0, pair = !strcmp(key, "pair");

    t->count = 0;
    if (mmi_json_kind_of(list) != MMI_JSON_ARRAY)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: TemplateProcessing without an array \"%s\"", mmi_json_name(doc), key);
    for (const mmi_json_node *piece = mmi_json_first(list); piece; piece = mmi_json_next(piece)) {
        const mmi_json_node *special = mmi_json_get(piece, "SpecialToken"), *sequence = mmi_json_get(piece, "Sequence");
        const char *id = NULL;
        int64_t type_id = 0;
        mm_status st;

        if (!special == !sequence)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: a piece of the template \"%s\" is neither SpecialToken nor Sequence", mmi_json_name(doc), key);
        st = mmi_json_text(ctx, doc, special ? special : sequence, "id", 1, &id);
        if (!st) st = mmi_json_i64(ctx, doc, special ? special : sequence, "type_id", 0, 0, INT32_MAX, &type_id);
        if (st) return st;
        if (special) {
            st = load_special(ctx, doc, specials, id, vocabulary_size, (int32_t)type_id, t);
        } else if (!strcmp(id, "A") || (pair && !strcmp(id, "B"))) {
            has_a += *id == 'A';
            has_b += *id == 'B';
            st = mmi_template_add(ctx, t, mmi_json_name(doc), *id == 'A' ? MMI_TEMPLATE_A : MMI_TEMPLATE_B, (int32_t)type_id);
        } else {
            st = mmi_fail(ctx, MM_E_FORMAT, "%s: the template \"%s\" names the sequence %.60s", mmi_json_name(doc), key, id);
        }
        if (st) return st;
    }
    if (has_a != 1 || has_b != pair)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: the template \"%s\" must hold each sequence once", mmi_json_name(doc), key);
    return MM_OK;
}

/* ["[SEP]", 102] */
static mm_status load_named_id(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, const char *key, int64_t vocabulary_size, int32_t *out)
{
    const mmi_json_node *second = mmi_json_next(mmi_json_first(mmi_json_get(node, key)));
    int64_t id = -1;

    if (!mmi_json_integer(second, &id) || id < 0 || id >= vocabulary_size)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: the post-processor's \"%s\" is no token and its id", mmi_json_name(doc), key);
    *out = (int32_t)id;
    return MM_OK;
}

/* [CLS] A [SEP] B [SEP]; RoBERTa writes <s> A </s></s> B </s> and gives all of it the type 0. */
static mm_status load_bert(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, int roberta, int64_t vocabulary_size,
                           mmi_post_processor *out)
{
    int32_t sep = 0, cls = 0, second = roberta ? 0 : 1;
    mm_status st = load_named_id(ctx, doc, node, "sep", vocabulary_size, &sep);

    if (!st) st = load_named_id(ctx, doc, node, "cls", vocabulary_size, &cls);
    if (st) return st;
    out->single = (mmi_template){{{cls, 0}, {MMI_TEMPLATE_A, 0}, {sep, 0}}, 3};
    if (roberta)
        out->pair = (mmi_template){{{cls, 0}, {MMI_TEMPLATE_A, 0}, {sep, 0}, {sep, 0}, {MMI_TEMPLATE_B, second}, {sep, second}}, 6};
    else
        out->pair = (mmi_template){{{cls, 0}, {MMI_TEMPLATE_A, 0}, {sep, 0}, {MMI_TEMPLATE_B, second}, {sep, second}}, 5};
    return MM_OK;
}

/* `found` counts the processors that add tokens; more than one would nest. The JSON reader bounds the recursion. */
static mm_status load_node(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, int64_t vocabulary_size, mmi_post_processor *out, int *found)
{
    const char *type = NULL;
    mm_status st = mmi_json_text(ctx, doc, node, "type", 1, &type);

    if (st) return st;
    if (!strcmp(type, "ByteLevel")) return MM_OK;
    if (!strcmp(type, "Sequence")) {
        const mmi_json_node *list = mmi_json_get(node, "processors");
        if (mmi_json_kind_of(list) != MMI_JSON_ARRAY)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: a post-processor Sequence without an array \"processors\"", mmi_json_name(doc));
        for (node = mmi_json_first(list); node && !st; node = mmi_json_next(node)) st = load_node(ctx, doc, node, vocabulary_size, out, found);
        return st;
    }
    if (++*found > 1) return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a post-processor Sequence that adds tokens twice", mmi_json_name(doc));
    if (!strcmp(type, "TemplateProcessing")) {
        st = load_template(ctx, doc, node, "single", vocabulary_size, &out->single);
        return st ? st : load_template(ctx, doc, node, "pair", vocabulary_size, &out->pair);
    }
    if (!strcmp(type, "BertProcessing")) return load_bert(ctx, doc, node, 0, vocabulary_size, out);
    if (!strcmp(type, "RobertaProcessing")) return load_bert(ctx, doc, node, 1, vocabulary_size, out);
    return mmi_fail(ctx, MM_E_UNSUPPORTED, "%s: a post-processor of type %.60s", mmi_json_name(doc), type);
}

mm_status mmi_post_processor_load(mm_context *ctx, const mmi_json *doc, const mmi_json_node *node, int64_t vocabulary_size, mmi_post_processor *out)
{
    mmi_json_kind kind = mmi_json_kind_of(node);
    int found = 0;

    mmi_post_processor_init(out);
    if (kind == MMI_JSON_ABSENT || kind == MMI_JSON_NULL) return MM_OK;
    return load_node(ctx, doc, node, vocabulary_size, out, &found);
}

static mm_status append(mm_context *ctx, const int32_t *ids, size_t n, int32_t type_id, mmi_ids *out, mmi_ids *types)
{
    if (n > (size_t)INT32_MAX - out->count) return mmi_fail(ctx, MM_E_OVERFLOW, "a text of more than %d tokens", INT32_MAX);
    for (size_t i = 0; i < n; i++)
        if (mmi_ids_add(ctx, out, ids[i]) || (types && mmi_ids_add(ctx, types, type_id))) return MM_E_NOMEM;
    return MM_OK;
}

mm_status mmi_post_processor_run(mm_context *ctx, const mmi_post_processor *p, const mmi_ids *a, const mmi_ids *b, int add_special, mmi_ids *ids,
                                 mmi_ids *types)
{
    const mmi_template *t = b ? &p->pair : &p->single;
    mm_status st = MM_OK;

    for (size_t i = 0; i < t->count && !st; i++) {
        const mmi_template_piece *piece = &t->pieces[i];
        if (piece->id >= 0)
            st = add_special ? append(ctx, &piece->id, 1, piece->type_id, ids, types) : MM_OK;
        else
            st = append(ctx, (piece->id == MMI_TEMPLATE_A ? a : b)->data, (piece->id == MMI_TEMPLATE_A ? a : b)->count, piece->type_id, ids, types);
    }
    return st;
}
