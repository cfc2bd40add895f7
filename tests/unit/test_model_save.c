/* Models that are made, changed and saved: every tiny checkpoint of tests/golden/make_models.py and its kin opened for training, its
 * configuration made anew, and both written and opened again. SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include <dirent.h>
#include <glob.h>
#include <signal.h>
#include <sys/resource.h>

#include "file.h"
#include "model.h"
#include "model_save.h"
#include "unit_fixture.h"

enum { LEAST_MODELS = 110 }; /* fewer: the lists were cut */

static const double PACKED = 5e-6; /* float32 sums of some dozen terms in another order, some of them nearly 0 */

typedef void (*model_fn)(mm_context *ctx, const char *name, const char *file);

/* The first case of every directory in the lists of tests/golden/models. */
static size_t for_each_directory(mm_context *ctx, model_fn fn)
{
    glob_t lists;
    char line[192], name[64], file[64], last[64] = "", path[256];
    size_t n = 0;

    assert_int_equal(glob(MODELS "*.cases.txt", 0, NULL, &lists), 0);
    for (size_t i = 0; i < lists.gl_pathc; i++) {
        FILE *list = fopen(lists.gl_pathv[i], "r");
        assert_non_null(list);
        while (fgets(line, sizeof line, list)) {
            assert_int_equal(sscanf(line, "%63s %63s", name, file), 2);
            (void)snprintf(path, sizeof path, MODELS "%s/config.json", name);
            if (!strcmp(name, last) || !mmi_file_exists(path)) continue; /* a GGUF file */
            strcpy(last, name);
            fn(ctx, name, file);
            n++;
        }
        (void)fclose(list);
    }
    globfree(&lists);
    return n;
}

static mm_tensor_map *forward(mm_context *ctx, const mm_model *m, const mm_tensor_map *in)
{
    mm_tensor_map *out = NULL;
    ok(ctx, mm_model_forward(m, ctx, in, &out));
    assert_non_null(out);
    return out;
}

static mm_context *begin(void)
{
    mm_context *ctx = NULL;
    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    return ctx;
}

/* Each output of `want` is in `have`, alike: EXACT, where the mask of `in` shows it. */
static void assert_alike(const char *name, const mm_tensor_map *have, const mm_tensor_map *want, const mm_tensor_map *in, double most)
{
    for (size_t i = 0; i < mm_tensor_map_count(want); i++) {
        const char *output = mm_tensor_map_name(want, i);
        const mm_tensor *h = mm_tensor_map_get(have, output), *w = mm_tensor_map_get(want, output);
        double error;
        if (strchr(output, '.') || !h || mm_tensor_dtype(w) != MM_DTYPE_F32) continue; /* given when asked for alone */
        assert_same_shape(output, h, w);
        error = relative_error(h, w, in ? mask_of(in, output) : NULL);
        if (!(error <= most)) fail_msg("%s %s: relative error %g", name, output, error);
    }
}

static void assert_owned(const mm_model *m)
{
    for (size_t i = 0; i < m->n_weights; i++)
        if (!mmi_weight_values(&m->weights[i]) || m->weights[i].packed) fail_msg("%s cannot be changed", m->weights[i].name);
    for (size_t i = 0; i < m->arch->n_parts; i++)
        if (m->parts[i]) assert_owned(m->parts[i]);
    assert_int_equal(m->n_maps, 0);
}

static void train_directory(mm_context *ctx, const char *name, const char *file)
{
    char path[256];
    mm_model *m = NULL;
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *want = read_golden(ctx, name, file, "out"), *have;

    (void)snprintf(path, sizeof path, MODELS "%s", name);
    ok(ctx, mmi_model_open_trainable(ctx, path, &m));
    assert_owned(m);
    have = forward(ctx, m, in);
    assert_alike(name, have, want, in, EXACT);
    mm_tensor_map_destroy(have);
    mm_tensor_map_destroy(want);
    mm_tensor_map_destroy(in);
    mm_model_release(m);
}

static void test_trainable(void **state)
{
    mm_context *ctx = begin();
    (void)state;
    assert_true(for_each_directory(ctx, train_directory) >= LEAST_MODELS);
    mm_context_destroy(ctx);
}

static char *config_of(mm_context *ctx, const char *name)
{
    char path[256], *text;
    size_t size;

    (void)snprintf(path, sizeof path, MODELS "%s/config.json", name);
    ok(ctx, mmi_file_read(ctx, path, 1 << 20, &text, &size));
    return text;
}

/* Made of other checkpoints, whose paths count from its own folder. */
static int is_borrowed(const char *name) { return !strcmp(name, "mm_from"); }

static mm_model *create_golden(mm_context *ctx, const char *name, int64_t seed)
{
    char *text = config_of(ctx, name);
    mm_model *m = NULL;

    ok(ctx, mm_model_create(ctx, text, seed, &m));
    mmi_free(text);
    return m;
}

