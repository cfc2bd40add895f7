/* SPDX-License-Identifier: MIT */
#include "unicode_data.h"

#include <utf8proc.h>

typedef struct {
    uint32_t first, last;
} code_range;

typedef enum {
    KIND_NONE, KIND_LU, KIND_LL, KIND_LT, KIND_LM, KIND_LO, KIND_HAN, KIND_MN, KIND_MC, KIND_ME, KIND_ND, KIND_NL, KIND_NO, KIND_PC,
    KIND_PD, KIND_PS, KIND_PE, KIND_PI, KIND_PF, KIND_PO, KIND_SM, KIND_SC, KIND_SK, KIND_SO, KIND_CF
} kind;

typedef struct {
    uint32_t first, last;
    kind kind;
} newer_range;

typedef struct {
    uint32_t first, last;
    int32_t distance;
} lower_range;

#include "unicode_tables.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

static int in_table(const code_range *table, size_t count, uint32_t code)
{
    size_t low = 0, high = count;

    if (code < table[0].first) return 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (code > table[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && code >= table[low].first;
}

static kind newer_kind(uint32_t code)
{
    size_t low = 0, high = COUNT(newer);

    if (code < newer[0].first) return KIND_NONE;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (code > newer[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < COUNT(newer) && code >= newer[low].first ? newer[low].kind : KIND_NONE;
}

int mmi_unicode_is_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

int mmi_unicode_is_numeric(uint32_t c)
{
    kind k;
    utf8proc_category_t category;

    if (c < 0x80) return c >= '0' && c <= '9';
    if ((c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6)) return 1; /* Unicode 17, which this test alone has */
    k = newer_kind(c);
    if (k) return k == KIND_ND || k == KIND_NL || k == KIND_NO;
    category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

int mmi_unicode_is_word(uint32_t c)
{
    kind k;

    if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (c == 0x200C || c == 0x200D) return 1;
    /* circled and squared letters: symbols that are alphabetic */
    if ((c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189))
        return 1;
    k = newer_kind(c);
    if (k) return k <= KIND_NL || k == KIND_PC;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return 1;
    default: return 0;
    }
}

int mmi_unicode_is_mark(uint32_t c) { return in_table(combining_marks, COUNT(combining_marks), c); }
int mmi_unicode_is_inert(uint32_t c) { return in_table(inert, COUNT(inert), c); }
int mmi_unicode_is_grapheme_extend(uint32_t c) { return in_table(grapheme_extend, COUNT(grapheme_extend), c); }
int mmi_unicode_is_grapheme_control(uint32_t c) { return in_table(grapheme_control, COUNT(grapheme_control), c); }
int mmi_unicode_is_grapheme_prepend(uint32_t c) { return in_table(grapheme_prepend, COUNT(grapheme_prepend), c); }
int mmi_unicode_is_bert_removed(uint32_t c) { return in_table(bert_removed, COUNT(bert_removed), c); }
int mmi_unicode_is_bert_mark(uint32_t c) { return in_table(bert_marks, COUNT(bert_marks), c); }
int mmi_unicode_is_bert_punctuation(uint32_t c) { return in_table(bert_punctuation, COUNT(bert_punctuation), c); }

int mmi_unicode_is_bert_chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
           (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

size_t mmi_unicode_lower(uint32_t c, uint32_t out[2])
{
    out[0] = c;
    if (c < 0x80) {
        if (c >= 'A' && c <= 'Z') out[0] = c + 32;
        return 1;
    }
    if (c == 0x130) { /* the one letter with a longer small form */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    for (size_t i = 0; i < COUNT(newer_lower); i++)
        if (c >= newer_lower[i].first && c <= newer_lower[i].last) {
            out[0] = (uint32_t)((int32_t)c + newer_lower[i].distance);
            return 1;
        }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

uint32_t mmi_unicode_stand_in(uint32_t c)
{
    /* One of three and one of four bytes for each kind, all of Unicode 13 or older. */
    static const uint32_t names[][2] = {
        [KIND_NONE] = {0, 0},       [KIND_LU] = {0x1E00, 0x10400}, [KIND_LL] = {0x1E01, 0x10428}, [KIND_LT] = {0x1F88, 0},
        [KIND_LM] = {0x1D2C, 0x16F93}, [KIND_LO] = {0xA000, 0x10280}, [KIND_HAN] = {0x4E00, 0x20000}, [KIND_MN] = {0x1DC0, 0x1D167},
        [KIND_MC] = {0x0903, 0x1D165}, [KIND_ME] = {0x1ABE, 0},     [KIND_ND] = {0x0966, 0x104A0}, [KIND_NL] = {0x2160, 0x10140},
        [KIND_NO] = {0x2460, 0x10107}, [KIND_PC] = {0x203F, 0},     [KIND_PD] = {0x2013, 0x10EAD},       [KIND_PS] = {0x2045, 0},
        [KIND_PE] = {0x2046, 0},    [KIND_PI] = {0x201C, 0},        [KIND_PF] = {0x201D, 0},       [KIND_PO] = {0x2022, 0x10100},
        [KIND_SM] = {0x2200, 0x1D6C1}, [KIND_SC] = {0x20A0, 0},     [KIND_SK] = {0x309B, 0x1F3FB}, [KIND_SO] = {0x2190, 0x1F300},
        [KIND_CF] = {0x200B, 0x1D173},
    };
    kind k = c == 0x180E ? KIND_CF : newer_kind(c);
    uint32_t to = names[k][c >= 0x10000];
    return to && c >= 0x800 ? to : c;
}
