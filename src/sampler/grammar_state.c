/* A stack is a list of places in the program, the place to read at first, the places to return to behind it; lists share their ends and
 * equal lists are one (a "frame" is a place and the number of the frame below). A position is the set of all stacks possible at a point,
 * those that are about to read a byte. Since positions are numbered, where they lead is a table, as in a lazily built automaton.
 * SPDX-License-Identifier: MIT */
#include "grammar_state.h"

#include <stdlib.h>
#include <string.h>

#include "hash_map.h"
#include "size.h"

enum {
    MAX_STACKS = 8192,        /* in a position */
    MAX_FRAMES = 1 << 22,
    MAX_POSITIONS = 1 << 16,  /* made while one token or one mask is worked on */
    KEPT_POSITIONS = 1 << 13, /* above these, all but the present one are forgotten before the next token */
    KEPT_MASKS = 256
};

typedef struct {
    int32_t place, below; /* below -1: the bottom */
    uint32_t seen;        /* the last round that met it */
} frame;

enum { UNKNOWN = -1, DEAD = -2 };

typedef struct {
    size_t first, count; /* its stacks, in s->stacks */
    int accepts;
    int32_t *next;       /* [256]; NULL before the first look */
    uint64_t *mask;      /* NULL: not made yet */
} position;

struct mmi_grammar_state {
    mmi_grammar *grammar;
    const mmi_grammar_op *code;
    const mmi_token_table *table;
    frame *frames;
    size_t n_frames, frames_capacity;
    position *positions;
    size_t n_positions, positions_capacity;
    int32_t *stacks;     /* numbers of frames */
    size_t n_stacks, stacks_capacity;
    mmi_hash_map frame_numbers, position_numbers;
    int32_t *work;       /* frames still to follow */
    size_t n_work, work_capacity;
    uint32_t round;
    size_t n_masks;
    uint64_t *with_ends; /* the mask handed out */
    int32_t *path;       /* positions along the token at hand */
    int32_t start, now;
    int after_space;
};

void mmi_grammar_state_destroy(mmi_grammar_state *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n_positions; i++) {
        mmi_free(s->positions[i].next);
        mmi_free(s->positions[i].mask);
    }
    mmi_free(s->positions);
    mmi_free(s->frames);
    mmi_free(s->stacks);
    mmi_free(s->work);
    mmi_free(s->with_ends);
    mmi_free(s->path);
    mmi_hash_map_clear(&s->frame_numbers);
    mmi_hash_map_clear(&s->position_numbers);
    mmi_grammar_release(s->grammar);
    mmi_free(s);
}

/* ---- positions ---- */

/* The number of a frame, made if it is new. */
static mm_status find_frame(mm_context *ctx, mmi_grammar_state *s, int32_t place, int32_t below, int32_t *out)
{
    int32_t key[2] = {place, below};
    int64_t known;

    if (mmi_hash_map_get(&s->frame_numbers, (const char *)key, sizeof key, &known)) {
        *out = (int32_t)known;
        return MM_OK;
    }
    if (s->n_frames == MAX_FRAMES) return mmi_fail(ctx, MM_E_LIMIT, "the grammar needs more than %d stack frames", (int)MAX_FRAMES);
    if (mmi_grow(ctx, (void **)&s->frames, &s->frames_capacity, s->n_frames, sizeof *s->frames) ||
        mmi_hash_map_put(ctx, &s->frame_numbers, (const char *)key, sizeof key, (int64_t)s->n_frames, NULL))
        return MM_E_NOMEM;
    s->frames[s->n_frames] = (frame){place, below, 0};
    *out = (int32_t)s->n_frames++;
    return MM_OK;
}

/* Go to a place, if this round was not there with the same stack. */
static mm_status follow(mm_context *ctx, mmi_grammar_state *s, int32_t place, int32_t below)
{
    int32_t f = -1;
    mm_status st = find_frame(ctx, s, place, below, &f);

    if (st || s->frames[f].seen == s->round) return st;
    if (mmi_grow(ctx, (void **)&s->work, &s->work_capacity, s->n_work, sizeof *s->work)) return MM_E_NOMEM;
    s->frames[f].seen = s->round;
    s->work[s->n_work++] = f;
    return MM_OK;
}

