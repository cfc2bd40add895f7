/* Whole models against transformers: every tiny checkpoint of tests/golden/make_models.py and its kin, opened, run and compared through the public
 * API; then what must not change a result: threads, processor levels, neighbours in a batch, a second context.
 * SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include <glob.h>
#include <pthread.h>

/* Beside its own reference a block-quantized model is held against one that rounds activations as the engine is documented to
 * do: rows agree to float32 order. But now and then an activation lies so near to the middle between two codes that it goes the other
 * way, one step of 1/127 in one of at least 32 terms, which the layers behind it may enlarge: few rows may be off by that. */
static const double ROUNDED_MOST = 2e-2;
static const double ROUNDED_ROW = 1e-3;
static const double ROUNDED_ROWS = 0.05; /* share of the rows above ROUNDED_ROW; one is always allowed */

enum { LEAST_CASES = 230, LEAST_GREEDY = 75 }; /* fewer: the lists were cut */

typedef enum { CASE_EXACT, CASE_INT8, CASE_JOINT } case_kind;

typedef void (*case_fn)(mm_context *ctx, mm_model *model, const char *name, const char *file, case_kind kind);

/* Lines of every family's list: models/<family>.cases.txt or .greedy.txt. */
static size_t for_each_line(const char *pattern, void (*fn)(void *arg, const char *line), void *arg)
{
    glob_t files;
    char line[192];
    size_t n = 0;

    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        FILE *list = fopen(files.gl_pathv[i], "r");
        assert_non_null(list);
        for (; fgets(line, sizeof line, list); n++) fn(arg, line);
        (void)fclose(list);
    }
    globfree(&files);
    return n;
}

typedef struct {
    mm_context *ctx;
    case_fn fn;
    mm_model *model;
    char last[64];
} case_walk;

static void visit_case(void *arg, const char *line)
{
    case_walk *w = arg;
    char name[64], file[64], kind[16];

    assert_int_equal(sscanf(line, "%63s %63s %15s", name, file, kind), 3);
    assert_true(!strcmp(kind, "exact") || !strcmp(kind, "int8") || !strcmp(kind, "joint"));
    if (strcmp(name, w->last)) {
        mm_model_release(w->model);
        w->model = open_golden(w->ctx, name);
        strcpy(w->last, name);
    }
    w->fn(w->ctx, w->model, name, file, kind[0] == 'i' ? CASE_INT8 : kind[0] == 'j' ? CASE_JOINT : CASE_EXACT);
}

static size_t for_each_case(mm_context *ctx, case_fn fn)
{
    case_walk w = {ctx, fn, NULL, ""};
    size_t n = for_each_line(MODELS "*.cases.txt", visit_case, &w);

    mm_model_release(w.model);
    return n;
}

static mm_tensor_map *forward(mm_context *ctx, const mm_model *model, const mm_tensor_map *in)
{
    mm_tensor_map *out = NULL;
    ok(ctx, mm_model_forward(model, ctx, in, &out));
    assert_non_null(out);
    return out;
}

static double worst_exact, worst_rounded;

/* Rows of logits whose error, relative to the largest of all, is above `bound`. */
static size_t rows_above(const mm_tensor *have, const mm_tensor *want, const mm_tensor *mask, double bound)
{
    const float *a = mm_tensor_const_data(have), *b = mm_tensor_const_data(want);
    size_t cols = (size_t)mm_tensor_shape(want)[mm_tensor_rank(want) - 1], rows = (size_t)mm_tensor_elements(want) / cols, n = 0;
    double largest = 0;

    for (size_t i = 0; i < rows * cols; i++) largest = fmax(largest, fabs((double)b[i]));
    for (size_t r = 0; r < rows; r++) {
        double worst = 0;
        for (size_t c = 0; c < cols; c++) worst = fmax(worst, fabs((double)a[r * cols + c] - (double)b[r * cols + c]));
        n += worst > bound * largest && !(mask && !((const int64_t *)mm_tensor_const_data(mask))[r]);
    }
    return n;
}

