/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static int verbose;              /* --verbose: show log lines */
static mm_context *interrupted;  /* what Ctrl-C cancels */

static int bad_usage(const char *format, const char *what)
{
    fprintf(stderr, "mm: ");
    fprintf(stderr, format, what);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

static int parse_value(const cli_option *o, const char *text)
{
    char *end;

    errno = 0;
    if (o->kind == CLI_TEXT) {
        *(const char **)o->out = text;
        return 1;
    }
    if (o->kind == CLI_INTEGER) {
        long long v = strtoll(text, &end, 10);
        *(int64_t *)o->out = v;
    } else {
        *(double *)o->out = strtod(text, &end);
    }
    return *text && !*end && !errno;
}

/* -1: there is none of that name. */
static int32_t dtype_of(const char *name)
{
    for (int32_t d = 0; d <= MM_DTYPE_Q8_ROW; d++)
        if (!strcasecmp(name, mm_dtype_name(d))) return d;
    return -1;
}

int cli_parse(int argc, char **argv, const cli_option *options, cli_args *args)
{
    cli_option threads = {"--threads", CLI_INTEGER, &args->threads}, projector = {"--mmproj", CLI_TEXT, &args->projector},
               adapter = {"--adapter", CLI_TEXT, &args->adapter}, weights = {"--weights", CLI_TEXT, &args->weights};

    memset(args, 0, sizeof *args);
    args->items = calloc((size_t)argc, sizeof *args->items);
    if (!args->items) {
        (void)cli_fail_text("out of memory");
        return EXIT_FAILED;
    }
    for (int i = 2; i < argc; i++) {
        const cli_option *o = options;
        if (argv[i][0] != '-' || !argv[i][1]) {
            if (args->model) return bad_usage("unexpected argument %s", argv[i]);
            args->model = argv[i];
            continue;
        }
        if (!strcmp(argv[i], "--verbose")) {
            verbose = 1;
            continue;
        }
        while (o->name && strcmp(o->name, argv[i])) o++;
        if (!strcmp(argv[i], "--threads")) o = &threads;
        if (!strcmp(argv[i], "--mmproj")) o = &projector;
        if (!strcmp(argv[i], "--adapter")) o = &adapter;
        if (!strcmp(argv[i], "--weights")) o = &weights;
        if (!o->name) return bad_usage("unknown option %s", argv[i]);
        if (o->kind == CLI_FLAG) {
            *(int *)o->out = 1;
            continue;
        }
        if (i + 1 == argc) return bad_usage("%s needs a value", argv[i]);
        i++;
        if (o->kind == CLI_LIST) {
            args->items[args->n_items++] = (cli_item){o->name, argv[i]};
        } else if (!parse_value(o, argv[i])) {
            fprintf(stderr, "mm: %s is no number for %s\n", argv[i], o->name);
            return EXIT_USAGE;
        }
    }
    if (args->weights && dtype_of(args->weights) < 0) return bad_usage("%s is no type of weights", args->weights);
    return args->model ? EXIT_OK : bad_usage("%s is missing", "MODEL");
}

void cli_args_clear(cli_args *args) { free(args->items); }

static int32_t show_progress(void *user, const char *what, int64_t done, int64_t total)
{
    static double last;
    int terminal = isatty(STDERR_FILENO);
    double now = cli_seconds();
    (void)user;

    if (total <= 0 || (done < total && now - last < (terminal ? 0.1 : 5.0))) return 0;
    if (terminal) {
        int width = (int)(30 * done / total);
        if (done < total) {
            fprintf(stderr, "\r%-22s [%.*s%*s] %3d %%", what, width, "##############################", 30 - width, "", (int)(100 * done / total));
        } else if (last > 0) {
            fprintf(stderr, "\r%70s\r", "");
        }
        fflush(stderr);
    } else if (last > 0 && done < total) {
        fprintf(stderr, "%s: %lld of %lld\n", what, (long long)done, (long long)total);
    }
    last = done < total ? now : 0;
    return 0;
}

static void show_log(void *user, int32_t level, const char *text)
{
    (void)user;
    if (verbose || level <= MM_LOG_WARNING) fprintf(stderr, "mm: %s\n", text);
}

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    mm_context_cancel(interrupted);
}

mm_context *cli_context(const cli_args *args)
{
    mm_context *ctx = NULL;
    struct sigaction action;

    if (mm_context_create(NULL, &ctx)) {
        (void)cli_fail_text("out of memory");
        return NULL;
    }
    (void)mm_context_set_progress(ctx, show_progress, NULL);
    (void)mm_context_set_log(ctx, show_log, NULL);
    if (args->threads && mm_context_set_i64(ctx, MM_CONTEXT_THREADS, args->threads)) {
        (void)cli_fail(ctx);
        mm_context_destroy(ctx);
        return NULL;
    }
    interrupted = ctx;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)SA_RESETHAND; /* a second Ctrl-C ends the program */
    (void)sigaction(SIGINT, &action, NULL);
    return ctx;
}

