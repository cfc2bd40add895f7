/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* madvise; _GNU_SOURCE would bring another strerror_r */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

/* AddressSanitizer knows nothing of mappings: tell it where the file ends in its last page. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MMI_WITH_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define MMI_WITH_ASAN
#endif
#ifdef MMI_WITH_ASAN
#include <sanitizer/asan_interface.h>
static void mark_tail(void *data, size_t size, int poison)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), tail = (page - size % page) % page;
    if (poison)
        __asan_poison_memory_region((char *)data + size, tail);
    else
        __asan_unpoison_memory_region((char *)data + size, tail);
}
#else
#define mark_tail(data, size, poison) ((void)0)
#endif

struct mmi_file_map {
    atomic_size_t references;
    void *data; /* NULL for an empty file */
    size_t size;
};

enum { REASON = 128 };

/* What an errno means, in `text`; strerror is not for several threads. */
static const char *reason_in(int error, char text[REASON])
{
    return strerror_r(error, text, REASON) ? "unknown error" : text;
}

#define reason(error) reason_in(error, (char[REASON]){0})

mm_status mmi_file_fail(mm_context *ctx, const char *verb, const char *path, int error)
{
    return mmi_fail(ctx, error == ENOENT || error == ENOTDIR ? MM_E_NOT_FOUND : MM_E_IO, "cannot %s %s: %s", verb, path, reason(error));
}

/* Open a regular file: a directory or a device is refused, for their sizes mean nothing. */
static mm_status open_regular(mm_context *ctx, const char *path, int *fd, size_t *size)
{
    struct stat s;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        int e = errno;
        return mmi_fail(ctx, e == ENOENT || e == ENOTDIR ? MM_E_NOT_FOUND : MM_E_IO, "cannot open %s: %s", path, reason(e));
    }
    if (fstat(*fd, &s)) {
        int e = errno;
        close(*fd);
        return mmi_fail(ctx, MM_E_IO, "cannot open %s: %s", path, reason(e));
    }
    if (!S_ISREG(s.st_mode)) {
        close(*fd);
        return mmi_fail(ctx, MM_E_IO, "%s is not a regular file", path);
    }
    *size = (size_t)s.st_size;
    return MM_OK;
}

mm_status mmi_file_map_open(mm_context *ctx, const char *path, mmi_file_map **out)
{
    mmi_file_map *m;
    size_t size = 0;
    int fd = -1;
    mm_status st;

    *out = NULL;
    st = open_regular(ctx, path, &fd, &size);
    if (st) return st;
    m = mmi_alloc(ctx, sizeof *m);
    if (!m) {
        close(fd);
        return MM_E_NOMEM;
    }
    atomic_init(&m->references, 1);
    m->size = size;
    m->data = NULL;
    if (size) {
        m->data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (m->data == MAP_FAILED) {
            st = mmi_fail(ctx, MM_E_IO, "cannot map %s: %s", path, reason(errno));
            mmi_free(m);
            close(fd);
            return st;
        }
        mark_tail(m->data, size, 1);
    }
    close(fd);
    *out = m;
    return MM_OK;
}

void mmi_file_map_retain(mmi_file_map *m) { atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed); }

void mmi_file_map_release(mmi_file_map *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) return;
    if (m->data) {
        mark_tail(m->data, m->size, 0);
        munmap(m->data, m->size);
    }
    mmi_free(m);
}

const unsigned char *mmi_file_map_data(const mmi_file_map *m) { return m->data; }
size_t mmi_file_map_size(const mmi_file_map *m) { return m->size; }

void mmi_file_map_forget(const mmi_file_map *m, const void *data, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)data + page - 1) / page * page, to = ((uintptr_t)data + size) / page * page;
    (void)m;
    if (to > from) (void)madvise((void *)from, to - from, MADV_DONTNEED); /* a hint: failing costs memory only */
}

mm_status mmi_file_read(mm_context *ctx, const char *path, size_t most, char **data, size_t *size)
{
    size_t n = 0, got = 0;
    int fd = -1;
    char *p;
    mm_status st;

    *data = NULL;
    *size = 0;
    st = open_regular(ctx, path, &fd, &n);
    if (st) return st;
    if (n > most) {
        close(fd);
        return mmi_fail(ctx, MM_E_LIMIT, "%s has %zu bytes, more than the %zu allowed for such a file", path, n, most);
    }
    p = mmi_alloc(ctx, n + 1);
    if (!p) {
        close(fd);
        return MM_E_NOMEM;
    }
    while (got < n) {
        ssize_t r = read(fd, p + got, n - got);
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) {
            st = mmi_fail(ctx, MM_E_IO, "cannot read %s: %s", path, r < 0 ? reason(errno) : "it became shorter");
            break;
        }
        got += (size_t)r;
    }
    close(fd);
    if (st) {
        mmi_free(p);
        return st;
    }
    p[n] = 0;
    *data = p;
    *size = n;
    return MM_OK;
}

