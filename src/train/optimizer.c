/* SPDX-License-Identifier: MIT */
#include "optimizer.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "dtype.h"
#include "kernels.h"
#include "random.h"
#include "size.h"
#include "text.h"

enum {
    CHUNK = 1 << 15, /* elements in a task; Adafactor's are whole rows of at least LEAST_ROWS, since each has sums of its columns */
    LEAST_ROWS = 64,
    BLOCK = 1024,    /* bf16 weights that are f32 for a moment, in the nearest cache */
    ALIGN = 16       /* floats of a cache line */
};

static const struct {
    const char *name;
    const char *states[2];
    mmi_optimizer_spec spec;
} KINDS[MMI_OPTIMIZER_COUNT] = {
    [MMI_OPTIMIZER_ADAMW] = {"adamw", {"exp_avg", "exp_avg_sq"}, {.kind = MMI_OPTIMIZER_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}},
    [MMI_OPTIMIZER_SGD] = {"sgd", {"momentum_buffer"}, {.kind = MMI_OPTIMIZER_SGD, .beta1 = 0.9}},
    [MMI_OPTIMIZER_LION] = {"lion", {"exp_avg"}, {.kind = MMI_OPTIMIZER_LION, .beta1 = 0.9, .beta2 = 0.99}},
    [MMI_OPTIMIZER_ADAFACTOR] = {"adafactor", {"exp_avg_sq_row", "exp_avg_sq_col"},
                                 {.kind = MMI_OPTIMIZER_ADAFACTOR, .eps = 1e-30}},
};

typedef struct {
    mmi_text name;
    float *data;
    size_t elements;
} moment;

typedef struct {
    mmi_parameter parameter;
    const moment *states; /* per_parameter of them */
    size_t chunk, chunks;
    /* Adafactor, in a step: */
    double row_mean;
    mmi_update update;
} trained;

typedef struct {
    trained *of;
    size_t first, count; /* elements */
    /* Adafactor, in a step: */
    float *columns;         /* sums of squares; the first chunk's become the factors of the parameter's columns */
    double weights, update; /* sums of squares */
} chunk;

struct mmi_optimizer {
    mmi_optimizer_spec spec;
    trained *trained;
    moment *states;
    chunk *chunks;
    size_t n, per_parameter, n_states, n_chunks;
    float *memory; /* of the states and of the chunks' columns */
};

mm_status mmi_optimizer_spec_of(mm_context *ctx, const char *name, mmi_optimizer_spec *spec)
{
    for (size_t i = 0; i < MMI_OPTIMIZER_COUNT; i++) {
        if (strcmp(name, KINDS[i].name)) continue;
        *spec = KINDS[i].spec;
        return MM_OK;
    }
    return mmi_fail(ctx, MM_E_ARGUMENT, "optimizer \"%.64s\" is none of adamw, sgd, lion, adafactor", name);
}

static mm_status check(mm_context *ctx, const mmi_optimizer_spec *s, const mmi_parameter *parameters, size_t n)
{
    const int divides = s->kind == MMI_OPTIMIZER_ADAMW || s->kind == MMI_OPTIMIZER_ADAFACTOR;
    const struct {
        const char *name;
        double value, least, below;
    } numbers[] = {{s->kind == MMI_OPTIMIZER_SGD ? "momentum" : "beta1", s->beta1, 0, 1},
                   {"beta2", s->beta2, 0, 1},
                   {"eps", s->eps, divides ? FLT_MIN : 0, INFINITY}};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (!(numbers[i].value >= numbers[i].least && numbers[i].value < numbers[i].below)) {
            return mmi_fail(ctx, MM_E_ARGUMENT, "%s: %s %g is not in [%g, %g)", KINDS[s->kind].name, numbers[i].name, numbers[i].value,
                            numbers[i].least, numbers[i].below);
        }
    }
    for (size_t i = 0; i < n; i++) {
        const mmi_parameter *p = &parameters[i];
        if (p->dtype != MM_DTYPE_F32 && p->dtype != MM_DTYPE_BF16) {
            return mmi_fail(ctx, MM_E_DTYPE, "parameter %.200s is %s: only f32 and bf16 are trained", p->name, mm_dtype_name(p->dtype));
        }
        if (!p->rows || !p->cols) return mmi_fail(ctx, MM_E_SHAPE, "parameter %.200s [%zu, %zu] is empty", p->name, p->rows, p->cols);
        if (!isfinite(p->lr_scale) || !(p->lr_scale >= 0) || !isfinite(p->weight_decay) || !(p->weight_decay >= 0)) {
            return mmi_fail(ctx, MM_E_ARGUMENT, "parameter %.200s: lr_scale %g and weight_decay %g must be finite and not negative", p->name,
                            (double)p->lr_scale, (double)p->weight_decay);
        }
    }
    return MM_OK;
}

