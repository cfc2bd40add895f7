/* Workers spin for a short while after a job, since a decode step hands out hundreds of small jobs in a row, and then
 * sleep on a condition variable, so that an idle context costs nothing.
 *
 * A job is open until the caller finds no task left; then it waits for the workers that came in, not for those that the
 * system has not woken or has given no processor: on a machine that others use too, those would take longest.
 * SPDX-License-Identifier: MIT */
#include "thread_pool.h"

#include <pthread.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif

/* Pauses: a worker waits some tens of microseconds for a job, the caller about as long as tasks take for the last of them. It never yields
 * its processor, which on a busy machine would cost it a time slice at every job. */
enum { SPIN = 4000, SPIN_FOR_END = 8 * SPIN };

static const uint64_t JOB = UINT64_C(1) << 32, OPEN = UINT64_C(1) << 31;

typedef struct {
    mmi_thread_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct mmi_thread_pool {
    int threads; /* the caller included */
    worker *workers; /* threads - 1 */

    mmi_task_fn fn;
    void *arg;
    size_t count;
    const atomic_int *cancel;
    _Alignas(64) atomic_size_t next;  /* next task to hand out */
    _Alignas(64) _Atomic uint64_t state; /* JOB times how many there were, OPEN, and the workers inside */
    atomic_int quit;

    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_int sleepers, caller_sleeps;
};

static void work(mmi_thread_pool *p, int index)
{
    for (;;) {
        size_t task = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (task >= p->count) return;
        if (p->cancel && atomic_load_explicit(p->cancel, memory_order_relaxed)) return;
        p->fn(p->arg, task, index);
    }
}

/* Wait for a job behind number `seen`; returns the state. */
static uint64_t wait_for_job(mmi_thread_pool *p, uint64_t seen)
{
    uint64_t state;

    for (int spins = 0; spins < SPIN; spins++) {
        state = atomic_load_explicit(&p->state, memory_order_acquire);
        if (state / JOB != seen) return state;
        RELAX();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while ((state = atomic_load(&p->state)) / JOB == seen) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
    return state;
}

static void leave(mmi_thread_pool *p)
{
    const uint64_t state = atomic_fetch_sub(&p->state, 1) - 1;

    if (state % JOB == 0 && atomic_load(&p->caller_sleeps)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->lock);
    }
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    mmi_thread_pool *p = w->pool;
    uint64_t seen = 0;

    for (;;) {
        uint64_t state = wait_for_job(p, seen);
        if (atomic_load_explicit(&p->quit, memory_order_acquire)) return NULL;
        seen = state / JOB;
        while (state & OPEN && state / JOB == seen) {
            if (!atomic_compare_exchange_weak_explicit(&p->state, &state, state + 1, memory_order_acquire, memory_order_acquire)) continue;
            work(p, w->index);
            leave(p);
            break;
        }
    }
}

static void start_job(mmi_thread_pool *p)
{
    atomic_fetch_add(&p->state, JOB + OPEN);
    if (atomic_load(&p->sleepers)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

/* No worker comes in any more; those inside are waited for. */
static void end_job(mmi_thread_pool *p)
{
    uint64_t state = atomic_fetch_sub(&p->state, OPEN) - OPEN;

    for (int spins = 0; state % JOB && spins < SPIN_FOR_END; spins++) {
        RELAX();
        state = atomic_load_explicit(&p->state, memory_order_acquire);
    }
    if (!(state % JOB)) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, 1);
    while (atomic_load(&p->state) % JOB) pthread_cond_wait(&p->done, &p->lock);
    atomic_store(&p->caller_sleeps, 0);
    pthread_mutex_unlock(&p->lock);
}

mmi_thread_pool *mmi_thread_pool_create(mmi_heap *heap, int threads)
{
    mmi_thread_pool *p = mmi_heap_alloc(heap, sizeof *p);

    if (!p) return NULL;
    p->threads = 1;
    p->workers = NULL;
    p->fn = NULL;
    p->arg = NULL;
    p->count = 0;
    p->cancel = NULL;
    atomic_init(&p->next, 0);
    atomic_init(&p->state, 0);
    atomic_init(&p->quit, 0);
    atomic_init(&p->sleepers, 0);
    atomic_init(&p->caller_sleeps, 0);
    if (pthread_mutex_init(&p->lock, NULL)) goto no_lock;
    if (pthread_cond_init(&p->wake, NULL)) goto no_wake;
    if (pthread_cond_init(&p->done, NULL)) goto no_done;
    p->workers = threads > 1 ? mmi_heap_alloc(heap, (size_t)(threads - 1) * sizeof *p->workers) : NULL;
    for (int i = 0; p->workers && i < threads - 1; i++) {
        worker *w = &p->workers[i];
        w->pool = p;
        w->index = i + 1;
        if (pthread_create(&w->thread, NULL, worker_main, w)) break;
        p->threads++;
    }
    return p;
no_done:
    pthread_cond_destroy(&p->wake);
no_wake:
    pthread_mutex_destroy(&p->lock);
no_lock:
    mmi_free(p);
    return NULL;
}

void mmi_thread_pool_destroy(mmi_thread_pool *p)
{
    if (!p) return;
    atomic_store(&p->quit, 1);
    start_job(p);
    for (int i = 0; i < p->threads - 1; i++) pthread_join(p->workers[i].thread, NULL);
    mmi_free(p->workers);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    mmi_free(p);
}

int mmi_thread_pool_size(const mmi_thread_pool *p) { return p ? p->threads : 1; }

void mmi_thread_pool_run(mmi_thread_pool *p, mmi_task_fn fn, void *arg, size_t count, const atomic_int *cancel)
{
    if (!p || p->threads == 1 || count <= 1) {
        for (size_t i = 0; i < count; i++) {
            if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) return;
            fn(arg, i, 0);
        }
        return;
    }
    p->fn = fn;
    p->arg = arg;
    p->count = count;
    p->cancel = cancel;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    start_job(p);
    work(p, 0);
    end_job(p);
}
