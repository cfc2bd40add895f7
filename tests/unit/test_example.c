/* Chats about pictures as examples: the tokens are those of transformers' processors, and the labels the answers between them
 * (tests/golden/make_label_mask.py); what does not fit or has no place for pictures is refused. SPDX-License-Identifier: MIT */
#include "trainer_fixture.h"

#include "example.h"

static mm_model *open_model(mm_context *ctx, const char *name)
{
    mm_model *m = NULL;
    char path[600];

    (void)snprintf(path, sizeof path, "%s/tests/golden/pipelines/%s", home, name);
    ok(ctx, mmi_model_open_trainable(ctx, path, &m));
    return m;
}

static mm_status make(mm_context *ctx, const mm_model *m, const mmi_json_node *c, int64_t max_tokens, mmi_example *e)
{
    const mmi_train_task task = {.name = "chat", .objective = {.kind = MMI_OBJECTIVE_CHAT}, .max_tokens = max_tokens};
    static const char *const names[] = {"0.png", "1.png"};
    const char *images[2];
    mmi_chat_message messages[8] = {{0}};
    mmi_record record = {.where = "chats.jsonl:1", .images = images, .messages = messages};
    mmi_example_maker maker;
    int64_t pictures = 0;
    mm_status st;

    assert_true(mmi_json_integer(mmi_json_get(c, "pictures"), &pictures));
    for (; record.image_count < (size_t)pictures; record.image_count++) {
        write_picture(ctx, names[record.image_count], 1, 0);
        images[record.image_count] = in_folder(names[record.image_count]);
    }
    for (const mmi_json_node *n = mmi_json_first(mmi_json_get(c, "messages")); n; n = mmi_json_next(n)) {
        messages[record.message_count].role = mmi_json_string(mmi_json_get(n, "role"));
        messages[record.message_count++].content = mmi_json_string(mmi_json_get(n, "content"));
    }
    st = mmi_example_maker_init(ctx, m, &task, NULL, 0, 0, &maker);
    if (!st) st = mmi_example_make(ctx, &maker, &record, 0, 0, e);
    mmi_example_maker_clear(&maker);
    return st;
}

static int64_t next_integer(const mmi_json_node **node)
{
    int64_t x = 0;
    assert_true(mmi_json_integer(*node, &x));
    *node = mmi_json_next(*node);
    return x;
}

static void test_equals_transformers(void **state)
{
    mm_context *ctx = context_of(1);
    mmi_json *doc = NULL;
    size_t cases = 0;
    (void)state;

    ok(ctx, mmi_json_read(ctx, "tests/golden/training/chat_pictures.json", 1 << 20, &doc));
    for (const mmi_json_node *c = mmi_json_first(mmi_json_root(doc)); c; c = mmi_json_next(c), cases++) {
        const mmi_json_node *id = mmi_json_first(mmi_json_get(c, "ids")), *label = mmi_json_first(mmi_json_get(c, "mask"));
        mm_model *m = open_model(ctx, mmi_json_string(mmi_json_get(c, "model")));
        mmi_example e = {0};
        const mmi_written *w = &e.written[0];
        size_t labels = 0;
        int64_t shorter = 0;

        ok(ctx, make(ctx, m, c, 512, &e));
        for (size_t t = 0; id; t++) { /* what no label needs is cut off at the end */
            const int64_t wanted = next_integer(&id);
            if (t < w->ids.count) assert_int_equal(w->ids.data[t], wanted);
            if (!next_integer(&label)) continue;
            assert_true(labels < w->labels.count);
            assert_int_equal(w->positions.data[labels], t - 1);
            assert_int_equal(w->labels.data[labels++], wanted);
            shorter = (int64_t)t - 1;
        }
        assert_true(labels > 3);
        assert_int_equal(w->labels.count, labels);
        assert_non_null(e.media);
        mmi_example_clear(&e);

        assert_int_equal(make(ctx, m, c, shorter, &e), MM_E_LIMIT);
        assert_non_null(strstr(ctx->error, "chats.jsonl:1"));
        mmi_example_clear(&e);
        mm_model_release(m);
    }
    assert_int_equal(cases, 6);
    {
        const mmi_json_node *c = mmi_json_first(mmi_json_root(doc));
        mm_model *m = open_model(ctx, "mllama"); /* which attends across to its pictures */
        mmi_example e = {0};
        assert_int_equal(make(ctx, m, c, 512, &e), MM_E_UNSUPPORTED);
        assert_non_null(strstr(ctx->error, "pictures in a chat"));
        mmi_example_clear(&e);
        mm_model_release(m);
    }
    mmi_json_destroy(doc);
    mm_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_equals_transformers)};
    return cmocka_run_group_tests(tests, folder_begin, folder_end);
}
