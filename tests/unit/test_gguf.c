/* src/formats/gguf.c on files of the gguf Python package (tests/golden/make_formats.py) and on hostile ones made here.
 * SPDX-License-Identifier: MIT */
#include "formats_fixture.h"
#include "gguf.h"

/* Reads every value of every key in every way, and every byte that a tensor claims. */
static mm_status visit(mm_context *ctx, const char *path)
{
    mmi_gguf *g;
    unsigned sum = 0;
    mm_status st = mmi_gguf_open(ctx, path, &g);

    if (st) {
        assert_null(g);
        return st;
    }
    for (size_t i = 0; i < mmi_gguf_key_count(g); i++) {
        const char *key = mmi_gguf_key(g, i), *text;
        mmi_gguf_type type = MMI_GGUF_U8;
        int64_t integer;
        double number;
        int truth, found;
        size_t n, count = 0;

        assert_true(mmi_gguf_has(g, key));
        (void)mmi_gguf_i64(ctx, g, key, 1, INT64_MIN, INT64_MAX, &integer);
        (void)mmi_gguf_f64(ctx, g, key, 1, -1e300, 1e300, &number);
        (void)mmi_gguf_bool(ctx, g, key, 1, &truth);
        if (!mmi_gguf_string(ctx, g, key, 1, &text, &n))
            for (size_t j = 0; j < n; j++) sum += (unsigned char)text[j];
        if (mmi_gguf_array(ctx, g, key, 1, &type, &count, &found)) count = 0;
        for (size_t j = 0; j < count; j++) {
            (void)mmi_gguf_array_i64(ctx, g, key, j, &integer);
            (void)mmi_gguf_array_f64(ctx, g, key, j, &number);
            if (!mmi_gguf_array_string(ctx, g, key, j, &text, &n))
                for (size_t k = 0; k < n; k++) sum += (unsigned char)text[k];
        }
    }
    for (size_t i = 0; i < mmi_gguf_tensor_count(g); i++) {
        const mmi_gguf_tensor *t = mmi_gguf_tensor_at(g, i);
        assert_ptr_equal(mmi_gguf_tensor_find(g, t->name), t);
        for (size_t j = 0; j < t->bytes; j++) sum += ((const unsigned char *)t->data)[j];
    }
    mmi_gguf_destroy(g);
    return sum == 1u << 31 ? MM_E_INTERNAL : MM_OK; /* so that the reads are not left out */
}

static mm_status visit_only_open(mm_context *ctx, const char *path)
{
    mmi_gguf *g;
    mm_status st = mmi_gguf_open(ctx, path, &g);
    mmi_gguf_destroy(g);
    return st;
}

