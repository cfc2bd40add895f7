/* Steps of training give the same bits whatever the number of threads: models large enough that rows, columns and depths are cut, and in odd places.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mm_model.h"
#include "parameters.h"
#include "random.h"
#include "step_graph.h"
#include "tensor.h"

typedef struct {
    const char *config;
    mmi_objective_kind objective;
    const char *train_only; /* NULL: all */
    int64_t batch, tokens, side; /* tokens 0: no text; side 0: no picture */
} model_case;

static const model_case cases[] = {
    {"{\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"vocab_size\": 211, \"n_embd\": 60, \"n_layer\": 2, \"n_head\": 3, \"n_positions\": 70}",
     MMI_OBJECTIVE_CAUSAL_LM, NULL, 5, 70, 0},
    {"{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 901, \"hidden_size\": 72, \"intermediate_size\": 100, \"num_hidden_layers\": 2, "
     "\"num_attention_heads\": 6, \"num_key_value_heads\": 2, \"tie_word_embeddings\": true}", MMI_OBJECTIVE_CAUSAL_LM, "model.layers.0.*", 3, 96, 0},
    {"{\"architectures\": [\"CLIPModel\"], \"model_type\": \"clip\", \"projection_dim\": 20, \"vision_config\": {\"hidden_size\": 52, \"intermediate_size\": 200, \"num_hidden_layers\": 2, "
     "\"num_attention_heads\": 4, \"image_size\": 33, \"patch_size\": 4}, \"text_config\": {\"vocab_size\": 99, \"hidden_size\": 48, \"intermediate_size\": 70, \"num_hidden_layers\": 1, "
     "\"num_attention_heads\": 2, \"max_position_embeddings\": 32}}", MMI_OBJECTIVE_CONTRASTIVE, NULL, 6, 9, 33},
};

static void ok(mm_context *ctx, mm_status st)
{
    if (st) fail_msg("%s: %s", mm_status_name(st), mm_context_error(ctx));
}

static void *add(mm_context *ctx, mm_tensor_map *map, const char *name, int32_t dtype, int32_t rank, const int64_t *shape)
{
    mm_tensor *t = NULL;
    ok(ctx, mm_tensor_create(ctx, dtype, rank, shape, &t));
    ok(ctx, mm_tensor_map_set(ctx, map, name, t));
    mm_tensor_release(t);
    return mm_tensor_data(t);
}

static mm_tensor_map *batch_of(mm_context *ctx, const model_case *c)
{
    const int64_t text[2] = {c->batch, c->tokens}, picture[4] = {c->batch, 3, c->side, c->side};
    const size_t n = (size_t)(c->batch * c->tokens), pixels = (size_t)(c->batch * 3 * c->side * c->side);
    mm_tensor_map *map = NULL;
    int32_t *ids, *labels, *positions;
    float *x;

    ok(ctx, mm_tensor_map_create(ctx, &map));
    if (c->side) {
        x = add(ctx, map, "pixel_values", MM_DTYPE_F32, 4, picture);
        for (size_t i = 0; i < pixels; i++) x[i] = (float)mmi_random_normal_at(3, 0, i);
    }
    ids = add(ctx, map, "input_ids", MM_DTYPE_I32, 2, text);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(mmi_random_unit_at(4, 0, i) * 99);
    if (c->objective == MMI_OBJECTIVE_CONTRASTIVE) return map;
    labels = add(ctx, map, "labels", MM_DTYPE_I32, 2, text);
    positions = add(ctx, map, "label_positions", MM_DTYPE_I32, 2, text);
    x = add(ctx, map, "label_weights", MM_DTYPE_F32, 2, text);
    for (size_t i = 0; i < n; i++) {
        labels[i] = ids[(i + 1) % n];
        positions[i] = (int32_t)(i % (size_t)c->tokens);
        x[i] = 1.0f / (float)n;
    }
    return map;
}

/* The weights after two steps, one behind another, and the losses; freed by the caller. */
static float *train(const model_case *c, int threads, size_t *count)
{
    char *pattern = (char *)(uintptr_t)c->train_only;
    mmi_train_config config = {.master = MM_DTYPE_F32, .weight_decay = 0.01, .train_only = &pattern, .n_train_only = pattern != NULL};
    const mmi_objective_spec objective = {.kind = c->objective};
    mm_context *ctx = NULL;
    mm_model *model = NULL;
    mmi_parameters parameters;
    mmi_optimizer *optimizer = NULL;
    mmi_step_graphs graphs = {0};
    mm_tensor_map *batch;
    mmi_step_result result;
    float losses[2], *out;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, threads));
    ok(ctx, mm_model_create(ctx, c->config, 5, &model));
    ok(ctx, mmi_optimizer_spec_of(ctx, "adamw", &config.optimizer));
    ok(ctx, mmi_parameters_choose(ctx, model, NULL, 0, &config, &parameters));
    ok(ctx, mmi_optimizer_create(ctx, &config.optimizer, parameters.list, parameters.count, &optimizer));
    batch = batch_of(ctx, c);
    graphs.model = model;
    for (uint64_t step = 1; step <= 2; step++) {
        mmi_parameters_zero_gradients(&parameters);
        ok(ctx, mmi_step_graph_run(ctx, &graphs, &objective, batch, 1, 1, &result));
        ok(ctx, mmi_optimizer_step(ctx, optimizer, step, 1e-2, 1));
        losses[step - 1] = result.loss;
    }
    assert_true(losses[1] < losses[0]);
    *count = parameters.elements + 2;
    out = malloc(*count * sizeof *out);
    memcpy(out, losses, sizeof losses);
    *count = 2;
    for (size_t i = 0; i < parameters.count; i++) {
        const size_t n = parameters.list[i].rows * parameters.list[i].cols;
        memcpy(out + *count, parameters.list[i].weights, n * sizeof *out);
        *count += n;
    }
    mmi_step_graphs_clear(&graphs);
    mm_tensor_map_destroy(batch);
    mmi_optimizer_destroy(optimizer);
    mmi_parameters_clear(&parameters);
    mm_model_release(model);
    mm_context_destroy(ctx);
    return out;
}

static void test_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t count, other_count;
        float *one = train(&cases[i], 1, &count);
        for (int threads = 2; threads <= 3; threads++) {
            float *other = train(&cases[i], threads, &other_count);
            assert_int_equal(count, other_count);
            assert_memory_equal(one, other, count * sizeof *one);
            free(other);
        }
        free(one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
