/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "size.h"

static int reserve(mm_context *ctx, mmi_text *t, size_t more)
{
    size_t need, cap = t->capacity ? t->capacity : 64;
    char *p;

    if (mmi_size_add(t->size, more, &need) || mmi_size_add(need, 1, &need)) {
        (void)mmi_fail(ctx, MM_E_NOMEM, "out of memory: text of more than %zu bytes", t->size);
        return 1;
    }
    if (need <= t->capacity) return 0;
    while (cap < need)
        if (mmi_size_mul(cap, 2, &cap)) cap = need;
    p = mmi_realloc(ctx, t->data, cap);
    if (!p) return 1;
    t->data = p;
    t->capacity = cap;
    return 0;
}

int mmi_text_append(mm_context *ctx, mmi_text *t, const char *bytes, size_t n)
{
    if (reserve(ctx, t, n)) return 1;
    if (n) memcpy(t->data + t->size, bytes, n);
    t->size += n;
    t->data[t->size] = 0;
    return 0;
}

int mmi_text_format(mm_context *ctx, mmi_text *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || reserve(ctx, t, (size_t)n)) return 1;
    va_start(args, format);
    (void)vsnprintf(t->data + t->size, (size_t)n + 1, format, args);
    va_end(args);
    t->size += (size_t)n;
    return 0;
}

void mmi_text_clear(mmi_text *t)
{
    mmi_free(t->data);
    t->data = NULL;
    t->size = t->capacity = 0;
}

size_t mmi_utf8_length(unsigned char lead)
{
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead < 0xE0) return 2;
    if ((lead & 0xF0) == 0xE0) return 3;
    if (lead >= 0xF0 && lead < 0xF5) return 4;
    return 0;
}

size_t mmi_utf8_decode(const char *s, size_t n, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    static const unsigned char lead_mask[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    size_t len = n ? mmi_utf8_length((unsigned char)s[0]) : 0;
    uint32_t c;

    if (!len || len > n) return 0;
    c = (unsigned char)s[0] & lead_mask[len];
    for (size_t i = 1; i < len; i++) {
        unsigned char b = (unsigned char)s[i];
        if ((b & 0xC0) != 0x80) return 0;
        c = c << 6 | (b & 0x3F);
    }
    if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 0;
    *code = c;
    return len;
}

size_t mmi_utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

size_t mmi_utf8_valid(const char *s, size_t n)
{
    size_t i = 0;
    uint32_t c;
    while (i < n) {
        size_t len = mmi_utf8_decode(s + i, n - i, &c);
        if (!len) return i;
        i += len;
    }
    return n;
}

int mmi_text_ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}
