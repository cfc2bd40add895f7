/* What the encoders answer beside their usual outputs: hidden states by name, vectors of pictures and texts in one space, labels of the
 * caller for a picture. SPDX-License-Identifier: MIT */
#include "model_fixture.h"

#include "forward.h"
#include "mm_image.h"

/* Each "hidden_states.<k>" of a case's expected outputs, asked for by name, alone and together with another output. */
static void compare_states(mm_context *ctx, const char *name, const char *file, size_t expected)
{
    mm_model *m = open_golden(ctx, name);
    mm_tensor_map *in = read_golden(ctx, name, file, "in"), *want = read_golden(ctx, name, file, "out"), *have = NULL;
    const char *wanted[16] = {NULL};
    size_t n = 0;

    for (size_t i = 0; i < mm_tensor_map_count(want) && n < 15; i++)
        if (!strncmp(mm_tensor_map_name(want, i), "hidden_states.", 14)) wanted[n++] = mm_tensor_map_name(want, i);
    assert_int_equal(n, expected);
    for (size_t both = 0; both < 2; both++) {
        wanted[n] = both ? "last_hidden_state" : NULL;
        ok(ctx, mmi_forward(ctx, m, in, wanted, &have));
        assert_int_equal(mm_tensor_map_count(have), n + both);
        for (size_t i = 0; i < n; i++) {
            const mm_tensor *h = mm_tensor_map_get(have, wanted[i]), *w = mm_tensor_map_get(want, wanted[i]);
            double error;
            assert_same_shape(wanted[i], h, w);
            error = relative_error(h, w, mm_tensor_map_get(in, "attention_mask"));
            if (!(error <= EXACT)) fail_msg("%s %s %s: relative error %g", name, file, wanted[i], error);
        }
        mm_tensor_map_destroy(have);
    }
    ok(ctx, mmi_forward(ctx, m, in, NULL, &have)); /* never unasked */
    for (size_t i = 0; i < mm_tensor_map_count(have); i++) assert_null(strchr(mm_tensor_map_name(have, i), '.'));
    mm_tensor_map_destroy(have);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(want);
    mm_model_release(m);
}

static void test_hidden_states(void **state)
{
    static const struct {
        const char *name, *file;
        size_t states;
    } cases[] = {{"roberta", "len7", 3},        {"distilbert", "len7", 3},         {"bert_mlm", "len7", 3},
                 {"deit", "b1_24x24", 3},       {"dinov2_registers", "b1_24x24", 3}, {"clip_vision", "b1_24x24", 3},
                 {"clip_vision_projection", "b1_24x24", 3}, {"siglip_vision", "b1_24x24", 3}, {"siglip2_vision", "sizes", 3},
                 {"clip_text", "len7", 3},      {"siglip_text", "full", 2}};
    mm_context *ctx = NULL;
    (void)state;

    assert_int_equal(mm_context_create(NULL, &ctx), MM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) compare_states(ctx, cases[i].name, cases[i].file, cases[i].states);
    mm_context_destroy(ctx);
}

static const char *const labels[] = {"cat", "green tree", "very small dog with a hat"}; /* the last is cut */
static const char *const texts[] = {"This is a photo of cat.", "This is a photo of green tree.", "This is a photo of very small dog with a hat."};

typedef struct {
    mm_context *ctx;
    mm_model *m;
    mm_tensor_map *want;
    mm_image *image;
} pair;

static void open_pair(pair *p, const char *name)
{
    char path[128];
    const mm_tensor *pixels;

    p->ctx = NULL;
    p->want = NULL;
    assert_int_equal(mm_context_create(NULL, &p->ctx), MM_OK);
    p->m = open_golden(p->ctx, name);
    (void)snprintf(path, sizeof path, MODELS "%s/zero_shot.expected.safetensors", name);
    ok(p->ctx, mm_tensor_map_read(p->ctx, path, &p->want));
    pixels = mm_tensor_map_get(p->want, "pixels");
    ok(p->ctx, mm_image_create(p->ctx, mm_tensor_shape(pixels)[1], mm_tensor_shape(pixels)[0], mm_tensor_const_data(pixels), &p->image));
}

static void close_pair(pair *p)
{
    mm_image_destroy(p->image);
    mm_tensor_map_destroy(p->want);
    mm_model_release(p->m);
    mm_context_destroy(p->ctx);
}

