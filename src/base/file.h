/* Files: mapped, read whole, written whole or not at all.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_FILE_H
#define MMI_FILE_H

#include <stddef.h>

#include "context.h"

/* A file mapped read-only; reference-counted, since tensors keep the map that they point into. */
typedef struct mmi_file_map mmi_file_map;

mm_status mmi_file_map_open(mm_context *ctx, const char *path, mmi_file_map **out);
void mmi_file_map_retain(mmi_file_map *map);
void mmi_file_map_release(mmi_file_map *map); /* NULL allowed */
const unsigned char *mmi_file_map_data(const mmi_file_map *map);
size_t mmi_file_map_size(const mmi_file_map *map);
/* Tell the system that [data, data+size) of the map will not be read again soon, so that it stops counting as ours. */
void mmi_file_map_forget(const mmi_file_map *map, const void *data, size_t size);

/* Read a whole file of at most `most` bytes; a NUL follows the last byte. The caller frees *data with mmi_free.
 * MM_E_NOT_FOUND, MM_E_IO, MM_E_LIMIT, MM_E_NOMEM; the message names the path. */
mm_status mmi_file_read(mm_context *ctx, const char *path, size_t most, char **data, size_t *size);

/* A file that is written piece by piece: aside, in the folder of its path, and renamed over it when all of it is on the disk, so that after a
 * failure, or a crash, the path is as it was. Messages name the path and the reason. Starts as all zeros. */
typedef struct {
    char *path, *aside; /* aside NULL: none is being written */
    int fd;
} mmi_file_writer;

mm_status mmi_file_begin(mm_context *ctx, const char *path, mmi_file_writer *out);
mm_status mmi_file_append(mm_context *ctx, mmi_file_writer *writer, const void *data, size_t size);
mm_status mmi_file_finish(mm_context *ctx, mmi_file_writer *writer); /* after a failure nothing is left of it */
void mmi_file_abandon(mmi_file_writer *writer);                      /* does nothing when none is being written */

/* The same of pieces that are there, one behind the other. */
typedef struct {
    const void *data;
    size_t size;
} mmi_file_piece;
mm_status mmi_file_write(mm_context *ctx, const char *path, const mmi_file_piece *pieces, size_t count);

/* MM_E_NOT_FOUND or MM_E_IO with "cannot <verb> <path>: <what the errno means>". */
mm_status mmi_file_fail(mm_context *ctx, const char *verb, const char *path, int error);

int mmi_file_exists(const char *path);
int mmi_file_is_directory(const char *path);
/* Make a directory, and those above it, where they are not there already. */
mm_status mmi_file_make_directory(mm_context *ctx, const char *path);
/* From the root and without links, to be freed with mmi_free; NULL where there is no such file, or when out of memory. */
char *mmi_file_absolute(mm_context *ctx, const char *path);
/* directory + "/" + name, to be freed with mmi_free; NULL when out of memory. */
char *mmi_file_join(mm_context *ctx, const char *directory, const char *name);
/* Nonzero for a name that cannot lead out of its folder: not empty, no slash or backslash, neither "." nor "..". */
int mmi_file_name_is_plain(const char *name);

#endif
