/* Sessions: however tokens came into one - whole, in pieces, after a rewind, as a fork, by a shared beginning, through a sliding window -
 * it answers as a new session does that reads the same tokens. With block-quantized weights that holds bit for bit; with others the
 * library behind cblas may sum in another order for another number of tokens.
 * SPDX-License-Identifier: MIT */
#include "model_fixture.h"

static const char *const quantized = "gguf_q4_0/model.gguf"; /* context 1024 */
static const char *const plain = "llama_tied_bias";          /* float32, context 1024 */

typedef struct {
    mm_context *ctx;
    mm_model *model;
    int64_t V;
    int exact; /* bits are compared */
} fixture;

static fixture open_fixture(const char *name)
{
    fixture f = {NULL, NULL, 0, 0};
    assert_int_equal(mm_context_create(NULL, &f.ctx), MM_OK);
    f.model = open_golden(f.ctx, name);
    f.V = fact(f.model, MM_MODEL_VOCABULARY);
    f.exact = strstr(name, "_q") != NULL;
    return f;
}

static void close_fixture(fixture *f)
{
    mm_model_release(f->model);
    mm_context_destroy(f->ctx);
}

static mm_session *new_session(const fixture *f)
{
    mm_session *s = NULL;
    ok(f->ctx, mm_session_create(f->ctx, f->model, &s));
    assert_non_null(s);
    return s;
}

/* Tokens that repeat nothing for long. */
static void fill(int32_t *ids, size_t n, uint32_t seed, int64_t V)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        ids[i] = (int32_t)(seed >> 8) % (int32_t)V;
        if (ids[i] < 0) ids[i] = 0;
    }
}

static float *copy_logits(const fixture *f, mm_session *s)
{
    const float *logits = NULL;
    float *copy = malloc((size_t)f->V * sizeof *copy);

    assert_non_null(copy);
    ok(f->ctx, mm_session_logits(s, &logits));
    memcpy(copy, logits, (size_t)f->V * sizeof *copy);
    return copy;
}

static void assert_same_logits(const fixture *f, const char *what, const float *have, const float *want)
{
    double worst = 0, largest = 0;

    for (int64_t v = 0; v < f->V; v++) {
        worst = fmax(worst, fabs((double)have[v] - (double)want[v]));
        largest = fmax(largest, fabs((double)want[v]));
    }
    assert_true(largest > 0.1 && isfinite(largest));
    if (f->exact ? memcmp(have, want, (size_t)f->V * sizeof *have) != 0
                 : !(worst <= 1e-3 * largest)) /* F16 keys and values may round apart */
        fail_msg("%s: logits differ by %g of %g", what, worst, largest);
}

/* The session's logits are those of a new session that reads its tokens at once. */
static void assert_as_fresh(const fixture *f, const char *what, mm_session *s)
{
    mm_session *fresh = new_session(f);
    float *have = copy_logits(f, s), *want;

    ok(f->ctx, mm_session_append_tokens(fresh, mm_session_tokens(s), mm_session_length(s)));
    want = copy_logits(f, fresh);
    assert_same_logits(f, what, have, want);
    free(have);
    free(want);
    mm_session_destroy(fresh);
}

static void chunks(fixture *f)
{
    enum { N = 600 };
    static const size_t pieces[][5] = {{1, 599}, {256, 256, 88}, {255, 2, 343}, {599, 1}, {100, 157, 64, 63, 216}};
    int32_t ids[N];
    mm_session *whole = new_session(f);
    float *want;

    fill(ids, N, 1, f->V);
    ok(f->ctx, mm_session_append_tokens(whole, ids, N));
    want = copy_logits(f, whole);
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        mm_session *s = new_session(f);
        float *have = NULL;
        size_t at = 0;
        for (size_t i = 0; i < 5 && pieces[p][i]; i++) {
            ok(f->ctx, mm_session_append_tokens(s, ids + at, pieces[p][i]));
            at += pieces[p][i];
            free(have);
            have = copy_logits(f, s);
        }
        assert_int_equal(at, N);
        assert_same_logits(f, "pieces", have, want);
        free(have);
        mm_session_destroy(s);
    }
    { /* appended in pieces, computed at once */
        mm_session *s = new_session(f);
        float *have;
        for (size_t i = 0; i < N; i++) ok(f->ctx, mm_session_append_tokens(s, &ids[i], 1));
        have = copy_logits(f, s);
        assert_same_logits(f, "one by one", have, want);
        free(have);
        mm_session_destroy(s);
    }
    free(want);
    mm_session_destroy(whole);
}