/* Elements of a chunk of `p`. */
static size_t chunk_of(const mmi_optimizer_spec *s, const mmi_parameter *p)
{
    return s->kind == MMI_OPTIMIZER_ADAFACTOR ? mmi_size_min(mmi_size_max(CHUNK / p->cols, LEAST_ROWS), p->rows) * p->cols : CHUNK;
}

mm_status mmi_optimizer_create(mm_context *ctx, const mmi_optimizer_spec *spec, const mmi_parameter *parameters, size_t n, mmi_optimizer **out)
{
    const int factored = spec->kind == MMI_OPTIMIZER_ADAFACTOR;
    size_t floats = 0;
    mm_status st = check(ctx, spec, parameters, n);
    mmi_optimizer *o;
    float *memory;

    *out = NULL;
    if (st) return st;
    if (!(o = mmi_zalloc(ctx, sizeof *o))) return MM_E_NOMEM;
    o->spec = *spec;
    o->n = n;
    for (size_t i = 0; i < 2; i++) o->per_parameter += KINDS[spec->kind].states[i] && !(spec->kind == MMI_OPTIMIZER_SGD && spec->beta1 == 0);
    o->n_states = n * o->per_parameter;
    o->trained = mmi_zalloc_array(ctx, n, sizeof *o->trained);
    o->states = mmi_zalloc_array(ctx, o->n_states, sizeof *o->states);
    if (!o->trained || !o->states) goto nomem;
    for (size_t i = 0; i < n; i++) {
        trained *t = &o->trained[i];
        size_t elements, padded, total;
        t->parameter = parameters[i];
        if (factored && t->parameter.cols == 1) { /* a vector too */
            t->parameter.cols = t->parameter.rows;
            t->parameter.rows = 1;
        }
        if (mmi_size_mul(t->parameter.rows, t->parameter.cols, &elements)) goto overflow;
        t->states = o->states + i * o->per_parameter;
        t->chunk = o->n_chunks;
        t->chunks = (elements - 1) / chunk_of(spec, &t->parameter) + 1;
        o->n_chunks += t->chunks;
        for (size_t k = 0; k < o->per_parameter; k++) {
            moment *s = &o->states[i * o->per_parameter + k];
            s->elements = !factored ? elements : k ? t->parameter.cols : t->parameter.rows;
            if (mmi_size_round_up(s->elements, ALIGN, &padded) || mmi_size_add(floats, padded, &floats)) goto overflow;
            if (mmi_text_format(ctx, &s->name, "%s.%s", parameters[i].name, KINDS[spec->kind].states[k])) goto nomem;
        }
        if (factored) {
            if (mmi_size_round_up(t->parameter.cols, ALIGN, &padded) || mmi_size_mul(padded, t->chunks, &total) ||
                mmi_size_add(floats, total, &floats)) {
                goto overflow;
            }
        }
    }
    o->chunks = mmi_zalloc_array(ctx, o->n_chunks, sizeof *o->chunks);
    memory = o->memory = mmi_zalloc_array(ctx, floats, sizeof *memory);
    if (!o->chunks || !memory) goto nomem;
    for (size_t i = 0; i < o->n_states; i++) {
        o->states[i].data = memory;
        memory += (o->states[i].elements + ALIGN - 1) / ALIGN * ALIGN;
    }
    for (size_t i = 0; i < n; i++) {
        trained *t = &o->trained[i];
        const size_t elements = t->parameter.rows * t->parameter.cols, size = chunk_of(spec, &t->parameter);
        for (size_t k = 0; k < t->chunks; k++) {
            chunk *c = &o->chunks[t->chunk + k];
            *c = (chunk){.of = t, .first = k * size, .count = mmi_size_min(size, elements - k * size)};
            if (!factored) continue;
            c->columns = memory;
            memory += (t->parameter.cols + ALIGN - 1) / ALIGN * ALIGN;
        }
    }
    *out = o;
    return MM_OK;

overflow:
    mmi_optimizer_destroy(o);
    return mmi_fail(ctx, MM_E_OVERFLOW, "the optimizer's state has too many elements to count");
nomem:
    mmi_optimizer_destroy(o);
    return MM_E_NOMEM;
}

void mmi_optimizer_destroy(mmi_optimizer *o)
{
    if (!o) return;
    for (size_t i = 0; o->states && i < o->n_states; i++) mmi_text_clear(&o->states[i].name);
    mmi_free(o->trained);
    mmi_free(o->states);
    mmi_free(o->chunks);
    mmi_free(o->memory);
    mmi_free(o);
}

size_t mmi_optimizer_states(const mmi_optimizer *o) { return o->n_states; }

void mmi_optimizer_state(const mmi_optimizer *o, size_t i, const char **name, float **data, size_t *elements)
{
    *name = o->states[i].name.data;
    *data = o->states[i].data;
    *elements = o->states[i].elements;
}

