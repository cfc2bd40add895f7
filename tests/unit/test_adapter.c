/* LoRA adapters: those of tests/golden/make_adapters.py against what peft computes with them; then adapters that libmm makes, writes and merges,
 * and files that are broken. SPDX-License-Identifier: MIT */
#include "formats_fixture.h"

#include <math.h>

#include "adapter.h"
#include "dtype.h"
#include "mm_model.h"
#include "mm_session.h"
#include "safetensors.h"
#include "tensor.h"

#define ADAPTERS "tests/golden/adapters/"
#define MODELS "tests/golden/models/"

static const double EXACT = 1e-4;                     /* of the largest output */
static const double MERGED_BF16 = 2e-2, MERGED_F16 = 3e-3; /* merged weights are rounded again, to 2^-9 or 2^-12 of each, in each of some layers */
static const double ROUNDED = 2e-2, ROUNDED_ROW = 1e-3; /* as test_golden_models.c says */

static void ok(mm_context *ctx, mm_status st)
{
    if (st) fail_msg("%s: %s", mm_status_name(st), mm_context_error(ctx));
}

static mm_model *open_model(mm_context *ctx, const char *name) /* "a", or "a+b" for a pair */
{
    char path[2][192], copy[160];
    char *plus;
    mm_model *m = NULL;

    (void)snprintf(copy, sizeof copy, "%s", name);
    plus = strchr(copy, '+');
    if (plus) *plus = 0;
    (void)snprintf(path[0], sizeof path[0], MODELS "%s", copy);
    if (plus) (void)snprintf(path[1], sizeof path[1], MODELS "%s", plus + 1);
    ok(ctx, plus ? mm_model_open_pair(ctx, path[0], path[1], &m) : mm_model_open(ctx, path[0], &m));
    return m;
}

static mm_model *adapt(mm_context *ctx, mm_model *base, const char *directory, double scale)
{
    mm_model *m = NULL;
    ok(ctx, mm_model_adapt(ctx, base, directory, scale, &m));
    assert_non_null(m);
    return m;
}

static mm_tensor_map *read_map(mm_context *ctx, const char *directory, const char *file)
{
    char path[192];
    mm_tensor_map *map = NULL;
    (void)snprintf(path, sizeof path, "%s/%s.safetensors", directory, file);
    ok(ctx, mm_tensor_map_read(ctx, path, &map));
    return map;
}

/* The largest difference relative to the largest expected value, and the rows that are off by more than ROUNDED_ROW. */
static double compare(const mm_tensor_map *have, const mm_tensor_map *want, size_t *rows_off)
{
    double worst = 0;

    assert_true(mm_tensor_map_count(want) > 0);
    *rows_off = 0;
    for (size_t i = 0; i < mm_tensor_map_count(want); i++) {
        const mm_tensor *w = mm_tensor_map_at(want, i), *h = mm_tensor_map_get(have, mm_tensor_map_name(want, i));
        const float *a, *b;
        size_t n = (size_t)mm_tensor_elements(w), cols = (size_t)mm_tensor_shape(w)[mm_tensor_rank(w) - 1];
        double largest = 0;
        assert_true(h && mm_tensor_dtype(h) == MM_DTYPE_F32 && (size_t)mm_tensor_elements(h) == n);
        a = mm_tensor_const_data(h);
        b = mm_tensor_const_data(w);
        for (size_t k = 0; k < n; k++) largest = fmax(largest, fabs((double)b[k]));
        for (size_t r = 0; r < n / cols; r++) {
            double row = 0;
            for (size_t k = r * cols; k < (r + 1) * cols; k++) row = fmax(row, isfinite(a[k]) ? fabs((double)a[k] - (double)b[k]) / largest : INFINITY);
            worst = fmax(worst, row);
            *rows_off += row > ROUNDED_ROW;
        }
    }
    return worst;
}

static mm_tensor_map *forward(mm_context *ctx, const mm_model *m, const mm_tensor_map *in)
{
    mm_tensor_map *out = NULL;
    ok(ctx, mm_model_forward(m, ctx, in, &out));
    return out;
}

static double error_of(mm_context *ctx, const mm_model *m, const mm_tensor_map *in, const mm_tensor_map *want, size_t *rows_off)
{
    mm_tensor_map *have = forward(ctx, m, in);
    double error = compare(have, want, rows_off);
    mm_tensor_map_destroy(have);
    return error;
}

