/* Growing text, and UTF-8.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_TEXT_H
#define MMI_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"

/* Bytes with a NUL behind them once anything was appended. Starts as all zeros; free data with mmi_free. */
typedef struct {
    char *data;
    size_t size;     /* without the NUL */
    size_t capacity;
} mmi_text;

/* Nonzero when out of memory (recorded on ctx). */
int mmi_text_append(mm_context *ctx, mmi_text *text, const char *bytes, size_t n);
int mmi_text_format(mm_context *ctx, mmi_text *text, const char *format, ...) __attribute__((format(printf, 3, 4)));
void mmi_text_clear(mmi_text *text); /* frees the data */

/* Nonzero when `text` ends with `end`. */
int mmi_text_ends_with(const char *text, const char *end);

/* Decode one code point of s[0..n). Returns its length 1..4, or 0 for a malformed, overlong, surrogate or cut sequence
 * and for n == 0. */
size_t mmi_utf8_decode(const char *s, size_t n, uint32_t *code);
/* Write 1..4 bytes, return how many; code must be a scalar value. */
size_t mmi_utf8_encode(uint32_t code, char out[4]);
/* Bytes that the sequence starting with `lead` has: 1..4, or 0 for a byte that starts none. */
size_t mmi_utf8_length(unsigned char lead);
/* The offset of the first malformed byte, or n. */
size_t mmi_utf8_valid(const char *s, size_t n);

#endif