static void compare_case(mm_context *ctx, mm_model *model, const char *name, const char *file, case_kind kind)
{
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *want = read_golden(ctx, name, file, "out"), *have = forward(ctx, model, in);
    char what[192], rounded_name[64];

    assert_true(mm_tensor_map_count(want) > 0);
    for (size_t i = 0; i < mm_tensor_map_count(want); i++) {
        const char *key = mm_tensor_map_name(want, i);
        const mm_tensor *w = mm_tensor_map_at(want, i), *h = mm_tensor_map_get(have, key), *mask = mask_of(in, key), *rounded;
        double error;
        size_t off;
        if (strchr(key, '.')) continue; /* beside an output */
        (void)snprintf(what, sizeof what, "%s %s %s", name, file, key);
        if (mm_tensor_dtype(w) == MM_DTYPE_I32) { /* indices */
            assert_true(h && mm_tensor_dtype(h) == MM_DTYPE_I32 && mm_tensor_bytes(h) == mm_tensor_bytes(w));
            assert_memory_equal(mm_tensor_const_data(h), mm_tensor_const_data(w), mm_tensor_bytes(w));
            continue;
        }
        assert_same_shape(what, h, w);
        if (kind == CASE_INT8) {
            (void)snprintf(rounded_name, sizeof rounded_name, "%s.int8", key);
            rounded = mm_tensor_map_get(want, rounded_name);
            assert_non_null(rounded);
            error = relative_error(h, rounded, mask);
            worst_rounded = fmax(worst_rounded, error);
            if (!(error <= ROUNDED_MOST)) fail_msg("%s: relative error %g beside the reference with rounded activations", what, error);
            off = rows_above(h, rounded, mask, ROUNDED_ROW);
            if (off > 1 && (double)off > ROUNDED_ROWS * (double)mm_tensor_shape(w)[1])
                fail_msg("%s: %zu rows differ from the reference with rounded activations", what, off);
            error = relative_error(h, w, mask);
            if (!(error <= 1.5 * relative_error(rounded, w, mask)))
                fail_msg("%s: relative error %g, more than rounding explains", what, error);
        } else {
            error = relative_error(h, w, mask);
            worst_exact = fmax(worst_exact, error);
            if (!(error <= EXACT)) fail_msg("%s: relative error %g, allowed %g", what, error, EXACT);
        }
    }
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(want);
    mm_tensor_map_destroy(have);
}

static void test_outputs_equal_transformers(void **state)
{
    mm_context *ctx = NULL;
    int64_t before;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1)); /* no pool, whose memory stays */
    {
        mm_model *first = open_golden(ctx, "llama_gqa"); /* makes what the context keeps */
        compare_case(ctx, first, "llama_gqa", "len7", CASE_EXACT);
        mm_model_release(first);
    }
    before = memory_used(ctx);
    assert_true(for_each_case(ctx, compare_case) >= LEAST_CASES);
    assert_int_equal(memory_used(ctx), before);
    print_message("largest relative error %.2g; of quantized models beside the rounded reference %.2g\n", worst_exact, worst_rounded);
    mm_context_destroy(ctx);
}

/* Each level that the processor has gives the expected outputs. */
static void test_every_level(void **state)
{
    (void)state;
    for (int64_t level = MM_CPU_REFERENCE; level <= MM_CPU_AMX; level++) {
        mm_context *ctx = NULL;
        int64_t have = -1;
        assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
        ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_CPU_LEVEL, level));
        ok(ctx, mm_context_get_i64(ctx, MM_CONTEXT_CPU_LEVEL, &have));
        if (have == level) {
            worst_exact = worst_rounded = 0;
            assert_true(for_each_case(ctx, compare_case) >= LEAST_CASES);
            print_message("level %d: %.2g, quantized %.2g\n", (int)level, worst_exact, worst_rounded);
        }
        mm_context_destroy(ctx);
    }
}

static int same_bits(const mm_tensor_map *a, const mm_tensor_map *b)
{
    int same = mm_tensor_map_count(a) == mm_tensor_map_count(b) && mm_tensor_map_count(a) > 0;
    for (size_t i = 0; same && i < mm_tensor_map_count(a); i++) {
        const mm_tensor *x = mm_tensor_map_at(a, i), *y = mm_tensor_map_get(b, mm_tensor_map_name(a, i));
        same =
            y && mm_tensor_bytes(x) == mm_tensor_bytes(y) && !memcmp(mm_tensor_const_data(x), mm_tensor_const_data(y), mm_tensor_bytes(x));
    }
    return same;
}

