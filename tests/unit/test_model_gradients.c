/* Gradients of whole models beside torch's (tests/golden/make_gradients.py): every family, each weight by its norm, sum, a projection and three
 * elements; of composites beside differences; the same bits on 1, 2 and 3 threads and with checkpoints, which need less memory for a deep model;
 * and without memory.
 * SPDX-License-Identifier: MIT */
#include "model_fixture.h"
#include "unit_fixture.h"

#include <glob.h>

#include "forward.h"
#include "grad.h"
#include "loss_ops.h"
#include "plan.h"
#include "row_ops.h"
#include "run.h"
#include "shape_ops.h"

enum { LEAST_MODELS = 35, MOST_WEIGHTS = 512 };

/* Of what a weight's gradient is by its norm; float32 sums in another order differ by about 1e-6. Where it is nothing in truth (keys' biases), all
 * there is is rounding: then of the largest gradient of the model. */
static const double BOUND = 1e-4, ROUNDING = 1e-6;

typedef struct {
    mm_context *ctx;
    mm_model *model;
    mmi_weight *weights[MOST_WEIGHTS];
    size_t offset[MOST_WEIGHTS];
    size_t n, elements;
    float *gradients;
} trained;

static void collect(trained *t, mm_model *m)
{
    for (size_t i = 0; i < m->n_weights; i++) {
        if (!mmi_weight_values(&m->weights[i])) continue;
        assert_true(t->n < MOST_WEIGHTS);
        t->offset[t->n] = t->elements;
        t->weights[t->n++] = &m->weights[i];
        t->elements += m->weights[i].rows * m->weights[i].cols;
    }
    for (size_t i = 0; i < m->arch->n_parts; i++)
        if (m->parts[i]) collect(t, m->parts[i]);
}

/* `model` becomes the fixture's. */
static void prepare(trained *t, mm_context *ctx, mm_model *model)
{
    memset(t, 0, sizeof *t);
    t->ctx = ctx;
    t->model = model;
    collect(t, model);
    t->gradients = calloc(t->elements, sizeof *t->gradients);
    assert_non_null(t->gradients);
    for (size_t i = 0; i < t->n; i++) t->weights[i]->gradient = t->gradients + t->offset[i];
}

static void finish(trained *t)
{
    mm_model_release(t->model);
    free(t->gradients);
}

/* The sum of y times sin(0.7 i + 1), without the rows of tokens that are hidden. */
static mmi_value waves_of(mmi_graph *g, mmi_value y, const mm_tensor *mask)
{
    const mmi_value_info v = *mmi_graph_look(g, y);
    const int by_token = mask && v.rank == 3 && !memcmp(mm_tensor_shape(mask), v.shape, 2 * sizeof *v.shape);
    const int64_t n = mmi_graph_elements(g, y), cols = by_token ? v.shape[2] : 1;
    void *data = NULL;
    mmi_value w = mmi_graph_constant(g, MM_DTYPE_F32, 1, &n, &data);

    for (int64_t i = 0; data && i < n; i++)
        ((float *)data)[i] = by_token && !((const int64_t *)mm_tensor_const_data(mask))[i / cols] ? 0 : (float)sin(0.7 * (double)i + 1);
    return mmi_inner(g, y, w);
}

typedef enum { VALUE, GRADIENTS, CHECKPOINTS } pass_kind;

typedef struct {
    mmi_feed feed;
    mmi_value loss;
} built;

/* The graph of the sum of these outputs (NULL at the end) so weighted, and of its gradients, without checkpoints or with them. To be ended, whatever comes. */
static mm_status build(trained *t, const mm_tensor_map *inputs, const char *const *outputs, pass_kind kind, built *b)
{
    mm_status st = mmi_feed_begin(t->ctx, t->model, inputs, &b->feed);
    mmi_io *io = &b->feed.io;
    mmi_graph *g = io->g;

    b->loss = 0;
    if (st) return st;
    g->trains = 1;
    io->wanted = outputs;
    mmi_io_build(io);
    for (; *outputs && !g->status; outputs++) {
        mmi_value y = mmi_io_find_output(io, *outputs), part;
        if (!y) fail_msg("there is no output %s", *outputs);
        part = waves_of(g, y, mask_of(inputs, *outputs));
        b->loss = b->loss ? mmi_add(g, b->loss, part) : part;
    }
    mmi_graph_output(g, "loss", b->loss);
    if (kind != VALUE) mmi_graph_gradients(g, b->loss, 1, kind == CHECKPOINTS);
    return mmi_graph_plan(g);
}

