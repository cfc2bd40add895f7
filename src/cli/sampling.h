/* The sampling options that generate and chat share. SPDX-License-Identifier: MIT */
#ifndef MM_CLI_SAMPLING_H
#define MM_CLI_SAMPLING_H

#include "cli.h"

typedef struct {
    int greedy, slide;
    int64_t max_tokens, top_k, seed, context;
    double temperature, top_p, min_p, repeat_penalty;
} cli_sampling;

#define CLI_SAMPLING_DEFAULTS {0, 0, 256, 0, 0, 0, 0.7, 0.95, 0, 1}

#define CLI_SAMPLING_OPTIONS(s)                                                                                       \
    {"--greedy", CLI_FLAG, &(s).greedy}, {"--slide", CLI_FLAG, &(s).slide},                                           \
    {"--max-tokens", CLI_INTEGER, &(s).max_tokens}, {"--top-k", CLI_INTEGER, &(s).top_k},                             \
    {"--seed", CLI_INTEGER, &(s).seed}, {"--context", CLI_INTEGER, &(s).context},                                     \
    {"--temperature", CLI_NUMBER, &(s).temperature}, {"--top-p", CLI_NUMBER, &(s).top_p},                             \
    {"--min-p", CLI_NUMBER, &(s).min_p}, {"--repeat-penalty", CLI_NUMBER, &(s).repeat_penalty}

/* A session of the model with these options. EXIT_OK or EXIT_FAILED after saying why. */
int cli_session(mm_context *ctx, mm_model *model, const cli_sampling *s, mm_session **out);

/* Make the session hold the conversation as the chat template writes it, ready for the assistant's reply. */
int cli_set_conversation(mm_context *ctx, mm_model *model, mm_session *session, const char *const *roles, const char *const *contents, size_t count);

#endif