static void create_directory(mm_context *ctx, const char *name, const char *file)
{
    mm_model *m;
    mm_tensor_map *in, *want, *have;

    if (is_borrowed(name)) return;
    m = create_golden(ctx, name, 7);
    in = read_golden(ctx, name, file, "in");
    want = read_golden(ctx, name, file, "out");
    assert_owned(m);
    have = forward(ctx, m, in);
    assert_alike(name, have, want, in, 1e30); /* of the same shapes, and finite */
    mm_tensor_map_destroy(have);
    mm_tensor_map_destroy(want);
    mm_tensor_map_destroy(in);
    mm_model_release(m);
}

static void test_create(void **state)
{
    mm_context *ctx = begin();
    (void)state;
    assert_true(for_each_directory(ctx, create_directory) >= LEAST_MODELS);
    mm_context_destroy(ctx);
}

/* --- saving --------------------------------------------------------------------------------------------------------- */

static char folder[64];

static void make_folder(void)
{
    strcpy(folder, "/tmp/libmm.XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static mmi_safetensors *open_tensors(mm_context *ctx, const char *directory)
{
    char path[256];
    mmi_safetensors *f = NULL;

    (void)snprintf(path, sizeof path, "%s/model.safetensors", directory);
    if (!mmi_file_exists(path)) (void)snprintf(path, sizeof path, "%s/model.safetensors.index.json", directory);
    ok(ctx, mmi_safetensors_open(ctx, path, &f));
    return f;
}

static mm_model *open_saved(mm_context *ctx)
{
    mm_model *m = NULL;
    ok(ctx, mm_model_open(ctx, folder, &m));
    return m;
}

/* Files of names of another age, which transformers reads, and writes no more, or not so from this configuration. */
static int is_of_another_age(const char *name)
{
    static const char *const names[] = {"bert_mlm", "bert_prefix", "clip_vision_old", "llama_no_prefix", "llava_vit", "paligemma2", "qwen2_5_vl",
                                        "siglip2_text", "siglip_vision_no_head", "vit_mae"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name)) return 1;
    return 0;
}

/* What one of both may have alone: a pooler that a checkpoint was saved without; tensors that no output hangs on. */
static int is_indifferent(const char *tensor)
{
    static const char *const parts[] = {"pooler.dense.", "embeddings.mask_token", "model.shared.weight", "cls.predictions.bias", "decoder.lm_head.bias"};

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(tensor, parts[i])) return 1;
    return 0;
}

/* The tensors of a model as transformers wrote it are those of its configuration made anew, in the same shapes. */
static void compare_names(mm_context *ctx, const char *name)
{
    char path[256];
    mmi_safetensors *want, *have = open_tensors(ctx, folder);

    (void)snprintf(path, sizeof path, MODELS "%s", name);
    want = open_tensors(ctx, path);
    for (size_t i = 0; i < mmi_safetensors_count(have); i++) {
        const mmi_safetensors_tensor *h = mmi_safetensors_at(have, i), *w = mmi_safetensors_find(want, h->name);
        if (!w && !is_indifferent(h->name)) fail_msg("%s: %s is no tensor of its class", name, h->name);
        if (w && (h->rank != w->rank || memcmp(h->shape, w->shape, sizeof h->shape))) fail_msg("%s: %s has another shape", name, h->name);
    }
    for (size_t i = 0; i < mmi_safetensors_count(want); i++) {
        const mmi_safetensors_tensor *w = mmi_safetensors_at(want, i);
        int untied = !strcmp(name, "t5_gated_bf16") && !strcmp(w->name, "lm_head.weight"); /* although its configuration ties them */
        if (!untied && !is_indifferent(w->name) && !mmi_safetensors_find(have, w->name)) fail_msg("%s: %s is missing", name, w->name);
    }
    mmi_safetensors_destroy(want);
    mmi_safetensors_destroy(have);
}

static void save_created(mm_context *ctx, const char *name, const char *file)
{
    mm_model *m, *again;
    mm_tensor_map *in, *want, *have;

    if (is_borrowed(name)) return;
    m = create_golden(ctx, name, 11);
    in = read_golden(ctx, name, file, "in");
    make_folder();
    ok(ctx, mm_model_save(m, ctx, folder, MM_SAVE_AS_IS));
    if (!is_of_another_age(name)) compare_names(ctx, name);
    want = forward(ctx, m, in);
    again = open_saved(ctx); /* packed: sums in another order */
    have = forward(ctx, again, in);
    assert_alike(name, have, want, NULL, PACKED);
    mm_tensor_map_destroy(have);
    mm_model_release(again);
    ok(ctx, mmi_model_open_trainable(ctx, folder, &again));
    have = forward(ctx, again, in);
    assert_alike(name, have, want, NULL, 0);
    mm_tensor_map_destroy(have);
    mm_tensor_map_destroy(want);
    mm_tensor_map_destroy(in);
    mm_model_release(again);
    mm_model_release(m);
    remove_folder();
}

static void test_save_created(void **state)
{
    mm_context *ctx = begin();
    (void)state;
    assert_true(for_each_directory(ctx, save_created) >= LEAST_MODELS);
    mm_context_destroy(ctx);
}