/* One pass; *arena: the bytes of the graph's values. */
static mm_status pass(trained *t, const mm_tensor_map *inputs, const char *const *outputs, pass_kind kind, size_t *arena)
{
    built b;
    mm_status st = build(t, inputs, outputs, kind, &b);

    memset(t->gradients, 0, t->elements * sizeof *t->gradients);
    if (!st) st = mmi_graph_run(b.feed.io.g, NULL);
    if (!st) *arena = b.feed.io.g->arena_bytes;
    mmi_feed_end(&b.feed);
    return st;
}

typedef struct {
    double norm, sum, projection, element[3];
} summary;

static summary summarize(const float *x, size_t n)
{
    summary s = {0, 0, 0, {(double)x[0], (double)x[n / 2], (double)x[n - 1]}};

    for (size_t i = 0; i < n; i++) {
        s.norm += (double)x[i] * (double)x[i];
        s.sum += (double)x[i];
        s.projection += (double)x[i] * sin(0.3 * (double)i + 2);
    }
    s.norm = sqrt(s.norm);
    return s;
}

static double worst;

static void compare(const char *model, const char *name, const summary *have, const summary *want, size_t elements, double largest)
{
    /* by Cauchy and Schwarz, sums of n elements are off by sqrt(n) times what the gradient is off by, and sin's squares are at most 1 */
    const double bound = BOUND * want->norm + ROUNDING * largest, n = sqrt((double)elements);
    double off = fmax(fabs(have->norm - want->norm), fmax(fabs(have->sum - want->sum), fabs(have->projection - want->projection)) / n);

    for (int i = 0; i < 3; i++) off = fmax(off, fabs(have->element[i] - want->element[i]));
    worst = fmax(worst, off / (bound / BOUND));
    if (!(off <= bound)) fail_msg("%s: the gradient of %s is off by %g: norm %g, expected %g", model, name, off, have->norm, want->norm);
}

/* Beside torch's lines: each names a weight, and what has none hangs on no output. */
static void compare_lines(const trained *t, const char *model, FILE *list)
{
    char line[512], name[MOST_WEIGHTS][200], seen[MOST_WEIGHTS] = {0};
    summary want[MOST_WEIGHTS];
    double largest = 0;
    size_t lines = 0;

    for (; fgets(line, sizeof line, list); lines++) {
        summary *w = &want[lines];
        assert_true(lines < MOST_WEIGHTS);
        assert_int_equal(sscanf(line, "%199s %lf %lf %lf %lf %lf %lf", name[lines], &w->norm, &w->sum, &w->projection, &w->element[0], &w->element[1], &w->element[2]), 7);
        largest = fmax(largest, w->norm);
    }
    assert_true(lines > 10);
    for (size_t l = 0; l < lines; l++) {
        size_t i = 0;
        summary have;
        while (i < t->n && strcmp(t->weights[i]->name, name[l])) i++;
        if (i == t->n) fail_msg("%s has no weight %s", model, name[l]);
        seen[i] = 1;
        have = summarize(t->weights[i]->gradient, t->weights[i]->rows * t->weights[i]->cols);
        compare(model, name[l], &have, &want[l], t->weights[i]->rows * t->weights[i]->cols, largest);
    }
    for (size_t i = 0; i < t->n; i++)
        if (!seen[i] && summarize(t->weights[i]->gradient, t->weights[i]->rows * t->weights[i]->cols).norm > ROUNDING * largest)
            fail_msg("%s: torch has no gradient for %s", model, t->weights[i]->name);
}

static void open_trained(trained *t, mm_context *ctx, const char *name)
{
    char path[128];
    mm_model *opened = NULL;

    (void)snprintf(path, sizeof path, MODELS "%s", name);
    ok(ctx, mmi_model_open_trainable(ctx, path, &opened));
    prepare(t, ctx, opened);
}

/* The gradients, which are the same bits on any number of threads and with checkpoints. */
static void check_bits(trained *t, const char *model, const mm_tensor_map *inputs, const char *const *outputs)
{
    float *first = malloc(t->elements * sizeof *first);
    size_t arena;

    assert_non_null(first);
    for (int64_t threads = 1; threads <= 3; threads++) {
        ok(t->ctx, mm_context_set_i64(t->ctx, MM_CONTEXT_THREADS, threads));
        ok(t->ctx, pass(t, inputs, outputs, threads == 2 ? CHECKPOINTS : GRADIENTS, &arena));
        if (threads == 1) memcpy(first, t->gradients, t->elements * sizeof *first);
        if (memcmp(first, t->gradients, t->elements * sizeof *first)) fail_msg("%s: %d threads give other gradients", model, (int)threads);
    }
    free(first);
}

