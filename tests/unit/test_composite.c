/* Composites: what config.json may not say, parts that are other checkpoints, outputs by name, what the whole answers with (vectors, classes,
 * zero-shot labels) beside its own outputs, the weights that soft sharing ties, and memory that runs out. That the numbers are right is tested by
 * test_golden_models.c beside torch. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* mkdtemp, realpath */
#include "unit_fixture.h"

#include "model_fixture.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "composite.h"
#include "forward.h"

typedef struct {
    unit_allocator allocator;
    mm_context *ctx;
    char folder[64];
    char root[PATH_MAX]; /* of the golden models, absolute */
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->ctx = unit_context(&f->allocator);
    ok(f->ctx, mm_context_set_i64(f->ctx, MM_CONTEXT_THREADS, 1));
    mm_model_release(open_golden(f->ctx, "mm_from")); /* makes what the context keeps */
    strcpy(f->folder, "/tmp/libmm.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    assert_non_null(realpath(MODELS, f->root));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    char command[96];

    unit_context_end(&f->allocator, f->ctx);
    (void)snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void write_text(const fixture *f, const char *file, const char *text)
{
    char path[128];
    FILE *out;

    (void)snprintf(path, sizeof path, "%s/%s", f->folder, file);
    assert_non_null(out = fopen(path, "wb"));
    assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
    assert_int_equal(fclose(out), 0);
}

/* config.json with "$ROOT", or "..", as the golden models' folder. */
static void write_config(const fixture *f, const char *text)
{
    static char out[1 << 14];
    char *to = out;

    while (*text) {
        size_t n = !strncmp(text, "$ROOT", 5) ? 5 : !strncmp(text, "..", 2) ? 2 : 0;
        if (n) to = stpcpy(to, f->root);
        else *to++ = *text++;
        text += n;
    }
    *to = 0;
    write_text(f, "config.json", out);
}

static void write_weights(const fixture *f, const mm_tensor_map *map)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", f->folder);
    ok(f->ctx, mm_tensor_map_write(f->ctx, map, path));
}

/* A tensor of small numbers, no two alike; cols 0: a vector. */
static void add_weight(const fixture *f, mm_tensor_map *map, const char *name, int64_t rows, int64_t cols)
{
    const int64_t shape[2] = {rows, cols};
    mm_tensor *t = NULL;

    ok(f->ctx, mm_tensor_create(f->ctx, MM_DTYPE_F32, cols ? 2 : 1, shape, &t));
    for (int64_t i = 0; i < mm_tensor_elements(t); i++) ((float *)mm_tensor_data(t))[i] = 0.3f * sinf((float)(i * i % 1009) + (float)rows);
    ok(f->ctx, mm_tensor_map_set(f->ctx, map, name, t));
    mm_tensor_release(t);
}

static mm_tensor_map *golden_weights(const fixture *f, const char *name)
{
    char path[256];
    mm_tensor_map *map = NULL;

    (void)snprintf(path, sizeof path, MODELS "%s/model.safetensors", name);
    ok(f->ctx, mm_tensor_map_read(f->ctx, path, &map));
    return map;
}

static void refuse_open(const fixture *f, mm_status status, const char *one, const char *two, const char *what)
{
    size_t before = f->allocator.live;
    mm_model *m = (mm_model *)1;
    mm_status st = mm_model_open(f->ctx, f->folder, &m);

    if (st != status) fail_msg("%s: %s (%s), expected %s", what, mm_status_name(st), mm_context_error(f->ctx), mm_status_name(status));
    if (!strstr(mm_context_error(f->ctx), one) || !strstr(mm_context_error(f->ctx), two)) fail_msg("%s: \"%s\" does not say \"%s\" and \"%s\"", what, mm_context_error(f->ctx), one, two);
    assert_null(m);
    assert_int_equal(f->allocator.live, before);
}

/* One thing is changed in the configuration of a good model. */
static void test_configurations(void **state)
{
    static const struct {
        const char *model, *find, *replace;
        mm_status status;
        const char *one, *two;
    } cases[] = {
        {"mm_early_hard", "\"fusion\":", "\"fusions\":", MM_E_FORMAT, "fusions", "config.json"},
        {"mm_early_hard", "\"early\"", "\"sideways\"", MM_E_FORMAT, "fusion", "sideways"},
        {"mm_early_hard", "\"early\"", "7", MM_E_FORMAT, "fusion", "config.json"},
        {"mm_early_hard", "\"early\"", "\"late\"", MM_E_FORMAT, "fusion_config", "num_hidden_layers"},
        {"mm_early_hard", "\"fusion\": \"early\",", "", MM_E_FORMAT, "fusion_config", "without"},
        {"mm_early_hard", "\"hidden_size\": 12", "\"hidden_size\": 0", MM_E_FORMAT, "hidden_size", "0"},
        {"mm_early_hard", "\"hidden_size\": 12", "\"hidden_size\": 1e9", MM_E_FORMAT, "hidden_size", "config.json"},
        {"mm_early_hard", "\"hidden_size\": 12", "\"hidden_size\": 13", MM_E_FORMAT, "13", "3"},
        {"mm_early_hard", "\"hidden_size\": 12,", "", MM_E_FORMAT, "hidden_size", "config.json"},
        {"mm_early_hard", "\"num_hidden_layers\": 2,\n  \"num_attention_heads\": 3", "\"num_hidden_layers\": 65, \"num_attention_heads\": 3", MM_E_LIMIT, "num_hidden_layers", "64"},
        {"mm_early_hard", "\"num_hidden_layers\": 2,\n  \"num_attention_heads\": 3", "\"num_hidden_layers\": -1, \"num_attention_heads\": 3", MM_E_FORMAT, "num_hidden_layers", "-1"},
        {"mm_early_hard", "\"num_hidden_layers\": 2,\n  \"num_attention_heads\": 3", "\"num_hidden_layers\": 3, \"num_attention_heads\": 3", MM_E_NOT_FOUND, "fusion.layers.2.norm1.weight", "libmm"},
        {"mm_early_hard", "\"hidden_act\": \"gelu\",\n  \"layer_norm_eps\"", "\"hidden_act\": \"sinus\", \"layer_norm_eps\"", MM_E_UNSUPPORTED, "hidden_act", "sinus"},
        {"mm_early_hard", "\"hidden_act\": \"gelu\",\n  \"layer_norm_eps\"", "\"dropout\": 0.1, \"layer_norm_eps\"", MM_E_FORMAT, "fusion_config", "dropout"},
        {"mm_early_hard", "\"text_config\": {", "\"text_config\": null, \"video_pooling\": {", MM_E_FORMAT, "video_pooling", "config.json"},
        {"mm_early_hard", "\"model_type\": \"bert\"", "\"model_type\": \"vit\"", MM_E_UNSUPPORTED, "text_config", "ViTModel"},
        {"mm_early_hard", "\"model_type\": \"bert\"", "\"model_type\": \"clip\"", MM_E_UNSUPPORTED, "text_config", "clip"},
        {"mm_early_hard", "\"model_type\": \"bert\"", "\"model_type\": \"mm\"", MM_E_UNSUPPORTED, "text_config", "mm"},
        {"mm_early_hard", "\"model_type\": \"vit\"", "\"model_type\": \"bert\", \"vocab_size\": 61", MM_E_UNSUPPORTED, "vision_config", "BertModel"},
        {"mm_early_hard", "\"text_config\": {", "\"audio_config\": [], \"text_config\": {", MM_E_FORMAT, "audio_config", "config.json"},
        {"mm_early_hard", "\"text_config\": {", "\"sharing\": {\"kind\": \"free\"}, \"text_config\": {", MM_E_FORMAT, "kind", "free"},
        {"mm_early_hard", "\"text_config\": {", "\"sharing\": {\"kind\": \"hard\", \"mixing\": \"l2\"}, \"text_config\": {", MM_E_FORMAT, "sharing", "mixing"},
        {"mm_early_hard", "\"text_config\": {", "\"sharing\": {\"kind\": \"soft\", \"mixing\": \"glue\"}, \"text_config\": {", MM_E_FORMAT, "mixing", "glue"},
        {"mm_early_hard", "\"text_config\": {", "\"sharing\": {\"sort\": \"soft\"}, \"text_config\": {", MM_E_FORMAT, "sharing", "sort"},
        {"mm_early_hard", "\"text_config\": {", "\"sharing\": [], \"text_config\": {", MM_E_FORMAT, "sharing", "config.json"},
        {"mm_early_hard", "\"text_config\": {", "\"sharing\": {\"kind\": \"soft\"}, \"text_config\": {", MM_E_NOT_FOUND, "fusion.answer.text.projection.weight", "libmm"},
        {"mm_early_hard", "\"text_config\": {", "\"projector\": {\"input\": \"vision\"}, \"text_config\": {", MM_E_FORMAT, "projector", "decoder_config"},
        {"mm_early_hard", "\"kind\": \"regression\"", "\"kind\": \"regresion\"", MM_E_FORMAT, "kind", "regresion"},
        {"mm_early_hard", "\"kind\": \"regression\",", "", MM_E_FORMAT, "count", "kind"},
        {"mm_early_hard", "\"kind\": \"regression\"", "\"depth\": 1, \"kind\": \"regression\"", MM_E_FORMAT, "count", "hierarchical"},
        {"mm_early_hard", "\"kind\": \"regression\"", "\"labels\": [\"a\"], \"kind\": \"regression\"", MM_E_FORMAT, "labels", "config.json"},
        {"mm_early_hard", "\"kind\": \"regression\"", "\"input\": \"audio\", \"kind\": \"regression\"", MM_E_FORMAT, "count", "audio_config"},
        {"mm_early_hard", "\"kind\": \"regression\"", "\"input\": \"smell\", \"kind\": \"regression\"", MM_E_FORMAT, "count", "smell"},
        {"mm_early_hard", "\"kind\": \"regression\"", "\"pool\": \"last\", \"kind\": \"regression\"", MM_E_FORMAT, "pool", "last"},
        {"mm_early_hard", "\"kind\": \"regression\"", "\"task\": \"a.b\", \"kind\": \"regression\"", MM_E_FORMAT, "task", "a.b"},
        {"mm_early_hard", "\"name\": \"count\"", "\"name\": \"\"", MM_E_FORMAT, "name", "config.json"},
        {"mm_early_hard", "\"name\": \"count\"", "\"name\": \"a%b\"", MM_E_FORMAT, "name", "a%b"},
        {"mm_early_hard", "\"name\": \"count\"", "\"name\": \"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg\"", MM_E_FORMAT, "name", "64"},
        {"mm_early_hard", "\"name\": \"count\"", "\"name\": 7", MM_E_FORMAT, "name", "config.json"},
        {"mm_early_hard", "\"name\": \"count\"", "\"name\": \"answer\"", MM_E_FORMAT, "answer", "two heads"},
        {"mm_early_hard", "\"size\": 3", "\"size\": 0", MM_E_FORMAT, "size", "0"},
        {"mm_early_hard", "\"size\": 3", "\"size\": 2000000", MM_E_FORMAT, "size", "2000000"},
        {"mm_early_hard", "\"size\": 3", "\"size\": 4", MM_E_SHAPE, "heads.count.weight", "[4, 12]"},
        {"mm_early_hard", "\"labels\": [", "\"labels\": [7, ", MM_E_FORMAT, "answer", "label 0"},
        {"mm_early_hard", "\"labels\": [", "\"labels\": [], \"pool\": [", MM_E_FORMAT, "answer", "labels"},
        {"mm_early_hard", "\"labels\": [", "\"labels\": {}, \"pool\": [", MM_E_FORMAT, "answer", "labels"},
        {"mm_early_hard", "\"depth\": 1", "\"depth\": 3", MM_E_FORMAT, "depth", "3"},
        {"mm_early_hard", "\"depth\": 1", "\"depth\": -1", MM_E_FORMAT, "depth", "-1"},
        {"mm_early_hard", "\"heads\": [", "\"heads\": [7, ", MM_E_FORMAT, "head", "object"},
        {"mm_early_hard", "\"heads\": [", "\"heads\": [],\n \"pad_token_id\": [", MM_E_FORMAT, "fused", "no head"},
        {"mm_early_hard", "\"heads\": [", "\"heads\": {}, \"pad_token_id\": [", MM_E_FORMAT, "heads", "64"},
        {"mm_early_levels", "\"depth\": 1", "\"depth\": 3", MM_E_FORMAT, "depth", "3"},
        {"mm_late_hard", "\"pool\": \"first\"\n }", "\"pool\": \"first\", \"num_hidden_layers\": 2\n }", MM_E_FORMAT, "fusion_config", "num_hidden_layers"},
        {"mm_late_l2", "\"kind\": \"soft\"", "\"kind\": \"soft\", \"mixing\": \"cross_stitch\"", MM_E_FORMAT, "late", "cross_stitch"},
        {"mm_towers", "\"dim\": 10,", "", MM_E_FORMAT, "dim", "config.json"},
        {"mm_towers", "\"dim\": 10", "\"dim\": 11", MM_E_SHAPE, "heads.pair.vision.weight", "[11, 20]"},
        {"mm_towers", "\"vision\",\n    \"text\"", "\"vision\", \"vision\"", MM_E_FORMAT, "pair", "two towers"},
        {"mm_towers", "\"vision\",\n    \"text\"", "\"vision\", \"fused\"", MM_E_FORMAT, "pair", "fused"},
        {"mm_towers", "\"vision\",\n    \"text\"", "\"vision\"", MM_E_FORMAT, "pair", "two"},
        {"mm_towers", "\"vision\",\n    \"text\"", "\"vision\", 7", MM_E_FORMAT, "pair", "two"},
        {"mm_towers", "\"heads\":", "\"sharing\": {\"kind\": \"soft\"}, \"heads\":", MM_E_FORMAT, "soft", "fusion"},
        {"mm_towers", "\"sigmoid\": true", "\"sigmoid\": 1", MM_E_FORMAT, "sigmoid", "config.json"},
        {"mm_video_mean", "\"video_pooling\": \"mean\"", "\"video_pooling\": \"most\"", MM_E_FORMAT, "video_pooling", "most"},
        {"mm_decoder", "\"image_token_index\": 60,", "", MM_E_FORMAT, "image_token_index", "missing"},
        {"mm_decoder", "\"image_token_index\": 60", "\"image_token_index\": 61", MM_E_FORMAT, "image_token_index", "61"},
        {"mm_decoder", "\"layers\": 2", "\"layers\": 3", MM_E_FORMAT, "layers", "3"},
        {"mm_decoder", "\"skip\": 1", "\"skip\": -1", MM_E_FORMAT, "skip", "-1"},
        {"mm_decoder", "\"skip\": 1", "\"stride\": 1", MM_E_FORMAT, "stride", "config.json"},
        {"mm_decoder", "\"input\": \"vision\",\n  \"depth\"", "\"input\": \"text\", \"depth\"", MM_E_FORMAT, "projector", "text_config"},
        {"mm_decoder", "\"projector\": {", "\"projector\": [], \"pad_token_id\": {", MM_E_FORMAT, "projector", "object"},
        {"mm_decoder", "\"model_type\": \"llama\"", "\"model_type\": \"vit\"", MM_E_UNSUPPORTED, "decoder_config", "vit"},
        {"mm_across", "\"is_decoder\": true", "\"is_decoder\": false", MM_E_UNSUPPORTED, "decoder_config", "BertLMHeadModel"},
        {"mm_across", "\"input\": \"fused\"", "\"input\": \"none\"", MM_E_FORMAT, "projector", "none"},
        {"mm_from", "\"../vit\"", "\"\"", MM_E_FORMAT, "vision_config", "from"},
        {"mm_from", "\"../vit\"", "7", MM_E_FORMAT, "vision_config", "from"},
        {"mm_from", "\"../vit\"", "\"../vit\", \"model_type\": \"vit\"", MM_E_FORMAT, "vision_config", "model_type"},
        {"mm_from", "\"../vit\"", "\"nowhere/x\"", MM_E_NOT_FOUND, "libmm", "/nowhere/x"},
        {"mm_from", "\"../vit\"", "\"$HOME\"", MM_E_NOT_FOUND, "/$HOME", ""},
        {"mm_from", "\"../vit\"", "\".\"", MM_E_UNSUPPORTED, "MMModel", "as a part"},
        {"mm_from", "\"../vit\"", "\"$ROOT/llava_vit\"", MM_E_UNSUPPORTED, "LlavaForConditionalGeneration", "as a part"},
        {"mm_from", "\"../vit\"", "\"$ROOT/llama_gqa\"", MM_E_UNSUPPORTED, "vision_config", "LlamaForCausalLM"},
        {"mm_from", "\"../vit\"", "\"$ROOT/llava_pair/mmproj.gguf\"", MM_E_UNSUPPORTED, "mmproj.gguf", "clip"},
        {"mm_from", "\"../llama_gqa\"", "\"$ROOT/vit\"", MM_E_UNSUPPORTED, "decoder_config", "ViTModel"},
    };
    fixture *f = *state;
    static char text[1 << 15], edited[1 << 15];
    char path[256];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_tensor_map *map = golden_weights(f, cases[i].model);
        const char *at;
        FILE *in;
        size_t n;
        (void)snprintf(path, sizeof path, MODELS "%s/config.json", cases[i].model);
        assert_non_null(in = fopen(path, "rb"));
        n = fread(text, 1, sizeof text - 1, in);
        (void)fclose(in);
        text[n] = 0;
        at = strstr(text, cases[i].find);
        if (!at) fail_msg("%s: config.json has no %s", cases[i].model, cases[i].find);
        (void)snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - text), text, cases[i].replace, at + strlen(cases[i].find));
        write_config(f, edited);
        write_weights(f, map);
        refuse_open(f, cases[i].status, cases[i].one, cases[i].two, cases[i].replace);
        mm_tensor_map_destroy(map);
    }
    write_config(f, "{\"architectures\": [\"MMModel\"], \"model_type\": \"mm\"}");
    refuse_open(f, MM_E_FORMAT, "text_config", "decoder_config", "no parts");
    write_config(f, "{\"architectures\": [\"MMModel\"], \"model_type\": \"mm\", \"fusion\": \"interactive\", \"text_config\": {\"from\": \"$ROOT/bert\"}}");
    refuse_open(f, MM_E_FORMAT, "interactive", "missing", "one stream");
}

