/* Inputs that do not fit, for every architecture: each is left out, given in another rank, type or size, emptied, and filled with numbers that no
 * caller means. A call may succeed where that is a fair input; else it ends with a status and a sentence, and nothing leaks. And configurations that
 * name parts which do not belong together.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* mkdtemp */
#include "unit_fixture.h"

#include "model_fixture.h"

#include <limits.h>
#include <unistd.h>

/* Of each architecture one or two cases, which together give all its inputs. */
static const char *const cases[][2] = {
    {"llama_gqa", "pad_left"},     {"mistral", "pad_right"},        {"qwen2", "pad_right"},        {"qwen3", "positions"},
    {"gemma", "pad_right"},        {"gemma2", "positions"},         {"gemma3", "embeds"},          {"phi3", "pad_left"},
    {"phi3_longrope", "len70"},    {"gpt2", "positions"},           {"bert", "types"},             {"bert", "pad_right"},
    {"bert_class", "pad_left"},    {"roberta", "pad_right"},        {"xlm_roberta", "pad_left"},   {"distilbert_mlm", "pad_left"},
    {"vit", "b1_24x40"},           {"deit_teacher", "b2_33x24"},    {"vit_mae", "b2_24x24"},       {"dinov2", "b1_30x29"},
    {"dinov2_registers", "b1_8x60"}, {"clip_text", "pad_right"},    {"clip_vision", "b2_40x16"},   {"clip", "both"},
    {"siglip_text", "masked"},     {"siglip_vision", "b2_30x41"},   {"siglip", "both"},            {"siglip2", "both"},
    {"siglip2_vision", "sizes"},   {"t5_relu", "padded"},           {"t5_encoder", "padded"},      {"bart", "padded"},
    {"mbart", "left"},             {"whisper", "two"},              {"ved_trocr", "padded"},       {"ved_trocr_sinusoidal_bf16", "padded"},
    {"ved_bert", "left"},          {"ved_roberta", "padded"},       {"blip_caption", "padded"},    {"blip_answer", "padded"},
    {"blip_retrieval", "padded"},  {"llava_vit", "padded"},         {"llava_clip", "two"},         {"qwen2_vl", "images"},
    {"qwen2_vl", "padded"},        {"qwen2_5_vl", "video"},         {"qwen2_5_vl", "images"},      {"idefics3", "padded"},
    {"idefics3", "tiles"},         {"smolvlm", "padded"},           {"paligemma", "prefix"},       {"paligemma2", "padded"},
    {"mllama", "text"}, {"mllama", "one"}, {"mllama", "several"}, {"mllama_text_f16", "text"}, {"mllama_vision_f16", "two"}, {"mm_interactive_stitch", "padded"},
    {"mm_early_levels", "padded"}, {"mm_late_l2", "plain"}, {"mm_towers", "all"}, {"mm_video_mean", "two"}, {"mm_decoder", "two"}, {"mm_across", "padded"}};

typedef struct {
    unit_allocator allocator;
    mm_context *ctx;
    mm_model *model;
    const mm_tensor_map *in;
    const char *model_name, *case_name;
    size_t runs, refusals;
} hostile;

static int is_real(const mm_tensor *t) { return mm_tensor_dtype(t) <= MM_DTYPE_BF16; }

/* A tensor of this shape, filled with the elements of another as often as it takes; `from` NULL: zeros. */
static mm_tensor *refill(mm_context *ctx, const mm_tensor *from, int32_t dtype, int32_t rank, const int64_t *shape)
{
    mm_tensor *t = NULL;
    const char *src = from ? mm_tensor_const_data(from) : NULL;
    char *dst;
    size_t n;

    ok(ctx, mm_tensor_create(ctx, dtype, rank, shape, &t));
    n = mm_tensor_bytes(t);
    dst = mm_tensor_data(t);
    for (size_t i = 0; i < n; i++) dst[i] = src ? src[i % mm_tensor_bytes(from)] : 0;
    return t;
}