static void rewinds(fixture *f)
{
    int32_t ids[130], other[130];
    mm_session *s = new_session(f);

    fill(ids, 130, 2, f->V);
    fill(other, 130, 3, f->V);
    ok(f->ctx, mm_session_append_tokens(s, ids, 130));
    assert_as_fresh(f, "before the rewind", s);
    ok(f->ctx, mm_session_rewind(s, 130)); /* nothing to do */
    assert_as_fresh(f, "rewound by nothing", s);
    ok(f->ctx, mm_session_rewind(s, 129));
    assert_as_fresh(f, "rewound by one", s);
    ok(f->ctx, mm_session_append_tokens(s, other, 1));
    assert_as_fresh(f, "another last token", s);
    ok(f->ctx, mm_session_rewind(s, 63));
    ok(f->ctx, mm_session_append_tokens(s, other, 90));
    assert_as_fresh(f, "another second half", s);
    ok(f->ctx, mm_session_rewind(s, 1));
    assert_as_fresh(f, "rewound to one", s);
    ok(f->ctx, mm_session_rewind(s, 0));
    assert_int_equal(mm_session_length(s), 0);
    refused(f->ctx, mm_session_logits(s, &(const float *){NULL}), MM_E_STATE, "empty", (const char *)NULL);
    ok(f->ctx, mm_session_append_tokens(s, other, 70));
    assert_as_fresh(f, "begun again", s);
    refused(f->ctx, mm_session_rewind(s, 71), MM_E_ARGUMENT, "70", "71", (const char *)NULL);
    assert_int_equal(mm_session_length(s), 70);
    /* rewound before anything was computed */
    ok(f->ctx, mm_session_rewind(s, 0));
    ok(f->ctx, mm_session_append_tokens(s, ids, 20));
    ok(f->ctx, mm_session_rewind(s, 10));
    assert_as_fresh(f, "rewound uncomputed tokens", s);
    mm_session_destroy(s);
}

static void forks(fixture *f)
{
    static const size_t lengths[] = {1, 63, 64, 65, 128, 200};
    int32_t ids[200], other[40];

    fill(ids, 200, 4, f->V);
    fill(other, 40, 5, f->V);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        mm_session *s = new_session(f), *fork = NULL, *second = NULL;
        ok(f->ctx, mm_session_append_tokens(s, ids, lengths[i]));
        ok(f->ctx, mm_session_fork(s, &second)); /* before anything was computed */
        assert_as_fresh(f, "the original", s);
        ok(f->ctx, mm_session_fork(s, &fork));
        assert_int_equal(mm_session_length(fork), lengths[i]);
        assert_as_fresh(f, "the fork", fork);
        ok(f->ctx, mm_session_append_tokens(fork, other, 40));
        assert_as_fresh(f, "the fork goes on", fork);
        ok(f->ctx, mm_session_append_tokens(s, other + 20, 20));
        assert_as_fresh(f, "the original goes on", s);
        mm_session_destroy(s);
        ok(f->ctx, mm_session_append_tokens(fork, other, 5));
        assert_as_fresh(f, "the fork outlives the original", fork);
        mm_session_destroy(fork);
        assert_as_fresh(f, "the early fork", second);
        mm_session_destroy(second);
    }
    { /* an empty session */
        mm_session *s = new_session(f), *fork = NULL;
        ok(f->ctx, mm_session_fork(s, &fork));
        assert_int_equal(mm_session_length(fork), 0);
        ok(f->ctx, mm_session_append_tokens(fork, ids, 3));
        assert_as_fresh(f, "a fork of nothing", fork);
        mm_session_destroy(fork);
        mm_session_destroy(s);
    }
}

static void prefixes(fixture *f)
{
    int32_t ids[150], other[150];
    static const size_t same[] = {0, 1, 64, 100, 149};
    mm_session *s = new_session(f);

    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        fill(ids, 150, 6, f->V);
        fill(other, 150, 7, f->V);
        memcpy(other, ids, same[i] * sizeof *ids);
        other[same[i]] = (ids[same[i]] + 1) % (int32_t)f->V;
        ok(f->ctx, mm_session_set_tokens(s, ids, 150));
        assert_as_fresh(f, "set", s);
        ok(f->ctx, mm_session_set_tokens(s, other, 150));
        assert_memory_equal(mm_session_tokens(s), other, sizeof other);
        assert_as_fresh(f, "set with a shared beginning", s);
        ok(f->ctx, mm_session_set_tokens(s, other, same[i] + 1));
        assert_int_equal(mm_session_length(s), same[i] + 1);
        assert_as_fresh(f, "set to a beginning", s);
    }
    ok(f->ctx, mm_session_set_tokens(s, NULL, 0));
    assert_int_equal(mm_session_length(s), 0);
    mm_session_destroy(s);
}

