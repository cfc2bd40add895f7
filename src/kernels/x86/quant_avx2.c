/* Block-quantized linear with AVX2.
 *
 * vpmaddubsw adds two products of an unsigned by a signed byte into 16 bits, saturating. Codes of up to 4, of 5 and of 6 bits leave
 * room to add up 8, 4 and 2 such results before they are widened to 32 bits; 8-bit codes are made signed, their sign is moved
 * to the activation, and 2 * 128 * 127 just fits.
 * The arithmetic is stated in quant_layout.h. SPDX-License-Identifier: MIT */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "block_quant.h"
#include "kernels.h"
#include "quant_layout.h"
#include "unroll.h"

enum { ROWS = 64, PREFETCH = 2048 }; /* activation rows whose sums are held at a time; bytes read ahead */

/* A block with its codes one a byte: c[k4][half] holds 8 rows x 4 columns. */
typedef struct {
    __m256i c[8][2];
    __m256 scale[2][2], min[2][2]; /* [columns 0..15 or 16..31][half]; the same unless the format has halves */
} block;

static inline int32_t load32(const void *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}

static ALWAYS_INLINE __m256i load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static ALWAYS_INLINE __m256 load_f16(const uint8_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
static ALWAYS_INLINE __m256 load_u8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
static ALWAYS_INLINE __m256 load_i8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
/* A float x_step bytes times r further on: the same block of another row of activations. */
static ALWAYS_INLINE __m256 row_float(const float *p, size_t r, size_t x_step)
{
    return _mm256_set1_ps(*(const float *)((const char *)p + r * x_step));
}
static ALWAYS_INLINE __m256 row_scaled_sum(mmi_quant_format f, mmi_quant_row x, size_t b, const int h, size_t r, size_t x_step)
{
    if (f.halves == 1) return row_float(x.scaled_sums + b, r, x_step);
    return _mm256_mul_ps(row_float(x.scales + b, r, x_step), _mm256_set1_ps(*(const int16_t *)((const char *)(x.sums + 2 * b + h) + r * x_step)));
}

/* Codes of one half of the rows. Those of 8 bits and of a codebook become signed. */
static ALWAYS_INLINE void load_codes(mmi_quant_format f, const uint8_t *p, __m256i *c, const int step)
{
    const __m256i low = _mm256_set1_epi8(15);
    const int bits = f.bits;

    if (bits <= 3) {
        UNROLL
        for (int k4 = 0; k4 < 8; k4++) {
            c[k4 * step] = _mm256_and_si256(_mm256_srli_epi16(load(p + k4 / 4 * 64), k4 % 4 * 2), _mm256_set1_epi8(3));
            if (bits == 3) { /* the high bit is moved to bit 2 */
                __m256i h = load(p + 128);
                h = k4 <= 2 ? _mm256_slli_epi16(h, 2 - k4) : _mm256_srli_epi16(h, k4 - 2);
                c[k4 * step] = _mm256_or_si256(c[k4 * step], _mm256_and_si256(h, _mm256_set1_epi8(4)));
            }
        }
        return;
    }
    if (bits == 8) {
        UNROLL
        for (int k4 = 0; k4 < 8; k4++) c[k4 * step] = _mm256_xor_si256(load(p + 64 * k4), _mm256_set1_epi8((char)0x80));
        return;
    }
    UNROLL
    for (int j = 0; j < 4; j++) {
        __m256i v = load(p + 64 * j);
        c[j * step] = _mm256_and_si256(v, low);
        c[(4 + j) * step] = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    }
    if (f.codebook) {
        __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)mmi_iq4_nl_values));
        UNROLL
        for (int k4 = 0; k4 < 8; k4++) c[k4 * step] = _mm256_shuffle_epi8(values, c[k4 * step]);
    }
    if (bits == 4) return;

    UNROLL
    for (int k4 = 0; k4 < 8; k4++) { /* the high bits are moved to bit 4 and put in */
        int from = bits == 5 ? k4 : k4 % 4 * 2;
        __m256i h = load(p + 256 + (bits == 5 ? 0 : k4 / 4 * 64));
        h = from <= 4 ? _mm256_slli_epi16(h, 4 - from) : _mm256_srli_epi16(h, from - 4);
        c[k4 * step] = _mm256_or_si256(c[k4 * step], _mm256_and_si256(h, _mm256_set1_epi8(bits == 5 ? 0x10 : 0x30)));
    }
}

