/* src/formats/hf_directory.c on directories that transformers saved (tests/golden/make_formats.py) and on incomplete ones.
 * SPDX-License-Identifier: MIT */
#include "formats_fixture.h"
#include "hf_directory.h"

static mm_status visit(mm_context *ctx, const char *path)
{
    mmi_hf_directory *d;
    mm_status st = mmi_hf_directory_open(ctx, path, &d);
    if (st) assert_null(d);
    mmi_hf_directory_destroy(d);
    return st;
}

static void add(const fixture *f, const char *name, const char *text)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", f->folder, name);
    write_file(path, text, strlen(text));
}

static void drop(const fixture *f, const char *name)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", f->folder, name);
    assert_int_equal(unlink(path), 0);
}

/* A header of no tensors. */
static void add_weights(const fixture *f, const char *name)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", f->folder, name);
    write_file(path, "\2\0\0\0\0\0\0\0{}", 10);
}

static void expect(const fixture *f, mm_status status, const char *sentence)
{
    mm_status st = visit(f->ctx, f->folder);
    if (st != status) fail_msg("%d (%s) for what should be \"%s\"", st, f->ctx->error, sentence);
    if (status) assert_sentence(f, sentence);
    assert_int_equal(used_now(f), f->used);
}

static void opens_what_transformers_saved(void **state)
{
    fixture *f = *state;
    mmi_hf_directory *d;
    const mmi_safetensors_tensor *t;
    int64_t size = 0;
    int mean = 0;
    const char *type = NULL;

    assert_int_equal(mmi_hf_directory_open(f->ctx, "tests/golden/formats/hf_bert", &d), MM_OK);
    assert_string_equal(d->path, "tests/golden/formats/hf_bert");
    assert_int_equal(mmi_json_text(f->ctx, d->config, mmi_json_root(d->config), "model_type", 1, &type), MM_OK);
    assert_string_equal(type, "bert");
    assert_int_equal(mmi_json_i64(f->ctx, d->config, mmi_json_root(d->config), "hidden_size", 1, 1, 1 << 20, &size), MM_OK);
    assert_int_equal(size, 4);
    assert_int_equal(mmi_json_kind_of(mmi_json_get(mmi_json_get(mmi_json_root(d->tokenizer), "model"), "vocab")), MMI_JSON_OBJECT);
    assert_string_equal(mmi_json_string(mmi_json_get(mmi_json_root(d->tokenizer_config), "pad_token")), "[PAD]");
    assert_int_equal(mmi_json_count(mmi_json_root(d->modules)), 3);
    assert_int_equal(mmi_json_bool(f->ctx, d->pooling, mmi_json_root(d->pooling), "pooling_mode_mean_tokens", 1, &mean), MM_OK);
    assert_int_equal(mean, 1);
    assert_null(d->generation_config);
    assert_null(d->preprocessor_config);
    assert_null(d->processor_config);
    assert_null(d->chat_template_json);
    assert_null(d->chat_template);
    t = mmi_safetensors_find(d->weights, "embeddings.word_embeddings.weight");
    assert_non_null(t);
    assert_true(t->dtype == MM_DTYPE_F16 && t->rank == 2 && t->shape[0] == 8 && t->shape[1] == 4);
    mmi_hf_directory_destroy(d);
    mmi_hf_directory_destroy(NULL);

    assert_int_equal(mmi_hf_directory_open(f->ctx, "tests/golden/formats/hf_bert_sharded/", &d), MM_OK);
    assert_non_null(mmi_safetensors_find(d->weights, "embeddings.word_embeddings.weight"));
    assert_null(d->tokenizer);
    assert_null(d->modules);
    assert_null(d->pooling);
    mmi_hf_directory_destroy(d);
}