/* Run with one input exchanged; NULL: left out. Returns the status; nothing stays behind. */
static mm_status run_with(hostile *h, const char *name, mm_tensor *t)
{
    mm_tensor_map *in = NULL, *out = (mm_tensor_map *)1;
    mm_status st;

    ok(h->ctx, mm_tensor_map_create(h->ctx, &in));
    for (size_t i = 0; i < mm_tensor_map_count(h->in); i++)
        if (strcmp(mm_tensor_map_name(h->in, i), name)) ok(h->ctx, mm_tensor_map_set(h->ctx, in, mm_tensor_map_name(h->in, i), mm_tensor_map_at(h->in, i)));
    if (t) ok(h->ctx, mm_tensor_map_set(h->ctx, in, name, t));
    mm_tensor_release(t);
    st = mm_model_forward(h->model, h->ctx, in, &out);
    assert_true((st == MM_OK) == (out != NULL));
    if (st && (!*mm_context_error(h->ctx) || st == MM_E_INTERNAL || st == MM_E_NOMEM))
        fail_msg("%s %s with another %s: %s, \"%s\"", h->model_name, h->case_name, name, mm_status_name(st), mm_context_error(h->ctx));
    mm_tensor_map_destroy(out);
    mm_tensor_map_destroy(in);
    h->runs++;
    h->refusals += st != MM_OK;
    return st;
}

/* That must be refused, with a sentence that names the input. */
static void refuse_with(hostile *h, const char *name, mm_tensor *t, const char *how)
{
    mm_status st = run_with(h, name, t);

    if (!st || !strstr(mm_context_error(h->ctx), name))
        fail_msg("%s %s with %s %s: %s, \"%s\"", h->model_name, h->case_name, name, how, mm_status_name(st), st ? mm_context_error(h->ctx) : "");
}

static void exchange_shapes(hostile *h, const char *name, const mm_tensor *t)
{
    int64_t shape[MM_TENSOR_MAX_RANK + 1], n = mm_tensor_elements(t);
    int32_t rank = mm_tensor_rank(t), dtype = mm_tensor_dtype(t);

    memcpy(shape, mm_tensor_shape(t), (size_t)rank * sizeof *shape);
    shape[rank] = 1;
    refuse_with(h, name, refill(h->ctx, t, dtype, rank + 1, shape), "of one dimension more");
    if (rank > 1) refuse_with(h, name, refill(h->ctx, t, dtype, 1, &n), "as a vector");
    refuse_with(h, name, refill(h->ctx, t, dtype, 0, NULL), "as a scalar");
    for (int32_t d = 0; d < rank; d++) {
        const int64_t length = shape[d], others[] = {1, length - 1, length + 1, 2 * length, 7 * length + 3};
        shape[d] = 0;
        refuse_with(h, name, refill(h->ctx, t, dtype, rank, shape), "empty");
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            if (others[i] < 1) continue;
            shape[d] = others[i];
            (void)run_with(h, name, refill(h->ctx, t, dtype, rank, shape));
        }
        shape[d] = length;
    }
}

