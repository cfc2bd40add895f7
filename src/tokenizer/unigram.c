/* The sums are doubles, added from the left, and of two equal ones the first found stays: so the ties are broken as in
 * the `tokenizers` package. SPDX-License-Identifier: MIT */
#include "unigram.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "size.h"
#include "trie.h"

static const double unk_penalty = 10; /* an unknown character scores this much less than the worst token */

struct mmi_unigram {
    const mmi_vocabulary *vocabulary;
    mmi_trie trie;
    double *scores;
    double unk_score;
    int32_t unk;        /* -1: none */
    int32_t bytes[256]; /* ids of <0x00> ... <0xFF>, -1 for none, and all of them without byte_fallback */
};

/* The best way to cut what ends here: its last token. When the way is found: the token of it that begins here. */
struct mmi_unigram_end {
    double score;
    int32_t id;
    uint32_t size; /* of the token; 0: nothing ends here */
};

void mmi_unigram_destroy(mmi_unigram *m)
{
    if (!m) return;
    mmi_trie_clear(&m->trie);
    mmi_free(m->scores);
    mmi_free(m);
}

static mm_status add_token(mm_context *ctx, const char *where, mmi_unigram *m, int32_t id, double score)
{
    size_t n = 0;
    const char *text = mmi_vocabulary_text(m->vocabulary, id, &n);

    if (!text) return MM_OK;
    if (n > MMI_UNIGRAM_MAX_TOKEN)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: the token with id %d has %zu bytes, more than the %d allowed", where, (int)id, n, (int)MMI_UNIGRAM_MAX_TOKEN);
    if (!isfinite(score)) return mmi_fail(ctx, MM_E_FORMAT, "%s: the score of the token with id %d is not finite", where, (int)id);
    m->scores[id] = score;
    m->unk_score = fmin(m->unk_score, score);
    return n && mmi_trie_put(ctx, &m->trie, text, n, id) ? MM_E_NOMEM : MM_OK;
}

mm_status mmi_unigram_create(mm_context *ctx, const char *where, const mmi_vocabulary *vocabulary, const double *scores, int64_t unk, int byte_fallback,
                             mmi_unigram **out)
{
    mmi_unigram *m = mmi_zalloc(ctx, sizeof *m);
    size_t n = 0;
    mm_status st = MM_OK;

    *out = NULL;
    if (!m) return MM_E_NOMEM;
    if (unk != -1 && !mmi_vocabulary_text(vocabulary, unk, &n)) {
        st = mmi_fail(ctx, MM_E_FORMAT, "%s: unk_id is %lld in a vocabulary of %lld tokens", where, (long long)unk, (long long)vocabulary->size);
        goto cleanup;
    }
    m->vocabulary = vocabulary;
    m->unk = (int32_t)unk;
    m->unk_score = INFINITY;
    m->scores = mmi_zalloc_array(ctx, (size_t)vocabulary->size, sizeof *m->scores);
    if (!m->scores) st = MM_E_NOMEM;
    for (int32_t id = 0; id < vocabulary->size && !st; id++) st = add_token(ctx, where, m, id, scores[id]);
    if (st) goto cleanup;
    m->unk_score -= unk_penalty;
    for (unsigned i = 0; i < 256; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", i);
        m->bytes[i] = byte_fallback ? mmi_vocabulary_find(vocabulary, name, 6) : -1;
    }
    *out = m;
    m = NULL;
cleanup:
    mmi_unigram_destroy(m);
    return st;
}

void mmi_unigram_scratch_clear(mmi_unigram_scratch *s)
{
    mmi_free(s->ends);
    memset(s, 0, sizeof *s);
}

static void offer(struct mmi_unigram_end *end, double score, int32_t id, size_t size)
{
    if (end->size && !(score > end->score)) return;
    end->score = score;
    end->id = id;
    end->size = (uint32_t)size;
}

static mm_status find_ends(mm_context *ctx, const mmi_unigram *m, const char *word, size_t n, struct mmi_unigram_end *ends)
{
    memset(ends, 0, (n + 1) * sizeof *ends);
    for (size_t at = 0, first; at < n; at += first) {
        int64_t node = MMI_TRIE_ROOT;
        int single = 0;
        first = mmi_utf8_length((unsigned char)word[at]);
        if (at % 65536 < first && mmi_check_cancel(ctx)) return MM_E_CANCELLED;
        for (size_t i = at; i < n && (node = mmi_trie_walk(&m->trie, node, word + i, 1)) >= 0; i++) {
            int32_t id = m->trie.values[node];
            if (id < 0) continue;
            offer(&ends[i + 1], m->scores[id] + ends[at].score, id, i + 1 - at);
            single |= i + 1 - at == first;
        }
        if (single) continue;
        if (m->unk < 0)
            return mmi_fail(ctx, MM_E_FORMAT, "the text has \"%.*s\", for which the Unigram vocabulary has neither a token nor an unk_id", (int)first, word + at);
        offer(&ends[at + first], m->unk_score + ends[at].score, m->unk, first);
    }
    return MM_OK;
}

/* Unknown characters side by side are one unknown token, or the token that they happen to spell, or bytes. */
static int add_unknown(mm_context *ctx, const mmi_unigram *m, const char *text, size_t n, mmi_ids *ids)
{
    int32_t id = mmi_vocabulary_find(m->vocabulary, text, n);
    size_t known = 0;

    if (id >= 0) return mmi_ids_add(ctx, ids, id);
    while (known < n && m->bytes[(unsigned char)text[known]] >= 0) known++;
    if (known < n) return mmi_ids_add(ctx, ids, m->unk);
    for (size_t i = 0; i < n; i++)
        if (mmi_ids_add(ctx, ids, m->bytes[(unsigned char)text[i]])) return 1;
    return 0;
}

mm_status mmi_unigram_encode(mm_context *ctx, const mmi_unigram *m, mmi_unigram_scratch *s, const char *word, size_t n, mmi_ids *ids)
{
    struct mmi_unigram_end *ends, last;
    mm_status st;

    if (n + 1 > s->capacity) {
        mmi_unigram_scratch_clear(s);
        s->ends = mmi_alloc_array(ctx, n + 1, sizeof *s->ends);
        if (!s->ends) return MM_E_NOMEM;
        s->capacity = n + 1;
    }
    ends = s->ends;
    st = find_ends(ctx, m, word, n, ends);
    if (st) return st;
    last = ends[n];
    for (size_t at = n; at > 0;) {
        struct mmi_unigram_end before;
        at -= last.size;
        before = ends[at];
        ends[at] = last;
        last = before;
    }
    for (size_t at = 0, end; at < n; at = end) {
        int32_t id = ends[at].id;
        end = at + ends[at].size;
        if (id == m->unk)
            while (end < n && ends[end].id == id) end += ends[end].size;
        if (id == m->unk ? add_unknown(ctx, m, word + at, end - at, ids) : mmi_ids_add(ctx, ids, id)) return MM_E_NOMEM;
    }
    return MM_OK;
}
