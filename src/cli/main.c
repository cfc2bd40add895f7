/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli.h"

static const struct {
    const char *name, *usage;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"info", "info MODEL [--json]", cli_info},
    {"generate", "generate MODEL [--image F | --audio F | --video F]... [--prompt TEXT] [--system T] [WRITING]\n"
                 "                [--stop TEXT]... [--ids] [--raw]", cli_generate},
    {"chat", "chat MODEL [--system T] [WRITING]", cli_chat},
    {"embed", "embed MODEL (--text T | --text-file F | --image F)... [--rank] [--json] [--no-normalize]", cli_embed},
    {"classify", "classify MODEL (--image F [--labels A,B,... [--template T]] | --text T)... [--top N] [--json]", cli_classify},
    {"transcribe", "transcribe MODEL --audio F [--language L] [--translate] [--timestamps] [--json]", cli_transcribe},
    {"forward", "forward MODEL --inputs in.safetensors --outputs out.safetensors", cli_forward},
    {"tokenize", "tokenize MODEL [--decode] --text-file F", cli_tokenize},
    {"preprocess", "preprocess MODEL (--image F... | --audio F | --video F) --outputs out.safetensors", cli_preprocess},
    {"explain", "explain MODEL --image F [--prompt TEXT] --output F.png [--max-tokens N] [--raw]", cli_explain},
    {"train", "train CONFIG.json [--resume] [--plot loss.png]", cli_train},
    {"eval", "eval MODEL CONFIG.json [--json] [--plot confusion.png]", cli_eval},
    {"bench", "bench MODEL [--only METRIC]... [--json] [--text-file F] [--audio F [--language L]]", cli_bench},
};

static const char writing[] = "\nWRITING is [--max-tokens N] [--greedy | --temperature T --top-k K --top-p P --min-p P --seed S] [--repeat-penalty R]\n"
                              "  [--beams N [--length-penalty P]] [--grammar F | --json-schema F] [--context N] [--slide]\n";

static void usage(FILE *to)
{
    fputs("usage: mm COMMAND MODEL [OPTIONS]\n\n"
          "MODEL is a Hugging Face directory or a .gguf file. Commands:\n", to);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) fprintf(to, "  mm %s\n", commands[i].usage);
    fputs(writing, to);
    fputs("\nEvery command takes --threads N, --mmproj FILE, --adapter DIR, --weights q8_row and --verbose. `man mm` tells more.\n", to);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        usage(stdout);
        return cli_finish(EXIT_OK);
    }
    if (!strcmp(argv[1], "--version")) {
        printf("mm %s\n", mm_build_version());
        return cli_finish(EXIT_OK);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(argv[1], commands[i].name)) {
            int status = commands[i].run(argc, argv);
            if (status == EXIT_USAGE) fprintf(stderr, "usage: mm %s\n%s", commands[i].usage, strstr(commands[i].usage, "WRITING") ? writing : "");
            return cli_finish(status);
        }
    fprintf(stderr, "mm: there is no command %s\n", argv[1]);
    usage(stderr);
    return EXIT_USAGE;
}