static void check_model(mm_context *ctx, const char *path)
{
    const char *file = path + strlen(MODELS), *outputs[8] = {NULL};
    FILE *list = fopen(path, "r");
    char model[64], line[256], *word, *rest = NULL;
    mm_tensor_map *inputs;
    trained t;

    assert_non_null(list);
    (void)snprintf(model, sizeof model, "%.*s", (int)(strchr(file, '.') - file), file);
    assert_non_null(fgets(line, sizeof line, list));
    word = strtok_r(line, " \n", &rest);
    inputs = read_golden(ctx, model, word, "in");
    for (size_t i = 0; i < 7 && (word = strtok_r(NULL, " \n", &rest)); i++) outputs[i] = word;
    open_trained(&t, ctx, model);
    check_bits(&t, model, inputs, outputs);
    compare_lines(&t, model, list);
    (void)fclose(list);
    mm_tensor_map_destroy(inputs);
    finish(&t);
}

static void test_models_equal_torch(void **state)
{
    mm_context *ctx = NULL;
    glob_t files;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    assert_int_equal(glob(MODELS "*.gradients.txt", 0, NULL, &files), 0);
    assert_true(files.gl_pathc >= LEAST_MODELS);
    for (size_t i = 0; i < files.gl_pathc; i++) check_model(ctx, files.gl_pathv[i]);
    print_message("%zu models, off by %.1e of a gradient's norm at most\n", files.gl_pathc, worst);
    globfree(&files);
    mm_context_destroy(ctx);
}

/* How the loss changes when weight w goes along `direction`, of length 1. */
static double slope(const built *b, mmi_weight *w, const float *direction)
{
    static const double step = 0.01, factor[4] = {-1.0 / 12, 2.0 / 3, -2.0 / 3, 1.0 / 12}; /* of the fourth order */
    const size_t n = w->rows * w->cols;
    float *x = mmi_weight_values(w), *was = malloc(n * sizeof *was);
    double sum = 0;

    assert_non_null(was);
    memcpy(was, x, n * sizeof *was);
    for (int k = 0; k < 4; k++) {
        const double by = step * (k < 2 ? 2 - k : 1 - k); /* 2, 1, -1, -2 */
        for (size_t i = 0; i < n; i++) x[i] = (float)((double)was[i] + by * (double)direction[i]);
        assert_int_equal(mmi_graph_run(b->feed.io.g, NULL), MM_OK);
        sum += factor[k] * (double)*(const float *)mmi_graph_result(b->feed.io.g, b->loss);
    }
    memcpy(x, was, n * sizeof *was);
    free(was);
    return sum / step;
}

/* Along each weight's gradient the loss rises by its norm; where there is none, it does not change. */
static void check_slopes(trained *t, const char *model, const mm_tensor_map *inputs, const char *const *outputs)
{
    double largest = 0, off = 0;
    built b;

    ok(t->ctx, mm_context_set_i64(t->ctx, MM_CONTEXT_THREADS, 1));
    ok(t->ctx, build(t, inputs, outputs, VALUE, &b));
    for (size_t i = 0; i < t->n; i++) largest = fmax(largest, summarize(t->weights[i]->gradient, t->weights[i]->rows * t->weights[i]->cols).norm);
    for (size_t i = 0; i < t->n; i++) {
        const size_t n = t->weights[i]->rows * t->weights[i]->cols;
        const double norm = summarize(t->weights[i]->gradient, n).norm;
        float *direction = malloc(n * sizeof *direction);
        double have;
        assert_non_null(direction);
        for (size_t k = 0; k < n; k++)
            direction[k] = (float)(norm > ROUNDING * largest ? (double)t->weights[i]->gradient[k] / norm : sin(0.7 * (double)k + 1) / sqrt((double)n));
        have = slope(&b, t->weights[i], direction);
        free(direction);
        off = fmax(off, fabs(have - norm) / largest);
        if (!(fabs(have - norm) <= 1e-3 * norm + 2e-4 * largest))
            fail_msg("%s: along the gradient of %s the loss changes by %g, its norm is %g", model, t->weights[i]->name, have, norm);
    }
    mmi_feed_end(&b.feed);
    print_message("%-24s %zu weights, slopes off by %.1e of the largest\n", model, t->n, off);
}

