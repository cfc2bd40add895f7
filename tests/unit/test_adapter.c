/* LoRA adapters: those of tests/golden/make_adapters.py against what peft computes with them; then adapters that libmm makes, writes and merges,
 * and files that are broken. SPDX-License-Identifier: MIT */
#include "formats_fixture.h"

#include <math.h>

#include "adapter_file.h"
#include "dtype.h"
#include "mm_model.h"
#include "mm_session.h"
#include "safetensors_writer.h"
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
        if (!strcmp(mm_model_get_str(base, MM_MODEL_FORMAT), "safetensors")) {
            assert_int_equal(mm_model_save(adapted, ctx, f->folder, MM_SAVE_AS_IS), MM_E_UNSUPPORTED);
            assert_sentence(f, "LoRA of ");
            ok(ctx, mm_model_save(merged, ctx, f->folder, MM_SAVE_AS_IS));
            ok(ctx, mm_model_open(ctx, f->folder, &again));
            assert_true(same_outputs(ctx, merged, again, in));
            mm_model_release(again);
        }
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

static mmi_adapter_spec spec_of(const char *const *targets, size_t n) { return (mmi_adapter_spec){targets, n, 0, 2, 4, 0, 0}; }

static mm_model *create(mm_context *ctx, mm_model *base, mmi_adapter_spec spec, uint64_t seed)
{
    mm_model *m = NULL;
    ok(ctx, mmi_adapter_create(ctx, base, &spec, seed, &m));
    return m;
}

/* The names of the tensors in an adapter's file are those in another's, of the same shapes. */
static void assert_same_modules(mm_context *ctx, const char *a, const char *b)
{
    mm_tensor_map *x = read_map(ctx, a, "adapter_model"), *y = read_map(ctx, b, "adapter_model");

    assert_int_equal(mm_tensor_map_count(x), mm_tensor_map_count(y));
    for (size_t i = 0; i < mm_tensor_map_count(x); i++) {
        const mm_tensor *s = mm_tensor_map_at(x, i), *t = mm_tensor_map_get(y, mm_tensor_map_name(x, i));
        if (!t) fail_msg("%s has no %s", b, mm_tensor_map_name(x, i));
        assert_int_equal(mm_tensor_rank(s), mm_tensor_rank(t));
        assert_memory_equal(mm_tensor_shape(s), mm_tensor_shape(t), (size_t)mm_tensor_rank(s) * sizeof(int64_t));
    }
    mm_tensor_map_destroy(x);
    mm_tensor_map_destroy(y);
}

static void fill_b(mm_model *m)
{
    for (size_t i = 0; i < m->adapter->n_pairs; i++) {
        mmi_weight *b = &m->adapter->pairs[i].b;
        for (size_t k = 0; k < b->rows * b->cols; k++) ((float *)(uintptr_t)b->data)[k] = (float)((k * 37 + i) % 19) / 40 - 0.2f;
    }
}