static void reads_metadata(void **state)
{
    fixture *f = *state;
    mm_context *ctx = f->ctx;
    mmi_gguf *g;
    int64_t i = 0;
    double d = 0;
    int b = 5;
    const char *s;
    size_t n;

    assert_int_equal(mmi_gguf_open(ctx, "tests/golden/formats/tiny.gguf", &g), MM_OK);
    assert_string_equal(mmi_gguf_path(g), "tests/golden/formats/tiny.gguf");
    assert_int_equal(mmi_gguf_key_count(g), 20);
    assert_string_equal(mmi_gguf_key(g, 0), "general.architecture");
    assert_string_equal(mmi_gguf_key(g, 19), "t.bytes");
    assert_null(mmi_gguf_key(g, 20));
    {
        static const struct {
            const char *key;
            int64_t value;
        } integers[] = {{"t.u8", 200},         {"t.i8", -100},        {"t.u16", 60000},    {"t.i16", -30000},
                        {"t.u32", 4000000000}, {"t.i32", -2000000000}, {"t.i64", INT64_MIN}};
        for (size_t k = 0; k < sizeof integers / sizeof *integers; k++) {
            int64_t v = integers[k].value;
            assert_int_equal(mmi_gguf_i64(ctx, g, integers[k].key, 1, v, v, &i), MM_OK);
            assert_true(i == v);
            assert_int_equal(mmi_gguf_f64(ctx, g, integers[k].key, 1, -1e19, 1e19, &d), MM_OK);
            assert_true(d == (double)v);
        }
    }
    assert_int_equal(mmi_gguf_i64(ctx, g, "t.u8", 1, 0, 199, &i), MM_E_FORMAT);
    assert_sentence(f, "tiny.gguf: key t.u8 is 200, expected 0 to 199");
    assert_int_equal(mmi_gguf_i64(ctx, g, "t.u8", 1, 201, 299, &i), MM_E_FORMAT);
    assert_int_equal(mmi_gguf_i64(ctx, g, "t.u64", 1, INT64_MIN, INT64_MAX, &i), MM_E_FORMAT);
    assert_sentence(f, "key t.u64 is 18446744073709551615");
    assert_int_equal(mmi_gguf_f64(ctx, g, "t.u64", 1, 0, 1e20, &d), MM_OK);
    assert_true(d == 18446744073709551616.0);
    assert_int_equal(mmi_gguf_i64(ctx, g, "t.f32", 1, 0, 1, &i), MM_E_FORMAT);
    assert_sentence(f, "key t.f32 must be of type integer but is of type f32");
    assert_int_equal(mmi_gguf_i64(ctx, g, "t.true", 1, 0, 1, &i), MM_E_FORMAT);

    assert_int_equal(mmi_gguf_f64(ctx, g, "t.f32", 1, 0, 1, &d), MM_OK);
    assert_true(d == (double)0.1f);
    assert_int_equal(mmi_gguf_f64(ctx, g, "t.f64", 1, 0, 1, &d), MM_OK);
    assert_true(d == 0.1);
    assert_int_equal(mmi_gguf_f64(ctx, g, "t.f64", 1, 0.2, 1, &d), MM_E_FORMAT);
    assert_int_equal(mmi_gguf_f64(ctx, g, "t.string", 1, 0, 1, &d), MM_E_FORMAT);

    assert_int_equal(mmi_gguf_bool(ctx, g, "t.true", 1, &b), MM_OK);
    assert_int_equal(b, 1);
    assert_int_equal(mmi_gguf_bool(ctx, g, "t.false", 1, &b), MM_OK);
    assert_int_equal(b, 0);
    assert_int_equal(mmi_gguf_bool(ctx, g, "t.u8", 1, &b), MM_E_FORMAT);

    assert_int_equal(mmi_gguf_string(ctx, g, "t.string", 1, &s, &n), MM_OK);
    assert_int_equal(n, strlen("Grüße, 世界 🌍"));
    assert_memory_equal(s, "Grüße, 世界 🌍", n);
    assert_int_equal(mmi_gguf_string(ctx, g, "t.u8", 1, &s, &n), MM_E_FORMAT);

    i = 7;
    d = 7;
    b = 7;
    s = NULL;
    assert_int_equal(mmi_gguf_i64(ctx, g, "t.absent", 0, 0, 0, &i), MM_OK);
    assert_int_equal(mmi_gguf_f64(ctx, g, "t.absent", 0, 0, 0, &d), MM_OK);
    assert_int_equal(mmi_gguf_bool(ctx, g, "t.absent", 0, &b), MM_OK);
    assert_int_equal(mmi_gguf_string(ctx, g, "t.absent", 0, &s, &n), MM_OK);
    assert_true(i == 7 && d == 7 && b == 7 && !s);
    assert_false(mmi_gguf_has(g, "t.absent"));
    assert_int_equal(mmi_gguf_i64(ctx, g, "t.absent", 1, 0, 0, &i), MM_E_FORMAT);
    assert_sentence(f, "tiny.gguf: key t.absent is missing");
    mmi_gguf_destroy(g);
    mmi_gguf_destroy(NULL);
}

