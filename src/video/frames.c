/* SPDX-License-Identifier: MIT */
#include "frames.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "size.h"

static const double default_rate = 24;

/* Names in natural order: runs of digits by their value, all else by bytes. */
static int compare_names(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b, *all_x = x, *all_y = y;

    while (*x && *y) {
        if (isdigit((unsigned char)*x) && isdigit((unsigned char)*y)) {
            size_t digits_x, digits_y;
            int order;
            x += strspn(x, "0");
            y += strspn(y, "0");
            digits_x = strspn(x, "0123456789");
            digits_y = strspn(y, "0123456789");
            if (digits_x != digits_y) return digits_x < digits_y ? -1 : 1;
            if ((order = memcmp(x, y, digits_x))) return order;
            x += digits_x;
            y += digits_y;
        } else if (*x != *y) {
            return (unsigned char)*x < (unsigned char)*y ? -1 : 1;
        } else {
            x++;
            y++;
        }
    }
    if (*x || *y) return *x ? 1 : -1;
    return strcmp(all_x, all_y);
}

static int is_picture(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg"};
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; i < 3 && dot && *name != '.'; i++)
        if (!strcasecmp(dot, endings[i])) return 1;
    return 0;
}

static mm_status read_folder(mm_context *ctx, const char *path, mm_video *v)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    size_t capacity = 0;
    mm_status st = MM_OK;

    if (!folder) return mmi_fail(ctx, MM_E_IO, "cannot open the folder %s", path);
    while (!st && (errno = 0, entry = readdir(folder))) {
        if (!is_picture(entry->d_name)) continue;
        if (v->frames == MM_VIDEO_MAX_FRAMES)
            st = mmi_fail(ctx, MM_E_LIMIT, "%s has more than the %d frames allowed", path, MM_VIDEO_MAX_FRAMES);
        else if (mmi_grow(ctx, (void **)&v->paths, &capacity, v->frames, sizeof *v->paths) ||
                 !(v->paths[v->frames] = mmi_file_join(ctx, path, entry->d_name)))
            st = MM_E_NOMEM;
        else
            v->frames++;
    }
    if (!st && errno) st = mmi_fail(ctx, MM_E_IO, "cannot read the folder %s", path);
    (void)closedir(folder);
    if (!st && !v->frames) st = mmi_fail(ctx, MM_E_NOT_FOUND, "the folder %s has no PNG or JPEG file", path);
    if (!st) qsort(v->paths, v->frames, sizeof *v->paths, compare_names);
    return st;
}

/* A pipe is read to its end, since its frames are asked for in any order. */
static mm_status read_pipe(mm_context *ctx, const char *path, char **data, size_t *size)
{
    const size_t piece = 1 << 20;
    size_t room = 0;
    ssize_t got = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    mm_status st = MM_OK;

    if (fd < 0) return mmi_fail(ctx, MM_E_IO, "cannot open %s", path);
    while (got && !(st = mmi_check_cancel(ctx))) {
        if (room - *size < piece) {
            char *grown = mmi_realloc(ctx, *data, room = room ? 2 * room : 2 * piece);
            if (!grown) {
                st = MM_E_NOMEM;
                break;
            }
            *data = grown;
        }
        got = read(fd, *data + *size, piece);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) st = mmi_fail(ctx, MM_E_IO, "cannot read %s", path);
        else if ((*size += (size_t)got) > MM_VIDEO_MAX_PIPE_BYTES)
            st = mmi_fail(ctx, MM_E_LIMIT, "%s gives more than the %d bytes allowed: write it to a file", path, MM_VIDEO_MAX_PIPE_BYTES);
        if (st) break;
    }
    (void)close(fd);
    return st;
}

static mm_status read_y4m(mm_context *ctx, const char *name, size_t size, mm_video *v)
{
    mm_status st = mmi_y4m_read(ctx, name, v->data, size, v->max_pixels, &v->y4m);
    v->frames = v->y4m.frames;
    if (v->rate <= 0) v->rate = v->y4m.rate;
    return st;
}

static mm_status create(mm_context *ctx, size_t max_pixels, double rate, mm_video **out)
{
    *out = mmi_zalloc(ctx, sizeof **out);
    if (!*out) return MM_E_NOMEM;
    (*out)->max_pixels = max_pixels;
    (*out)->rate = rate;
    return MM_OK;
}

/* Hand the video over, or destroy it. */
static mm_status finish(mm_status st, mm_video *v, mm_video **out)
{
    if (st) {
        mmi_video_destroy(v);
        return st;
    }
    if (v->rate <= 0) v->rate = default_rate;
    *out = v;
    return MM_OK;
}

mm_status mmi_video_open(mm_context *ctx, const char *path, size_t max_pixels, double rate, mm_video **out)
{
    struct stat s;
    size_t size = 0;
    mm_video *v = NULL;
    mm_status st;

    *out = NULL;
    if (stat(path, &s)) return mmi_fail(ctx, MM_E_NOT_FOUND, "cannot find %s", path);
    st = create(ctx, max_pixels, rate, &v);
    if (st) return st;
    if (S_ISDIR(s.st_mode)) return finish(read_folder(ctx, path, v), v, out);
    if (S_ISFIFO(s.st_mode)) {
        st = read_pipe(ctx, path, &v->read, &size);
        v->data = (const unsigned char *)v->read;
    } else if (!(st = mmi_file_map_open(ctx, path, &v->map))) {
        v->data = mmi_file_map_data(v->map);
        size = mmi_file_map_size(v->map);
    }
    if (!st) st = read_y4m(ctx, path, size, v);
    return finish(st, v, out);
}

mm_status mmi_video_wrap(mm_context *ctx, const void *data, size_t size, size_t max_pixels, double rate, void (*free_cb)(void *user),
                         void *user, mm_video **out)
{
    mm_video *v = NULL;
    mm_status st;

    *out = NULL;
    st = create(ctx, max_pixels, rate, &v);
    if (st) return st;
    v->data = data;
    st = read_y4m(ctx, "the video in memory", size, v);
    if (!st) {
        v->free_cb = free_cb;
        v->user = user;
    }
    return finish(st, v, out);
}

void mmi_video_destroy(mm_video *v)
{
    if (!v) return;
    for (size_t i = 0; v->paths && i < v->frames; i++) mmi_free(v->paths[i]);
    mmi_free(v->paths);
    mmi_y4m_clear(&v->y4m);
    mmi_file_map_release(v->map);
    mmi_free(v->read);
    if (v->free_cb) v->free_cb(v->user);
    mmi_free(v);
}

mm_status mmi_video_frame(mm_context *ctx, const mm_video *v, size_t index, mmi_image **out)
{
    return v->paths ? mmi_image_read(ctx, v->paths[index], v->max_pixels, out) : mmi_y4m_frame(ctx, &v->y4m, v->data, index, out);
}
