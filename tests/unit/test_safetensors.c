/* src/formats/safetensors.c against the safetensors package (tests/golden/make_formats.py): its files, the bytes that it
 * writes, and what it says of odd headers; and hostile files made here.
 * SPDX-License-Identifier: MIT */
#include "formats_fixture.h"
#include "json.h"
#include "safetensors_writer.h"

static mm_status visit(mm_context *ctx, const char *path)
{
    mmi_safetensors *s;
    unsigned sum = 0;
    mm_status st = mmi_safetensors_open(ctx, path, &s);

    if (st) {
        assert_null(s);
        return st;
    }
    for (size_t i = 0; i < mmi_safetensors_count(s); i++) {
        const mmi_safetensors_tensor *t = mmi_safetensors_at(s, i);
        assert_ptr_equal(mmi_safetensors_find(s, t->name), t);
        assert_in_range(t->rank, 0, MM_TENSOR_MAX_RANK);
        for (size_t j = 0; j < t->bytes; j++) sum += ((const unsigned char *)t->data)[j];
    }
    mmi_safetensors_destroy(s);
    return sum == 1u << 31 ? MM_E_INTERNAL : MM_OK; /* so that the reads are not left out */
}

static const mmi_safetensors_tensor *tensor(const mmi_safetensors *s, const char *name, const char *file_type, int32_t dtype, int32_t rank,
                                            const int64_t *shape, size_t bytes)
{
    const mmi_safetensors_tensor *t = mmi_safetensors_find(s, name);
    assert_non_null(t);
    assert_string_equal(t->name, name);
    assert_string_equal(t->file_type, file_type);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->rank, rank);
    for (int32_t i = 0; i < rank; i++) assert_int_equal(t->shape[i], shape[i]);
    assert_int_equal(t->bytes, bytes);
    return t;
}

static void reads_the_references_file(void **state)
{
    fixture *f = *state;
    mmi_safetensors *s;
    const mmi_safetensors_tensor *t;
    mmi_file_map *map;
    const void *data;
    float x;
    double d;

    assert_int_equal(mmi_safetensors_open(f->ctx, "tests/golden/formats/tiny.safetensors", &s), MM_OK);
    assert_int_equal(mmi_safetensors_count(s), 11);
    assert_null(mmi_safetensors_at(s, 11));
    assert_null(mmi_safetensors_find(s, "f"));
    assert_null(mmi_safetensors_find(s, "__metadata__"));
    t = tensor(s, "f32", "F32", MM_DTYPE_F32, 2, (int64_t[]){2, 3}, 24);
    for (int i = 0; i < 6; i++) {
        memcpy(&x, (const char *)t->data + 4 * i, 4);
        assert_true(x == (float)i * 0.5f - 1);
    }
    t = tensor(s, "f16", "F16", MM_DTYPE_F16, 1, (int64_t[]){4}, 8);
    assert_memory_equal(t->data, ((uint16_t[]){0, 0x3C00, 0x4000, 0x4200}), 8);
    t = tensor(s, "bf16", "BF16", MM_DTYPE_BF16, 3, (int64_t[]){1, 2, 2}, 8);
    assert_memory_equal(t->data, ((uint16_t[]){0, 0x3F80, 0x4000, 0x4040}), 8);
    t = tensor(s, "i32", "I32", MM_DTYPE_I32, 1, (int64_t[]){3}, 12);
    assert_memory_equal(t->data, ((int32_t[]){1, -1, INT32_MAX}), 12);
    t = tensor(s, "i64", "I64", MM_DTYPE_I64, 1, (int64_t[]){1}, 8);
    assert_memory_equal(t->data, ((int64_t[]){INT64_MIN}), 8);
    t = tensor(s, "u8", "U8", MM_DTYPE_U8, 1, (int64_t[]){3}, 3);
    assert_memory_equal(t->data, "\0\xFF\7", 3);
    t = tensor(s, "bool", "BOOL", MM_DTYPE_U8, 1, (int64_t[]){3}, 3);
    assert_memory_equal(t->data, "\1\0\1", 3);
    t = tensor(s, "f64", "F64", -1, 0, NULL, 8);
    memcpy(&d, t->data, 8);
    assert_true(d == 0.1);
    t = tensor(s, "f8", "F8_E4M3", -1, 1, (int64_t[]){2}, 2);
    assert_memory_equal(t->data, "\x38\x40", 2);
    (void)tensor(s, "empty", "F32", MM_DTYPE_F32, 3, (int64_t[]){3, 0, 2}, 0);
    t = tensor(s, "größe \"\\\n", "F32", MM_DTYPE_F32, 0, NULL, 4);
    memcpy(&x, t->data, 4);
    assert_true(x == 2.5f);

    map = t->map; /* the data stays while someone holds the map */
    data = t->data;
    mmi_file_map_retain(map);
    mmi_safetensors_destroy(s);
    memcpy(&x, data, 4);
    assert_true(x == 2.5f);
    mmi_file_map_release(map);
    mmi_safetensors_destroy(NULL);
}