static void reads_arrays(void **state)
{
    fixture *f = *state;
    mm_context *ctx = f->ctx;
    mmi_gguf *g;
    mmi_gguf_type type;
    int64_t i = 0;
    double d = 0;
    const char *s;
    size_t n;
    int found;

    assert_int_equal(mmi_gguf_open(ctx, "tests/golden/formats/tiny.gguf", &g), MM_OK);
    assert_int_equal(mmi_gguf_array(ctx, g, "t.strings", 1, &type, &n, &found), MM_OK);
    assert_true(found && type == MMI_GGUF_STRING && n == 4);
    for (size_t k = 0; k < 3; k++) {
        static const char *const expected[] = {"a", "", "ß"};
        assert_int_equal(mmi_gguf_array_string(ctx, g, "t.strings", k, &s, &n), MM_OK);
        assert_int_equal(n, strlen(expected[k]));
        assert_memory_equal(s, expected[k], n);
    }
    assert_int_equal(mmi_gguf_array_string(ctx, g, "t.strings", 3, &s, &n), MM_OK);
    assert_int_equal(n, 300);
    assert_true(s[0] == 'x' && s[299] == 'x');
    assert_int_equal(mmi_gguf_array_string(ctx, g, "t.strings", 4, &s, &n), MM_E_FORMAT);
    assert_sentence(f, "key t.strings has 4 elements, no element 4");
    assert_int_equal(mmi_gguf_array_i64(ctx, g, "t.strings", 0, &i), MM_E_FORMAT);
    assert_int_equal(mmi_gguf_array_f64(ctx, g, "t.strings", 0, &d), MM_E_FORMAT);

    for (size_t k = 0; k < 3; k++) {
        static const int64_t expected[] = {1, -2, 3};
        assert_int_equal(mmi_gguf_array_i64(ctx, g, "t.ints", k, &i), MM_OK);
        assert_true(i == expected[k]);
        assert_int_equal(mmi_gguf_array_f64(ctx, g, "t.ints", k, &d), MM_OK);
        assert_true(d == (double)expected[k]);
    }
    assert_int_equal(mmi_gguf_array_i64(ctx, g, "t.ints", 3, &i), MM_E_FORMAT);
    assert_int_equal(mmi_gguf_array_string(ctx, g, "t.ints", 0, &s, &n), MM_E_FORMAT);
    assert_sentence(f, "key t.ints must be of type array of string but is of type i32");

    assert_int_equal(mmi_gguf_array(ctx, g, "t.floats", 1, &type, &n, &found), MM_OK);
    assert_true(found && type == MMI_GGUF_F32 && n == 2);
    assert_int_equal(mmi_gguf_array_f64(ctx, g, "t.floats", 1, &d), MM_OK);
    assert_true(d == -1.5);
    assert_int_equal(mmi_gguf_array_i64(ctx, g, "t.floats", 1, &i), MM_E_FORMAT);

    assert_int_equal(mmi_gguf_array(ctx, g, "t.bools", 1, &type, &n, &found), MM_OK);
    assert_true(found && type == MMI_GGUF_BOOL && n == 3);

    /* a vocabulary's scores may be declared as bytes: they are read as such, not as floats */
    for (size_t k = 0; k < 4; k++) {
        static const int64_t expected[] = {0, 127, 128, 255};
        assert_int_equal(mmi_gguf_array_i64(ctx, g, "t.bytes", k, &i), MM_OK);
        assert_true(i == expected[k]);
        assert_int_equal(mmi_gguf_array_f64(ctx, g, "t.bytes", k, &d), MM_OK);
        assert_true(d == (double)expected[k]);
    }

    assert_int_equal(mmi_gguf_array(ctx, g, "t.absent", 0, &type, &n, &found), MM_OK);
    assert_false(found);
    assert_int_equal(mmi_gguf_array(ctx, g, "t.absent", 1, &type, &n, &found), MM_E_FORMAT);
    assert_int_equal(mmi_gguf_array(ctx, g, "t.u8", 0, &type, &n, &found), MM_E_FORMAT);
    assert_int_equal(mmi_gguf_array_i64(ctx, g, "t.u8", 0, &i), MM_E_FORMAT);
    mmi_gguf_destroy(g);
}

static const mmi_gguf_tensor *tensor(const mmi_gguf *g, const char *name, int32_t dtype, size_t bytes)
{
    const mmi_gguf_tensor *t = mmi_gguf_tensor_find(g, name);
    assert_non_null(t);
    assert_string_equal(t->name, name);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->bytes, bytes);
    assert_int_equal((size_t)((const unsigned char *)t->data - mmi_file_map_data(mmi_gguf_map(g))) % 32, 0);
    return t;
}

