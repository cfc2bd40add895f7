/* One tokenizer on several threads: apart from test_tokenizer.c, whose long texts would keep ThreadSanitizer for hours.
 * SPDX-License-Identifier: MIT */
#include "tokenizer.h"

#include <pthread.h>

#include "tokenizer_fixture.h"

typedef struct {
    mmi_tokenizer *t;
    const char *text;
    size_t n;
    const mmi_ids *expected;
    int equal;
} job;

static void *encode_again(void *arg)
{
    job *j = arg;
    mm_context *ctx = NULL;

    if (mm_context_create(NULL, &ctx)) return NULL;
    j->equal = 1;
    for (int i = 0; i < 20; i++) {
        mmi_ids ids = {0};
        if (mmi_tokenizer_encode(ctx, j->t, j->text, j->n, 1, 1, &ids) || ids.count != j->expected->count ||
            memcmp(ids.data, j->expected->data, ids.count * sizeof *ids.data))
            j->equal = 0;
        mmi_free(ids.data);
    }
    mmi_tokenizer_release(j->t);
    mm_context_destroy(ctx);
    return NULL;
}

static void test_threads(void **state)
{
    fixture *f = *state;
    mmi_tokenizer *t = open_golden(f, "llama3");
    size_t size = 0;
    char *torture = read_golden(f, GOLDEN "torture.txt", &size);
    mmi_ids ids = {0};
    pthread_t threads[4];
    job jobs[4];

    assert_int_equal(mmi_tokenizer_encode(f->ctx, t, torture, size, 1, 1, &ids), MM_OK);
    for (int i = 0; i < 4; i++) {
        jobs[i] = (job){t, torture, size, &ids, 0};
        mmi_tokenizer_retain(t);
        assert_int_equal(pthread_create(&threads[i], NULL, encode_again, &jobs[i]), 0);
    }
    mmi_tokenizer_release(t);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(jobs[i].equal);
    }
    mmi_free(ids.data);
    mmi_free(torture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_threads, setup, teardown)};
    return cmocka_run_group_tests_name("tokenizer_threads", tests, NULL, NULL);
}
