/* Workers spin for a short while after a job, since a decode step hands out hundreds of small jobs in a row, and then
 * sleep on a condition variable, so that an idle context costs nothing.
 * SPDX-License-Identifier: MIT */
#include "thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif

enum { SPIN = 4000 }; /* pauses, some tens of microseconds */

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
    _Alignas(64) atomic_int running;  /* workers still inside the job */
    _Alignas(64) atomic_uint job;     /* goes up by one for every job */
    atomic_int quit;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int sleepers;
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

static void *worker_main(void *arg)
{
    worker *w = arg;
    mmi_thread_pool *p = w->pool;
    unsigned seen = 0;

    for (;;) {
        int spins = 0;
        while (atomic_load_explicit(&p->job, memory_order_acquire) == seen) {
            if (++spins < SPIN) {
                RELAX();
                continue;
            }
            pthread_mutex_lock(&p->lock);
            atomic_fetch_add(&p->sleepers, 1);
            while (atomic_load(&p->job) == seen) pthread_cond_wait(&p->wake, &p->lock);
            atomic_fetch_sub(&p->sleepers, 1);
            pthread_mutex_unlock(&p->lock);
        }
        seen++;
        if (atomic_load_explicit(&p->quit, memory_order_acquire)) return NULL;
        work(p, w->index);
        atomic_fetch_sub_explicit(&p->running, 1, memory_order_release);
    }
}

static void start_job(mmi_thread_pool *p)
{
    atomic_fetch_add(&p->job, 1);
    if (atomic_load(&p->sleepers)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
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
    atomic_init(&p->running, 0);
    atomic_init(&p->job, 0);
    atomic_init(&p->quit, 0);
    atomic_init(&p->sleepers, 0);
    if (pthread_mutex_init(&p->lock, NULL)) goto no_lock;
    if (pthread_cond_init(&p->wake, NULL)) goto no_wake;
    p->workers = threads > 1 ? mmi_heap_alloc(heap, (size_t)(threads - 1) * sizeof *p->workers) : NULL;
    for (int i = 0; p->workers && i < threads - 1; i++) {
        worker *w = &p->workers[i];
        w->pool = p;
        w->index = i + 1;
        if (pthread_create(&w->thread, NULL, worker_main, w)) break;
        p->threads++;
    }
    return p;
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
    atomic_store_explicit(&p->running, p->threads - 1, memory_order_relaxed);
    start_job(p);
    work(p, 0);
    for (int spins = 0; atomic_load_explicit(&p->running, memory_order_acquire); spins++) {
        if (spins < SPIN) {
            RELAX();
        } else { /* a worker was taken off its processor: let it have this one */
            (void)sched_yield();
        }
    }
}
