/* SPDX-License-Identifier: MIT */
#include "label_mask.h"

#include <string.h>

/* A chat as text and as tokens, and up to where the two have been matched. */
typedef struct {
    mm_context *ctx;
    const mmi_tokenizer *t;
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

/* The length of messages [0, count) rendered, which must be how the whole chat begins. */
static mm_status prefix_length(const aligner *a, const mmi_chat_template *tpl, const mmi_chat_message *messages, size_t count,
                               const mmi_chat_options *options, int prompt, size_t *length)
{
    mmi_chat_options o = options ? *options : (mmi_chat_options){0};
    mmi_text text = {0};
    mm_status st;

    o.add_generation_prompt = prompt;
    st = mmi_chat_template_render(a->ctx, tpl, messages, count, &o, &text);
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
static mm_status find_answer(aligner *a, const mmi_chat_template *tpl, const mmi_chat_message *messages, size_t i,
                             const mmi_chat_options *options, size_t *from, size_t *to)
{
    size_t begin, end;
    int across;
    mm_status st = prefix_length(a, tpl, messages, i, options, 1, &begin);

    if (!st) st = prefix_length(a, tpl, messages, i + 1, options, 0, &end);
    if (st) return st;
    if (end < begin)
        return mmi_fail(a->ctx, MM_E_UNSUPPORTED, "the chat template writes less for message %zu of a chat than for its beginning", i);
    st = find_token(a, begin, from, &across);
    if (!st) st = find_token(a, end, to, &across);
    if (st) return st;
    if (across) ++*to;
    return trim_end(a, *from, to);
}

mm_status mmi_label_mask_chat(mm_context *ctx, const mmi_tokenizer *t, const mmi_chat_template *tpl, const mmi_chat_message *messages,
                              size_t count, const mmi_chat_options *options, mmi_ids *ids, mmi_ids *mask)
{
    const size_t ids_before = ids->count, mask_before = mask->count;
    aligner a = {.ctx = ctx, .t = t};
    mmi_chat_options o = options ? *options : (mmi_chat_options){0};
    size_t answers = 0;
    mm_status st;

    o.add_generation_prompt = 0;
    st = mmi_text_append(ctx, &a.text, "", 0) ? MM_E_NOMEM : mmi_chat_template_render(ctx, tpl, messages, count, &o, &a.text);
    if (!st) st = mmi_tokenizer_encode(ctx, t, a.text.data, a.text.size, 0, 1, &a.ids);
    for (size_t i = 0; i < a.ids.count && !st; i++)
        if (mmi_ids_add(ctx, ids, a.ids.data[i]) || mmi_ids_add(ctx, mask, 0)) st = MM_E_NOMEM;
    for (size_t i = 0; i < count && !st; i++) {
        size_t from = 0, to = 0;
        if (strcmp(messages[i].role, "assistant")) continue;
        st = find_answer(&a, tpl, messages, i, &o, &from, &to);
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

mm_status mmi_label_mask_pair(mm_context *ctx, const mmi_tokenizer *t, const char *question, const char *answer, mmi_ids *ids,
                              mmi_ids *mask)
{
    const size_t ids_before = ids->count, mask_before = mask->count;
    int32_t end = mmi_tokenizer_special(t, MMI_SPECIAL_EOS);
    size_t asked;
    mm_status st;

    if (end < 0) end = mmi_tokenizer_special(t, MMI_SPECIAL_SEP);
    st = mmi_tokenizer_encode(ctx, t, question, strlen(question), 1, 1, ids);
    if (!st && end >= 0 && ids->count > ids_before && ids->data[ids->count - 1] == end)
        ids->count--; /* the question does not end the text */
    asked = ids->count - ids_before;
    if (!st) st = mmi_tokenizer_encode(ctx, t, answer, strlen(answer), 0, 0, ids);
    if (!st && end >= 0 && mmi_ids_add(ctx, ids, end)) st = MM_E_NOMEM;
    for (size_t i = 0; i < ids->count - ids_before && !st; i++)
        if (mmi_ids_add(ctx, mask, i >= asked)) st = MM_E_NOMEM;
    if (st) {
        ids->count = ids_before;
        mask->count = mask_before;
    }
    return st;
}
