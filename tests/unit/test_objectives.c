/* Each objective's loss and gradients on a given batch beside torch, with the weights of a tiny checkpoint: tests/golden/make_objectives.py.
 * SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include "gradient_norm.h"
#include "model.h"
#include "parameters.h"
#include "step_graph.h"

#define OBJECTIVES "tests/golden/objectives/"

static const double LOSS = 1e-5, NORM = 1e-4; /* relative */

/* What the script wrote, by its name. */
typedef struct {
    const char *name, *model, *other;
    mmi_objective_spec spec;
} objective_case;

static const objective_case cases[] = {
    {"causal_lm", "gpt2", NULL, {.kind = MMI_OBJECTIVE_CAUSAL_LM, .smoothing = 0.1f}},
    {"causal_lm_packed", "gpt2", NULL, {.kind = MMI_OBJECTIVE_CAUSAL_LM}},
    {"masked_lm", "bert_mlm", NULL, {.kind = MMI_OBJECTIVE_MASKED_LM}},
    {"span_corruption", "t5_relu", NULL, {.kind = MMI_OBJECTIVE_SPAN_CORRUPTION}},
    {"mae", "vit_mae", NULL, {.kind = MMI_OBJECTIVE_MAE}},
    {"denoising_image", "vit_mae", NULL, {.kind = MMI_OBJECTIVE_DENOISING_IMAGE}},
    {"contrastive", "clip", NULL, {.kind = MMI_OBJECTIVE_CONTRASTIVE}},
    {"sigmoid_contrastive", "siglip", NULL, {.kind = MMI_OBJECTIVE_SIGMOID_CONTRASTIVE}},
    {"matching", "blip_retrieval", NULL, {.kind = MMI_OBJECTIVE_MATCHING}},
    {"caption", "ved_bert", NULL, {.kind = MMI_OBJECTIVE_CAPTION}},
    {"vqa", "llava_vit", NULL, {.kind = MMI_OBJECTIVE_VQA}},
    {"classification", "vit_class", NULL, {.kind = MMI_OBJECTIVE_CLASSIFICATION, .smoothing = 0.2f}},
    {"regression", "bert_class", NULL, {.kind = MMI_OBJECTIVE_REGRESSION}},
    {"distillation", "gpt2", "gpt2_untied",
     {.kind = MMI_OBJECTIVE_DISTILLATION, .temperature = 3, .soft_weight = 0.7f, .hidden_weight = 0.4f, .hidden = {"hidden_states.1", "hidden_states.1"}}},
    {"dpo", "gpt2", "gpt2_untied", {.kind = MMI_OBJECTIVE_DPO, .beta = 0.2f}},
};

static mm_tensor_map *read_batch(mm_context *ctx, const char *name, double *loss, double *norm)
{
    char path[256];
    mm_tensor_map *all = NULL, *batch = NULL;

    (void)snprintf(path, sizeof path, OBJECTIVES "%s.safetensors", name);
    ok(ctx, mm_tensor_map_read(ctx, path, &all));
    ok(ctx, mm_tensor_map_create(ctx, &batch));
    for (size_t i = 0; i < mm_tensor_map_count(all); i++)
        if (!strncmp(mm_tensor_map_name(all, i), "in.", 3)) ok(ctx, mm_tensor_map_set(ctx, batch, mm_tensor_map_name(all, i) + 3, mm_tensor_map_at(all, i)));
    *loss = *(const float *)mm_tensor_const_data(mm_tensor_map_get(all, "loss"));
    *norm = *(const float *)mm_tensor_const_data(mm_tensor_map_get(all, "norm"));
    mm_tensor_map_destroy(all);
    return batch;
}

static void near(const char *name, const char *what, double have, double want, double most)
{
    if (!(fabs(have - want) <= most * fabs(want))) fail_msg("%s: %s is %.9g, torch has %.9g", name, what, have, want);
}

