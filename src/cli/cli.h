/* The `mm` command: what its subcommands share. It uses include/ only, as any application.
 * SPDX-License-Identifier: MIT */
#ifndef MM_CLI_H
#define MM_CLI_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mm_context.h"
#include "mm_image.h"
#include "mm_model.h"
#include "mm_session.h"
#include "mm_tensor.h"
#include "mm_tokenizer.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* A text, picture or file given on the command line, in its order. */
typedef struct {
    const char *option; /* "--text", "--image", ... */
    const char *value;
} cli_item;

typedef enum { CLI_FLAG, CLI_TEXT, CLI_INTEGER, CLI_NUMBER, CLI_LIST } cli_kind;

typedef struct {
    const char *name; /* "--prompt" */
    cli_kind kind;
    void *out; /* int * (flag: 1), const char **, int64_t *, double *, or NULL for a list: every use goes to cli_args.items */
} cli_option;

typedef struct {
    const char *model; /* the first argument that is no option */
    cli_item *items;
    size_t n_items;
    int64_t threads; /* --threads, 0: default */
    const char *projector; /* --mmproj: the second file of a pair, NULL: none */
    const char *adapter;   /* --adapter: a directory of peft, NULL: none */
    const char *weights;   /* --weights: the block-quantized type that matrices become, NULL: none */
} cli_args;

/* Read argv[2..] by the options of a command (ended by a NULL name); --threads N, --mmproj F, --adapter D, --weights T and --verbose are known to all. EXIT_OK, or EXIT_USAGE
 * after saying why. */
int cli_parse(int argc, char **argv, const cli_option *options, cli_args *args);
void cli_args_clear(cli_args *args);

/* A context with progress on stderr, --threads, and Ctrl-C as cancellation. NULL after saying why. */
mm_context *cli_context(const cli_args *args);
void cli_context_destroy(mm_context *ctx);

/* The model of the arguments, with the projector that goes with it, adapted. */
mm_status cli_open(mm_context *ctx, const cli_args *args, mm_model **out);

/* Print "mm: <sentence>" and return EXIT_FAILED. */
int cli_fail(const mm_context *ctx);
int cli_fail_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A JSON string with its quotes; malformed UTF-8 becomes U+FFFD. */
void cli_print_json_string(FILE *to, const char *text, size_t size);

/* A file as it is, with a NUL behind it; to be freed. EXIT_OK or EXIT_FAILED. */
int cli_read_file(const char *path, char **data, size_t *size); /* "-": standard input */

/* The lines of a file: they end at \n only, the last one need not. Each has a NUL behind it. EXIT_OK or EXIT_FAILED. */
typedef struct {
    char *data;
    char **lines;
    size_t *sizes;
    size_t count;
} cli_lines;
int cli_read_lines(const char *path, cli_lines *out);
void cli_lines_clear(cli_lines *lines);

double cli_seconds(void); /* of a clock that only goes forward */

/* Ends standard output: a full disk or a closed pipe makes EXIT_OK into EXIT_FAILED. */
int cli_finish(int status);

/* A command: runs on argv and returns an exit status. */
int cli_info(int argc, char **argv);
int cli_generate(int argc, char **argv);
int cli_chat(int argc, char **argv);
int cli_embed(int argc, char **argv);
int cli_classify(int argc, char **argv);
int cli_forward(int argc, char **argv);
int cli_tokenize(int argc, char **argv);
int cli_preprocess(int argc, char **argv);
int cli_transcribe(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_train(int argc, char **argv);
int cli_eval(int argc, char **argv);
int cli_explain(int argc, char **argv);

#endif
