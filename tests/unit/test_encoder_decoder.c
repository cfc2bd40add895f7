/* Generation with encoder-decoders as a session does it, through the internal interface: the source is encoded once and its keys and values
 * stored, then the answer is decoded step by step over the caches. Greedy ids, and the scores of beam search's sequences, are those of
 * transformers (tests/golden/make_encoder_decoder_models.py).
 * SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include "io.h"
#include "kv_cache.h"
#include "plan.h"
#include "run.h"

enum { LEAST_GENERATED = 20, MOST_TOKENS = 64 };

static mm_context *ctx;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mm_context_destroy(ctx);
    return 0;
}

static mmi_value give(mmi_io *io, const char *name, const mm_tensor *t)
{
    int integers = mm_tensor_dtype(t) == MM_DTYPE_I32;
    int64_t shape[MM_TENSOR_MAX_RANK];
    int32_t rank = mm_tensor_rank(t);
    mmi_value v;

    memcpy(shape, mm_tensor_shape(t), (size_t)rank * sizeof *shape);
    v = mmi_graph_input(io->g, name, integers ? MM_DTYPE_I32 : MM_DTYPE_F32, rank, shape);
    mmi_graph_bind(io->g, v, mm_tensor_const_data(t));
    mmi_io_give(io, name, v);
    return v;
}

/* The cross cache of the source that the map holds. */
static mmi_kv_cache *encode(const mm_model *m, const mm_tensor_map *source)
{
    static const char *const none[] = {NULL}, *const inputs[] = {"input_ids", "pixel_values"};
    mmi_kv_shape shape = m->info.cross;
    mmi_kv_cache *cross = NULL;
    mmi_io io = {.model = m, .encode = 1, .wanted = none};
    size_t length = 0;

    shape.dtype = MM_DTYPE_F32;
    ok(ctx, mmi_graph_create(ctx, &io.g));
    for (size_t i = 0; i < 2; i++)
        if (mm_tensor_map_get(source, inputs[i])) give(&io, inputs[i], mm_tensor_map_get(source, inputs[i]));
    if (mm_tensor_map_get(source, "input_ids")) {
        static int32_t positions[MOST_TOKENS];
        int64_t n = mm_tensor_shape(mm_tensor_map_get(source, "input_ids"))[1];
        mmi_value v = mmi_graph_input(io.g, "position_ids", MM_DTYPE_I32, 2, (int64_t[]){1, n});
        for (int32_t t = 0; t < n; t++) positions[t] = t;
        mmi_graph_bind(io.g, v, positions);
        mmi_io_give(&io, "position_ids", v);
    }
    mmi_io_build(&io);
    ok(ctx, mmi_graph_plan(io.g));
    for (size_t n = 0; n < io.g->n_nodes; n++) /* as many as a layer's keys have, where they are stored */
        if (!strcmp(io.g->nodes[n].op->name, "cross_store")) length = (size_t)mmi_graph_look(io.g, io.g->nodes[n].inputs[0])->shape[1];
    assert_in_range(length, 1, 1000);
    ok(ctx, mmi_kv_cache_create(ctx, &shape, &cross));
    ok(ctx, mmi_kv_cache_reserve(ctx, cross, length));
    ok(ctx, mmi_graph_run(io.g, &(mmi_run_values){.n_caches = 1, .cross = &cross}));
    cross->length = length;
    mmi_graph_destroy(io.g);
    return cross;
}

/* Logits [V] behind these tokens of the answer, of which the cache holds some: the others at once. */
static void step(const mm_model *m, mmi_kv_cache *cache, mmi_kv_cache *cross, const int32_t *tokens, size_t count, float *logits)
{
    static const char *const wanted[] = {"logits", NULL};
    const char *ids_input = m->info.ids_input ? m->info.ids_input : "input_ids";
    int64_t shape[2] = {1, (int64_t)(count - cache->length)};
    int32_t positions[MOST_TOKENS];
    mmi_io io = {.model = m, .cached = 1, .last_only = 1, .wanted = wanted};
    mmi_value ids, position_ids;

    mmi_model_positions(m, tokens, count, positions);
    ok(ctx, mmi_graph_create(ctx, &io.g));
    ids = mmi_graph_input(io.g, ids_input, MM_DTYPE_I32, 2, shape);
    position_ids = mmi_graph_input(io.g, "position_ids", MM_DTYPE_I32, 2, shape);
    mmi_io_give(&io, ids_input, ids);
    mmi_io_give(&io, "position_ids", position_ids);
    mmi_graph_bind(io.g, ids, tokens + cache->length);
    mmi_graph_bind(io.g, position_ids, positions + cache->length);
    mmi_io_build(&io);
    ok(ctx, mmi_graph_plan(io.g));
    ok(ctx, mmi_kv_cache_reserve(ctx, cache, count));
    ok(ctx, mmi_graph_run(io.g, &(mmi_run_values){.caches = &cache, .n_caches = 1, .cross = &cross}));
    cache->length = count;
    memcpy(logits, mmi_graph_result(io.g, mmi_io_find_output(&io, "logits")), (size_t)m->info.vocabulary * sizeof *logits);
    mmi_graph_destroy(io.g);
}

static int is_end(const mm_model *m, int32_t id)
{
    for (size_t i = 0; i < m->n_end_tokens; i++)
        if (m->end_tokens[i] == id) return 1;
    return 0;
}

