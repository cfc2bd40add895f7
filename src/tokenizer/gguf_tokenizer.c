/* A GGUF file names a family where tokenizer.json spells the steps out, so each family's steps stand here as the JSON
 * that its tokenizer.json has. SPDX-License-Identifier: MIT */
#include "gguf_tokenizer.h"

#include <inttypes.h>
#include <string.h>

#include "tokenizer_parts.h"

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":"
#define DECODER ",\"decoder\":{\"type\":\"ByteLevel\"}}"
#define SPLIT(regex) \
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false," \
    "\"pattern\":{\"Regex\":\"" regex "\"}}," BYTE_LEVEL "false}]}" DECODER
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define LOWER "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define REST "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const char gpt2_steps[] = "{\"pre_tokenizer\":" BYTE_LEVEL "true}" DECODER;
static const char digits_steps[] =
    "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL "true}]}" DECODER;
static const char llama3_steps[] = "{" SPLIT(CONTRACTIONS "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|" REST);
static const char qwen2_steps[] =
    "{\"normalizer\":{\"type\":\"NFC\"}," SPLIT(CONTRACTIONS "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|" REST);
static const char gpt4o_steps[] =
    "{" SPLIT("[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER "*" LOWER "+" CONTRACTIONS "?|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER "+" LOWER "*" CONTRACTIONS
              "?|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|" REST);
static const char bert_steps[] =
    "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}}";

#define UNDER "\xE2\x96\x81"
#define UNDERSCORES "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" UNDER "\"}"
#define SPACES "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" UNDER "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}"
static const char llama_steps[] = "{\"normalizer\":" UNDERSCORES ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[" SPACES "]}}";
static const char llama_prefix_steps[] = /* each text between special tokens begins with a space */
    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" UNDER "\"}," UNDERSCORES "]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[" SPACES ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}}";

typedef struct {
    const char *pre;
    const char *steps;
    int ignore_merges;
    int add_bos; /* when the file does not say */
    enum { KIND_GPT2, KIND_BERT, KIND_LLAMA } kind;
} family;

static const family families[] = {
    {"default", gpt2_steps, 0, 0, KIND_GPT2}, {"gpt-2", gpt2_steps, 0, 0, KIND_GPT2},
    {"phi-2", gpt2_steps, 0, 0, KIND_GPT2}, {"mpt", gpt2_steps, 0, 0, KIND_GPT2},
    {"olmo", gpt2_steps, 0, 0, KIND_GPT2}, {"smollm", digits_steps, 0, 0, KIND_GPT2},
    {"starcoder", digits_steps, 0, 0, KIND_GPT2}, {"refact", digits_steps, 0, 0, KIND_GPT2},
    {"llama-bpe", llama3_steps, 1, 1, KIND_GPT2}, {"llama3", llama3_steps, 1, 1, KIND_GPT2},
    {"llama-v3", llama3_steps, 1, 1, KIND_GPT2}, {"qwen2", qwen2_steps, 0, 0, KIND_GPT2},
    {"gpt-4o", gpt4o_steps, 0, 0, KIND_GPT2}, {"llama4", gpt4o_steps, 0, 1, KIND_GPT2},
};

/* Values of tokenizer.ggml.token_type. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

typedef struct {
    mm_context *ctx;
    const mmi_gguf *file;
    const char *path;
    size_t count; /* of tokens */
    int has_types;
    mmi_tokenizer *t;
} loader;

static mm_status token_type(const loader *l, size_t id, int64_t *type)
{
    *type = TYPE_NORMAL;
    return l->has_types ? mmi_gguf_array_i64(l->ctx, l->file, "tokenizer.ggml.token_type", id, type) : MM_OK;
}

