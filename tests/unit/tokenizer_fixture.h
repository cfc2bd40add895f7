/* What the tests of src/tokenizer share, beside formats_fixture.h: goldens of tests/golden/make_tokenizers.py, JSON made
 * of strings, and comparisons. SPDX-License-Identifier: MIT */
#ifndef TOKENIZER_FIXTURE_H
#define TOKENIZER_FIXTURE_H

#include "formats_fixture.h"

#include "ids.h"
#include "json.h"
#include "text.h"
#include "tokenizer.h"

#define GOLDEN "tests/golden/tokenizers/"

static inline mmi_json *parse_json(const fixture *f, const char *text)
{
    mmi_json *doc = NULL;
    if (mmi_json_parse(f->ctx, "test", text, strlen(text), &doc)) fail_msg("%s", f->ctx->error);
    return doc;
}

static inline mmi_json *read_json(const fixture *f, const char *path)
{
    mmi_json *doc = NULL;
    if (mmi_json_read(f->ctx, path, 1 << 22, &doc)) fail_msg("%s", f->ctx->error);
    return doc;
}

static inline void set_text(const fixture *f, mmi_text *text, const char *content)
{
    text->size = 0;
    assert_int_equal(mmi_text_append(f->ctx, text, content, strlen(content)), 0);
}

static inline void assert_ids(const mmi_ids *ids, const mmi_json_node *expected)
{
    size_t i = 0;
    for (const mmi_json_node *n = mmi_json_first(expected); n; n = mmi_json_next(n), i++) {
        int64_t id = -1;
        assert_true(mmi_json_integer(n, &id));
        assert_true(i < ids->count);
        assert_int_equal(ids->data[i], id);
    }
    assert_int_equal(ids->count, i);
}

static inline void assert_bytes(const char *got, size_t n, const char *expected)
{
    if (n != strlen(expected) || (n && memcmp(got, expected, n))) fail_msg("\"%.*s\" is not \"%s\"", (int)n, got ? got : "", expected);
}

/* The node at an index of an array. */
static inline const mmi_json_node *at(const mmi_json_node *array, int64_t index)
{
    const mmi_json_node *n = mmi_json_first(array);
    while (n && index-- > 0) n = mmi_json_next(n);
    assert_non_null(n);
    return n;
}

/* The whole tokenizer of a golden file. */
static inline mmi_tokenizer *open_golden(fixture *f, const char *name)
{
    char path[128];
    mmi_json *doc;
    mmi_tokenizer *t = NULL;

    (void)snprintf(path, sizeof path, GOLDEN "%s.json", name);
    doc = read_json(f, path);
    if (mmi_tokenizer_from_json(f->ctx, doc, NULL, &t)) fail_msg("%s", f->ctx->error);
    mmi_json_destroy(doc);
    return t;
}

#endif