static void reads_tensors(void **state)
{
    static const struct {
        const char *name;
        int32_t dtype;
        size_t block, block_bytes;
    } blocks[] = {{"q4_0", MM_DTYPE_Q4_0, 32, 18},   {"q4_1", MM_DTYPE_Q4_1, 32, 20},   {"q5_0", MM_DTYPE_Q5_0, 32, 22},
                  {"q5_1", MM_DTYPE_Q5_1, 32, 24},   {"q8_0", MM_DTYPE_Q8_0, 32, 34},   {"q4_k", MM_DTYPE_Q4_K, 256, 144},
                  {"q5_k", MM_DTYPE_Q5_K, 256, 176}, {"q6_k", MM_DTYPE_Q6_K, 256, 210}, {"bf16", MM_DTYPE_BF16, 1, 2},
                  {"q2_k", MM_DTYPE_Q2_K, 256, 84},  {"q3_k", MM_DTYPE_Q3_K, 256, 110}, {"iq4_nl", MM_DTYPE_IQ4_NL, 32, 18}};
    fixture *f = *state;
    mmi_gguf *g;
    const mmi_gguf_tensor *t;
    mmi_file_map *map;

    assert_int_equal(mmi_gguf_open(f->ctx, "tests/golden/formats/tiny.gguf", &g), MM_OK);
    assert_int_equal(mmi_gguf_tensor_count(g), 17);
    assert_null(mmi_gguf_tensor_at(g, 17));
    assert_null(mmi_gguf_tensor_find(g, "f3"));
    assert_string_equal(mmi_gguf_tensor_at(g, 0)->name, "f32");

    t = tensor(g, "f32", MM_DTYPE_F32, 24);
    assert_true(t->rank == 2 && t->shape[0] == 2 && t->shape[1] == 3);
    for (int i = 0; i < 6; i++) assert_true(((const float *)t->data)[i] == (float)i * 0.5f - 1);
    t = tensor(g, "f16", MM_DTYPE_F16, 16);
    assert_true(t->rank == 3 && t->shape[0] == 2 && t->shape[1] == 2 && t->shape[2] == 2);
    assert_int_equal(((const uint16_t *)t->data)[7], 0x4700); /* 7 */
    t = tensor(g, "i32", MM_DTYPE_I32, 12);
    assert_true(((const int32_t *)t->data)[2] == INT32_MAX);
    t = tensor(g, "i64", MM_DTYPE_I64, 8);
    assert_true(t->rank == 1 && *(const int64_t *)t->data == INT64_MIN);
    t = tensor(g, "i8", -1, 0);
    assert_int_equal(t->file_type, 24);
    assert_int_equal(((const signed char *)t->data)[1], -2);
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) {
        t = tensor(g, blocks[k].name, blocks[k].dtype, 2 * blocks[k].block_bytes);
        assert_true(t->rank == 2 && t->shape[0] == 2 && t->shape[1] == (int64_t)blocks[k].block);
        for (size_t i = 0; i < t->bytes; i++) assert_int_equal(((const unsigned char *)t->data)[i], (i * 7 + k) & 255);
    }

    map = mmi_gguf_map(g); /* the data stays while someone holds the map */
    mmi_file_map_retain(map);
    t = mmi_gguf_tensor_find(g, "f32");
    {
        const float *data = t->data;
        mmi_gguf_destroy(g);
        assert_true(data[5] == 1.5f);
    }
    mmi_file_map_release(map);
}

static void follows_the_alignment(void **state)
{
    fixture *f = *state;
    mmi_gguf *g;
    const mmi_gguf_tensor *a, *b;

    assert_int_equal(mmi_gguf_open(f->ctx, "tests/golden/formats/aligned.gguf", &g), MM_OK);
    a = mmi_gguf_tensor_find(g, "a");
    b = mmi_gguf_tensor_find(g, "b");
    assert_int_equal((const char *)b->data - (const char *)a->data, 64);
    assert_true(*(const float *)a->data == 1 && *(const float *)b->data == 2);
    mmi_gguf_destroy(g);
}

/* --- files made here ------------------------------------------------------------------------------------------------ */

typedef struct {
    unsigned char *bytes;
    size_t n, capacity;
} writer;

static void put(writer *w, const void *bytes, size_t n)
{
    if (w->n + n > w->capacity) {
        w->capacity = 2 * (w->n + n) + 64;
        w->bytes = realloc(w->bytes, w->capacity);
        assert_non_null(w->bytes);
    }
    memcpy(w->bytes + w->n, bytes, n);
    w->n += n;
}

static void number(writer *w, uint64_t v, size_t n)
{
    for (; n--; v >>= 8) put(w, (unsigned char[1]){(unsigned char)v}, 1);
}

static void string(writer *w, const char *s)
{
    number(w, strlen(s), 8);
    put(w, s, strlen(s));
}

static void begin(writer *w, uint32_t version, uint64_t tensors, uint64_t keys)
{
    w->n = 0;
    put(w, "GGUF", 4);
    number(w, version, 4);
    number(w, tensors, 8);
    number(w, keys, 8);
}

static void key(writer *w, const char *name, uint32_t type)
{
    string(w, name);
    number(w, type, 4);
}

