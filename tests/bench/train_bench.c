/* How many samples a second train, and in how much memory, on four workloads of random data: forward, backward and a step of AdamW. Prints JSON lines; the processor time of a step,
 * which others on the machine disturb less, on stderr.
 *   vit    a classifier of pictures [3, 64, 64]: patches of 8, width 192, 6 layers, 3 heads; batch 32
 *   gpt    a language model: vocabulary 1024, 128 tokens, width 256, 6 layers, 8 heads, its head not tied; batch 16
 *   clip   two such towers, texts of 32 tokens, contrasted in 128 dimensions; batch 32
 *   llava  the projector in front of a frozen language model of 30 layers of width 576: 64 picture and 32 text tokens, the loss at the text; batch 4
 * usage: train_bench THREADS [WORKLOAD] [SECONDS]
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "gradient_norm.h"
#include "mm_model.h"
#include "parameters.h"
#include "random.h"
#include "step_graph.h"
#include "tensor.h"

typedef struct {
    const char *name, *config;
    mmi_objective_kind objective;
    int64_t batch;
    const char *train_only; /* NULL: all */
    void (*fill)(mm_tensor_map *map, int64_t batch);
} workload;

static mm_context *ctx;

static void check(mm_status st)
{
    if (!st) return;
    fprintf(stderr, "%s\n", mm_context_error(ctx));
    exit(1);
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *add(mm_tensor_map *map, const char *name, int32_t dtype, int32_t rank, const int64_t *shape)
{
    mm_tensor *t = NULL;
    check(mm_tensor_create(ctx, dtype, rank, shape, &t));
    check(mm_tensor_map_set(ctx, map, name, t));
    mm_tensor_release(t);
    return mm_tensor_data(t);
}

static void add_random(mm_tensor_map *map, const char *name, int32_t rank, const int64_t *shape)
{
    float *x = add(map, name, MM_DTYPE_F32, rank, shape);
    for (int64_t i = 0; i < mm_tensor_elements(mm_tensor_map_get(map, name)); i++) x[i] = (float)mmi_random_normal_at(1, 0, (uint64_t)i);
}

static void add_ids(mm_tensor_map *map, const char *name, int32_t rank, const int64_t *shape, int64_t below)
{
    int32_t *x = add(map, name, MM_DTYPE_I32, rank, shape);
    for (int64_t i = 0; i < mm_tensor_elements(mm_tensor_map_get(map, name)); i++) x[i] = (int32_t)(mmi_random_unit_at(2, 0, (uint64_t)i) * (double)below);
}

static void add_weights(mm_tensor_map *map, int32_t rank, const int64_t *shape)
{
    float *x = add(map, "label_weights", MM_DTYPE_F32, rank, shape);
    const int64_t n = mm_tensor_elements(mm_tensor_map_get(map, "label_weights"));
    for (int64_t i = 0; i < n; i++) x[i] = 1.0f / (float)n;
}

static void fill_vit(mm_tensor_map *map, int64_t batch)
{
    add_random(map, "pixel_values", 4, (int64_t[]){batch, 3, 64, 64});
    add_ids(map, "labels", 1, &batch, 10);
    add_weights(map, 1, &batch);
}

/* Labels of the `count` tokens behind the first `from`. */
static void add_labels(mm_tensor_map *map, int64_t batch, int64_t from, int64_t count, int64_t vocabulary)
{
    const int64_t shape[2] = {batch, count};
    int32_t *positions = add(map, "label_positions", MM_DTYPE_I32, 2, shape);

    for (int64_t i = 0; i < batch * count; i++) positions[i] = (int32_t)(from + i % count);
    add_ids(map, "labels", 2, shape, vocabulary);
    add_weights(map, 2, shape);
}

static void fill_gpt(mm_tensor_map *map, int64_t batch)
{
    add_ids(map, "input_ids", 2, (int64_t[]){batch, 128}, 1024);
    add_labels(map, batch, 0, 128, 1024);
}

static void fill_clip(mm_tensor_map *map, int64_t batch)
{
    add_random(map, "pixel_values", 4, (int64_t[]){batch, 3, 64, 64});
    add_ids(map, "input_ids", 2, (int64_t[]){batch, 32}, 1024);
}

enum { LLAVA_IMAGE = 49151 };

static void fill_llava(mm_tensor_map *map, int64_t batch)
{
    int32_t *ids;

    add_random(map, "pixel_values", 4, (int64_t[]){batch, 3, 64, 64});
    add_ids(map, "input_ids", 2, (int64_t[]){batch, 96}, LLAVA_IMAGE);
    ids = mm_tensor_data(mm_tensor_map_get(map, "input_ids"));
    for (int64_t i = 0; i < batch * 96; i++)
        if (i % 96 < 64) ids[i] = LLAVA_IMAGE;
    add_labels(map, batch, 63, 32, LLAVA_IMAGE);
}

#define VISION(width, layers, heads) \
    "\"hidden_size\": " width ", \"intermediate_size\": 768, \"num_hidden_layers\": " layers ", \"num_attention_heads\": " heads ", \"image_size\": 64, \"patch_size\": 8"
#define TEXT "\"vocab_size\": 1024, \"hidden_size\": 256, \"intermediate_size\": 1024, \"num_hidden_layers\": 6, \"num_attention_heads\": 8, \"max_position_embeddings\": 128"

static const workload workloads[] = {
    {"vit", "{\"architectures\": [\"ViTForImageClassification\"], \"model_type\": \"vit\", \"num_labels\": 10, " VISION("192", "6", "3") ", \"id2label\": {\"0\": \"0\", \"1\": \"1\", "
     "\"2\": \"2\", \"3\": \"3\", \"4\": \"4\", \"5\": \"5\", \"6\": \"6\", \"7\": \"7\", \"8\": \"8\", \"9\": \"9\"}}", MMI_OBJECTIVE_CLASSIFICATION, 32, NULL, fill_vit},
    {"gpt", "{\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"vocab_size\": 1024, \"n_embd\": 256, \"n_layer\": 6, \"n_head\": 8, \"n_positions\": 128, "
     "\"activation_function\": \"gelu\", \"tie_word_embeddings\": false}", MMI_OBJECTIVE_CAUSAL_LM, 16, NULL, fill_gpt},
    {"clip", "{\"architectures\": [\"CLIPModel\"], \"model_type\": \"clip\", \"projection_dim\": 128, \"vision_config\": {\"hidden_act\": \"gelu\", " VISION("192", "6", "3") "}, "
     "\"text_config\": {\"hidden_act\": \"gelu\", \"eos_token_id\": 1023, " TEXT "}}", MMI_OBJECTIVE_CONTRASTIVE, 32, NULL, fill_clip},
    {"llava", "{\"architectures\": [\"LlavaForConditionalGeneration\"], \"model_type\": \"llava\", \"image_token_index\": 49151, \"vision_feature_layer\": 0, "
     "\"vision_config\": {\"model_type\": \"clip_vision_model\", " VISION("384", "1", "6") "}, \"text_config\": {\"model_type\": \"llama\", \"vocab_size\": 49152, \"hidden_size\": 576, "
     "\"intermediate_size\": 1536, \"num_hidden_layers\": 30, \"num_attention_heads\": 9, \"num_key_value_heads\": 3, \"max_position_embeddings\": 2048, \"tie_word_embeddings\": true}}",
     MMI_OBJECTIVE_CAPTION, 4, "multi_modal_projector*", fill_llava},
};

typedef struct {
    mm_model *model;
    mmi_parameters parameters;
    mmi_optimizer *optimizer;
    mmi_step_graphs graphs;
    mmi_objective_spec objective;
    mm_tensor_map *batch;
    uint64_t steps;
    float loss;
} training;

static void step(training *t)
{
    mmi_step_result result;
    double norm;

    mmi_parameters_zero_gradients(&t->parameters);
    check(mmi_step_graph_run(ctx, &t->graphs, &t->objective, t->batch, 1, 1, &result));
    check(mmi_gradient_norm(ctx, t->parameters.list, t->parameters.count, 1, t->steps + 1, &norm));
    check(mmi_optimizer_step(ctx, t->optimizer, ++t->steps, 1e-4, 1));
    t->loss = result.loss;
}

static void measure(const workload *w, double seconds)
{
    char *pattern = (char *)(uintptr_t)w->train_only;
    mmi_train_config config = {.master = MM_DTYPE_F32, .weight_decay = 0.01, .train_only = &pattern, .n_train_only = pattern != NULL};
    training t = {.objective = {.kind = w->objective}};
    double begin, last, busy;
    struct rusage usage;
    int n = 0;

    check(mm_model_create(ctx, w->config, 1, &t.model));
    check(mmi_optimizer_spec_of(ctx, "adamw", &config.optimizer));
    check(mmi_parameters_choose(ctx, t.model, NULL, 0, &config, &t.parameters));
    check(mmi_optimizer_create(ctx, &config.optimizer, t.parameters.list, t.parameters.count, &t.optimizer));
    check(mm_tensor_map_create(ctx, &t.batch));
    w->fill(t.batch, w->batch);
    t.graphs.model = t.model;
    for (int i = 0; i < 2; i++) step(&t);
    printf("{\"metric\": \"%s_trained_parameters\", \"unit\": \"\", \"value\": %zu}\n{\"metric\": \"%s\", \"unit\": \"samples/s\", \"samples\": [", w->name,
           t.parameters.elements, w->name);
    begin = last = seconds_of(CLOCK_MONOTONIC);
    busy = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (; n < 3 || last - begin < seconds; n++) {
        double after;
        step(&t);
        after = seconds_of(CLOCK_MONOTONIC);
        printf("%s%.5g", n ? ", " : "", (double)w->batch / (after - last));
        last = after;
    }
    (void)getrusage(RUSAGE_SELF, &usage);
    printf("]}\n{\"metric\": \"%s_peak_rss\", \"unit\": \"MiB\", \"value\": %ld}\n", w->name, usage.ru_maxrss / 1024);
    fprintf(stderr, "%s: loss %g after %llu steps, %.1f ms of processor time a step\n", w->name, (double)t.loss, (unsigned long long)t.steps,
            1e3 * (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - busy) / n);
    mmi_step_graphs_clear(&t.graphs);
    mm_tensor_map_destroy(t.batch);
    mmi_optimizer_destroy(t.optimizer);
    mmi_parameters_clear(&t.parameters);
    mm_model_release(t.model);
}

int main(int argc, char **argv)
{
    if (argc < 2 || mm_context_create(NULL, &ctx) || mm_context_set_i64(ctx, MM_CONTEXT_THREADS, atoi(argv[1]))) return 2;
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        if (argc < 3 || !strcmp(argv[2], workloads[i].name)) measure(&workloads[i], argc > 3 ? atof(argv[3]) : 4);
    mm_context_destroy(ctx);
    return 0;
}