static void test_counts_are_bounded(void **state)
{
    fixture *f = *state;
    static char text[1 << 14];

    mm_tensor_map *map = golden_weights(f, "mm_late_hard");

    write_weights(f, map);
    mm_tensor_map_destroy(map);
    for (int soft = 0; soft < 2; soft++) {
        char *to = text + sprintf(text, "{\"architectures\": [\"MMModel\"], \"model_type\": \"mm\", \"hidden_size\": 8, \"fusion\": \"late\", \"text_config\": {\"from\": \"%s/bert\"}, %s\"heads\": [",
                                  f->root, soft ? "\"sharing\": {\"kind\": \"soft\"}, " : "");
        for (int i = 0; i < (soft ? 17 : 65); i++) to += sprintf(to, "%s{\"name\": \"h%d\", \"kind\": \"matching\"}", i ? ", " : "", i);
        strcpy(to, "]}");
        write_text(f, "config.json", text);
        refuse_open(f, soft ? MM_E_LIMIT : MM_E_FORMAT, soft ? "16" : "64", "config.json", "many heads");
    }
}

static mm_tensor_map *forward_named(const fixture *f, const mm_model *m, const mm_tensor_map *in, const char *name)
{
    const char *const wanted[] = {name, NULL};
    mm_tensor_map *out = NULL;

    ok(f->ctx, mmi_forward(f->ctx, m, in, wanted, &out));
    assert_int_equal(mm_tensor_map_count(out), 1);
    assert_non_null(mm_tensor_map_get(out, name));
    return out;
}

