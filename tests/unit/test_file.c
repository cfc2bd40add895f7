/* Files: mapping, reading, writing aside. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* mkdtemp */
#include "unit_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

static unit_allocator allocator;
static mm_context *ctx;
static char folder[64], path[128];

static int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    ctx = unit_context(&allocator);
    (void)snprintf(folder, sizeof folder, "%.40s/libmm.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    unit_context_end(&allocator, ctx);
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
    return 0;
}

static size_t files_in_folder(void)
{
    DIR *d = opendir(folder);
    size_t n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_write_and_read(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 4096, 100000};
    char *bytes = malloc(100000), *have = NULL;
    size_t n = 0;
    (void)state;

    assert_non_null(bytes);
    for (size_t i = 0; i < 100000; i++) bytes[i] = (char)(i * 31 >> 3);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mmi_file_map *map = NULL;
        assert_int_equal(mmi_file_write(ctx, path, &(mmi_file_piece){bytes, sizes[i]}, 1), MM_OK);
        assert_int_equal(files_in_folder(), 1);
        assert_int_equal(mmi_file_read(ctx, path, sizes[i], &have, &n), MM_OK);
        assert_int_equal(n, sizes[i]);
        assert_memory_equal(have, bytes, n);
        assert_int_equal(have[n], 0);
        mmi_free(have);
        assert_int_equal(mmi_file_map_open(ctx, path, &map), MM_OK);
        assert_int_equal(mmi_file_map_size(map), sizes[i]);
        if (sizes[i]) assert_memory_equal(mmi_file_map_data(map), bytes, sizes[i]);
        mmi_file_map_retain(map);
        mmi_file_map_release(map);
        mmi_file_map_forget(map, mmi_file_map_data(map), sizes[i]);
        if (sizes[i]) assert_memory_equal(mmi_file_map_data(map), bytes, sizes[i]); /* forgetting drops no bytes */
        mmi_file_map_release(map);
    }
    {
        mmi_file_piece pieces[3] = {{"abc", 3}, {NULL, 0}, {"defg", 4}};
        assert_int_equal(mmi_file_write(ctx, path, pieces, 3), MM_OK);
        assert_int_equal(mmi_file_read(ctx, path, 100, &have, &n), MM_OK);
        assert_string_equal(have, "abcdefg");
        mmi_free(have);
    }
    mmi_file_map_release(NULL);
    free(bytes);
}

static void test_refused(void **state)
{
    char *have = (char *)1;
    size_t n = 1;
    mmi_file_map *map = (mmi_file_map *)1;
    (void)state;

    assert_int_equal(mmi_file_read(ctx, path, 100, &have, &n), MM_E_NOT_FOUND);
    assert_null(have);
    assert_int_equal(n, 0);
    assert_non_null(strstr(mm_context_error(ctx), path));
    assert_int_equal(mmi_file_map_open(ctx, path, &map), MM_E_NOT_FOUND);
    assert_null(map);
    assert_int_equal(mmi_file_read(ctx, folder, 100, &have, &n), MM_E_IO); /* a directory */
    assert_int_equal(mmi_file_map_open(ctx, folder, &map), MM_E_IO);
    assert_int_equal(mmi_file_map_open(ctx, "/dev/zero", &map), MM_E_IO);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(mmi_file_map_open(ctx, path, &map), MM_E_IO); /* and does not wait for a writer */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mmi_file_write(ctx, path, &(mmi_file_piece){"0123456789", 10}, 1), MM_OK);
    assert_int_equal(mmi_file_read(ctx, path, 9, &have, &n), MM_E_LIMIT);
    assert_non_null(strstr(mm_context_error(ctx), "10"));
    assert_int_equal(mmi_file_write(ctx, "/nonexistent/file", &(mmi_file_piece){"x", 1}, 1), MM_E_IO);
    assert_non_null(strstr(mm_context_error(ctx), "/nonexistent/file"));
    /* writing where a directory stands: nothing is left aside */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mmi_file_write(ctx, path, &(mmi_file_piece){"x", 1}, 1), MM_E_IO);
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(mmi_file_exists(path), 1);
    assert_int_equal(mmi_file_is_directory(path), 1);
    assert_int_equal(mmi_file_exists("/nonexistent"), 0);
    assert_int_equal(mmi_file_is_directory("/dev/null"), 0);
}

