/* Grammars in GBNF, llama.cpp's notation (its grammars/README.md describes it): what generated text must look like.
 *
 *   # a comment
 *   root   ::= "[" item ("," item)* "]"
 *   item   ::= [a-z_] [^\x00-\x1F,\]]{0,9} | "\u00e4" | .
 *
 * A grammar becomes a program over bytes with calls: what a pushdown automaton runs. Characters beyond ASCII are their UTF-8
 * sequences, so that a token may end in the middle of one. A rule that begins with itself is refused: the automaton reads
 * from left to right. SPDX-License-Identifier: MIT */
#ifndef MMI_GRAMMAR_H
#define MMI_GRAMMAR_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

enum {
    MMI_GRAMMAR_MAX_TEXT = 1 << 24,
    MMI_GRAMMAR_MAX_CODE = 1 << 20,  /* operations */
    MMI_GRAMMAR_MAX_DEPTH = 128,     /* of parentheses */
    MMI_GRAMMAR_MAX_REPEAT = 65535   /* of {m,n} */
};

typedef enum { MMI_GRAMMAR_BYTE, MMI_GRAMMAR_SPLIT, MMI_GRAMMAR_JUMP, MMI_GRAMMAR_CALL, MMI_GRAMMAR_RETURN } mmi_grammar_kind;

typedef struct {
    uint8_t kind;
    uint8_t low, high; /* BYTE: reads one of these, then goes on behind */
    int32_t to;        /* SPLIT: goes on behind and also at this distance; JUMP: there alone; CALL: the place of the rule */
} mmi_grammar_op;

typedef struct mmi_grammar mmi_grammar; /* immutable and reference-counted */

/* Compile text[0..n); `name` stands in messages. MM_E_FORMAT (with the line), MM_E_LIMIT, MM_E_NOMEM. */
mm_status mmi_grammar_create(mm_context *ctx, const char *name, const char *text, size_t n, mmi_grammar **out);
void mmi_grammar_retain(mmi_grammar *g);
void mmi_grammar_release(mmi_grammar *g); /* NULL allowed */

const mmi_grammar_op *mmi_grammar_code(const mmi_grammar *g);
int32_t mmi_grammar_root(const mmi_grammar *g); /* where its rule `root` begins */

#endif
