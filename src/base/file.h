/* Files: mapped or read whole.
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

/* Write a file of pieces, one behind the other, aside, sync and rename it over `path`: after a failure `path` is as it was. */
typedef struct {
    const void *data;
    size_t size;
} mmi_file_piece;
mm_status mmi_file_write(mm_context *ctx, const char *path, const mmi_file_piece *pieces, size_t count);

int mmi_file_exists(const char *path);
int mmi_file_is_directory(const char *path);
/* A directory that is there already is well. */
mm_status mmi_file_make_directory(mm_context *ctx, const char *path);
/* directory + "/" + name, to be freed with mmi_free; NULL when out of memory. */
char *mmi_file_join(mm_context *ctx, const char *directory, const char *name);
/* Nonzero for a name that cannot lead out of its folder: not empty, no slash or backslash, neither "." nor "..". */
int mmi_file_name_is_plain(const char *name);

#endif