/* The tokens that an answer begins with, which the model knows, and those of a prompt. */
static size_t begin(const mm_model *m, const mm_tensor_map *golden, int32_t *tokens)
{
    const mm_tensor *start = mm_tensor_map_get(golden, "start_ids"), *prompt = mm_tensor_map_get(golden, "prompt_ids");
    size_t n = m->n_start_tokens;

    assert_int_equal(n, mm_tensor_elements(start));
    assert_memory_equal(m->start_tokens, mm_tensor_const_data(start), n * sizeof *tokens);
    memcpy(tokens, m->start_tokens, n * sizeof *tokens);
    if (!prompt) return n;
    memcpy(tokens + n, mm_tensor_const_data(prompt), mm_tensor_bytes(prompt));
    return n + (size_t)mm_tensor_elements(prompt);
}

static void check_greedy(const mm_model *m, const char *name, const mm_tensor_map *golden, int32_t kv_type)
{
    const mm_tensor *want = mm_tensor_map_get(golden, "generated_ids");
    const int32_t *ids = mm_tensor_const_data(want);
    size_t n = (size_t)mm_tensor_elements(want), count;
    int32_t tokens[MOST_TOKENS], best = 0;
    mmi_kv_shape shape = m->info.kv;
    mmi_kv_cache *cross = encode(m, golden), *cache = NULL;
    float *logits = calloc((size_t)m->info.vocabulary, sizeof *logits);

    assert_non_null(logits);
    shape.dtype = kv_type;
    ok(ctx, mmi_kv_cache_create(ctx, &shape, &cache));
    count = begin(m, golden, tokens);
    assert_true(count + n <= MOST_TOKENS);
    for (size_t i = 0; i < n; i++) {
        step(m, cache, cross, tokens, count, logits);
        best = 0;
        for (int32_t v = 1; v < m->info.vocabulary; v++)
            if (logits[v] > logits[best]) best = v;
        if (best != ids[i]) fail_msg("%s: token %zu is %d, expected %d", name, i, best, ids[i]);
        assert_int_equal(is_end(m, best), is_end(m, ids[i]));
        assert_true(!is_end(m, best) || i + 1 == n);
        tokens[count++] = best;
    }
    mmi_kv_cache_destroy(cross);
    mmi_kv_cache_destroy(cache);
    free(logits);
}

/* The score of a sequence as beam search gives it: the sum of its tokens' log probabilities over its length to the power of the penalty. */
static double score(const mm_model *m, const mm_tensor_map *golden, const int32_t *ids, size_t n, float penalty)
{
    int32_t tokens[MOST_TOKENS];
    mmi_kv_shape shape = m->info.kv;
    mmi_kv_cache *cross = encode(m, golden), *cache = NULL;
    float *logits = calloc((size_t)m->info.vocabulary, sizeof *logits);
    size_t count = begin(m, golden, tokens), length = 0;
    double sum = 0;

    assert_non_null(logits);
    shape.dtype = MM_DTYPE_F32;
    ok(ctx, mmi_kv_cache_create(ctx, &shape, &cache));
    for (; length < n && ids[length] >= 0; length++) {
        double all = 0, most = -INFINITY;
        step(m, cache, cross, tokens, count, logits);
        for (int64_t v = 0; v < m->info.vocabulary; v++) most = fmax(most, (double)logits[v]);
        for (int64_t v = 0; v < m->info.vocabulary; v++) all += exp((double)logits[v] - most);
        sum += (double)logits[ids[length]] - most - log(all);
        tokens[count++] = ids[length];
    }
    mmi_kv_cache_destroy(cross);
    mmi_kv_cache_destroy(cache);
    free(logits);
    return sum / pow((double)length, (double)penalty);
}

static void check_beams(const mm_model *m, const char *name, const mm_tensor_map *golden)
{
    const mm_tensor *sequences = mm_tensor_map_get(golden, "sequences");
    const float *scores = mm_tensor_const_data(mm_tensor_map_get(golden, "sequences_scores"));
    float penalty = *(const float *)mm_tensor_const_data(mm_tensor_map_get(golden, "length_penalty"));
    size_t n = (size_t)mm_tensor_shape(sequences)[1];

    for (int64_t i = 0; i < mm_tensor_shape(sequences)[0]; i++) {
        double have = score(m, golden, (const int32_t *)mm_tensor_const_data(sequences) + (size_t)i * n, n, penalty);
        if (!(fabs(have - (double)scores[i]) <= 1e-3 * fabs((double)scores[i]) + 1e-4))
            fail_msg("%s: sequence %d scores %g, expected %g", name, (int)i, have, (double)scores[i]);
    }
}

static void test_generation(void **state)
{
    FILE *list = fopen(MODELS "encoder_decoder.generate.txt", "r");
    char line[160], name[64], file[48], kind[16];
    size_t n = 0;
    (void)state;

    assert_non_null(list);
    for (; fgets(line, sizeof line, list); n++) {
        mm_tensor_map *golden;
        mm_model *m;
        assert_int_equal(sscanf(line, "%63s %47s %15s", name, file, kind), 3);
        m = open_golden(ctx, name);
        golden = read_golden(ctx, name, file, kind);
        assert_int_equal(m->info.fusion, MMI_FUSION_CROSS);
        assert_int_equal(m->info.text_is_source, mm_tensor_map_get(golden, "input_ids") != NULL);
        if (!strcmp(kind, "beams")) {
            check_beams(m, name, golden);
        } else {
            check_greedy(m, name, golden, MM_DTYPE_F32);
            check_greedy(m, name, golden, MM_DTYPE_F16);
        }
        mm_tensor_map_destroy(golden);
        mm_model_release(m);
    }
    (void)fclose(list);
    assert_true(n >= LEAST_GENERATED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_generation, setup, teardown)};
    return cmocka_run_group_tests_name("encoder_decoder", tests, NULL, NULL);
}