static void same_tensor(const mm_tensor *a, const mm_tensor *b)
{
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(mm_tensor_bytes(a), mm_tensor_bytes(b));
    assert_memory_equal(mm_tensor_const_data(a), mm_tensor_const_data(b), mm_tensor_bytes(a));
}

/* What is named is made alone, with the bits that it has among the others; what cannot be made is refused. */
static void test_outputs_by_name(void **state)
{
    static const char *const models[][2] = {{"mm_interactive_stitch", "padded"}, {"mm_towers", "all"}, {"mm_decoder", "two"}, {"mm_across", "padded"}, {"mm_video_mean", "two"}};
    fixture *f = *state;

    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        mm_model *m = open_golden(f->ctx, models[i][0]);
        mm_tensor_map *in = read_golden(f->ctx, models[i][0], models[i][1], "in"), *all = NULL, *out = NULL;
        const char *nothing[] = {"shape_logit", NULL};
        ok(f->ctx, mm_model_forward(m, f->ctx, in, &all));
        for (size_t k = 0; k < mm_tensor_map_count(all); k++) {
            const char *name = mm_tensor_map_name(all, k);
            mm_tensor_map *one;
            /* inputs that it does not read are not taken */
            mm_tensor_map *less = NULL;
            ok(f->ctx, mm_tensor_map_create(f->ctx, &less));
            for (size_t j = 0; j < mm_tensor_map_count(in); j++) {
                const char *input = mm_tensor_map_name(in, j);
                if (!strcmp(name, "shape_logits") && strcmp(input, "pixel_values")) continue;
                if (!strncmp(name, "image_", 6) && strcmp(input, "pixel_values")) continue;
                if ((!strncmp(name, "text_", 5) || !strncmp(name, "tone_", 5) || !strncmp(name, "hear_text", 9)) && strcmp(input, "input_ids") && strcmp(input, "attention_mask")) continue;
                if (!strncmp(name, "hear_audio", 10) && strcmp(input, "input_features")) continue;
                if (strstr(name, "logits_per_image") && !strcmp(input, "input_features")) continue;
                if (strstr(name, "logits_per_text") && !strcmp(input, strncmp(name, "hear", 4) ? "input_features" : "pixel_values")) continue;
                if (strstr(name, "logits_per_audio") && !strcmp(input, "pixel_values")) continue;
                if (!strncmp(name, "match", 5) && !strncmp(input, "decoder_", 8)) continue;
                if ((!strncmp(name, "count", 5) || !strncmp(name, "speed", 5)) && !strcmp(models[i][0], "mm_video_mean") && strcmp(input, "pixel_values_videos")) continue;
                ok(f->ctx, mm_tensor_map_set(f->ctx, less, input, mm_tensor_map_at(in, j)));
            }
            one = forward_named(f, m, less, name);
            same_tensor(mm_tensor_map_get(one, name), mm_tensor_map_at(all, k));
            mm_tensor_map_destroy(one);
            mm_tensor_map_destroy(less);
        }
        assert_int_not_equal(mmi_forward(f->ctx, m, in, nothing, &out), MM_OK);
        assert_null(out);
        if (!m->parts[MMI_DECODER]) assert_true(strstr(mm_context_error(f->ctx), "shape_logit") != NULL);
        mm_tensor_map_destroy(in);
        mm_tensor_map_destroy(all);
        mm_model_release(m);
    }
    { /* a picture alone is not enough for the fused heads */
        static const char *const answer[] = {"answer_logits", NULL};
        mm_model *m = open_golden(f->ctx, "mm_early_hard");
        mm_tensor_map *in = read_golden(f->ctx, "mm_early_hard", "padded", "in"), *less = NULL, *out = NULL;
        ok(f->ctx, mm_tensor_map_create(f->ctx, &less));
        refused(f->ctx, mm_model_forward(m, f->ctx, less, &out), MM_E_ARGUMENT, "is missing", NULL);
        ok(f->ctx, mm_tensor_map_set(f->ctx, less, "pixel_values", mm_tensor_map_get(in, "pixel_values")));
        refused(f->ctx, mmi_forward(f->ctx, m, less, answer, &out), MM_E_ARGUMENT, "input_ids", "missing", NULL);
        ok(f->ctx, mm_model_forward(m, f->ctx, less, &out));
        assert_int_equal(mm_tensor_map_count(out), 1); /* shape_logits */
        mm_tensor_map_destroy(out);
        mm_tensor_map_destroy(less);
        mm_tensor_map_destroy(in);
        mm_model_release(m);
    }
}