/* After each token: first tokens kept, the rest the last ones, and the answer that of a new session. */
static void window(fixture *f, int64_t context, int64_t keep)
{
    int32_t ids[160];
    mm_session *s = new_session(f);
    size_t k = (size_t)keep, slides = 0;

    fill(ids, 160, 8, f->V);
    ok(f->ctx, mm_session_set_i64(s, MM_SESSION_CONTEXT, context));
    ok(f->ctx, mm_session_set_i64(s, MM_SESSION_WHEN_FULL, MM_WHEN_FULL_SLIDE));
    ok(f->ctx, mm_session_set_i64(s, MM_SESSION_KEEP, keep));
    for (size_t n = 1; n <= 160; n++) {
        size_t before = mm_session_length(s), length;
        ok(f->ctx, mm_session_append_tokens(s, &ids[n - 1], 1));
        length = mm_session_length(s);
        assert_in_range(length, 1, (size_t)context);
        if (length != before + 1) { /* the older half of what is not kept was dropped */
            size_t room = (size_t)context - k;
            slides++;
            assert_int_equal(before, context);
            assert_in_range(length, k + room / 2 - 1, k + room / 2 + 1);
        }
        assert_memory_equal(mm_session_tokens(s), ids, (length < k ? length : k) * sizeof *ids);
        if (length > k) assert_memory_equal(mm_session_tokens(s) + k, ids + n - (length - k), (length - k) * sizeof *ids);
        if (n % 7 == 0 || length != before + 1) assert_as_fresh(f, "window", s);
    }
    assert_true(slides >= 3);
    mm_session_destroy(s);
}

static void test_pieces(void **state)
{
    (void)state;
    /* the last two: keys out of sight, and a cache that is computed anew when the text passes 32 tokens, or falls below */
    for (int i = 0; i < 4; i++) {
        fixture f = open_fixture((const char *const[]){quantized, plain, "qwen2_window", "phi3_longrope"}[i]);
        chunks(&f);
        rewinds(&f);
        forks(&f);
        prefixes(&f);
        window(&f, 32, 4);
        window(&f, 33, 0);
        window(&f, 40, 11);
        close_fixture(&f);
    }
}

/* The same, with a float32 cache and three threads. */
static void test_pieces_with_threads(void **state)
{
    fixture f = open_fixture(quantized);
    (void)state;

    ok(f.ctx, mm_context_set_i64(f.ctx, MM_CONTEXT_THREADS, 3));
    chunks(&f);
    forks(&f);
    close_fixture(&f);
}

/* Generation with a window never ends for lack of room, and goes on as its tokens say. */
static void test_generation_slides(void **state)
{
    fixture f = open_fixture(quantized);
    mm_session *s = new_session(&f);
    int32_t ids[10], reason = 0;
    (void)state;

    fill(ids, 10, 9, f.V);
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_CONTEXT, 24));
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_WHEN_FULL, MM_WHEN_FULL_SLIDE));
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_KEEP, 2));
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 100));
    ok(f.ctx, mm_session_append_tokens(s, ids, 10));
    ok(f.ctx, mm_session_generate(s, NULL, NULL, &reason));
    assert_int_equal(reason, MM_STOP_LENGTH);
    assert_in_range(mm_session_length(s), 13, 24);
    assert_memory_equal(mm_session_tokens(s), ids, 2 * sizeof *ids);
    assert_as_fresh(&f, "after sliding", s);
    /* more at once than the window holds */
    {
        int32_t many[100];
        fill(many, 100, 10, f.V);
        ok(f.ctx, mm_session_append_tokens(s, many, 100));
        assert_in_range(mm_session_length(s), 3, 24);
        assert_memory_equal(mm_session_tokens(s) + 2, many + 100 - (mm_session_length(s) - 2), (mm_session_length(s) - 2) * sizeof *many);
        assert_as_fresh(&f, "after a long text", s);
    }
    mm_session_destroy(s);
    close_fixture(&f);
}

static void test_context_full(void **state)
{
    fixture f = open_fixture("llama_gqa"); /* 128 */
    mm_session *s = new_session(&f);
    int32_t ids[140], reason = 0;
    (void)state;

    fill(ids, 140, 11, f.V);
    refused(f.ctx, mm_session_append_tokens(s, ids, 129), MM_E_CONTEXT_FULL, "129", "128", (const char *)NULL);
    assert_int_equal(mm_session_length(s), 0);
    refused(f.ctx, mm_session_set_tokens(s, ids, 129), MM_E_CONTEXT_FULL, "129", "128", (const char *)NULL);
    ok(f.ctx, mm_session_append_tokens(s, ids, 120));
    refused(f.ctx, mm_session_append_tokens(s, ids, 9), MM_E_CONTEXT_FULL, "120", "9", (const char *)NULL);
    assert_int_equal(mm_session_length(s), 120);
    ok(f.ctx, mm_session_generate(s, NULL, NULL, &reason));
    assert_int_equal(reason, MM_STOP_FULL);
    assert_int_equal(mm_session_length(s), 128);
    assert_as_fresh(&f, "full", s);
    refused(f.ctx, mm_session_generate(s, NULL, NULL, &reason), MM_E_CONTEXT_FULL, "128", (const char *)NULL);
    assert_int_equal(reason, MM_STOP_NONE);
    assert_int_equal(mm_session_length(s), 128);
    /* a smaller context is kept too, and cannot be set below what is held */
    refused(f.ctx, mm_session_set_i64(s, MM_SESSION_CONTEXT, 100), MM_E_STATE, "128", "100", (const char *)NULL);
    ok(f.ctx, mm_session_rewind(s, 50));
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_CONTEXT, 60));
    refused(f.ctx, mm_session_append_tokens(s, ids, 11), MM_E_CONTEXT_FULL, "60", (const char *)NULL);
    ok(f.ctx, mm_session_append_tokens(s, ids, 10));
    mm_session_destroy(s);
    close_fixture(&f);
}

