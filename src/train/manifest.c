/* SPDX-License-Identifier: MIT */
#include "manifest.h"

#include <inttypes.h>
#include <string.h>

#include "file.h"
#include "random.h"

enum { STREAM_SPLIT = 0x53504C54 }; /* "SPLT"; the file's number is added above */

typedef struct {
    char *path, *folder; /* folder: up to and with the last slash, or "" */
    mmi_file_map *map;
    size_t end; /* examples up to and with this file */
} manifest_file;

typedef struct {
    uint64_t offset;
    uint32_t line; /* from 1 */
    uint32_t size; /* MMI_MANIFEST_MAX_LINE + 1 for all that is longer */
} manifest_line;

struct mmi_manifest {
    manifest_file *files;
    size_t file_count;
    manifest_line *lines;
    size_t count, capacity;
};

static int is_blank(const char *s, size_t n)
{
    while (n && (*s == ' ' || *s == '\t' || *s == '\r')) s++, n--;
    return !n;
}

static mm_status index_file(mm_context *ctx, mmi_manifest *m, manifest_file *f)
{
    const char *data = (const char *)mmi_file_map_data(f->map);
    const size_t size = mmi_file_map_size(f->map), before = m->count;
    size_t at = 0, line = 1;

    for (; at < size; line++) {
        const char *newline = memchr(data + at, '\n', size - at);
        size_t n = (newline ? (size_t)(newline - data) : size) - at;
        mm_status st = line % 16384 ? MM_OK : mmi_check_cancel(ctx);

        if (st) return st;
        if (line > UINT32_MAX) return mmi_fail(ctx, MM_E_LIMIT, "%s has more than %u lines", f->path, UINT32_MAX);
        if (!is_blank(data + at, n)) {
            if (mmi_grow(ctx, (void **)&m->lines, &m->capacity, m->count, sizeof *m->lines)) return MM_E_NOMEM;
            m->lines[m->count].offset = at;
            m->lines[m->count].line = (uint32_t)line;
            m->lines[m->count++].size = n > MMI_MANIFEST_MAX_LINE ? MMI_MANIFEST_MAX_LINE + 1 : (uint32_t)n;
        }
        at += n + 1;
    }
    f->end = m->count;
    return m->count > before ? MM_OK : mmi_fail(ctx, MM_E_FORMAT, "%s holds no examples", f->path);
}

mm_status mmi_manifest_open(mm_context *ctx, const char *const *paths, size_t count, mmi_manifest **out)
{
    mmi_manifest *m = NULL;
    mm_status st = MM_E_NOMEM;

    *out = NULL;
    if (!count || count > MMI_MANIFEST_MAX_FILES)
        return mmi_fail(ctx, MM_E_LIMIT, "a data set of %zu files, allowed are 1 to %d", count, MMI_MANIFEST_MAX_FILES);
    m = mmi_zalloc(ctx, sizeof *m);
    if (!m) goto cleanup;
    m->files = mmi_zalloc_array(ctx, count, sizeof *m->files);
    if (!m->files) goto cleanup;
    for (; m->file_count < count; m->file_count++) {
        manifest_file *f = &m->files[m->file_count];
        const char *slash = strrchr(paths[m->file_count], '/');

        st = mmi_file_map_open(ctx, paths[m->file_count], &f->map);
        if (st) goto cleanup;
        f->path = mmi_strdup(ctx, paths[m->file_count]);
        f->folder = mmi_strdup(ctx, paths[m->file_count]);
        if (!f->path || !f->folder) {
            m->file_count++; /* so that closing frees it */
            st = MM_E_NOMEM;
            goto cleanup;
        }
        f->folder[slash ? slash - paths[m->file_count] + 1 : 0] = 0;
        st = index_file(ctx, m, f);
        if (st) {
            m->file_count++;
            goto cleanup;
        }
    }
    *out = m;
    m = NULL;
cleanup:
    mmi_manifest_close(m);
    return st;
}

void mmi_manifest_close(mmi_manifest *m)
{
    if (!m) return;
    for (size_t i = 0; m->files && i < m->file_count; i++) {
        mmi_file_map_release(m->files[i].map);
        mmi_free(m->files[i].path);
        mmi_free(m->files[i].folder);
    }
    mmi_free(m->files);
    mmi_free(m->lines);
    mmi_free(m);
}

size_t mmi_manifest_count(const mmi_manifest *m) { return m->count; }

/* The number of the file that a line is in. */
static size_t file_of(const mmi_manifest *m, size_t line)
{
    size_t low = 0, high = m->file_count - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (m->files[middle].end > line)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* A record being read. */
typedef struct {
    mm_context *ctx;
    const char *folder;
    mmi_record *record;
} reader;

static mm_status wrong(const reader *r, const char *key, const char *wanted)
{
    return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"%.100s\" must be %s", r->record->where, key, wanted);
}

