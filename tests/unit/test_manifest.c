/* Manifests: every field, paths beside the manifest, several files, splits that stay; broken lines of all kinds, each with its file, line
 * and key; damaged files; failing allocations. SPDX-License-Identifier: MIT */
#include "formats_fixture.h"

#include <math.h>

#include "manifest.h"

static void write_text(const fixture *f, const char *name, const char *text)
{
    char path[192];
    (void)snprintf(path, sizeof path, "%s/%s", f->folder, name);
    write_file(path, text, strlen(text));
}

static mmi_manifest *open_file(const fixture *f)
{
    const char *path = f->path;
    mmi_manifest *m = NULL;
    if (mmi_manifest_open(f->ctx, &path, 1, &m)) fail_msg("%s", f->ctx->error);
    return m;
}

static void ends_with(const char *text, const char *end)
{
    assert_non_null(text);
    assert_true(strlen(text) >= strlen(end));
    assert_string_equal(text + strlen(text) - strlen(end), end);
}

static void reads_every_field(void **state)
{
    static const char text[] =
        "{\"image\": \"a.png\", \"audio\": \"b.wav\", \"video\": \".\", \"text\": \"t\", \"caption\": \"c\", \"question\": \"q\", "
        "\"answer\": \"a\","
        " \"prompt\": \"p\", \"chosen\": \"x\", \"rejected\": \"y\", \"label\": \"cat\", \"labels\": {\"h\": 3, \"g\": \"dog\"}, "
        "\"value\": 1.5}\r\n"
        "\n  \t\r\n"
        "{\"image\": [\"a.png\", \"./b.wav\"], \"value\": [1, -2e3], \"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
        "\"image\"}, {\"type\": "
        "\"text\", \"text\": \"hi\"}]}, {\"content\": \"yes\", \"role\": \"assistant\"}], \"label\": 2, \"text\": null}";
    fixture *f = *state;
    mmi_manifest *m;
    mmi_record r = {0};

    write_bytes(f, text, strlen(text));
    write_text(f, "a.png", "x");
    write_text(f, "b.wav", "x");
    m = open_file(f);
    assert_int_equal(mmi_manifest_count(m), 2);
    if (mmi_manifest_read(f->ctx, m, 0, &r)) fail_msg("%s", f->ctx->error);
    ends_with(r.where, "/file:1");
    assert_int_equal(r.image_count, 1);
    ends_with(r.images[0], "/a.png");
    assert_memory_equal(r.images[0], f->folder, strlen(f->folder));
    ends_with(r.audio, "/b.wav");
    ends_with(r.video, "/.");
    assert_string_equal(r.text, "t");
    assert_string_equal(r.caption, "c");
    assert_string_equal(r.question, "q");
    assert_string_equal(r.answer, "a");
    assert_string_equal(r.prompt, "p");
    assert_string_equal(r.chosen, "x");
    assert_string_equal(r.rejected, "y");
    assert_int_equal(r.label_count, 3);
    assert_null(r.labels[0].head);
    assert_string_equal(r.labels[0].name, "cat");
    assert_string_equal(r.labels[1].head, "h");
    assert_null(r.labels[1].name);
    assert_int_equal(r.labels[1].index, 3);
    assert_string_equal(r.labels[2].name, "dog");
    assert_int_equal(r.value_count, 1);
    assert_true(r.values[0] == 1.5);
    assert_null(r.messages);

    if (mmi_manifest_read(f->ctx, m, 1, &r)) fail_msg("%s", f->ctx->error);
    ends_with(r.where, "/file:4"); /* lines of white space are counted, but are no examples */
    assert_int_equal(r.image_count, 2);
    ends_with(r.images[1], "/./b.wav");
    assert_null(r.text);
    assert_null(r.audio);
    assert_int_equal(r.message_count, 2);
    assert_null(r.messages[0].content);
    assert_int_equal(r.messages[0].part_count, 2);
    assert_string_equal(r.messages[0].parts[0].type, "image");
    assert_null(r.messages[0].parts[0].text);
    assert_string_equal(r.messages[0].parts[1].text, "hi");
    assert_string_equal(r.messages[1].role, "assistant");
    assert_string_equal(r.messages[1].content, "yes");
    assert_int_equal(r.value_count, 2);
    assert_true(r.values[1] == -2000);
    assert_int_equal(r.labels[0].index, 2);
    mmi_record_clear(&r);
    mmi_record_clear(&r);
    mmi_manifest_close(m);
    mmi_manifest_close(NULL);
}