/* Half precision keys and values move the logits by about 2^-11 and no more. */
static void test_kv_types(void **state)
{
    fixture f = open_fixture(plain);
    mm_session *half = new_session(&f), *full = new_session(&f);
    int32_t ids[300];
    float *a, *b;
    double worst = 0, largest = 0;
    (void)state;

    fill(ids, 300, 12, f.V);
    ok(f.ctx, mm_session_set_i64(full, MM_SESSION_KV_TYPE, MM_DTYPE_F32));
    ok(f.ctx, mm_session_append_tokens(half, ids, 300));
    ok(f.ctx, mm_session_append_tokens(full, ids, 300));
    a = copy_logits(&f, half);
    b = copy_logits(&f, full);
    for (int64_t v = 0; v < f.V; v++) {
        worst = fmax(worst, fabs((double)a[v] - (double)b[v]));
        largest = fmax(largest, fabs((double)b[v]));
    }
    assert_true(worst > 0); /* it is another type */
    assert_true(worst <= 5e-3 * largest);
    refused(f.ctx, mm_session_set_i64(full, MM_SESSION_KV_TYPE, MM_DTYPE_F16), MM_E_STATE, "300", (const char *)NULL);
    refused(f.ctx, mm_session_set_i64(full, MM_SESSION_KV_TYPE, MM_DTYPE_BF16), MM_E_ARGUMENT, "2", (const char *)NULL);
    /* an emptied session changes its type after it computed */
    ok(f.ctx, mm_session_rewind(full, 0));
    ok(f.ctx, mm_session_set_i64(full, MM_SESSION_KV_TYPE, MM_DTYPE_F16));
    ok(f.ctx, mm_session_append_tokens(full, ids, 300));
    free(b);
    b = copy_logits(&f, full);
    assert_memory_equal(a, b, (size_t)f.V * sizeof *a);
    free(a);
    free(b);
    mm_session_destroy(half);
    mm_session_destroy(full);
    close_fixture(&f);
}

/* Text. */

typedef struct {
    char text[4096];
    size_t size;
    int calls;
    int stop_after; /* calls; 0: never */
    size_t last_size;
    int32_t ids[512];
} collected;

static int32_t collect(void *user, int32_t id, const char *text, size_t size)
{
    collected *c = user;

    assert_true(c->size + size < sizeof c->text);
    assert_int_equal(strlen(text), size);
    memcpy(c->text + c->size, text, size + 1);
    c->size += size;
    c->ids[c->calls++] = id;
    c->last_size = size;
    return c->stop_after && c->calls >= c->stop_after;
}

static const char prompt[] = "the man on the train";

/* What the greedy continuation of the prompt reads, with these stop texts (NULL at the end). */
static collected continued(const fixture *f, int64_t tokens, const char *const *stops, int32_t want)
{
    collected c;
    mm_session *s = new_session(f);
    int32_t reason = -1;

    memset(&c, 0, sizeof c);
    ok(f->ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, tokens));
    for (; stops && *stops; stops++) ok(f->ctx, mm_session_set_str(s, MM_SESSION_STOP, *stops));
    ok(f->ctx, mm_session_append_text(s, prompt));
    ok(f->ctx, mm_session_generate(s, collect, &c, &reason));
    assert_int_equal(reason, want);
    mm_session_destroy(s);
    return c;
}

static void test_text_is_begun_once(void **state)
{
    fixture f = open_fixture("llama_words");
    mm_session *s = new_session(&f);
    size_t n;
    (void)state;

    assert_string_equal(mm_model_get_str(f.model, MM_MODEL_TOKENIZER), "BPE");
    ok(f.ctx, mm_session_append_text(s, prompt));
    n = mm_session_length(s);
    assert_true(n > 5);
    assert_int_equal(mm_session_tokens(s)[0], 0); /* <s> */
    ok(f.ctx, mm_session_append_text(s, " and"));
    assert_true(mm_session_length(s) > n);
    for (size_t i = 1; i < mm_session_length(s); i++) assert_int_not_equal(mm_session_tokens(s)[i], 0);
    /* special tokens spelled out in the text */
    n = mm_session_length(s);
    ok(f.ctx, mm_session_append_text(s, "</s>"));
    assert_int_equal(mm_session_length(s), n + 1);
    assert_int_equal(mm_session_tokens(s)[n], 1);
    refused(f.ctx, mm_session_append_text(s, "a\xFF\xFE"), MM_E_FORMAT, "byte 1", (const char *)NULL);
    assert_int_equal(mm_session_length(s), n + 1);
    mm_session_destroy(s);
    close_fixture(&f);
}