/* Every tensor that is written was read so, and gives the same answers to the last bit. */
static void save_opened(mm_context *ctx, const char *name, const char *file)
{
    char path[256];
    mm_model *m = open_golden(ctx, name), *again;
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *want, *have;
    mmi_safetensors *old, *new;

    (void)snprintf(path, sizeof path, MODELS "%s", name);
    make_folder();
    ok(ctx, mm_model_save(m, ctx, folder, MM_SAVE_AS_IS));
    old = open_tensors(ctx, path);
    new = open_tensors(ctx, folder);
    for (size_t i = 0; i < mmi_safetensors_count(new); i++) {
        const mmi_safetensors_tensor *h = mmi_safetensors_at(new, i), *w = mmi_safetensors_find(old, h->name);
        if (!w || h->dtype != w->dtype || h->bytes != w->bytes || memcmp(h->data, w->data, h->bytes)) fail_msg("%s: %s", name, h->name);
    }
    mmi_safetensors_destroy(old);
    mmi_safetensors_destroy(new);
    again = open_saved(ctx);
    want = forward(ctx, m, in);
    have = forward(ctx, again, in);
    assert_alike(name, have, want, NULL, 0);
    mm_tensor_map_destroy(have);
    mm_tensor_map_destroy(want);
    mm_tensor_map_destroy(in);
    mm_model_release(again);
    mm_model_release(m);
    remove_folder();
}

static void test_save_opened(void **state)
{
    mm_context *ctx = begin();
    (void)state;
    assert_true(for_each_directory(ctx, save_opened) >= LEAST_MODELS);
    mm_context_destroy(ctx);
}

/* --- what new weights begin with -------------------------------------------------------------------------------- */

static const char small_bert[] = "{\"architectures\": [\"BertModel\"], \"vocab_size\": 4000, \"hidden_size\": 64, \"num_hidden_layers\": %d,"
                                 " \"num_attention_heads\": 4, \"intermediate_size\": 256, \"initializer_range\": 0.05, \"pad_token_id\": 3}";

static mm_model *create(mm_context *ctx, const char *config, int64_t seed)
{
    mm_model *m = NULL;
    ok(ctx, mm_model_create(ctx, config, seed, &m));
    return m;
}

/* The weight of this name, of m or its parts; NULL: none. */
static mmi_weight *weight_of(mm_model *m, const char *name)
{
    mmi_weight *w = NULL;

    for (size_t i = 0; i < m->n_weights && !w; i++)
        if (!strcmp(m->weights[i].name, name)) w = &m->weights[i];
    for (size_t i = 0; i < m->arch->n_parts && !w; i++) w = weight_of(m->parts[i], name);
    return w;
}

static const float *values_of(mm_model *m, const char *name)
{
    mmi_weight *w = weight_of(m, name);
    if (!w) fail_msg("no weight %s", name);
    return mmi_weight_values(w);
}

static void assert_constant(mm_model *m, const char *name, float value)
{
    const mmi_weight *w = weight_of(m, name);
    const float *p = values_of(m, name);

    for (size_t i = 0; i < w->rows * w->cols; i++)
        if (p[i] != value) fail_msg("%s begins with %g, expected %g", name, (double)p[i], (double)value);
}

/* Of n normal draws the mean is off by 1 / sqrt(n), the variance by sqrt(2 / n) and the fourth moment by sqrt(96 / n), in units of sigma, now and
 * then by four times that. */
static void assert_normal(const float *p, size_t n, double sigma)
{
    double sum[5] = {0};

    for (size_t i = 0; i < n; i++)
        for (int k = 1; k <= 4; k++) sum[k] += pow((double)p[i] / sigma, k) / (double)n;
    assert_true(fabs(sum[1]) < 4 / sqrt((double)n));
    assert_true(fabs(sum[2] - 1) < 4 * sqrt(2.0 / (double)n));
    assert_true(fabs(sum[3]) < 4 * sqrt(15.0 / (double)n));
    assert_true(fabs(sum[4] - 3) < 4 * sqrt(96.0 / (double)n));
}

