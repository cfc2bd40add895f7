/* All units are checked when they are loaded, so that a search needs no bounds: the array is padded to whole blocks of
 * 256, and a unit's children stand in the block of its base. SPDX-License-Identifier: MIT */
#include "charsmap.h"

#include <string.h>

#include "size.h"
#include "unicode_data.h"

enum { BLOCK = 256, LONGEST_LOOKUP = 5 /* bytes of a grapheme cluster that is looked up as a whole */ };

#define LEAF (1u << 31)

struct mmi_charsmap {
    uint32_t *units;
    size_t count; /* a multiple of BLOCK */
    mmi_text texts;
};

void mmi_charsmap_destroy(mmi_charsmap *m)
{
    if (!m) return;
    mmi_free(m->units);
    mmi_text_clear(&m->texts);
    mmi_free(m);
}

/* ---- loading ---- */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static mm_status decode_base64(mm_context *ctx, const char *where, const char *text, mmi_text *out)
{
    size_t n = strlen(text), digits = n;
    uint32_t bits = 0;

    while (digits && n - digits < 2 && text[digits - 1] == '=') digits--;
    if (n % 4) return mmi_fail(ctx, MM_E_FORMAT, "%s: precompiled_charsmap is no base64: %zu characters", where, n);
    for (size_t i = 0; i < digits; i++) {
        int value = base64_digit(text[i]);
        char byte;
        if (value < 0) return mmi_fail(ctx, MM_E_FORMAT, "%s: precompiled_charsmap is no base64 at character %zu", where, i);
        bits = bits << 6 | (uint32_t)value;
        byte = (char)(unsigned char)(bits >> (6 - 2 * (i % 4)) % 8);
        if (i % 4 && mmi_text_append(ctx, out, &byte, 1)) return MM_E_NOMEM;
    }
    return MM_OK;
}

static uint32_t read_u32(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static size_t base_of(const mmi_charsmap *m, size_t at)
{
    uint32_t unit = m->units[at];
    return at ^ (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

static int has_leaf(uint32_t unit) { return unit >> 8 & 1; }

static mm_status check(mm_context *ctx, const char *where, const mmi_charsmap *m)
{
    for (size_t i = 0; i < m->count; i++) {
        size_t base, text;
        if (i && m->units[i] & LEAF) continue; /* a search begins at unit 0, whatever it says */
        base = base_of(m, i);
        if (base >= m->count)
            return mmi_fail(ctx, MM_E_FORMAT, "%s: precompiled_charsmap: unit %zu leads to unit %zu of %zu", where, i, base, m->count);
        if (!has_leaf(m->units[i])) continue;
        text = m->units[base] & ~LEAF;
        if (text > m->texts.size || (text < m->texts.size && ((unsigned char)m->texts.data[text] & 0xC0) == 0x80))
            return mmi_fail(ctx, MM_E_FORMAT, "%s: precompiled_charsmap: unit %zu leads to byte %zu, where none of the replacements' %zu begins a character",
                            where, i, text, m->texts.size);
    }
    return MM_OK;
}

mm_status mmi_charsmap_load(mm_context *ctx, const char *where, const char *base64, mmi_charsmap **out)
{
    mmi_charsmap *m = mmi_zalloc(ctx, sizeof *m);
    mmi_text bytes = {0};
    size_t size, malformed;
    mm_status st;

    *out = NULL;
    if (!m) return MM_E_NOMEM;
    st = decode_base64(ctx, where, base64, &bytes);
    if (st) goto cleanup;
    size = bytes.size < 4 ? 0 : read_u32(bytes.data);
    if (size < 4 || size > bytes.size - 4) {
        st = mmi_fail(ctx, MM_E_FORMAT, "%s: precompiled_charsmap has %zu bytes, of which %zu are to be its array", where, bytes.size, size);
        goto cleanup;
    }
    m->count = (size / 4 + BLOCK - 1) / BLOCK * BLOCK;
    m->units = mmi_zalloc_array(ctx, m->count, sizeof *m->units);
    size = size / 4 * 4 + 4;
    if (!m->units || mmi_text_append(ctx, &m->texts, bytes.data + size, bytes.size - size)) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    for (size_t i = 4; i < size; i += 4) m->units[i / 4 - 1] = read_u32(bytes.data + i);
    malformed = mmi_utf8_valid(m->texts.data, m->texts.size);
    if (malformed < m->texts.size)
        st = mmi_fail(ctx, MM_E_FORMAT, "%s: precompiled_charsmap: the replacements are not UTF-8 at byte %zu", where, malformed);
    if (!st) st = check(ctx, where, m);
    if (st) goto cleanup;
    *out = m;
    m = NULL;
cleanup:
    mmi_text_clear(&bytes);
    mmi_charsmap_destroy(m);
    return st;
}

/* ---- running ---- */

/* What the shortest string of the map that begins text[0..n) becomes; NULL for none. */
static const char *find(const mmi_charsmap *m, const char *text, size_t n)
{
    size_t at = base_of(m, 0);

    for (size_t i = 0; i < n && text[i]; i++) {
        uint32_t unit;
        at ^= (unsigned char)text[i];
        unit = m->units[at];
        if ((unit & (LEAF | 0xFF)) != (unsigned char)text[i]) return NULL;
        at = base_of(m, at);
        if (has_leaf(unit)) return m->texts.data + (m->units[at] & ~LEAF);
    }
    return NULL;
}

/* The size of the extended grapheme cluster (UAX 29) that begins text[0..n). The rules for Hangul, flags, emoji sequences
 * and Indic conjuncts are left out: what they join is longer than LONGEST_LOOKUP. */
static size_t cluster(const char *text, size_t n)
{
    uint32_t code = 0, next = 0;
    size_t size = mmi_utf8_decode(text, n, &code);

    if (code == '\r') return n > 1 && text[1] == '\n' ? 2 : 1;
    while (size < n) {
        size_t len;
        if ((unsigned char)text[size] < 0x80 && !mmi_unicode_is_grapheme_prepend(code)) break;
        if (mmi_unicode_is_grapheme_control(code)) break;
        len = mmi_utf8_decode(text + size, n - size, &next);
        if (mmi_unicode_is_grapheme_control(next)) break;
        if (!mmi_unicode_is_grapheme_extend(next) && !mmi_unicode_is_grapheme_prepend(code)) break;
        size += len;
        code = next;
    }
    return size;
}

int mmi_charsmap_run(mm_context *ctx, const mmi_charsmap *m, const char *in, size_t n, mmi_text *out)
{
    size_t i = 0, size, len;
    uint32_t code = 0;

    for (; i < n; i += size) {
        const char *text = NULL;
        size = cluster(in + i, n - i);
        if (size <= LONGEST_LOOKUP) text = find(m, in + i, size);
        if (text) {
            if (mmi_text_append(ctx, out, text, strlen(text))) return 1;
            continue;
        }
        for (size_t k = 0; k < size; k += len) {
            len = mmi_utf8_decode(in + i + k, n - i - k, &code);
            text = find(m, in + i + k, len);
            if (mmi_text_append(ctx, out, text ? text : in + i + k, text ? strlen(text) : len)) return 1;
        }
    }
    return 0;
}