static void *take(const reader *r, size_t count, size_t size) { return mmi_arena_alloc_array(r->ctx, &r->record->arena, count, size); }

/* A path as the manifest gives it, beside the manifest; what it leads to must be there. */
static mm_status read_path(const reader *r, const char *key, const mmi_json_node *node, int may_be_folder, const char **out)
{
    const char *path = mmi_json_string(node), *folder = path && *path == '/' ? "" : r->folder;
    size_t n, m;
    char *whole;

    if (!path || !*path) return wrong(r, key, "a path");
    n = strlen(folder);
    m = strlen(path) + 1;
    whole = take(r, n + m, 1);
    if (!whole) return r->ctx->error_status;
    memcpy(whole, folder, n);
    memcpy(whole + n, path, m);
    if (!mmi_file_exists(whole)) return mmi_fail(r->ctx, MM_E_NOT_FOUND, "%s: \"%s\": there is no %s", r->record->where, key, whole);
    if (!may_be_folder && mmi_file_is_directory(whole))
        return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"%s\": %s is a folder", r->record->where, key, whole);
    *out = whole;
    return MM_OK;
}

static mm_status read_images(const reader *r, const char *key, const mmi_json_node *node)
{
    const int one = mmi_json_kind_of(node) == MMI_JSON_STRING;
    const size_t n = one ? 1 : mmi_json_count(node);
    const char **paths;
    size_t i = 0;

    if (!one && (mmi_json_kind_of(node) != MMI_JSON_ARRAY || !n)) return wrong(r, key, "a path or an array of paths");
    paths = take(r, n, sizeof *paths);
    if (!paths) return r->ctx->error_status;
    for (const mmi_json_node *e = one ? node : mmi_json_first(node); i < n; e = mmi_json_next(e), i++) {
        mm_status st = read_path(r, key, e, 0, &paths[i]);
        if (st) return st;
    }
    r->record->images = paths;
    r->record->image_count = n;
    return MM_OK;
}

static mm_status read_values(const reader *r, const char *key, const mmi_json_node *node)
{
    const int one = mmi_json_kind_of(node) == MMI_JSON_NUMBER;
    const size_t n = one ? 1 : mmi_json_count(node);
    double *values;
    size_t i = 0;

    if (!one && (mmi_json_kind_of(node) != MMI_JSON_ARRAY || !n)) return wrong(r, key, "a number or an array of numbers");
    values = take(r, n, sizeof *values);
    if (!values) return r->ctx->error_status;
    for (const mmi_json_node *e = one ? node : mmi_json_first(node); i < n; e = mmi_json_next(e), i++)
        if (!mmi_json_number(e, &values[i])) return wrong(r, key, "finite numbers");
    r->record->values = values;
    r->record->value_count = n;
    return MM_OK;
}

static mm_status read_class(const reader *r, const char *key, const mmi_json_node *node, mmi_record_label *out)
{
    out->name = mmi_json_string(node);
    if (out->name || (mmi_json_integer(node, &out->index) && out->index >= 0)) return MM_OK;
    return wrong(r, key, "a name, or an index from 0");
}

/* "label" and "labels" together. */
static mm_status read_labels(const reader *r, const mmi_json_node *one, const mmi_json_node *many)
{
    const size_t n = (size_t)(one != NULL) + mmi_json_count(many);
    mmi_record_label *labels, *next;
    mm_status st = MM_OK;

    if (many && mmi_json_kind_of(many) != MMI_JSON_OBJECT) return wrong(r, "labels", "an object of labels by head");
    if (!n) return MM_OK;
    labels = next = take(r, n, sizeof *labels);
    if (!labels) return r->ctx->error_status;
    memset(labels, 0, n * sizeof *labels);
    if (one) st = read_class(r, "label", one, next++);
    for (const mmi_json_node *e = mmi_json_first(many); e && !st; e = mmi_json_next(e)) {
        next->head = mmi_json_key(e);
        st = read_class(r, next->head, e, next);
        next++;
    }
    r->record->labels = labels;
    r->record->label_count = n;
    return st;
}

/* The members of an object are among the n names, each with a string. */
static mm_status read_strings(const reader *r, const char *key, const mmi_json_node *object, const char *const *names, const char **values,
                              size_t n)
{
    if (mmi_json_kind_of(object) != MMI_JSON_OBJECT) return wrong(r, key, "made of objects");
    for (const mmi_json_node *e = mmi_json_first(object); e; e = mmi_json_next(e)) {
        size_t i = 0;
        while (i < n && strcmp(names[i], mmi_json_key(e))) i++;
        if (i == n)
            return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"%s\": \"%.100s\" is no key that is known there", r->record->where, key,
                            mmi_json_key(e));
        values[i] = mmi_json_string(e);
        if (!values[i]) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"%s\": \"%s\" must be a string", r->record->where, key, names[i]);
    }
    return MM_OK;
}