static ALWAYS_INLINE void load_scales(mmi_quant_format f, mmi_quant_group g, size_t b, const int half, block *out)
{
    const uint8_t *s = g.scales + b * f.scale_bytes, *d = g.super + b / 8 * f.super_bytes;
    const int o8 = 8 * half, o16 = 16 * half; /* bytes to the half's u8 and f16 */

    out->min[0][half] = out->min[1][half] = _mm256_setzero_ps();
    if (!f.is_k) {
        out->scale[0][half] = out->scale[1][half] = load_f16(s + o16);
        if (f.has_min) out->min[0][half] = load_f16(s + 32 + o16);
    } else if (f.has_min) {
        __m256 negative_dmin = _mm256_xor_ps(load_f16(d + 32 + o16), _mm256_set1_ps(-0.0f));
        if (f.halves == 2) {
            UNROLL
            for (int h = 0; h < 2; h++) {
                __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(s + 16 * h + o8)));
                out->scale[h][half] = _mm256_mul_ps(load_f16(d + o16), _mm256_cvtepi32_ps(_mm256_and_si256(v, _mm256_set1_epi32(15))));
                out->min[h][half] = _mm256_mul_ps(negative_dmin, _mm256_cvtepi32_ps(_mm256_srli_epi32(v, 4)));
            }
            return;
        }
        out->scale[0][half] = out->scale[1][half] = _mm256_mul_ps(load_f16(d + o16), load_u8(s + o8));
        out->min[0][half] = _mm256_mul_ps(negative_dmin, load_u8(s + 16 + o8));
    } else {
        out->scale[0][half] = _mm256_mul_ps(load_f16(d + o16), load_i8(s + o8));
        out->scale[1][half] = _mm256_mul_ps(load_f16(d + o16), load_i8(s + 16 + o8));
    }
}

static ALWAYS_INLINE void load_block(int32_t dtype, mmi_quant_group g, size_t b, block *out)
{
    const mmi_quant_format f = mmi_quant_format_of(dtype);

    UNROLL
    for (int half = 0; half < 2; half++) {
        load_codes(f, g.codes + b * f.code_bytes + 32 * half, &out->c[0][half], 2);
        load_scales(f, g, b, half, out);
    }
}

/* Integer sums of k4 from `first` to `last`, for n rows of activations (constant) and both halves of the weights' rows. */
static ALWAYS_INLINE void sum_codes(mmi_quant_format f, const block *w, const int first, const int last, const int8_t *codes,
                                    const int16_t *sums, size_t x_step, __m256i sum[4][2], const int n)
{
    const int wide = f.bits == 8 || f.codebook, room = wide ? 1 : f.bits == 6 ? 2 : f.bits == 5 || f.halves == 2 ? 4 : 8; /* results that fit into 16 bits */
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i part[4][2];

    UNROLL
    for (int r = 0; r < n; r++) {
        sum[r][0] = sum[r][1] = _mm256_setzero_si256();
        if (f.zero && !wide) { /* -zero times the one or two sums that belong to these columns */
            uint32_t z = (uint16_t)-f.zero, pair = (first == 0 ? z : 0) | (last == 8 ? z << 16 : 0);
            __m256i s = _mm256_set1_epi32(load32((const char *)sums + (size_t)r * x_step));
            sum[r][0] = sum[r][1] = _mm256_madd_epi16(s, _mm256_set1_epi32((int32_t)pair));
        }
    }
    UNROLL
    for (int k4 = first; k4 < last; k4++) {
        UNROLL
        for (int r = 0; r < n; r++) {
            __m256i x = _mm256_set1_epi32(load32(codes + 4 * k4 + (size_t)r * x_step));
            UNROLL
            for (int half = 0; half < 2; half++) {
                __m256i c = w->c[k4][half], *p = &part[r][half];
                __m256i two = wide ? _mm256_maddubs_epi16(_mm256_abs_epi8(c), _mm256_sign_epi8(x, c))
                                   : _mm256_maddubs_epi16(c, x);
                *p = (k4 - first) % room ? _mm256_add_epi16(*p, two) : two;
                /* Added in this order: a tree of all sums, which compilers like, needs more registers than there are. */
                __asm__("" : "+x"(*p));
                if ((k4 - first) % room == room - 1) sum[r][half] = _mm256_add_epi32(sum[r][half], _mm256_madd_epi16(*p, ones));
            }
        }
    }
}

/* Add one block to the outputs of n rows (constant) of activations, x_step bytes apart; acc is 16 floats a row. */
static ALWAYS_INLINE void add_block(int32_t dtype, const block *w, mmi_quant_row x, size_t x_step, size_t b,
                                    float (*acc)[16], const int n)
{
    const mmi_quant_format f = mmi_quant_format_of(dtype);

    UNROLL
    for (int h = 0; h < f.halves; h++) {
        __m256i sum[4][2];

        sum_codes(f, w, 4 * h, f.halves == 2 ? 4 * h + 4 : 8, x.codes + b * MMI_QUANT_BLOCK, x.sums + 2 * b, x_step, sum, n);
        UNROLL
        for (int r = 0; r < n; r++) {
            __m256 x_scale = row_float(x.scales + b, (size_t)r, x_step);
            UNROLL
            for (int half = 0; half < 2; half++) {
                __m256 a = _mm256_loadu_ps(acc[r] + 8 * half);
                a = _mm256_fmadd_ps(_mm256_mul_ps(w->scale[h][half], x_scale), _mm256_cvtepi32_ps(sum[r][half]), a);
                if (f.has_min) a = _mm256_fmadd_ps(w->min[h][half], row_scaled_sum(f, x, b, h, (size_t)r, x_step), a);
                _mm256_storeu_ps(acc[r] + 8 * half, a);
            }
        }
    }
}