static void compare_threads(mm_context *ctx, mm_model *model, const char *name, const char *file, case_kind kind)
{
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *one;
    (void)kind;

    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1));
    one = forward(ctx, model, in);
    for (int threads = 2; threads <= 3; threads++) {
        mm_tensor_map *more;
        ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, threads));
        more = forward(ctx, model, in);
        if (!same_bits(one, more)) fail_msg("%s %s: %d threads give other bits than one", name, file, threads);
        mm_tensor_map_destroy(more);
    }
    mm_tensor_map_destroy(one);
    mm_tensor_map_destroy(in);
}

static void test_threads_do_not_change_a_bit(void **state)
{
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    assert_true(for_each_case(ctx, compare_threads) >= LEAST_CASES);
    mm_context_destroy(ctx);
}

/* Row b of a batch tensor by itself. */
static mm_tensor *row_of(mm_context *ctx, const mm_tensor *t, int64_t b)
{
    int64_t shape[MM_TENSOR_MAX_RANK];
    size_t bytes = mm_tensor_bytes(t) / (size_t)mm_tensor_shape(t)[0];
    mm_tensor *row = NULL;

    memcpy(shape, mm_tensor_shape(t), (size_t)mm_tensor_rank(t) * sizeof *shape);
    shape[0] = 1;
    ok(ctx,
       mm_tensor_copy(ctx, mm_tensor_dtype(t), mm_tensor_rank(t), shape, (const char *)mm_tensor_const_data(t) + (size_t)b * bytes, &row));
    return row;
}

static size_t batches;

/* Each sequence or picture of a batch gives, bit for bit, what it gives alone. At the reference level this holds for block-quantized
 * weights; those of floats go through cblas there, which sums in another order for another number of rows. */
static void compare_alone(mm_context *ctx, mm_model *model, const char *name, const char *file, case_kind kind)
{
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *both;
    int64_t batch = mm_tensor_shape(mm_tensor_map_at(in, 0))[0], level = -1;

    ok(ctx, mm_context_get_i64(ctx, MM_CONTEXT_CPU_LEVEL, &level));

    both = batch > 1 && kind != CASE_JOINT ? forward(ctx, model, in) : NULL;
    for (int64_t b = 0; both && b < batch; b++) {
        mm_tensor_map *row = NULL, *part = NULL, *alone;
        ok(ctx, mm_tensor_map_create(ctx, &row));
        ok(ctx, mm_tensor_map_create(ctx, &part));
        for (size_t i = 0; i < mm_tensor_map_count(in); i++) {
            mm_tensor *t = row_of(ctx, mm_tensor_map_at(in, i), b);
            ok(ctx, mm_tensor_map_set(ctx, row, mm_tensor_map_name(in, i), t));
            mm_tensor_release(t);
        }
        for (size_t i = 0; i < mm_tensor_map_count(both); i++) {
            mm_tensor *t = row_of(ctx, mm_tensor_map_at(both, i), b);
            ok(ctx, mm_tensor_map_set(ctx, part, mm_tensor_map_name(both, i), t));
            mm_tensor_release(t);
        }
        alone = forward(ctx, model, row);
        if (level == MM_CPU_REFERENCE && kind != CASE_INT8) {
            for (size_t i = 0; i < mm_tensor_map_count(part); i++) {
                const char *key = mm_tensor_map_name(part, i);
                assert_true(relative_error(mm_tensor_map_get(alone, key), mm_tensor_map_at(part, i), mask_of(row, key)) <= 1e-5);
            }
        } else if (!same_bits(alone, part)) {
            fail_msg("%s %s: row %d has other bits alone than in its batch, at level %d", name, file, (int)b, (int)level);
        }
        batches++;
        mm_tensor_map_destroy(alone);
        mm_tensor_map_destroy(row);
        mm_tensor_map_destroy(part);
    }
    mm_tensor_map_destroy(both);
    mm_tensor_map_destroy(in);
}

static void test_neighbours_do_not_change_a_bit(void **state)
{
    (void)state;
    for (int64_t level = MM_CPU_REFERENCE; level <= MM_CPU_AMX; level++) {
        mm_context *ctx = NULL;
        assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
        ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_CPU_LEVEL, level));
        batches = 0;
        (void)for_each_case(ctx, compare_alone);
        assert_true(batches >= 20);
        mm_context_destroy(ctx);
    }
}

