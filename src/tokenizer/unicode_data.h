/* What the Hugging Face `tokenizers` package believes about code points.
 *
 * That package mixes several versions of Unicode: its regular expressions use 16, BERT's categories 8, the normalization
 * forms 9. Ids are equal only where these are too, so the answers here do not depend on the Unicode of the installed
 * utf8proc or PCRE2. SPDX-License-Identifier: MIT */
#ifndef MMI_UNICODE_DATA_H
#define MMI_UNICODE_DATA_H

#include <stddef.h>
#include <stdint.h>

int mmi_unicode_is_space(uint32_t code);   /* White_Space */
int mmi_unicode_is_numeric(uint32_t code); /* categories Nd, Nl, No */
int mmi_unicode_is_word(uint32_t code);    /* \w: alphabetic, marks, decimal digits, connectors, joiners */
int mmi_unicode_is_mark(uint32_t code);    /* what StripAccents removes */

int mmi_unicode_is_bert_removed(uint32_t code); /* clean_text drops it */
int mmi_unicode_is_bert_mark(uint32_t code);    /* strip_accents drops it */
int mmi_unicode_is_bert_punctuation(uint32_t code);
int mmi_unicode_is_bert_chinese(uint32_t code);

/* Left alone by the normalization forms, whatever a newer Unicode says. */
int mmi_unicode_is_inert(uint32_t code);

/* Kinds of UAX 29. */
int mmi_unicode_is_grapheme_extend(uint32_t code);  /* Extend, SpacingMark, ZWJ */
int mmi_unicode_is_grapheme_control(uint32_t code); /* Control, CR, LF, below U+10000 */
int mmi_unicode_is_grapheme_prepend(uint32_t code);

/* The small letter or letters (1 or 2), without regard to context; the number of them. */
size_t mmi_unicode_lower(uint32_t code, uint32_t out[2]);

/* A code point of the same category and UTF-8 length that every supported PCRE2 knows, for one whose category is newer
 * or that PCRE2's \s takes and the package's does not; else `code` itself. */
uint32_t mmi_unicode_stand_in(uint32_t code);

#endif
