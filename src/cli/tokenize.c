/* mm tokenize: lines of text to lines of ids, and back. SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "cli.h"

static int encode_line(mm_context *ctx, const mm_tokenizer *t, const char *line, size_t size)
{
    int32_t *ids = NULL;
    size_t n = 0;

    if (mm_tokenizer_encode(t, ctx, line, size, MM_TOKENS_ADD_SPECIAL | MM_TOKENS_PARSE_SPECIAL, &ids, &n)) return cli_fail(ctx);
    putchar('[');
    for (size_t i = 0; i < n; i++) printf(i ? ", %d" : "%d", ids[i]);
    puts("]");
    mm_ids_free(ids);
    return EXIT_OK;
}

/* Ids between spaces, commas and brackets. */
static int decode_line(mm_context *ctx, const mm_tokenizer *t, const char *line, size_t number)
{
    int32_t *ids = NULL, *grown;
    size_t n = 0, capacity = 0, size = 0;
    char *text = NULL, *end;
    int status = EXIT_OK;

    for (const char *p = line; *p && !status;) {
        long id;
        if (*p == ' ' || *p == '\t' || *p == ',' || *p == '[' || *p == ']' || *p == '\r') {
            p++;
            continue;
        }
        errno = 0;
        id = strtol(p, &end, 10);
        if (end == p || errno || id < 0 || id > INT32_MAX) {
            status = cli_fail_text("line %zu: \"%.20s\" is no token id", number, p);
            break;
        }
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            grown = realloc(ids, capacity * sizeof *ids);
            if (!grown) {
                status = cli_fail_text("out of memory");
                break;
            }
            ids = grown;
        }
        ids[n++] = (int32_t)id;
        p = end;
    }
    if (!status && mm_tokenizer_decode(t, ctx, ids, n, 0, &text, &size)) status = cli_fail(ctx);
    if (!status) {
        fwrite(text, 1, size, stdout);
        putchar('\n');
    }
    mm_text_free(text);
    free(ids);
    return status;
}

int cli_tokenize(int argc, char **argv)
{
    const char *path = NULL;
    int decode = 0, status;
    const cli_option options[] = {{"--text-file", CLI_TEXT, &path}, {"--decode", CLI_FLAG, &decode}, {NULL, CLI_FLAG, NULL}};
    cli_args args;
    cli_lines lines = {0};
    mm_context *ctx = NULL;
    mm_tokenizer *t = NULL;

    if ((status = cli_parse(argc, argv, options, &args))) goto cleanup;
    if (!path) {
        status = EXIT_USAGE;
        (void)cli_fail_text("--text-file is missing");
        goto cleanup;
    }
    status = EXIT_FAILED;
    if (!(ctx = cli_context(&args))) goto cleanup;
    status = mm_tokenizer_open(ctx, args.model, &t) ? cli_fail(ctx) : cli_read_lines(path, &lines);
    for (size_t i = 0; i < lines.count && !status; i++)
        status = decode ? decode_line(ctx, t, lines.lines[i], i + 1) : encode_line(ctx, t, lines.lines[i], lines.sizes[i]);
cleanup:
    cli_lines_clear(&lines);
    mm_tokenizer_release(t);
    cli_context_destroy(ctx);
    cli_args_clear(&args);
    return status;
}
