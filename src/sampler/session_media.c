/* A medium is processed when it is appended and encoded when its place in the text is known; what it is recognized by is a hash of its
 * content, so that the same picture again costs nothing. SPDX-License-Identifier: MIT */
#include "session_media.h"

#include <string.h>

#include "audio.h"
#include "forward.h"
#include "image.h"
#include "picture_mask_op.h"
#include "session.h"
#include "session_state.h"
#include "size.h"

enum { KNOWN_UNUSED = 8 }; /* media that no token uses are kept for another turn, up to so many */

void mmi_encoded_release(mmi_encoded *e)
{
    if (!e || --e->references) return;
    mmi_medium_clear(&e->medium);
    mm_tensor_release(e->rows);
    mm_tensor_release(e->tiles);
    mmi_free(e);
}

mm_status mmi_encoded_list_add(mm_context *ctx, mmi_encoded_list *l, mmi_encoded *e)
{
    if (mmi_grow(ctx, (void **)&l->items, &l->capacity, l->count, sizeof *l->items)) return MM_E_NOMEM;
    e->references++;
    l->items[l->count++] = e;
    return MM_OK;
}

void mmi_encoded_list_clear(mmi_encoded_list *l)
{
    for (size_t i = 0; i < l->count; i++) mmi_encoded_release(l->items[i]);
    mmi_free(l->items);
    memset(l, 0, sizeof *l);
}

/* Two mixes of 64 bits, eight bytes at a time. It tells media of one conversation apart; nobody is kept from making two that collide. */
static void hash_content(const void *data, size_t n, const int64_t *shape, size_t dims, uint64_t key[2])
{
    const unsigned char *p = data;
    uint64_t a = 0x9E3779B97F4A7C15u, b = 0xC2B2AE3D27D4EB4Fu, word;

    for (size_t i = 0; i < dims; i++) a = (a ^ (uint64_t)shape[i]) * 0xFF51AFD7ED558CCDu;
    for (size_t i = 0; i < n; i += 8) {
        word = 0;
        memcpy(&word, p + i, n - i < 8 ? n - i : 8);
        a = (a ^ word) * 0xFF51AFD7ED558CCDu;
        a ^= a >> 32;
        b = (b + word) * 0xC4CEB9FE1A85EC53u;
        b ^= b >> 29;
    }
    key[0] = a;
    key[1] = b ^ n;
}

static mmi_encoded *find_known(const mm_session *s, const uint64_t key[2], mmi_modality modality)
{
    for (size_t i = 0; i < s->known.count; i++) {
        mmi_encoded *e = s->known.items[i];
        if (e->key[0] == key[0] && e->key[1] == key[1] && e->medium.modality == modality) return e;
    }
    return NULL;
}

/* The oldest that only the list of the known holds goes when there are too many. */
static void forget_unused(mm_session *s)
{
    size_t unused = 0;

    for (size_t i = 0; i < s->known.count; i++) unused += s->known.items[i]->references == 1;
    for (size_t i = 0; i < s->known.count && unused > KNOWN_UNUSED; i++) {
        if (s->known.items[i]->references > 1) continue;
        mmi_encoded_release(s->known.items[i]);
        s->known.count--;
        memmove(s->known.items + i, s->known.items + i + 1, (s->known.count - i) * sizeof *s->known.items);
        i--;
        unused--;
    }
}

mm_status mmi_session_append_medium(mm_session *s, const uint64_t key[2], mmi_medium *medium)
{
    mmi_encoded *e = mmi_zalloc(s->ctx, sizeof *e);
    mm_status st;

    if (!e) {
        mmi_medium_clear(medium);
        return MM_E_NOMEM;
    }
    e->references = 1;
    memcpy(e->key, key, sizeof e->key);
    e->medium = *medium;
    memset(medium, 0, sizeof *medium);
    st = mmi_encoded_list_add(s->ctx, &s->known, e);
    if (!st) st = mmi_encoded_list_add(s->ctx, &s->waiting, e);
    mmi_encoded_release(e);
    forget_unused(s);
    return st;
}

