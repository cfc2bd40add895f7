/* src/tokenizer/post_processor.c: the templates, and files that name tokens there are none of. The ids that come out are
 * also in the goldens of test_tokenizer.c. SPDX-License-Identifier: MIT */
#include "post_processor.h"
#include "tokenizer_fixture.h"

static void assert_processed(fixture *f, const char *json, int special, const char *single, const char *pair, const char *types)
{
    mmi_json *doc = json ? parse_json(f, json) : NULL, *expected[3] = {parse_json(f, single), parse_json(f, pair), parse_json(f, types)};
    int32_t a_ids[] = {10, 11}, b_ids[] = {20};
    mmi_ids a = {a_ids, 2, 2}, b = {b_ids, 1, 1}, ids = {0}, type_ids = {0};
    mmi_post_processor p;

    if (mmi_post_processor_load(f->ctx, doc, doc ? mmi_json_root(doc) : NULL, 100, &p)) fail_msg("%s", f->ctx->error);
    assert_int_equal(mmi_post_processor_run(f->ctx, &p, &a, NULL, special, &ids, NULL), MM_OK);
    assert_ids(&ids, mmi_json_root(expected[0]));
    ids.count = 0;
    assert_int_equal(mmi_post_processor_run(f->ctx, &p, &a, &b, special, &ids, &type_ids), MM_OK);
    assert_ids(&ids, mmi_json_root(expected[1]));
    assert_ids(&type_ids, mmi_json_root(expected[2]));
    mmi_free(ids.data);
    mmi_free(type_ids.data);
    for (int i = 0; i < 3; i++) mmi_json_destroy(expected[i]);
    mmi_json_destroy(doc);
}

#define TEMPLATE \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"S\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]," \
    "\"pair\":[{\"Sequence\":{\"id\":\"B\",\"type_id\":2}},{\"SpecialToken\":{\"id\":\"S\",\"type_id\":3}},{\"Sequence\":{\"id\":\"A\",\"type_id\":1}}]," \
    "\"special_tokens\":{\"S\":{\"id\":\"S\",\"ids\":[1,2],\"tokens\":[\"S\",\"T\"]}}}"

static void test_templates(void **state)
{
    fixture *f = *state;
    static const char bert[] = "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}";
    static const char roberta[] = "{\"type\":\"RobertaProcessing\",\"sep\":[\"</s>\",3],\"cls\":[\"<s>\",2],\"trim_offsets\":true,\"add_prefix_space\":true}";

    assert_processed(f, NULL, 1, "[10,11]", "[10,11,20]", "[0,0,1]");
    assert_processed(f, "{\"type\":\"ByteLevel\"}", 1, "[10,11]", "[10,11,20]", "[0,0,1]");
    assert_processed(f, bert, 1, "[2,10,11,3]", "[2,10,11,3,20,3]", "[0,0,0,0,1,1]");
    assert_processed(f, bert, 0, "[10,11]", "[10,11,20]", "[0,0,1]");
    assert_processed(f, roberta, 1, "[2,10,11,3]", "[2,10,11,3,3,20,3]", "[0,0,0,0,0,0,0]");
    assert_processed(f, roberta, 0, "[10,11]", "[10,11,20]", "[0,0,0]");
    assert_processed(f, TEMPLATE, 1, "[1,2,10,11]", "[20,1,2,10,11]", "[2,3,3,1,1]");
    assert_processed(f, TEMPLATE, 0, "[10,11]", "[20,10,11]", "[2,1,1]");
    assert_processed(f, "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"}," TEMPLATE "]}", 1, "[1,2,10,11]", "[20,1,2,10,11]",
                     "[2,3,3,1,1]");
}

static void test_refused(void **state)
{
    static const struct {
        const char *json, *sentence;
        mm_status status;
    } cases[] = {
        {"{\"type\":\"Sharpen\"}", "Sharpen", MM_E_UNSUPPORTED},
        {"{\"type\":\"Sequence\",\"processors\":[" TEMPLATE "," TEMPLATE "]}", "twice", MM_E_UNSUPPORTED},
        {"{\"type\":\"Sequence\"}", "processors", MM_E_FORMAT},
        {"{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",100],\"cls\":[\"[CLS]\",2]}", "sep", MM_E_FORMAT}, /* past the vocabulary */
        {"{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",-1]}", "cls", MM_E_FORMAT},
        {"{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",1.5]}", "cls", MM_E_FORMAT},
        {"{\"type\":\"BertProcessing\",\"sep\":7}", "sep", MM_E_FORMAT},
        {"{\"type\":\"TemplateProcessing\",\"single\":{}}", "single", MM_E_FORMAT},
        {"{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"X\",\"type_id\":0}}]}", "X has no ids", MM_E_FORMAT},
        {"{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}]}", "names the sequence B", MM_E_FORMAT},
        {"{\"type\":\"TemplateProcessing\",\"single\":[]}", "once", MM_E_FORMAT},
        {"{\"type\":\"TemplateProcessing\",\"single\":[7]}", "neither", MM_E_FORMAT},
        {"{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"S\",\"type_id\":0}}],\"special_tokens\":{\"S\":{\"ids\":[4e9]}}}",
         "no token", MM_E_FORMAT},
    };
    fixture *f = *state;
    mmi_template t = {.count = 0};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_json *doc = parse_json(f, cases[i].json);
        mmi_post_processor p;
        assert_int_equal(mmi_post_processor_load(f->ctx, doc, mmi_json_root(doc), 100, &p), cases[i].status);
        assert_sentence(f, cases[i].sentence);
        mmi_json_destroy(doc);
    }
    for (int i = 0; i < MMI_TEMPLATE_MAX_PIECES; i++) assert_int_equal(mmi_template_add(f->ctx, &t, "file", 1, 0), MM_OK);
    assert_int_equal(mmi_template_add(f->ctx, &t, "file", 1, 0), MM_E_LIMIT);
}

/* Two texts whose ids together are more than an int32_t counts: refused before they are touched. */
static void test_too_many(void **state)
{
    fixture *f = *state;
    int32_t one = 1;
    mmi_ids a = {&one, INT32_MAX, INT32_MAX}, ids = {0};
    mmi_post_processor p;

    mmi_post_processor_init(&p);
    assert_int_equal(mmi_ids_add(f->ctx, &ids, 1), 0);
    assert_int_equal(mmi_post_processor_run(f->ctx, &p, &a, NULL, 0, &ids, NULL), MM_E_OVERFLOW);
    mmi_free(ids.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_templates, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_too_many, setup, teardown)};
    return cmocka_run_group_tests_name("post_processor", tests, NULL, NULL);
}