/* Call a rule. Where nothing is left behind the call there is nothing to return to: lists by recursion need no deeper stack. */
static mm_status call(mm_context *ctx, mmi_grammar_state *s, int32_t place, int32_t below)
{
    int32_t back = place + 1;
    mm_status st;

    while (s->code[back].kind == MMI_GRAMMAR_JUMP) back += s->code[back].to;
    if (s->code[back].kind != MMI_GRAMMAR_RETURN && (st = find_frame(ctx, s, back, below, &below))) return st;
    return follow(ctx, s, s->code[place].to, below);
}

/* Follow everything in s->work to where it reads; those stacks are added to s->stacks. */
static mm_status close_over(mm_context *ctx, mmi_grammar_state *s, int *accepts)
{
    size_t first = s->n_stacks;
    mm_status st = MM_OK;

    *accepts = 0;
    while (s->n_work && !st) {
        int32_t number = s->work[--s->n_work];
        frame f = s->frames[number];
        mmi_grammar_op op = s->code[f.place];

        switch (op.kind) {
        case MMI_GRAMMAR_SPLIT:
            st = follow(ctx, s, f.place + 1, f.below);
            if (st) break;
            /* fall through */
        case MMI_GRAMMAR_JUMP: st = follow(ctx, s, f.place + op.to, f.below); break;
        case MMI_GRAMMAR_CALL: st = call(ctx, s, f.place, f.below); break;
        case MMI_GRAMMAR_RETURN:
            if (f.below < 0) *accepts = 1;
            else st = follow(ctx, s, s->frames[f.below].place, s->frames[f.below].below);
            break;
        default:
            if (s->n_stacks - first == MAX_STACKS)
                st = mmi_fail(ctx, MM_E_LIMIT, "the grammar is too ambiguous: more than %d ways to read the text", (int)MAX_STACKS);
            else if (mmi_grow(ctx, (void **)&s->stacks, &s->stacks_capacity, s->n_stacks, sizeof *s->stacks)) st = MM_E_NOMEM;
            else s->stacks[s->n_stacks++] = number;
        }
    }
    return st;
}

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* Close over s->work and give the number of that position; DEAD for one in which nothing is possible. may_end: the text may end in any case. */
static mm_status find_position(mm_context *ctx, mmi_grammar_state *s, int may_end, int32_t *out)
{
    size_t first = s->n_stacks, count;
    int accepts = 0;
    int64_t known;
    mm_status st = close_over(ctx, s, &accepts);

    count = s->n_stacks - first;
    accepts |= may_end;
    *out = DEAD;
    if (st) goto cleanup;
    if (count) qsort(s->stacks + first, count, sizeof *s->stacks, by_number);
    if (!count && !accepts) return MM_OK;
    /* The key is the stacks and, as one more, whether the text may end. */
    if (mmi_grow(ctx, (void **)&s->stacks, &s->stacks_capacity, s->n_stacks, sizeof *s->stacks)) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    s->stacks[first + count] = accepts;
    if (mmi_hash_map_get(&s->position_numbers, (const char *)(s->stacks + first), (count + 1) * sizeof *s->stacks, &known)) {
        *out = (int32_t)known;
        goto cleanup;
    }
    if (s->n_positions == MAX_POSITIONS) {
        st = mmi_fail(ctx, MM_E_LIMIT, "the grammar has more than %d positions within a token", (int)MAX_POSITIONS);
        goto cleanup;
    }
    if (mmi_grow(ctx, (void **)&s->positions, &s->positions_capacity, s->n_positions, sizeof *s->positions) ||
        mmi_hash_map_put(ctx, &s->position_numbers, (const char *)(s->stacks + first), (count + 1) * sizeof *s->stacks, (int64_t)s->n_positions, NULL)) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    s->positions[s->n_positions] = (position){first, count, accepts, NULL, NULL};
    *out = (int32_t)s->n_positions++;
    return MM_OK;
cleanup:
    s->n_stacks = first;
    s->n_work = 0;
    return st;
}

static void begin_round(mmi_grammar_state *s)
{
    s->n_work = 0;
    s->round++;
}

