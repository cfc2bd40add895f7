/* Each level's gradients beside the reference, which test_gradients holds against finite differences: rows of many lengths, in place, behind the end
 * nothing is touched. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "cpu.h"
#include "kernels.h"
#include "random.h"

enum { MOST = 300, GUARD = 16 };

static const size_t sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 192, 257, MOST};

static mmi_kernels reference, tested;

static void fill(float *x, size_t n, uint64_t seed, double size)
{
    for (size_t i = 0; i < n + GUARD; i++) x[i] = (float)(size * mmi_random_normal_at(seed, n, i));
}

/* Within `bound` of the largest, or of a tenth of what went in, since a slope near 0 is the difference of larger numbers; the guard as it was. */
static void check(const char *what, int level, size_t n, const float *have, const float *want, const float *before, double bound)
{
    double largest = 0.1;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)want[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)have[i] - (double)want[i]) <= bound * largest))
            fail_msg("%s at level %d, n = %zu, [%zu]: %.9g, expected %.9g", what, level, n, i, (double)have[i], (double)want[i]);
    assert_memory_equal(have + n, before + n, GUARD * sizeof *have);
}

static void check_size(int level, size_t n)
{
    float x[MOST + GUARD], up[MOST + GUARD], w[MOST + GUARD], dy[MOST + GUARD], was[3][MOST + GUARD], a[3][MOST + GUARD], b[3][MOST + GUARD];

    for (int act = 0; act < MMI_ACT_COUNT; act++)
        for (int spread = 0; spread < 3; spread++) { /* 2, 20 and 200: where sigmoids and exponentials are 0 or 1 */
            fill(x, n, 1 + (uint64_t)spread, spread == 2 ? 200 : spread ? 20 : 2);
            fill(up, n, 5, 1);
            fill(dy, n, 6, 1);
            for (int i = 0; i < 3; i++) fill(was[i], n, 10 + (uint64_t)i, 1);
            memcpy(a, was, sizeof a);
            memcpy(b, was, sizeof b);
            reference.activate_gradient((mmi_activation)act, x, dy, a[0], n);
            tested.activate_gradient((mmi_activation)act, x, dy, b[0], n);
            check("activate_gradient", level, n, b[0], a[0], was[0], 1e-6);
            memcpy(b[0], dy, sizeof b[0]);
            tested.activate_gradient((mmi_activation)act, x, b[0], b[0], n);
            check("activate_gradient in place", level, n, b[0], a[0], dy, 1e-6);
            reference.gate_gradient((mmi_activation)act, x, up, dy, a[1], a[2], n);
            tested.gate_gradient((mmi_activation)act, x, up, dy, b[1], b[2], n);
            check("gate_gradient of the gate", level, n, b[1], a[1], was[1], 1e-6);
            check("gate_gradient", level, n, b[2], a[2], was[2], 1e-6);
        }
    for (int which = 0; which < 4; which++) { /* with and without weights, and gradients of them */
        fill(x, n, 20, 3);
        fill(w, n, 21, 1);
        for (size_t i = 0; i < n; i++) x[i] += 1.5f;
        memcpy(a, was, sizeof a);
        memcpy(b, was, sizeof b);
        reference.layer_norm_gradient(x, which & 1 ? w : NULL, 1e-5f, dy, a[0], which & 2 ? a[1] : NULL, which & 2 ? a[2] : NULL, n);
        tested.layer_norm_gradient(x, which & 1 ? w : NULL, 1e-5f, dy, b[0], which & 2 ? b[1] : NULL, which & 2 ? b[2] : NULL, n);
        if (n > 2) check("layer_norm_gradient", level, n, b[0], a[0], was[0], 1e-5); /* two elements normalized have none but rounding */
        check("layer_norm_gradient of w", level, n, b[1], a[1], was[1], 1e-5);
        check("layer_norm_gradient of b", level, n, b[2], a[2], was[2], 1e-5);
        memcpy(a, was, sizeof a);
        memcpy(b, was, sizeof b);
        reference.rms_norm_gradient(x, w, 1, 1e-5f, dy, a[0], which & 2 ? a[1] : NULL, n);
        tested.rms_norm_gradient(x, w, 1, 1e-5f, dy, b[0], which & 2 ? b[1] : NULL, n);
        if (n > 1) check("rms_norm_gradient", level, n, b[0], a[0], was[0], 1e-5);
        check("rms_norm_gradient of w", level, n, b[1], a[1], was[1], 1e-5);
    }
}

static void test_levels(void **state)
{
    (void)state;
    mmi_kernels_init(&reference, MM_CPU_REFERENCE);
    for (int level = MM_CPU_REFERENCE; level <= mmi_cpu_best_level(); level++) {
        mmi_kernels_init(&tested, level);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) check_size(level, sizes[s]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels)};
    return cmocka_run_group_tests_name("gradient kernels", tests, NULL, NULL);
}
