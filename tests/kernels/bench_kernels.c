/* Times the block-quantized linear kernels on one thread: bytes of weights a second for one row of activations, operations
 * a second (two per weight and row) for many. Not a test: it checks nothing.
 *
 *   bench_kernels [DTYPE]...     e.g. Q4_1 Q8_0; default Q4_1
 *
 * For one row the matrix is repeated until it fills 64 MiB, so that it comes from memory as in decoding.
 * SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu.h"
#include "dtype.h"
#include "kernels.h"
#include "quant_pack.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one call, the best of several samples of at least 20 ms. */
static double measure(const mmi_kernels *k, mmi_quant_tile t, size_t copies, size_t copy_bytes)
{
    const char *packed = t.packed;
    double best = 1e30;

    for (int sample = 0; sample < 7; sample++) {
        size_t calls = 0;
        double start = now(), took;
        do {
            t.packed = packed + calls % copies * copy_bytes;
            k->quant_linear(&t);
            calls++;
            took = now() - start;
        } while (took < 0.02 || calls < copies);
        if (took / (double)calls < best) best = took / (double)calls;
    }
    return best;
}

static void bench(int32_t dtype, size_t rows, size_t cols, int best_level)
{
    enum { MOST_M = 512 };
    static const size_t ms[] = {1, 2, 4, 8, 16, 128, 512};
    size_t bytes, row_bytes, file_bytes, copies;
    unsigned char *file = NULL, *packed = NULL, *x = NULL;
    float *y = NULL, *values = NULL;

    if (mmi_pack_bytes(dtype, rows, cols, &bytes) || mmi_dtype_bytes(dtype, rows * cols, &file_bytes)) return;
    row_bytes = mmi_quant_row_bytes(cols);
    copies = ((size_t)64 << 20) / bytes + 1;
    file = malloc(file_bytes);
    packed = aligned_alloc(64, bytes * copies);
    x = aligned_alloc(64, row_bytes * MOST_M);
    y = malloc(rows * MOST_M * sizeof *y);
    values = malloc(cols * sizeof *values);
    if (!file || !packed || !x || !y || !values) goto cleanup;

    srand(1);
    for (size_t i = 0; i < file_bytes; i++) file[i] = (unsigned char)(rand() >> 7 & 0x2F); /* every f16 is finite */
    for (size_t r = 0; r < rows; r += MMI_PACK_ROWS)
        mmi_pack_group(dtype, file + r * (file_bytes / rows), rows - r < MMI_PACK_ROWS ? rows - r : MMI_PACK_ROWS, cols,
                       packed + r / MMI_PACK_ROWS * mmi_pack_group_bytes(dtype, cols));
    for (size_t i = 1; i < copies; i++) memcpy(packed + i * bytes, packed, bytes);

    for (int level = best_level; level >= MM_CPU_REFERENCE; level--) {
        mmi_kernels k;
        double start, quantize;
        mmi_kernels_init(&k, level);
        for (size_t i = 0; i < cols; i++) values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        start = now();
        for (int i = 0; i < MOST_M; i++) k.quantize_row(values, cols, 1, x + (size_t)i * row_bytes);
        quantize = (now() - start) / MOST_M;

        printf("%-5s %5zu x %4zu  %-9s quantize %5.2f us", mm_dtype_name(dtype), rows, cols, mmi_cpu_level_name(level),
               quantize * 1e6);
        for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) {
            mmi_quant_tile t = {dtype, packed, rows, cols, 0, (rows + MMI_PACK_ROWS - 1) / MMI_PACK_ROWS, x, ms[i], y, rows};
            double s;
            if (level == MM_CPU_REFERENCE && ms[i] * rows * cols > 1000000) continue; /* it takes too long */
            s = measure(&k, t, ms[i] < 8 && level > MM_CPU_REFERENCE ? copies : 1, bytes);
            if (ms[i] == 1) printf("  m=1 %5.1f GB/s", (double)bytes / s * 1e-9);
            else printf("  m=%zu %6.1f", ms[i], 2e-9 * (double)ms[i] * (double)rows * (double)cols / s);
        }
        printf(" GOP/s\n");
        fflush(stdout);
    }
cleanup:
    free(file);
    free(packed);
    free(x);
    free(y);
    free(values);
}

int main(int argc, char **argv)
{
    static const size_t shapes[][2] = {{576, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
    int best = mmi_cpu_best_level();

    for (int32_t d = MM_DTYPE_Q4_0; d <= MM_DTYPE_IQ4_NL; d++) {
        int wanted = argc == 1 && d == MM_DTYPE_Q4_1;
        for (int i = 1; i < argc; i++) wanted |= !strcmp(argv[i], mm_dtype_name(d));
        for (size_t i = 0; wanted && i < sizeof shapes / sizeof *shapes; i++) bench(d, shapes[i][0], shapes[i][1], best);
    }
    return 0;
}