/* A new adapter does nothing, its A is drawn as said, and what libmm writes it reads back; its modules are those that peft chose. */
static void test_create(void **state)
{
    static const struct {
        const char *model, *golden, *targets[5];
        size_t n;
        int expression;
        int64_t rank;
    } cases[] = {
        {"gguf_f32/model.gguf", "llama_gguf", {"all-linear"}, 1, 0, 2}, {"vit_class", "vit", {"query", "o_proj", "fc1", "projection", "classifier"}, 5, 0, 3},
        {"gpt2", "gpt2", {"c_attn", "mlp.c_fc", "c_proj"}, 3, 0, 4},    {"bart", "bart", {".*\\.(q_proj|v_proj|fc1)"}, 1, 1, 2},
        {"llava_pair/model.gguf+llava_pair/mmproj.gguf", "llava_pair", {"q_proj", "k_proj", "linear_1", "fc1"}, 4, 0, 3},
        {"llava_pair", "llava", {"q_proj", "k_proj", "linear_1", "fc1"}, 4, 0, 3}, {"dinov2", "dinov2", {"all-linear"}, 1, 0, 2},
        {"clip", "clip", {"q_proj", "out_proj", "fc2", "visual_projection"}, 4, 0, 2},
    };
    fixture *f = *state;
    mm_context *ctx = f->ctx;
    char golden[128];

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        mmi_adapter_spec spec = {cases[c].targets, cases[c].n, cases[c].expression, cases[c].rank, 5, c % 2, 0};
        mm_model *base = open_model(ctx, cases[c].model), *m = create(ctx, base, spec, 7), *other = create(ctx, base, spec, 8), *read;
        const mmi_weight *a = &m->adapter->pairs[0].a;
        mm_tensor_map *in;
        double bound = 1.0 / sqrt((double)a->cols), largest = 0, sum = 0;

        (void)snprintf(golden, sizeof golden, ADAPTERS "%s", cases[c].golden);
        in = read_map(ctx, golden, "in");
        assert_true(same_outputs(ctx, m, other, in)); /* whatever A is */
        assert_true(memcmp(a->data, other->adapter->pairs[0].a.data, a->rows * a->cols * sizeof(float)) != 0);
        for (size_t k = 0; k < a->rows * a->cols; k++) {
            largest = fmax(largest, fabs((double)((const float *)a->data)[k]));
            sum += ((const float *)a->data)[k];
        }
        assert_true(largest <= bound && largest > 0.8 * bound && fabs(sum) < 3 * bound * sqrt((double)(a->rows * a->cols) / 3));
        assert_true(a->rows == (size_t)cases[c].rank && m->adapter->pairs[0].b.cols == a->rows);
        fill_b(m);
        assert_false(same_outputs(ctx, m, other, in));
        ok(ctx, mm_model_save_adapter(m, ctx, f->folder));
        assert_same_modules(ctx, f->folder, golden);
        read = adapt(ctx, base, f->folder, 1);
        assert_float_equal(read->adapter->alpha, 5, 0);
        assert_int_equal(read->adapter->rslora, (int)(c % 2));
        {
            mm_tensor_map *want = forward(ctx, m, in);
            size_t off;
            assert_true(error_of(ctx, read, in, want, &off) < EXACT / 10);
            mm_tensor_map_destroy(want);
        }
        mm_model_release(read);
        mm_model_release(other);
        mm_model_release(m);
        mm_model_release(base);
        mm_tensor_map_destroy(in);
    }
}

static void test_create_refused(void **state)
{
    static const char *const typo[] = {"c_attn", "c_attm"}, *const table[] = {"wte"}, *const all[] = {"all-linear"}, *const broken[] = {"(c_attn"};
    fixture *f = *state;
    mm_context *ctx = f->ctx;
    mm_model *base = open_model(ctx, "gpt2"), *m = NULL, *again = NULL;
    mmi_adapter_spec spec = spec_of(typo, 2);
    char below[192];

    assert_int_equal(mmi_adapter_create(ctx, base, &spec, 1, &m), MM_E_NOT_FOUND);
    assert_sentence(f, "\"c_attm\"");
    spec = spec_of(table, 1);
    assert_int_equal(mmi_adapter_create(ctx, base, &spec, 1, &m), MM_E_NOT_FOUND);
    spec = spec_of(broken, 1);
    spec.is_expression = 1;
    assert_int_equal(mmi_adapter_create(ctx, base, &spec, 1, &m), MM_E_UNSUPPORTED);
    assert_sentence(f, "target_modules: the regular expression");
    spec = spec_of(all, 1);
    for (int i = 0; i < 3; i++) {
        mmi_adapter_spec bad = spec;
        if (i == 0) bad.rank = 0;
        if (i == 1) bad.rank = MMI_ADAPTER_MAX_RANK + 1;
        if (i == 2) bad.alpha = NAN;
        assert_int_equal(mmi_adapter_create(ctx, base, &bad, 1, &m), MM_E_ARGUMENT);
        assert_null(m);
    }
    m = create(ctx, base, spec, 1);
    assert_int_equal(mm_model_adapt(ctx, m, ADAPTERS "gpt2", 1, &again), MM_E_UNSUPPORTED);
    assert_sentence(f, "has an adapter already (LoRA of 4 matrices");
    assert_int_equal(mm_model_adapt(ctx, base, ADAPTERS "gpt2", NAN, &again), MM_E_ARGUMENT);
    assert_int_equal(mm_model_adapt(ctx, base, ADAPTERS "none", 1, &again), MM_E_NOT_FOUND);
    assert_int_equal(mm_model_merge_adapter(ctx, base, &again), MM_E_ARGUMENT);
    assert_int_equal(mm_model_save_adapter(base, ctx, f->folder), MM_E_ARGUMENT);
    write_bytes(f, "", 0); /* no directory can be made below a file, whoever runs this */
    (void)snprintf(below, sizeof below, "%s/at/all", f->path);
    assert_int_equal(mm_model_save_adapter(m, ctx, below), MM_E_IO);
    assert_null(again);
    mm_model_release(m);
    mm_model_release(base);
}

