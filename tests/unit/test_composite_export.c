/* Composites saved as classes of transformers: opened again as that class they compute what the composite computes (that those classes are right is tested by
 * test_golden_models.c beside transformers), and what has another shape is refused. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* mkdtemp */
#include "unit_fixture.h"

#include "trainer_fixture.h"

#define CLIP_VISION "\"vision_config\": {\"model_type\": \"clip_vision_model\", \"image_size\": 16, \"patch_size\": 8, \"hidden_size\": 20, \"num_hidden_layers\": 2, " \
                    "\"num_attention_heads\": 2, \"intermediate_size\": 24, \"initializer_range\": 0.3}"
#define VIT "\"vision_config\": {\"model_type\": \"vit\", \"image_size\": 16, \"patch_size\": 8, \"hidden_size\": 20, \"num_hidden_layers\": 2, " \
            "\"num_attention_heads\": 2, \"intermediate_size\": 24, \"initializer_range\": 0.3, \"layer_norm_eps\": 1e-5}"
#define LLAMA "\"decoder_config\": {\"model_type\": \"llama\", \"vocab_size\": 60, \"hidden_size\": 16, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, " \
              "\"num_key_value_heads\": 1, \"intermediate_size\": 24, \"max_position_embeddings\": 40, \"initializer_range\": 0.3, \"rope_theta\": 500.0}, \"image_token_index\": 59"
#define BERT "\"text_config\": {\"model_type\": \"bert\", \"vocab_size\": 60, \"hidden_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, " \
             "\"intermediate_size\": 24, \"max_position_embeddings\": 40, \"initializer_range\": 0.3}"
#define CLIP_TEXT "\"text_config\": {\"model_type\": \"clip_text_model\", \"vocab_size\": 60, \"hidden_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, " \
                  "\"intermediate_size\": 24, \"max_position_embeddings\": 8, \"eos_token_id\": 3, \"initializer_range\": 0.3}"
#define PAIR(more) "\"heads\": [{\"name\": \"pair\", \"kind\": \"contrastive\", \"dim\": 6, \"inputs\": [\"text\", \"vision\"]" more "}]"
#define POOLED ", \"pool\": \"pooler\""
#define MM(rest) "{\"architectures\": [\"MMModel\"], \"model_type\": \"mm\", " rest "}"

static const char llava[] = "LlavaForConditionalGeneration", clip[] = "CLIPModel", dual[] = "VisionTextDualEncoderModel";

static mm_model *create(mm_context *ctx, const char *config)
{
    mm_model *m = NULL;
    ok(ctx, mm_model_create(ctx, config, 5, &m));
    return m;
}

static void add(mm_context *ctx, mm_tensor_map *map, const char *name, int32_t dtype, int32_t rank, const int64_t *shape, mm_tensor **out)
{
    ok(ctx, mm_tensor_create(ctx, dtype, rank, shape, out));
    ok(ctx, mm_tensor_map_set(ctx, map, name, *out));
    mm_tensor_release(*out);
}

/* Two pictures and two texts, in each the places of `features` tokens of a picture behind the first. */
static mm_tensor_map *inputs(mm_context *ctx, int side, int features)
{
    const int T = features > 5 ? features + 3 : 8;
    const int64_t pixels[4] = {2, 3, side, side}, ids[2] = {2, T};
    mm_tensor_map *map = NULL;
    mm_tensor *t;

    ok(ctx, mm_tensor_map_create(ctx, &map));
    add(ctx, map, "pixel_values", MM_DTYPE_F32, 4, pixels, &t);
    for (int64_t i = 0; i < mm_tensor_elements(t); i++) ((float *)mm_tensor_data(t))[i] = sinf((float)(i * i % 509));
    add(ctx, map, "input_ids", MM_DTYPE_I32, 2, ids, &t);
    for (int i = 0; i < 2 * T; i++) ((int32_t *)mm_tensor_data(t))[i] = i % T && i % T <= features ? 59 : i % T == T - 1 ? 3 : 4 + i * 5 % 50;
    return map;
}

