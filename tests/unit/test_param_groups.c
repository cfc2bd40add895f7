/* Settings by name: order, what is left as it was, patterns that match nothing. SPDX-License-Identifier: MIT */
#include "unit_fixture.h"

#include <math.h>

#include "param_groups.h"

enum { N = 5 };
static const char *const NAMES[N] = {"embed.weight", "layers.0.norm.weight", "layers.0.q_proj.weight",
                                      "layers.0.q_proj.bias", "layers.10.q_proj.bias"};

static void test_order(void **state)
{
    static const char *const ALL[] = {"*"}, *const PLAIN[] = {"*.bias", "*norm*"}, *const FIRST[] = {"layers.?.*"};
    static const char *const BIAS[] = {"layers.[0-9].q_proj.bias"};
    const mmi_param_group groups[] = {{ALL, 1, NAN, NAN, 1}, {PLAIN, 2, NAN, 0, -1}, {FIRST, 1, 0.5, NAN, 0}, {BIAS, 1, 2, 0.3, -1}};
    static const mmi_param_settings WANT[N] = {{1, 0.1, 1}, {0.5, 0, 0}, {0.5, 0.1, 0}, {2, 0.3, 0}, {1, 0, 1}};
    mmi_param_settings s[N];
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    (void)state;

    for (int i = 0; i < N; i++) s[i] = (mmi_param_settings){1, 0.1, 0};
    assert_int_equal(mmi_param_groups_apply(ctx, groups, 4, NAMES, N, s), MM_OK);
    for (int i = 0; i < N; i++) {
        if (s[i].lr_scale != WANT[i].lr_scale || s[i].weight_decay != WANT[i].weight_decay || s[i].frozen != WANT[i].frozen) {
            fail_msg("%s: lr_scale %g, weight_decay %g, frozen %d", NAMES[i], s[i].lr_scale, s[i].weight_decay, s[i].frozen);
        }
    }
    unit_context_end(&a, ctx);
}

static void test_no_match(void **state)
{
    static const char *const PATTERNS[] = {"*.bias", "layers.7.*"};
    const mmi_param_group group = {PATTERNS, 2, 1, 1, 0};
    mmi_param_settings s[N] = {{0}};
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    (void)state;

    assert_int_equal(mmi_param_groups_apply(ctx, &group, 1, NAMES, N, s), MM_E_NOT_FOUND);
    assert_non_null(strstr(mm_context_error(ctx), "\"layers.7.*\""));
    unit_context_end(&a, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_no_match)};
    return cmocka_run_group_tests_name("param_groups", tests, NULL, NULL);
}