static void joins_several_files(void **state)
{
    fixture *f = *state;
    char paths[3][128];
    const char *list[3];
    mmi_manifest *m = NULL;
    mmi_record r = {0};

    write_text(f, "a", "{\"text\": \"1\"}\n{\"text\": \"2\"}\n");
    write_text(f, "b", "\n{\"text\": \"3\"}");
    write_text(f, "c", "{\"text\": \"4\"}\n\n\n{\"text\": \"5\"}\n");
    for (int i = 0; i < 3; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%c", f->folder, 'a' + i);
        list[i] = paths[i];
    }
    assert_int_equal(mmi_manifest_open(f->ctx, list, 3, &m), MM_OK);
    assert_int_equal(mmi_manifest_count(m), 5);
    for (size_t i = 0; i < 5; i++) {
        static const char *const ends[] = {"/a:1", "/a:2", "/b:2", "/c:1", "/c:4"};
        assert_int_equal(mmi_manifest_read(f->ctx, m, i, &r), MM_OK);
        assert_int_equal(r.text[0], '1' + (int)i);
        ends_with(r.where, ends[i]);
    }
    mmi_record_clear(&r);
    mmi_manifest_close(m);
    list[2] = "/nowhere/at all";
    assert_int_equal(mmi_manifest_open(f->ctx, list, 3, &m), MM_E_NOT_FOUND);
    assert_null(m);
    write_text(f, "b", "\n \n");
    assert_int_equal(mmi_manifest_open(f->ctx, list, 2, &m), MM_E_FORMAT);
    assert_sentence(f, "/b holds no examples");
    write_text(f, "b", "");
    assert_int_equal(mmi_manifest_open(f->ctx, list, 2, &m), MM_E_FORMAT);
    list[1] = f->folder;
    assert_int_equal(mmi_manifest_open(f->ctx, list, 2, &m), MM_E_IO);
    assert_int_equal(mmi_manifest_open(f->ctx, list, 0, &m), MM_E_LIMIT);
}