static void array(writer *w, const char *name, uint32_t type, uint64_t count)
{
    key(w, name, MMI_GGUF_ARRAY);
    number(w, type, 4);
    number(w, count, 8);
}

static void tensor_info(writer *w, const char *name, uint32_t rank, const uint64_t *shape, uint32_t type, uint64_t offset)
{
    string(w, name);
    number(w, rank, 4);
    for (uint32_t i = 0; i < rank && i < 8; i++) number(w, shape[i], 8);
    number(w, type, 4);
    number(w, offset, 8);
}

static void zeros(writer *w, size_t n)
{
    while (n--) put(w, "", 1);
}

static void pad(writer *w, size_t alignment)
{
    while (w->n % alignment) put(w, "", 1);
}

static void expect(const fixture *f, const writer *w, mm_status status, const char *sentence)
{
    mm_status st = visit_bytes(f, visit, w->bytes, w->n);
    if (st != status) fail_msg("%d for what should be \"%s\": %s", st, sentence, f->ctx->error);
    if (status) assert_sentence(f, sentence);
}

static void refuses_other_files(void **state)
{
    fixture *f = *state;
    writer w = {0};
    mmi_gguf *g;

    assert_int_equal(mmi_gguf_open(f->ctx, "tests/golden/formats/none.gguf", &g), MM_E_NOT_FOUND);
    assert_null(g);
    assert_int_equal(mmi_gguf_open(f->ctx, "tests/golden/formats/tiny.safetensors", &g), MM_E_FORMAT);
    assert_sentence(f, "is not a GGUF file");
    assert_int_equal(mmi_gguf_open(f->ctx, "tests/golden/formats/big_endian.gguf", &g), MM_E_UNSUPPORTED);
    assert_sentence(f, "big-endian");
    begin(&w, 1, 0, 0);
    expect(f, &w, MM_E_UNSUPPORTED, "is of GGUF version 1");
    begin(&w, 4, 0, 0);
    expect(f, &w, MM_E_UNSUPPORTED, "is of GGUF version 4");
    begin(&w, 0, 0, 0);
    expect(f, &w, MM_E_UNSUPPORTED, "is of GGUF version 0");
    begin(&w, 2, 0, 0);
    expect(f, &w, MM_OK, "version 2");
    begin(&w, 3, 0, 0);
    expect(f, &w, MM_OK, "version 3 with nothing in it");
    free(w.bytes);
}

static void refuses_counts_beyond_the_file(void **state)
{
    static const uint64_t counts[] = {UINT64_MAX, UINT64_MAX / 2 + 1, UINT64_MAX / 8, UINT64_MAX / 13 + 1, 1u << 30, 1000};
    fixture *f = *state;
    writer w = {0};
    int64_t peak;

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        begin(&w, 3, counts[i], 0);
        expect(f, &w, MM_E_FORMAT, "claims");
        begin(&w, 3, 0, counts[i]);
        expect(f, &w, MM_E_FORMAT, "claims");
        begin(&w, 3, 0, 1);
        number(&w, counts[i], 8); /* a key's name */
        zeros(&w, 40);
        expect(f, &w, MM_E_FORMAT, "are left in the file");
        begin(&w, 3, 0, 1);
        key(&w, "k", MMI_GGUF_STRING);
        number(&w, counts[i], 8);
        zeros(&w, 40);
        expect(f, &w, MM_E_FORMAT, "are left in the file");
        for (uint32_t type = 0; type <= MMI_GGUF_F64; type++) {
            if (type == MMI_GGUF_ARRAY) continue;
            begin(&w, 3, 0, 1);
            array(&w, "k", type, counts[i]);
            zeros(&w, 40);
            expect(f, &w, MM_E_FORMAT, "are left in the file");
        }
        begin(&w, 3, 0, 1);
        array(&w, "k", MMI_GGUF_STRING, 2);
        number(&w, 0, 8);
        number(&w, counts[i], 8); /* the second string's length */
        zeros(&w, 40);
        expect(f, &w, MM_E_FORMAT, "are left in the file");
        begin(&w, 3, 1, 0);
        number(&w, counts[i], 8); /* a tensor's name */
        zeros(&w, 40);
        expect(f, &w, MM_E_FORMAT, "are left in the file");
    }
    assert_int_equal(mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_PEAK, &peak), MM_OK);
    assert_true(peak - f->used < 64 * 1024); /* none of them cost more than small change */
    free(w.bytes);
}