static void exchange_numbers(hostile *h, const char *name, const mm_tensor *t)
{
    static const int64_t integers[] = {-1, INT32_MIN, INT32_MAX, INT32_MAX - 1, 0, 1, 1 << 20, INT64_MAX, INT64_MIN};
    static const float reals[] = {0, -0.0f, NAN, INFINITY, -INFINITY, 3e38f, 1e-42f};
    const int32_t dtype = is_real(t) ? MM_DTYPE_F32 : MM_DTYPE_I64;

    for (int one = 0; one < 2; one++) /* all of them, or the last alone */
        for (size_t k = 0; k < (is_real(t) ? sizeof reals / sizeof *reals : sizeof integers / sizeof *integers); k++) {
            mm_tensor *other = refill(h->ctx, NULL, dtype, mm_tensor_rank(t), mm_tensor_shape(t));
            size_t n = (size_t)mm_tensor_elements(t);
            char *to = mm_tensor_data(other);
            const char *from = mm_tensor_const_data(t);
            for (size_t i = 0; i < n; i++) {
                int keep = one && i + 1 < n;
                if (is_real(t)) {
                    ((float *)(void *)to)[i] = !keep ? reals[k] : mm_tensor_dtype(t) == MM_DTYPE_F32 ? ((const float *)(const void *)from)[i] : 0.5f;
                } else {
                    int64_t v = integers[k];
                    if (keep && mm_tensor_dtype(t) == MM_DTYPE_I64) memcpy(&v, from + 8 * i, 8);
                    if (keep && mm_tensor_dtype(t) == MM_DTYPE_I32) v = ((const int32_t *)mm_tensor_const_data(t))[i];
                    if (keep && mm_tensor_dtype(t) == MM_DTYPE_U8) v = ((const uint8_t *)mm_tensor_const_data(t))[i];
                    memcpy(to + 8 * i, &v, 8);
                }
            }
            (void)run_with(h, name, other);
        }
}

static void exchange_inputs(hostile *h)
{
    static const int64_t one[2] = {1, 1};

    for (size_t i = 0; i < mm_tensor_map_count(h->in); i++) {
        const char *name = mm_tensor_map_name(h->in, i);
        const mm_tensor *t = mm_tensor_map_at(h->in, i);
        (void)run_with(h, name, NULL);
        refuse_with(h, name, refill(h->ctx, NULL, is_real(t) ? MM_DTYPE_I32 : MM_DTYPE_F32, mm_tensor_rank(t), mm_tensor_shape(t)), "of another type");
        exchange_shapes(h, name, t);
        exchange_numbers(h, name, t);
    }
    refuse_with(h, "no_such_input", refill(h->ctx, NULL, MM_DTYPE_F32, 2, one), "which it does not have");
    ok(h->ctx, run_with(h, "", NULL)); /* all is well */
}

static void test_inputs_that_do_not_fit(void **state)
{
    hostile h = {0};
    (void)state;

    h.ctx = unit_context(&h.allocator);
    ok(h.ctx, mm_context_set_i64(h.ctx, MM_CONTEXT_THREADS, 1));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_tensor_map *in = read_golden(h.ctx, h.model_name = cases[i][0], h.case_name = cases[i][1], "in");
        h.model = open_golden(h.ctx, cases[i][0]);
        h.in = in;
        exchange_inputs(&h);
        mm_model_release(h.model);
        mm_tensor_map_destroy(in);
    }
    print_message("%zu runs, %zu refused\n", h.runs, h.refusals);
    assert_true(h.runs > 3000 && h.refusals > h.runs / 3);
    unit_context_end(&h.allocator, h.ctx);
}

/* A part of a golden model by itself: its member of config.json, and its tensors without the prefix. */
static void write_part(mm_context *ctx, const char *folder, const char *model, const char *member, const char *class_name, const char *prefix)
{
    char path[512], quoted[64], *at, *end;
    static char text[1 << 14];
    mm_tensor_map *all = NULL, *own = NULL;
    size_t n, depth = 0;
    FILE *f;

    (void)snprintf(path, sizeof path, MODELS "%s/config.json", model);
    assert_non_null(f = fopen(path, "rb"));
    n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = 0;
    (void)snprintf(quoted, sizeof quoted, "\"%s\": {", member);
    assert_non_null(at = strstr(text, quoted));
    end = at += strlen(quoted);
    for (; depth || *end != '}'; end++) depth += (size_t)(*end == '{') - (size_t)(*end == '}');
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    assert_non_null(f = fopen(path, "wb"));
    (void)fprintf(f, "{%.*s, \"tie_word_embeddings\": true, \"architectures\": [\"%s\"]}", (int)(end - at), at, class_name);
    (void)fclose(f);
    (void)snprintf(path, sizeof path, MODELS "%s/model.safetensors", model);
    ok(ctx, mm_tensor_map_read(ctx, path, &all));
    ok(ctx, mm_tensor_map_create(ctx, &own));
    for (size_t i = 0; i < mm_tensor_map_count(all); i++)
        if (!strncmp(mm_tensor_map_name(all, i), prefix, strlen(prefix)))
            ok(ctx, mm_tensor_map_set(ctx, own, mm_tensor_map_name(all, i) + strlen(prefix), mm_tensor_map_at(all, i)));
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    ok(ctx, mm_tensor_map_write(ctx, own, path));
    mm_tensor_map_destroy(all);
    mm_tensor_map_destroy(own);
}