/* Every substring of the continuation as a stop text: the text before its first place comes, and nothing of it. */
static void test_stop_texts(void **state)
{
    fixture f = open_fixture("llama_words");
    collected all = continued(&f, 60, NULL, MM_STOP_LENGTH);
    size_t tried = 0;
    (void)state;

    assert_true(all.size >= 60);
    assert_int_equal(all.calls, 60);
    for (size_t at = 3; at + 9 < all.size; at += 5)
        for (size_t n = 1; n <= 9; n += 4) {
            char stop[16];
            const char *stops[2] = {stop, NULL};
            collected c;
            memcpy(stop, all.text + at, n);
            stop[n] = 0;
            c = continued(&f, 60, stops, MM_STOP_TEXT);
            if (c.size != (size_t)(strstr(all.text, stop) - all.text) || memcmp(c.text, all.text, c.size))
                fail_msg("with stop text \"%s\" came \"%s\" of \"%s\"", stop, c.text, all.text);
            tried++;
        }
    assert_true(tried > 20);
    { /* the first of several */
        char a[8] = {0}, b[8] = {0};
        const char *stops[3] = {a, b, NULL};
        collected c;
        memcpy(a, all.text + 40, 6);
        memcpy(b, all.text + 20, 6);
        c = continued(&f, 60, stops, MM_STOP_TEXT);
        assert_true(c.size <= 20);
        assert_memory_equal(c.text, all.text, c.size);
    }
    { /* what only began a stop text is handed out after all, at the latest at the end */
        char stop[16] = {0};
        const char *stops[2] = {stop, NULL};
        collected c;
        memcpy(stop, all.text + all.size - 8, 8);
        stop[8] = '~'; /* in no token */
        c = continued(&f, 60, stops, MM_STOP_LENGTH);
        assert_string_equal(c.text, all.text);
        assert_int_equal(c.ids[c.calls - 1], -1);
    }
    { /* forgotten ones do nothing */
        mm_session *s = new_session(&f);
        collected c;
        char stop[4] = {all.text[10], all.text[11], 0, 0};
        int32_t reason = 0;
        memset(&c, 0, sizeof c);
        ok(f.ctx, mm_session_set_str(s, MM_SESSION_STOP, stop));
        ok(f.ctx, mm_session_set_str(s, MM_SESSION_STOP, NULL));
        ok(f.ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 60));
        ok(f.ctx, mm_session_append_text(s, prompt));
        ok(f.ctx, mm_session_generate(s, collect, &c, &reason));
        assert_int_equal(reason, MM_STOP_LENGTH);
        assert_string_equal(c.text, all.text);
        refused(f.ctx, mm_session_set_str(s, MM_SESSION_STOP, ""), MM_E_ARGUMENT, (const char *)NULL);
        refused(f.ctx, mm_session_set_str(s, 999, "x"), MM_E_ARGUMENT, "999", (const char *)NULL);
        mm_session_destroy(s);
    }
    { /* a fork stops where its original does */
        mm_session *s = new_session(&f), *fork = NULL;
        collected a, b;
        char stop[8] = {0};
        int32_t reason = 0;
        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
        memcpy(stop, all.text + 30, 5);
        ok(f.ctx, mm_session_set_str(s, MM_SESSION_STOP, stop));
        ok(f.ctx, mm_session_append_text(s, prompt));
        ok(f.ctx, mm_session_fork(s, &fork));
        ok(f.ctx, mm_session_generate(s, collect, &a, &reason));
        assert_int_equal(reason, MM_STOP_TEXT);
        ok(f.ctx, mm_session_generate(fork, collect, &b, &reason));
        assert_int_equal(reason, MM_STOP_TEXT);
        assert_string_equal(a.text, b.text);
        mm_session_destroy(s);
        mm_session_destroy(fork);
    }
    close_fixture(&f);
}

static void test_callback_stops(void **state)
{
    fixture f = open_fixture("llama_words");
    collected all = continued(&f, 40, NULL, MM_STOP_LENGTH), c;
    mm_session *s = new_session(&f);
    int32_t reason = 0;
    size_t n;
    (void)state;

    memset(&c, 0, sizeof c);
    c.stop_after = 7;
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 40));
    ok(f.ctx, mm_session_append_text(s, prompt));
    n = mm_session_length(s);
    ok(f.ctx, mm_session_generate(s, collect, &c, &reason));
    assert_int_equal(reason, MM_STOP_CALLBACK);
    assert_int_equal(c.calls, 7);
    assert_int_equal(mm_session_length(s), n + 7);
    /* and on from there: the same text */
    c.stop_after = 0;
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 33));
    ok(f.ctx, mm_session_generate(s, collect, &c, &reason));
    assert_string_equal(c.text, all.text);
    for (int i = 0; i < 40; i++) assert_int_equal(c.ids[i], all.ids[i]);
    mm_session_destroy(s);
    close_fixture(&f);
}