/* Decoding over caches is what running all at once is, and what the merged model writes. */
static void test_session(void **state)
{
    fixture *f = *state;
    mm_context *ctx = f->ctx;
    mm_model *base = open_model(ctx, "llama_gqa"), *m[2] = {adapt(ctx, base, ADAPTERS "llama", 1), NULL};
    int32_t prompt[] = {5, 9, 11, 3, 40}, ids[2][12];

    ok(ctx, mm_model_merge_adapter(ctx, m[0], &m[1]));
    for (int i = 0; i < 2; i++) {
        mm_session *s = NULL;
        ok(ctx, mm_session_create(ctx, m[i], &s));
        ok(ctx, mm_session_set_f64(s, MM_SESSION_TEMPERATURE, 0));
        ok(ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 12));
        ok(ctx, mm_session_append_tokens(s, prompt, 5));
        ok(ctx, mm_session_generate(s, NULL, NULL, NULL));
        assert_int_equal(mm_session_length(s), 17);
        memcpy(ids[i], mm_session_tokens(s) + 5, sizeof ids[i]);
        mm_session_destroy(s);
    }
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    for (size_t n = 5; n < 17; n += 4) { /* the best of the logits of all so far is the next */
        int64_t shape[2] = {1, (int64_t)n};
        mm_tensor *t = NULL;
        mm_tensor_map *in = NULL, *out;
        const mm_tensor *logits;
        const float *row;
        int32_t *to, best = 0;
        ok(ctx, mm_tensor_create(ctx, MM_DTYPE_I32, 2, shape, &t));
        to = mm_tensor_data(t);
        for (size_t k = 0; k < n; k++) to[k] = k < 5 ? prompt[k] : ids[0][k - 5];
        ok(ctx, mm_tensor_map_create(ctx, &in));
        ok(ctx, mm_tensor_map_set(ctx, in, "input_ids", t));
        out = forward(ctx, m[0], in);
        logits = mm_tensor_map_get(out, "logits");
        row = (const float *)mm_tensor_const_data(logits) + (n - 1) * (size_t)mm_tensor_shape(logits)[2];
        for (int32_t v = 1; v < mm_tensor_shape(logits)[2]; v++)
            if (row[v] > row[best]) best = v;
        assert_int_equal(best, ids[0][n - 5]);
        mm_tensor_release(t);
        mm_tensor_map_destroy(in);
        mm_tensor_map_destroy(out);
    }
    mm_model_release(m[0]);
    mm_model_release(m[1]);
    mm_model_release(base);
}

static void copy_golden(const fixture *f, const char *from, const char *file)
{
    char path[192];
    char *bytes;
    size_t n;

    (void)snprintf(path, sizeof path, ADAPTERS "%s/%s", from, file);
    bytes = read_golden(f, path, &n);
    (void)snprintf(path, sizeof path, "%s/%s", f->folder, file);
    write_file(path, bytes, n);
    mmi_free(bytes);
}

static void test_hostile_configs(void **state)
{
    static const struct {
        const char *config;
        mm_status status;
        const char *says;
    } cases[] = {
        {"{\"peft_type\": \"LOHA\", \"r\": 4, \"target_modules\": []}", MM_E_UNSUPPORTED, "\"LOHA\""},
        {"{\"r\": 4, \"target_modules\": []}", MM_E_FORMAT, "peft_type"},
        {"{\"peft_type\": \"LORA\", \"r\": 0, \"target_modules\": []}", MM_E_FORMAT, "\"r\" is"},
        {"{\"peft_type\": \"LORA\", \"r\": 4.5, \"target_modules\": []}", MM_E_FORMAT, "\"r\" is"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": \"8\", \"target_modules\": []}", MM_E_FORMAT, "lora_alpha"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [], \"modules_to_save\": [\"score\"]}", MM_E_UNSUPPORTED, "modules_to_save: score"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [], \"use_dora\": true}", MM_E_UNSUPPORTED, "use_dora"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [], \"bias\": \"all\"}", MM_E_UNSUPPORTED, "bias \"all\""},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [], \"init_lora_weights\": \"pissa\"}", MM_E_UNSUPPORTED, "\"pissa\""},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [], \"rank_pattern\": [3]}", MM_E_FORMAT, "rank_pattern"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [], \"rank_pattern\": {\"c_attn\": \"3\"}}", MM_E_FORMAT, "\"c_attn\" must be a number"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [], \"rank_pattern\": {\"c_attn\": 3}}", MM_E_SHAPE, "c_attn.lora_A.weight is [4, 24], expected [3, 24]"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [], \"rank_pattern\": {\"c_.*\": 1e9}}", MM_E_FORMAT, "rank_pattern"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [], \"alpha_pattern\": {\"(c_attn\": 3}}", MM_E_UNSUPPORTED, "alpha_pattern"},
        {"{\"peft_type\": \"LORA\", \"r\": 5, \"target_modules\": []}", MM_E_SHAPE, "is [4, 24], expected [5, 24]"},
        {"[]", MM_E_FORMAT, "peft_type"},
        {"{", MM_E_FORMAT, ""},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": []}", MM_OK, ""},
    };
    fixture *f = *state;
    mm_context *ctx = f->ctx;
    mm_model *base = open_model(ctx, "gpt2"), *m = NULL;
    char path[192];

    copy_golden(f, "gpt2", "adapter_model.safetensors");
    (void)snprintf(path, sizeof path, "%s/adapter_config.json", f->folder);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        mm_status st;
        write_file(path, cases[c].config, strlen(cases[c].config));
        st = mm_model_adapt(ctx, base, f->folder, 1, &m);
        if (st != cases[c].status) fail_msg("%s: %s (%s)", cases[c].config, mm_status_name(st), ctx->error);
        if (st) assert_sentence(f, cases[c].says);
        mm_model_release(m);
    }
    mm_model_release(base);
}

