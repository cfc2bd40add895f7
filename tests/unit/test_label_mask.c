/* Which tokens are learned: equal to transformers' assistant masks (tests/golden/make_label_mask.py); templates that cannot
 * serve; failing allocations. SPDX-License-Identifier: MIT */
#include "tokenizer_fixture.h"

#include "label_mask.h"

static mmi_chat_template *parse_template(const fixture *f, const char *text)
{
    mmi_chat_template *tpl = NULL;
    if (mmi_chat_template_create(f->ctx, text, strlen(text), &tpl)) fail_msg("%s", f->ctx->error);
    return tpl;
}

static mm_status write_chat(mm_context *ctx, const void *self, const mmi_chat_message *messages, size_t count, int prompt, mmi_text *out)
{
    const mmi_chat_options options = {.add_generation_prompt = prompt};
    return mmi_chat_template_render(ctx, self, messages, count, &options, out);
}

static size_t read_chat(const mmi_json_node *array, mmi_chat_message *messages)
{
    size_t n = 0;
    memset(messages, 0, 8 * sizeof *messages);
    for (const mmi_json_node *m = mmi_json_first(array); m; m = mmi_json_next(m), n++) {
        messages[n].role = mmi_json_string(mmi_json_get(m, "role"));
        messages[n].content = mmi_json_string(mmi_json_get(m, "content"));
    }
    return n;
}

static void equals_transformers(void **state)
{
    fixture *f = *state;
    mmi_json *doc = read_json(f, "tests/golden/training/label_mask.json");
    size_t cases = 0;

    for (const mmi_json_node *c = mmi_json_first(mmi_json_root(doc)); c; c = mmi_json_next(c), cases++) {
        mmi_tokenizer *t = open_golden(f, mmi_json_string(mmi_json_get(c, "tokenizer")));
        mmi_chat_template *tpl = parse_template(f, mmi_json_string(mmi_json_get(c, "template")));
        mmi_chat_message messages[8];
        const size_t n = read_chat(mmi_json_get(c, "messages"), messages);
        mmi_ids ids = {0}, mask = {0};

        if (mmi_label_mask_chat(f->ctx, t, write_chat, tpl, messages, n, &ids, &mask)) fail_msg("case %zu: %s", cases, f->ctx->error);
        assert_ids(&ids, mmi_json_get(c, "ids"));
        assert_int_equal(mask.count, ids.count);
        for (size_t i = 0; i < mask.count; i++) {
            int64_t wanted = -1;
            assert_true(mmi_json_integer(at(mmi_json_get(c, "mask"), (int64_t)i), &wanted));
            if (mask.data[i] != wanted) fail_msg("case %zu: token %zu of %zu is %d", cases, i, mask.count, mask.data[i]);
        }
        mmi_free(ids.data);
        mmi_free(mask.data);
        mmi_chat_template_destroy(tpl);
        mmi_tokenizer_release(t);
    }
    assert_int_equal(cases, 28);
    mmi_json_destroy(doc);
}

static void refuses_what_cannot_serve(void **state)
{
    static const struct {
        const char *text;
        mm_status status;
        const char *says;
    } cases[] = {
        {"{% for m in messages %}{{ loop.last and m.content or '-' }}{% endfor %}", MM_E_UNSUPPORTED,
         "message"}, /* the last one is written otherwise */
        {"{{ messages | length }}", MM_E_UNSUPPORTED, "message"},
        {"{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}and on{% endif %}", MM_E_UNSUPPORTED, "message"},
        {"{{ raise_exception('no such chats') }}", MM_E_FORMAT, "no such chats"},
    };
    static const mmi_chat_message chat[] = {
        {.role = "user", .content = "q"}, {.role = "assistant", .content = "yes"}, {.role = "user", .content = "r"}};
    fixture *f = *state;
    mmi_tokenizer *t = open_golden(f, "smollm");
    mmi_ids ids = {0}, mask = {0};

    assert_int_equal(mmi_ids_add(f->ctx, &ids, 7), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_chat_template *tpl = parse_template(f, cases[i].text);
        if (mmi_label_mask_chat(f->ctx, t, write_chat, tpl, chat, 3, &ids, &mask) != cases[i].status)
            fail_msg("%s: %s", cases[i].text, f->ctx->error);
        assert_sentence(f, cases[i].says);
        assert_int_equal(ids.count, 1);
        assert_int_equal(mask.count, 0);
        mmi_chat_template_destroy(tpl);
    }
    {
        mmi_chat_template *tpl = parse_template(f, "{% for m in messages %}{{ m.content }}{% endfor %}");
        assert_int_equal(mmi_label_mask_chat(f->ctx, t, write_chat, tpl, chat, 1, &ids, &mask), MM_E_FORMAT); /* a question alone */
        assert_sentence(f, "no answer");
        assert_int_equal(mmi_label_mask_chat(f->ctx, t, write_chat, tpl, chat, 0, &ids, &mask), MM_E_FORMAT);
        mmi_chat_template_destroy(tpl);
        /* nothing is written at all, and less for more messages */
        tpl = parse_template(f, "");
        assert_int_equal(mmi_label_mask_chat(f->ctx, t, write_chat, tpl, chat, 3, &ids, &mask), MM_OK);
        assert_int_equal(ids.count, 1);
        mmi_chat_template_destroy(tpl);
        tpl = parse_template(f, "{{ 'abc' if messages | length == 1 or messages | length > 2 else 'ab' }}");
        assert_int_equal(mmi_label_mask_chat(f->ctx, t, write_chat, tpl, chat, 3, &ids, &mask), MM_E_UNSUPPORTED);
        mmi_chat_template_destroy(tpl);
    }
    mmi_free(ids.data);
    mmi_free(mask.data);
    mmi_tokenizer_release(t);
}

static void survives_failing_allocations(void **state)
{
    static const mmi_chat_message chat[] = {{.role = "user", .content = "some question"}, {.role = "assistant", .content = "yes, it is"}};
    fixture *f = *state;
    mmi_tokenizer *t = open_golden(f, "llama2");
    mmi_chat_template *tpl = parse_template(f, "{% for m in messages %}{{ m.role + ':' + m.content + '</s>' }}{% endfor %}"
                                               "{% if add_generation_prompt %}assistant:{% endif %}");
    const int64_t used = used_now(f);
    mm_status st = MM_E_NOMEM;

    for (long k = 1; st; k++) {
        mmi_ids ids = {0}, mask = {0};
        f->allocator.count = 0;
        f->allocator.fail_at = k;
        st = mmi_label_mask_chat(f->ctx, t, write_chat, tpl, chat, 2, &ids, &mask);
        f->allocator.fail_at = 0;
        assert_true(st == MM_E_NOMEM || (st == MM_OK && f->allocator.count < k && mask.count));
        if (st) assert_int_equal(ids.count + mask.count, 0);
        mmi_free(ids.data);
        mmi_free(mask.data);
        assert_int_equal(used_now(f), used);
    }
    mmi_chat_template_destroy(tpl);
    mmi_tokenizer_release(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equals_transformers, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_cannot_serve, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