/* A model opened by a context of one level computes in a context of another: what was laid out for a kernel must be readable without it. */
static void test_levels_share_a_model(void **state)
{
    static const char *const names[] = {"llama_gqa", "llama_f16",     "llama_bf16",          "bert",
                                        "vit",       "dinov2_swiglu", "gguf_f16/model.gguf", "gguf_q4_k/model.gguf"};
    static const char *const cases[] = {"len7", "len70", "len7", "len70", "b1_32x32", "b1_28x28", "len70", "len70"};
    (void)state;

    for (int64_t opened = MM_CPU_REFERENCE; opened <= MM_CPU_AMX; opened++)
        for (int64_t run = MM_CPU_REFERENCE; run <= MM_CPU_AMX; run++) {
            mm_context *a = NULL, *b = NULL;
            assert_int_equal(mm_context_create(NULL, &a), MM_OK);
            assert_int_equal(mm_context_create(NULL, &b), MM_OK);
            ok(a, mm_context_set_i64(a, MM_CONTEXT_CPU_LEVEL, opened));
            ok(b, mm_context_set_i64(b, MM_CONTEXT_CPU_LEVEL, run));
            for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
                mm_model *m = open_golden(a, names[i]);
                compare_case(b, m, names[i], cases[i], strstr(names[i], "_q") ? CASE_INT8 : CASE_EXACT);
                if (fact(m, MM_MODEL_GENERATES)) { /* single tokens take another way */
                    mm_session *s = NULL;
                    mm_tensor_map *in = read_golden(b, names[i], cases[i], "in"), *out = read_golden(b, names[i], cases[i], "out");
                    int32_t id = (int32_t)*(const int64_t *)mm_tensor_const_data(mm_tensor_map_get(in, "input_ids"));
                    const float *logits = NULL, *want = mm_tensor_const_data(mm_tensor_map_get(out, "logits"));
                    double worst = 0, largest = 0;
                    ok(b, mm_session_create(b, m, &s));
                    ok(b, mm_session_append_tokens(s, &id, 1));
                    ok(b, mm_session_logits(s, &logits));
                    for (int64_t v = 0; v < fact(m, MM_MODEL_VOCABULARY); v++) {
                        worst = fmax(worst, fabs((double)logits[v] - (double)want[v]));
                        largest = fmax(largest, fabs((double)want[v]));
                    }
                    if (!(worst <= (strstr(names[i], "_q") ? 0.1 : 1e-3) * largest)) /* half precision keys and values */
                        fail_msg("%s opened at level %d, session at level %d: off by %g of %g", names[i], (int)opened, (int)run, worst,
                                 largest);
                    mm_session_destroy(s);
                    mm_tensor_map_destroy(in);
                    mm_tensor_map_destroy(out);
                }
                mm_model_release(m);
            }
            mm_context_destroy(a);
            mm_context_destroy(b);
        }
}

static void generate_greedily(mm_context *ctx, const char *name, const char *file, int64_t kv_type)
{
    mm_model *model = open_golden(ctx, name);
    mm_tensor_map *map = read_golden(ctx, name, file, "greedy");
    const mm_tensor *prompt = mm_tensor_map_get(map, "prompt_ids"), *want = mm_tensor_map_get(map, "generated_ids");
    size_t n = (size_t)mm_tensor_elements(prompt), count = (size_t)mm_tensor_elements(want);
    mm_session *s = NULL;
    int32_t reason = -1;

    ok(ctx, mm_session_create(ctx, model, &s));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_KV_TYPE, kv_type));
    ok(ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, (int64_t)count));
    ok(ctx, mm_session_append_tokens(s, mm_tensor_const_data(prompt), n));
    ok(ctx, mm_session_generate(s, NULL, NULL, &reason));
    assert_int_equal(mm_session_length(s), n + count);
    assert_memory_equal(mm_session_tokens(s), mm_tensor_const_data(prompt), n * sizeof(int32_t));
    for (size_t i = 0; i < count; i++) {
        int32_t have = mm_session_tokens(s)[n + i], expected = ((const int32_t *)mm_tensor_const_data(want))[i];
        if (have != expected) fail_msg("%s %s: generated token %zu is %d, expected %d", name, file, i, have, expected);
    }
    assert_int_equal(reason, !strcmp(file, "end") ? MM_STOP_END : MM_STOP_LENGTH);
    mm_session_destroy(s);
    mm_tensor_map_destroy(map);
    mm_model_release(model);
}

