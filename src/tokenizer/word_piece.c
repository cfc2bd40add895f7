/* SPDX-License-Identifier: MIT */
#include "word_piece.h"

#include <inttypes.h>
#include <string.h>

#include "text.h"
#include "trie.h"

struct mmi_word_piece {
    mmi_trie trie;
    int64_t continuing; /* the node behind the prefix; -1: no token continues a word */
    int64_t max_chars;
    int32_t unk;
};

void mmi_word_piece_destroy(mmi_word_piece *m)
{
    if (!m) return;
    mmi_trie_clear(&m->trie);
    mmi_free(m);
}

mm_status mmi_word_piece_create(mm_context *ctx, const char *where, const mmi_vocabulary *vocabulary, const char *unk_token, const char *prefix,
                                int64_t max_chars, mmi_word_piece **out)
{
    mm_status st = MM_OK;
    mmi_word_piece *m = NULL;

    *out = NULL;
    if (max_chars < 0 || max_chars > MMI_WORD_PIECE_MAX_CHARS)
        return mmi_fail(ctx, MM_E_LIMIT, "%s: max_input_chars_per_word is %" PRId64 ", allowed is 0 to %d", where, max_chars,
                        (int)MMI_WORD_PIECE_MAX_CHARS);
    m = mmi_zalloc(ctx, sizeof *m);
    if (!m) return MM_E_NOMEM;
    m->max_chars = max_chars;
    m->unk = mmi_vocabulary_find(vocabulary, unk_token, strlen(unk_token));
    if (m->unk < 0) {
        st = mmi_fail(ctx, MM_E_FORMAT, "%s: the unk_token %.60s is not in the vocabulary", where, unk_token);
        goto cleanup;
    }
    for (int64_t id = 0; id < vocabulary->size; id++) {
        size_t n = 0;
        const char *text = mmi_vocabulary_text(vocabulary, id, &n);
        if (text && mmi_trie_put(ctx, &m->trie, text, n, (int32_t)id)) {
            st = MM_E_NOMEM;
            goto cleanup;
        }
    }
    m->continuing = mmi_trie_walk(&m->trie, MMI_TRIE_ROOT, prefix, strlen(prefix));
    *out = m;
    m = NULL;
cleanup:
    mmi_word_piece_destroy(m);
    return st;
}

mm_status mmi_word_piece_encode(mm_context *ctx, const mmi_word_piece *m, const char *word, size_t n, mmi_ids *ids)
{
    size_t first = ids->count;
    int64_t node = MMI_TRIE_ROOT, chars = 0;

    for (size_t i = 0; i < n; i += mmi_utf8_length((unsigned char)word[i]))
        if (++chars > m->max_chars) return mmi_ids_add(ctx, ids, m->unk) ? MM_E_NOMEM : MM_OK;
    for (size_t i = 0; i < n;) {
        int32_t id = -1;
        size_t len = node < 0 ? 0 : mmi_trie_longest(&m->trie, node, word + i, n - i, &id);
        if (!len) {
            ids->count = first;
            return mmi_ids_add(ctx, ids, m->unk) ? MM_E_NOMEM : MM_OK;
        }
        if (mmi_ids_add(ctx, ids, id)) return MM_E_NOMEM;
        i += len;
        node = m->continuing;
    }
    return MM_OK;
}
