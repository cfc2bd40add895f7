/* What this machine can do at most: bytes that N threads read a second from memory, and operations on registers (two a multiplication with its addition)
 * that they do a second, for each instruction set that the processor has. Prints JSON lines.
 * usage: machine_bench THREADS
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu.h"
#include "mm_context.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { SAMPLES = 7, MOST_THREADS = 256 };
static const size_t read_bytes = (size_t)1 << 30;

typedef struct {
    const char *metric, *unit;
    double (*run)(const void *data, size_t n); /* n rounds (of reading: bytes of data), a value that hangs on all of them */
    double round;                              /* operations of a round */
    int level;
} measure;

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define UNROLL _Pragma("GCC unroll 16") /* every loop over sums, or they stay in memory */

static double read_words(const void *data, size_t n)
{
    const uint64_t *p = data;
    uint64_t sum[8] = {0};

    for (size_t i = 0; i < n / 8; i += 8) {
        UNROLL
        for (int k = 0; k < 8; k++) sum[k] += p[i + (size_t)k];
    }
    UNROLL
    for (int k = 1; k < 8; k++) sum[0] += sum[k];
    return (double)sum[0];
}

#if defined(__x86_64__)
/* As many sums at once as hide the latency of the instruction on two ports. */
enum { SUMS = 12, TILE_SUMS = 4 };
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define AMX __attribute__((target("amx-tile,amx-int8,amx-bf16")))
#define KEEP(x) __asm__ volatile("" : "+v"(x)) /* the compiler must not see that a sum is not needed, or can be had at once */

AVX2 static double read_avx2(const void *data, size_t n)
{
    const __m256i *p = data;
    __m256i sum[8] = {0};
    uint64_t out[4];

    for (size_t i = 0; i < n / 32; i += 8) {
        UNROLL
        for (int k = 0; k < 8; k++) sum[k] = _mm256_add_epi64(sum[k], _mm256_load_si256(p + i + k));
    }
    UNROLL
    for (int k = 1; k < 8; k++) sum[0] = _mm256_add_epi64(sum[0], sum[k]);
    memcpy(out, &sum[0], sizeof out);
    return (double)(out[0] + out[1] + out[2] + out[3]);
}

AVX2 static double f32_avx2(const void *data, size_t n)
{
    __m256 sum[SUMS], x = _mm256_set1_ps(0.5f);
    (void)data;

    UNROLL
    for (int k = 0; k < SUMS; k++) sum[k] = _mm256_set1_ps((float)k);
    for (size_t i = 0; i < n; i++) {
        UNROLL
        for (int k = 0; k < SUMS; k++) {
            sum[k] = _mm256_fmadd_ps(x, x, sum[k]);
            KEEP(sum[k]);
        }
    }
    UNROLL
    for (int k = 1; k < SUMS; k++) sum[0] = _mm256_add_ps(sum[0], sum[k]);
    return (double)_mm256_cvtss_f32(sum[0]);
}

/* 8-bit products without VNNI take three instructions. */
AVX2 static double int8_avx2(const void *data, size_t n)
{
    const __m256i x = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    __m256i sum[SUMS];
    (void)data;

    UNROLL
    for (int k = 0; k < SUMS; k++) sum[k] = _mm256_set1_epi32(k);
    for (size_t i = 0; i < n; i++) {
        UNROLL
        for (int k = 0; k < SUMS; k++) {
            __m256i y = x;
            KEEP(y);
            sum[k] = _mm256_add_epi32(sum[k], _mm256_madd_epi16(_mm256_maddubs_epi16(y, x), ones));
        }
    }
    UNROLL
    for (int k = 1; k < SUMS; k++) sum[0] = _mm256_add_epi32(sum[0], sum[k]);
    return _mm256_cvtsi256_si32(sum[0]);
}

AVX512 static double f32_avx512(const void *data, size_t n)
{
    __m512 sum[SUMS], x = _mm512_set1_ps(0.5f);
    (void)data;

    UNROLL
    for (int k = 0; k < SUMS; k++) sum[k] = _mm512_set1_ps((float)k);
    for (size_t i = 0; i < n; i++) {
        UNROLL
        for (int k = 0; k < SUMS; k++) {
            sum[k] = _mm512_fmadd_ps(x, x, sum[k]);
            KEEP(sum[k]);
        }
    }
    UNROLL
    for (int k = 1; k < SUMS; k++) sum[0] = _mm512_add_ps(sum[0], sum[k]);
    return (double)_mm512_cvtss_f32(sum[0]);
}

AVX512 static double int8_vnni(const void *data, size_t n)
{
    const __m512i x = _mm512_set1_epi8(3);
    __m512i sum[SUMS];
    (void)data;

    UNROLL
    for (int k = 0; k < SUMS; k++) sum[k] = _mm512_set1_epi32(k);
    for (size_t i = 0; i < n; i++) {
        UNROLL
        for (int k = 0; k < SUMS; k++) {
            sum[k] = _mm512_dpbusd_epi32(sum[k], x, x);
            KEEP(sum[k]);
        }
    }
    UNROLL
    for (int k = 1; k < SUMS; k++) sum[0] = _mm512_add_epi32(sum[0], sum[k]);
    return _mm512_cvtsi512_si32(sum[0]);
}

