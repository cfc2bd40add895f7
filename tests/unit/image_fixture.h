/* What the tests of src/image share: a context whose allocator counts and can fail, files, checksums, noise.
 * SPDX-License-Identifier: MIT */
#ifndef IMAGE_FIXTURE_H
#define IMAGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "context.h"
#include "mm_image.h"

#define IMAGES "tests/golden/images/"
#define VIDEOS "tests/golden/videos/"

typedef struct {
    size_t live;     /* blocks not yet freed */
    size_t made;     /* blocks asked for so far */
    size_t fail_at;  /* this one fails, counted from 1; 0: none */
    int fail_after;  /* and every later one */
    size_t largest;
} counting_heap;

static inline void *counting_alloc(void *user, size_t size, size_t alignment)
{
    counting_heap *h = user;
    void *p;

    h->made++;
    if (size > h->largest) h->largest = size;
    if (h->fail_at && (h->made == h->fail_at || (h->fail_after && h->made > h->fail_at))) return NULL;
    p = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (p) h->live++;
    return p;
}

static inline void counting_free(void *user, void *p, size_t size)
{
    (void)size;
    ((counting_heap *)user)->live--;
    free(p);
}

static inline mm_context *counting_context(counting_heap *h)
{
    const mm_hooks hooks = {sizeof hooks, counting_alloc, counting_free, h};
    mm_context *ctx = NULL;

    memset(h, 0, sizeof *h);
    assert_int_equal(mm_context_create(&hooks, &ctx), MM_OK);
    return ctx;
}

/* Destroy the context and check that nothing is left of it. */
static inline void counting_end(mm_context *ctx, const counting_heap *h)
{
    mm_context_destroy(ctx);
    assert_int_equal(h->live, 0);
}

/* CRC-32 as zlib computes it. */
static inline uint32_t crc32_of(const void *data, size_t n)
{
    const unsigned char *p = data;
    uint32_t c = 0xFFFFFFFF;

    while (n--) {
        c ^= *p++;
        for (int i = 0; i < 8; i++) c = c >> 1 ^ (c & 1 ? 0xEDB88320 : 0);
    }
    return ~c;
}

/* A whole file; the caller frees it. */
static inline unsigned char *load(const char *name, size_t *size)
{
    char path[256];
    unsigned char *data;
    FILE *f;

    (void)snprintf(path, sizeof path, IMAGES "%s", name);
    f = fopen(path, "rb");
    assert_non_null(f);
    data = malloc(1 << 20);
    assert_non_null(data);
    *size = fread(data, 1, 1 << 20, f);
    (void)fclose(f);
    return data;
}

/* The picture that noise() of make_images.py makes. */
static inline mm_image *noise_image(mm_context *ctx, size_t width, size_t height)
{
    const size_t n = width * height * 3;
    uint32_t state = (uint32_t)(width * 65536 + height);
    unsigned char *pixels = malloc(n);
    mm_image *image = NULL;

    assert_non_null(pixels);
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        pixels[i] = (unsigned char)(state >> 24);
    }
    assert_int_equal(mm_image_create(ctx, (int64_t)width, (int64_t)height, pixels, &image), MM_OK);
    free(pixels);
    return image;
}

static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Decode what may be anything: either a picture, or a failure with a sentence and no picture. */
static inline mm_status decode_any(mm_context *ctx, const void *data, size_t size)
{
    mm_image *image = NULL;
    mm_status st;

    st = mm_image_decode(ctx, data, size, 1 << 20, &image);
    if (st) {
        assert_null(image);
        assert_true(strlen(mm_context_error(ctx)) > 0);
    } else {
        assert_true(mm_image_width(image) > 0 && mm_image_height(image) > 0);
    }
    mm_image_destroy(image);
    return st;
}