static int same_outputs(mm_context *ctx, const mm_model *a, const mm_model *b, const mm_tensor_map *in)
{
    mm_tensor_map *x = forward(ctx, a, in), *y = forward(ctx, b, in);
    int same = mm_tensor_map_count(x) == mm_tensor_map_count(y);

    for (size_t i = 0; same && i < mm_tensor_map_count(x); i++)
        same = !memcmp(mm_tensor_const_data(mm_tensor_map_at(x, i)), mm_tensor_const_data(mm_tensor_map_at(y, i)), mm_tensor_bytes(mm_tensor_map_at(x, i)));
    mm_tensor_map_destroy(x);
    mm_tensor_map_destroy(y);
    return same;
}

static void check_case(fixture *f, const char *name, const char *model, int exact)
{
    char directory[128];
    mm_context *ctx = f->ctx;
    mm_model *base = open_model(ctx, model), *adapted, *again, *nothing, *merged = NULL;
    mm_tensor_map *in, *want, *without;
    const char *dtypes = mm_model_get_str(base, MM_MODEL_DTYPES);
    size_t off;
    double error;

    (void)snprintf(directory, sizeof directory, ADAPTERS "%s", name);
    in = read_map(ctx, directory, "in");
    want = read_map(ctx, directory, "out");
    adapted = adapt(ctx, base, directory, 1);
    error = error_of(ctx, adapted, in, want, &off);
    if (!(error <= (exact ? EXACT : ROUNDED)) || (!exact && off > 1)) fail_msg("%s: off by %g, %zu rows", name, error, off);
    assert_non_null(strstr(mm_model_get_str(adapted, MM_MODEL_ADAPTER), "LoRA of "));
    assert_null(mm_model_get_str(base, MM_MODEL_ADAPTER));
    assert_true(mmi_model_parameters(adapted) > mmi_model_parameters(base));
    assert_true(error_of(ctx, base, in, want, &off) > 0.01); /* the base is as it was */

    nothing = adapt(ctx, base, directory, 0);
    without = forward(ctx, base, in);
    assert_true(error_of(ctx, nothing, in, without, &off) <= EXACT / 10);
    mm_tensor_map_destroy(without);
    mm_model_release(nothing);

    ok(ctx, mm_model_save_adapter(adapted, ctx, f->folder));
    again = adapt(ctx, base, f->folder, 1);
    assert_true(same_outputs(ctx, adapted, again, in));
    mm_model_release(again);

    if (exact) {
        ok(ctx, mm_model_merge_adapter(ctx, adapted, &merged));
        error = error_of(ctx, merged, in, want, &off);
        if (!(error <= (strstr(dtypes, "BF16") ? MERGED_BF16 : strstr(dtypes, "F16") ? MERGED_F16 : EXACT))) fail_msg("%s merged: off by %g", name, error);
        assert_null(mm_model_get_str(merged, MM_MODEL_ADAPTER));
        assert_true(mmi_model_parameters(merged) == mmi_model_parameters(base));
    } else {
        assert_int_equal(mm_model_merge_adapter(ctx, adapted, &merged), MM_E_UNSUPPORTED);
        assert_sentence(f, "Q8_0");
        assert_null(merged);
    }
    mm_model_release(merged);
    mm_model_release(base); /* adapted keeps it */
    error = error_of(ctx, adapted, in, want, &off);
    assert_true(error <= (exact ? EXACT : ROUNDED));
    mm_model_release(adapted);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(want);
}

/* The pool and the kernels of a context are there from its first run on. */
static int setup_warm(void **state)
{
    int failed = setup(state);
    fixture *f = *state;
    mm_model *m = open_model(f->ctx, "gpt2");
    mm_tensor_map *in = read_map(f->ctx, MODELS "gpt2", "len6.in"), *out = forward(f->ctx, m, in);

    mm_tensor_map_destroy(out);
    mm_tensor_map_destroy(in);
    mm_model_release(m);
    f->used = used_now(f);
    return failed;
}

static void test_goldens(void **state)
{
    fixture *f = *state;
    char line[192], name[64], model[128], kind[16];
    FILE *list = fopen(ADAPTERS "cases.txt", "r");
    size_t n = 0;

    assert_non_null(list);
    for (; fgets(line, sizeof line, list); n++) {
        assert_int_equal(sscanf(line, "%63s %127s %15s", name, model, kind), 3);
        check_case(f, name, model, !strcmp(kind, "exact"));
    }
    (void)fclose(list);
    assert_true(n >= 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goldens, setup_warm, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