static void says_what_is_wrong_and_where(void **state)
{
    static const struct {
        const char *line;
        mm_status status;
        const char *says;
    } cases[] = {
        {"{\"text\": \"a\"", MM_E_FORMAT, "file:2: "},
        {"{\"text\": \"a\"} x", MM_E_FORMAT, "behind the document"},
        {"[1]", MM_E_FORMAT, "object"},
        {"7", MM_E_FORMAT, "object"},
        {"\xEF\xBB\xBF{}", MM_E_FORMAT, "file:2: "},
        {"{\"text\": \"a\\u0000b\"}", MM_E_UNSUPPORTED, "u0000"},
        {"{\"txet\": \"a\"}", MM_E_FORMAT, "\"txet\" is no key"},
        {"{\"text\": 1}", MM_E_FORMAT, "\"text\" must be a string"},
        {"{\"text\": [\"a\"]}", MM_E_FORMAT, "\"text\" must be a string"},
        {"{\"text\": \"a\", \"text\": \"b\"}", MM_E_FORMAT, "\"text\" is given twice"},
        {"{\"image\": \"no.png\"}", MM_E_NOT_FOUND, "\"image\": there is no "},
        {"{\"image\": 3}", MM_E_FORMAT, "\"image\" must be a path"},
        {"{\"image\": []}", MM_E_FORMAT, "\"image\" must be a path"},
        {"{\"image\": [\"file\", 3]}", MM_E_FORMAT, "\"image\" must be a path"},
        {"{\"image\": \"\"}", MM_E_FORMAT, "\"image\" must be a path"},
        {"{\"image\": \".\"}", MM_E_FORMAT, "is a folder"},
        {"{\"audio\": \"/nowhere/x.wav\"}", MM_E_NOT_FOUND, "no /nowhere/x.wav"},
        {"{\"video\": {}}", MM_E_FORMAT, "\"video\" must be a path"},
        {"{\"label\": 1.5}", MM_E_FORMAT, "\"label\" must be"},
        {"{\"label\": -1}", MM_E_FORMAT, "\"label\" must be"},
        {"{\"label\": true}", MM_E_FORMAT, "\"label\" must be"},
        {"{\"labels\": [1]}", MM_E_FORMAT, "\"labels\" must be"},
        {"{\"labels\": {\"a\": 1, \"b\": {}}}", MM_E_FORMAT, "\"b\" must be"},
        {"{\"value\": \"1\"}", MM_E_FORMAT, "\"value\" must be"},
        {"{\"value\": 1e999}", MM_E_FORMAT, "\"value\" must be"},
        {"{\"value\": [1, null]}", MM_E_FORMAT, "\"value\" must be"},
        {"{\"value\": []}", MM_E_FORMAT, "\"value\" must be"},
        {"{\"messages\": []}", MM_E_FORMAT, "\"messages\" must be"},
        {"{\"messages\": {}}", MM_E_FORMAT, "\"messages\" must be"},
        {"{\"messages\": [1]}", MM_E_FORMAT, "no \"role\""},
        {"{\"messages\": [{\"content\": \"a\"}]}", MM_E_FORMAT, "message 0 has no \"role\""},
        {"{\"messages\": [{\"role\": \"a\"}]}", MM_E_FORMAT, "\"content\" of message 0"},
        {"{\"messages\": [{\"role\": \"a\", \"content\": \"b\", \"tool\": 1}]}", MM_E_FORMAT, "\"tool\" is no key"},
        {"{\"messages\": [{\"role\": \"a\", \"content\": [1]}]}", MM_E_FORMAT, "objects"},
        {"{\"messages\": [{\"role\": \"a\", \"content\": [{}]}]}", MM_E_FORMAT, "no \"type\""},
        {"{\"messages\": [{\"role\": \"a\", \"content\": [{\"type\": \"text\"}]}]}", MM_E_FORMAT, "\"text\""},
        {"{\"messages\": [{\"role\": \"a\", \"content\": [{\"type\": \"image\", \"text\": \"b\"}]}]}", MM_E_FORMAT, "\"text\""},
        {"{\"messages\": [{\"role\": \"a\", \"content\": [{\"type\": \"image\", \"url\": \"b\"}]}]}", MM_E_FORMAT, "\"url\""},
        {"{\"messages\": [{\"role\": \"a\", \"content\": [{\"type\": 1}]}]}", MM_E_FORMAT, "\"type\" must be a string"},
    };
    fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        mmi_manifest *m;
        mmi_record r = {0};

        (void)snprintf(text, sizeof text, "{\"text\": \"good\"}\n%s\n{}\n", cases[i].line);
        write_bytes(f, text, strlen(text));
        m = open_file(f);
        assert_int_equal(mmi_manifest_read(f->ctx, m, 0, &r), MM_OK);
        if (mmi_manifest_read(f->ctx, m, 1, &r) != cases[i].status) fail_msg("%s: %s", cases[i].line, f->ctx->error);
        assert_sentence(f, "/file:2: ");
        assert_sentence(f, cases[i].says);
        assert_null(r.where);
        assert_int_equal(mmi_manifest_read(f->ctx, m, 2, &r), MM_OK);
        mmi_record_clear(&r);
        mmi_manifest_close(m);
    }
}

