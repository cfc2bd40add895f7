/* SPDX-License-Identifier: MIT */
#include "training_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "json.h"

enum { MOST_BYTES = 1 << 30 };

struct mmi_training_log {
    int fd;
    char *path;
};

/* How much of a log is of steps up to `step`: whole lines, in the order of steps. */
static size_t bytes_until(mm_context *ctx, const char *data, size_t size, uint64_t step)
{
    size_t at = 0;

    while (at < size) {
        const char *end = memchr(data + at, '\n', size - at);
        const size_t n = end ? (size_t)(end - data) - at : 0;
        mmi_json *line = NULL;
        int64_t of = -1;
        if (!end || mmi_json_parse(ctx, "a line of the log", data + at, n, &line)) return at;
        if (!mmi_json_integer(mmi_json_get(mmi_json_root(line), "step"), &of)) of = -1;
        mmi_json_destroy(line);
        if (of < 0 || (uint64_t)of > step) return at;
        at += n + 1;
    }
    return at;
}

static mm_status cut(mm_context *ctx, const char *path, uint64_t step)
{
    char *data = NULL;
    size_t size = 0, keep = 0;
    mmi_file_piece piece;
    mm_status st = MM_OK;

    if (!mmi_file_exists(path)) return MM_OK;
    if (step) {
        st = mmi_file_read(ctx, path, MOST_BYTES, &data, &size);
        if (!st) keep = bytes_until(ctx, data, size, step);
    }
    piece = (mmi_file_piece){data, keep};
    if (!st && (!step || keep < size)) st = mmi_file_write(ctx, path, &piece, 1);
    mmi_free(data);
    return st;
}

mm_status mmi_training_log_open(mm_context *ctx, const char *directory, uint64_t step, mmi_training_log **out)
{
    mmi_training_log *log = mmi_zalloc(ctx, sizeof *log);
    mm_status st = MM_OK;

    *out = NULL;
    if (!log) return MM_E_NOMEM;
    log->fd = -1;
    log->path = mmi_file_join(ctx, directory, "log.jsonl");
    if (!log->path) st = MM_E_NOMEM;
    if (!st) st = cut(ctx, log->path, step);
    if (!st && (log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) < 0) {
        const int error = errno;
        st = mmi_file_fail(ctx, "write", log->path, error);
    }
    if (st) {
        mmi_training_log_close(log);
        return st;
    }
    *out = log;
    return MM_OK;
}

void mmi_training_log_close(mmi_training_log *log)
{
    if (!log) return;
    if (log->fd >= 0) (void)close(log->fd);
    mmi_free(log->path);
    mmi_free(log);
}

mm_status mmi_training_log_write(mm_context *ctx, mmi_training_log *log, const char *line, size_t size)
{
    mmi_text text = {0};
    mm_status st = mmi_text_append(ctx, &text, line, size) || mmi_text_append(ctx, &text, "\n", 1) ? MM_E_NOMEM : MM_OK;

    for (size_t at = 0; at < text.size && !st;) {
        const ssize_t n = write(log->fd, text.data + at, text.size - at);
        const int error = errno;
        if (n < 0 && error == EINTR) continue;
        if (n <= 0) st = mmi_file_fail(ctx, "write", log->path, error);
        else at += (size_t)n;
    }
    mmi_text_clear(&text);
    return st;
}