static void assert_close(const char *what, const mm_tensor *have, const mm_tensor *want)
{
    double error;
    assert_same_shape(what, have, want);
    error = relative_error(have, want, NULL);
    if (!(error <= EXACT)) fail_msg("%s: relative error %g", what, error);
}

static void test_vectors_of_two_towers(void **state)
{
    static const char *const names[] = {"clip", "siglip"};
    (void)state;

    for (size_t n = 0; n < 2; n++) {
        pair p;
        mm_tensor *all = NULL, *one = NULL;
        const float *a;
        size_t width;

        open_pair(&p, names[n]);
        ok(p.ctx, mm_model_embed_texts(p.m, p.ctx, texts, 3, 0, &all));
        assert_close(names[n], all, mm_tensor_map_get(p.want, "text_features"));
        width = (size_t)mm_tensor_shape(all)[1];
        for (size_t i = 0; i < 3; i++) { /* bit for bit what a text gives alone */
            ok(p.ctx, mm_model_embed_texts(p.m, p.ctx, &texts[i], 1, 0, &one));
            assert_memory_equal(mm_tensor_const_data(one), (const float *)mm_tensor_const_data(all) + i * width, width * sizeof(float));
            mm_tensor_release(one);
        }
        mm_tensor_release(all);
        ok(p.ctx, mm_model_embed_texts(p.m, p.ctx, texts, 3, 1, &all));
        a = mm_tensor_const_data(all);
        for (size_t i = 0; i < 3; i++) {
            double length = 0;
            for (size_t c = 0; c < width; c++) length += (double)a[i * width + c] * (double)a[i * width + c];
            assert_true(fabs(length - 1) < 1e-5);
        }
        mm_tensor_release(all);
        ok(p.ctx, mm_model_embed_images(p.m, p.ctx, (const mm_image *const[]){p.image}, 1, 1, &one));
        assert_close(names[n], one, mm_tensor_map_get(p.want, "image_embeds"));
        mm_tensor_release(one);
        close_pair(&p);
    }
}

static void test_labels_of_the_caller(void **state)
{
    static const char *const names[] = {"clip", "siglip"};
    (void)state;

    for (size_t n = 0; n < 2; n++) {
        const char *bad[2] = {"cat", NULL};
        pair p;
        mm_tensor *out = NULL;

        open_pair(&p, names[n]);
        ok(p.ctx, mm_model_classify_labels(p.m, p.ctx, p.image, labels, 3, NULL, &out));
        assert_close(names[n], out, mm_tensor_map_get(p.want, "probabilities"));
        mm_tensor_release(out);
        ok(p.ctx, mm_model_classify_labels(p.m, p.ctx, p.image, texts, 3, "{}", &out)); /* the same texts */
        assert_close(names[n], out, mm_tensor_map_get(p.want, "probabilities"));
        mm_tensor_release(out);
        refused(p.ctx, mm_model_classify_labels(p.m, p.ctx, p.image, labels, 3, "a photo", &out), MM_E_ARGUMENT, "a photo", "{}", (const char *)NULL);
        assert_null(out);
        refused(p.ctx, mm_model_classify_labels(p.m, p.ctx, p.image, labels, 0, NULL, &out), MM_E_ARGUMENT, "labels", (const char *)NULL);
        refused(p.ctx, mm_model_classify_labels(p.m, p.ctx, p.image, bad, 2, NULL, &out), MM_E_ARGUMENT, "label 1", (const char *)NULL);
        refused(p.ctx, mm_model_classify_image(p.m, p.ctx, p.image, &out), MM_E_UNSUPPORTED, "labels", (const char *)NULL);
        refused(p.ctx, mm_model_classify_text(p.m, p.ctx, "cat", &out), MM_E_UNSUPPORTED, "classifier", (const char *)NULL);
        mm_model_release(p.m);
        p.m = open_golden(p.ctx, "bert_class");
        refused(p.ctx, mm_model_classify_labels(p.m, p.ctx, p.image, labels, 3, NULL, &out), MM_E_UNSUPPORTED, "bert_class", (const char *)NULL);
        refused(p.ctx, mm_model_classify_text(p.m, p.ctx, "cat", &out), MM_E_UNSUPPORTED, "tokenizer", (const char *)NULL);
        close_pair(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hidden_states), cmocka_unit_test(test_vectors_of_two_towers),
                                        cmocka_unit_test(test_labels_of_the_caller)};
    return cmocka_run_group_tests_name("encoder_models", tests, NULL, NULL);
}