static void bounds_lines_and_chats(void **state)
{
    const size_t n = MMI_MANIFEST_MAX_LINE;
    fixture *f = *state;
    char *text = malloc(n + 64);
    mmi_manifest *m;
    mmi_record r = {0};

    assert_non_null(text);
    memset(text, 'a', n + 64);
    memcpy(text, "{\"text\": \"", 10);
    memcpy(text + n - 2, "\"}\n{}", 5); /* n bytes: as long as allowed */
    write_bytes(f, text, n + 3);
    m = open_file(f);
    assert_int_equal(mmi_manifest_count(m), 2);
    assert_int_equal(mmi_manifest_read(f->ctx, m, 0, &r), MM_OK);
    mmi_record_clear(&r);
    mmi_manifest_close(m);
    memcpy(text + n - 2, "a\"}\n{}", 6);
    write_bytes(f, text, n + 4);
    m = open_file(f);
    assert_int_equal(mmi_manifest_read(f->ctx, m, 0, &r), MM_E_LIMIT);
    assert_sentence(f, "file:1: ");
    assert_int_equal(mmi_manifest_read(f->ctx, m, 1, &r), MM_OK);
    mmi_record_clear(&r);
    mmi_manifest_close(m);

    {
        size_t size = (size_t)sprintf(text, "{\"messages\": [");
        for (int i = 0; i <= MMI_RECORD_MAX_MESSAGES; i++)
            size += (size_t)sprintf(text + size, "%s{\"role\":\"r\",\"content\":\"\"}", i ? "," : "");
        size += (size_t)sprintf(text + size, "]}");
        write_bytes(f, text, size);
        m = open_file(f);
        assert_int_equal(mmi_manifest_read(f->ctx, m, 0, &r), MM_E_LIMIT);
        assert_sentence(f, "1025 messages");
        mmi_manifest_close(m);
    }
    free(text);
}

/* Lines, as many as asked for, of one file. */
static mmi_manifest *many_lines(const fixture *f, size_t n)
{
    char *text = malloc(n * 3);

    assert_non_null(text);
    for (size_t i = 0; i < n; i++) memcpy(text + i * 3, "{}\n", 3);
    write_bytes(f, text, n * 3);
    free(text);
    return open_file(f);
}

static void splits_for_good(void **state)
{
    fixture *f = *state;
    unsigned char side[5000];
    const size_t sizes[] = {5000, 3000};

    for (int k = 0; k < 2; k++) { /* and again with fewer lines */
        mmi_manifest *m = many_lines(f, sizes[k]);
        size_t seen = 0;

        for (int validation = 0; validation < 2; validation++) {
            size_t *lines = NULL, n = 0;
            assert_int_equal(mmi_manifest_split(f->ctx, m, 42, 0.1, validation, &lines, &n), MM_OK);
            for (size_t i = 0; i < n; i++) {
                if (i) assert_true(lines[i] > lines[i - 1]);
                assert_true(lines[i] < sizes[k]);
                if (k)
                    assert_int_equal(side[lines[i]], validation);
                else
                    side[lines[i]] = (unsigned char)validation;
            }
            if (!k && validation) assert_in_range(n, 500 - 85, 500 + 85); /* four standard deviations of 21.2 */
            seen += n;
            mmi_free(lines);
        }
        assert_int_equal(seen, sizes[k]);
        if (!k) {
            size_t *lines = NULL, n = 0, same = 0;
            assert_int_equal(mmi_manifest_split(f->ctx, m, 43, 0.1, 1, &lines, &n), MM_OK);
            for (size_t i = 0; i < n; i++) same += side[lines[i]];
            assert_true(same < n / 4); /* another seed holds out others */
            mmi_free(lines);
            assert_int_equal(mmi_manifest_split(f->ctx, m, 42, 0, 1, &lines, &n), MM_OK);
            assert_int_equal(n, 0);
            mmi_free(lines);
            assert_int_equal(mmi_manifest_split(f->ctx, m, 42, 1, 1, &lines, &n), MM_OK);
            assert_int_equal(n, 5000);
            mmi_free(lines);
        }
        mmi_manifest_close(m);
    }
}