/* What the reference reads and libmm refuses, on purpose. */
static int is_stricter(const char *name)
{
    static const char *const names[] = {"space before", "name twice", "tensor as a list", "name with an escaped NUL", "rank 9", NULL};
    for (const char *const *n = names; *n; n++)
        if (!strcmp(name, *n)) return 1;
    return 0;
}

static void agrees_with_the_reference(void **state)
{
    fixture *f = *state;
    mmi_json *cases;
    int64_t used = f->used;
    int good = 0, bad = 0, stricter = 0;

    assert_int_equal(mmi_json_read(f->ctx, "tests/golden/formats/safetensors_verdicts.json", 1 << 20, &cases), MM_OK);
    f->used = used_now(f);
    for (const mmi_json_node *c = mmi_json_first(mmi_json_root(cases)); c; c = mmi_json_next(c)) {
        const mmi_json_node *verdict = mmi_json_next(mmi_json_first(c));
        const char *name = mmi_json_string(mmi_json_first(c)), *hex = mmi_json_string(mmi_json_next(verdict));
        int reference_reads = !strcmp(mmi_json_string(verdict), "good");
        size_t n = strlen(hex) / 2;
        char *bytes = malloc(n);
        mm_status st;

        assert_non_null(bytes);
        for (size_t i = 0; i < n; i++) {
            unsigned byte;
            assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
            bytes[i] = (char)byte;
        }
        st = visit_bytes(f, visit, bytes, n);
        if (reference_reads && st && is_stricter(name))
            stricter++;
        else if (reference_reads != (st == MM_OK))
            fail_msg("%s: the reference calls it %s, libmm says %d %s", name, mmi_json_string(verdict), st, st ? f->ctx->error : "");
        good += reference_reads;
        bad += !reference_reads;
        free(bytes);
    }
    assert_true(good > 35 && bad > 70);
    assert_int_equal(stricter, 5);
    mmi_json_destroy(cases);
    f->used = used;
}

/* --- files made here ------------------------------------------------------------------------------------------------ */

static mm_status visit_header(const fixture *f, const char *header, size_t n, size_t data)
{
    char *bytes = calloc(1, 8 + n + data);
    mm_status st;

    assert_non_null(bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (char)((uint64_t)n >> 8 * i & 0xFF);
    memcpy(bytes + 8, header, n);
    st = visit_bytes(f, visit, bytes, 8 + n + data);
    free(bytes);
    return st;
}

static void refuses_lengths(void **state)
{
    static const struct {
        uint64_t length;
        mm_status status;
    } cases[] = {{UINT64_MAX, MM_E_LIMIT},         {UINT64_MAX - 7, MM_E_LIMIT}, {UINT64_MAX - 8, MM_E_LIMIT}, {(uint64_t)1 << 63, MM_E_LIMIT},
                 {100 * 1000 * 1000 + 1, MM_E_LIMIT}, {100 * 1000 * 1000, MM_E_FORMAT}, {3, MM_E_FORMAT},         {2, MM_OK},
                 {1, MM_E_FORMAT},                 {0, MM_E_FORMAT}};
    fixture *f = *state;
    int64_t peak;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bytes[10] = {0};
        for (int k = 0; k < 8; k++) bytes[k] = (char)(cases[i].length >> 8 * k & 0xFF);
        memcpy(bytes + 8, "{}", 2);
        assert_int_equal(visit_bytes(f, visit, bytes, 10), cases[i].status);
    }
    assert_int_equal(mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_PEAK, &peak), MM_OK);
    assert_true(peak - f->used < 8192);
}

