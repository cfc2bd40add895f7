/* Pictures and videos among the tokens of a text: features first, then a cached prompt and steps, against what transformers generates; prompts
 * against its processors; pairs of GGUF files against the directories they were written from; and what is refused.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* mkdtemp */
#include "model_fixture.h"

#include <unistd.h>

#include "forward.h"
#include "io.h"
#include "json.h"
#include "plan.h"
#include "run.h"

/* Greedy ids. */

static const int32_t *ids_of(const mm_tensor_map *map, const char *name, size_t *n)
{
    const mm_tensor *t = mm_tensor_map_get(map, name);
    assert_non_null(t);
    *n = (size_t)mm_tensor_elements(t);
    return mm_tensor_const_data(t);
}

static mm_tensor_map *media_of(mm_context *ctx, const mm_tensor_map *map)
{
    mm_tensor_map *media = NULL;

    ok(ctx, mm_tensor_map_create(ctx, &media));
    for (size_t i = 0; i < mm_tensor_map_count(map); i++)
        if (!strstr(mm_tensor_map_name(map, i), "_ids")) ok(ctx, mm_tensor_map_set(ctx, media, mm_tensor_map_name(map, i), mm_tensor_map_at(map, i)));
    return media;
}

/* The one medium of a case. */
static mmi_medium medium_of(const mm_tensor_map *media)
{
    const mm_tensor *image = mm_tensor_map_get(media, "image_grid_thw"), *video = mm_tensor_map_get(media, "video_grid_thw"),
                    *seconds = mm_tensor_map_get(media, "second_per_grid_ts");
    mmi_medium m = {.modality = video ? MMI_VIDEO : MMI_IMAGE, .rate = 1};

    if (image || video) memcpy(m.grid, mm_tensor_const_data(video ? video : image), sizeof m.grid);
    if (seconds) m.rate = 1.0 / (double)*(const float *)mm_tensor_const_data(seconds);
    return m;
}

/* One cached run of `count` ids; returns the likeliest next one. */
static int32_t step(mm_context *ctx, const mm_model *m, mmi_kv_cache *cache, const int32_t *ids, const int32_t *positions, size_t count,
                    const char *name, const mm_tensor *features)
{
    static const char *const wanted[] = {"logits", NULL};
    const int streams = m->info.position_streams == 3;
    int64_t shape[3] = {3, 1, (int64_t)count};
    mmi_kv_cache *caches[1] = {cache};
    mmi_run_values values = {.caches = caches, .n_caches = 1};
    mmi_io io = {0};
    mmi_value id, at, rows = 0;
    const float *logits;
    int32_t best = 0;

    ok(ctx, mmi_graph_create(ctx, &io.g));
    io.model = m;
    io.cached = io.last_only = 1;
    io.prefix = features && m->info.prefix;
    io.wanted = wanted;
    id = mmi_graph_input(io.g, "input_ids", MM_DTYPE_I32, 2, shape + 1);
    at = mmi_graph_input(io.g, "position_ids", MM_DTYPE_I32, 2 + streams, shape + 1 - streams);
    mmi_io_give(&io, "input_ids", id);
    mmi_io_give(&io, "position_ids", at);
    if (features) rows = mmi_graph_input(io.g, name, MM_DTYPE_F32, 2, mm_tensor_shape(features));
    mmi_io_give(&io, name, rows);
    mmi_io_build(&io);
    ok(ctx, mmi_graph_plan(io.g));
    ok(ctx, mmi_kv_cache_reserve(ctx, cache, cache->length + count));
    mmi_graph_bind(io.g, id, ids);
    mmi_graph_bind(io.g, at, positions);
    if (rows) mmi_graph_bind(io.g, rows, mm_tensor_const_data(features));
    ok(ctx, mmi_graph_run(io.g, &values));
    cache->length += count;
    logits = mmi_graph_result(io.g, mmi_io_find_output(&io, "logits"));
    for (int32_t v = 1; v < m->info.vocabulary; v++)
        if (logits[v] > logits[best]) best = v;
    mmi_graph_destroy(io.g);
    return best;
}