/* Composites are libmm's own: beside differences. */
static void test_composites(void **state)
{
    static const struct {
        const char *model, *file, *outputs[5];
    } cases[] = {{"mm_late_l2", "padded", {"answer_logits", "count_logits", "match_logits", "shape_logits", NULL}},
                 {"mm_early_hard", "padded", {"answer_logits", "count_logits", "match_logits", "shape_logits", NULL}},
                 {"mm_early_stitch", "padded", {"answer_logits", "count_logits", "match_logits", "shape_logits", NULL}},
                 {"mm_interactive_levels", "padded", {"answer_logits", "count_logits", "match_logits", "shape_logits", NULL}},
                 {"mm_interactive_stitch", "padded", {"answer_logits", "count_logits", "match_logits", "shape_logits", NULL}},
                 {"mm_towers", "all", {"hear_logits_per_audio", "logits_per_image", "shape_logits", "tone_logits", NULL}},
                 {"mm_video_concat", "two", {"count_logits", "match_logits", "speed_logits", NULL}},
                 {"mm_decoder", "two", {"logits", "shape_logits", NULL}},
                 {"mm_across", "padded", {"logits", "match_logits", NULL}}};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_tensor_map *inputs = read_golden(ctx, cases[i].model, cases[i].file, "in");
        trained t;
        open_trained(&t, ctx, cases[i].model);
        check_bits(&t, cases[i].model, inputs, cases[i].outputs);
        check_slopes(&t, cases[i].model, inputs, cases[i].outputs);
        mm_tensor_map_destroy(inputs);
        finish(&t);
    }
    mm_context_destroy(ctx);
}

/* What is kept of a block while checkpoints are used is its input, beside one block's own values. */
static void test_checkpoints_need_less_memory(void **state)
{
    static const char config[] = "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 50, \"hidden_size\": 32, \"intermediate_size\": 64, "
                                 "\"num_hidden_layers\": 12, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"max_position_embeddings\": 64, "
                                 "\"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\", \"tie_word_embeddings\": false}";
    static const char *const outputs[] = {"logits", NULL};
    const int64_t shape[2] = {2, 40};
    int32_t ids[80];
    mm_context *ctx = NULL;
    mm_model *made = NULL;
    mm_tensor_map *inputs = NULL;
    mm_tensor *tensor = NULL;
    size_t whole, less;
    float *kept;
    trained t;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (int i = 0; i < 80; i++) ids[i] = i * 7 % 50;
    ok(ctx, mm_tensor_copy(ctx, MM_DTYPE_I32, 2, shape, ids, &tensor));
    ok(ctx, mm_tensor_map_create(ctx, &inputs));
    ok(ctx, mm_tensor_map_set(ctx, inputs, "input_ids", tensor));
    mm_tensor_release(tensor);
    ok(ctx, mmi_model_create(ctx, config, 5, &made));
    prepare(&t, ctx, made);
    kept = malloc(t.elements * sizeof *kept);
    assert_non_null(kept);
    ok(ctx, pass(&t, inputs, outputs, GRADIENTS, &whole));
    memcpy(kept, t.gradients, t.elements * sizeof *kept);
    ok(ctx, pass(&t, inputs, outputs, CHECKPOINTS, &less));
    assert_memory_equal(kept, t.gradients, t.elements * sizeof *kept);
    print_message("12 blocks in %zu bytes, with checkpoints in %zu\n", whole, less);
    assert_true(less < whole / 3);
    free(kept);
    mm_tensor_map_destroy(inputs);
    finish(&t);
    mm_context_destroy(ctx);
}

/* Every allocation fails once: nothing is left. */
static void test_without_memory(void **state)
{
    static const struct {
        const char *model, *file, *outputs[3];
    } cases[] = {{"siglip2", "both", {"logits_per_image", "image_embeds", NULL}}, {"qwen2_5_vl", "images", {"logits", NULL}}, {"t5_relu", "padded", {"logits", NULL}}};
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    (void)state;

    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_tensor_map *inputs = read_golden(ctx, cases[i].model, cases[i].file, "in");
        size_t arena, live;
        mm_status st = MM_E_NOMEM;
        long n = 0;
        trained t;

        open_trained(&t, ctx, cases[i].model);
        ok(ctx, pass(&t, inputs, cases[i].outputs, CHECKPOINTS, &arena)); /* makes what the context keeps */
        live = a.live;
        while (st) {
            a.fail_at = a.count + ++n;
            st = pass(&t, inputs, cases[i].outputs, CHECKPOINTS, &arena);
            a.fail_at = 0;
            assert_true(st == MM_OK || st == MM_E_NOMEM);
            assert_int_equal(a.live, live);
        }
        assert_true(n > 200); /* nodes of the model and of its gradients */
        finish(&t);
        mm_tensor_map_destroy(inputs);
    }
    unit_context_end(&a, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models_equal_torch), cmocka_unit_test(test_composites),
                                       cmocka_unit_test(test_checkpoints_need_less_memory), cmocka_unit_test(test_without_memory)};
    return cmocka_run_group_tests_name("model gradients", tests, NULL, NULL);
}