static const char decoder_config[] = "{\"architectures\": [\"MMModel\"], \"model_type\": \"mm\", \"image_token_index\": 60, \"projector\": {\"layers\": 1}, "
                                     "\"vision_config\": {\"from\": \"$ROOT/vit\"}, \"decoder_config\": {\"from\": \"$ROOT/gguf_f32/model.gguf\"}}";

/* A directory and a GGUF file under one projector. */
static void test_parts_from_elsewhere(void **state)
{
    static const int32_t ids[5] = {3, 9, 5, 1, 7};
    fixture *f = *state;
    mm_model *whole = NULL, *alone = open_golden(f->ctx, "gguf_f32/model.gguf");
    mm_tensor_map *map = NULL, *in = NULL, *a = NULL, *b = NULL;
    mm_tensor *t = NULL;
    mm_session *s = NULL;

    ok(f->ctx, mm_tensor_map_create(f->ctx, &map));
    add_weight(f, map, "projector.linear_1.weight", fact(alone, MM_MODEL_HIDDEN_SIZE), 32);
    add_weight(f, map, "projector.linear_1.bias", fact(alone, MM_MODEL_HIDDEN_SIZE), 0);
    write_config(f, decoder_config);
    write_weights(f, map);
    ok(f->ctx, mm_model_open(f->ctx, f->folder, &whole));
    assert_string_equal(mm_model_get_str(whole, MM_MODEL_PARTS), "vision: ViTModel, decoder: llama");
    assert_null(mm_model_get_str(whole, MM_MODEL_HEADS));
    assert_int_equal(fact(whole, MM_MODEL_GENERATES), 1);
    assert_int_equal(fact(whole, MM_MODEL_SEES), 1);
    assert_int_equal(fact(whole, MM_MODEL_IMAGE_HEIGHT), 32);
    assert_int_equal(fact(whole, MM_MODEL_VOCABULARY), fact(alone, MM_MODEL_VOCABULARY));
    ok(f->ctx, mm_tensor_copy(f->ctx, MM_DTYPE_I32, 2, (const int64_t[]){1, 5}, ids, &t));
    ok(f->ctx, mm_tensor_map_create(f->ctx, &in));
    ok(f->ctx, mm_tensor_map_set(f->ctx, in, "input_ids", t));
    ok(f->ctx, mm_model_forward(whole, f->ctx, in, &a));
    ok(f->ctx, mm_model_forward(alone, f->ctx, in, &b));
    same_tensor(mm_tensor_map_get(a, "logits"), mm_tensor_map_get(b, "logits"));
    ok(f->ctx, mm_session_create(f->ctx, whole, &s));
    ok(f->ctx, mm_session_set_i64(s, MM_SESSION_MAX_TOKENS, 3));
    ok(f->ctx, mm_session_append_tokens(s, ids, 5));
    ok(f->ctx, mm_session_generate(s, NULL, NULL, NULL));
    mm_session_destroy(s);
    mm_tensor_release(t);
    mm_tensor_map_destroy(map);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(a);
    mm_tensor_map_destroy(b);
    mm_model_release(alone);
    mm_model_release(whole);
}