static void generate(mm_context *ctx, const mm_model *m, const char *name, const char *file)
{
    mm_tensor_map *map = read_golden(ctx, name, file, "greedy"), *media = media_of(ctx, map), *out = NULL;
    size_t n, count;
    const int32_t *prompt = ids_of(map, "prompt_ids", &n), *want = ids_of(map, "generated_ids", &count);
    const mmi_medium medium = medium_of(media);
    const char *features = medium.modality == MMI_VIDEO ? "video_features" : "image_features", *const wanted[] = {features, NULL};
    mmi_kv_shape shape = m->info.kv;
    mmi_kv_cache *cache = NULL;
    int32_t *positions = calloc(3 * n, sizeof *positions), next = 0, id;

    assert_non_null(positions);
    shape.dtype = MM_DTYPE_F32;
    ok(ctx, mmi_kv_cache_create(ctx, &shape, &cache));
    ok(ctx, mmi_forward(ctx, m, media, wanted, &out));
    assert_int_equal(mm_tensor_map_count(out), 1);
    if (m->arch->positions) {
        ok(ctx, m->arch->positions(ctx, m, prompt, n, &medium, 1, &next, positions));
    } else {
        for (; next < (int32_t)n; next++) positions[next] = next;
    }
    id = step(ctx, m, cache, prompt, positions, n, features, mm_tensor_map_get(out, features));
    for (size_t i = 0; i < count; i++, next++) {
        const int32_t at[3] = {next, next, next};
        if (id != want[i]) fail_msg("%s %s: id %zu is %d, expected %d", name, file, i, id, want[i]);
        id = step(ctx, m, cache, &id, at, 1, features, NULL);
    }
    free(positions);
    mmi_kv_cache_destroy(cache);
    mm_tensor_map_destroy(out);
    mm_tensor_map_destroy(media);
    mm_tensor_map_destroy(map);
}

static void test_greedy_ids_equal_transformers(void **state)
{
    static const char *const names[] = {"llava_vit",      "llava_clip", "llava_pair",  "qwen2_vl",  "qwen2_vl_hub", "qwen2_5_vl", "qwen2_5_vl_hub", "idefics3",
                                        "idefics3_bf16", "smolvlm",    "smolvlm_f16", "paligemma", "paligemma2"};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        mm_model *m = open_golden(ctx, names[i]);
        generate(ctx, m, names[i], "image");
        if (m->info.video_token >= 0) generate(ctx, m, names[i], "video");
        mm_model_release(m);
    }
    mm_context_destroy(ctx);
}

/* Pairs of files. */

static mm_model *open_pair(mm_context *ctx, const char *name)
{
    char text[256], projector[256];
    mm_model *m = NULL;

    (void)snprintf(text, sizeof text, MODELS "%s/model.gguf", name);
    (void)snprintf(projector, sizeof projector, MODELS "%s/mmproj.gguf", name);
    ok(ctx, mm_model_open_pair(ctx, text, projector, &m));
    return m;
}

static void test_pairs_equal_their_directories(void **state)
{
    static const char *const cases[][2] = {{"llava_pair", "two"},   {"llava_pair", "padded"},      {"llava_pair", "text"},
                                           {"idefics3_pair", "tiles"}, {"idefics3_pair", "padded"}, {"idefics3_pair", "text"}};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_model *m = open_pair(ctx, cases[i][0]);
        mm_tensor_map *in = read_golden(ctx, cases[i][0], cases[i][1], "in"), *want = read_golden(ctx, cases[i][0], cases[i][1], "out"), *have = NULL;
        ok(ctx, mm_model_forward(m, ctx, in, &have));
        for (size_t k = 0; k < mm_tensor_map_count(want); k++) {
            const mm_tensor *h = mm_tensor_map_get(have, mm_tensor_map_name(want, k));
            assert_same_shape(cases[i][0], h, mm_tensor_map_at(want, k));
            assert_true(relative_error(h, mm_tensor_map_at(want, k), mm_tensor_map_get(in, "attention_mask")) <= EXACT);
        }
        generate(ctx, m, cases[i][0], "image");
        mm_tensor_map_destroy(in);
        mm_tensor_map_destroy(want);
        mm_tensor_map_destroy(have);
        mm_model_release(m);
    }
    mm_context_destroy(ctx);
}