/* Where a byte leads. */
static mm_status step(mm_context *ctx, mmi_grammar_state *s, int32_t from, unsigned char byte, int32_t *to)
{
    position *p = &s->positions[from];
    size_t first = p->first, count = p->count;
    mm_status st = MM_OK;

    if (!p->next) {
        p->next = mmi_alloc_array(ctx, 256, sizeof *p->next);
        if (!p->next) return MM_E_NOMEM;
        memset(p->next, 0xFF, 256 * sizeof *p->next); /* UNKNOWN */
    }
    *to = p->next[byte];
    if (*to != UNKNOWN) return MM_OK;
    begin_round(s);
    for (size_t i = 0; i < count && !st; i++) {
        frame f = s->frames[s->stacks[first + i]];
        mmi_grammar_op op = s->code[f.place];
        if (byte >= op.low && byte <= op.high) st = follow(ctx, s, f.place + 1, f.below);
    }
    if (!st) st = find_position(ctx, s, 0, to);
    if (!st) s->positions[from].next[byte] = *to;
    return st;
}

/* ---- forgetting ---- */

/* A state that has only the beginning and the present position takes the place of this one. */
static mm_status forget(mm_context *ctx, mmi_grammar_state *s)
{
    mmi_grammar_state *fresh = NULL, swap;
    position p = s->positions[s->now];
    int32_t *numbers = NULL; /* of the frames in use, in the fresh state; a frame comes after the one below it */
    mm_status st = mmi_grammar_state_create(ctx, s->grammar, s->table, s->after_space, &fresh);

    if (st || s->now == s->start) goto cleanup;
    numbers = mmi_alloc_array(ctx, s->n_frames, sizeof *numbers);
    if (!numbers) {
        st = MM_E_NOMEM;
        goto cleanup;
    }
    memset(numbers, 0xFF, s->n_frames * sizeof *numbers);
    for (size_t i = 0; i < p.count; i++)
        for (int32_t f = s->stacks[p.first + i]; f >= 0 && numbers[f] < 0; f = s->frames[f].below) numbers[f] = 0;
    for (size_t f = 0; f < s->n_frames && !st; f++)
        if (!numbers[f]) st = find_frame(ctx, fresh, s->frames[f].place, s->frames[f].below < 0 ? -1 : numbers[s->frames[f].below], &numbers[f]);
    begin_round(fresh);
    for (size_t i = 0; i < p.count && !st; i++) {
        frame f = fresh->frames[numbers[s->stacks[p.first + i]]];
        st = follow(ctx, fresh, f.place, f.below);
    }
    if (!st) st = find_position(ctx, fresh, p.accepts, &fresh->now);
cleanup:
    mmi_free(numbers);
    if (!st) {
        swap = *s;
        *s = *fresh;
        *fresh = swap;
    }
    mmi_grammar_state_destroy(fresh);
    return st;
}

/* Before more positions are made. */
static mm_status tidy(mm_context *ctx, mmi_grammar_state *s)
{
    if (s->n_masks > KEPT_MASKS) {
        for (size_t i = 0; i < s->n_positions; i++) {
            mmi_free(s->positions[i].mask);
            s->positions[i].mask = NULL;
        }
        s->n_masks = 0;
    }
    return s->n_positions > KEPT_POSITIONS || s->n_frames > MAX_FRAMES / 2 || s->round > UINT32_MAX / 2 ? forget(ctx, s) : MM_OK;
}

/* ---- the outside ---- */

mm_status mmi_grammar_state_create(mm_context *ctx, mmi_grammar *g, const mmi_token_table *table, int after_space, mmi_grammar_state **out)
{
    mmi_grammar_state *s = mmi_zalloc(ctx, sizeof *s);
    mm_status st = MM_E_NOMEM;

    *out = NULL;
    if (!s) return MM_E_NOMEM;
    mmi_grammar_retain(g);
    s->grammar = g;
    s->code = mmi_grammar_code(g);
    s->table = table;
    s->after_space = after_space;
    s->with_ends = mmi_alloc_array(ctx, (table->vocabulary + 63) / 64, sizeof *s->with_ends);
    s->path = mmi_alloc_array(ctx, table->longest + 1, sizeof *s->path);
    if (!s->with_ends || !s->path) goto cleanup;
    begin_round(s);
    if ((st = follow(ctx, s, mmi_grammar_root(g), -1)) || (st = find_position(ctx, s, 0, &s->start))) goto cleanup;
    if (after_space) { /* a position with the same stacks, but a space leads to the other one */
        int32_t root = s->start, to;
        if (mmi_grow(ctx, (void **)&s->positions, &s->positions_capacity, s->n_positions, sizeof *s->positions)) {
            st = MM_E_NOMEM;
            goto cleanup;
        }
        s->positions[s->n_positions] = s->positions[root];
        s->start = (int32_t)s->n_positions++;
        if ((st = step(ctx, s, s->start, 0, &to))) goto cleanup;
        s->positions[s->start].next[' '] = root;
    }
    s->now = s->start;
    *out = s;
    return MM_OK;
cleanup:
    mmi_grammar_state_destroy(s);
    return st;
}