static void test_parts_by_themselves(void **state)
{
    static const int64_t pixels[4] = {2, 3, 8, 8}, mask[3] = {2, 4, 4}, few[3] = {1, 2, 2}, other[3] = {2, 2, 8};
    static const int32_t ids[3] = {4, 9, 5};
    char folder[] = "/tmp/libmm.XXXXXX", command[64];
    mm_tensor_map *in = NULL, *out = NULL;
    mm_session *s = NULL;
    const float *logits = NULL;
    hostile h = {.model_name = "idefics3's tower", .case_name = ""};
    (void)state;

    h.ctx = unit_context(&h.allocator);
    assert_non_null(mkdtemp(folder));

    /* a tower whose mask of patches is an input */
    write_part(h.ctx, folder, "idefics3", "vision_config", "Idefics3VisionTransformer", "model.vision_model.");
    ok(h.ctx, mm_model_open(h.ctx, folder, &h.model));
    ok(h.ctx, mm_tensor_map_create(h.ctx, &in));
    h.in = in;
    assert_int_equal(fact(h.model, MM_MODEL_IMAGE_HEIGHT), 8);
    ok(h.ctx, run_with(&h, "pixel_values", refill(h.ctx, NULL, MM_DTYPE_F32, 4, pixels)));
    {
        mm_tensor *t = refill(h.ctx, NULL, MM_DTYPE_F32, 4, pixels);
        ok(h.ctx, mm_tensor_map_set(h.ctx, in, "pixel_values", t));
        mm_tensor_release(t);
    }
    ok(h.ctx, run_with(&h, "patch_attention_mask", refill(h.ctx, NULL, MM_DTYPE_I32, 3, mask)));
    refuse_with(&h, "patch_attention_mask", refill(h.ctx, NULL, MM_DTYPE_I32, 3, few), "of one picture");
    refuse_with(&h, "patch_attention_mask", refill(h.ctx, NULL, MM_DTYPE_I32, 3, other), "of other rows");
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(out);
    mm_model_release(h.model);

    /* a text whose positions have three streams, and no media that would place them */
    write_part(h.ctx, folder, "qwen2_vl", "text_config", "Qwen2VLTextModel", "model.");
    ok(h.ctx, mm_model_open(h.ctx, folder, &h.model));
    ok(h.ctx, mm_session_create(h.ctx, h.model, &s));
    ok(h.ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 3));
    ok(h.ctx, mm_session_append_tokens(s, ids, 3));
    ok(h.ctx, mm_session_generate(s, NULL, NULL, NULL));
    ok(h.ctx, mm_session_set_i64(s, MM_SESSION_BEAMS, 2));
    ok(h.ctx, mm_session_generate(s, NULL, NULL, NULL));
    ok(h.ctx, mm_session_rewind(s, 2));
    ok(h.ctx, mm_session_append_tokens(s, ids + 2, 1));
    ok(h.ctx, mm_session_logits(s, &logits));
    { /* as forward has it */
        static const int64_t shape[2] = {1, 3};
        mm_tensor *t = NULL;
        int64_t V = fact(h.model, MM_MODEL_VOCABULARY);
        const float *want;
        ok(h.ctx, mm_tensor_copy(h.ctx, MM_DTYPE_I32, 2, shape, ids, &t));
        ok(h.ctx, mm_tensor_map_create(h.ctx, &in));
        ok(h.ctx, mm_tensor_map_set(h.ctx, in, "input_ids", t));
        mm_tensor_release(t);
        ok(h.ctx, mm_model_forward(h.model, h.ctx, in, &out));
        want = (const float *)mm_tensor_const_data(mm_tensor_map_get(out, "logits")) + 2 * V;
        for (int64_t v = 0; v < V; v++) assert_true(fabs((double)logits[v] - (double)want[v]) < 1e-2);
        mm_tensor_map_destroy(in);
        mm_tensor_map_destroy(out);
    }
    mm_session_destroy(s);
    mm_model_release(h.model);
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
    unit_context_end(&h.allocator, h.ctx);
}