static void visit_greedy(void *arg, const char *line)
{
    char name[64], file[64];

    assert_int_equal(sscanf(line, "%63s %63s", name, file), 2);
    generate_greedily(arg, name, file, MM_DTYPE_F32);
    generate_greedily(arg, name, file, MM_DTYPE_F16);
}

/* The next token leads by 2 % of the largest logit at each step, so that half precision keys and values choose the same. */
static void test_greedy_ids_equal_transformers(void **state)
{
    (void)state;
    for (int64_t level = MM_CPU_REFERENCE; level <= MM_CPU_AMX; level++) {
        mm_context *ctx = NULL;

        assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
        ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_CPU_LEVEL, level)); /* a missing one runs the highest again */
        assert_true(for_each_line(MODELS "*.greedy.txt", visit_greedy, ctx) >= LEAST_GREEDY);
        mm_context_destroy(ctx);
    }
}

/* A session's logits are those of forward at the last token. */
static void test_session_logits_equal_forward(void **state)
{
    static const char *const names[] = {"llama_gqa", "llama_tied_bias",      "llama_bf16",
                                        "gguf_f16",  "gguf_q4_0/model.gguf", "gguf_q6_k/model.gguf",
                                        "mistral",   "gemma2",               "gemma3",
                                        "gpt2"};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        mm_model *model;
        mm_tensor_map *in, *out;
        mm_session *s = NULL;
        const float *logits = NULL;
        const int64_t *ids;
        int64_t V;
        double worst = 0, largest = 0;

        (void)snprintf(path, sizeof path, "%s%s", names[i], !strcmp(names[i], "gguf_f16") ? "/model.gguf" : "");
        model = open_golden(ctx, path);
        in = read_golden(ctx, path, "len70", "in");
        out = forward(ctx, model, in);
        V = fact(model, MM_MODEL_VOCABULARY);
        ids = mm_tensor_const_data(mm_tensor_map_get(in, "input_ids"));
        ok(ctx, mm_session_create(ctx, model, &s));
        ok(ctx, mm_session_set_i64(s, MM_SESSION_KV_TYPE, MM_DTYPE_F32));
        for (int t = 0; t < 70; t++) {
            int32_t id = (int32_t)ids[t];
            ok(ctx, mm_session_append_tokens(s, &id, 1));
            if (t % 23) continue;
            ok(ctx, mm_session_logits(s, &logits));
            worst = largest = 0;
            for (int64_t v = 0; v < V; v++) {
                float want = ((const float *)mm_tensor_const_data(mm_tensor_map_get(out, "logits")))[t * V + v];
                worst = fmax(worst, fabs((double)logits[v] - (double)want));
                largest = fmax(largest, fabs((double)want));
            }
            if (!(worst <= (strstr(path, "_q") ? ROUNDED_MOST : 1e-5) * largest))
                fail_msg("%s at token %d: %g of %g", path, t, worst, largest);
        }
        mm_session_destroy(s);
        mm_tensor_map_destroy(in);
        mm_tensor_map_destroy(out);
        mm_model_release(model);
    }
    mm_context_destroy(ctx);
}

/* Two contexts on two threads share a model. */

typedef struct {
    mm_model *model;
    const mm_tensor_map *in;
    const mm_tensor_map *want;
    int failed;
} shared_job;

static void *run_shared(void *arg)
{
    shared_job *j = arg;
    mm_context *ctx = NULL;

    j->failed = mm_context_create(NULL, &ctx) != MM_OK;
    for (int i = 0; !j->failed && i < 20; i++) {
        mm_tensor_map *out = NULL;
        j->failed = mm_model_forward(j->model, ctx, j->in, &out) != MM_OK || !same_bits(out, j->want);
        mm_tensor_map_destroy(out);
    }
    mm_context_destroy(ctx);
    return NULL;
}

static void test_contexts_share_a_model(void **state)
{
    static const char *const names[] = {"llama_gqa", "gguf_q4_k/model.gguf"};
    mm_context *ctx = NULL;
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        mm_model *model;
        mm_tensor_map *in, *want;
        shared_job jobs[2];
        pthread_t threads[2];

        assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
        model = open_golden(ctx, names[i]);
        in = read_golden(ctx, names[i], "len70", "in");
        want = forward(ctx, model, in);
        mm_context_destroy(ctx); /* the model outlives the context that opened it */
        for (int t = 0; t < 2; t++) {
            jobs[t] = (shared_job){model, in, want, 0};
            assert_int_equal(pthread_create(&threads[t], NULL, run_shared, &jobs[t]), 0);
        }
        for (int t = 0; t < 2; t++) {
            assert_int_equal(pthread_join(threads[t], NULL), 0);
            assert_int_equal(jobs[t].failed, 0);
        }
        mm_tensor_map_destroy(in);
        mm_tensor_map_destroy(want);
        mm_model_release(model);
    }
}

