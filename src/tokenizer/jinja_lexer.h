/* The tokens of a chat template: data, and what stands in {{ }} and {% %}, with trim_blocks and lstrip_blocks; comments and {% raw %} are dealt
 * with here. SPDX-License-Identifier: MIT */
#ifndef MMI_JINJA_LEXER_H
#define MMI_JINJA_LEXER_H

#include <stddef.h>
#include <stdint.h>

#include "jinja_value.h"

enum { MMI_JINJA_MAX_NESTING = 100 }; /* brackets of a tag, and blocks */

typedef enum {
    MMI_TOKEN_EOF,
    MMI_TOKEN_DATA,
    MMI_TOKEN_PRINT_BEGIN,
    MMI_TOKEN_PRINT_END,
    MMI_TOKEN_BLOCK_BEGIN,
    MMI_TOKEN_BLOCK_END,
    MMI_TOKEN_NAME,
    MMI_TOKEN_STRING,
    MMI_TOKEN_INT,
    MMI_TOKEN_FLOAT,
    MMI_TOKEN_OPERATOR
} mmi_jinja_token_kind;

typedef enum { /* single characters stand for themselves */
    MMI_OP_FLOOR_DIVIDE = 256,
    MMI_OP_POWER,
    MMI_OP_EQ,
    MMI_OP_NE,
    MMI_OP_GE,
    MMI_OP_LE
} mmi_jinja_operator;

typedef struct {
    mmi_jinja_token_kind kind;
    int op;
    uint32_t line;
    const char *text; /* of a name or data, as in the source */
    size_t size;
    mmi_jinja_value value; /* of a literal */
} mmi_jinja_token;

typedef struct {
    mmi_jinja_run run; /* its arena becomes the program's */
    const char *source;
    size_t size, at;
    uint32_t line;
    enum { MMI_LEX_DATA, MMI_LEX_PRINT, MMI_LEX_BLOCK } mode;
    char closers[MMI_JINJA_MAX_NESTING]; /* that the open brackets of this tag wait for */
    int open;
} mmi_jinja_lexer;

/* The functions below return nonzero on failure, which is in lexer->run. */

/* Take a copy of text[0..n), valid UTF-8, with \n for every line break and without the last one. `run` was set up. */
int mmi_jinja_lexer_begin(mmi_jinja_lexer *lexer, const char *text, size_t n);

/* The next token; MMI_TOKEN_EOF again and again at the end. */
int mmi_jinja_lex(mmi_jinja_lexer *lexer, mmi_jinja_token *token);

/* Fail with a sentence about a line; nonzero. */
int mmi_jinja_fail_at(mmi_jinja_lexer *lexer, uint32_t line, const char *what);

#endif