static mm_status takes_media(const mm_session *s)
{
    if (s->model->info.fusion != MMI_FUSION_NONE) return MM_OK;
    return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%s (%s) takes text alone", s->model->path, s->model->class_name);
}

/* A medium with this content that is known waits again; *known tells. */
static mm_status append_known(mm_session *s, const void *content, size_t bytes, const int64_t *shape, mmi_modality modality, uint64_t key[2], int *known)
{
    mmi_encoded *e;
    mm_status st = takes_media(s);

    *known = 0;
    if (st) return st;
    hash_content(content, bytes, shape, 2, key);
    e = find_known(s, key, modality);
    *known = e != NULL;
    return e ? mmi_encoded_list_add(s->ctx, &s->waiting, e) : MM_OK;
}

static mm_status append_new(mm_session *s, mm_status st, const uint64_t key[2], mmi_medium *medium)
{
    if (!st) return mmi_session_append_medium(s, key, medium);
    mmi_medium_clear(medium);
    return st;
}

mm_status mmi_session_append_image(mm_session *s, const mm_image *image)
{
    int64_t shape[2] = {(int64_t)image->height, (int64_t)image->width};
    mmi_medium medium = {0};
    uint64_t key[2];
    int known;
    mm_status st = append_known(s, image->pixels, (size_t)shape[0] * (size_t)shape[1] * 3, shape, MMI_IMAGE, key, &known);

    return st || known ? st : append_new(s, mmi_media_image(s->ctx, s->model, image, &medium), key, &medium);
}

const mmi_encoded *mmi_session_find_image(const mm_session *s, const mm_image *image)
{
    int64_t shape[2] = {(int64_t)image->height, (int64_t)image->width};
    uint64_t key[2];

    hash_content(image->pixels, mmi_image_bytes(image), shape, 2, key);
    return find_known(s, key, MMI_IMAGE);
}

/* A video is not known again: that would take reading all of it. */
mm_status mmi_session_append_video(mm_session *s, const mm_video *video)
{
    mmi_medium medium = {0};
    mm_status st = takes_media(s);

    return st ? st : append_new(s, mmi_media_video(s->ctx, s->model, video, &medium), (const uint64_t[2]){0, s->next_key++}, &medium);
}

mm_status mmi_session_append_audio(mm_session *s, const mm_audio *audio)
{
    int64_t shape[2] = {audio->rate, (int64_t)audio->count};
    mmi_medium medium = {0};
    uint64_t key[2];
    int known;
    mm_status st = append_known(s, audio->samples, audio->count * sizeof(float), shape, MMI_AUDIO, key, &known);

    return st || known ? st : append_new(s, mmi_media_audio(s->ctx, s->model, audio, &medium), key, &medium);
}

/* What stands for the medium's placeholder tokens. Its pixels are not needed afterwards. */
static mm_status encode(mm_session *s, mmi_encoded *e)
{
    static const char *const image[] = {"image_features", NULL}, *const video[] = {"video_features", NULL};
    const char *const *wanted = e->medium.modality == MMI_VIDEO ? video : image;
    mm_tensor_map *out = NULL;
    mm_status st;

    if (e->rows) return MM_OK;
    st = mmi_forward(s->ctx, s->model, e->medium.inputs, wanted, &out);
    if (!st && !mm_tensor_map_get(out, wanted[0])) st = mmi_fail(s->ctx, MM_E_INTERNAL, "%s makes no %s", s->model->class_name, wanted[0]);
    if (!st) {
        e->rows = mm_tensor_map_get(out, wanted[0]);
        mm_tensor_retain(e->rows);
        e->medium.tokens = (size_t)mm_tensor_shape(e->rows)[0];
        e->tiles = mm_tensor_map_get(e->medium.inputs, "aspect_ratio_mask");
        if (e->tiles) mm_tensor_retain(e->tiles);
        mm_tensor_map_destroy(e->medium.inputs);
        e->medium.inputs = NULL;
    }
    mm_tensor_map_destroy(out);
    return st;
}

static int32_t token_of(const mm_model *m, mmi_modality modality) { return modality == MMI_VIDEO ? m->info.video_token : m->info.image_token; }