static void expect_same(mm_context *ctx, const mm_model *a, const mm_model *b, int side, int features, const char *const *outputs)
{
    mm_tensor_map *in = inputs(ctx, side, features), *have = NULL, *want = NULL;

    ok(ctx, mm_model_forward(a, ctx, in, &want));
    ok(ctx, mm_model_forward(b, ctx, in, &have));
    for (; *outputs; outputs++) {
        const mm_tensor *h = mm_tensor_map_get(have, *outputs), *w = mm_tensor_map_get(want, *outputs);
        assert_non_null(h);
        assert_non_null(w);
        assert_same_shape(*outputs, h, w);
        assert_true(relative_error(h, w, NULL) < 1e-6);
    }
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(have);
    mm_tensor_map_destroy(want);
}

static void save_and_compare(mm_context *ctx, mm_model *m, const char *class_name, int side, int features)
{
    static const char *const logits[] = {"logits", NULL}, *const scores[] = {"text_embeds", "image_embeds", "logits_per_image", "logits_per_text", NULL};
    mm_model *other = NULL;

    ok(ctx, mm_model_save_as(m, ctx, in_folder("saved"), MM_SAVE_AS_IS, class_name));
    ok(ctx, mm_model_open(ctx, in_folder("saved"), &other));
    assert_string_equal(mm_model_get_str(other, MM_MODEL_CLASS), class_name);
    expect_same(ctx, m, other, side, features, class_name == llava ? logits : scores);
    mm_model_release(other);
}

static void test_classes(void **state)
{
    static const struct {
        const char *config, *class_name;
        int features;
    } cases[] = {
        {MM(CLIP_VISION ", " LLAMA ", \"projector\": {\"skip\": 1}"), llava, 4},
        {MM(CLIP_VISION ", " LLAMA ", \"projector\": {\"depth\": 0, \"hidden_act\": \"relu\"}"), llava, 5},
        {MM(VIT ", " LLAMA ", \"projector\": {\"depth\": 2}"), llava, 5},
        {MM(CLIP_VISION ", " CLIP_TEXT ", " PAIR(POOLED)), clip, 0},
        {MM(CLIP_VISION ", " CLIP_TEXT ", " PAIR(POOLED)), dual, 0},
        {MM(VIT ", " BERT ", " PAIR(POOLED)), dual, 0},
    };
    mm_context *ctx = context_of(1);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_model *m = create(ctx, cases[i].config);
        save_and_compare(ctx, m, cases[i].class_name, 16, cases[i].features);
        mm_model_release(m);
    }
    mm_context_destroy(ctx);
}

/* Towers of other checkpoints, whose weights the composite itself is not saved with. */
static void test_borrowed_parts(void **state)
{
    static const char form[] = MM("\"vision_config\": {\"from\": \"%s/tests/golden/models/dinov2\"}, \"decoder_config\": {\"from\": \"%s/tests/golden/models/llama_gqa\"}, "
                                  "\"image_token_index\": 59, \"projector\": {\"depth\": 1, \"skip\": 1}");
    char config[2048];
    mm_context *ctx = context_of(1);
    mm_model *m, *again = NULL;

    (void)state;
    (void)snprintf(config, sizeof config, form, home, home);
    m = create(ctx, config);
    save_and_compare(ctx, m, llava, (int)fact(m, MM_MODEL_IMAGE_HEIGHT), 16);
    ok(ctx, mm_model_save_as(m, ctx, in_folder("own"), MM_DTYPE_BF16, "MMModel")); /* its own class: as ever */
    ok(ctx, mm_model_open(ctx, in_folder("own"), &again));
    ok(ctx, mm_model_save_as(again, ctx, in_folder("saved"), MM_DTYPE_F32, llava));
    mm_model_release(again);
    ok(ctx, mm_model_open(ctx, in_folder("saved"), &again));
    assert_null(strchr(mm_model_get_str(again, MM_MODEL_DTYPES), ',')); /* all of them F32 */
    mm_model_release(again);
    mm_model_release(m);
    mm_context_destroy(ctx);
}