/* Greedy under a grammar is the best token that one of its sentences goes on with, found here by comparing texts; an end token is best only where a
 * sentence ends. */
static void test_grammar(void **state)
{
    static const char *const sentences[] = {"the end", "then", "on a stone.", "on an art", "ZZ"};
    fixture f = open_fixture("llama_words");
    mm_session *s = new_session(&f), *fork = NULL;
    const mm_tokenizer *t = mm_model_tokenizer(f.model);
    collected c;
    char have[64] = "";
    int32_t reason = 0, ids[64];
    size_t n = 0, size = 0;
    int ended = 0;
    (void)state;

    ok(f.ctx, mm_session_set_str(s, MM_SESSION_GRAMMAR, "root ::= \"the\" (\" end\" | \"n\") | \"on a\" ( \" stone.\" | \"n art\") | \"ZZ\""));
    ok(f.ctx, mm_session_append_text(s, prompt));
    ok(f.ctx, mm_session_fork(s, &fork));
    while (!ended) { /* by hand, in a session without a grammar */
        mm_session *plain_session = new_session(&f);
        const float *logits = NULL;
        int64_t best = -1;
        char text[80];

        ok(f.ctx, mm_session_append_text(plain_session, prompt));
        ok(f.ctx, mm_session_append_tokens(plain_session, ids, n));
        ok(f.ctx, mm_session_logits(plain_session, &logits));
        for (int64_t id = 0; id < f.V; id++) {
            char *piece = NULL;
            int32_t one = (int32_t)id, is_end = id == 1 || id == 24, may = 0;
            ok(f.ctx, mm_tokenizer_decode(t, f.ctx, &one, 1, MM_TOKENS_SKIP_SPECIAL, &piece, &size));
            (void)snprintf(text, sizeof text, "%s%s", have, is_end ? "" : piece);
            for (int k = 0; k < 5; k++) may |= is_end ? !strcmp(sentences[k], have) : *piece && !strncmp(sentences[k], text, strlen(text));
            mm_text_free(piece);
            if (may && (best < 0 || logits[id] > logits[best])) best = id;
        }
        assert_true(best >= 0);
        ids[n++] = (int32_t)best;
        ended = best == 1 || best == 24;
        if (!ended) {
            char *piece = NULL;
            ok(f.ctx, mm_tokenizer_decode(t, f.ctx, &ids[n - 1], 1, MM_TOKENS_SKIP_SPECIAL, &piece, &size));
            (void)strncat(have, piece, sizeof have - strlen(have) - 1);
            mm_text_free(piece);
        }
        mm_session_destroy(plain_session);
    }
    for (int round = 0; round < 2; round++) { /* the session, then its fork */
        mm_session *one = round ? fork : s;
        size_t before = mm_session_length(one);
        memset(&c, 0, sizeof c);
        ok(f.ctx, mm_session_generate(one, collect, &c, &reason));
        assert_int_equal(reason, MM_STOP_END);
        assert_string_equal(c.text, have);
        assert_int_equal(mm_session_length(one), before + n);
        for (size_t i = 0; i < n; i++) assert_int_equal(mm_session_tokens(one)[before + i], ids[i]);
    }
    /* Drawn at random each sentence comes, and nothing else; each generate begins anew. */
    {
        int seen[5] = {0};
        ok(f.ctx, mm_session_set_f64(s, MM_SESSION_TEMPERATURE, 20));
        for (int i = 0; i < 60; i++) {
            int which = -1;
            ok(f.ctx, mm_session_rewind(s, 4));
            memset(&c, 0, sizeof c);
            ok(f.ctx, mm_session_generate(s, collect, &c, &reason));
            for (int k = 0; k < 5; k++)
                if (!strcmp(c.text, sentences[k])) which = k;
            if (which < 0 || reason != MM_STOP_END) fail_msg("\"%s\" ended with %d", c.text, reason);
            seen[which]++;
        }
        assert_true(seen[0] && seen[1] && seen[2] && seen[3] && !seen[4]); /* no token is a Z */
    }
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_BEAMS, 3)); /* the same for sequences side by side */
    ok(f.ctx, mm_session_rewind(s, 4));
    memset(&c, 0, sizeof c);
    ok(f.ctx, mm_session_generate(s, collect, &c, &reason));
    for (n = 0; n < 4 && strcmp(c.text, sentences[n]); n++) {}
    assert_true(n < 4 && reason == MM_STOP_END);
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_BEAMS, 1));
    /* What is refused changes nothing; NULL takes the grammar away; a grammar that no token can follow is told. */
    refused(f.ctx, mm_session_set_str(s, MM_SESSION_GRAMMAR, "root ::= x"), MM_E_FORMAT, "\"x\"", NULL);
    refused(f.ctx, mm_session_set_str(s, MM_SESSION_JSON_SCHEMA, "{\"not\": {}}"), MM_E_UNSUPPORTED, "\"not\"", NULL);
    memset(&c, 0, sizeof c);
    ok(f.ctx, mm_session_generate(s, collect, &c, &reason));
    assert_int_equal(reason, MM_STOP_END);
    ok(f.ctx, mm_session_set_str(s, MM_SESSION_GRAMMAR, "root ::= \"a Z\""));
    refused(f.ctx, mm_session_generate(s, NULL, NULL, &reason), MM_E_STATE, "no token can follow", NULL);
    ok(f.ctx, mm_session_set_str(s, MM_SESSION_JSON_SCHEMA, "{\"type\": \"null\"}")); /* the words have no braces */
    memset(&c, 0, sizeof c);
    ok(f.ctx, mm_session_generate(s, collect, &c, &reason));
    assert_string_equal(c.text, "null");
    ok(f.ctx, mm_session_set_str(s, MM_SESSION_GRAMMAR, NULL));
    ok(f.ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 20));
    memset(&c, 0, sizeof c);
    ok(f.ctx, mm_session_generate(s, collect, &c, &reason));
    assert_string_not_equal(c.text, "null");
    mm_session_destroy(s);
    mm_session_destroy(fork);
    close_fixture(&f);
    f = open_fixture(plain); /* no tokenizer */
    s = new_session(&f);
    refused(f.ctx, mm_session_set_str(s, MM_SESSION_GRAMMAR, "root ::= \"a\""), MM_E_UNSUPPORTED, "tokenizer", NULL);
    ok(f.ctx, mm_session_set_str(s, MM_SESSION_GRAMMAR, NULL));
    mm_session_destroy(s);
    close_fixture(&f);
}