static void refuses_odd_keys(void **state)
{
    fixture *f = *state;
    writer w = {0};
    char *longest = calloc(1, 65537);

    assert_non_null(longest);
    begin(&w, 3, 0, 1);
    key(&w, "k", 13);
    zeros(&w, 40);
    expect(f, &w, MM_E_FORMAT, "unknown type 13");
    begin(&w, 3, 0, 1);
    array(&w, "k", 99, 1);
    zeros(&w, 40);
    expect(f, &w, MM_E_FORMAT, "array of the unknown type 99");
    begin(&w, 3, 0, 1);
    array(&w, "k", MMI_GGUF_ARRAY, 1);
    zeros(&w, 40);
    expect(f, &w, MM_E_UNSUPPORTED, "array of arrays");
    begin(&w, 3, 0, 1);
    for (int i = 0; i < 10000; i++) array(&w, "k", MMI_GGUF_ARRAY, 1);
    expect(f, &w, MM_E_UNSUPPORTED, "array of arrays");
    begin(&w, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        key(&w, "same", MMI_GGUF_U8);
        number(&w, 0, 1);
    }
    expect(f, &w, MM_E_FORMAT, "key same appears twice");
    begin(&w, 3, 0, 1);
    key(&w, "\xFF", MMI_GGUF_U8);
    number(&w, 0, 1);
    expect(f, &w, MM_E_FORMAT, "key 0 is not text in UTF-8");
    begin(&w, 3, 0, 1);
    number(&w, 3, 8);
    put(&w, "a\0b", 3);
    number(&w, MMI_GGUF_U8, 4);
    number(&w, 0, 1);
    expect(f, &w, MM_E_FORMAT, "key 0 is not text in UTF-8");
    memset(longest, 'x', 65536);
    begin(&w, 3, 0, 1);
    key(&w, longest, MMI_GGUF_U8);
    number(&w, 0, 1);
    expect(f, &w, MM_E_LIMIT, "key 0 has 65536 bytes");
    begin(&w, 3, 0, 2);
    key(&w, longest + 1, MMI_GGUF_U8);
    number(&w, 0, 1);
    key(&w, "", MMI_GGUF_U8);
    number(&w, 0, 1);
    expect(f, &w, MM_OK, "the longest key and the shortest");
    begin(&w, 3, 0, 1);
    array(&w, "k", MMI_GGUF_STRING, 0);
    expect(f, &w, MM_OK, "an array of nothing");
    for (uint32_t type = 0; type <= MMI_GGUF_F64; type++) {
        static const size_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        if (!bytes[type]) continue;
        begin(&w, 3, 0, 1);
        key(&w, "k", type);
        zeros(&w, bytes[type] - 1);
        expect(f, &w, MM_E_FORMAT, "the file ends inside a value");
        zeros(&w, 1);
        expect(f, &w, MM_OK, "a value that ends with the file");
    }
    free(longest);
    free(w.bytes);
}

static void refuses_odd_values(void **state)
{
    fixture *f = *state;
    writer w = {0};
    mmi_gguf *g;
    int b = 7;
    double d = 7;
    int64_t i = 7;

    begin(&w, 3, 0, 4);
    key(&w, "bool", MMI_GGUF_BOOL);
    number(&w, 2, 1);
    key(&w, "nan", MMI_GGUF_F32);
    number(&w, 0x7FC00000, 4);
    key(&w, "inf", MMI_GGUF_F64);
    number(&w, 0x7FF0000000000000, 8);
    array(&w, "u64", MMI_GGUF_U64, 1);
    number(&w, UINT64_MAX, 8);
    expect(f, &w, MM_OK, "odd values");
    assert_int_equal(mmi_gguf_open(f->ctx, f->path, &g), MM_OK);
    assert_int_equal(mmi_gguf_bool(f->ctx, g, "bool", 1, &b), MM_E_FORMAT);
    assert_sentence(f, "key bool is 2, neither false nor true");
    assert_int_equal(mmi_gguf_f64(f->ctx, g, "nan", 1, -1e308 * 10, 1e308 * 10, &d), MM_E_FORMAT);
    assert_int_equal(mmi_gguf_f64(f->ctx, g, "inf", 1, -1e308, 1e308, &d), MM_E_FORMAT);
    assert_int_equal(mmi_gguf_array_i64(f->ctx, g, "u64", 0, &i), MM_E_FORMAT);
    assert_sentence(f, "element 0 of key u64 is 18446744073709551615");
    assert_true(b == 7 && d == 7 && i == 7);
    mmi_gguf_destroy(g);
    free(w.bytes);
}

