/* Data sets: epochs of all examples, the same wherever reading begins; bad lines replaced by their followers, counted and logged; through a
 * prefetcher, with pictures augmented. SPDX-License-Identifier: MIT */
#include "formats_fixture.h"

#include "augment.h"
#include "data_order.h"
#include "data_set.h"
#include "image.h"
#include "prefetch.h"

enum { LINES = 20 };

/* Line i is {"value": i}, but the ones told are broken. */
static mmi_manifest *numbers(const fixture *f, const int *bad, size_t n)
{
    char text[LINES * 32];
    const char *path = f->path;
    size_t size = 0;
    mmi_manifest *m = NULL;

    for (int i = 0; i < LINES; i++) {
        int broken = 0;
        for (size_t k = 0; k < n; k++) broken |= bad[k] == i;
        size += (size_t)sprintf(text + size, "{\"value\": %d%s\n", i, broken ? "" : "}");
    }
    write_bytes(f, text, size);
    if (mmi_manifest_open(f->ctx, &path, 1, &m)) fail_msg("%s", f->ctx->error);
    return m;
}

typedef struct {
    int value;
    uint64_t epoch;
    int refuse; /* the example that cannot be made */
    mm_status status;
} seen;

static mm_status note(mm_context *ctx, void *arg, const mmi_record *record, uint64_t epoch, size_t index)
{
    seen *s = arg;
    const int value = (int)record->values[0];

    assert_int_equal(value, index);
    if (s->status && value == s->refuse) return mmi_fail(ctx, s->status, "cannot be made");
    s->value = value;
    s->epoch = epoch;
    return MM_OK;
}

static mmi_data_set *create(const fixture *f, const mmi_manifest *m, const mmi_data_set_options *options)
{
    mmi_data_set *set = NULL;
    if (mmi_data_set_create(f->ctx, m, options, &set)) fail_msg("%s", f->ctx->error);
    return set;
}

static void goes_through_epochs(void **state)
{
    fixture *f = *state;
    mmi_manifest *m = numbers(f, NULL, 0);
    const mmi_data_set_options options = {.seed = 9};
    mmi_data_set *set = create(f, m, &options), *other = create(f, m, &options);
    int order[3][LINES];

    assert_int_equal(mmi_data_set_count(set), LINES);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        int times[LINES] = {0};
        for (uint64_t i = 0; i < LINES; i++) {
            seen s = {0};
            assert_int_equal(mmi_data_set_read(f->ctx, set, epoch * LINES + i, note, &s), MM_OK);
            assert_int_equal(s.epoch, epoch);
            assert_int_equal(s.value, mmi_data_order_at(9, epoch, LINES, i));
            order[epoch][i] = s.value;
            times[s.value]++;
        }
        for (int i = 0; i < LINES; i++) assert_int_equal(times[i], 1);
    }
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    assert_memory_not_equal(order[1], order[2], sizeof order[0]);
    for (uint64_t p = 3 * LINES; p-- > 0;) { /* from anywhere, in any order */
        seen s = {0};
        assert_int_equal(mmi_data_set_read(f->ctx, other, p, note, &s), MM_OK);
        assert_int_equal(s.value, order[p / LINES][p % LINES]);
    }
    mmi_data_set_destroy(set);
    mmi_data_set_destroy(other);
    mmi_data_set_destroy(NULL);
    mmi_manifest_close(m);
}

static void keeps_the_order_of_validation(void **state)
{
    fixture *f = *state;
    mmi_manifest *m = numbers(f, NULL, 0);
    const mmi_data_set_options held = {.in_order = 1, .validation = 0.4, .split_seed = 5, .want_validation = 1},
                               rest = {.in_order = 1, .validation = 0.4, .split_seed = 5}, none = {.want_validation = 1};
    mmi_data_set *a = create(f, m, &held), *b = create(f, m, &rest), *c = NULL;
    unsigned times[LINES] = {0};

    for (int k = 0; k < 2; k++) {
        mmi_data_set *set = k ? b : a;
        int last = -1;
        for (size_t i = 0; i < mmi_data_set_count(set); i++) {
            seen s = {0};
            assert_int_equal(mmi_data_set_read(f->ctx, set, i, note, &s), MM_OK);
            assert_true(s.value > last);
            times[last = s.value]++;
        }
    }
    for (int i = 0; i < LINES; i++) assert_int_equal(times[i], 1);
    assert_int_equal(mmi_data_set_create(f->ctx, m, &none, &c), MM_E_ARGUMENT);
    assert_null(c);
    mmi_data_set_destroy(a);
    mmi_data_set_destroy(b);
    mmi_manifest_close(m);
}

static char logged[64][256];
static size_t log_lines;

static void keep_log(void *user, int32_t level, const char *text)
{
    (void)user;
    assert_int_equal(level, MM_LOG_WARNING);
    assert_true(log_lines < 64);
    (void)snprintf(logged[log_lines++], sizeof *logged, "%s", text);
}