/* ---- a step ---- */

typedef struct {
    const mmi_optimizer *o;
    const mmi_kernels *kernels;
    mmi_update_fn update;
    uint64_t step;
    double lr, beta2; /* beta2 of Adafactor */
    float scale;
} run;

/* Four elements share a number, at 16 bits each: up by chance as far as the value lies above the lower bf16. */
static void round_by_chance(const float *x, uint64_t seed, uint64_t stream, size_t first, size_t n, uint16_t *y)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t at = first + i;
        union { float f; uint32_t u; } v = {x[i]};
        if (!i || at % 4 == 0) bits = mmi_random_at(seed, stream, at / 4);
        y[i] = isnan(x[i]) ? mmi_f32_to_bf16(x[i]) : (uint16_t)((v.u + (bits >> at % 4 * 16 & 0xffff)) >> 16);
    }
}

/* n elements from `first` on; m and v begin there. */
static void update_part(const run *r, const trained *t, const mmi_update *u, size_t first, size_t n, float *m, float *v)
{
    const mmi_parameter *p = &t->parameter;
    const uint64_t stream = r->step * r->o->n + (size_t)(t - r->o->trained);
    float block[BLOCK];

    if (p->dtype == MM_DTYPE_F32) {
        r->update(u, p->gradient + first, (float *)p->weights + first, m, v, n);
        return;
    }
    for (size_t at = 0, size; at < n; at += size) {
        uint16_t *weights = (uint16_t *)p->weights + first + at;
        size = mmi_size_min(BLOCK, n - at);
        r->kernels->from_bf16(weights, block, size);
        r->update(u, p->gradient + first + at, block, m ? m + at : NULL, v ? v + at : NULL, size);
        round_by_chance(block, r->o->spec.seed, stream, first + at, size, weights);
    }
}

static void update_chunk(void *arg, size_t task, int worker)
{
    const run *r = arg;
    const chunk *c = &r->o->chunks[task];
    const mmi_optimizer_spec *s = &r->o->spec;
    const mmi_parameter *p = &c->of->parameter;
    const double lr = r->lr * p->lr_scale;
    const int adam = s->kind == MMI_OPTIMIZER_ADAMW;
    const mmi_update u = {.scale = r->scale,
                          .keep = (float)(1 - lr * p->weight_decay),
                          .decay = p->weight_decay,
                          .rate = (float)(adam ? lr / (1 - pow(s->beta1, (double)r->step)) : lr),
                          .beta1 = (float)s->beta1,
                          .rest1 = (float)(1 - s->beta1),
                          .beta2 = (float)s->beta2,
                          .rest2 = (float)(1 - s->beta2),
                          .root = adam ? (float)(1 / sqrt(1 - pow(s->beta2, (double)r->step))) : 0,
                          .eps = (float)s->eps,
                          .nesterov = s->nesterov};
    float *moments[2] = {NULL, NULL};
    (void)worker;

    for (size_t k = 0; k < r->o->per_parameter; k++) moments[k] = c->of->states[k].data + c->first;
    update_part(r, c->of, &u, c->first, c->count, moments[0], moments[1]);
}

/* The paper's eps2 and d, and its rule for the second moment, which keeps 1 - step^DECAY. */
static const double LEAST_RMS = 1e-3, MOST_RMS = 1, DECAY = -0.8;

/* ---- Adafactor, in four sweeps: second moments, their factors, the update's size, the update ----
 *
 * With R and C the means of squares of rows and columns, the second moment of element (i, j) is R_i C_j / mean(R). For a vector, which is
 * one row, that is C_j, the second moment itself, as the paper has it for vectors. */

static double weights_squared(const run *r, const mmi_parameter *p, size_t first, size_t n)
{
    float block[BLOCK];
    double sum = 0;

    if (p->dtype == MM_DTYPE_F32) return r->kernels->sum_squares((const float *)p->weights + first, NULL, n);
    for (size_t at = 0, size; at < n; at += size) {
        size = mmi_size_min(BLOCK, n - at);
        r->kernels->from_bf16((const uint16_t *)p->weights + first + at, block, size);
        sum += r->kernels->sum_squares(block, NULL, size);
    }
    return sum;
}

static void moments_chunk(void *arg, size_t task, int worker)
{
    const run *r = arg;
    chunk *c = &r->o->chunks[task];
    const mmi_parameter *p = &c->of->parameter;
    float *rows = c->of->states[0].data;
    (void)worker;

    memset(c->columns, 0, p->cols * sizeof *c->columns);
    for (size_t at = c->first; at < c->first + c->count; at += p->cols) {
        const double squares = r->kernels->column_squares(p->gradient + at, r->scale, c->columns, p->cols);
        float *row = &rows[at / p->cols];
        *row = (float)(r->beta2 * *row + (1 - r->beta2) * (squares / (double)p->cols + r->o->spec.eps));
    }
    if (r->o->spec.relative_step) c->weights = weights_squared(r, p, c->first, c->count);
}