static void refuses_odd_alignments(void **state)
{
    static const uint64_t refused[] = {0, 1, 4, 7, 12, 33, 48, (1u << 20) + 1, 1u << 21, 1u << 30, 1u << 31, UINT32_MAX};
    fixture *f = *state;
    writer w = {0};

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        begin(&w, 3, 0, 1);
        key(&w, "general.alignment", MMI_GGUF_U32);
        number(&w, refused[i], 4);
        expect(f, &w, MM_E_FORMAT, "general.alignment is");
    }
    begin(&w, 3, 0, 1);
    key(&w, "general.alignment", MMI_GGUF_STRING);
    string(&w, "32");
    expect(f, &w, MM_E_FORMAT, "general.alignment must be of type integer");
    for (uint64_t alignment = 8; alignment <= 1u << 20; alignment *= 2) {
        begin(&w, 3, 1, 1);
        key(&w, "general.alignment", MMI_GGUF_U32);
        number(&w, alignment, 4);
        tensor_info(&w, "t", 1, (uint64_t[]){1}, 0, 0);
        pad(&w, alignment);
        expect(f, &w, MM_E_FORMAT, "tensor t has 4 bytes from byte 0 of the data, which has 0");
        number(&w, 0, 4);
        expect(f, &w, MM_OK, "alignment");
    }
    free(w.bytes);
}

static void refuses_odd_tensors(void **state)
{
    const uint64_t half = (uint64_t)1 << 32, q = ((uint64_t)1 << 42) + 1;
    const struct {
        uint32_t rank;
        uint64_t shape[5];
        uint32_t type;
        uint64_t offset;
        mm_status status;
        const char *sentence;
    } cases[] = {
        {0, {0}, 0, 0, MM_OK, "scalar"},
        {4, {1, 1, 1, 16}, 0, 0, MM_OK, "64 bytes"},
        {1, {16}, 0, 32, MM_E_FORMAT, "tensor t has 64 bytes from byte 32 of the data, which has 64"},
        {1, {8}, 0, 32, MM_OK, "the second half"},
        {1, {17}, 0, 0, MM_E_FORMAT, "tensor t has 68 bytes from byte 0"},
        {5, {1, 1, 1, 1, 1}, 0, 0, MM_E_FORMAT, "rank 5"},
        {UINT32_MAX, {1, 1, 1, 1, 1}, 0, 0, MM_E_FORMAT, "rank 4294967295"},
        {2, {0, 1}, 0, 0, MM_E_FORMAT, "dimension of 0"},
        {2, {1, UINT64_MAX}, 0, 0, MM_E_FORMAT, "dimension of 18446744073709551615"},
        {2, {half, half}, 0, 0, MM_E_FORMAT, "dimension of"},                  /* 2^64 elements */
        {2, {half, half / 4}, 0, 0, MM_E_FORMAT, "cannot hold"},               /* 2^62 elements, 2^64 bytes */
        {4, {q, q / 3, 3, 1}, 0, 0, MM_E_FORMAT, "dimension of"},
        {2, {(uint64_t)1 << 42, 1u << 20}, 2, 0, MM_E_FORMAT, "tensor t has"},          /* Q4_0 of 2^62 elements */
        {1, {31}, 2, 0, MM_E_FORMAT, "rows of 31 elements"},
        {2, {16, 2}, 2, 0, MM_E_FORMAT, "rows of 16 elements"},
        {0, {0}, 8, 0, MM_E_FORMAT, "rows of 1 elements"},
        {1, {32}, 8, 0, MM_OK, "Q8_0"},
        {1, {256}, 12, 0, MM_E_FORMAT, "tensor t has 144 bytes"},
        {1, {1}, 0, 1, MM_E_FORMAT, "not a multiple of 32"},
        {1, {1}, 0, 64, MM_E_FORMAT, "tensor t has 4 bytes from byte 64"},
        {1, {1}, 0, 1u << 20, MM_E_FORMAT, "begins at byte 1048576 of the data"},
        {1, {1}, 0, UINT64_MAX - 31, MM_E_FORMAT, "begins at byte 18446744073709551584"},
        {1, {1}, 0, (uint64_t)1 << 63, MM_E_FORMAT, "begins at byte"},
        {1, {1u << 30}, 99, 0, MM_OK, "an unknown type: only its place is checked"},
        {1, {1}, 99, 96, MM_E_FORMAT, "tensor t has 0 bytes from byte 96"},
        {1, {1}, UINT32_MAX, 64, MM_OK, "an unknown type at the very end"},
    };
    fixture *f = *state;
    writer w = {0};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(&w, 3, 1, 0);
        tensor_info(&w, "t", cases[i].rank, cases[i].shape, cases[i].type, cases[i].offset);
        pad(&w, 32);
        zeros(&w, 64);
        expect(f, &w, cases[i].status, cases[i].sentence);
    }
    begin(&w, 3, 2, 0);
    tensor_info(&w, "t", 1, (uint64_t[]){1}, 0, 0);
    tensor_info(&w, "t", 1, (uint64_t[]){1}, 0, 0);
    pad(&w, 32);
    zeros(&w, 64);
    expect(f, &w, MM_E_FORMAT, "tensor t appears twice");
    begin(&w, 3, 1, 0);
    tensor_info(&w, "t", 1, (uint64_t[]){1}, 0, 0);
    expect(f, &w, MM_E_FORMAT, "padding before the data");
    free(w.bytes);
}