/* Open a pair, run it, close. */
static mm_status run_pair(mm_context *ctx, const char *text, const char *projector, const mm_tensor_map *in)
{
    mm_tensor_map *out = NULL;
    mm_model *m = NULL;
    mm_status st = mm_model_open_pair(ctx, text, projector, &m);

    assert_true((st == MM_OK) == (m != NULL));
    if (!st) st = mm_model_forward(m, ctx, in, &out);
    if (st) assert_true(*mm_context_error(ctx) != 0);
    mm_tensor_map_destroy(out);
    mm_model_release(m);
    return st;
}

/* Bits of a projector's header flipped: refused with a sentence, or a pair that computes. Cut anywhere, it is refused. */
static void test_damaged_projectors(void **state)
{
    static const char *const models[] = {"llava_pair", "idefics3_pair"}, *const files[] = {"two", "tiles"};
    enum { HEADER = 2600, PADDING = 32 };
    static char bytes[1 << 16];
    char path[] = "/tmp/libmm.XXXXXX", text[256], projector[256];
    unit_allocator allocator;
    mm_context *ctx = unit_context(&allocator);
    int fd = mkstemp(path);
    (void)state;

    assert_true(fd >= 0);
    ok(ctx, mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        mm_tensor_map *in = read_golden(ctx, models[i], files[i], "in");
        size_t n, live, refusals = 0;
        FILE *f;
        (void)snprintf(text, sizeof text, MODELS "%s/model.gguf", models[i]);
        (void)snprintf(projector, sizeof projector, MODELS "%s/mmproj.gguf", models[i]);
        assert_non_null(f = fopen(projector, "rb"));
        n = fread(bytes, 1, sizeof bytes, f);
        (void)fclose(f);
        assert_in_range(n, HEADER, sizeof bytes - 1);
        assert_int_equal(pwrite(fd, bytes, n, 0), n);
        ok(ctx, run_pair(ctx, text, path, in)); /* makes what the context keeps */
        live = allocator.live;
        for (size_t bit = 0; bit < (size_t)HEADER * 8; bit += 9) {
            char damaged = (char)(bytes[bit / 8] ^ 1 << bit % 8);
            assert_int_equal(pwrite(fd, &damaged, 1, (off_t)(bit / 8)), 1);
            refusals += run_pair(ctx, text, path, in) != MM_OK;
            assert_int_equal(allocator.live, live);
            assert_int_equal(pwrite(fd, &bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
        }
        assert_in_range(refusals, 100, HEADER * 8 / 9 - 1);
        for (size_t cut = n - PADDING; cut-- > 0; cut -= cut > HEADER ? 996 : cut > 12 ? 12 : 0) {
            assert_int_equal(ftruncate(fd, (off_t)cut), 0);
            assert_int_not_equal(run_pair(ctx, text, path, in), MM_OK);
            assert_int_equal(allocator.live, live);
        }
        mm_tensor_map_destroy(in);
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    unit_context_end(&allocator, ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_inputs_that_do_not_fit), cmocka_unit_test(test_parts_by_themselves),
                                       cmocka_unit_test(test_damaged_projectors)};
    return cmocka_run_group_tests_name("hostile_models", tests, NULL, NULL);
}
