/* SPDX-License-Identifier: MIT */
#include "orientation.h"

#include <stdint.h>
#include <string.h>

enum { TAG_ORIENTATION = 274, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY = 12 };

static uint32_t get16(const unsigned char *p, int big) { return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0]; }
static uint32_t get32(const unsigned char *p, int big)
{
    return big ? get16(p, 1) << 16 | get16(p + 2, 1) : get16(p + 2, 0) << 16 | get16(p, 0);
}

unsigned mmi_orientation_from_exif(const unsigned char *data, size_t size)
{
    static const char prefix[6] = "Exif\0";
    size_t at;
    uint32_t entries;
    int big;

    for (int i = 0; i < 2 && size >= sizeof prefix && !memcmp(data, prefix, sizeof prefix); i++) {
        data += sizeof prefix;
        size -= sizeof prefix;
    }
    if (size < 10 || (memcmp(data, "II", 2) && memcmp(data, "MM", 2))) return 0;
    big = data[0] == 'M';
    if (get16(data + 2, big) != 42 && get16(data + 2, !big) != 42) return 0;
    at = get32(data + 4, big);
    if (at > size - 2) return 0;
    entries = get16(data + at, big);
    at += 2;
    for (; entries && size - at >= ENTRY; entries--, at += ENTRY) {
        const unsigned char *entry = data + at, *value = entry + 8;
        uint32_t type = get16(entry + 2, big), count = get32(entry + 4, big);
        uint64_t bytes = (uint64_t)count * (type == TYPE_SHORT ? 2 : 4);
        uint32_t found;

        if (get16(entry, big) != TAG_ORIENTATION || !count || (type != TYPE_SHORT && type != TYPE_LONG)) continue;
        if (bytes > 4) { /* several values: they stand elsewhere, and the first one counts */
            uint32_t offset = get32(value, big);
            if (offset > size || bytes > size - offset) continue;
            value = data + offset;
        }
        found = type == TYPE_SHORT ? get16(value, big) : get32(value, big);
        return found >= 2 && found <= 8 ? found : 1;
    }
    return 0;
}

unsigned mmi_orientation_from_xmp(const unsigned char *data, size_t size)
{
    static const char key[] = "tiff:Orientation";
    const size_t n = sizeof key - 1;

    while (size > n) {
        const unsigned char *p = memchr(data, key[0], size - n);
        if (!p) return 0;
        size -= (size_t)(p - data);
        data = p;
        if (!memcmp(p, key, n)) {
            size_t skip = p[n] == '>' ? 1 : size > n + 1 && p[n] == '=' && p[n + 1] == '"' ? 2 : 0;
            if (skip && size > n + skip && p[n + skip] >= '0' && p[n + skip] <= '9') return p[n + skip] - (unsigned)'0';
        }
        data++;
        size--;
    }
    return 0;
}

mm_status mmi_orientation_apply(mm_context *ctx, unsigned orientation, mmi_image **image)
{
    const mmi_image *from = *image;
    const size_t w = from->width, h = from->height;
    int turned = orientation >= 5; /* rows of the file become columns */
    int flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8; /* of the file's coordinates */
    int flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    mmi_image *to;
    mm_status st;

    if (orientation < 2 || orientation > 8) return MM_OK;
    st = mmi_image_create(ctx, turned ? h : w, turned ? w : h, &to);
    if (st) return st;
    /* Tiles keep both the rows that are read and the columns that are written in the cache. */
    for (size_t ty = 0; ty < to->height; ty += 32) {
        size_t y_end = ty + 32 < to->height ? ty + 32 : to->height;
        st = mmi_check_cancel(ctx);
        if (st) {
            mmi_image_destroy(to);
            return st;
        }
        for (size_t tx = 0; tx < to->width; tx += 32) {
            size_t x_end = tx + 32 < to->width ? tx + 32 : to->width;
            for (size_t y = ty; y < y_end; y++) {
                for (size_t x = tx; x < x_end; x++) {
                    size_t fx = turned ? y : x, fy = turned ? x : y;
                    if (flip_x) fx = w - 1 - fx;
                    if (flip_y) fy = h - 1 - fy;
                    memcpy(to->pixels + (y * to->width + x) * 3, from->pixels + (fy * w + fx) * 3, 3);
                }
            }
        }
    }
    mmi_image_destroy(*image);
    *image = to;
    return MM_OK;
}
