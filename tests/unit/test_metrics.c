/* Metrics against numbers of sklearn and jiwer, or worked out by hand. SPDX-License-Identifier: MIT */
#include "image_fixture.h"

#include <math.h>

#include "metrics.h"

static void near(double have, double want)
{
    if (!(fabs(have - want) <= 1e-12)) fail_msg("%.15g, expected %.15g", have, want);
}

static void hits_and_ties(void **state)
{
    const float scores[5][3] = {{1, 2, 3}, {5, 5, 0}, {0, 1, 2}, {NAN, 1, 0}, {3, 1, 2}};
    const int32_t labels[5] = {2, 0, 0, 0, -100};
    (void)state;

    assert_int_equal(mmi_metric_hits(scores[0], labels, 5, 3, 1), 1); /* the tie of row 1 counts against, a NaN never wins */
    assert_int_equal(mmi_metric_hits(scores[0], labels, 5, 3, 2), 2);
    assert_int_equal(mmi_metric_hits(scores[0], labels, 5, 3, 3), 4);
    assert_int_equal(mmi_metric_hits(scores[0], (const int32_t[5]){3, INT32_MIN, INT32_MAX, 4, 5}, 5, 3, 3), 0);
    assert_int_equal(mmi_metric_best(scores[1], 3), 0);
    assert_int_equal(mmi_metric_best(scores[3], 3), 1);
    near(mmi_metric_surprise(scores[0], 3, 1), log(exp(-1) + 1 + exp(1)));
    near(mmi_metric_surprise((const float[2]){1000, -1000}, 2, 1), 2000); /* exp of none of them is a number */
}

/* y = [0, 1, 2, 2, 1, 0, 2], p = [0, 2, 2, 1, 1, 0, 2]: sklearn's confusion_matrix, accuracy_score, f1_score(average="macro"). */
static void confusions(void **state)
{
    const int32_t labels[] = {0, 1, 2, 2, 1, 0, 2, -1}, guesses[] = {0, 2, 2, 1, 1, 0, 2, 0};
    const int64_t want[16] = {2, 0, 0, 0, 0, 1, 1, 0, 0, 1, 2, 0};
    int64_t counts[16] = {0}, none[4] = {0};
    (void)state;

    mmi_metric_confusion(guesses, labels, 8, 4, counts);
    assert_memory_equal(counts, want, sizeof counts);
    near(mmi_metric_accuracy(counts, 4), 5.0 / 7);
    near(mmi_metric_macro_f1(counts, 4), (1 + 0.5 + 2.0 / 3) / 3); /* class 3 is nowhere */
    near(mmi_metric_accuracy(none, 2), 0);
    near(mmi_metric_macro_f1(none, 2), 0);
    mmi_metric_confusion((const int32_t[]){9, -1}, (const int32_t[]){0, 0}, 2, 2, none); /* guesses of no class */
    near(mmi_metric_accuracy(none, 2), 0);
}

static void numbers(void **state)
{
    const float truths[] = {3, -0.5f, 2, 7}, guesses[] = {2.5f, 0, 2, 8}, same[] = {2, 2};
    (void)state;

    near(mmi_metric_r2(guesses, truths, 4), 1 - 1.5 / 29.1875); /* 0.9486081370449679, the example in sklearn's manual */
    near(mmi_metric_squared_error(guesses, truths, 4), 0.375);
    near(mmi_metric_r2(same, same, 2), 1);
    near(mmi_metric_r2(guesses, same, 2), 0);
    near(mmi_metric_r2(guesses, same, 0), 0);
    near(mmi_metric_perplexity(3 * log(50), 3), 50);
    assert_true(isinf(mmi_metric_perplexity(0, 0)));
}