/* A seed fixes what is written; another seed writes something else; likeliest-only sampling is greedy at any temperature. */
static void test_sampling_options(void **state)
{
    fixture f = open_fixture("llama_words");
    int32_t run[4][30], reason = 0;
    (void)state;

    for (int i = 0; i < 4; i++) {
        mm_session *s = new_session(&f);
        size_t n;
        ok(f.ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 30));
        if (i < 3) {
            ok(f.ctx, mm_session_set_f64(s, MM_SESSION_TEMPERATURE, 3.0));
            ok(f.ctx, mm_session_set_i64(s, MM_SESSION_SEED, i == 1 ? 8 : 7));
        } else {
            ok(f.ctx, mm_session_set_f64(s, MM_SESSION_TEMPERATURE, 1.5));
            ok(f.ctx, mm_session_set_i64(s, MM_SESSION_TOP_K, 1));
        }
        ok(f.ctx, mm_session_append_text(s, prompt));
        n = mm_session_length(s);
        ok(f.ctx, mm_session_generate(s, NULL, NULL, &reason));
        for (size_t t = 0; t < 30; t++) run[i][t] = n + t < mm_session_length(s) ? mm_session_tokens(s)[n + t] : -1;
        mm_session_destroy(s);
    }
    assert_memory_equal(run[0], run[2], sizeof run[0]);
    assert_memory_not_equal(run[0], run[1], sizeof run[0]);
    {
        collected all = continued(&f, 30, NULL, MM_STOP_LENGTH);
        assert_memory_equal(run[3], all.ids, sizeof run[3]);
    }
    close_fixture(&f);
}