/* Tiles 0 to 3 hold sums, 4 and 5 what is multiplied: 16 rows of 64 bytes each. */
static void configure_tiles(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t column_bytes[16];
        uint8_t rows[16];
    } c;

    memset(&c, 0, sizeof c);
    c.palette = 1;
    for (int i = 0; i < 6; i++) {
        c.rows[i] = 16;
        c.column_bytes[i] = 64;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(c));
}

#define AMX_RUN(name, product)                                     \
    AMX static double name(const void *data, size_t n)             \
    {                                                              \
        int32_t out[16 * 16];                                      \
        configure_tiles();                                         \
        _tile_zero(0);                                             \
        _tile_zero(1);                                             \
        _tile_zero(2);                                             \
        _tile_zero(3);                                             \
        _tile_loadd(4, data, 64);                                  \
        _tile_loadd(5, data, 64);                                  \
        for (size_t i = 0; i < n; i++) {                           \
            product(0, 4, 5);                                      \
            product(1, 4, 5);                                      \
            product(2, 4, 5);                                      \
            product(3, 4, 5);                                      \
        }                                                          \
        _tile_stored(0, out, 64);                                  \
        __asm__ volatile("" : : "r"(out) : "memory");              \
        _tile_release();                                           \
        return out[0];                                             \
    }
AMX_RUN(int8_amx, _tile_dpbssd)
AMX_RUN(bf16_amx, _tile_dpbf16ps)
#endif

static const measure measures[] = {
    {"read", "GB/s", read_words, 1, MM_CPU_REFERENCE},
#if defined(__x86_64__)
    {"read_avx2", "GB/s", read_avx2, 1, MM_CPU_AVX2},
    {"f32_avx2", "GFLOP/s", f32_avx2, SUMS * 8 * 2, MM_CPU_AVX2},
    {"int8_avx2", "GOP/s", int8_avx2, SUMS * 32 * 2, MM_CPU_AVX2},
    {"f32_avx512", "GFLOP/s", f32_avx512, SUMS * 16 * 2, MM_CPU_AVX512},
    {"int8_vnni", "GOP/s", int8_vnni, SUMS * 64 * 2, MM_CPU_AVX512},
    {"int8_amx", "GOP/s", int8_amx, TILE_SUMS * 16 * 16 * 64 * 2, MM_CPU_AMX},
    {"bf16_amx", "GFLOP/s", bf16_amx, TILE_SUMS * 16 * 16 * 32 * 2, MM_CPU_AMX},
#endif
};

typedef struct {
    const measure *m;
    const char *data;
    size_t n;
    pthread_barrier_t *barrier;
    double value;
} job;

static void *work(void *p)
{
    job *j = p;
    for (int i = 0; i < SAMPLES; i++) {
        (void)pthread_barrier_wait(j->barrier); /* all begin */
        j->value += j->m->run(j->data, j->n);
        (void)pthread_barrier_wait(j->barrier); /* all have ended */
    }
    return NULL;
}

static int run(const measure *m, const char *data, int threads)
{
    /* Rounds that take a thread some 50 ms at 3 GHz; of reading, its share of the memory in whole lines */
    const int reads = !strcmp(m->unit, "GB/s");
    const size_t n = reads ? read_bytes / (size_t)threads / 4096 * 4096 : m->level == MM_CPU_AMX ? 2000000 : 16000000;
    static job jobs[MOST_THREADS];
    static pthread_t ids[MOST_THREADS];
    pthread_barrier_t barrier;
    double samples[SAMPLES], value = 0;

    if (pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1)) return 1;
    for (int i = 0; i < threads; i++) {
        jobs[i] = (job){m, reads ? data + (size_t)i * n : data, n, &barrier, 0};
        if (pthread_create(&ids[i], NULL, work, &jobs[i])) return 1;
    }
    for (int i = 0; i < SAMPLES; i++) {
        double t;
        (void)pthread_barrier_wait(&barrier);
        t = seconds();
        (void)pthread_barrier_wait(&barrier);
        samples[i] = 1e-9 * (double)n * m->round * threads / (seconds() - t);
    }
    for (int i = 0; i < threads; i++) {
        (void)pthread_join(ids[i], NULL);
        value += jobs[i].value;
    }
    (void)pthread_barrier_destroy(&barrier);
    printf("{\"metric\": \"%s\", \"unit\": \"%s\", \"samples\": [", m->metric, m->unit);
    for (int i = 0; i < SAMPLES; i++) printf(i ? ", %.5g" : "%.5g", samples[i]);
    printf("], \"check\": %g}\n", value);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 0, level = mmi_cpu_best_level(); /* asks Linux for the tiles, for all threads made later */
    char *data;

    if (threads < 1 || threads > MOST_THREADS || !(data = aligned_alloc(4096, read_bytes))) return 2;
    memset(data, 1, read_bytes);
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
        if (measures[i].level <= level && run(&measures[i], data, threads)) return 1;
    free(data);
    return 0;
}
