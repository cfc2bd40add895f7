/* What tests/kernels takes of cmocka: `make check-arm` needs no cmocka for aarch64. The first failure ends the program.
 * SPDX-License-Identifier: MIT */
#ifndef CMOCKA_H
#define CMOCKA_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*CMUnitTestFunction)(void **state);
typedef int (*CMFixtureFunction)(void **state);
struct CMUnitTest {
    const char *name;
    CMUnitTestFunction run;
    CMFixtureFunction setup, teardown;
    void *state;
};

#define cmocka_unit_test(f) {#f, f, NULL, NULL, NULL}
#define print_error(...) printf(__VA_ARGS__)
#define print_message(...) printf(__VA_ARGS__)
#define fail_msg(...) (printf(__VA_ARGS__), printf("\n%s:%d\n", __FILE__, __LINE__), exit(1))
#define fail() fail_msg("failed")
#define assert_true(c) ((c) ? (void)0 : fail_msg("%s", #c))
#define assert_false(c) assert_true(!(c))
#define assert_non_null(p) assert_true((p) != NULL)
#define assert_int_equal(a, b) assert_true((a) == (b))
#define assert_in_range(a, low, high) assert_true((a) >= (low) && (a) <= (high))
#define assert_memory_equal(a, b, n) assert_true(!memcmp(a, b, n))

static inline int _cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t n, CMFixtureFunction setup,
                                          CMFixtureFunction teardown)
{
    void *none = NULL;
    (void)teardown;
    printf("[==========] %s\n", group);
    if (setup && setup(&none)) return 1;
    for (size_t i = 0; i < n; i++) {
        void *state = tests[i].state;
        printf("[ RUN      ] %s\n", tests[i].name);
        tests[i].run(&state);
        printf("[       OK ] %s\n", tests[i].name);
        fflush(stdout);
    }
    return 0;
}
#define cmocka_run_group_tests_name(group, tests, setup, teardown) \
    _cmocka_run_group_tests(group, tests, sizeof(tests) / sizeof *(tests), setup, teardown)

#endif