static int has_placeholders(const mm_model *m) { return m->info.fusion == MMI_FUSION_TOKENS || m->info.fusion == MMI_FUSION_INTERLEAVED; }

/* Give each medium its placeholders, in order. */
static mm_status place(mm_session *s, mmi_modality modality, const int32_t *ids, size_t count, mmi_placed_list *placed)
{
    int32_t token = token_of(s->model, modality);
    size_t t = 0, found = 0, rows = 0;

    for (size_t i = 0; i < count; i++) found += ids[i] == token;
    for (size_t i = 0; i < s->waiting.count; i++)
        if (s->waiting.items[i]->medium.modality == modality) rows += (size_t)mm_tensor_shape(s->waiting.items[i]->rows)[0];
    if (found != rows)
        return mmi_fail(s->ctx, MM_E_ARGUMENT, "the text has %zu tokens for %s, which need %zu", found,
                        modality == MMI_VIDEO ? "videos" : "pictures", rows);
    for (size_t i = 0; i < s->waiting.count; i++) {
        mmi_encoded *e = s->waiting.items[i];
        mmi_placed p = {e, 0, 0};
        if (e->medium.modality != modality) continue;
        for (size_t n = (size_t)mm_tensor_shape(e->rows)[0]; n; t++) {
            if (ids[t] != token) continue;
            if (!p.end) p.begin = t;
            p.end = t + 1;
            n--;
        }
        if (mmi_grow(s->ctx, (void **)&placed->items, &placed->capacity, placed->count, sizeof *placed->items)) return MM_E_NOMEM;
        e->references++;
        placed->items[placed->count++] = p;
    }
    return MM_OK;
}

mm_status mmi_session_place(mm_session *s, const int32_t *ids, size_t count, mmi_placed_list *placed)
{
    mm_status st = MM_OK;

    if (!has_placeholders(s->model)) return MM_OK;
    for (size_t i = 0; i < s->waiting.count && !st; i++) st = encode(s, s->waiting.items[i]);
    if (!st) st = place(s, MMI_IMAGE, ids, count, placed);
    if (!st) st = place(s, MMI_VIDEO, ids, count, placed);
    for (size_t i = 1; i < placed->count; i++) /* in the order of the text */
        for (size_t k = i; k && placed->items[k].begin < placed->items[k - 1].begin; k--) {
            mmi_placed p = placed->items[k];
            placed->items[k] = placed->items[k - 1];
            placed->items[k - 1] = p;
        }
    return st;
}

mm_status mmi_session_read_text(mm_session *s, const char *text, int fresh, mmi_ids *ids)
{
    const mm_model *m = s->model;
    mmi_medium *media = NULL;
    mmi_text wide = {0};
    mm_status st = MM_OK;
    int in_prompt = has_placeholders(m) && s->waiting.count;

    if (!m->tokenizer) return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%s has no tokenizer", m->path);
    if (!in_prompt) return mmi_tokenizer_encode(s->ctx, m->tokenizer, text, strlen(text), fresh, (int)s->parse_special, ids);
    if (!m->arch->write_prompt) return mmi_fail(s->ctx, MM_E_INTERNAL, "%s has no place for media in its prompt", m->class_name);
    media = mmi_alloc_array(s->ctx, s->waiting.count, sizeof *media);
    if (!media) return MM_E_NOMEM;
    for (size_t i = 0; i < s->waiting.count && !st; i++) {
        st = encode(s, s->waiting.items[i]); /* which tells how many tokens it takes */
        media[i] = s->waiting.items[i]->medium;
    }
    if (!st) st = m->arch->write_prompt(s->ctx, m, text, media, s->waiting.count, &wide);
    if (!st) st = mmi_tokenizer_encode(s->ctx, m->tokenizer, wide.data, wide.size, fresh && !m->info.prefix, 1, ids); /* a prefix says its beginning itself */
    mmi_text_clear(&wide);
    mmi_free(media);
    return st;
}

/* Rows of a placed medium before token t. */
static size_t rows_before(const mm_session *s, const mmi_placed *p, size_t t)
{
    int32_t token = token_of(s->model, p->of->medium.modality);
    size_t n = 0;
    for (size_t i = p->begin; i < t && i < p->end; i++) n += s->tokens.data[i] == token;
    return n;
}