static void factors_of(void *arg, size_t task, int worker)
{
    const run *r = arg;
    trained *t = &r->o->trained[task];
    chunk *chunks = &r->o->chunks[t->chunk];
    const mmi_parameter *p = &t->parameter;
    const float *rows = t->states[0].data;
    float *columns = t->states[1].data;
    (void)worker;

    t->row_mean = 0;
    for (size_t i = 0; i < p->rows; i++) t->row_mean += rows[i];
    t->row_mean /= (double)p->rows;
    for (size_t k = 1; k < t->chunks; k++) r->kernels->add(chunks->columns, chunks[k].columns, chunks->columns, p->cols);
    for (size_t j = 0; j < p->cols; j++) {
        columns[j] = (float)(r->beta2 * columns[j] + (1 - r->beta2) * (chunks->columns[j] / (double)p->rows + r->o->spec.eps));
        chunks->columns[j] = 1 / sqrtf(columns[j]);
    }
}

static double row_factor(const trained *t, size_t first) { return sqrt(t->row_mean / t->states[0].data[first / t->parameter.cols]); }

static void measure_chunk(void *arg, size_t task, int worker)
{
    const run *r = arg;
    chunk *c = &r->o->chunks[task];
    const mmi_parameter *p = &c->of->parameter;
    (void)worker;

    c->update = 0;
    for (size_t at = c->first; at < c->first + c->count; at += p->cols) {
        const double factor = row_factor(c->of, at) * r->scale;
        c->update += factor * factor * r->kernels->sum_squares(p->gradient + at, r->o->chunks[c->of->chunk].columns, p->cols);
    }
}

static void factored_chunk(void *arg, size_t task, int worker)
{
    const run *r = arg;
    const chunk *c = &r->o->chunks[task];
    const size_t cols = c->of->parameter.cols;
    (void)worker;

    for (size_t at = c->first; at < c->first + c->count; at += cols) {
        mmi_update u = c->of->update;
        u.rate = (float)(u.rate * row_factor(c->of, at));
        update_part(r, c->of, &u, at, cols, r->o->chunks[c->of->chunk].columns, NULL);
    }
}

static void adafactor(const run *r, mmi_thread_pool *pool)
{
    const mmi_optimizer *o = r->o;

    mmi_thread_pool_run(pool, moments_chunk, (void *)r, o->n_chunks, NULL);
    mmi_thread_pool_run(pool, factors_of, (void *)r, o->n, NULL);
    mmi_thread_pool_run(pool, measure_chunk, (void *)r, o->n_chunks, NULL);
    for (size_t i = 0; i < o->n; i++) {
        trained *t = &o->trained[i];
        const double elements = (double)t->parameter.rows * (double)t->parameter.cols;
        double weights = 0, update = 0, lr = r->lr;
        for (size_t k = t->chunk; k < t->chunk + t->chunks; k++) {
            weights += o->chunks[k].weights;
            update += o->chunks[k].update;
        }
        if (o->spec.relative_step) lr = fmin(lr, 1 / sqrt((double)r->step)) * fmax(LEAST_RMS, sqrt(weights / elements));
        lr *= t->parameter.lr_scale;
        t->update = (mmi_update){.scale = r->scale,
                                 .keep = (float)(1 - lr * t->parameter.weight_decay),
                                 .rate = (float)(lr / fmax(1, sqrt(update / elements) / MOST_RMS))};
    }
    mmi_thread_pool_run(pool, factored_chunk, (void *)r, o->n_chunks, NULL);
}

mm_status mmi_optimizer_step(mm_context *ctx, mmi_optimizer *o, uint64_t step, double lr, float gradient_scale)
{
    const mmi_kernels *k = mmi_kernels_of(ctx);
    run r = {.o = o, .kernels = k, .step = step, .lr = lr, .scale = gradient_scale};

    if (!k) return MM_E_NOMEM;
    switch (o->spec.kind) {
    case MMI_OPTIMIZER_SGD: r.update = k->sgd; break;
    case MMI_OPTIMIZER_LION: r.update = k->lion; break;
    case MMI_OPTIMIZER_ADAFACTOR:
        r.update = k->adafactor;
        r.beta2 = 1 - pow((double)step, DECAY);
        adafactor(&r, mmi_context_pool(ctx));
        return MM_OK;
    case MMI_OPTIMIZER_ADAMW:
    case MMI_OPTIMIZER_COUNT: r.update = k->adamw; break;
    }
    mmi_thread_pool_run(mmi_context_pool(ctx), update_chunk, &r, o->n_chunks, NULL);
    return MM_OK;
}