static mm_status load_counts(loader *l)
{
    mmi_gguf_type type = MMI_GGUF_STRING;
    size_t types = 0;
    int found = 0;
    mm_status st = mmi_gguf_array(l->ctx, l->file, "tokenizer.ggml.tokens", 1, &type, &l->count, &found);

    if (st) return st;
    if (type != MMI_GGUF_STRING) return mmi_fail(l->ctx, MM_E_FORMAT, "%s: tokenizer.ggml.tokens is no array of strings", l->path);
    if (!l->count || l->count > MMI_VOCABULARY_MAX)
        return mmi_fail(l->ctx, l->count ? MM_E_LIMIT : MM_E_FORMAT, "%s: tokenizer.ggml.tokens has %zu tokens, allowed is 1 to %d", l->path, l->count,
                        MMI_VOCABULARY_MAX);
    st = mmi_gguf_array(l->ctx, l->file, "tokenizer.ggml.token_type", 0, &type, &types, &l->has_types);
    if (!st && l->has_types && types != l->count)
        st = mmi_fail(l->ctx, MM_E_FORMAT, "%s: tokenizer.ggml.token_type has %zu elements for %zu tokens", l->path, types, l->count);
    return st;
}

static mm_status load_special_ids(loader *l)
{
    static const char *const keys[MMI_SPECIAL_COUNT] = {
        "tokenizer.ggml.bos_token_id",       "tokenizer.ggml.eos_token_id", "tokenizer.ggml.padding_token_id",
        "tokenizer.ggml.unknown_token_id",   "tokenizer.ggml.cls_token_id", "tokenizer.ggml.seperator_token_id", /* the format's spelling */
        "tokenizer.ggml.mask_token_id",
    };
    mm_status st = MM_OK;

    for (int i = 0; i < MMI_SPECIAL_COUNT && !st; i++) {
        int64_t id = -1;
        st = mmi_gguf_i64(l->ctx, l->file, keys[i], 0, 0, (int64_t)l->count - 1, &id);
        l->t->special[i] = (int32_t)id;
    }
    return st;
}

/* llama.cpp's conversion of a BERT vocabulary marks the tokens that begin a word with U+2581 and drops "##" from those
 * that continue one; tokens in brackets, and those of another type, stay as they are. */
static mm_status add_bert_token(loader *l, size_t id, const char *text, size_t n, int64_t type, mmi_text *spare)
{
    static const char mark[] = "\xE2\x96\x81";

    if (n >= 3 && !memcmp(text, mark, 3)) return mmi_vocabulary_add(l->ctx, &l->t->vocabulary, l->path, text + 3, n - 3, (int64_t)id);
    if (type != TYPE_NORMAL || (n > 2 && text[0] == '[' && text[n - 1] == ']'))
        return mmi_vocabulary_add(l->ctx, &l->t->vocabulary, l->path, text, n, (int64_t)id);
    spare->size = 0;
    if (mmi_text_append(l->ctx, spare, "##", 2) || mmi_text_append(l->ctx, spare, text, n)) return MM_E_NOMEM;
    return mmi_vocabulary_add(l->ctx, &l->t->vocabulary, l->path, spare->data, spare->size, (int64_t)id);
}

static mm_status load_tokens(loader *l, int bert)
{
    mmi_text spare = {0};
    mm_status st = MM_OK;

    for (size_t i = 0; i < l->count && !st; i++) {
        const char *text = NULL;
        size_t n = 0;
        int64_t type = 0;
        st = mmi_gguf_array_string(l->ctx, l->file, "tokenizer.ggml.tokens", i, &text, &n);
        if (!st) st = token_type(l, i, &type);
        if (st) break;
        st = bert ? add_bert_token(l, i, text, n, type, &spare) : mmi_vocabulary_add(l->ctx, &l->t->vocabulary, l->path, text, n, (int64_t)i);
    }
    mmi_text_clear(&spare);
    if (!st) st = mmi_vocabulary_seal(l->ctx, &l->t->vocabulary, l->path);
    l->t->size = (int32_t)l->t->vocabulary.size;
    return st;
}

static mm_status add_token(loader *l, int64_t id, int special, mmi_matcher *matcher)
{
    mmi_added_token token = {0};
    const char *text = mmi_vocabulary_text(&l->t->vocabulary, id, &token.size);

    token.text = (char *)(uintptr_t)text; /* copied */
    token.id = (int32_t)id;
    token.special = special;
    return text ? mmi_added_tokens_add(l->ctx, &l->t->added, l->path, &token, l->t->normalizer, matcher) : MM_OK;
}