static void test_draws(void **state)
{
    mm_context *ctx = begin();
    char config[512];
    mm_model *one, *same, *other, *deeper;
    const float *tokens, *query, *key;
    double together = 0;
    (void)state;

    (void)snprintf(config, sizeof config, small_bert, 1);
    one = create(ctx, config, 1);
    other = create(ctx, config, 2);
    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1));
    same = create(ctx, config, 1);
    (void)snprintf(config, sizeof config, small_bert, 2);
    deeper = create(ctx, config, 1);
    tokens = values_of(one, "embeddings.word_embeddings.weight");
    query = values_of(one, "encoder.layer.0.attention.self.query.weight");
    key = values_of(one, "encoder.layer.0.attention.self.key.weight");
    assert_normal(tokens + 4 * 64, 3996 * 64, 0.05);
    assert_normal(values_of(one, "encoder.layer.0.intermediate.dense.weight"), 64 * 256, 0.05);
    for (int i = 0; i < 64; i++) assert_true(tokens[3 * 64 + i] == 0 && tokens[2 * 64 + i] != 0 && tokens[4 * 64 + i] != 0); /* the padding's row */
    for (int i = 0; i < 64 * 64; i++) together += (double)query[i] * (double)key[i] / (0.05 * 0.05 * 64);
    assert_true(fabs(together) < 4); /* in units of its standard deviation: both are apart */
    assert_constant(one, "encoder.layer.0.attention.output.LayerNorm.weight", 1);
    assert_constant(one, "encoder.layer.0.attention.output.LayerNorm.bias", 0);
    assert_constant(one, "encoder.layer.0.intermediate.dense.bias", 0);
    for (size_t i = 0; i < one->n_weights; i++) { /* the seed and the name decide, and nothing else */
        const mmi_weight *w = &one->weights[i];
        size_t bytes = w->rows * w->cols * sizeof(float);
        assert_memory_equal(w->data, values_of(same, w->name), bytes);
        assert_memory_equal(w->data, values_of(deeper, w->name), bytes);
        if (w->rank > 1) assert_memory_not_equal(w->data, values_of(other, w->name), bytes);
    }
    mm_model_release(one);
    mm_model_release(same);
    mm_model_release(other);
    mm_model_release(deeper);
    mm_context_destroy(ctx);
}

/* What families begin otherwise. */
static void test_published_beginnings(void **state)
{
    static const struct {
        const char *model, *weight;
        float value;
    } cases[] = {
        {"gemma", "model.norm.weight", 0},
        {"gemma2", "model.layers.0.pre_feedforward_layernorm.weight", 0},
        {"paligemma", "language_model.model.norm.weight", 0},
        {"paligemma", "vision_tower.post_layernorm.weight", 1},
        {"llama_gqa", "model.norm.weight", 1},
        {"clip", "logit_scale", 2.6592f},
        {"siglip", "logit_scale", 2.30258509f},
        {"siglip", "logit_bias", -10},
        {"mllama", "language_model.model.layers.1.cross_attn_attn_gate", 0},
        {"mllama", "vision_model.gated_positional_embedding.gate", 0},
        {"mllama", "vision_model.global_transformer.layers.0.gate_ffn", 0.785398163f},
        {"bart", "final_logits_bias", 0},
        {"siglip_vision", "head.attention.in_proj_bias", 0},
    };
    const struct { /* of factor 1: T5PreTrainedModel._init_weights */
        const char *weight;
        double deviation;
    } t5[] = {
        {"shared.weight", 1},
        {"lm_head.weight", 1},
        {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 1 / sqrt(64)},
        {"decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 1 / sqrt(64)},
        {"encoder.block.0.layer.0.SelfAttention.q.weight", 1 / sqrt(64 * 9)},
        {"decoder.block.0.layer.0.SelfAttention.k.weight", 1 / sqrt(64)},
        {"decoder.block.0.layer.0.SelfAttention.o.weight", 1 / sqrt(5 * 9)},
        {"decoder.block.0.layer.1.EncDecAttention.q.weight", 1 / sqrt(64 * 9)},
        {"decoder.block.0.layer.1.EncDecAttention.v.weight", 1 / sqrt(64)},
        {"decoder.block.0.layer.1.EncDecAttention.o.weight", 1 / sqrt(5 * 9)},
        {"encoder.block.0.layer.1.DenseReluDense.wi_0.weight", 1 / sqrt(64)},
        {"decoder.block.0.layer.2.DenseReluDense.wi_1.weight", 1 / sqrt(64)},
        {"decoder.block.0.layer.2.DenseReluDense.wo.weight", 1 / sqrt(200)},
    };
    mm_context *ctx = begin();
    mm_model *m;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        m = create_golden(ctx, cases[i].model, 3);
        assert_constant(m, cases[i].weight, cases[i].value);
        mm_model_release(m);
    }
    m = create(ctx, "{\"architectures\": [\"T5ForConditionalGeneration\"], \"vocab_size\": 500, \"d_model\": 64, \"d_kv\": 9, \"num_heads\": 5, \"d_ff\": 200, \"num_layers\": 1,"
                    " \"feed_forward_proj\": \"gated-gelu\", \"tie_word_embeddings\": false, \"initializer_factor\": 0.5}", 1);
    for (size_t i = 0; i < sizeof t5 / sizeof *t5; i++) {
        const mmi_weight *w = weight_of(m, t5[i].weight);
        assert_normal(values_of(m, t5[i].weight), w->rows * w->cols, 0.5 * t5[i].deviation);
    }
    assert_constant(m, "encoder.final_layer_norm.weight", 0.5f);
    assert_constant(m, "decoder.block.0.layer.1.layer_norm.weight", 0.5f);
    mm_model_release(m);
    m = create(ctx, "{\"architectures\": [\"Dinov2Model\"], \"hidden_size\": 24, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"mlp_ratio\": 2,"
                    " \"image_size\": 28, \"patch_size\": 7, \"layerscale_value\": 0.25}", 1);
    assert_constant(m, "encoder.layer.0.layer_scale1.lambda1", 0.25f);
    mm_model_release(m);
    mm_context_destroy(ctx);
}