static void test_option_bounds(void **state)
{
#define NAMED(option) {option, #option}
    static const struct {
        int32_t option;
        const char *name;
    } integers[] = {NAMED(MM_SESSION_MAX_TOKENS), NAMED(MM_SESSION_CONTEXT), NAMED(MM_SESSION_WHEN_FULL), NAMED(MM_SESSION_KEEP),
                    NAMED(MM_SESSION_TOP_K), NAMED(MM_SESSION_SEED), NAMED(MM_SESSION_REPEAT_LAST), NAMED(MM_SESSION_KV_TYPE),
                    NAMED(MM_SESSION_PARSE_SPECIAL), NAMED(MM_SESSION_BEAMS), NAMED(MM_SESSION_EARLY_STOPPING)},
      numbers[] = {NAMED(MM_SESSION_TEMPERATURE), NAMED(MM_SESSION_TOP_P), NAMED(MM_SESSION_MIN_P), NAMED(MM_SESSION_REPEAT_PENALTY),
                   NAMED(MM_SESSION_PRESENCE_PENALTY), NAMED(MM_SESSION_FREQUENCY_PENALTY), NAMED(MM_SESSION_LENGTH_PENALTY)};
#undef NAMED
    fixture f = open_fixture("llama_gqa");
    mm_session *s = new_session(&f);
    (void)state;

    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        int64_t low = 1, high = 0;
        assert_int_equal(mm_session_bounds_i64(integers[i].option, &low, &high), MM_OK);
        assert_true(low < high);
        ok(f.ctx, mm_session_set_i64(s, integers[i].option, low));
        if (integers[i].option != MM_SESSION_CONTEXT) ok(f.ctx, mm_session_set_i64(s, integers[i].option, high));
        if (low > INT64_MIN) refused(f.ctx, mm_session_set_i64(s, integers[i].option, low - 1), MM_E_ARGUMENT, integers[i].name, (const char *)NULL);
        if (high < INT64_MAX) refused(f.ctx, mm_session_set_i64(s, integers[i].option, high + 1), MM_E_ARGUMENT, integers[i].name, (const char *)NULL);
        assert_int_equal(mm_session_bounds_f64(integers[i].option, &(double){0}, &(double){0}), MM_E_ARGUMENT);
    }
    refused(f.ctx, mm_session_set_i64(s, MM_SESSION_CONTEXT, 129), MM_E_ARGUMENT, "128", (const char *)NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double low = 1, high = 0;
        assert_int_equal(mm_session_bounds_f64(numbers[i].option, &low, &high), MM_OK);
        assert_true(low < high);
        ok(f.ctx, mm_session_set_f64(s, numbers[i].option, low));
        ok(f.ctx, mm_session_set_f64(s, numbers[i].option, high));
        refused(f.ctx, mm_session_set_f64(s, numbers[i].option, low - 0.001), MM_E_ARGUMENT, numbers[i].name, (const char *)NULL);
        refused(f.ctx, mm_session_set_f64(s, numbers[i].option, high + 0.001), MM_E_ARGUMENT, numbers[i].name, (const char *)NULL);
        refused(f.ctx, mm_session_set_f64(s, numbers[i].option, (double)NAN), MM_E_ARGUMENT, numbers[i].name, (const char *)NULL);
        refused(f.ctx, mm_session_set_f64(s, numbers[i].option, (double)INFINITY), MM_E_ARGUMENT, numbers[i].name, (const char *)NULL);
    }
    refused(f.ctx, mm_session_set_i64(s, 999, 1), MM_E_ARGUMENT, "999", (const char *)NULL);
    refused(f.ctx, mm_session_set_f64(s, 999, 1), MM_E_ARGUMENT, "999", (const char *)NULL);
    assert_int_equal(mm_session_bounds_i64(999, &(int64_t){0}, &(int64_t){0}), MM_E_ARGUMENT);
    mm_session_destroy(s);
    close_fixture(&f);
}

static void test_arguments(void **state)
{
    fixture f = open_fixture("llama_gqa");
    mm_model *bert = open_golden(f.ctx, "bert");
    mm_session *s = new_session(&f), *none = (mm_session *)1;
    int32_t bad[3] = {1, 67, 2}, negative[2] = {1, -1}, reason = 0;
    (void)state;

    refused(f.ctx, mm_session_create(f.ctx, bert, &none), MM_E_UNSUPPORTED, "BertModel", (const char *)NULL);
    assert_null(none);
    assert_int_equal(mm_session_create(NULL, f.model, &none), MM_E_ARGUMENT);
    refused(f.ctx, mm_session_create(f.ctx, NULL, &none), MM_E_ARGUMENT, (const char *)NULL);
    refused(f.ctx, mm_session_append_tokens(s, bad, 3), MM_E_ARGUMENT, "67", "66", (const char *)NULL);
    refused(f.ctx, mm_session_append_tokens(s, negative, 2), MM_E_ARGUMENT, "-1", (const char *)NULL);
    refused(f.ctx, mm_session_set_tokens(s, bad, 3), MM_E_ARGUMENT, "67", (const char *)NULL);
    assert_int_equal(mm_session_length(s), 0);
    refused(f.ctx, mm_session_append_text(s, "a"), MM_E_UNSUPPORTED, "tokenizer", (const char *)NULL);
    refused(f.ctx, mm_session_generate(s, NULL, NULL, &reason), MM_E_STATE, "empty", (const char *)NULL);
    refused(f.ctx, mm_session_append_tokens(s, NULL, 1), MM_E_ARGUMENT, (const char *)NULL);
    ok(f.ctx, mm_session_append_tokens(s, NULL, 0));
    assert_int_equal(mm_session_append_text(NULL, "a"), MM_E_ARGUMENT);
    assert_int_equal(mm_session_generate(NULL, NULL, NULL, NULL), MM_E_ARGUMENT);
    assert_int_equal(mm_session_length(NULL), 0);
    assert_null(mm_session_tokens(NULL));
    mm_session_destroy(NULL);
    ok(f.ctx, mm_session_append_tokens(s, bad, 1)); /* still good */
    assert_as_fresh(&f, "after refusals", s);
    mm_session_destroy(s);
    mm_model_release(bert);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_pieces_with_threads),
        cmocka_unit_test(test_generation_slides),
        cmocka_unit_test(test_context_full),
        cmocka_unit_test(test_kv_types),
        cmocka_unit_test(test_text_is_begun_once),
        cmocka_unit_test(test_stop_texts),
        cmocka_unit_test(test_callback_stops),
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_sampling_options),
        cmocka_unit_test(test_option_bounds),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
