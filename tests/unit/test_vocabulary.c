/* src/tokenizer/vocabulary.c: look-up both ways, and vocabularies that lie. SPDX-License-Identifier: MIT */
#include "tokenizer_fixture.h"
#include "vocabulary.h"

static mm_status add(fixture *f, mmi_vocabulary *v, const char *text, int64_t id) { return mmi_vocabulary_add(f->ctx, v, "file", text, strlen(text), id); }

static void test_lookup(void **state)
{
    fixture *f = *state;
    mmi_vocabulary v = {0};
    size_t n = 0;

    assert_int_equal(mmi_vocabulary_find(&v, "a", 1), -1);
    assert_int_equal(add(f, &v, "b", 3), MM_OK);
    assert_int_equal(add(f, &v, "a", 0), MM_OK);
    assert_int_equal(add(f, &v, "", 1), MM_OK);
    assert_int_equal(mmi_vocabulary_seal(f->ctx, &v, "file"), MM_OK);
    assert_int_equal(v.size, 4);
    assert_int_equal(mmi_vocabulary_find(&v, "b", 1), 3);
    assert_int_equal(mmi_vocabulary_find(&v, "c", 1), -1);
    assert_string_equal(mmi_vocabulary_text(&v, 0, &n), "a");
    assert_int_equal(n, 1);
    assert_string_equal(mmi_vocabulary_text(&v, 1, &n), "");
    assert_null(mmi_vocabulary_text(&v, 2, &n)); /* a hole */
    assert_null(mmi_vocabulary_text(&v, 4, &n));
    assert_null(mmi_vocabulary_text(&v, -1, &n));
    mmi_vocabulary_clear(&v);
}

static void test_refused(void **state)
{
    fixture *f = *state;
    mmi_vocabulary v = {0};

    assert_int_equal(add(f, &v, "a", 0), MM_OK);
    assert_int_equal(add(f, &v, "a", 1), MM_E_FORMAT);
    assert_sentence(f, "file: token a stands twice");
    assert_int_equal(add(f, &v, "b", -1), MM_E_FORMAT);
    assert_int_equal(add(f, &v, "c", MMI_VOCABULARY_MAX), MM_E_LIMIT);
    assert_int_equal(add(f, &v, "d", INT64_MAX), MM_E_LIMIT);
    assert_int_equal(add(f, &v, "\xFF", 7), MM_E_FORMAT);
    assert_sentence(f, "id 7");
    mmi_vocabulary_clear(&v);

    assert_int_equal(add(f, &v, "a", 5), MM_OK);
    assert_int_equal(add(f, &v, "b", 5), MM_OK);
    assert_int_equal(mmi_vocabulary_seal(f->ctx, &v, "file"), MM_E_FORMAT);
    assert_sentence(f, "both have the id 5");
    mmi_vocabulary_clear(&v);

    assert_int_equal(add(f, &v, "a", MMI_VOCABULARY_MAX - 1), MM_OK); /* a table of 400 MB for one token */
    assert_int_equal(mmi_vocabulary_seal(f->ctx, &v, "file"), MM_E_FORMAT);
    mmi_vocabulary_clear(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_lookup, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown)};
    return cmocka_run_group_tests_name("vocabulary", tests, NULL, NULL);
}
