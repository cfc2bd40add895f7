/* The step of one token is built once and run again for each; a prompt is read in chunks whose graph is kept while the length stays.
 * SPDX-License-Identifier: MIT */
#include "session_run.h"

#include <string.h>

#include "io.h"
#include "plan.h"
#include "run.h"
#include "session_state.h"
#include "size.h"

enum { CHUNK = 256 }; /* prompt tokens computed at a time: the activations of so many stay in the second-level cache */

void mmi_step_clear(mmi_step *s)
{
    mmi_graph_destroy(s->g);
    memset(s, 0, sizeof *s);
}

/* The rows of a modality as an input, 0 when there are none. */
static mmi_value add_rows(mmi_io *io, const char *name, size_t rows)
{
    mmi_value v = 0;
    if (rows) v = mmi_graph_input(io->g, name, MM_DTYPE_F32, 2, (int64_t[]){(int64_t)rows, io->model->info.hidden});
    mmi_io_give(io, name, v);
    return v;
}

/* What the tokens attend to of interleaved pictures. */
static mmi_value add_mask(const mm_session *s, mmi_io *io, const mmi_step *want)
{
    size_t tiles;
    mmi_value v = 0;

    if (!want->pictures) return 0;
    (void)mmi_session_count_pictures(s, &tiles);
    v = mmi_graph_input(io->g, "cross_attention_mask", MM_DTYPE_I32, 4,
                        (int64_t[]){(int64_t)want->sequences, (int64_t)want->tokens, (int64_t)want->pictures, (int64_t)tiles});
    mmi_io_give(io, "cross_attention_mask", v);
    return v;
}

/* The mask of tokens from `first` on for each sequence, *out the caller's to free; none without pictures. */
static mm_status make_mask(const mm_session *s, const mmi_step *step, size_t first, int32_t **out)
{
    size_t tiles, each;
    mm_status st = MM_OK;

    *out = NULL;
    if (!step->mask) return MM_OK;
    (void)mmi_session_count_pictures(s, &tiles);
    each = step->tokens * step->pictures * tiles;
    *out = mmi_alloc_array(s->ctx, step->sequences * each, sizeof **out);
    if (!*out) return MM_E_NOMEM;
    for (size_t b = 0; b < step->sequences && !st; b++) st = mmi_session_picture_mask(s, first, step->tokens, *out + b * each);
    mmi_graph_bind(step->g, step->mask, *out);
    return st;
}

static mm_status build_step(mm_session *s, mmi_step *have, mmi_step want)
{
    static const char *const logits[] = {"logits", NULL}, *const nothing[] = {NULL};
    const mmi_model_info *info = &s->model->info;
    const char *ids = info->ids_input ? info->ids_input : "input_ids";
    int64_t shape[3] = {info->position_streams, (int64_t)want.sequences, (int64_t)want.tokens};
    int streams = info->position_streams > 0;
    mmi_io io = {0};
    mm_status st;

    if (have->g && have->sequences == want.sequences && have->tokens == want.tokens && have->with_logits == want.with_logits &&
        have->image_rows == want.image_rows && have->video_rows == want.video_rows && have->pictures == want.pictures && have->prefix == want.prefix)
        return MM_OK;
    mmi_step_clear(have);
    if ((st = mmi_graph_create(s->ctx, &io.g))) return st;
    io.model = s->model;
    io.cached = 1;
    io.last_only = 1;
    io.prefix = want.prefix;
    io.wanted = want.with_logits ? logits : nothing;
    want.ids = mmi_graph_input(io.g, ids, MM_DTYPE_I32, 2, shape + 1);
    want.positions = mmi_graph_input(io.g, "position_ids", MM_DTYPE_I32, 2 + streams, shape + 1 - streams);
    mmi_io_give(&io, ids, want.ids);
    mmi_io_give(&io, "position_ids", want.positions);
    want.image = add_rows(&io, "image_features", want.image_rows);
    want.video = add_rows(&io, "video_features", want.video_rows);
    want.mask = add_mask(s, &io, &want);
    mmi_io_build(&io);
    st = mmi_graph_plan(io.g);
    if (st) {
        mmi_graph_destroy(io.g);
        return st;
    }
    want.g = io.g;
    want.logits = mmi_io_find_output(&io, "logits");
    *have = want;
    return MM_OK;
}