void mmi_grammar_state_begin(mmi_grammar_state *s) { s->now = s->start; }
int mmi_grammar_state_accepts(const mmi_grammar_state *s) { return s->positions[s->now].accepts; }
int mmi_grammar_state_is_complete(const mmi_grammar_state *s) { return s->positions[s->now].accepts && !s->positions[s->now].count; }

/* Each token from where it parts from the one before it; what begins with bytes that led nowhere is passed over. */
static mm_status make_mask(mm_context *ctx, mmi_grammar_state *s, uint64_t *mask)
{
    const mmi_token_table *t = s->table;
    uint32_t reached = 0; /* s->path[0..reached] holds positions */
    int dead = 0;

    s->path[0] = s->now;
    for (size_t i = 0; i < t->count; i++) {
        const mmi_token_entry *e = &t->entries[i];
        const unsigned char *bytes = (const unsigned char *)t->bytes.data + e->offset;

        if (dead && e->shared > reached) continue;
        for (reached = e->shared, dead = 0; reached < e->size; reached++) {
            int32_t to;
            mm_status st = step(ctx, s, s->path[reached], bytes[reached], &to);
            if (st) return st;
            if (to == DEAD) {
                dead = 1;
                break;
            }
            s->path[reached + 1] = to;
        }
        if (!dead) mask[e->id / 64] |= (uint64_t)1 << e->id % 64;
    }
    return MM_OK;
}

mm_status mmi_grammar_state_mask(mm_context *ctx, mmi_grammar_state *s, const int32_t *ends, size_t n_ends, const uint64_t **out)
{
    size_t words = (s->table->vocabulary + 63) / 64;
    uint64_t *mask, some = 0;
    mm_status st;

    *out = NULL;
    if ((st = tidy(ctx, s))) return st;
    mask = s->positions[s->now].mask;
    if (!mask) {
        mask = mmi_zalloc_array(ctx, words, sizeof *mask);
        if (!mask) return MM_E_NOMEM;
        if ((st = make_mask(ctx, s, mask))) {
            mmi_free(mask);
            return st;
        }
        s->positions[s->now].mask = mask;
        s->n_masks++;
    }
    memcpy(s->with_ends, mask, words * sizeof *mask);
    for (size_t i = 0; i < n_ends; i++) {
        uint64_t bit = (uint64_t)1 << ends[i] % 64;
        if (mmi_grammar_state_accepts(s)) s->with_ends[ends[i] / 64] |= bit;
        else s->with_ends[ends[i] / 64] &= ~bit;
    }
    for (size_t i = 0; i < words; i++) some |= s->with_ends[i];
    if (!some) return mmi_fail(ctx, MM_E_STATE, "no token can follow: the vocabulary cannot write what the grammar asks for");
    *out = s->with_ends;
    return MM_OK;
}

mm_status mmi_grammar_state_accept_bytes(mm_context *ctx, mmi_grammar_state *s, const char *bytes, size_t n)
{
    int32_t at;
    mm_status st = tidy(ctx, s);

    at = s->now;
    for (size_t i = 0; i < n && !st; i++) {
        st = step(ctx, s, at, (unsigned char)bytes[i], &at);
        if (!st && at == DEAD) st = mmi_fail(ctx, MM_E_STATE, "the text does not follow the grammar");
    }
    if (!st) s->now = at;
    return st;
}

mm_status mmi_grammar_state_accept(mm_context *ctx, mmi_grammar_state *s, int32_t id)
{
    const mmi_token_table *t = s->table;
    const mmi_token_entry *e = id >= 0 && (size_t)id < t->vocabulary && t->index[id] >= 0 ? &t->entries[t->index[id]] : NULL;

    if (!e) return mmi_fail(ctx, MM_E_STATE, "token %d has no text that could follow the grammar", (int)id);
    return mmi_grammar_state_accept_bytes(ctx, s, t->bytes.data + e->offset, e->size);
}