static void skips_what_is_bad(void **state)
{
    static const int bad[] = {0, 3, 4, 5, 11, 19};
    fixture *f = *state;
    mmi_manifest *m = numbers(f, bad, 6);
    mmi_data_set_options options = {.seed = 31, .skip_bad = 1};
    mmi_data_set *set = create(f, m, &options), *late = create(f, m, &options), *strict;
    int got[3 * LINES];

    log_lines = 0;
    assert_int_equal(mm_context_set_log(f->ctx, keep_log, NULL), MM_OK);
    for (size_t p = 0; p < 3 * LINES; p++) {
        seen s = {.refuse = 7, .status = MM_E_LIMIT};
        size_t turn = p % LINES;
        int expected;
        assert_int_equal(mmi_data_set_read(f->ctx, set, p, note, &s), MM_OK);
        for (;; turn = (turn + 1) % LINES) { /* itself, or the next good one of its epoch */
            int is_bad;
            expected = (int)mmi_data_order_at(31, p / LINES, LINES, turn);
            is_bad = expected == 7;
            for (size_t k = 0; k < 6; k++) is_bad |= expected == bad[k];
            if (!is_bad) break;
        }
        assert_int_equal(s.value, expected);
        got[p] = s.value;
    }
    assert_int_equal(mmi_data_set_skipped(set), 7); /* each once, however often it was met */
    assert_int_equal(log_lines, 7);
    for (size_t i = 0; i < log_lines; i++) assert_non_null(strstr(logged[i], "/file:"));
    for (size_t p = 3 * LINES; p-- > LINES;) { /* a run that begins elsewhere sees the same */
        seen s = {.refuse = 7, .status = MM_E_LIMIT};
        assert_int_equal(mmi_data_set_read(f->ctx, late, p, note, &s), MM_OK);
        assert_int_equal(s.value, got[p]);
    }
    mmi_data_set_destroy(set);
    mmi_data_set_destroy(late);

    options.skip_bad = 0;
    strict = create(f, m, &options);
    for (size_t p = 0; p < LINES; p++) {
        const int wanted = (int)mmi_data_order_at(31, 0, LINES, p);
        seen s = {0};
        int is_bad = 0;
        for (size_t k = 0; k < 6; k++) is_bad |= wanted == bad[k];
        assert_int_equal(mmi_data_set_read(f->ctx, strict, p, note, &s), is_bad ? MM_E_FORMAT : MM_OK);
        if (is_bad) assert_sentence(f, "/file:");
    }
    mmi_data_set_destroy(strict);
    mmi_manifest_close(m);
}

static void does_not_skip_what_is_not_the_examples_fault(void **state)
{
    fixture *f = *state;
    mmi_manifest *m = numbers(f, NULL, 0);
    const mmi_data_set_options options = {.in_order = 1, .skip_bad = 1};
    mmi_data_set *set = create(f, m, &options);
    seen s = {.refuse = 0, .status = MM_E_NOMEM};

    assert_int_equal(mmi_data_set_read(f->ctx, set, 0, note, &s), MM_E_NOMEM);
    s.status = MM_E_CANCELLED;
    assert_int_equal(mmi_data_set_read(f->ctx, set, 0, note, &s), MM_E_CANCELLED);
    mm_context_cancel(f->ctx);
    assert_int_equal(mmi_data_set_read(f->ctx, set, 1, note, &s), MM_E_CANCELLED);
    assert_int_equal(mmi_data_set_skipped(set), 0);
    mmi_data_set_destroy(set);
    mmi_manifest_close(m);
}

static void says_when_all_are_bad(void **state)
{
    int bad[LINES];
    fixture *f = *state;
    const mmi_data_set_options options = {.seed = 1, .skip_bad = 1};
    mmi_manifest *m;
    mmi_data_set *set;
    seen s = {0};

    for (int i = 0; i < LINES; i++) bad[i] = i;
    m = numbers(f, bad, LINES);
    set = create(f, m, &options);
    log_lines = 0;
    assert_int_equal(mm_context_set_log(f->ctx, keep_log, NULL), MM_OK);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(mmi_data_set_read(f->ctx, set, 4, note, &s), MM_E_FORMAT);
        assert_sentence(f, "all 20 examples");
    }
    assert_int_equal(mmi_data_set_skipped(set), LINES);
    assert_int_equal(log_lines, 10); /* the first few */
    mmi_data_set_destroy(set);
    mmi_manifest_close(m);
}

/* ---------------------------------------------------------------- pictures through a prefetcher */

typedef struct {
    mmi_data_set *set;
    mmi_augment augment;
} loader;

static mm_status load_picture(mm_context *ctx, void *arg, const mmi_record *record, uint64_t epoch, size_t index)
{
    mmi_image *image = NULL, **out = ((void **)arg)[1];
    const loader *l = ((void **)arg)[0];
    mm_status st = mmi_image_read(ctx, record->images[0], 1 << 20, &image);

    if (!st) st = mmi_augment_run(ctx, &l->augment, 3, epoch, index, image, out);
    mmi_image_destroy(image);
    return st;
}