static size_t row_width(const mm_tensor *rows) { return (size_t)(mm_tensor_elements(rows) / mm_tensor_shape(rows)[0]); }

size_t mmi_session_count_rows(const mm_session *s, mmi_modality modality, size_t first, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < s->placed.count; i++) {
        const mmi_placed *p = &s->placed.items[i];
        if (p->of->medium.modality == modality && p->end > first) n += rows_before(s, p, first + count) - rows_before(s, p, first);
    }
    return n;
}

void mmi_session_gather_rows(const mm_session *s, mmi_modality modality, size_t first, size_t count, float *out)
{
    for (size_t i = 0; i < s->placed.count; i++) {
        const mmi_placed *p = &s->placed.items[i];
        size_t from, to, width = row_width(p->of->rows);
        if (p->of->medium.modality != modality || p->end <= first) continue;
        from = rows_before(s, p, first);
        to = rows_before(s, p, first + count);
        memcpy(out, (const float *)mm_tensor_const_data(p->of->rows) + from * width, (to - from) * width * sizeof *out);
        out += (to - from) * width;
    }
}

/* Interleaved pictures. */

size_t mmi_session_count_pictures(const mm_session *s, size_t *tiles)
{
    *tiles = s->placed.count ? (size_t)mm_tensor_shape(s->placed.items[0].of->tiles)[2] : 0;
    return mmi_session_count_rows(s, MMI_IMAGE, 0, s->tokens.count);
}

static int32_t tile_seen(const mm_tensor *t, size_t i)
{
    const void *data = mm_tensor_const_data(t);
    if (mm_tensor_dtype(t) == MM_DTYPE_I64) return ((const int64_t *)data)[i] != 0;
    return mm_tensor_dtype(t) == MM_DTYPE_I32 ? ((const int32_t *)data)[i] != 0 : ((const uint8_t *)data)[i] != 0;
}

mm_status mmi_session_picture_mask(const mm_session *s, size_t first, size_t count, int32_t *out)
{
    size_t K, M = mmi_session_count_pictures(s, &K), n = 0, from, to;
    int32_t *places = mmi_alloc_array(s->ctx, M, sizeof *places), *tiles = mmi_alloc_array(s->ctx, M, K * sizeof *tiles);
    mm_status st = places && tiles ? MM_OK : MM_E_NOMEM;

    for (size_t i = 0; i < s->placed.count && !st; i++) {
        const mmi_placed *p = &s->placed.items[i];
        for (size_t t = p->begin, k = 0; t < p->end; t++) {
            if (s->tokens.data[t] != s->model->info.image_token) continue;
            for (size_t e = 0; e < K; e++) tiles[n * K + e] = tile_seen(p->of->tiles, k * K + e);
            places[n++] = (int32_t)t;
            k++;
        }
    }
    for (size_t t = first; t < first + count && !st; t++, out += M * K) {
        mmi_pictures_of_token(places, M, (int32_t)t, &from, &to);
        memset(out, 0, M * K * sizeof *out);
        memcpy(out + from * K, tiles + from * K, (to - from) * K * sizeof *out);
    }
    mmi_free(places);
    mmi_free(tiles);
    return st;
}

/* The cross caches hold the states of these pictures. */
static int holds_pictures(const mm_session *s, size_t pictures)
{
    if (s->placed.count != s->source_media.count) return 0;
    for (size_t i = 0; i < s->placed.count; i++)
        if (s->placed.items[i].of != s->source_media.items[i]) return 0;
    return !pictures || s->cross->length == pictures * row_width(s->placed.items[0].of->rows) / (size_t)s->model->info.hidden;
}

/* The states of all pictures into the cross caches, when those hold others. Tokens before the first picture see all of them, so that with
 * other pictures they, and what came behind them, are computed anew. */