/* The positions of masked autoencoders, by the formula of He et al.: the first half of a row is of the column, the second of the row of the grid, each sines then cosines. */
static void test_sines(void **state)
{
    static const struct {
        const char *name;
        int width;
    } tables[] = {{"vit.embeddings.position_embeddings", 24}, {"decoder.decoder_pos_embed", 12}};
    static const char config[] = "{\"architectures\": [\"ViTMAEForPreTraining\"], \"hidden_size\": 24, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 8,"
                                 " \"image_size\": [8, 12], \"patch_size\": 4, \"decoder_hidden_size\": %d, \"decoder_num_hidden_layers\": 1, \"decoder_num_attention_heads\": 2,"
                                 " \"decoder_intermediate_size\": 8}";
    mm_context *ctx = begin();
    char text[512];
    mm_model *m = NULL;
    (void)state;

    (void)snprintf(text, sizeof text, config, 12);
    m = create(ctx, text, 1);
    assert_normal(values_of(m, "vit.embeddings.patch_embeddings.projection.weight"), 24 * 48, sqrt(2.0 / (24 + 48))); /* as strong as positions: Glorot */
    assert_normal(values_of(m, "decoder.decoder_embed.weight"), 12 * 24, 0.02);
    for (size_t t = 0; t < 2; t++) {
        const int C = tables[t].width;
        const float *p = values_of(m, tables[t].name);
        for (int c = 0; c < C; c++) assert_true(p[c] == 0); /* the class token's */
        for (int at = 0; at < 2 * 3 * C; at++) {
            const int c = at % C, place = at / C, quarter = C / 4;
            const double angle = (c < C / 2 ? place % 3 : place / 3) / pow(10000, (double)(c % quarter) / quarter);
            const double want = c / quarter % 2 ? cos(angle) : sin(angle);
            if (fabs((double)p[C + at] - want) > 1e-7) fail_msg("%s, place %d, column %d: %g, expected %g", tables[t].name, place, c, (double)p[C + at], want);
        }
    }
    mm_model_release(m);
    (void)snprintf(text, sizeof text, config, 10);
    assert_int_equal(mm_model_create(ctx, text, 1, &m), MM_E_FORMAT);
    assert_non_null(strstr(mm_context_error(ctx), "decoder_pos_embed"));
    mm_context_destroy(ctx);
}

/* --- weights read back in place ---------------------------------------------------------------------------------- */

static void weights_path(char path[128]) { (void)snprintf(path, 128, "%s/weights.safetensors", folder); }

/* Two models of one shape and other weights: with those of the first the second computes the same to the last bit. */
static void carry_over(mm_context *ctx, const char *name, const char *file, mm_model *from, mm_model *to)
{
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *want = forward(ctx, from, in), *have = forward(ctx, to, in);
    const mm_tensor *h = mm_tensor_map_get(have, mm_tensor_map_name(want, 0)), *w = mm_tensor_map_get(want, mm_tensor_map_name(want, 0));
    char path[128];

    assert_true(relative_error(h, w, NULL) > 1e-3);
    mm_tensor_map_destroy(have);
    make_folder();
    weights_path(path);
    ok(ctx, mmi_model_save_weights(ctx, from, path));
    ok(ctx, mmi_model_load_weights(ctx, to, path));
    have = forward(ctx, to, in);
    assert_alike(name, have, want, NULL, 0);
    remove_folder();
    mm_tensor_map_destroy(have);
    mm_tensor_map_destroy(want);
    mm_tensor_map_destroy(in);
    mm_model_release(from);
    mm_model_release(to);
}

static mm_model *open_trainable(mm_context *ctx, const char *path)
{
    mm_model *m = NULL;
    ok(ctx, mmi_model_open_trainable(ctx, path, &m));
    return m;
}

static void test_weights_back(void **state)
{
    static const char *const names[][2] = {{"gpt2", "len6"}, {"ved_bert", "padded"}, {"clip", "both"}, {"llama_yarn", "len70"},
                                           {"ved_trocr_sinusoidal_bf16", "padded"}};
    mm_context *ctx = begin();
    (void)state;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        carry_over(ctx, names[i][0], names[i][1], create_golden(ctx, names[i][0], 1), create_golden(ctx, names[i][0], 2));
    {   /* what a model judges with is taken anew */
        mm_model *m = create_golden(ctx, "siglip", 1), *again = create_golden(ctx, "siglip", 1);
        char path[128];
        *mmi_weight_values(weight_of(m, "logit_scale")) = 3;
        make_folder();
        weights_path(path);
        ok(ctx, mmi_model_save_weights(ctx, m, path));
        ok(ctx, mmi_model_load_weights(ctx, again, path));
        assert_true(again->info.score_scale == 3);
        remove_folder();
        mm_model_release(m);
        mm_model_release(again);
    }
    mm_context_destroy(ctx);
}