/* The whole's own tensors go before those of the checkpoint that configures the part; all of them then. */
static void test_own_weights_of_a_part(void **state)
{
    fixture *f = *state;
    mm_tensor_map *own = NULL, *vit = golden_weights(f, "vit"), *in = read_golden(f->ctx, "vit", "b1_32x32", "in"), *theirs = NULL, *same = NULL, *other = NULL, *less = NULL;
    const char *const heads = "{\"architectures\": [\"MMModel\"], \"model_type\": \"mm\", \"vision_config\": {\"from\": \"$ROOT/vit\"}, "
                              "\"heads\": [{\"name\": \"h\", \"kind\": \"regression\", \"size\": 4, \"input\": \"vision\"}]}";
    mm_model *m = NULL;
    char name[128];

    ok(f->ctx, mm_tensor_map_create(f->ctx, &own));
    add_weight(f, own, "heads.h.weight", 4, 32);
    add_weight(f, own, "heads.h.bias", 4, 0);
    write_config(f, heads);
    write_weights(f, own);
    ok(f->ctx, mm_model_open(f->ctx, f->folder, &m));
    ok(f->ctx, mm_model_forward(m, f->ctx, in, &theirs));
    mm_model_release(m);
    for (size_t i = 0; i < mm_tensor_map_count(vit); i++) {
        (void)snprintf(name, sizeof name, "vision_model.%s", mm_tensor_map_name(vit, i));
        ok(f->ctx, mm_tensor_map_set(f->ctx, own, name, mm_tensor_map_at(vit, i)));
    }
    write_weights(f, own);
    ok(f->ctx, mm_model_open(f->ctx, f->folder, &m));
    ok(f->ctx, mm_model_forward(m, f->ctx, in, &same));
    same_tensor(mm_tensor_map_get(theirs, "h_logits"), mm_tensor_map_get(same, "h_logits"));
    mm_model_release(m);
    add_weight(f, own, "vision_model.layernorm.weight", 32, 0);
    write_weights(f, own);
    ok(f->ctx, mm_model_open(f->ctx, f->folder, &m));
    ok(f->ctx, mm_model_forward(m, f->ctx, in, &other));
    assert_memory_not_equal(mm_tensor_const_data(mm_tensor_map_get(theirs, "h_logits")), mm_tensor_const_data(mm_tensor_map_get(other, "h_logits")), 16);
    mm_model_release(m);
    ok(f->ctx, mm_tensor_map_create(f->ctx, &less));
    for (size_t i = 0; i < mm_tensor_map_count(own); i++)
        if (!strstr(mm_tensor_map_name(own, i), "layernorm.bias")) ok(f->ctx, mm_tensor_map_set(f->ctx, less, mm_tensor_map_name(own, i), mm_tensor_map_at(own, i)));
    write_weights(f, less);
    refuse_open(f, MM_E_NOT_FOUND, "vision_model.", "layernorm.bias", "one of the part's own is missing");
    mm_tensor_map_destroy(own);
    mm_tensor_map_destroy(less);
    mm_tensor_map_destroy(vit);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(theirs);
    mm_tensor_map_destroy(same);
    mm_tensor_map_destroy(other);
}