static void store_outputs(const mmi_quant_tile *t, size_t g, size_t row, const float acc[16])
{
    size_t left = t->rows - g * MMI_PACK_ROWS;
    memcpy(t->y + row * t->ldy + g * MMI_PACK_ROWS, acc, (left < MMI_PACK_ROWS ? left : MMI_PACK_ROWS) * sizeof *acc);
}

static ALWAYS_INLINE void linear(int32_t dtype, const mmi_quant_tile *t)
{
    const mmi_quant_format f = mmi_quant_format_of(dtype);
    size_t group_bytes = mmi_pack_group_bytes(dtype, t->cols), row_bytes = mmi_quant_row_bytes(t->cols);

    for (size_t m0 = 0; m0 < t->m; m0 += ROWS) {
        size_t n = t->m - m0 < ROWS ? t->m - m0 : ROWS;
        const char *x = (const char *)t->x + m0 * row_bytes;

        for (size_t i = t->group0; i < t->group1; i++) {
            mmi_quant_group g = mmi_quant_group_at(dtype, (const char *)t->packed + i * group_bytes, t->cols);
            float acc[ROWS][16];

            memset(acc, 0, n * sizeof *acc);
            for (size_t b = 0; b < t->cols / MMI_QUANT_BLOCK; b++) {
                block w;
                size_t r = 0;
                for (size_t line = 0; line < f.code_bytes; line += 64)
                    _mm_prefetch((const char *)g.codes + b * f.code_bytes + PREFETCH + line, _MM_HINT_T0);
                load_block(dtype, g, b, &w);
                for (; r + 4 <= n; r += 4)
                    add_block(dtype, &w, mmi_quant_row_at(x + r * row_bytes, t->cols), row_bytes, b, acc + r, 4);
                for (; r < n; r++) add_block(dtype, &w, mmi_quant_row_at(x + r * row_bytes, t->cols), 0, b, acc + r, 1);
            }
            for (size_t r = 0; r < n; r++) store_outputs(t, i, m0 + r, acc[r]);
        }
    }
}

static void quant_linear(const mmi_quant_tile *t)
{
    MMI_QUANT_SWITCH(linear, t)
}

static int32_t sum8(__m256i v)
{
    v = _mm256_add_epi32(v, _mm256_shuffle_epi32(v, 0xB1));
    v = _mm256_add_epi32(v, _mm256_shuffle_epi32(v, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

static uint32_t max8(__m256i v)
{
    v = _mm256_max_epu32(v, _mm256_shuffle_epi32(v, 0xB1));
    v = _mm256_max_epu32(v, _mm256_shuffle_epi32(v, 0x4E));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

static void quantize_row(const float *x, size_t n, size_t span, void *row)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    int8_t *codes = row;
    size_t blocks = n / MMI_QUANT_BLOCK;
    float *scales = (float *)((char *)row + mmi_quant_row_code_bytes(n)), *scaled_sums = scales + blocks, scale = 0, inverse = 0;
    int16_t *sums = (int16_t *)(scaled_sums + blocks);
    int some = 0;

    for (size_t b = 0; b < blocks; b++, x += MMI_QUANT_BLOCK, codes += MMI_QUANT_BLOCK, sums += 2) {
        __m256i q[4];

        if (b % span == 0) {
            __m256i most = _mm256_setzero_si256();
            uint32_t bits;
            float largest;
            int finite;

            /* Magnitudes order as integers, infinity and NaN above all others. */
            for (size_t i = 0; i < (span < blocks - b ? span : blocks - b) * MMI_QUANT_BLOCK; i += 8)
                most = _mm256_max_epu32(most, _mm256_and_si256(load((const uint8_t *)(x + i)), _mm256_set1_epi32(0x7FFFFFFF)));
            bits = max8(most);
            memcpy(&largest, &bits, sizeof largest);
            finite = bits < 0x7F800000;
            some = finite && largest >= MMI_QUANT_TINY;
            inverse = some ? 127 / largest : 0;
            scale = !finite ? NAN : some ? largest / 127 : 0;
        }
        scales[b] = scale;
        for (int i = 0; i < 4; i++)
            q[i] = some ? _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(inverse))) : _mm256_setzero_si256();
        sums[0] = (int16_t)sum8(_mm256_add_epi32(q[0], q[1]));
        sums[1] = (int16_t)sum8(_mm256_add_epi32(q[2], q[3]));
        scaled_sums[b] = scale * (float)(sums[0] + sums[1]);
        /* Packing works in each 128-bit half; `order` puts the fours of codes back in order. */
        q[0] = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        _mm256_storeu_si256((__m256i *)codes, _mm256_permutevar8x32_epi32(q[0], order));
    }
}

void mmi_kernels_quant_avx2(mmi_kernels *k)
{
    k->quantize_row = quantize_row;
    k->quant_linear = quant_linear;
}