/* Quantized weights stay packed, and are in no file; the others can be changed. */
static void test_quantized(void **state)
{
    mm_context *ctx = begin();
    mm_model *m = open_trainable(ctx, MODELS "gguf_q4_k/model.gguf"), *other = open_trainable(ctx, MODELS "gguf_q4_k/model.gguf");
    char path[128];
    mmi_safetensors *f = NULL;
    size_t floats = 0;
    (void)state;

    make_folder();
    weights_path(path);
    for (size_t i = 0; i < m->n_weights; i++) {
        mmi_weight *w = &m->weights[i];
        if (mmi_weight_values(w)) {
            floats++;
            mmi_weight_values(w)[0] = (float)i + 0.5f;
        } else {
            assert_non_null(w->packed);
        }
    }
    assert_true(floats > 0 && floats < m->n_weights);
    ok(ctx, mmi_model_save_weights(ctx, m, path));
    ok(ctx, mmi_safetensors_open(ctx, path, &f));
    assert_int_equal(mmi_safetensors_count(f), floats);
    mmi_safetensors_destroy(f);
    ok(ctx, mmi_model_load_weights(ctx, other, path));
    for (size_t i = 0; i < m->n_weights; i++)
        if (mmi_weight_values(&other->weights[i])) assert_true(mmi_weight_values(&other->weights[i])[0] == (float)i + 0.5f);
    remove_folder();
    mm_model_release(m);
    mm_model_release(other);
    mm_context_destroy(ctx);
}

static void test_weights_that_do_not_fit(void **state)
{
    mm_context *ctx = begin();
    mm_model *bert = create_golden(ctx, "bert", 1), *fixed = open_golden(ctx, "bert"), *vit = create_golden(ctx, "vit", 1), *wide;
    float before = *values_of(vit, "embeddings.cls_token");
    char path[128], config[512];
    (void)state;

    make_folder();
    weights_path(path);
    ok(ctx, mmi_model_save_weights(ctx, bert, path));
    refused(ctx, mmi_model_load_weights(ctx, vit, path), MM_E_NOT_FOUND, path, "embeddings.cls_token", NULL);
    assert_true(*values_of(vit, "embeddings.cls_token") == before);
    refused(ctx, mmi_model_load_weights(ctx, fixed, path), MM_E_ARGUMENT, path, NULL);
    (void)snprintf(config, sizeof config, small_bert, 1);
    wide = create(ctx, config, 1);
    refused(ctx, mmi_model_load_weights(ctx, wide, path), MM_E_SHAPE, path, "embeddings.word_embeddings.weight", NULL);
    refused(ctx, mmi_model_load_weights(ctx, bert, folder), MM_E_IO, folder, NULL);
    remove_folder();
    mm_model_release(bert);
    mm_model_release(fixed);
    mm_model_release(vit);
    mm_model_release(wide);
    mm_context_destroy(ctx);
}

/* --- types, files beside, refusals ------------------------------------------------------------------------------- */

static char *read_saved(mm_context *ctx, const char *file)
{
    char path[256], *text = NULL;
    size_t n;

    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    ok(ctx, mmi_file_read(ctx, path, 1 << 24, &text, &n));
    return text;
}

static void test_types(void **state)
{
    static const struct {
        int32_t dtype;
        const char *in_config;
        double most;
    } cases[] = {{MM_DTYPE_F32, "\"dtype\": \"float32\"", 0}, {MM_DTYPE_F16, "\"dtype\": \"float16\"", 5e-3}, {MM_DTYPE_BF16, "\"dtype\": \"bfloat16\"", 4e-2},
                 {MM_SAVE_AS_IS, "\"dtype\": \"float16\"", 0}};
    mm_context *ctx = begin();
    mm_model *m = open_golden(ctx, "bert_f16");
    mm_tensor_map *in = read_golden(ctx, "bert_f16", "len70", "in"), *want = forward(ctx, m, in);
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t type = cases[i].dtype == MM_SAVE_AS_IS ? MM_DTYPE_F16 : cases[i].dtype;
        mmi_safetensors *f;
        mm_model *again;
        mm_tensor_map *have;
        char *config;
        make_folder();
        ok(ctx, mm_model_save(m, ctx, folder, cases[i].dtype));
        config = read_saved(ctx, "config.json");
        assert_non_null(strstr(config, cases[i].in_config));
        assert_ptr_equal(strstr(strstr(config, "dtype\"") + 1, "dtype\""), NULL);
        mmi_free(config);
        f = open_tensors(ctx, folder);
        for (size_t t = 0; t < mmi_safetensors_count(f); t++) assert_int_equal(mmi_safetensors_at(f, t)->dtype, type);
        mmi_safetensors_destroy(f);
        again = open_saved(ctx);
        have = forward(ctx, again, in);
        assert_alike("bert_f16", have, want, in, fmax(cases[i].most, type == MM_DTYPE_F32 ? PACKED : 0));
        mm_tensor_map_destroy(have);
        mm_model_release(again);
        remove_folder();
    }
    mm_tensor_map_destroy(want);
    mm_tensor_map_destroy(in);
    mm_model_release(m);
    mm_context_destroy(ctx);
}