static void reads_every_file(void **state)
{
    fixture *f = *state;
    mmi_hf_directory *d;

    add(f, "config.json", "{\"n\":1}");
    add(f, "generation_config.json", "{\"n\":2}");
    add(f, "tokenizer.json", "{\"n\":3}");
    add(f, "tokenizer_config.json", "{\"n\":4}");
    add(f, "preprocessor_config.json", "{\"n\":5}");
    add(f, "processor_config.json", "{\"n\":6}");
    add(f, "chat_template.json", "{\"n\":7}");
    add(f, "chat_template.jinja", "{{ messages }}é\n");
    add(f, "modules.json", "[]");
    add_weights(f, "model.safetensors");
    assert_int_equal(mmi_hf_directory_open(f->ctx, f->folder, &d), MM_OK);
    {
        const mmi_json *documents[] = {d->config,           d->generation_config, d->tokenizer,         d->tokenizer_config, d->preprocessor_config,
                                       d->processor_config, d->chat_template_json};
        for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
            double n = 0;
            assert_true(mmi_json_number(mmi_json_get(mmi_json_root(documents[i]), "n"), &n));
            assert_true(n == (double)i + 1);
        }
    }
    assert_string_equal(d->chat_template, "{{ messages }}é\n");
    assert_int_equal(mmi_json_kind_of(mmi_json_root(d->modules)), MMI_JSON_ARRAY);
    assert_null(d->pooling);
    mmi_hf_directory_destroy(d);
}

static void names_what_is_missing(void **state)
{
    fixture *f = *state;
    mm_status st = visit(f->ctx, "tests/golden/formats/none");

    assert_int_equal(st, MM_E_NOT_FOUND);
    expect(f, MM_E_NOT_FOUND, "has no config.json");
    assert_sentence(f, f->folder);
    add(f, "config.json", "{");
    expect(f, MM_E_FORMAT, "config.json: ");
    add(f, "config.json", "{}");
    expect(f, MM_E_NOT_FOUND, "has neither model.safetensors nor model.safetensors.index.json");
    add(f, "pytorch_model.bin", "");
    expect(f, MM_E_UNSUPPORTED, "has its weights in pytorch_model.bin, which is not read");
    drop(f, "pytorch_model.bin");
    add(f, "pytorch_model.bin.index.json", "{}");
    expect(f, MM_E_UNSUPPORTED, "pytorch_model.bin.index.json");
    drop(f, "pytorch_model.bin.index.json");
    add(f, "model.safetensors.index.json", "{\"weight_map\":{\"a\":\"part\"}}");
    expect(f, MM_E_NOT_FOUND, "/part");
    add_weights(f, "part");
    expect(f, MM_E_FORMAT, "tensor a is not in part");
    add(f, "pytorch_model.bin", "");
    add_weights(f, "model.safetensors");
    expect(f, MM_OK, "one file goes before shards and pickles");
    add(f, "tokenizer_config.json", "{\"a\":01}");
    expect(f, MM_E_FORMAT, "tokenizer_config.json: ");
    drop(f, "tokenizer_config.json");
    add(f, "chat_template.jinja", "\xFF");
    expect(f, MM_E_FORMAT, "chat_template.jinja is not text in UTF-8");
}

static void finds_the_pooling(void **state)
{
    fixture *f = *state;
    char folder[160];

    add(f, "config.json", "{}");
    add_weights(f, "model.safetensors");
    add(f, "modules.json", "{}");
    expect(f, MM_E_FORMAT, "modules.json must be an array");
    add(f, "modules.json", "[1,{\"type\":2},{\"type\":\"Pooling\"},{\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"}]");
    expect(f, MM_OK, "no pooling");
    add(f, "modules.json", "[{\"type\":\"sentence_transformers.models.Pooling\"}]");
    expect(f, MM_E_FORMAT, "\"path\" is missing");
    add(f, "modules.json", "[{\"type\":\"sentence_transformers.models.Pooling\",\"path\":\"../1_Pooling\"}]");
    expect(f, MM_E_FORMAT, "path ../1_Pooling is not the name of a folder beside it");
    add(f, "modules.json", "[{\"type\":\"sentence_transformers.models.Pooling\",\"path\":\"1_Pooling\"}]");
    expect(f, MM_E_NOT_FOUND, "1_Pooling/config.json");
    (void)snprintf(folder, sizeof folder, "%s/1_Pooling", f->folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    add(f, "1_Pooling/config.json", "{}");
    expect(f, MM_OK, "pooling");
}

static void survives_failing_allocations(void **state)
{
    visit_out_of_memory(*state, visit, "tests/golden/formats/hf_bert");
    visit_out_of_memory(*state, visit, "tests/golden/formats/hf_bert_sharded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opens_what_transformers_saved, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_every_file, setup, teardown),
        cmocka_unit_test_setup_teardown(names_what_is_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_the_pooling, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
    };
    return cmocka_run_group_tests_name("hf_directory", tests, NULL, NULL);
}
