/* Models that are made, changed and saved: every tiny checkpoint of tests/golden/make_models.py and its kin opened for training, its
 * configuration made anew, and both written and opened again. SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include <dirent.h>
#include <glob.h>
#include <sys/stat.h>

#include "file.h"
#include "model.h"

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
    for (size_t i = 0; i < m->arch->n_parts; i++) assert_owned(m->parts[i]);
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
    mm_model *m = create_golden(ctx, name, 7);
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *want = read_golden(ctx, name, file, "out"), *have;

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
    mm_model *m = create_golden(ctx, name, 11), *again;
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *want, *have;

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trainable),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_save_created),
        cmocka_unit_test(test_save_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