static mm_status read_pictures(mm_session *s)
{
    const mm_model *m = s->model;
    mmi_kv_shape shape = m->info.cross;
    mm_tensor_map *inputs = NULL;
    mm_tensor *states = NULL;
    size_t tiles, pictures = mmi_session_count_pictures(s, &tiles);
    int64_t dims[3] = {(int64_t)pictures, 0, m->info.hidden};
    mm_status st = MM_OK;

    if (holds_pictures(s, pictures)) return MM_OK;
    mmi_encoded_list_clear(&s->source_media);
    if (s->cache && (!pictures || s->placed.items[0].begin)) s->cache->length = 0;
    if (!pictures) return MM_OK;
    shape.dtype = s->kv_dtype;
    dims[1] = (int64_t)row_width(s->placed.items[0].of->rows) / m->info.hidden;
    if (!s->cross) st = mmi_kv_cache_create(s->ctx, &shape, &s->cross);
    if (!st) st = mm_tensor_create(s->ctx, MM_DTYPE_F32, 3, dims, &states);
    if (!st) mmi_session_gather_rows(s, MMI_IMAGE, 0, s->tokens.count, mm_tensor_data(states));
    if (!st) st = mm_tensor_map_create(s->ctx, &inputs);
    if (!st) st = mm_tensor_map_set(s->ctx, inputs, "image_features", states);
    if (!st) st = mmi_forward_source(s->ctx, m, inputs, s->cross);
    for (size_t i = 0; i < s->placed.count && !st; i++) st = mmi_encoded_list_add(s->ctx, &s->source_media, s->placed.items[i].of);
    mm_tensor_release(states);
    mm_tensor_map_destroy(inputs);
    return st;
}

/* The source of a model that attends across: its media and text together, one run. */
static mm_status read_source(mm_session *s)
{
    const mm_model *m = s->model;
    mmi_kv_shape shape = m->info.cross;
    mm_tensor_map *inputs = NULL;
    mm_tensor *ids = NULL;
    mm_status st;

    if (s->source_ready) return MM_OK;
    if (!s->source_media.count && !s->source.count)
        return mmi_fail(s->ctx, MM_E_STATE, "the session has no %s to answer from", m->info.text_is_source ? "text" : m->info.hears ? "sound" : "picture");
    if (s->source_media.count > 1)
        return mmi_fail(s->ctx, MM_E_UNSUPPORTED, "%s answers from one medium, the session has %zu", m->class_name, s->source_media.count);
    st = mm_tensor_map_create(s->ctx, &inputs);
    for (size_t i = 0; !st && s->source_media.count && i < mm_tensor_map_count(s->source_media.items[0]->medium.inputs); i++) {
        const mm_tensor_map *from = s->source_media.items[0]->medium.inputs;
        st = mm_tensor_map_set(s->ctx, inputs, mm_tensor_map_name(from, i), mm_tensor_map_at(from, i));
    }
    if (!st && s->source.count) {
        if (m->info.context && s->source.count > (size_t)m->info.context)
            st = mmi_fail(s->ctx, MM_E_CONTEXT_FULL, "%zu tokens do not fit into a context of %lld", s->source.count, (long long)m->info.context);
        if (!st) st = mm_tensor_copy(s->ctx, MM_DTYPE_I32, 2, (int64_t[]){1, (int64_t)s->source.count}, s->source.data, &ids);
        if (!st) st = mm_tensor_map_set(s->ctx, inputs, "input_ids", ids);
    }
    shape.dtype = s->kv_dtype;
    if (!st && !s->cross) st = mmi_kv_cache_create(s->ctx, &shape, &s->cross);
    if (!st) st = mmi_forward_source(s->ctx, m, inputs, s->cross);
    if (!st) s->source_ready = 1;
    mm_tensor_release(ids);
    mm_tensor_map_destroy(inputs);
    return st;
}

mm_status mmi_session_settle(mm_session *s)
{
    const mm_model *m = s->model;
    mm_status st = MM_OK;

    if (s->waiting.count) st = mmi_session_append_text(s, "");
    if (!st && m->info.fusion == MMI_FUSION_INTERLEAVED) return read_pictures(s);
    if (st || m->info.fusion != MMI_FUSION_CROSS) return st;
    st = read_source(s);
    if (!st && !s->tokens.count) st = mmi_session_add(s, m->start_tokens, m->n_start_tokens, NULL, 0);
    return st;
}