static void test_refused(void **state)
{
    static const struct {
        const char *config, *class_name, *why;
    } cases[] = {
        {MM(VIT ", " LLAMA), llava, "which is \"depth\": 2"},
        {MM(CLIP_VISION ", " LLAMA ", \"projector\": {\"layers\": 1}"), llava, "projector has two layers"},
        {MM(CLIP_VISION ", " LLAMA ", \"projector\": {\"skip\": 2}"), llava, "skips no more than one token"},
        {MM(CLIP_VISION ", " LLAMA ", \"heads\": [{\"name\": \"a\", \"kind\": \"regression\", \"input\": \"vision\", \"size\": 2}]"), llava, "and nothing else"},
        {MM(CLIP_VISION ", " BERT ", " PAIR(POOLED)), llava, "a vision tower, a decoder"},
        {MM(CLIP_VISION ", " LLAMA), clip, "a text and a vision tower"},
        {MM(CLIP_VISION ", " CLIP_TEXT ", " PAIR("")), clip, "\"pool\": \"pooler\""},
        {MM(CLIP_VISION ", " CLIP_TEXT ", " PAIR(POOLED ", \"sigmoid\": true")), clip, "without \"sigmoid\""},
        {MM(VIT ", " BERT ", " PAIR(POOLED)), clip, "VisionTextDualEncoderModel"},
        {MM(VIT ", " BERT ", " PAIR(POOLED)), "BlipModel", "known are"},
        {"{\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"n_embd\": 8, \"n_layer\": 1, \"n_head\": 2, \"vocab_size\": 20}", llava, "only an MMModel"},
    };
    mm_context *ctx = context_of(1);
    mm_model *m = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        m = create(ctx, cases[i].config);
        refused(ctx, mm_model_save_as(m, ctx, in_folder("none"), MM_SAVE_AS_IS, cases[i].class_name), MM_E_UNSUPPORTED, cases[i].class_name, cases[i].why, NULL);
        assert_int_not_equal(access(in_folder("none"), F_OK), 0);
        mm_model_release(m);
    }
    refused(ctx, mm_model_create(ctx, MM("\"video_config\": {\"model_type\": \"vit\"}, " BERT ", \"heads\": [{\"name\": \"pair\", \"kind\": \"contrastive\", \"dim\": 6, "
                                         "\"inputs\": [\"text\", \"video\"]" POOLED "}]"), 1, &m), MM_E_UNSUPPORTED, "pair", "video", NULL);
    assert_int_equal(mm_model_save_as(NULL, ctx, "x", MM_SAVE_AS_IS, llava), MM_E_ARGUMENT);
    mm_context_destroy(ctx);
}

static void test_out_of_memory(void **state)
{
    static const char *const configs[][2] = {{MM(CLIP_VISION ", " LLAMA), llava}, {MM(VIT ", " BERT ", " PAIR(POOLED)), dual}};
    unit_allocator allocator;
    mm_context *ctx = unit_context(&allocator);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        mm_model *m = create(ctx, configs[i][0]);
        const size_t before = allocator.live;
        mm_status st = MM_E_NOMEM;
        for (long k = 1; st; k++) {
            allocator.count = 0;
            allocator.fail_at = k;
            st = mm_model_save_as(m, ctx, in_folder("saved"), MM_SAVE_AS_IS, configs[i][1]);
            allocator.fail_at = 0;
            if (st && st != MM_E_NOMEM) fail_msg("allocation %ld failing: %s, %s", k, mm_status_name(st), mm_context_error(ctx));
            if (allocator.live != before) fail_msg("with allocation %ld failing something stays", k);
        }
        mm_model_release(m);
    }
    unit_context_end(&allocator, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_classes), cmocka_unit_test(test_borrowed_parts), cmocka_unit_test(test_refused), cmocka_unit_test(test_out_of_memory)};
    return cmocka_run_group_tests_name("composite_export", tests, folder_begin, folder_end);
}