/* A type is named wherever a configuration names one, and nothing else changes. */
static void test_config_text(void **state)
{
    static const char config[] = "{\"architectures\": [\"LlamaForCausalLM\"], \"note\": \"a \\\"dtype\\\": \\\"x\\\" in a text\", \"my_dtype\": \"x\", \"torch_dtype\" :\n"
                                 "\t\"float64\", \"dtype\": null, \"more\": {\"dtype\":\"y\"}, \"vocab_size\": 10, \"hidden_size\": 8, \"num_hidden_layers\": 1,"
                                 " \"num_attention_heads\": 2, \"intermediate_size\": 8}";
    static const char written[] = "{\"architectures\": [\"LlamaForCausalLM\"], \"note\": \"a \\\"dtype\\\": \\\"x\\\" in a text\", \"my_dtype\": \"x\", \"torch_dtype\" :\n"
                                  "\t\"bfloat16\", \"dtype\": null, \"more\": {\"dtype\":\"bfloat16\"}, \"vocab_size\": 10, \"hidden_size\": 8, \"num_hidden_layers\": 1,"
                                  " \"num_attention_heads\": 2, \"intermediate_size\": 8}";
    mm_context *ctx = begin();
    mm_model *m = create(ctx, config, 1);
    char *text;
    (void)state;

    make_folder();
    ok(ctx, mm_model_save(m, ctx, folder, MM_DTYPE_BF16));
    text = read_saved(ctx, "config.json");
    assert_string_equal(text, written);
    mmi_free(text);
    remove_folder();
    mm_model_release(m);
    mm_context_destroy(ctx);
}

static void assert_same_file(mm_context *ctx, const char *from, const char *file)
{
    char path[256], *want = NULL, *have = read_saved(ctx, file);
    size_t n;

    (void)snprintf(path, sizeof path, "%s/%s", from, file);
    ok(ctx, mmi_file_read(ctx, path, 1 << 24, &want, &n));
    assert_int_equal(mmi_block_size(have), mmi_block_size(want));
    assert_memory_equal(have, want, n);
    mmi_free(want);
    mmi_free(have);
}

static void test_files_beside(void **state)
{
    mm_context *ctx = begin();
    mm_model *m = open_golden(ctx, "llama_words"), *again;
    char text[64];
    (void)state;

    make_folder();
    (void)snprintf(text, sizeof text, "%s", folder);
    strcat(folder, "/new"); /* a directory that is not there yet */
    ok(ctx, mm_model_save(m, ctx, folder, MM_SAVE_AS_IS));
    assert_same_file(ctx, MODELS "llama_words", "tokenizer.json");
    assert_same_file(ctx, MODELS "llama_words", "tokenizer_config.json");
    assert_same_file(ctx, MODELS "llama_words", "generation_config.json");
    again = open_saved(ctx);
    assert_non_null(mm_model_tokenizer(again));
    mm_model_release(again);
    again = open_saved(ctx);
    ok(ctx, mm_model_save(again, ctx, folder, MM_SAVE_AS_IS)); /* over itself */
    mm_model_release(again);
    again = open_saved(ctx);
    mm_model_release(again);
    ok(ctx, mmi_hf_directory_copy(ctx, "tests/golden/formats/hf_bert", folder));
    assert_same_file(ctx, "tests/golden/formats/hf_bert", "modules.json");
    assert_same_file(ctx, "tests/golden/formats/hf_bert", "1_Pooling/config.json");
    strcpy(folder, text);
    remove_folder();
    mm_model_release(m);
    mm_context_destroy(ctx);
}

