/* SPDX-License-Identifier: MIT */
#include "label_mask.h"

#include <string.h>

/* A chat as text and as tokens, and up to where the two have been matched. */
typedef struct {
    mm_context *ctx;
    const mmi_tokenizer *t;
    mmi_chat_writer write;
    const void *self;
    const mmi_chat_message *messages;
    mmi_text text;
    mmi_ids ids;
    size_t byte, token; /* token number `token` begins at this byte */
    mmi_ids scratch;
} aligner;

/* The first token that lies behind text[0..byte) or across its end, and whether it lies across. What lies since the last place is
 * tokenized by itself; only where that does not give the same tokens, all of the text up to the place is. */
static mm_status find_token(aligner *a, size_t byte, size_t *token, int *across)
{
    size_t same = 0;
    mm_status st;

    *across = 0;
    if (byte < a->byte) a->byte = a->token = 0;
    a->scratch.count = 0;
    st = mmi_tokenizer_encode(a->ctx, a->t, a->text.data + a->byte, byte - a->byte, 0, 1, &a->scratch);
    if (st) return st;
    if (a->scratch.count <= a->ids.count - a->token &&
        (!a->scratch.count || !memcmp(a->scratch.data, a->ids.data + a->token, a->scratch.count * sizeof *a->ids.data))) {
        a->byte = byte;
        *token = a->token += a->scratch.count;
        return MM_OK;
    }
    a->scratch.count = 0;
    st = mmi_tokenizer_encode(a->ctx, a->t, a->text.data, byte, 0, 1, &a->scratch);
    if (st) return st;
    while (same < a->scratch.count && same < a->ids.count && a->scratch.data[same] == a->ids.data[same]) same++;
    *across = same < a->scratch.count;
    *token = same;
    if (!*across) {
        a->byte = byte;
        a->token = same;
    }
    return MM_OK;
}

static int is_space(const mmi_text *bytes)
{
    for (size_t i = 0; i < bytes->size; i++)
        if (!strchr(" \t\r\n", bytes->data[i]) || !bytes->data[i]) return 0;
    return bytes->size > 0;
}

/* The answer in tokens [from, *to) without the white space behind its end token. */
static mm_status trim_end(const aligner *a, size_t from, size_t *to)
{
    mmi_text bytes = {0};
    size_t end = *to;
    mm_status st = MM_OK;

    for (; end > from && !mmi_tokenizer_is_special(a->t, a->ids.data[end - 1]); end--) {
        bytes.size = 0;
        st = mmi_tokenizer_token_bytes(a->ctx, a->t, a->ids.data[end - 1], &bytes);
        if (st || !is_space(&bytes)) break;
    }
    if (!st && end > from && mmi_tokenizer_is_special(a->t, a->ids.data[end - 1])) *to = end;
    mmi_text_clear(&bytes);
    return st;
}

/* The length of messages [0, count) as text, which must be how the whole chat begins. */
static mm_status prefix_length(const aligner *a, size_t count, int prompt, size_t *length)
{
    mmi_text text = {0};
    mm_status st = a->write(a->ctx, a->self, a->messages, count, prompt, &text);

    if (!st && (text.size > a->text.size || (text.size && memcmp(text.data, a->text.data, text.size))))
        st = mmi_fail(
            a->ctx, MM_E_UNSUPPORTED,
            "the chat template writes %s message %zu of a chat in another way once others follow, so that its answer cannot be found",
            prompt ? "the beginning of" : "up to", prompt ? count : count - 1);
    *length = text.size;
    mmi_text_clear(&text);
    return st;
}

/* The tokens of the answer that is message `i`. */
static mm_status find_answer(aligner *a, size_t i, size_t *from, size_t *to)
{
    size_t begin, end;
    int across;
    mm_status st = prefix_length(a, i, 1, &begin);

    if (!st) st = prefix_length(a, i + 1, 0, &end);
    if (st) return st;
    if (end < begin)
        return mmi_fail(a->ctx, MM_E_UNSUPPORTED, "the chat template writes less for message %zu of a chat than for its beginning", i);
    st = find_token(a, begin, from, &across);
    if (!st) st = find_token(a, end, to, &across);
    if (st) return st;
    if (across) ++*to;
    return trim_end(a, *from, to);
}

mm_status mmi_label_mask_chat(mm_context *ctx, const mmi_tokenizer *t, mmi_chat_writer write, const void *self,
                              const mmi_chat_message *messages, size_t count, mmi_ids *ids, mmi_ids *mask)
{
    const size_t ids_before = ids->count, mask_before = mask->count;
    aligner a = {.ctx = ctx, .t = t, .write = write, .self = self, .messages = messages};
    size_t answers = 0;
    mm_status st;

    st = mmi_text_append(ctx, &a.text, "", 0) ? MM_E_NOMEM : write(ctx, self, messages, count, 0, &a.text);
    if (!st) st = mmi_tokenizer_encode(ctx, t, a.text.data, a.text.size, 0, 1, &a.ids);
    for (size_t i = 0; i < a.ids.count && !st; i++)
        if (mmi_ids_add(ctx, ids, a.ids.data[i]) || mmi_ids_add(ctx, mask, 0)) st = MM_E_NOMEM;
    for (size_t i = 0; i < count && !st; i++) {
        size_t from = 0, to = 0;
        if (strcmp(messages[i].role, "assistant")) continue;
        st = find_answer(&a, i, &from, &to);
        for (; !st && from < to; from++) mask->data[mask_before + from] = 1;
        answers++;
    }
    if (!st && !answers) st = mmi_fail(ctx, MM_E_FORMAT, "a chat of %zu messages holds no answer of the assistant to learn from", count);
    if (st) {
        ids->count = ids_before;
        mask->count = mask_before;
    }
    mmi_text_clear(&a.text);
    mmi_free(a.ids.data);
    mmi_free(a.scratch.data);
    return st;
}