static const char answers_config[] =
    "{\"architectures\": [\"MMModel\"], \"model_type\": \"mm\", \"text_config\": {\"from\": \"$ROOT/llama_words\"}, \"vision_config\": {\"from\": \"$ROOT/vit\"}, "
    "\"audio_config\": {\"from\": \"$ROOT/whisper_speaks\"}, \"heads\": [{\"name\": \"pair\", \"kind\": \"contrastive\", \"dim\": 6, \"inputs\": [\"text\", \"vision\"], \"sigmoid\": true}, "
    "{\"name\": \"shape\", \"kind\": \"classification\", \"labels\": [\"circle\", \"square\", \"star\"], \"input\": \"vision\"}, "
    "{\"name\": \"noise\", \"kind\": \"regression\", \"size\": 2, \"input\": \"audio\"}]}";

static mm_tensor_map *map_of(const fixture *f, const char *name, mm_tensor *t)
{
    mm_tensor_map *map = NULL;
    ok(f->ctx, mm_tensor_map_create(f->ctx, &map));
    ok(f->ctx, mm_tensor_map_set(f->ctx, map, name, t));
    mm_tensor_release(t);
    return map;
}

/* Vectors, classes and zero-shot labels of the whole are what its heads give; tokenizer and processors are those of its parts. */
static void test_answers(void **state)
{
    static const char *const texts[3] = {"the inn", "a", "the inn was a house of the road"};
    static const char processor[] = "{\"image_processor_type\": \"ViTImageProcessor\", \"size\": {\"height\": 32, \"width\": 32}}";
    fixture *f = *state;
    mm_model *m = NULL;
    mm_tensor_map *map = NULL, *in, *out = NULL;
    mm_tensor *vectors = NULL, *picture = NULL, *pixels = NULL, *classes = NULL, *scores = NULL;
    mm_image *image = NULL;
    mm_audio *sound = NULL;
    const float *logits;
    float sum = 0, scale, bias;
    static const float samples[16000];

    ok(f->ctx, mm_tensor_map_create(f->ctx, &map));
    { /* widths of the towers */
        mm_model *text = open_golden(f->ctx, "llama_words"), *audio = open_golden(f->ctx, "whisper_speaks");
        add_weight(f, map, "heads.pair.text.weight", 6, fact(text, MM_MODEL_HIDDEN_SIZE));
        add_weight(f, map, "heads.noise.weight", 2, fact(audio, MM_MODEL_HIDDEN_SIZE));
        mm_model_release(text);
        mm_model_release(audio);
    }
    add_weight(f, map, "heads.noise.bias", 2, 0);
    add_weight(f, map, "heads.pair.vision.weight", 6, 32);
    add_weight(f, map, "heads.pair.logit_scale", 1, 0);
    add_weight(f, map, "heads.pair.logit_bias", 1, 0);
    ((float *)mm_tensor_data(mm_tensor_map_get(map, "heads.pair.logit_scale")))[0] = scale = 0.7f;
    ((float *)mm_tensor_data(mm_tensor_map_get(map, "heads.pair.logit_bias")))[0] = bias = -0.4f;
    add_weight(f, map, "heads.shape.weight", 3, 32);
    add_weight(f, map, "heads.shape.bias", 3, 0);
    write_config(f, answers_config);
    write_text(f, "preprocessor_config.json", processor);
    write_weights(f, map);
    ok(f->ctx, mm_model_open(f->ctx, f->folder, &m));
    assert_string_equal(mm_model_get_str(m, MM_MODEL_PARTS), "text: LlamaForCausalLM, vision: ViTModel, audio: WhisperEncoder");
    assert_string_equal(mm_model_get_str(m, MM_MODEL_HEADS), "pair: contrastive of text and vision, 6; shape: classification of vision, 3; noise: regression of audio, 2");
    assert_int_equal(fact(m, MM_MODEL_LABELS), 3);
    assert_string_equal(mm_model_label(m, 2), "star");
    assert_int_equal(fact(m, MM_MODEL_GENERATES), 0);
    assert_int_equal(fact(m, MM_MODEL_HEARS), 1);
    assert_non_null(mm_model_tokenizer(m));

    ok(f->ctx, mm_model_embed_texts(m, f->ctx, texts, 3, 1, &vectors)); /* in one batch, as segments */
    for (int i = 0; i < 3; i++) {
        mm_tensor *t = NULL;
        int32_t *ids = NULL;
        size_t n = 0;
        ok(f->ctx, mm_tokenizer_encode(mm_model_tokenizer(m), f->ctx, texts[i], strlen(texts[i]), MM_TOKENS_ADD_SPECIAL | MM_TOKENS_PARSE_SPECIAL, &ids, &n));
        ok(f->ctx, mm_tensor_copy(f->ctx, MM_DTYPE_I32, 2, (const int64_t[]){1, (int64_t)n}, ids, &t));
        in = map_of(f, "input_ids", t);
        out = forward_named(f, m, in, "text_embeds");
        for (int d = 0; d < 6; d++) assert_float_equal(((const float *)mm_tensor_const_data(mm_tensor_map_get(out, "text_embeds")))[d], ((const float *)mm_tensor_const_data(vectors))[6 * i + d], 1e-6);
        mm_tensor_map_destroy(in);
        mm_tensor_map_destroy(out);
        mm_ids_free(ids);
    }
    ok(f->ctx, mm_image_read(f->ctx, "tests/golden/images/jpeg_420.jpg", 0, &image));
    ok(f->ctx, mm_model_preprocess_image(m, f->ctx, image, &pixels));
    mm_tensor_retain(pixels);
    in = map_of(f, "pixel_values", pixels);
    ok(f->ctx, mm_model_forward(m, f->ctx, in, &out));
    assert_int_equal(mm_tensor_map_count(out), 2);
    ok(f->ctx, mm_model_embed_images(m, f->ctx, (const mm_image *const[]){image}, 1, 0, &picture));
    same_tensor(picture, mm_tensor_map_get(out, "image_embeds"));
    ok(f->ctx, mm_model_classify_image(m, f->ctx, image, &classes));
    logits = mm_tensor_const_data(mm_tensor_map_get(out, "shape_logits"));
    for (int i = 0; i < 3; i++) sum += expf(logits[i]);
    for (int i = 0; i < 3; i++) assert_float_equal(((const float *)mm_tensor_const_data(classes))[i], expf(logits[i]) / sum, 1e-6);
    mm_tensor_release(classes);
    ok(f->ctx, mm_model_classify_labels(m, f->ctx, image, texts, 3, "{}", &scores));
    for (int i = 0; i < 3; i++) {
        float dot = 0;
        for (int d = 0; d < 6; d++) dot += ((const float *)mm_tensor_const_data(vectors))[6 * i + d] * ((const float *)mm_tensor_const_data(picture))[d];
        assert_float_equal(((const float *)mm_tensor_const_data(scores))[i], 1 / (1 + expf(-(expf(scale) * dot + bias))), 1e-5);
    }
    refused(f->ctx, mm_model_classify_text(m, f->ctx, "the inn", &classes), MM_E_ARGUMENT, "pixel_values", NULL);
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(out);
    ok(f->ctx, mm_audio_create(f->ctx, 16000, samples, 16000, &sound));
    ok(f->ctx, mm_model_preprocess_audio(m, f->ctx, sound, &in));
    out = forward_named(f, m, in, "noise_logits");
    mm_tensor_map_destroy(in);
    mm_tensor_map_destroy(out);
    mm_audio_destroy(sound);
    mm_image_destroy(image);
    mm_tensor_release(vectors);
    mm_tensor_release(picture);
    mm_tensor_release(pixels);
    mm_tensor_release(scores);
    mm_tensor_map_destroy(map);
    mm_model_release(m);
}