static void test_facts(void **state)
{
    mm_context *ctx = NULL;
    mm_model *m;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    m = open_golden(ctx, "llama_gqa");
    assert_string_equal(mm_model_get_str(m, MM_MODEL_ARCHITECTURE), "llama");
    assert_string_equal(mm_model_get_str(m, MM_MODEL_CLASS), "LlamaForCausalLM");
    assert_string_equal(mm_model_get_str(m, MM_MODEL_FORMAT), "safetensors");
    assert_string_equal(mm_model_get_str(m, MM_MODEL_DTYPES), "F32 x 16");
    assert_null(mm_model_get_str(m, MM_MODEL_TOKENIZER));
    assert_null(mm_model_get_str(m, 999));
    assert_null(mm_model_tokenizer(m));
    assert_int_equal(fact(m, MM_MODEL_LAYERS), 2);
    assert_int_equal(fact(m, MM_MODEL_HIDDEN_SIZE), 48);
    assert_int_equal(fact(m, MM_MODEL_VOCABULARY), 67);
    assert_int_equal(fact(m, MM_MODEL_CONTEXT), 128);
    assert_int_equal(fact(m, MM_MODEL_GENERATES), 1);
    assert_int_equal(fact(m, MM_MODEL_SEES), 0);
    assert_int_equal(fact(m, MM_MODEL_LABELS), 0);
    /* embeddings and head 2 * 67 * 48, norms 5 * 48, and a layer's q, o 2 * 84 * 48, k, v 2 * 42 * 48, mlp 3 * 40 * 48 */
    assert_int_equal(fact(m, MM_MODEL_PARAMETERS), 2 * 67 * 48 + 5 * 48 + 2 * (2 * 84 * 48 + 2 * 42 * 48 + 3 * 40 * 48));
    assert_in_range(fact(m, MM_MODEL_WEIGHT_BYTES), 4 * fact(m, MM_MODEL_PARAMETERS),
                    6 * fact(m, MM_MODEL_PARAMETERS)); /* rows may be padded */
    assert_int_equal(fact(m, MM_MODEL_KV_TOKEN_BYTES), 2 * 2 * 3 * 14 * 2);
    mm_model_release(m);

    m = open_golden(ctx, "vit_class");
    assert_string_equal(mm_model_get_str(m, MM_MODEL_ARCHITECTURE), "vit");
    assert_int_equal(fact(m, MM_MODEL_GENERATES), 0);
    assert_int_equal(fact(m, MM_MODEL_SEES), 1);
    assert_int_equal(fact(m, MM_MODEL_VOCABULARY), 0);
    assert_int_equal(fact(m, MM_MODEL_IMAGE_HEIGHT), 32);
    assert_int_equal(fact(m, MM_MODEL_LABELS), 5);
    assert_string_equal(mm_model_label(m, 0), "tabby cat");
    assert_string_equal(mm_model_label(m, 1), "gr\xC3\xBCner Baum");
    assert_string_equal(mm_model_label(m, 2), "\"quoted\"");
    assert_string_equal(mm_model_label(m, 4), "e");
    assert_null(mm_model_label(m, 5));
    mm_model_release(m);

    m = open_golden(ctx, "gguf_q4_k/model.gguf");
    assert_string_equal(mm_model_get_str(m, MM_MODEL_FORMAT), "gguf");
    assert_string_equal(mm_model_get_str(m, MM_MODEL_CLASS), "llama");
    assert_string_equal(mm_model_get_str(m, MM_MODEL_DTYPES), "Q8_0 x 2, Q4_K x 6");
    mm_model_release(m);

    m = open_golden(ctx, "vit_rectangle");
    assert_int_equal(fact(m, MM_MODEL_IMAGE_HEIGHT), 24);
    assert_int_equal(fact(m, MM_MODEL_IMAGE_WIDTH), 40);
    mm_model_release(m);
    mm_context_destroy(ctx);
}