static mm_status read_parts(const reader *r, const mmi_json_node *content, mmi_chat_message *message)
{
    static const char *const names[] = {"type", "text"};
    const size_t n = mmi_json_count(content);
    mmi_chat_part *parts = take(r, n, sizeof *parts);
    size_t i = 0;

    if (!parts) return r->ctx->error_status;
    for (const mmi_json_node *e = mmi_json_first(content); e; e = mmi_json_next(e), i++) {
        const char *values[2] = {0};
        mm_status st = read_strings(r, "messages", e, names, values, 2);
        if (st) return st;
        if (!values[0]) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"messages\": a part of a content has no \"type\"", r->record->where);
        if (!strcmp(values[0], "text") != !!values[1])
            return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"messages\": a part of type \"text\", and no other, has a \"text\"",
                            r->record->where);
        parts[i].type = values[0];
        parts[i].text = values[1];
    }
    message->parts = parts;
    message->part_count = n;
    return MM_OK;
}

static mm_status read_messages(const reader *r, const char *key, const mmi_json_node *node)
{
    const size_t n = mmi_json_count(node);
    mmi_chat_message *messages;
    size_t i = 0;

    if (mmi_json_kind_of(node) != MMI_JSON_ARRAY || !n) return wrong(r, key, "an array of messages");
    if (n > MMI_RECORD_MAX_MESSAGES)
        return mmi_fail(r->ctx, MM_E_LIMIT, "%s: \"%s\" has %zu messages, allowed are %d", r->record->where, key, n,
                        MMI_RECORD_MAX_MESSAGES);
    messages = take(r, n, sizeof *messages);
    if (!messages) return r->ctx->error_status;
    memset(messages, 0, n * sizeof *messages);
    for (const mmi_json_node *e = mmi_json_first(node); e; e = mmi_json_next(e), i++) {
        const mmi_json_node *content = mmi_json_get(e, "content");
        mm_status st = MM_OK;

        messages[i].role = mmi_json_string(mmi_json_get(e, "role"));
        messages[i].content = mmi_json_string(content);
        for (const mmi_json_node *member = mmi_json_first(e); member; member = mmi_json_next(member))
            if (strcmp(mmi_json_key(member), "role") && strcmp(mmi_json_key(member), "content"))
                return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"%s\": \"%.100s\" is no key of a message", r->record->where, key,
                                mmi_json_key(member));
        if (!messages[i].role) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"%s\": message %zu has no \"role\"", r->record->where, key, i);
        if (mmi_json_kind_of(content) == MMI_JSON_ARRAY)
            st = read_parts(r, content, &messages[i]);
        else if (!messages[i].content)
            st = mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"%s\": the \"content\" of message %zu must be a string or an array", r->record->where,
                          key, i);
        if (st) return st;
    }
    r->record->messages = messages;
    r->record->message_count = n;
    return MM_OK;
}

/* Each known key once. */
enum { IMAGE, AUDIO, VIDEO, TEXT, CAPTION, QUESTION, ANSWER, PROMPT, CHOSEN, REJECTED, MESSAGES, LABEL, LABELS, VALUE, KEYS };

static mm_status read_members(const reader *r, const mmi_json_node *root)
{
    static const char *const keys[KEYS] = {"image",  "audio",  "video",    "text",     "caption", "question", "answer",
                                           "prompt", "chosen", "rejected", "messages", "label",   "labels",   "value"};
    mmi_record *d = r->record;
    const char **const texts[KEYS] = {[TEXT] = &d->text,     [CAPTION] = &d->caption, [QUESTION] = &d->question, [ANSWER] = &d->answer,
                                      [PROMPT] = &d->prompt, [CHOSEN] = &d->chosen,   [REJECTED] = &d->rejected};
    const mmi_json_node *found[KEYS] = {0};
    mm_status st = MM_OK;

    if (mmi_json_kind_of(root) != MMI_JSON_OBJECT) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: a line must be an object", d->where);
    for (const mmi_json_node *e = mmi_json_first(root); e; e = mmi_json_next(e)) {
        int k = 0;
        while (k < KEYS && strcmp(keys[k], mmi_json_key(e))) k++;
        if (k == KEYS) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"%.100s\" is no key of a manifest", d->where, mmi_json_key(e));
        if (mmi_json_kind_of(e) == MMI_JSON_NULL) continue;
        if (found[k]) return mmi_fail(r->ctx, MM_E_FORMAT, "%s: \"%s\" is given twice", d->where, keys[k]);
        found[k] = e;
    }
    for (int k = 0; k < KEYS && !st; k++) {
        if (!found[k]) continue;
        if (texts[k]) {
            *texts[k] = mmi_json_string(found[k]);
            if (!*texts[k]) st = wrong(r, keys[k], "a string");
        }
    }
    if (!st && found[IMAGE]) st = read_images(r, "image", found[IMAGE]);
    if (!st && found[AUDIO]) st = read_path(r, "audio", found[AUDIO], 0, &d->audio);
    if (!st && found[VIDEO]) st = read_path(r, "video", found[VIDEO], 1, &d->video); /* a folder of frames */
    if (!st && found[MESSAGES]) st = read_messages(r, "messages", found[MESSAGES]);
    if (!st && found[VALUE]) st = read_values(r, "value", found[VALUE]);
    return st ? st : read_labels(r, found[LABEL], found[LABELS]);
}