mm_status cli_open(mm_context *ctx, const cli_args *args, mm_model **out)
{
    mm_model *base = NULL;
    mm_status st;

    if (args->weights) st = mm_model_open_quantized(ctx, args->model, args->projector, dtype_of(args->weights), out);
    else st = args->projector ? mm_model_open_pair(ctx, args->model, args->projector, out) : mm_model_open(ctx, args->model, out);
    if (st || !args->adapter) return st;
    base = *out;
    st = mm_model_adapt(ctx, base, args->adapter, 1.0, out);
    mm_model_release(base); /* the adapted model keeps it */
    return st;
}

void cli_context_destroy(mm_context *ctx)
{
    (void)signal(SIGINT, SIG_DFL);
    interrupted = NULL;
    mm_context_destroy(ctx);
}

int cli_fail(const mm_context *ctx) { return cli_fail_text("%s", mm_context_error(ctx)); }

int cli_fail_text(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fputs("mm: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

/* Length of the well-formed UTF-8 sequence at s, 0 for none. */
static size_t sequence(const unsigned char *s, size_t n)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;

    if (!len || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)) return 0;
    return len;
}

void cli_print_json_string(FILE *to, const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text;

    fputc('"', to);
    for (size_t i = 0; i < size;) {
        size_t len = sequence(s + i, size - i);
        if (!len) {
            fputs("\xEF\xBF\xBD", to);
            i++;
            continue;
        }
        if (s[i] == '"' || s[i] == '\\') {
            fprintf(to, "\\%c", s[i]);
        } else if (s[i] < 0x20) {
            fprintf(to, "\\u%04x", s[i]);
        } else {
            fwrite(s + i, 1, len, to);
        }
        i += len;
    }
    fputc('"', to);
}

static int read_all(FILE *f, char **data, size_t *size)
{
    size_t capacity = 1 << 16, n = 0;
    char *p = malloc(capacity + 1), *grown;

    while (p) {
        n += fread(p + n, 1, capacity - n, f);
        if (n < capacity) break;
        grown = capacity < SIZE_MAX / 2 - 1 ? realloc(p, 2 * capacity + 1) : NULL;
        if (!grown) free(p);
        p = grown;
        capacity *= 2;
    }
    *data = p;
    *size = n;
    return p && !ferror(f);
}

int cli_read_file(const char *path, char **data, size_t *size)
{
    FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    int ok;

    *data = NULL;
    if (!f) return cli_fail_text("cannot open %s: %s", path, strerror(errno));
    errno = 0;
    ok = read_all(f, data, size);
    if (!ok) (void)cli_fail_text("cannot read %s: %s", path, errno ? strerror(errno) : "out of memory");
    if (f != stdin) fclose(f);
    if (ok) {
        (*data)[*size] = 0;
        return EXIT_OK;
    }
    free(*data);
    *data = NULL;
    return EXIT_FAILED;
}

int cli_read_lines(const char *path, cli_lines *out)
{
    size_t size = 0, count = 0;
    int ok;

    memset(out, 0, sizeof *out);
    ok = !cli_read_file(path, &out->data, &size);
    if (ok) {
        for (size_t i = 0; i < size; i++) count += out->data[i] == '\n';
        count += size && out->data[size - 1] != '\n';
        out->lines = calloc(count + 1, sizeof *out->lines);
        out->sizes = calloc(count + 1, sizeof *out->sizes);
        ok = out->lines && out->sizes;
        if (!ok) (void)cli_fail_text("out of memory");
    }
    if (!ok) {
        cli_lines_clear(out);
        return EXIT_FAILED;
    }
    for (size_t at = 0; at < size;) {
        char *end = memchr(out->data + at, '\n', size - at);
        size_t n = end ? (size_t)(end - out->data) - at : size - at;
        out->lines[out->count] = out->data + at;
        out->sizes[out->count++] = n;
        out->data[at + n] = 0;
        at += n + 1;
    }
    return EXIT_OK;
}

void cli_lines_clear(cli_lines *l)
{
    free(l->data);
    free(l->lines);
    free(l->sizes);
    memset(l, 0, sizeof *l);
}

double cli_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int cli_finish(int status)
{
    if (fflush(stdout) || ferror(stdout)) return status ? status : cli_fail_text("cannot write to standard output");
    return status;
}