/* A failed write leaves the file as it was. */
static void test_out_of_memory(void **state)
{
    char *have = NULL;
    size_t n = 0;
    mmi_file_map *map = NULL;
    (void)state;

    assert_int_equal(mmi_file_write(ctx, path, &(mmi_file_piece){"old", 3}, 1), MM_OK);
    allocator.fail_at = allocator.count + 1;
    assert_int_equal(mmi_file_write(ctx, path, &(mmi_file_piece){"new!", 4}, 1), MM_E_NOMEM);
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(mmi_file_read(ctx, path, 3, &have, &n), MM_OK);
    assert_string_equal(have, "old");
    mmi_free(have);
    allocator.fail_at = allocator.count + 1;
    assert_int_equal(mmi_file_read(ctx, path, 3, &have, &n), MM_E_NOMEM);
    assert_null(have);
    allocator.fail_at = allocator.count + 1;
    assert_int_equal(mmi_file_map_open(ctx, path, &map), MM_E_NOMEM);
    assert_null(map);
    allocator.fail_at = 0;
}

static void test_names(void **state)
{
    static const char *const plain[] = {"a", "model-00001-of-00002.safetensors", "...", ".hidden", "a b", "a..b"};
    static const char *const leading[] = {"", ".", "..", "/", "/etc/passwd", "a/b", "../a", "a\\b", "..\\a", "a/"};
    char *joined;
    (void)state;

    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) assert_int_not_equal(mmi_file_name_is_plain(plain[i]), 0);
    for (size_t i = 0; i < sizeof leading / sizeof *leading; i++) assert_int_equal(mmi_file_name_is_plain(leading[i]), 0);
    joined = mmi_file_join(ctx, "some/folder", "name");
    assert_string_equal(joined, "some/folder/name");
    mmi_free(joined);
    allocator.fail_at = allocator.count + 1;
    assert_null(mmi_file_join(ctx, "a", "b"));
    allocator.fail_at = 0;
}

static void assert_old(void)
{
    char *have = NULL;
    size_t n = 0;

    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(mmi_file_read(ctx, path, 100, &have, &n), MM_OK);
    assert_string_equal(have, "old");
    mmi_free(have);
}

/* A file that grows past what the system allows: as a full disk, it fails in the middle. */
static void test_full_disk(void **state)
{
    static char bytes[40000];
    mmi_file_writer w = {0};
    struct rlimit kept, low;
    (void)state;

    assert_int_equal(mmi_file_write(ctx, path, &(mmi_file_piece){"old", 3}, 1), MM_OK);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    low = kept;
    low.rlim_cur = 65536;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_int_equal(mmi_file_begin(ctx, path, &w), MM_OK);
    assert_int_equal(files_in_folder(), 2);
    assert_int_equal(mmi_file_append(ctx, &w, bytes, sizeof bytes), MM_OK);
    assert_int_equal(mmi_file_append(ctx, &w, bytes, sizeof bytes), MM_E_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
    assert_non_null(strstr(mm_context_error(ctx), path));
    assert_non_null(strstr(mm_context_error(ctx), strerror(EFBIG)));
    mmi_file_abandon(&w);
    assert_old();
}

static void test_abandoned(void **state)
{
    mmi_file_writer w = {0};
    (void)state;

    mmi_file_abandon(&w);
    assert_int_equal(mmi_file_write(ctx, path, &(mmi_file_piece){"old", 3}, 1), MM_OK);
    assert_int_equal(mmi_file_begin(ctx, path, &w), MM_OK);
    assert_int_equal(mmi_file_append(ctx, &w, "new", 3), MM_OK);
    assert_int_equal(files_in_folder(), 2);
    mmi_file_abandon(&w);
    mmi_file_abandon(&w);
    assert_old();
    assert_int_equal(mmi_file_begin(ctx, path, &w), MM_OK);
    assert_int_equal(mmi_file_append(ctx, &w, "old", 3), MM_OK);
    assert_int_equal(mmi_file_finish(ctx, &w), MM_OK);
    mmi_file_abandon(&w);
    assert_old();
    assert_int_equal(mmi_file_make_directory(ctx, folder), MM_OK); /* it is there */
    assert_int_equal(mmi_file_make_directory(ctx, path), MM_E_IO);
    assert_non_null(strstr(mm_context_error(ctx), path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abandoned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
