/* Learning rates beside those of transformers (tests/golden/make_optimizers.py), step by step. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include <math.h>

#include "mm_tensor.h"
#include "schedule.h"

static void test_goldens(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mm_tensor_map *map = NULL;
    int cases = 0;
    (void)state;

    if (mm_tensor_map_read(ctx, "tests/golden/optimizers.safetensors", &map)) fail_msg("%s", mm_context_error(ctx));
    for (size_t i = 0; i < mm_tensor_map_count(map); i++) {
        const char *name = mm_tensor_map_name(map, i), *numbers;
        const float *want = mm_tensor_const_data(mm_tensor_map_at(map, i));
        unsigned long warmup, total;
        mmi_schedule s = {0};
        char kind[32];

        if (strncmp(name, "schedule.", 9)) continue;
        numbers = strpbrk(name, "0123456789");
        (void)snprintf(kind, sizeof kind, "%.*s", (int)(numbers - name - 10), name + 9);
        assert_int_equal(sscanf(numbers, "%lu_%lu_%lf", &warmup, &total, &s.min_ratio), 3);
        assert_int_equal(mmi_schedule_kind_of(ctx, kind, &s.kind), MM_OK);
        s.warmup_steps = warmup;
        s.total_steps = total;
        for (uint64_t t = 0; t < (uint64_t)mm_tensor_shape(mm_tensor_map_at(map, i))[0]; t++) {
            /* behind the end theirs goes up again, ours stays down */
            const int ended = s.kind == MMI_SCHEDULE_COSINE && t >= total && t > warmup;
            const double x = ended ? s.min_ratio : (double)want[t], have = mmi_schedule_factor(&s, t);
            if (!(fabs(have - x) <= 1e-6 * fmax(x, 0.1))) fail_msg("%s at step %d: %.9g, not %.9g", name, (int)t, have, x);
        }
        cases++;
    }
    assert_int_equal(cases, 20);
    mm_tensor_map_destroy(map);
    unit_context_end(&a, ctx);
}

static void test_floor(void **state)
{
    const mmi_schedule linear = {MMI_SCHEDULE_LINEAR, 2, 12, 0.2}, root = {MMI_SCHEDULE_INVERSE_SQRT, 4, 0, 0.25};
    (void)state;

    assert_true(fabs(mmi_schedule_factor(&linear, 1) - 0.5) < 1e-15); /* warm-up is from 0 */
    assert_true(fabs(mmi_schedule_factor(&linear, 7) - 0.6) < 1e-15);
    assert_true(mmi_schedule_factor(&linear, 12) == 0.2 && mmi_schedule_factor(&linear, UINT64_MAX) == 0.2);
    assert_true(fabs(mmi_schedule_factor(&root, 16) - 0.5) < 1e-15);
    assert_true(mmi_schedule_factor(&root, 1000) == 0.25);
}

static void test_names(void **state)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mmi_schedule_kind kind;
    (void)state;

    assert_int_equal(mmi_schedule_kind_of(ctx, "polynomial", &kind), MM_E_ARGUMENT);
    assert_non_null(strstr(mm_context_error(ctx), "\"polynomial\" is none of constant, linear, cosine, inverse_sqrt"));
    unit_context_end(&a, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goldens), cmocka_unit_test(test_floor), cmocka_unit_test(test_names)};
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
