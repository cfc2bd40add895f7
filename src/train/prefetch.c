/* A ring of slots under one lock. The worker fills the slot of step `made`, the consumer empties that of step `taken`.
 * SPDX-License-Identifier: MIT */
#include "prefetch.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "text.h"

enum { LOOK_MS = 20 }; /* how often a waiting consumer looks at its cancel flag */

typedef struct {
    void *batch;
    mm_status status;
    char error[MMI_ERROR_SIZE];
    mmi_text log; /* lines, each behind a byte with its level, and ended by a NUL */
} slot;

struct mmi_prefetch {
    mmi_prefetch_spec spec;
    mm_context *ctx; /* the worker's */
    slot *slots;
    size_t size;          /* of the ring */
    uint64_t made, taken; /* steps */
    int failed;           /* the last step made failed */
    int quit;
    int locks, running; /* what create has got */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
};

static slot *slot_of(mmi_prefetch *p, uint64_t step) { return &p->slots[(step - p->spec.first) % p->size]; }

/* The worker's log: kept until its batch is taken, since the host's function belongs to the consumer's thread. */
static void keep_line(void *user, int32_t level, const char *text)
{
    mmi_prefetch *p = user;
    const char head = (char)level;
    slot *s = slot_of(p, p->made);

    if (!mmi_text_append(p->ctx, &s->log, &head, 1)) (void)mmi_text_append(p->ctx, &s->log, text, strlen(text) + 1);
}

/* Fill the slot of step `made`, which only the worker's thread, or else the consumer's, does. */
static void make_one(mmi_prefetch *p)
{
    slot *s = slot_of(p, p->made);

    s->batch = NULL;
    s->status = p->spec.make(p->ctx, p->spec.arg, p->made, &s->batch);
    if (s->status) memcpy(s->error, p->ctx->error, sizeof s->error);
}

static void *worker_main(void *arg)
{
    mmi_prefetch *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->quit && !p->failed && p->made < p->spec.end) {
        if (p->made - p->taken == p->size) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        make_one(p);
        pthread_mutex_lock(&p->lock);
        p->failed = slot_of(p, p->made)->status != MM_OK;
        p->made++;
        pthread_cond_signal(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

mm_status mmi_prefetch_create(mm_context *ctx, const mmi_prefetch_spec *spec, mmi_prefetch **out)
{
    mmi_prefetch *p = NULL;
    mm_status st = MM_E_NOMEM;

    *out = NULL;
    if (spec->depth > MMI_PREFETCH_MAX_DEPTH)
        return mmi_fail(ctx, MM_E_ARGUMENT, "%zu batches ahead, at most %d are allowed", spec->depth, MMI_PREFETCH_MAX_DEPTH);
    p = mmi_zalloc(ctx, sizeof *p);
    if (!p) goto cleanup;
    p->spec = *spec;
    p->made = p->taken = spec->first;
    p->size = spec->depth ? spec->depth : 1;
    p->slots = mmi_zalloc_array(ctx, p->size, sizeof *p->slots);
    p->ctx = p->slots ? mmi_context_fork(ctx) : NULL;
    if (!p->ctx) goto cleanup;
    p->ctx->log_fn = keep_line;
    p->ctx->log_user = p;
    st = MM_OK;
    if (spec->depth) {
        if (pthread_mutex_init(&p->lock, NULL)) goto no_thread;
        p->locks = 1;
        if (pthread_cond_init(&p->changed, NULL)) goto no_thread;
        p->locks = 2;
        p->running = !pthread_create(&p->thread, NULL, worker_main, p);
    }
no_thread: /* the consumer's thread does the work */
    *out = p;
    p = NULL;
cleanup:
    mmi_prefetch_destroy(p);
    return st;
}

/* Wait until the next step is made. */
static mm_status wait_for_batch(mm_context *ctx, mmi_prefetch *p)
{
    mm_status st = mmi_check_cancel(ctx);

    while (!st && p->made == p->taken) {
        struct timespec until = {0};
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        (void)pthread_cond_timedwait(&p->changed, &p->lock, &until);
        st = mmi_check_cancel(ctx);
    }
    return st;
}

static void give_log(mm_context *ctx, mmi_text *log)
{
    for (size_t i = 0; i < log->size; i += strlen(log->data + i) + 1) mmi_log(ctx, log->data[i], "%s", log->data + i + 1);
    mmi_text_clear(log);
}

mm_status mmi_prefetch_take(mm_context *ctx, mmi_prefetch *p, void **batch)
{
    slot *s = slot_of(p, p->taken), got;
    mm_status st;

    *batch = NULL;
    if (p->taken >= p->spec.end) return mmi_fail(ctx, MM_E_STATE, "all %llu steps have had their batches", (unsigned long long)p->spec.end);
    if (p->running) {
        pthread_mutex_lock(&p->lock);
        st = wait_for_batch(ctx, p);
        pthread_mutex_unlock(&p->lock);
    } else {
        st = mmi_check_cancel(ctx);
        if (!st && p->made == p->taken) {
            make_one(p);
            p->made++;
        }
    }
    if (st) return st;
    /* the slot is ours until `taken` says otherwise */
    got = *s;
    memset(&s->log, 0, sizeof s->log);
    give_log(ctx, &got.log);
    if (got.status) return mmi_fail(ctx, got.status, "%s", got.error); /* stays where it is */
    *batch = got.batch;
    if (p->running) pthread_mutex_lock(&p->lock);
    p->taken++;
    if (p->running) {
        pthread_cond_signal(&p->changed);
        pthread_mutex_unlock(&p->lock);
    }
    return MM_OK;
}

void mmi_prefetch_destroy(mmi_prefetch *p)
{
    if (!p) return;
    if (p->running) {
        pthread_mutex_lock(&p->lock);
        p->quit = 1;
        atomic_store(&p->ctx->cancel, 1);
        pthread_cond_signal(&p->changed);
        pthread_mutex_unlock(&p->lock);
        (void)pthread_join(p->thread, NULL);
    }
    for (; p->taken < p->made; p->taken++) {
        slot *s = slot_of(p, p->taken);
        if (s->batch) p->spec.drop(p->spec.arg, s->batch);
        mmi_text_clear(&s->log);
    }
    if (p->locks > 1) (void)pthread_cond_destroy(&p->changed);
    if (p->locks) (void)pthread_mutex_destroy(&p->lock);
    mmi_context_fork_end(p->ctx);
    mmi_free(p->slots);
    mmi_free(p);
}