typedef struct {
    size_t pairs;
} tie_count;

static void count_tie(void *arg, const mmi_weight *a, const mmi_weight *b)
{
    tie_count *c = arg;
    const char *x = a->name, *y = b->name;

    c->pairs++;
    assert_int_equal(strncmp(x, "fusion.answer.", 14), 0);
    assert_int_equal(strncmp(y, "fusion.count.", 13), 0);
    assert_string_equal(x + 14, y + 13);
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->cols, b->cols);
}

/* Two trunks, that of answer and match and that of count: each weight with its like. */
static void test_ties(void **state)
{
    static const struct {
        const char *model;
        size_t pairs;
    } cases[] = {{"mm_early_l2", 2 * 5 + 2 * 16}, {"mm_interactive_l2", 3 * (5 + 2 * 26)}, {"mm_late_l2", 2}, {"mm_early_stitch", 0}, {"mm_early_hard", 0}, {"vit", 0}};
    fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_model *m = open_golden(f->ctx, cases[i].model);
        tie_count c = {0};
        mmi_composite_ties(m, count_tie, &c);
        if (c.pairs != cases[i].pairs) fail_msg("%s: %zu pairs, expected %zu", cases[i].model, c.pairs, cases[i].pairs);
        assert_int_equal(mmi_composite_of(m) != NULL, strncmp(cases[i].model, "mm_", 3) == 0);
        mm_model_release(m);
    }
}