static size_t files_in(const char *directory)
{
    DIR *d = opendir(directory);
    size_t n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_refused(void **state)
{
    mm_context *ctx = begin();
    mm_model *gguf = NULL, *m = open_golden(ctx, "llama_words"), *made = create_golden(ctx, "vit", 1);
    char path[128], *old, *have;
    struct rlimit kept, low;
    (void)state;

    make_folder();
    ok(ctx, mm_model_open(ctx, MODELS "gguf_q4_k/model.gguf", &gguf));
    refused(ctx, mm_model_save(gguf, ctx, folder, MM_SAVE_AS_IS), MM_E_UNSUPPORTED, "gguf_q4_k/model.gguf", "GGUF", "config.json", NULL);
    assert_int_equal(mm_model_save(m, NULL, folder, MM_SAVE_AS_IS), MM_E_ARGUMENT);
    refused(ctx, mm_model_save(NULL, ctx, folder, MM_SAVE_AS_IS), MM_E_ARGUMENT, "NULL", NULL);
    refused(ctx, mm_model_save(m, ctx, NULL, MM_SAVE_AS_IS), MM_E_ARGUMENT, "NULL", NULL);
    refused(ctx, mm_model_save(m, ctx, folder, MM_DTYPE_I32), MM_E_ARGUMENT, "3", NULL);
    assert_int_equal(files_in(folder), 0);
    refused(ctx, mm_model_save(m, ctx, MODELS "bert/config.json/a", MM_SAVE_AS_IS), MM_E_IO, MODELS "bert/config.json/a", "Not a directory", NULL);

    /* no place: what was there before is whole */
    ok(ctx, mm_model_save(made, ctx, folder, MM_SAVE_AS_IS));
    old = read_saved(ctx, "model.safetensors");
    assert_int_equal(files_in(folder), 2);
    mmi_weight_values(weight_of(made, "layernorm.weight"))[0] = 2;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    low = kept;
    low.rlim_cur = 20000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    refused(ctx, mm_model_save(made, ctx, folder, MM_SAVE_AS_IS), MM_E_IO, folder, "model.safetensors", "File too large", NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
    have = read_saved(ctx, "model.safetensors");
    assert_int_equal(mmi_block_size(have), mmi_block_size(old));
    assert_memory_equal(have, old, mmi_block_size(old));
    assert_int_equal(files_in(folder), 2);
    mmi_free(old);
    mmi_free(have);
    remove_folder();

    /* a source that went away */
    make_folder();
    ok(ctx, mm_model_save(made, ctx, folder, MM_SAVE_AS_IS));
    mm_model_release(m);
    m = open_saved(ctx);
    remove_folder();
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    old = mmi_strdup(ctx, path);
    make_folder();
    refused(ctx, mm_model_save(m, ctx, folder, MM_SAVE_AS_IS), MM_E_NOT_FOUND, old, NULL);
    remove_folder();
    mmi_free(old);
    mm_model_release(gguf);
    mm_model_release(made);
    mm_model_release(m);
    mm_context_destroy(ctx);
}

static void test_configurations_that_make_no_model(void **state)
{
    static const struct {
        const char *config;
        mm_status status;
        const char *says;
    } cases[] = {
        {"", MM_E_FORMAT, "configuration"},
        {"[]", MM_E_FORMAT, "architectures"},
        {"{\"architectures\": [\"BertModel\"]}", MM_E_FORMAT, "vocab_size"},
        {"{\"architectures\": [\"NoModel\"]}", MM_E_UNSUPPORTED, "NoModel"},
        {"{\"architectures\": [\"LlavaForConditionalGeneration\"]}", MM_E_FORMAT, "vision_config"},
        {"{\"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 4194304, \"hidden_size\": 131072, \"num_hidden_layers\": 4096,"
         " \"num_attention_heads\": 1024, \"intermediate_size\": 1048576}", MM_E_NOMEM, "model.embed_tokens.weight"},
        {"{\"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 10, \"hidden_size\": 8, \"num_hidden_layers\": 1, \"num_attention_heads\": 2,"
         " \"intermediate_size\": 8, \"initializer_range\": -1}", MM_E_FORMAT, "initializer_range"},
    };
    mm_context *ctx = begin();
    mm_model *m = (mm_model *)1;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(ctx, mm_model_create(ctx, cases[i].config, 1, &m), cases[i].status, cases[i].says, NULL);
        assert_null(m);
    }
    refused(ctx, mm_model_create(ctx, NULL, 1, &m), MM_E_ARGUMENT, "NULL", NULL);
    mm_context_destroy(ctx);
}

/* Every allocation fails once. */
static mm_status make_and_save(mm_context *ctx, const char *text)
{
    mm_model *m = NULL;
    char path[128];
    mm_status st = mm_model_create(ctx, text, 1, &m);

    weights_path(path);
    if (!st) st = mm_model_save(m, ctx, folder, MM_DTYPE_BF16);
    if (!st) st = mmi_model_save_weights(ctx, m, path);
    if (!st) st = mmi_model_load_weights(ctx, m, path);
    mm_model_release(m);
    return st;
}

static mm_status copy_over(mm_context *ctx, const char *from)
{
    mm_model *m = NULL;
    mm_status st = mmi_model_open_trainable(ctx, from, &m);

    if (!st) st = mm_model_save(m, ctx, folder, MM_SAVE_AS_IS);
    mm_model_release(m);
    return st;
}

static void out_of_memory(mm_status (*fn)(mm_context *, const char *), const char *arg)
{
    unit_allocator a;
    mm_context *ctx = unit_context(&a);
    mm_status st = MM_E_NOMEM;
    size_t before;

    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1));
    make_folder();
    ok(ctx, fn(ctx, arg));
    before = a.live;
    for (long k = 1; st; k++) {
        a.count = 0;
        a.fail_at = k;
        st = fn(ctx, arg);
        if (st && st != MM_E_NOMEM) fail_msg("allocation %ld: %s", k, mm_status_name(st));
        assert_int_equal(a.live, before);
    }
    a.fail_at = 0;
    remove_folder();
    unit_context_end(&a, ctx);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    out_of_memory(make_and_save, "{\"architectures\": [\"GPT2LMHeadModel\"], \"vocab_size\": 10, \"n_positions\": 8, \"n_embd\": 8, \"n_layer\": 1, \"n_head\": 2}");
    out_of_memory(copy_over, MODELS "llama_words");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trainable),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_save_created),
        cmocka_unit_test(test_save_opened),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_published_beginnings),
        cmocka_unit_test(test_sines),
        cmocka_unit_test(test_weights_back),
        cmocka_unit_test(test_quantized),
        cmocka_unit_test(test_weights_that_do_not_fit),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_config_text),
        cmocka_unit_test(test_files_beside),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_configurations_that_make_no_model),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
