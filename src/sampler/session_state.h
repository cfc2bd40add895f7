/* What a session holds, shared by the files that work on it: session.c (options, tokens), session_media.c (pictures, video, sound),
 * session_run.c (computing), generate.c and beam_search.c (choosing). SPDX-License-Identifier: MIT */
#ifndef MMI_SESSION_STATE_H
#define MMI_SESSION_STATE_H

#include "ids.h"
#include "kv_cache.h"
#include "media.h"
#include "model.h"
#include "sampler.h"
#include "session.h"

/* A medium that was processed, and encoded once; held by every session that uses it, forks too. */
typedef struct {
    size_t references;
    uint64_t key[2];  /* of its content: the same medium again is this one */
    mmi_medium medium;
    mm_tensor *rows;  /* [N, C] in place of N placeholder tokens; NULL for the source of a model with MMI_FUSION_CROSS */
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

/* A graph for `tokens` tokens of each of `sequences` sequences behind what their caches hold. */
typedef struct {
    mmi_graph *g;
    size_t sequences, tokens, image_rows, video_rows;
    int with_logits, prefix;
    mmi_value ids, positions, image, video, logits;
} mmi_step;

struct mm_session {
    mm_context *ctx;
    mm_model *model;
    mmi_kv_cache *cache; /* its length is how many of the tokens were computed */
    mmi_kv_cache *cross; /* of the source, when source_ready */
    int32_t kv_dtype;
    mmi_ids tokens;
    mmi_ids streams[3];  /* positions of the tokens, for info.position_streams 3 */
    size_t prefix;       /* tokens that were read as a prefix: none of them can stay without all */
    float *logits;       /* [V], of the token behind all tokens, when logits_ready */
    int logits_ready;
    mmi_step decode, prompt; /* one token; the last chunk length */
    mmi_encoded_list known, waiting, source_media; /* seen so far; for the next text; of the source */
    mmi_placed_list placed;
    mmi_text source_text;
    int source_ready;
    mmi_sampler sampler;
    int64_t max_tokens, context, when_full, keep, parse_special, beams, early_stopping;
    double length_penalty;
    char **stops;
    size_t n_stops;
};

/* session.c: tokens with their media behind what is held; `placed` counts from the first of `ids`. After a failure nothing changed. */
mm_status mmi_session_add(mm_session *s, const int32_t *ids, size_t count, const mmi_placed *placed, size_t n_placed);

/* session_media.c */
void mmi_encoded_release(mmi_encoded *e); /* NULL allowed */
mm_status mmi_encoded_list_add(mm_context *ctx, mmi_encoded_list *list, mmi_encoded *e); /* retains */
void mmi_encoded_list_clear(mmi_encoded_list *list);
/* Ids of a text with the waiting media at their placeholders, which are encoded; `fresh`: the first text. Frees nothing on failure that the
 * caller does not clear. */
mm_status mmi_session_read_text(mm_session *s, const char *text, int fresh, mmi_ids *ids, mmi_placed_list *placed);
/* Place what waits without a text, and make the source ready; before computing. */
mm_status mmi_session_settle(mm_session *s);
/* The rows of the placeholder tokens of a modality among tokens [first, first + count), one behind another. */
size_t mmi_session_count_rows(const mm_session *s, mmi_modality modality, size_t first, size_t count);
void mmi_session_gather_rows(const mm_session *s, mmi_modality modality, size_t first, size_t count, float *out);

/* session_run.c: logits behind all tokens. */
void mmi_step_clear(mmi_step *step);
mm_status mmi_session_compute(mm_session *s);
/* One token of each of `count` sequences whose caches hold what is before it, and the logits [count, V] behind it, borrowed until the next run of `step`. */
mm_status mmi_session_step_many(mm_session *s, mmi_step *step, mmi_kv_cache *const *caches, size_t count, const int32_t *ids, const int32_t *positions,
                                const float **logits);

#endif