mm_status mmi_manifest_read(mm_context *ctx, const mmi_manifest *m, size_t line, mmi_record *record)
{
    const manifest_line *l = &m->lines[line];
    const manifest_file *f = &m->files[file_of(m, line)];
    const reader r = {ctx, f->folder, record};
    mmi_text where = {0};
    char *place;
    mm_status st;

    mmi_record_clear(record);
    if (mmi_text_format(ctx, &where, "%s:%" PRIu32, f->path, l->line)) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    place = take(&r, where.size + 1, 1);
    if (!place) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    memcpy(place, where.data, where.size + 1);
    record->where = place;
    if (l->size > MMI_MANIFEST_MAX_LINE) {
        st = mmi_fail(ctx, MM_E_LIMIT, "%s: a line of more than %d bytes", place, MMI_MANIFEST_MAX_LINE);
        goto cleanup;
    }
    st = mmi_json_parse(ctx, place, (const char *)mmi_file_map_data(f->map) + l->offset, l->size, &record->doc);
    if (!st) st = read_members(&r, mmi_json_root(record->doc));
cleanup:
    mmi_text_clear(&where);
    if (st) mmi_record_clear(record);
    return st;
}

void mmi_record_clear(mmi_record *record)
{
    mmi_json_destroy(record->doc);
    mmi_arena_clear(&record->arena);
    memset(record, 0, sizeof *record);
}

mm_status mmi_manifest_split(mm_context *ctx, const mmi_manifest *m, uint64_t seed, double validation, int want_validation, size_t **lines,
                             size_t *count)
{
    size_t *chosen = mmi_alloc_array(ctx, m->count, sizeof *chosen);
    size_t n = 0, at = 0;

    *lines = NULL;
    *count = 0;
    if (!chosen) return MM_E_NOMEM;
    for (size_t i = 0; i < m->file_count; i++) {
        const uint64_t stream = (uint64_t)i << 32 | STREAM_SPLIT;
        for (; at < m->files[i].end; at++)
            if ((mmi_random_unit_at(seed, stream, m->lines[at].line) < validation) == !!want_validation) chosen[n++] = at;
    }
    *lines = chosen;
    *count = n;
    return MM_OK;
}

mm_status mmi_label_list_add(mm_context *ctx, mmi_label_list *list, const char *name)
{
    int64_t there;

    if (mmi_hash_map_get(&list->index, name, strlen(name), &there))
        return mmi_fail(ctx, MM_E_ARGUMENT, "the label \"%.100s\" is on the list twice", name);
    return mmi_hash_map_put(ctx, &list->index, name, strlen(name), (int64_t)list->index.count, NULL) ? MM_E_NOMEM : MM_OK;
}

void mmi_label_list_clear(mmi_label_list *list) { mmi_hash_map_clear(&list->index); }

mm_status mmi_label_list_find(mm_context *ctx, const mmi_label_list *list, const mmi_record *record, const char *head, size_t *out)
{
    const char *key = head ? head : "label";
    const mmi_record_label *label = NULL;
    int64_t index;

    for (size_t i = 0; i < record->label_count; i++) {
        const char *h = record->labels[i].head;
        if (head ? h && !strcmp(h, head) : !h) label = &record->labels[i];
    }
    if (!label) return mmi_fail(ctx, MM_E_FORMAT, "%s: the label \"%.100s\" is missing", record->where, key);
    index = label->index;
    if (label->name && !mmi_hash_map_get(&list->index, label->name, strlen(label->name), &index))
        return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%.100s\" is \"%.100s\", which is none of its %zu labels", record->where, key, label->name,
                        list->index.count);
    if ((uint64_t)index >= list->index.count)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: \"%.100s\" is %" PRId64 ", but there are %zu labels", record->where, key, index,
                        list->index.count);
    *out = (size_t)index;
    return MM_OK;
}