/* A picture through the pair's processor and a session gives what the directory gives. */
static void test_sessions_of_pairs(void **state)
{
    uint8_t pixels[8 * 8 * 3];
    const int32_t *ids[2];
    size_t counts[2];
    mm_context *ctx = NULL;
    mm_session *s[2] = {NULL, NULL};
    mm_image *image = NULL;
    (void)state;

    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 37 % 251);
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    ok(ctx, mm_image_create(ctx, 8, 8, pixels, &image));
    for (int i = 0; i < 2; i++) {
        mm_model *m = i ? open_pair(ctx, "llava_pair") : open_golden(ctx, "llava_pair");
        int32_t why;
        ok(ctx, mm_session_create(ctx, m, &s[i]));
        ok(ctx, mm_session_set_i64(s[i], MM_SESSION_MAX_TOKENS, 12));
        ok(ctx, mm_session_set_f64(s[i], MM_SESSION_TEMPERATURE, 0));
        ok(ctx, mm_session_append_image(s[i], image));
        ok(ctx, mm_session_append_text(s[i], "the man <image> on"));
        ok(ctx, mm_session_generate(s[i], NULL, NULL, &why));
        ids[i] = mm_session_tokens(s[i]);
        counts[i] = mm_session_length(s[i]);
        mm_model_release(m);
    }
    assert_int_equal(counts[0], counts[1]);
    assert_memory_equal(ids[0], ids[1], counts[0] * sizeof *ids[0]);
    mm_session_destroy(s[0]);
    mm_session_destroy(s[1]);
    mm_image_destroy(image);
    mm_context_destroy(ctx);
}

/* Prompts. */

static void test_prompts_equal_the_processors(void **state)
{
    mm_context *ctx = NULL;
    mmi_json *doc = NULL;
    size_t n = 0;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    ok(ctx, mmi_json_read(ctx, MODELS "early_fusion.prompts.json", 1 << 20, &doc));
    for (const mmi_json_node *c = mmi_json_first(mmi_json_root(doc)); c; c = mmi_json_next(c), n++) {
        mm_model *m = open_golden(ctx, mmi_json_string(mmi_json_get(c, "model")));
        mmi_medium media[4] = {{0}};
        mmi_text text = {0};
        size_t count = 0;
        for (const mmi_json_node *k = mmi_json_first(mmi_json_get(c, "media")); k; k = mmi_json_next(k), count++) {
            int64_t tokens = 0;
            media[count].modality = mmi_json_string(mmi_json_get(k, "kind"))[0] == 'v' ? MMI_VIDEO : MMI_IMAGE;
            assert_true(mmi_json_integer(mmi_json_get(k, "rows"), &media[count].rows) && mmi_json_integer(mmi_json_get(k, "cols"), &media[count].cols) &&
                        mmi_json_integer(mmi_json_get(k, "tokens"), &tokens));
            media[count].tokens = (size_t)tokens;
        }
        ok(ctx, m->arch->write_prompt(ctx, m, mmi_json_string(mmi_json_get(c, "text")), media, count, &text));
        assert_string_equal(text.data, mmi_json_string(mmi_json_get(c, "prompt")));
        mmi_text_clear(&text);
        refused(ctx, m->arch->write_prompt(ctx, m, "<image><image><image><|image_pad|><|image_pad|><|image_pad|>", media, 1, &text), MM_E_ARGUMENT, "3", "1",
                (const char *)NULL);
        mmi_text_clear(&text);
        mm_model_release(m);
    }
    assert_true(n >= 10);
    mmi_json_destroy(doc);
    mm_context_destroy(ctx);
}

/* What is refused. */

static void put(mm_context *ctx, mm_tensor_map *map, const char *name, int32_t dtype, int32_t rank, const int64_t *shape, const void *data)
{
    mm_tensor *t = NULL;
    ok(ctx, mm_tensor_copy(ctx, dtype, rank, shape, data, &t));
    ok(ctx, mm_tensor_map_set(ctx, map, name, t));
    mm_tensor_release(t);
}

static void refuse(mm_context *ctx, const char *model, const char *file, const char *name, int32_t dtype, int32_t rank, const int64_t *shape,
                   const void *data, mm_status want, const char *a, const char *b)
{
    mm_model *m = open_golden(ctx, model);
    mm_tensor_map *in = read_golden(ctx, model, file, "in"), *out = (mm_tensor_map *)1;

    put(ctx, in, name, dtype, rank, shape, data);
    refused(ctx, mm_model_forward(m, ctx, in, &out), want, a, b, (const char *)NULL);
    assert_null(out);
    mm_tensor_map_destroy(in);
    mm_model_release(m);
}