static void recalls(void **state)
{
    const float s[] = {9, 1, 1, /**/ 8, 5, 7, /**/ 1, 2, 2};
    const int64_t apart[] = {0, 1, 2}, same[] = {4, 5, 5}, all[] = {0, 0, 0}, pictures[] = {0, 0, 1, 2}, texts[] = {0, 1, 2, 2};
    const float four[] = {1, 9, 8, 8, /**/ 1, 1, 5, 1, /**/ 2, 2, 3, 7, /**/ NAN, 1, 1, 0};
    (void)state;

    near(mmi_metric_recall(s, apart, apart, 3, 1, 0), 1.0 / 3); /* row 2 ties */
    near(mmi_metric_recall(s, apart, apart, 3, 2, 0), 2.0 / 3);
    near(mmi_metric_recall(s, apart, apart, 3, 3, 0), 1);
    near(mmi_metric_recall(s, apart, apart, 3, 1, 1), 2.0 / 3); /* columns 0 and 1 */
    near(mmi_metric_recall(s, apart, apart, 3, 2, 1), 1);
    near(mmi_metric_recall(s, apart, apart, 0, 1, 1), 0);
    /* Texts 1 and 2 are the same: either is right to pictures 1 and 2. */
    near(mmi_metric_recall(s, apart, same, 3, 1, 0), 2.0 / 3); /* row 1 has text 0 before them */
    near(mmi_metric_recall(s, apart, same, 3, 2, 0), 1);
    near(mmi_metric_recall(s, apart, same, 3, 1, 1), 1);
    near(mmi_metric_recall(s, apart, all, 3, 1, 0), 1);
    near(mmi_metric_recall(s, all, apart, 3, 1, 1), 1);
    /* Pairs 0 and 1 have a picture, 2 and 3 a text in common. */
    near(mmi_metric_recall(four, pictures, texts, 4, 1, 0), 0.5); /* rows 0 and 2; of row 1 a wrong one is better and another ties, of row 3 one ties and one is no number */
    near(mmi_metric_recall(four, pictures, texts, 4, 2, 0), 0.5);
    near(mmi_metric_recall(four, pictures, texts, 4, 3, 0), 1);
    near(mmi_metric_recall(four, pictures, texts, 4, 1, 1), 0.25); /* column 1 by picture 0 */
    near(mmi_metric_recall(four, pictures, texts, 4, 2, 1), 0.5);
    near(mmi_metric_recall(four, pictures, texts, 4, 3, 1), 1);
}

static void answers(void **state)
{
    (void)state;
    assert_true(mmi_metric_same_answer("  A Red\tcircle\n", "a red circle"));
    assert_true(mmi_metric_same_answer("", " "));
    assert_false(mmi_metric_same_answer("the circle", "circle"));
    assert_false(mmi_metric_same_answer("circle.", "circle"));
    assert_false(mmi_metric_same_answer("a red", "a red circle"));
    assert_false(mmi_metric_same_answer("a red circle", "a red"));
    assert_false(mmi_metric_same_answer("ared", "a red"));
}

/* jiwer.process_words counts so. */
static void word_errors(void **state)
{
    static const struct {
        const char *guess, *truth;
        size_t errors, words;
    } cases[] = {{"hello world", "hello world", 0, 2},
                 {"hello duck", "hello world", 1, 2},
                 {"", "hello world", 2, 2},
                 {"hello world", "", 2, 0},
                 {"the cat sat on mat", "the cat sat on the mat", 1, 6},
                 {"i really can not spell", "i can spell", 2, 3},
                 {"b c d e", "a b c d", 2, 4},
                 {"Hello   WORLD\n", " hello\tworld ", 0, 2},
                 {"x y z", "a b c d", 4, 4}};
    size_t errors, words;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mmi_metric_word_errors(ctx, cases[i].guess, cases[i].truth, &errors, &words), MM_OK);
        assert_int_equal(errors, cases[i].errors);
        assert_int_equal(words, cases[i].words);
    }
    heap.fail_at = heap.made + 1;
    assert_int_equal(mmi_metric_word_errors(ctx, "a", "b", &errors, &words), MM_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hits_and_ties), cmocka_unit_test(confusions), cmocka_unit_test(numbers),
                                       cmocka_unit_test(recalls),       cmocka_unit_test(answers),
                                       cmocka_unit_test_setup_teardown(word_errors, setup, teardown)};
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
