/* Pictures, video and sound of a session: known by their content, encoded once, placed among the tokens.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_SESSION_MEDIA_H
#define MMI_SESSION_MEDIA_H

#include "ids.h"
#include "media.h"
#include "mm_session.h"

/* A medium that was processed, and encoded once; held by every session that uses it, forks too. */
typedef struct {
    size_t references;
    uint64_t key[2];  /* of its content: the same medium again is this one */
    mmi_medium medium;
    mm_tensor *rows;  /* [N, C] in place of N placeholder tokens, or [N, S, C] for MMI_FUSION_INTERLEAVED; NULL for the source of MMI_FUSION_CROSS */
    mm_tensor *tiles; /* of MMI_FUSION_INTERLEAVED: which of the S states of each are seen, in equal parts: integers [1, N, parts] */
} mmi_encoded;

/* A medium and the tokens [begin, end) from its first placeholder to its last. */
typedef struct {
    mmi_encoded *of;
    size_t begin, end;
} mmi_placed;

typedef struct {
    mmi_encoded **items;
    size_t count, capacity;
} mmi_encoded_list;

typedef struct {
    mmi_placed *items;
    size_t count, capacity;
} mmi_placed_list;

void mmi_encoded_release(mmi_encoded *e); /* NULL allowed */
mm_status mmi_encoded_list_add(mm_context *ctx, mmi_encoded_list *list, mmi_encoded *e); /* retains */
void mmi_encoded_list_clear(mmi_encoded_list *list);

/* Let a picture, video or sound wait for the next text; mm_session.h. */
mm_status mmi_session_append_image(mm_session *s, const mm_image *image);
mm_status mmi_session_append_video(mm_session *s, const mm_video *video);
mm_status mmi_session_append_audio(mm_session *s, const mm_audio *audio);

const mmi_encoded *mmi_session_find_image(const mm_session *s, const mm_image *image); /* NULL: it was never appended, or is forgotten */

/* A processed medium, recognized by `key`, waits for the next text. It is taken over and cleared, after a failure too. */
mm_status mmi_session_append_medium(mm_session *s, const uint64_t key[2], mmi_medium *medium);

/* Ids of a text with the placeholders of the waiting media widened. `fresh`: the first text, with the tokens that begin one. */
mm_status mmi_session_read_text(mm_session *s, const char *text, int fresh, mmi_ids *ids);

/* Encode the waiting media and give them their placeholders among `ids`; `placed` is the caller's to free, after a failure too. */
mm_status mmi_session_place(mm_session *s, const int32_t *ids, size_t count, mmi_placed_list *placed);

/* Before computing: place what waits without a text, and make the source, or the states of interleaved pictures, ready. */
mm_status mmi_session_settle(mm_session *s);

/* The rows of a modality's placeholder tokens among tokens [first, first + count), one behind another. */
size_t mmi_session_count_rows(const mm_session *s, mmi_modality modality, size_t first, size_t count);
void mmi_session_gather_rows(const mm_session *s, mmi_modality modality, size_t first, size_t count, float *out);

/* Of MMI_FUSION_INTERLEAVED: how many pictures there are, of how many tiles, and what each of the tokens [first, first + count) attends to,
 * i32 [count, pictures, tiles]; tokens behind the last go on like it. */
size_t mmi_session_count_pictures(const mm_session *s, size_t *tiles);
mm_status mmi_session_picture_mask(const mm_session *s, size_t first, size_t count, int32_t *out);

#endif