static mm_tensor_map *ids_map(mm_context *ctx, const char *name, int32_t dtype, int32_t rank, const int64_t *shape, const void *data)
{
    mm_tensor_map *map = NULL;
    mm_tensor *t = NULL;

    ok(ctx, mm_tensor_map_create(ctx, &map));
    ok(ctx, mm_tensor_copy(ctx, dtype, rank, shape, data, &t));
    ok(ctx, mm_tensor_map_set(ctx, map, name, t));
    mm_tensor_release(t);
    return map;
}

static void put(mm_context *ctx, mm_tensor_map *map, const char *name, int32_t dtype, int32_t rank, const int64_t *shape, const void *data)
{
    mm_tensor *t = NULL;
    ok(ctx, mm_tensor_copy(ctx, dtype, rank, shape, data, &t));
    ok(ctx, mm_tensor_map_set(ctx, map, name, t));
    mm_tensor_release(t);
}

/* Inputs that cannot work are refused with a sentence that names them, and the context stays usable. */
static void test_inputs_are_checked(void **state)
{
    static const int64_t one_three[] = {1, 3}, one_two[] = {1, 2}, three[] = {3}, one_one_three[] = {1, 1, 3}, none[] = {1, 0}, image[] = {1, 3, 32, 32},
                         gray[] = {1, 1, 32, 32}, small[] = {1, 3, 7, 32};
    static const int64_t ids[] = {5, 6, 7}, high[] = {5, 67, 7}, negative[] = {5, -1, 7}, huge[] = {5, INT64_C(1) << 40, 7};
    static const float floats[3] = {1, 2, 3};
    float *pixels = calloc(3 * 32 * 32, 8);
    mm_context *ctx = NULL;
    mm_model *text, *vision, *bert, *gpt2;
    mm_tensor_map *in, *out = (mm_tensor_map *)1;
    (void)state;

    assert_non_null(pixels);
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    text = open_golden(ctx, "llama_gqa");
    vision = open_golden(ctx, "vit");
    bert = open_golden(ctx, "bert");
    gpt2 = open_golden(ctx, "gpt2");

#define REFUSED(model, status, ...)                                                  \
    do {                                                                             \
        out = (mm_tensor_map *)1;                                                    \
        refused(ctx, mm_model_forward(model, ctx, in, &out), status, __VA_ARGS__, (const char *)NULL); \
        assert_null(out);                                                            \
        mm_tensor_map_destroy(in);                                                   \
    } while (0)

    ok(ctx, mm_tensor_map_create(ctx, &in));
    REFUSED(text, MM_E_ARGUMENT, "input_ids");
    in = ids_map(ctx, "pixel_values", MM_DTYPE_F32, 4, image, pixels);
    REFUSED(text, MM_E_ARGUMENT, "input_ids");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, ids);
    REFUSED(vision, MM_E_ARGUMENT, "pixel_values");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, high);
    REFUSED(text, MM_E_ARGUMENT, "67");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, negative);
    REFUSED(text, MM_E_ARGUMENT, "-1");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, huge);
    REFUSED(text, MM_E_ARGUMENT, "input_ids", "1099511627776");
    in = ids_map(ctx, "input_ids", MM_DTYPE_F32, 2, one_three, floats);
    REFUSED(text, MM_E_DTYPE, "input_ids");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 1, three, ids);
    REFUSED(text, MM_E_SHAPE, "input_ids");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, none, ids);
    REFUSED(text, MM_E_SHAPE, "input_ids");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, ids);
    put(ctx, in, "attention_mask", MM_DTYPE_I64, 2, one_two, ids);
    REFUSED(text, MM_E_SHAPE, "[");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, ids);
    put(ctx, in, "position_ids", MM_DTYPE_I64, 2, one_two, ids);
    REFUSED(text, MM_E_SHAPE, "[");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, ids);
    put(ctx, in, "token_type_ids", MM_DTYPE_I64, 2, one_three, ids);
    REFUSED(text, MM_E_ARGUMENT, "token_type_ids");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, ids);
    put(ctx, in, "token_type_ids", MM_DTYPE_I64, 2, one_three, ids);
    REFUSED(bert, MM_E_ARGUMENT, "5"); /* of two types */
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, ids);
    put(ctx, in, "position_ids", MM_DTYPE_I64, 2, one_three, (const int64_t[]){0, 80, 1});
    REFUSED(bert, MM_E_ARGUMENT, "80");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, ids);
    put(ctx, in, "token_type_ids", MM_DTYPE_I64, 2, one_two, ids);
    REFUSED(bert, MM_E_SHAPE, "[");
    in = ids_map(ctx, "pixel_values", MM_DTYPE_F32, 4, gray, pixels);
    REFUSED(vision, MM_E_SHAPE, "[");
    in = ids_map(ctx, "pixel_values", MM_DTYPE_F32, 4, small, pixels);
    REFUSED(vision, MM_E_SHAPE, "7", "8");
    in = ids_map(ctx, "pixel_values", MM_DTYPE_I64, 4, image, pixels);
    REFUSED(vision, MM_E_DTYPE, "pixel_values");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, ids);
    put(ctx, in, "inputs_embeds", MM_DTYPE_F32, 3, one_one_three, floats);
    REFUSED(text, MM_E_ARGUMENT, "input_ids", "inputs_embeds", "both are given");
    in = ids_map(ctx, "inputs_embeds", MM_DTYPE_F32, 3, one_one_three, floats);
    REFUSED(text, MM_E_SHAPE, "inputs_embeds", "[1, 1, 3]", "48");
    in = ids_map(ctx, "inputs_embeds", MM_DTYPE_F32, 2, one_three, floats);
    REFUSED(text, MM_E_SHAPE, "inputs_embeds");
    in = ids_map(ctx, "inputs_embeds", MM_DTYPE_I64, 3, one_one_three, ids);
    REFUSED(text, MM_E_DTYPE, "inputs_embeds");
    in = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, one_three, ids);
    put(ctx, in, "position_ids", MM_DTYPE_I64, 2, one_three, (const int64_t[]){0, 128, 1});
    REFUSED(gpt2, MM_E_ARGUMENT, "128"); /* of 128 learned positions */