static void sentences_name_the_tensor(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        mm_status status;
        const char *sentence;
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, MM_E_FORMAT, "tensor a has 4 bytes where its shape and dtype F32 make 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, MM_E_FORMAT, "tensor a lies at 0 to 8 of 4 bytes of data"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 4, MM_E_FORMAT, "tensor a lies at 1 to 0"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 4, MM_E_FORMAT, "3 bytes at the end belong to no tensor"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, MM_E_FORMAT, "tensor a does not begin where the one before it ends"},
        {"{\"a\":{\"dtype\":\"X\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MM_E_FORMAT, "tensor a has the unknown dtype X"},
        {"{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MM_E_FORMAT, "tensor a has no dtype"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, MM_E_FORMAT, "tensor a has a shape that is no list of sizes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, MM_E_LIMIT, "tensor a has rank 9, more than 8"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, MM_E_FORMAT, "tensor a has more elements"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, MM_E_FORMAT, "tensor a has data_offsets that are not two offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MM_E_FORMAT, "tensor a has a field twice"},
        {"{\"a\":[]}", 0, MM_E_FORMAT, "tensor a is no object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, MM_E_FORMAT, "__metadata__ must be an object of strings"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, MM_E_FORMAT, "__metadata__ appears twice"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
         MM_E_FORMAT, "tensor a appears twice"},
        {"{\"a\":", 0, MM_E_FORMAT, "the end where a value must be (byte 5 of 5)"},
        {"[]", 0, MM_E_FORMAT, "the header is no JSON object"},
    };
    fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_status st = visit_header(f, cases[i].header, strlen(cases[i].header), cases[i].data);
        if (st != cases[i].status) fail_msg("%d for \"%s\"", st, cases[i].sentence);
        assert_sentence(f, cases[i].sentence);
        assert_sentence(f, f->path);
    }
}