/* Call `each` with every file of decode.txt whose name begins with `prefix`. */
typedef void (*each_file)(mm_context *ctx, const char *name, size_t width, size_t height, uint32_t crc);
static inline size_t for_each_file(mm_context *ctx, const char *prefix, each_file each)
{
    FILE *list = fopen(IMAGES "decode.txt", "r");
    char name[128];
    size_t w, h, n = 0;
    unsigned crc;

    assert_non_null(list);
    while (fscanf(list, "%127s %zu %zu %x", name, &w, &h, &crc) == 4) {
        if (strncmp(name, prefix, strlen(prefix))) continue;
        each(ctx, name, w, h, crc);
        n++;
    }
    (void)fclose(list);
    return n;
}

static inline void check_golden(mm_context *ctx, const char *name, size_t width, size_t height, uint32_t crc)
{
    char path[256];
    mm_image *image = NULL;
    size_t got_width, got_height;
    uint32_t got_crc;

    (void)snprintf(path, sizeof path, IMAGES "%s", name);
    if (mm_image_read(ctx, path, 0, &image)) fail_msg("%s", mm_context_error(ctx));
    got_width = (size_t)mm_image_width(image);
    got_height = (size_t)mm_image_height(image);
    got_crc = crc32_of(mm_image_pixels(image), got_width * got_height * 3);
    if (got_width != width || got_height != height || got_crc != crc)
        fail_msg("%s: %zu x %zu pixels with checksum %08x, expected %zu x %zu with %08x", name, got_width, got_height, got_crc, width,
                 height, crc);
    mm_image_destroy(image);
}

/* Cut the file at every length. The longest beginnings may still hold all pixels; `needed` says from where on. */
static inline void check_cut_anywhere(mm_context *ctx, const unsigned char *data, size_t size, size_t needed)
{
    for (size_t n = 0; n < size; n++) {
        unsigned char *copy = malloc(n ? n : 1); /* its own block, so that a sanitizer sees reads past the end */
        mm_status st;

        assert_non_null(copy);
        memcpy(copy, data, n);
        st = decode_any(ctx, copy, n);
        if (n < needed) assert_true(st == MM_E_FORMAT || st == MM_E_UNSUPPORTED);
        free(copy);
    }
}

/* Flip `flips` bits, one to eight at a time. */
static inline void check_flipped_bits(mm_context *ctx, const unsigned char *data, size_t size, int flips, uint32_t seed)
{
    unsigned char *copy = malloc(size);

    assert_non_null(copy);
    for (int i = 0; i < flips; i++) {
        int bits = 1 + (int)(next_random(&seed) % 8);
        memcpy(copy, data, size);
        while (bits--) copy[next_random(&seed) % size] ^= (unsigned char)(1u << next_random(&seed) % 8);
        (void)decode_any(ctx, copy, size);
    }
    free(copy);
}

/* Fail the first allocation of decoding, then the second, and so on until decoding succeeds: once each, then from there on. */
static inline void check_out_of_memory(const unsigned char *data, size_t size)
{
    for (int after = 0; after < 2; after++) {
        counting_heap heap;
        mm_context *ctx = counting_context(&heap);
        mm_status st = MM_E_NOMEM;

        for (size_t n = 1; st; n++) {
            size_t live = heap.live;
            mm_image *image = NULL;

            assert_true(n < 1000);
            heap.fail_at = heap.made + n;
            heap.fail_after = after;
            st = mm_image_decode(ctx, data, size, 0, &image);
            heap.fail_at = 0;
            if (st) {
                assert_int_equal(st, MM_E_NOMEM);
                assert_null(image);
                assert_non_null(strstr(mm_context_error(ctx), "out of memory"));
            } else {
                assert_true(n > 1);
            }
            mm_image_destroy(image);
            assert_int_equal(heap.live, live);
        }
        counting_end(ctx, &heap);
    }
}

/* The context of a test, and its heap: nothing is left of it after each. */
static mm_context *ctx;
static counting_heap heap;

static int setup(void **state)
{
    (void)state;
    ctx = counting_context(&heap);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    counting_end(ctx, &heap);
    return 0;
}

#endif