static void finds_labels(void **state)
{
    static const struct {
        const char *line, *head, *says;
        size_t index;
    } cases[] = {
        {"{\"label\": \"dog\"}", NULL, NULL, 1},
        {"{\"label\": 2}", NULL, NULL, 2},
        {"{\"labels\": {\"x\": \"eel\"}}", "x", NULL, 2},
        {"{\"label\": 0, \"labels\": {\"x\": 1}}", "x", NULL, 1},
        {"{\"label\": 0, \"labels\": {\"x\": 1}}", NULL, NULL, 0},
        {"{\"label\": 3}", NULL, "\"label\" is 3, but there are 3", 0},
        {"{\"label\": \"cow\"}", NULL, "is \"cow\"", 0},
        {"{\"labels\": {\"x\": 1}}", NULL, "\"label\" is missing", 0},
        {"{\"label\": 1}", "x", "\"x\" is missing", 0},
        {"{\"labels\": {\"x\": 9007199254740992}}", "x", "but there are 3", 0},
    };
    fixture *f = *state;
    mmi_label_list list = {0};

    assert_int_equal(mmi_label_list_add(f->ctx, &list, "cat"), MM_OK);
    assert_int_equal(mmi_label_list_add(f->ctx, &list, "dog"), MM_OK);
    assert_int_equal(mmi_label_list_add(f->ctx, &list, "eel"), MM_OK);
    assert_int_equal(mmi_label_list_add(f->ctx, &list, "dog"), MM_E_ARGUMENT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmi_manifest *m;
        mmi_record r = {0};
        size_t index = 99;
        mm_status st;

        write_bytes(f, cases[i].line, strlen(cases[i].line));
        m = open_file(f);
        assert_int_equal(mmi_manifest_read(f->ctx, m, 0, &r), MM_OK);
        st = mmi_label_list_find(f->ctx, &list, &r, cases[i].head, &index);
        assert_int_equal(st, cases[i].says ? MM_E_FORMAT : MM_OK);
        if (cases[i].says) {
            assert_sentence(f, "file:1: ");
            assert_sentence(f, cases[i].says);
        } else {
            assert_int_equal(index, cases[i].index);
        }
        mmi_record_clear(&r);
        mmi_manifest_close(m);
    }
    mmi_label_list_clear(&list);
}

/* ---------------------------------------------------------------- damage */

static mm_status visit(mm_context *ctx, const char *path)
{
    mmi_manifest *m = NULL;
    mmi_record r = {0};
    mm_status st = mmi_manifest_open(ctx, &path, 1, &m);
    size_t *lines = NULL, n = 0;

    for (size_t i = 0; !st && i < mmi_manifest_count(m); i++) st = mmi_manifest_read(ctx, m, i, &r);
    if (!st) st = mmi_manifest_split(ctx, m, 1, 0.5, 1, &lines, &n);
    mmi_free(lines);
    mmi_record_clear(&r);
    mmi_manifest_close(m);
    return st;
}

static const char sample[] =
    "{\"image\": [\"file\"], \"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"q\"}]}], \"label\": 1}\n"
    "{\"text\": \"x\", \"value\": [1, 2.5], \"labels\": {\"a\": \"b\"}}\n";

static void survives_damage(void **state)
{
    fixture *f = *state;
    char golden[160];

    (void)snprintf(golden, sizeof golden, "%s/golden", f->folder);
    write_file(golden, sample, strlen(sample));
    visit_damaged(f, visit, golden, 0, strlen(sample));
}

static void survives_failing_allocations(void **state)
{
    fixture *f = *state;

    write_bytes(f, sample, strlen(sample));
    visit_out_of_memory(f, visit, f->path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_every_field, setup, teardown),
        cmocka_unit_test_setup_teardown(joins_several_files, setup, teardown),
        cmocka_unit_test_setup_teardown(says_what_is_wrong_and_where, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_lines_and_chats, setup, teardown),
        cmocka_unit_test_setup_teardown(splits_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