static void check_case(mm_context *ctx, const objective_case *c, int recompute)
{
    char path[256];
    double loss, norm, have;
    mmi_objective_spec spec = c->spec;
    mm_tensor_map *batch = read_batch(ctx, c->name, &loss, &norm);
    mm_model *model = NULL, *other = c->other ? open_golden(ctx, c->other) : NULL;
    char every[] = "*", *all[] = {every}; /* positions of a masked autoencoder too, as the golden has it */
    const mmi_train_config config = {.master = MM_DTYPE_F32, .train_only = all, .n_train_only = 1};
    mmi_parameters parameters = {0};
    mmi_step_graphs graphs = {.recompute = recompute};
    mmi_step_result r;

    (void)snprintf(path, sizeof path, MODELS "%s", c->model);
    ok(ctx, mmi_model_open_trainable(ctx, path, &model));
    ok(ctx, mmi_parameters_choose(ctx, model, NULL, 0, &config, &parameters));
    graphs.model = model;
    spec.other = other;
    ok(ctx, mmi_step_graph_run(ctx, &graphs, &spec, batch, 0, 1, &r));
    near(c->name, "loss of evaluation", r.loss, loss, LOSS);
    assert_int_equal(r.compared == NULL, c->spec.kind == MMI_OBJECTIVE_MAE || c->spec.kind == MMI_OBJECTIVE_DENOISING_IMAGE);
    for (int again = 0; again < 2; again++) { /* the same graph serves the next batch of the shape, and gradients add up */
        ok(ctx, mmi_step_graph_run(ctx, &graphs, &spec, batch, 1, 0.5f, &r));
        near(c->name, "loss", r.loss, loss, LOSS);
    }
    ok(ctx, mmi_gradient_norm(ctx, parameters.list, parameters.count, 1, 1, &have));
    near(c->name, "norm of the gradients", have, norm, NORM);
    mmi_step_graphs_clear(&graphs);
    mmi_parameters_clear(&parameters);
    mm_model_release(model);
    mm_model_release(other);
    mm_tensor_map_destroy(batch);
}

static void check_all(int recompute)
{
    mm_context *ctx = NULL;
    int64_t used;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    check_case(ctx, &cases[0], recompute); /* after which the context has its threads */
    used = memory_used(ctx);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(ctx, &cases[i], recompute);
    assert_int_equal(memory_used(ctx), used);
    mm_context_destroy(ctx);
}

static void test_beside_torch(void **state) { (void)state, check_all(0); }
static void test_recomputed(void **state) { (void)state, check_all(1); }

/* A batch that the objective cannot have says why. */
static void test_refused(void **state)
{
    mm_context *ctx = NULL;
    mm_model *gpt2, *clip;
    mm_tensor_map *batch;
    mmi_objective_spec spec = {.kind = MMI_OBJECTIVE_CLASSIFICATION};
    mmi_step_graphs graphs = {0};
    mmi_step_result r;
    double loss, norm;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    gpt2 = open_golden(ctx, "gpt2");
    clip = open_golden(ctx, "clip");
    batch = read_batch(ctx, "causal_lm", &loss, &norm);
    graphs.model = gpt2;
    refused(ctx, mmi_step_graph_run(ctx, &graphs, &(mmi_objective_spec){.kind = MMI_OBJECTIVE_CONTRASTIVE}, batch, 0, 1, &r), MM_E_UNSUPPORTED, "GPT2LMHeadModel",
            "logits_per_image", NULL);
    refused(ctx, mmi_step_graph_run(ctx, &graphs, &spec, batch, 0, 1, &r), MM_E_SHAPE, "labels", NULL);
    spec.kind = MMI_OBJECTIVE_DPO;
    spec.other = gpt2;
    refused(ctx, mmi_step_graph_run(ctx, &graphs, &spec, batch, 0, 1, &r), MM_E_SHAPE, "odd", NULL); /* three answers */
    spec.kind = MMI_OBJECTIVE_DISTILLATION;
    spec.other = clip;
    refused(ctx, mmi_step_graph_run(ctx, &graphs, &spec, batch, 0, 1, &r), MM_E_UNSUPPORTED, "CLIPModel", "logits", NULL);
    mmi_step_graphs_clear(&graphs);
    mm_tensor_map_destroy(batch);
    mm_model_release(gpt2);
    mm_model_release(clip);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_beside_torch), cmocka_unit_test(test_recomputed), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