/* Tensors whose sizes add up past 2^64 although each alone looks possible: each is held against the file. */
static void refuses_sums_that_wrap(void **state)
{
    fixture *f = *state;
    writer w = {0};
    static const char *const names[] = {"a", "b", "c", "d"};

    begin(&w, 3, 4, 0);
    for (size_t i = 0; i < 4; i++) tensor_info(&w, names[i], 1, (uint64_t[]){(uint64_t)1 << 60}, 0, 0);
    pad(&w, 32);
    zeros(&w, 64);
    expect(f, &w, MM_E_FORMAT, "tensor a has 4611686018427387904 bytes");
    free(w.bytes);
}

/* 200,000 keys and as many tensors: nested loops over them would run for minutes under the sanitizers. */
static void many_names_take_linear_time(void **state)
{
    enum { MANY = 200000 };
    fixture *f = *state;
    writer w = {0};
    char name[32];
    mmi_gguf *g;
    int64_t peak;

    begin(&w, 3, MANY, MANY);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "key.%d", i);
        key(&w, name, MMI_GGUF_U8);
        number(&w, (uint64_t)i & 255, 1);
    }
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "tensor.%d", i);
        tensor_info(&w, name, 1, (uint64_t[]){1}, 0, 0);
    }
    pad(&w, 32);
    zeros(&w, 4);
    write_bytes(f, w.bytes, w.n);
    assert_int_equal(mmi_gguf_open(f->ctx, f->path, &g), MM_OK);
    assert_string_equal(mmi_gguf_key(g, 123456), "key.123456");
    assert_string_equal(mmi_gguf_tensor_find(g, "tensor.199999")->name, "tensor.199999");
    mmi_gguf_destroy(g);
    assert_int_equal(mm_context_get_i64(f->ctx, MM_CONTEXT_MEMORY_PEAK, &peak), MM_OK);
    assert_true((size_t)peak < 16 * w.n); /* in proportion to the file */
    free(w.bytes);
}

static void survives_damage(void **state)
{
    fixture *f = *state;
    const unsigned char *begin_of_file, *begin_of_data, *end;
    const mmi_gguf_tensor *last;
    mmi_gguf *g;
    size_t header, needed;

    assert_int_equal(mmi_gguf_open(f->ctx, "tests/golden/formats/tiny.gguf", &g), MM_OK);
    begin_of_file = mmi_file_map_data(mmi_gguf_map(g));
    begin_of_data = mmi_gguf_tensor_at(g, 0)->data;
    last = mmi_gguf_tensor_at(g, mmi_gguf_tensor_count(g) - 1);
    end = (const unsigned char *)last->data + last->bytes; /* padding follows */
    header = (size_t)(begin_of_data - begin_of_file);
    needed = (size_t)(end - begin_of_file);
    mmi_gguf_destroy(g);
    visit_damaged(f, visit, "tests/golden/formats/tiny.gguf", needed, header);
}

static void survives_failing_allocations(void **state)
{
    visit_out_of_memory(*state, visit_only_open, "tests/golden/formats/tiny.gguf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_metadata, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_arrays, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(follows_the_alignment, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_other_files, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_counts_beyond_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_odd_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_odd_values, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_odd_alignments, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_odd_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_sums_that_wrap, setup, teardown),
        cmocka_unit_test_setup_teardown(many_names_take_linear_time, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