/* One tensor of a good adapter changed, left out or added. */
static void test_hostile_tensors(void **state)
{
    static const float zeros[20 * 60];
    static const struct {
        const char *from, *to; /* renamed; to NULL: left out; from NULL: added */
        int32_t dtype, rank;   /* of it then; rank 0: as it was */
        int64_t shape[4];
        mm_status status;
        const char *says;
    } cases[] = {
        {"h.0.attn.c_attn.lora_A.weight", NULL, 0, 0, {0}, MM_E_NOT_FOUND, "has no tensor base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"},
        {"h.0.attn.c_attn.lora_B.weight", NULL, 0, 0, {0}, MM_E_NOT_FOUND, "has no tensor base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"},
        {"h.0.attn.c_attn.lora_A.weight", "base_model.model.transformer.h.7.attn.c_attn.lora_A.weight", 0, 0, {0}, MM_E_NOT_FOUND, "h.7.attn.c_attn.lora_A.weight: the model has no"},
        {"h.0.attn.c_attn.lora_A.weight", "transformer.h.0.attn.c_attn.lora_A.weight", 0, 0, {0}, MM_E_UNSUPPORTED, "is no matrix of LoRA"},
        {"h.0.attn.c_attn.lora_A.weight", "base_model.model.transformer.wte.lora_A.weight", 0, 0, {0}, MM_E_UNSUPPORTED, "wte.lora_A.weight: the module is no matrix"},
        {"h.0.attn.c_attn.lora_A.weight", "base_model.model.transformer.ln_f.lora_A.weight", 0, 0, {0}, MM_E_UNSUPPORTED, "ln_f.lora_A.weight: the module is no matrix"},
        {"h.0.attn.c_attn.lora_A.weight", "base_model.model.transformer.wte.lora_embedding_A", 0, 0, {0}, MM_E_UNSUPPORTED, "is no matrix of LoRA"},
        {"h.0.attn.c_attn.lora_A.weight", "base_model.model.transformer.h.0.attn.c_attn.lora_magnitude_vector.weight", 0, 0, {0}, MM_E_NOT_FOUND, "lora_magnitude_vector"},
        {"h.0.attn.c_attn.lora_A.weight", "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight", MM_DTYPE_F32, 2, {24, 4}, MM_E_SHAPE, "is [24, 4], expected [4, 24]"},
        {"h.0.attn.c_attn.lora_A.weight", "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight", MM_DTYPE_F32, 2, {4, 0}, MM_E_SHAPE, "is [4, 0], expected [4, 24]"},
        {"h.0.attn.c_attn.lora_A.weight", "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight", MM_DTYPE_F32, 1, {96}, MM_E_SHAPE, "is [96], expected [4, 24]"},
        {"h.0.attn.c_attn.lora_A.weight", "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight", MM_DTYPE_I32, 2, {4, 24}, MM_E_DTYPE, "is of type I32"},
        {NULL, "base_model.model.h.0.attn.c_attn.lora_A.weight", MM_DTYPE_F32, 2, {4, 24}, MM_E_FORMAT, "its module has a lora_A already"},
        {NULL, "base_model.model.transformer.h.0.attn.c_attn.lora_A.default.weight", MM_DTYPE_F32, 2, {4, 24}, MM_E_FORMAT, "its module has a lora_A already"},
        {NULL, "base_model.model.transformer.wte.weight", MM_DTYPE_F32, 2, {1, 24}, MM_E_UNSUPPORTED, "wte.weight: it differs from the model's"},
    };
    fixture *f = *state;
    mm_context *ctx = f->ctx;
    mm_model *base = open_model(ctx, "gpt2"), *m = NULL;
    mmi_safetensors *file = NULL;
    mmi_safetensors_tensor tensors[64];
    char path[192];

    copy_golden(f, "gpt2", "adapter_config.json");
    ok(ctx, mmi_safetensors_open(ctx, ADAPTERS "gpt2/adapter_model.safetensors", &file));
    (void)snprintf(path, sizeof path, "%s/adapter_model.safetensors", f->folder);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t n = 0, size;
        mm_status st;
        for (size_t i = 0; i < mmi_safetensors_count(file) + (cases[c].from == NULL); i++) {
            const mmi_safetensors_tensor *t = i < mmi_safetensors_count(file) ? mmi_safetensors_at(file, i) : NULL;
            int hit = t ? cases[c].from && strstr(t->name, cases[c].from) != NULL : 1;
            if (hit && !cases[c].to) continue;
            assert_true(n < 64);
            memset(&tensors[n], 0, sizeof *tensors);
            if (t) tensors[n] = *t;
            if (hit) tensors[n].name = cases[c].to;
            if (hit && cases[c].rank) {
                tensors[n].dtype = cases[c].dtype;
                tensors[n].rank = cases[c].rank;
                memcpy(tensors[n].shape, cases[c].shape, sizeof cases[c].shape);
                size = 4;
                for (int32_t d = 0; d < cases[c].rank; d++) size *= (size_t)cases[c].shape[d];
                assert_true(size <= sizeof zeros);
                tensors[n].data = zeros;
                tensors[n].bytes = size;
            }
            n++;
        }
        ok(ctx, mmi_safetensors_write(ctx, path, tensors, n));
        st = mm_model_adapt(ctx, base, f->folder, 1, &m);
        if (st != cases[c].status) fail_msg("case %zu: %s (%s)", c, mm_status_name(st), ctx->error);
        assert_sentence(f, cases[c].says);
        assert_null(m);
    }
    ok(ctx, mmi_safetensors_write(ctx, path, NULL, 0));
    assert_int_equal(mm_model_adapt(ctx, base, f->folder, 1, &m), MM_E_FORMAT);
    assert_sentence(f, "has no tensors");
    mmi_safetensors_destroy(file);
    mm_model_release(base);
}