static mm_status fail_write(mm_context *ctx, const char *path, int error)
{
    return mmi_fail(ctx, MM_E_IO, "cannot write %s: %s", path, reason(error));
}

mm_status mmi_file_begin(mm_context *ctx, const char *path, mmi_file_writer *w)
{
    mmi_text aside = {0};

    memset(w, 0, sizeof *w);
    w->path = mmi_strdup(ctx, path);
    if (!w->path || mmi_text_format(ctx, &aside, "%s.XXXXXX", path)) {
        mmi_text_clear(&aside);
        mmi_free(w->path);
        w->path = NULL;
        return MM_E_NOMEM;
    }
    w->fd = mkstemp(aside.data);
    if (w->fd >= 0) {
        w->aside = aside.data;
        return MM_OK;
    }
    (void)fail_write(ctx, path, errno);
    mmi_text_clear(&aside);
    mmi_free(w->path);
    w->path = NULL;
    return MM_E_IO;
}

mm_status mmi_file_append(mm_context *ctx, mmi_file_writer *w, const void *data, size_t size)
{
    const char *p = data;

    while (size) {
        ssize_t n = write(w->fd, p, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_write(ctx, w->path, n ? errno : ENOSPC);
        p += n;
        size -= (size_t)n;
    }
    return MM_OK;
}

/* The folder's entry reaches the disk too: 0, or an errno. File systems that cannot do that say EINVAL. */
static int sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX] = ".";
    int fd, error;

    if (slash && (size_t)(slash - path) + 1 >= sizeof folder) return 0; /* the system took the path, so this cannot be */
    if (slash) (void)snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return 0; /* a folder may be written and not read */
    error = fsync(fd) && errno != EINVAL ? errno : 0;
    close(fd);
    return error;
}

mm_status mmi_file_finish(mm_context *ctx, mmi_file_writer *w)
{
    mm_status st = MM_OK;
    int error;

    (void)fchmod(w->fd, 0644);
    if (fsync(w->fd) || rename(w->aside, w->path)) {
        st = fail_write(ctx, w->path, errno);
    } else {
        mmi_free(w->aside); /* there is none to remove */
        w->aside = NULL;
        close(w->fd);
        error = sync_folder(w->path);
        if (error) st = fail_write(ctx, w->path, error);
    }
    mmi_file_abandon(w);
    return st;
}

void mmi_file_abandon(mmi_file_writer *w)
{
    if (w->aside) {
        close(w->fd);
        (void)unlink(w->aside);
    }
    mmi_free(w->aside);
    mmi_free(w->path);
    memset(w, 0, sizeof *w);
}

mm_status mmi_file_write(mm_context *ctx, const char *path, const mmi_file_piece *pieces, size_t count)
{
    mmi_file_writer w = {0};
    mm_status st = mmi_file_begin(ctx, path, &w);

    for (size_t i = 0; i < count && !st; i++) st = mmi_file_append(ctx, &w, pieces[i].data, pieces[i].size);
    if (!st) st = mmi_file_finish(ctx, &w);
    mmi_file_abandon(&w);
    return st;
}

char *mmi_file_absolute(mm_context *ctx, const char *path)
{
    char resolved[PATH_MAX];
    return realpath(path, resolved) ? mmi_strdup(ctx, resolved) : NULL;
}

int mmi_file_exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

int mmi_file_is_directory(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

mm_status mmi_file_make_directory(mm_context *ctx, const char *path)
{
    char *part = mmi_strdup(ctx, path);
    int error = 0;

    if (!part) return MM_E_NOMEM;
    for (char *end = part; end; *end = '/') { /* those above it first */
        end = *end ? strchr(end + 1, '/') : NULL;
        if (end) *end = 0;
        error = !mkdir(part, 0777) || mmi_file_is_directory(part) ? 0 : errno;
        if (!end) break;
    }
    mmi_free(part);
    return error ? mmi_fail(ctx, MM_E_IO, "cannot make the directory %s: %s", path, reason(error)) : MM_OK;
}

char *mmi_file_join(mm_context *ctx, const char *directory, const char *name)
{
    mmi_text t = {0};
    if (mmi_text_format(ctx, &t, "%s/%s", directory, name)) {
        mmi_text_clear(&t);
        return NULL;
    }
    return t.data;
}

int mmi_file_name_is_plain(const char *name)
{
    return *name && !strpbrk(name, "/\\") && strcmp(name, ".") && strcmp(name, "..");
}