#undef REFUSED
    assert_int_equal(mm_model_forward(NULL, ctx, NULL, &out), MM_E_ARGUMENT);
    assert_int_equal(mm_model_forward(text, NULL, NULL, &out), MM_E_ARGUMENT);
    compare_case(ctx, text, "llama_gqa", "len7", CASE_EXACT); /* all is well */
    compare_case(ctx, vision, "vit", "b1_32x32", CASE_EXACT);
    free(pixels);
    mm_model_release(text);
    mm_model_release(vision);
    mm_model_release(bert);
    mm_model_release(gpt2);
    mm_context_destroy(ctx);
}

/* I32 and I64 ids, and a mask as U8, mean the same; a mask of ones is no mask. */
static void test_input_types(void **state)
{
    static const int64_t shape[] = {1, 3}, wide[] = {5, 6, 7};
    static const int32_t narrow[] = {5, 6, 7};
    static const uint8_t ones[] = {1, 1, 1};
    mm_context *ctx = NULL;
    mm_model *m;
    mm_tensor_map *a, *b, *c, *x, *y, *z;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    m = open_golden(ctx, "bert");
    a = ids_map(ctx, "input_ids", MM_DTYPE_I64, 2, shape, wide);
    b = ids_map(ctx, "input_ids", MM_DTYPE_I32, 2, shape, narrow);
    c = ids_map(ctx, "input_ids", MM_DTYPE_I32, 2, shape, narrow);
    put(ctx, c, "attention_mask", MM_DTYPE_U8, 2, shape, ones);
    x = forward(ctx, m, a);
    y = forward(ctx, m, b);
    z = forward(ctx, m, c);
    assert_true(same_bits(x, y));
    assert_true(same_bits(x, z));
    mm_tensor_map_destroy(a);
    mm_tensor_map_destroy(b);
    mm_tensor_map_destroy(c);
    mm_tensor_map_destroy(x);
    mm_tensor_map_destroy(y);
    mm_tensor_map_destroy(z);
    mm_model_release(m);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs_equal_transformers),
        cmocka_unit_test(test_every_level),
        cmocka_unit_test(test_threads_do_not_change_a_bit),
        cmocka_unit_test(test_neighbours_do_not_change_a_bit),
        cmocka_unit_test(test_levels_share_a_model),
        cmocka_unit_test(test_greedy_ids_equal_transformers),
        cmocka_unit_test(test_session_logits_equal_forward),
        cmocka_unit_test(test_contexts_share_a_model),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_inputs_are_checked),
        cmocka_unit_test(test_input_types),
    };
    return cmocka_run_group_tests_name("golden_models", tests, NULL, NULL);
}