/* Compute tokens [length of the cache, + count), and the logits behind the last one when asked. */
static mm_status run_step(mm_session *s, size_t count, int with_logits, int prefix)
{
    const mmi_model_info *info = &s->model->info;
    mmi_step *p = count == 1 && with_logits && !prefix ? &s->decode : &s->prompt;
    size_t first = s->cache->length, streams = info->position_streams ? 3 : 1;
    mmi_step want = {.sequences = 1, .tokens = count, .with_logits = with_logits, .prefix = prefix};
    mmi_kv_cache *caches[1] = {s->cache}, *cross[1] = {s->cross};
    mmi_run_values values = {.caches = caches, .n_caches = 1, .cross = s->cross ? cross : NULL, .length = s->tokens.count};
    size_t width = (size_t)info->hidden;
    float *rows = NULL;
    int32_t *positions = NULL, *mask = NULL;
    mm_status st;

    if (info->fusion == MMI_FUSION_INTERLEAVED) {
        want.pictures = mmi_session_count_rows(s, MMI_IMAGE, 0, s->tokens.count);
    } else {
        want.image_rows = mmi_session_count_rows(s, MMI_IMAGE, first, count);
        want.video_rows = mmi_session_count_rows(s, MMI_VIDEO, first, count);
    }
    if ((st = build_step(s, p, want))) return st;
    if ((st = make_mask(s, p, first, &mask))) goto cleanup;
    positions = mmi_alloc_array(s->ctx, streams * count, sizeof *positions);
    if (!positions) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    for (size_t i = 0; i < streams * count; i++)
        positions[i] = info->position_streams ? s->streams[i / count].data[first + i % count] : mmi_model_position(s->model, s->tokens.data[first + i], first + i);
    if (want.image_rows + want.video_rows) {
        rows = mmi_alloc_array(s->ctx, (want.image_rows + want.video_rows) * width, sizeof *rows);
        if (!rows) {
            st = MM_E_NOMEM;
            goto cleanup;
        }
        mmi_session_gather_rows(s, MMI_IMAGE, first, count, rows);
        mmi_session_gather_rows(s, MMI_VIDEO, first, count, rows + want.image_rows * width);
    }
    mmi_graph_bind(p->g, p->ids, s->tokens.data + first);
    mmi_graph_bind(p->g, p->positions, positions);
    if (p->image) mmi_graph_bind(p->g, p->image, rows);
    if (p->video) mmi_graph_bind(p->g, p->video, rows + want.image_rows * width);
    if ((st = mmi_graph_run(p->g, &values))) goto cleanup;
    s->cache->length += count;
    if (prefix) s->prefix = s->cache->length;
    if (with_logits) memcpy(s->logits, mmi_graph_result(p->g, p->logits), (size_t)info->vocabulary * sizeof *s->logits);
cleanup:
    mmi_free(positions);
    mmi_free(mask);
    mmi_free(rows);
    return st;
}

mm_status mmi_session_compute(mm_session *s)
{
    const mmi_model_info *info = &s->model->info;
    mmi_kv_shape shape = info->kv;
    size_t total, begun;
    int prefix;
    mm_status st = mmi_session_settle(s);

    if (st || s->logits_ready) return st;
    total = s->tokens.count;
    if (!total) return mmi_fail(s->ctx, MM_E_STATE, "the session is empty");
    shape.dtype = s->kv_dtype;
    if (!s->cache && (st = mmi_kv_cache_create(s->ctx, &shape, &s->cache))) return st;
    if (s->cached_long != (info->long_context && total > (size_t)info->long_context)) {
        s->cached_long = !s->cached_long;
        s->cache->length = s->prefix = 0;
    }
    if (s->cache->length == total && s->prefix == total) s->cache->length = s->prefix = 0; /* a prefix is read as a whole */
    if (s->cache->length == total) s->cache->length--; /* the logits of the last token are gone: compute it again */
    begun = s->cache->length;
    prefix = info->prefix && !begun;
    if ((st = mmi_kv_cache_reserve(s->ctx, s->cache, total))) return st; /* at once: growing chunk by chunk would copy and fragment */
    while (s->cache->length < total && !st) {
        size_t count = prefix ? total : mmi_size_min(total - s->cache->length, CHUNK);
        int last = s->cache->length + count == total;
        st = run_step(s, count, last, prefix);
        if (!st && total - begun > 1) st = mmi_progress(s->ctx, "reading the prompt", (int64_t)(s->cache->length - begun), (int64_t)(total - begun));
        if (!st && last) s->logits_ready = 1;
    }
    return st;
}

mm_status mmi_session_step_many(mm_session *s, mmi_step *step, mmi_kv_cache *const *caches, size_t count, const int32_t *ids, const int32_t *positions,
                                const float **logits)
{
    const int interleaved = s->model->info.fusion == MMI_FUSION_INTERLEAVED;
    mmi_step want = {.sequences = count, .tokens = 1, .with_logits = 1,
                     .pictures = interleaved ? mmi_session_count_rows(s, MMI_IMAGE, 0, s->tokens.count) : 0};
    mmi_kv_cache **cross = NULL;
    int32_t *mask = NULL;
    mmi_run_values values = {.caches = caches, .n_caches = count};
    mm_status st = build_step(s, step, want);

    if (!st && s->cross) {
        cross = mmi_alloc_array(s->ctx, count, sizeof *cross);
        if (!cross) st = MM_E_NOMEM;
        for (size_t i = 0; i < count && !st; i++) cross[i] = s->cross;
        values.cross = cross;
    }
    for (size_t i = 0; i < count && !st; i++) st = mmi_kv_cache_reserve(s->ctx, caches[i], caches[i]->length + 1);
    if (!st) st = make_mask(s, step, s->tokens.count, &mask);
    if (st) goto cleanup;
    mmi_graph_bind(step->g, step->ids, ids);
    mmi_graph_bind(step->g, step->positions, positions);
    st = mmi_graph_run(step->g, &values);
    if (st) goto cleanup;
    for (size_t i = 0; i < count; i++) caches[i]->length++;
    *logits = mmi_graph_result(step->g, step->logits);
cleanup:
    mmi_free(cross);
    mmi_free(mask);
    return st;
}