static void test_out_of_memory(void **state)
{
    static const char *const models[][2] = {{"mm_interactive_stitch", "plain"}, {"mm_towers", "all"}, {"mm_video_concat", "two"}, {"mm_from", "one"}, {"mm_across", "padded"}};
    fixture *f = *state;

    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        mm_tensor_map *in = read_golden(f->ctx, models[i][0], models[i][1], "in");
        mm_status st = MM_E_NOMEM;
        char path[128];
        size_t before;
        (void)snprintf(path, sizeof path, MODELS "%s", models[i][0]);
        mm_model_release(open_golden(f->ctx, models[i][0])); /* makes what the context keeps */
        before = f->allocator.live;
        for (long k = 1; st; k++) {
            mm_model *m = NULL;
            mm_tensor_map *out = NULL;
            f->allocator.count = 0;
            f->allocator.fail_at = k;
            st = mm_model_open(f->ctx, path, &m);
            if (!st) st = mm_model_forward(m, f->ctx, in, &out);
            f->allocator.fail_at = 0;
            if (st && st != MM_E_NOMEM) fail_msg("%s: allocation %ld failing: %s, %s", path, k, mm_status_name(st), mm_context_error(f->ctx));
            mm_tensor_map_destroy(out);
            mm_model_release(m);
            if (f->allocator.live != before) fail_msg("%s: with allocation %ld failing something stays", path, k);
        }
        mm_tensor_map_destroy(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_configurations, setup, teardown),       cmocka_unit_test_setup_teardown(test_counts_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outputs_by_name, setup, teardown),      cmocka_unit_test_setup_teardown(test_parts_from_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_weights_of_a_part, setup, teardown), cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ties, setup, teardown),                 cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("composite", tests, NULL, NULL);
}