static mm_model *oom_base;
static char oom_folder[192];

static mm_status open_merge_save(mm_context *ctx, const char *path)
{
    mm_model *m = NULL, *merged = NULL;
    mm_status st = mm_model_adapt(ctx, oom_base, path, 1, &m);

    if (!st) st = mm_model_merge_adapter(ctx, m, &merged);
    if (!st) st = mm_model_save_adapter(m, ctx, oom_folder);
    mm_model_release(m);
    mm_model_release(merged);
    return st;
}

static mm_status create_all(mm_context *ctx, const char *path)
{
    static const char *const targets[] = {".*\\.(q_proj|linear_1)"};
    mmi_adapter_spec spec = {targets, 1, 1, 2, 4, 0, 0};
    mm_model *m = NULL;
    mm_status st = mmi_adapter_create(ctx, oom_base, &spec, 1, &m);
    (void)path;
    mm_model_release(m);
    return st;
}

static void test_out_of_memory(void **state)
{
    fixture *f = *state;
    int64_t used = f->used;

    (void)snprintf(oom_folder, sizeof oom_folder, "%s/saved", f->folder);
    oom_base = open_model(f->ctx, "llama_bf16");
    f->used = used_now(f);
    visit_out_of_memory(f, open_merge_save, ADAPTERS "llama_patterns");
    mm_model_release(oom_base);
    oom_base = open_model(f->ctx, "llava_pair");
    f->used = used_now(f);
    visit_out_of_memory(f, create_all, "");
    mm_model_release(oom_base);
    f->used = used;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goldens, setup_warm, teardown),
        cmocka_unit_test_setup_teardown(test_create, setup_warm, teardown),
        cmocka_unit_test_setup_teardown(test_create_refused, setup_warm, teardown),
        cmocka_unit_test_setup_teardown(test_session, setup_warm, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_configs, setup_warm, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_tensors, setup_warm, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup_warm, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
