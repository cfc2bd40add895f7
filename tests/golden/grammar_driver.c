/* What compare_grammars.py asks: a grammar or a schema held against a model's vocabulary, or walked at random.
 *
 * usage: grammar_driver (gbnf | schema) FILE MODEL, then lines on standard input:
 *   mask         the ids that may follow, -1 for the end
 *   accept ID    ok, or the sentence of a refusal
 *   begin        ok
 *   walk SEED N  N random texts, each a line of hexadecimal digits; one that does not end within 4000 bytes is left out
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar_state.h"
#include "json_schema.h"
#include "model.h"

static int is_allowed(const uint64_t *mask, size_t id) { return (int)(mask[id / 64] >> id % 64 & 1); }

/* Bytes one by one, closing characters rather often. */
static void walk(mm_context *ctx, mmi_grammar_state *s, const mmi_token_table *t, unsigned seed, int count)
{
    const uint64_t *mask;
    char text[4001];
    int32_t single[256];

    for (int i = 0; i < 256; i++) single[i] = -1;
    for (size_t i = 0; i < t->count; i++)
        if (t->entries[i].size == 1) single[(unsigned char)t->bytes.data[t->entries[i].offset]] = t->entries[i].id;
    srand(seed);
    while (count > 0) {
        size_t n = 0;
        mmi_grammar_state_begin(s);
        for (; n < 4000; n++) {
            int bytes[256], some = 0, pick;
            if (mmi_grammar_state_is_complete(s) || (mmi_grammar_state_accepts(s) && rand() % 4 == 0)) break;
            if (mmi_grammar_state_mask(ctx, s, NULL, 0, &mask)) break;
            for (int b = 0; b < 256; b++)
                if (single[b] >= 0 && is_allowed(mask, (size_t)single[b])) bytes[some++] = b;
            if (!some) break;
            pick = bytes[rand() % some];
            for (const char *c = "\"}]e"; *c && rand() % 3 == 0; c++)
                for (int i = 0; i < some; i++)
                    if (bytes[i] == *c) pick = *c;
            text[n] = (char)pick;
            (void)mmi_grammar_state_accept(ctx, s, single[pick]);
        }
        if (!mmi_grammar_state_accepts(s)) {
            if (n < 4000) break;
            count--;
            continue;
        }
        count--;
        for (size_t i = 0; i < n; i++) printf("%02x", (unsigned char)text[i]);
        putchar('\n');
    }
    puts("end");
}

int main(int argc, char **argv)
{
    static char text[1 << 20], line[64];
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mmi_grammar *g = NULL;
    mmi_token_table *table = NULL;
    mmi_grammar_state *s = NULL;
    FILE *f = argc == 4 ? fopen(argv[2], "rb") : NULL;
    size_t n = f ? fread(text, 1, sizeof text, f) : 0;
    mm_status st;

    if (!f || mm_context_create(NULL, &ctx)) return 2;
    fclose(f);
    st = mm_model_open(ctx, argv[3], &model);
    if (!st) st = strcmp(argv[1], "schema") ? mmi_grammar_create(ctx, "grammar", text, n, &g) : mmi_json_schema_compile(ctx, text, n, &g);
    if (!st) st = mmi_token_table_create(ctx, model->tokenizer, (size_t)model->info.vocabulary, &table);
    if (!st) st = mmi_grammar_state_create(ctx, g, table, 0, &s);
    if (st) {
        printf("%s\n", mm_context_error(ctx));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    for (; fgets(line, sizeof line, stdin); fflush(stdout)) {
        int id = 0, count = 0;
        if (!strcmp(line, "mask\n")) {
            const uint64_t *mask = NULL;
            if (!mmi_grammar_state_mask(ctx, s, NULL, 0, &mask))
                for (size_t i = 0; i < table->vocabulary; i++)
                    if (is_allowed(mask, i)) printf("%zu ", i);
            puts(mmi_grammar_state_accepts(s) ? "-1" : "");
        } else if (sscanf(line, "accept %d", &id) == 1) {
            puts(mmi_grammar_state_accept(ctx, s, id) ? mm_context_error(ctx) : "ok");
        } else if (sscanf(line, "walk %d %d", &id, &count) == 2) {
            walk(ctx, s, table, (unsigned)id, count);
        } else {
            mmi_grammar_state_begin(s);
            puts("ok");
        }
    }
    return 0;
}