static mm_status make_batch(mm_context *ctx, void *arg, uint64_t step, void **batch)
{
    mmi_image *image = NULL;
    void *both[2] = {arg, &image};
    mm_status st = mmi_data_set_read(ctx, ((loader *)arg)->set, step, load_picture, both);

    *batch = image;
    return st;
}

static void drop_batch(void *arg, void *batch)
{
    (void)arg;
    mmi_image_destroy(batch);
}

/* The pictures of each step are the same with the thread, without it, and after a new beginning in the middle; a text named as a picture
 * is skipped. */
static void loads_the_same_pictures_ahead(void **state)
{
    static const char lines[] = "{\"image\": \"a.png\"}\n{\"image\": \"b.jpg\"}\n{\"image\": \"file\"}\n{\"image\": \"c.jpg\"}\n";
    static const char *const pictures[] = {"png_alpha_zero.png", "jpeg_420.jpg", "jpeg_wide.jpg"};
    static const char text[] = "{\"crop\": {\"size\": 12}, \"flip\": 0.5, \"color\": {\"hue\": 0.1, \"brightness\": 0.2}}";
    const mmi_data_set_options options = {.seed = 2, .skip_bad = 1};
    fixture *f = *state;
    const char *path = f->path;
    mm_context *ctx = NULL; /* of the C library's allocator, which two threads may use */
    mmi_manifest *m = NULL;
    mmi_json *doc = NULL;
    uint8_t first[24][12 * 12 * 3];

    for (int i = 0; i < 3; i++) {
        char from[128], to[160];
        size_t n;
        char *bytes;
        (void)snprintf(from, sizeof from, "tests/golden/images/%s", pictures[i]);
        (void)snprintf(to, sizeof to, "%s/%c.%s", f->folder, 'a' + i, i ? "jpg" : "png");
        bytes = read_golden(f, from, &n);
        write_file(to, bytes, n);
        mmi_free(bytes);
    }
    write_bytes(f, lines, strlen(lines));
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    log_lines = 0;
    assert_int_equal(mm_context_set_log(ctx, keep_log, NULL), MM_OK);
    assert_int_equal(mmi_manifest_open(ctx, &path, 1, &m), MM_OK);
    assert_int_equal(mmi_json_parse(ctx, "augment", text, strlen(text), &doc), MM_OK);
    for (int round = 0; round < 3; round++) {
        loader l = {0};
        mmi_prefetch_spec spec = {make_batch, drop_batch, &l, round == 2 ? 13 : 0, 24, round ? MMI_PREFETCH_DEPTH : 0};
        mmi_prefetch *p = NULL;

        assert_int_equal(mmi_augment_from_json(ctx, doc, mmi_json_root(doc), &l.augment), MM_OK);
        assert_int_equal(mmi_data_set_create(ctx, m, &options, &l.set), MM_OK);
        assert_int_equal(mmi_prefetch_create(ctx, &spec, &p), MM_OK);
        for (uint64_t step = spec.first; step < 24; step++) {
            void *batch = NULL;
            mmi_image *image;
            if (mmi_prefetch_take(ctx, p, &batch)) fail_msg("%s", ctx->error);
            image = batch;
            assert_int_equal(mmi_image_bytes(image), sizeof first[0]);
            if (!round)
                memcpy(first[step], image->pixels, sizeof first[0]);
            else
                assert_memory_equal(first[step], image->pixels, sizeof first[0]);
            mmi_image_destroy(image);
        }
        mmi_prefetch_destroy(p);
        assert_int_equal(mmi_data_set_skipped(l.set), 1);
        assert_int_equal(log_lines, round + 1);
        assert_non_null(strstr(logged[round], "/file:3: ")); /* although it is the reader of pictures that refuses */
        mmi_data_set_destroy(l.set);
    }
    mmi_json_destroy(doc);
    mmi_manifest_close(m);
    mm_context_destroy(ctx);
}

static mm_status visit(mm_context *ctx, const char *path)
{
    const mmi_data_set_options options = {.seed = 2, .skip_bad = 1};
    mmi_manifest *m = NULL;
    mmi_data_set *set = NULL;
    mm_status st = mmi_manifest_open(ctx, &path, 1, &m);
    seen s = {0};

    if (!st) st = mmi_data_set_create(ctx, m, &options, &set);
    for (size_t i = 0; i < LINES && !st; i++) st = mmi_data_set_read(ctx, set, i, note, &s);
    mmi_data_set_destroy(set);
    mmi_manifest_close(m);
    return st;
}

static void survives_failing_allocations(void **state)
{
    static const int bad[] = {2, 3};
    fixture *f = *state;

    mmi_manifest_close(numbers(f, bad, 2));
    visit_out_of_memory(f, visit, f->path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(goes_through_epochs, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_the_order_of_validation, setup, teardown),
        cmocka_unit_test_setup_teardown(skips_what_is_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(does_not_skip_what_is_not_the_examples_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_all_are_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(loads_the_same_pictures_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