/* Names, sizes and nesting without end: refused or read in time and memory of the header's size. */
static void bounds_large_headers(void **state)
{
    enum { MANY = 50000 };
    fixture *f = *state;
    mmi_text t = {0};
    int64_t used = f->used, peak;

    assert_int_equal(mmi_text_format(f->ctx, &t, "{\"a\":"), 0);
    for (int i = 0; i < MANY; i++) assert_int_equal(mmi_text_append(f->ctx, &t, "[", 1), 0);
    f->used = used_now(f);
    assert_int_equal(visit_header(f, t.data, t.size, 0), MM_E_LIMIT);
    assert_sentence(f, "nesting");

    t.size = 0;
    assert_int_equal(mmi_text_format(f->ctx, &t, "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1],\"shape\":[1"), 0);
    for (int i = 0; i < MANY; i++) assert_int_equal(mmi_text_append(f->ctx, &t, ",1", 2), 0);
    assert_int_equal(mmi_text_format(f->ctx, &t, "]}}"), 0);
    f->used = used_now(f);
    assert_int_equal(visit_header(f, t.data, t.size, 1), MM_E_LIMIT);
    assert_sentence(f, "rank 50001");

    /* from the last to the first, so that sorting has work to do */
    t.size = 0;
    for (int i = MANY; i-- > 0;)
        assert_int_equal(mmi_text_format(f->ctx, &t, "%c\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                                         i == MANY - 1 ? '{' : ',', i, i, i + 1), 0);
    assert_int_equal(mmi_text_append(f->ctx, &t, "}", 1), 0);
    f->used = used_now(f);
    assert_int_equal(visit_header(f, t.data, t.size, MANY), MM_OK);
    assert_int_equal(visit_header(f, t.data, t.size, MANY + 1), MM_E_FORMAT);
    assert_int_equal(mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_PEAK, &peak), MM_OK);
    assert_true((size_t)peak < 32 * t.size);
    mmi_text_clear(&t);
    f->used = used;
}

static void survives_damage(void **state)
{
    fixture *f = *state;
    size_t n;
    char *bytes = read_golden(f, "tests/golden/formats/tiny.safetensors", &n);
    size_t header = 8 + (size_t)(unsigned char)bytes[0] + ((size_t)(unsigned char)bytes[1] << 8);

    mmi_free(bytes);
    visit_damaged(f, visit, "tests/golden/formats/tiny.safetensors", n, header);
}

static void survives_failing_allocations(void **state)
{
    visit_out_of_memory(*state, visit, "tests/golden/formats/tiny.safetensors");
    visit_out_of_memory(*state, visit, "tests/golden/formats/hf_bert_sharded/model.safetensors.index.json");
}

/* --- shards --------------------------------------------------------------------------------------------------------- */

static void reads_shards(void **state)
{
    fixture *f = *state;
    mmi_safetensors *whole, *shards;
    const mmi_file_map *first = NULL;
    int maps = 1;

    assert_int_equal(mmi_safetensors_open(f->ctx, "tests/golden/formats/hf_bert/model.safetensors", &whole), MM_OK);
    assert_int_equal(mmi_safetensors_open(f->ctx, "tests/golden/formats/hf_bert_sharded/model.safetensors.index.json", &shards), MM_OK);
    assert_int_equal(mmi_safetensors_count(whole), mmi_safetensors_count(shards));
    for (size_t i = 0; i < mmi_safetensors_count(whole); i++) {
        const mmi_safetensors_tensor *a = mmi_safetensors_at(whole, i), *b = mmi_safetensors_find(shards, a->name);
        assert_non_null(b);
        assert_int_equal(a->dtype, b->dtype);
        assert_int_equal(a->rank, b->rank);
        assert_memory_equal(a->shape, b->shape, sizeof a->shape);
        assert_int_equal(a->bytes, b->bytes);
        assert_memory_equal(a->data, b->data, a->bytes);
        if (!first) first = b->map;
        if (b->map != first) maps = 2;
    }
    assert_int_equal(maps, 2);
    mmi_safetensors_destroy(whole);
    mmi_safetensors_destroy(shards);
}

static void write_index(const fixture *f, const char *text, char *path, size_t n)
{
    (void)snprintf(path, n, "%s/model.safetensors.index.json", f->folder);
    write_file(path, text, strlen(text));
}

static void refuses_odd_indexes(void **state)
{
    static const struct {
        const char *index;
        mm_status status;
        const char *sentence;
    } cases[] = {
        {"{\"weight_map\":{\"u\":\"s.safetensors\"}}", MM_OK, ""},
        {"{\"weight_map\":{}}", MM_OK, ""},
        {"{\"metadata\":{},\"weight_map\":{\"u\":\"s.safetensors\",\"v\":\"t.safetensors\"}}", MM_OK, ""},
        {"{}", MM_E_FORMAT, "weight_map is missing or no object"},
        {"[]", MM_E_FORMAT, "weight_map is missing or no object"},
        {"{\"weight_map\":[\"s.safetensors\"]}", MM_E_FORMAT, "weight_map is missing or no object"},
        {"{\"weight_map\":{\"u\":1}}", MM_E_FORMAT, "weight_map gives u something"},
        {"{\"weight_map\":{\"u\":\"\"}}", MM_E_FORMAT, "not the name of a file beside it"},
        {"{\"weight_map\":{\"u\":\".\"}}", MM_E_FORMAT, "not the name of a file beside it"},
        {"{\"weight_map\":{\"u\":\"..\"}}", MM_E_FORMAT, "not the name of a file beside it"},
        {"{\"weight_map\":{\"u\":\"/etc/passwd\"}}", MM_E_FORMAT, "weight_map gives u /etc/passwd, not the name of a file beside it"},
        {"{\"weight_map\":{\"u\":\"../s.safetensors\"}}", MM_E_FORMAT, "not the name of a file beside it"},
        {"{\"weight_map\":{\"u\":\"./s.safetensors\"}}", MM_E_FORMAT, "not the name of a file beside it"},
        {"{\"weight_map\":{\"u\":\"a\\\\..\\\\s.safetensors\"}}", MM_E_FORMAT, "not the name of a file beside it"},
        {"{\"weight_map\":{\"u\":\"s.safetensors\\u0000/..\"}}", MM_E_UNSUPPORTED, "\\u0000"},
        {"{\"weight_map\":{\"u\":\"none.safetensors\"}}", MM_E_NOT_FOUND, "none.safetensors"},
        {"{\"weight_map\":{\"w\":\"s.safetensors\"}}", MM_E_FORMAT, "tensor w is not in s.safetensors"},
        {"{\"weight_map\":{\"u\":\"s.safetensors\",\"v\":\"s.safetensors\",\"w\":\"t.safetensors\"}}", MM_E_FORMAT, "tensor v is not in s.safetensors"},
        {"{\"weight_map\":{\"u\":\"s.safetensors\",\"v\":\"again.safetensors\"}}", MM_E_FORMAT, "again.safetensors: tensor u appears twice"},
        {"{\"weight_map\":{\"u\":\"model.safetensors.index.json\"}}", MM_E_LIMIT, "claims a header of"},
    };
    fixture *f = *state;
    char path[160];
    mmi_safetensors_tensor t = {.name = "u", .dtype = MM_DTYPE_U8, .rank = 1, .shape = {1}, .data = "x", .bytes = 1};

    (void)snprintf(path, sizeof path, "%s/s.safetensors", f->folder);
    assert_int_equal(mmi_safetensors_write(f->ctx, path, &t, 1), MM_OK);
    (void)snprintf(path, sizeof path, "%s/again.safetensors", f->folder);
    assert_int_equal(mmi_safetensors_write(f->ctx, path, &t, 1), MM_OK);
    (void)snprintf(path, sizeof path, "%s/t.safetensors", f->folder);
    t.name = "v";
    assert_int_equal(mmi_safetensors_write(f->ctx, path, &t, 1), MM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mm_status st;
        write_index(f, cases[i].index, path, sizeof path);
        st = visit(f->ctx, path);
        if (st != cases[i].status) fail_msg("%d for %s", st, cases[i].index);
        if (st) assert_sentence(f, cases[i].sentence);
        assert_int_equal(used_now(f), f->used);
    }
}

/* --- writing -------------------------------------------------------------------------------------------------------- */

static void writes_what_the_reference_writes(void **state)
{
    static const int64_t a[] = {-1, (int64_t)1 << 40};
    static const float b[] = {-1, -0.5f, 0, 0.5f, 1, 1.5f}, c[] = {3};
    static const int32_t d[] = {1, -1};
    static const uint16_t e[] = {0, 0x3C00, 0x4000};
    static const unsigned char g[] = {0, 255, 7};
    const mmi_safetensors_tensor tensors[] = {
        {.name = "a", .dtype = MM_DTYPE_I64, .rank = 1, .shape = {2}, .data = a, .bytes = sizeof a},
        {.name = "b", .dtype = MM_DTYPE_F32, .rank = 2, .shape = {2, 3}, .data = b, .bytes = sizeof b},
        {.name = "c \"\\\n\x01\xC3\xA9", .dtype = MM_DTYPE_F32, .rank = 0, .data = c, .bytes = sizeof c},
        {.name = "d", .dtype = MM_DTYPE_I32, .rank = 1, .shape = {2}, .data = d, .bytes = sizeof d},
        {.name = "e", .dtype = MM_DTYPE_F16, .rank = 1, .shape = {3}, .data = e, .bytes = sizeof e},
        {.name = "f", .dtype = MM_DTYPE_U8, .rank = 2, .shape = {0, 5}, .data = NULL, .bytes = 0},
        {.name = "g", .dtype = MM_DTYPE_U8, .rank = 1, .shape = {3}, .data = g, .bytes = sizeof g},
    };
    enum { COUNT = sizeof tensors / sizeof *tensors };
    fixture *f = *state;
    mmi_safetensors_tensor reversed[COUNT];
    mmi_safetensors *s;
    char *expected, *got;
    size_t n, m;

    assert_int_equal(mmi_safetensors_write(f->ctx, f->path, tensors, COUNT), MM_OK);
    expected = read_golden(f, "tests/golden/formats/written.safetensors", &n);
    got = read_golden(f, f->path, &m);
    assert_int_equal(m, n);
    assert_memory_equal(got, expected, n);
    mmi_free(expected);
    mmi_free(got);

    /* in another order: it is kept, and each tensor is still aligned to its elements */
    for (size_t i = 0; i < COUNT; i++) reversed[i] = tensors[COUNT - 1 - i];
    assert_int_equal(mmi_safetensors_write(f->ctx, f->path, reversed, COUNT), MM_OK);
    assert_int_equal(mmi_safetensors_open(f->ctx, f->path, &s), MM_OK);
    assert_int_equal(mmi_safetensors_count(s), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        static const uintptr_t width[] = {1, 1, 2, 4, 4, 4, 8};
        const mmi_safetensors_tensor *t = mmi_safetensors_at(s, i);
        assert_string_equal(t->name, reversed[i].name);
        assert_int_equal(t->dtype, reversed[i].dtype);
        assert_int_equal(t->rank, reversed[i].rank);
        assert_memory_equal(t->shape, reversed[i].shape, sizeof t->shape);
        assert_int_equal(t->bytes, reversed[i].bytes);
        if (t->bytes) assert_memory_equal(t->data, reversed[i].data, t->bytes);
        assert_int_equal((uintptr_t)t->data % width[i], 0);
    }
    mmi_safetensors_destroy(s);

    assert_int_equal(mmi_safetensors_write(f->ctx, f->path, NULL, 0), MM_OK);
    assert_int_equal(mmi_safetensors_open(f->ctx, f->path, &s), MM_OK);
    assert_int_equal(mmi_safetensors_count(s), 0);
    mmi_safetensors_destroy(s);
}

static void refuses_to_write(void **state)
{
    static const struct {
        mmi_safetensors_tensor tensor;
        mm_status status;
    } cases[] = {
        {{.name = "a", .dtype = MM_DTYPE_Q4_0, .rank = 1, .shape = {32}, .data = "", .bytes = 18}, MM_E_DTYPE},
        {{.name = "a", .dtype = -1, .rank = 1, .shape = {1}, .data = "", .bytes = 1}, MM_E_DTYPE},
        {{.name = "a", .dtype = MM_DTYPE_U8, .rank = 1, .shape = {2}, .data = "", .bytes = 1}, MM_E_SHAPE},
        {{.name = "a", .dtype = MM_DTYPE_U8, .rank = 1, .shape = {-1}, .data = "", .bytes = 1}, MM_E_SHAPE},
        {{.name = "a", .dtype = MM_DTYPE_U8, .rank = 9, .shape = {1}, .data = "", .bytes = 1}, MM_E_SHAPE},
        {{.name = "a", .dtype = MM_DTYPE_U8, .rank = -1, .shape = {1}, .data = "", .bytes = 1}, MM_E_SHAPE},
        {{.name = "a", .dtype = MM_DTYPE_U8, .rank = 2, .shape = {(int64_t)1 << 32, (int64_t)1 << 32}, .data = "", .bytes = 0}, MM_E_SHAPE},
        {{.name = "__metadata__", .dtype = MM_DTYPE_U8, .rank = 1, .shape = {1}, .data = "", .bytes = 1}, MM_E_ARGUMENT},
        {{.name = "\xFF", .dtype = MM_DTYPE_U8, .rank = 1, .shape = {1}, .data = "", .bytes = 1}, MM_E_ARGUMENT},
    };
    fixture *f = *state;
    mmi_safetensors_tensor two[2] = {{.name = "a", .dtype = MM_DTYPE_U8, .rank = 1, .shape = {1}, .data = "", .bytes = 1}};
    char *bytes;
    size_t n;

    write_bytes(f, "as it was", 9);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(mmi_safetensors_write(f->ctx, f->path, &cases[i].tensor, 1), cases[i].status);
    two[1] = two[0];
    assert_int_equal(mmi_safetensors_write(f->ctx, f->path, two, 2), MM_E_ARGUMENT);
    assert_sentence(f, "two tensors are called a");
    bytes = read_golden(f, f->path, &n);
    assert_int_equal(n, 9);
    assert_memory_equal(bytes, "as it was", 9);
    mmi_free(bytes);
    assert_int_equal(mmi_safetensors_write(f->ctx, "/nowhere/at/all", two, 1), MM_E_IO);
}

static mm_status write_two(mm_context *ctx, const char *path)
{
    const mmi_safetensors_tensor two[2] = {{.name = "a", .dtype = MM_DTYPE_U8, .rank = 1, .shape = {1}, .data = "x", .bytes = 1},
                                           {.name = "b", .dtype = MM_DTYPE_I64, .rank = 0, .data = "12345678", .bytes = 8}};
    return mmi_safetensors_write(ctx, path, two, 2);
}

static void writing_survives_failing_allocations(void **state)
{
    fixture *f = *state;
    visit_out_of_memory(f, write_two, f->path);
    assert_int_equal(visit(f->ctx, f->path), MM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_the_references_file, setup, teardown),
        cmocka_unit_test_setup_teardown(agrees_with_the_reference, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_lengths, setup, teardown),
        cmocka_unit_test_setup_teardown(sentences_name_the_tensor, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_large_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_shards, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_odd_indexes, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_what_the_reference_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_to_write, setup, teardown),
        cmocka_unit_test_setup_teardown(writing_survives_failing_allocations, setup, teardown),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
