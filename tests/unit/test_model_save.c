/* Models that are made, changed and saved: every tiny checkpoint of tests/golden/make_models.py and its kin opened for training, its
 * configuration made anew, and both written and opened again. SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include <dirent.h>
#include <glob.h>
#include <sys/stat.h>

#include "file.h"
#include "model.h"

enum { LEAST_MODELS = 110 }; /* fewer: the lists were cut */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trainable),
        cmocka_unit_test(test_create),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