static void test_inputs_are_checked(void **state)
{
    static float zeros[3 * 8 * 8 * 3];
    static const int64_t no_image[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, odd[6] = {1, 4, 6, 1, 5, 2}, few[6] = {1, 4, 6, 1, 4, 2}, huge[6] = {1 << 30, 1 << 30, 1 << 30, 1, 6, 2},
                         negative[6] = {1, 4, 6, 1, -6, -2};
    static const float seconds[2] = {1, 2};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    refuse(ctx, "llava_vit", "two", "input_ids", MM_DTYPE_I64, 2, (const int64_t[]){1, 9}, no_image, MM_E_ARGUMENT, "0 times", "48 rows of image_features");
    refuse(ctx, "llava_vit", "two", "pixel_values", MM_DTYPE_F32, 4, (const int64_t[]){1, 3, 8, 8}, zeros, MM_E_ARGUMENT, "48 times", "4 rows of image_features");
    refuse(ctx, "llava_vit", "two", "pixel_attention_mask", MM_DTYPE_I64, 1, (const int64_t[]){9}, no_image, MM_E_ARGUMENT, "pixel_attention_mask", "not take");
    refuse(ctx, "qwen2_vl", "images", "image_grid_thw", MM_DTYPE_I64, 2, (const int64_t[]){2, 3}, odd, MM_E_ARGUMENT, "1 x 5 x 2", "2 x 2");
    refuse(ctx, "qwen2_vl", "images", "image_grid_thw", MM_DTYPE_I64, 2, (const int64_t[]){2, 3}, few, MM_E_ARGUMENT, "fewer patches", "36");
    refuse(ctx, "qwen2_5_vl", "images", "image_grid_thw", MM_DTYPE_I64, 2, (const int64_t[]){2, 3}, huge, MM_E_ARGUMENT, "fewer than a grid", "1073741824");
    refuse(ctx, "qwen2_vl", "images", "image_grid_thw", MM_DTYPE_I64, 2, (const int64_t[]){2, 3}, negative, MM_E_ARGUMENT, "grid", "-6");
    refuse(ctx, "qwen2_vl", "images", "image_grid_thw", MM_DTYPE_I64, 2, (const int64_t[]){3, 2}, few, MM_E_SHAPE, "image_grid_thw", "2");
    refuse(ctx, "qwen2_vl", "images", "image_grid_thw", MM_DTYPE_I64, 2, (const int64_t[]){1, 3}, few, MM_E_ARGUMENT, "more runs of token 59", "1 of image_grid_thw");
    refuse(ctx, "qwen2_5_vl", "video", "second_per_grid_ts", MM_DTYPE_F32, 1, (const int64_t[]){2}, seconds, MM_E_SHAPE, "second_per_grid_ts", "1 videos");
    refuse(ctx, "idefics3", "tiles", "pixel_values", MM_DTYPE_F32, 5, (const int64_t[]){1, 3, 3, 8, 8}, zeros, MM_E_ARGUMENT, "no picture", "zero");
    refuse(ctx, "idefics3", "tiles", "pixel_attention_mask", MM_DTYPE_I64, 4, (const int64_t[]){1, 3, 1, 3}, no_image, MM_E_SHAPE, "pixel_attention_mask", "fit");
    refuse(ctx, "paligemma", "prefix", "token_type_ids", MM_DTYPE_I64, 2, (const int64_t[]){1, 9}, no_image, MM_E_SHAPE, "[", "");
    mm_context_destroy(ctx);
}

/* A model's directory with one text of its config.json exchanged. */
static void refuse_config(mm_context *ctx, const char *folder, const char *model, const char *from, const char *to, mm_status want, const char *part)
{
    char path[512], target[512], *at;
    static char text[1 << 16];
    mm_model *m = (mm_model *)1;
    FILE *f;
    size_t n;

    (void)snprintf(path, sizeof path, MODELS "%s/config.json", model);
    assert_non_null(f = fopen(path, "rb"));
    n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = 0;
    at = strstr(text, from);
    if (!at) fail_msg("%s does not hold %s", path, from);
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    assert_non_null(f = fopen(path, "wb"));
    (void)fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    (void)fclose(f);
    assert_non_null(getcwd(target, sizeof target));
    (void)snprintf(target + strlen(target), sizeof target - strlen(target), "/" MODELS "%s/model.safetensors", model);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    (void)unlink(path);
    assert_int_equal(symlink(target, path), 0);
    refused(ctx, mm_model_open(ctx, folder, &m), want, part, (const char *)NULL);
    assert_null(m);
}

static void test_configurations_are_checked(void **state)
{
    static const struct {
        const char *model, *from, *to, *part;
        mm_status want;
    } cases[] = {
        {"llava_vit", "\"image_token_index\": 60", "\"image_token_index\": 61", "image_token_index", MM_E_FORMAT},
        {"llava_vit", "\"vision_feature_layer\": -2", "\"vision_feature_layer\": 9", "vision_feature_layer", MM_E_FORMAT},
        {"llava_vit", "\"vision_feature_layer\": -2", "\"vision_feature_layer\": []", "vision_feature_layer", MM_E_FORMAT},
        {"llava_vit", "\"vision_feature_select_strategy\": \"default\"", "\"vision_feature_select_strategy\": \"some\"", "some", MM_E_UNSUPPORTED},
        {"llava_vit", "\"vision_config\"", "\"no_config\"", "vision_config is missing", MM_E_FORMAT},
        {"llava_vit", "\"model_type\": \"vit\"", "\"model_type\": \"no\"", "\"no\"", MM_E_UNSUPPORTED},
        {"llava_vit", "\"vision_feature_layer\": -2", "\"vision_feature_layer\": [1, 2]", "multi_modal_projector.linear_1.weight", MM_E_SHAPE},
        {"qwen2_vl", "\"patch_size\": 2", "\"patch_size\": -2", "patch_size", MM_E_FORMAT},
        {"qwen2_vl", "\"num_heads\": 2", "\"num_heads\": 8", "16", MM_E_FORMAT},
        {"qwen2_vl", "\"mrope_section\"", "\"no_section\"", "mrope_section", MM_E_FORMAT},
        {"qwen2_5_vl", "\"window_size\": 8", "\"window_size\": 3", "window_size", MM_E_FORMAT},
        {"qwen2_5_vl", "\"out_hidden_size\": 24", "\"out_hidden_size\": 32", "32", MM_E_FORMAT},
        {"qwen2_5_vl", "\"video_token_id\": 60", "\"video_token_id\": 600", "video_token_id", MM_E_FORMAT},
        {"idefics3", "\"scale_factor\": 2", "\"scale_factor\": 4", "connector.modality_projection.proj.weight", MM_E_SHAPE},
        {"idefics3", "\"scale_factor\": 2", "\"scale_factor\": 0", "scale_factor", MM_E_FORMAT},
        {"paligemma", "\"hidden_size\": 16", "\"hidden_size\": 18", "[", MM_E_SHAPE},
        /* parts that do not belong together */
        {"qwen2_vl", "\"image_token_id\": 59", "\"image_token_id\": 60", "both 60", MM_E_FORMAT},
        {"qwen2_vl", "\"model_type\": \"qwen2_vl_vision\"", "\"model_type\": \"vit\"", "ViTModel", MM_E_UNSUPPORTED},
        {"qwen2_vl", "\"model_type\": \"qwen2_vl_vision\"", "\"model_type\": \"clip_vision_model\"", "CLIPVisionModel", MM_E_UNSUPPORTED},
        {"qwen2_vl", "\"model_type\": \"qwen2_vl_text\"", "\"model_type\": \"qwen2\"", "Qwen2ForCausalLM", MM_E_UNSUPPORTED},
        {"idefics3", "\"model_type\": \"idefics3_vision\"", "\"model_type\": \"siglip_vision_model\"", "SiglipVisionModel", MM_E_UNSUPPORTED},
        {"idefics3", "\"model_type\": \"idefics3_vision\"", "\"vocab_size\": 61, \"model_type\": \"bert\"", "BertModel", MM_E_UNSUPPORTED},
        {"llava_vit", "\"model_type\": \"vit\"", "\"vocab_size\": 61, \"model_type\": \"roberta\"", "RobertaModel", MM_E_UNSUPPORTED},
        {"llava_vit", "\"model_type\": \"llama\"", "\"model_type\": \"bert\"", "BertLMHeadModel", MM_E_UNSUPPORTED},
        {"llava_vit", "\"model_type\": \"llama\"", "\"is_decoder\": true, \"add_cross_attention\": true, \"model_type\": \"bert\"", "BertLMHeadModel",
         MM_E_UNSUPPORTED},
        {"paligemma", "\"model_type\": \"siglip_vision_model\"", "\"model_type\": \"siglip_text_model\", \"vocab_size\": 61", "SiglipTextModel", MM_E_UNSUPPORTED},
    };
    char folder[] = "/tmp/libmm.XXXXXX", command[64];
    mm_context *ctx = NULL;
    (void)state;

    assert_non_null(mkdtemp(folder));
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse_config(ctx, folder, cases[i].model, cases[i].from, cases[i].to, cases[i].want, cases[i].part);
    mm_context_destroy(ctx);
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void test_pairs_are_checked(void **state)
{
    const char *text = MODELS "llava_pair/model.gguf", *projector = MODELS "llava_pair/mmproj.gguf";
    mm_context *ctx = NULL;
    mm_model *m = (mm_model *)1;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    refused(ctx, mm_model_open_pair(ctx, text, text, &m), MM_E_UNSUPPORTED, "no vision projector", (const char *)NULL);
    assert_null(m);
    refused(ctx, mm_model_open_pair(ctx, projector, projector, &m), MM_E_UNSUPPORTED, "\"clip\"", (const char *)NULL);
    refused(ctx, mm_model_open_pair(ctx, text, MODELS "no.gguf", &m), MM_E_NOT_FOUND, "no.gguf", (const char *)NULL);
    refused(ctx, mm_model_open_pair(ctx, MODELS "gguf_f32/model.gguf", projector, &m), MM_E_UNSUPPORTED, "<image>", (const char *)NULL);
    refused(ctx, mm_model_open_pair(ctx, MODELS "gguf_bert_f32/model.gguf", projector, &m), MM_E_UNSUPPORTED, "<image>", (const char *)NULL);
    refused(ctx, mm_model_open_pair(ctx, NULL, projector, &m), MM_E_ARGUMENT, "NULL", (const char *)NULL);
    mm_context_destroy(ctx);
}

/* Every allocation fails once. */

typedef struct {
    long count, fail_at, live;
} allocator;

static void *hook_alloc(void *user, size_t size, size_t alignment)
{
    allocator *a = user;
    void *p = ++a->count == a->fail_at ? NULL : aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);

    if (p) memset(p, 0xA5, size);
    a->live += p != NULL;
    return p;
}

static void hook_free(void *user, void *ptr, size_t size)
{
    (void)size;
    ((allocator *)user)->live--;
    free(ptr);
}

static mm_status scenario(mm_context *ctx, const char *name, const char *file, int pair)
{
    char path[256], projector[256];
    mm_tensor_map *in = NULL, *out = NULL;
    mm_model *m = NULL;
    mm_status st;

    (void)snprintf(path, sizeof path, MODELS "%s%s", name, pair ? "/model.gguf" : "");
    (void)snprintf(projector, sizeof projector, MODELS "%s/mmproj.gguf", name);
    st = pair ? mm_model_open_pair(ctx, path, projector, &m) : mm_model_open(ctx, path, &m);
    (void)snprintf(path, sizeof path, MODELS "%s/%s.in.safetensors", name, file);
    if (!st) st = mm_tensor_map_read(ctx, path, &in);
    if (!st) st = mm_model_forward(m, ctx, in, &out);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(out);
    mm_model_release(m);
    return st;
}

static void test_out_of_memory(void **state)
{
    static const struct {
        const char *name, *file;
        int pair;
    } cases[] = {{"llava_pair", "two", 1}, {"qwen2_5_vl", "video", 0}, {"idefics3", "padded", 0}, {"paligemma2", "prefix", 0}};
    allocator a = {0};
    mm_hooks hooks = {sizeof hooks, hook_alloc, hook_free, &a};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(&hooks, &ctx), MM_OK);
    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        long live, total;
        ok(ctx, scenario(ctx, cases[i].name, cases[i].file, cases[i].pair));
        live = a.live;
        a.count = 0;
        ok(ctx, scenario(ctx, cases[i].name, cases[i].file, cases[i].pair));
        total = a.count;
        for (long n = 1; n <= total; n += 1 + total / 400) {
            mm_status st;
            a.count = 0;
            a.fail_at = n;
            st = scenario(ctx, cases[i].name, cases[i].file, cases[i].pair);
            a.fail_at = 0;
            if (st != MM_E_NOMEM && st != MM_OK) fail_msg("%s: allocation %ld of %ld failed: %s", cases[i].name, n, total, mm_status_name(st));
            assert_int_equal(a.live, live);
        }
        ok(ctx, scenario(ctx, cases[i].name, cases[i].file, cases[i].pair));
    }
    mm_context_destroy(ctx);
    assert_int_equal(a.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_ids_equal_transformers),
        cmocka_unit_test(test_pairs_equal_their_directories),
        cmocka_unit_test(test_sessions_of_pairs),
        cmocka_unit_test(test_prompts_equal_the_processors),
        cmocka_unit_test(test_inputs_are_checked),
        cmocka_unit_test(test_configurations_are_checked),
        cmocka_unit_test(test_pairs_are_checked),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("early_fusion", tests, NULL, NULL);
}