/* BERT's special tokens are those with a role: its [unused] ones are typed as control tokens too, and are none. */
static mm_status load_added(loader *l, int bert)
{
    mmi_matcher *matcher = NULL;
    mm_status st = mmi_matcher_create(l->ctx, &matcher);

    for (int i = 0; i < MMI_SPECIAL_COUNT && bert && !st; i++)
        if (l->t->special[i] >= 0) st = add_token(l, l->t->special[i], 1, matcher);
    for (size_t i = 0; i < l->count && !bert && !st; i++) {
        int64_t type = 0;
        st = token_type(l, i, &type);
        if (!st && (type == TYPE_CONTROL || type == TYPE_UNKNOWN || type == TYPE_USER_DEFINED))
            st = add_token(l, (int64_t)i, type != TYPE_USER_DEFINED, matcher);
    }
    mmi_matcher_destroy(matcher);
    return st;
}

static mm_status load_merges(loader *l, int ignore_merges)
{
    mmi_bpe_options o = {NULL, "", "", 0, 0, ignore_merges};
    mmi_gguf_type type = MMI_GGUF_STRING;
    size_t count = 0;
    int found = 0;
    mm_status st = mmi_gguf_array(l->ctx, l->file, "tokenizer.ggml.merges", 1, &type, &count, &found);

    if (st) return st;
    if (type != MMI_GGUF_STRING) return mmi_fail(l->ctx, MM_E_FORMAT, "%s: tokenizer.ggml.merges is no array of strings", l->path);
    st = mmi_bpe_create(l->ctx, l->path, &l->t->vocabulary, &o, &l->t->bpe);
    for (size_t i = 0; i < count && !st; i++) {
        const char *text = NULL;
        size_t n = 0;
        st = mmi_gguf_array_string(l->ctx, l->file, "tokenizer.ggml.merges", i, &text, &n);
        if (!st) st = mmi_bpe_add_merge_text(l->ctx, l->t->bpe, l->path, text, n);
    }
    return st;
}

/* SentencePiece's BPE, which has scores in place of merges. */
static mm_status load_scores(loader *l)
{
    size_t unk_size = 0, count = 0;
    mmi_bpe_options o = {mmi_vocabulary_text(&l->t->vocabulary, l->t->special[MMI_SPECIAL_UNK], &unk_size), "", "", 1, 1, 0};
    mmi_gguf_type type = MMI_GGUF_F32;
    double *scores;
    int found = 0;
    mm_status st = mmi_gguf_array(l->ctx, l->file, "tokenizer.ggml.scores", 1, &type, &count, &found);

    if (st) return st;
    if (count != l->count) return mmi_fail(l->ctx, MM_E_FORMAT, "%s: tokenizer.ggml.scores has %zu elements for %zu tokens", l->path, count, l->count);
    scores = mmi_alloc_array(l->ctx, count, sizeof *scores);
    if (!scores) return MM_E_NOMEM;
    for (size_t i = 0; i < count && !st; i++) st = mmi_gguf_array_f64(l->ctx, l->file, "tokenizer.ggml.scores", i, &scores[i]);
    if (!st) st = mmi_bpe_create(l->ctx, l->path, &l->t->vocabulary, &o, &l->t->bpe);
    if (!st) st = mmi_bpe_add_scores(l->ctx, l->t->bpe, l->path, scores);
    mmi_free(scores);
    return st;
}

static mm_status load_model(loader *l, const family *f)
{
    size_t unk_size = 0;
    const char *unk;

    if (f->kind == KIND_GPT2) return load_merges(l, f->ignore_merges);
    if (f->kind == KIND_LLAMA) return load_scores(l);
    unk = mmi_vocabulary_text(&l->t->vocabulary, l->t->special[MMI_SPECIAL_UNK], &unk_size);
    return mmi_word_piece_create(l->ctx, l->path, &l->t->vocabulary, unk ? unk : "[UNK]", "##", 100, &l->t->word_piece);
}

/* first A last, and a pair as first A last first B last (BERT: first A last B last). */
static mm_status load_template(loader *l, int bert, int add_bos, int add_eos)
{
    mmi_post_processor *p = &l->t->post_processor;
    int32_t first = l->t->special[MMI_SPECIAL_BOS], last = l->t->special[MMI_SPECIAL_EOS];
    mm_status st;

    if (bert && l->t->special[MMI_SPECIAL_CLS] >= 0) first = l->t->special[MMI_SPECIAL_CLS];
    if (bert && l->t->special[MMI_SPECIAL_SEP] >= 0) last = l->t->special[MMI_SPECIAL_SEP];
    st = mmi_gguf_bool(l->ctx, l->file, "tokenizer.ggml.add_bos_token", 0, &add_bos);
    if (!st) st = mmi_gguf_bool(l->ctx, l->file, "tokenizer.ggml.add_eos_token", 0, &add_eos);
    if (st) return st;
    if (add_bos && first < 0) return mmi_fail(l->ctx, MM_E_FORMAT, "%s: add_bos_token without a bos_token_id", l->path);
    if (add_eos && last < 0) return mmi_fail(l->ctx, MM_E_FORMAT, "%s: add_eos_token without an eos_token_id", l->path);
    p->single.count = p->pair.count = 0;
    for (int32_t text = 0; text < 2; text++)
        for (int part = 0; part < 3; part++) {
            int32_t id = part == 0 ? first : part == 1 ? (text ? MMI_TEMPLATE_B : MMI_TEMPLATE_A) : last;
            if ((part == 0 && !add_bos) || (part == 2 && !add_eos)) continue;
            if (!text && (st = mmi_template_add(l->ctx, &p->single, l->path, id, 0))) return st;
            if (text && part == 0 && bert) continue;
            if ((st = mmi_template_add(l->ctx, &p->pair, l->path, id, text))) return st;
        }
    return MM_OK;
}

/* By tokenizer.ggml.model, and for "gpt2" by tokenizer.ggml.pre. */
static mm_status find_family(loader *l, const family **out)
{
    static const family bert = {"bert", bert_steps, 0, 1, KIND_BERT}, llama[] = {{"llama", llama_steps, 0, 1, KIND_LLAMA},
                                                                                {"llama", llama_prefix_steps, 0, 1, KIND_LLAMA}};
    const char *pre = "default", *model = NULL;
    size_t n = 0;
    int prefix = 1;
    mm_status st = mmi_gguf_string(l->ctx, l->file, "tokenizer.ggml.model", 1, &model, &n);

    if (st) return st;
    if (n == 4 && !memcmp(model, "bert", 4)) {
        *out = &bert;
        return MM_OK;
    }
    if (n == 5 && !memcmp(model, "llama", 5)) {
        st = mmi_gguf_bool(l->ctx, l->file, "tokenizer.ggml.add_space_prefix", 0, &prefix);
        *out = &llama[prefix];
        return st;
    }
    if (n != 4 || memcmp(model, "gpt2", 4))
        return mmi_fail(l->ctx, MM_E_UNSUPPORTED, "%s: a tokenizer model \"%.*s\"", l->path, n > 60 ? 60 : (int)n, model);
    n = strlen(pre);
    st = mmi_gguf_string(l->ctx, l->file, "tokenizer.ggml.pre", 0, &pre, &n);

    if (st) return st;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strlen(families[i].pre) == n && !memcmp(families[i].pre, pre, n)) {
            *out = &families[i];
            return MM_OK;
        }
    return mmi_fail(l->ctx, MM_E_UNSUPPORTED, "%s: tokenizer.ggml.pre is \"%.*s\", which is not known", l->path, n > 60 ? 60 : (int)n, pre);
}

mm_status mmi_tokenizer_from_gguf(mm_context *ctx, const mmi_gguf *file, mmi_tokenizer **out)
{
    loader l = {ctx, file, mmi_gguf_path(file), 0, 0, NULL};
    const family *f = NULL;
    mmi_json *steps = NULL;
    int bert;
    mm_status st;

    *out = NULL;
    st = find_family(&l, &f);
    if (st) return st;
    bert = f->kind == KIND_BERT;
    st = load_counts(&l);
    if (!st) st = mmi_tokenizer_create(ctx, &l.t);
    if (!st) st = mmi_json_parse(ctx, l.path, f->steps, strlen(f->steps), &steps);
    if (!st) st = mmi_tokenizer_load_steps(ctx, steps, l.t);
    if (!st) st = load_special_ids(&l);
    if (!st) st = load_tokens(&l, bert);
    if (!st) st = load_added(&l, bert);
    if (!st) st = load_model(&l, f);
    if (!st) st = load_template(&l, bert, f->add_bos, bert);
    if (!st) {
        *out = l.t;
        l.t = NULL;
    }
    mmi_json_destroy(steps);
    mmi_tokenizer_release(l.t);
    return st;
}
