/* The sampling options that generate and chat share. SPDX-License-Identifier: MIT */
#ifndef MM_CLI_SAMPLING_H
#define MM_CLI_SAMPLING_H

#include "cli.h"
#include "media_files.h"

typedef struct {
    int greedy, slide;
    int64_t max_tokens, top_k, seed, context, beams;
    double temperature, top_p, min_p, repeat_penalty, length_penalty;
    const char *grammar, *json_schema; /* files */
} cli_sampling;

#define CLI_SAMPLING_DEFAULTS {0, 0, 256, 0, 0, 0, 1, 0.7, 0.95, 0, 1, 1, NULL, NULL}

#define CLI_SAMPLING_OPTIONS(s)                                                                                       \
    {"--greedy", CLI_FLAG, &(s).greedy}, {"--slide", CLI_FLAG, &(s).slide},                                           \
    {"--max-tokens", CLI_INTEGER, &(s).max_tokens}, {"--top-k", CLI_INTEGER, &(s).top_k},                             \
    {"--seed", CLI_INTEGER, &(s).seed}, {"--context", CLI_INTEGER, &(s).context},                                     \
    {"--beams", CLI_INTEGER, &(s).beams}, {"--length-penalty", CLI_NUMBER, &(s).length_penalty},                      \
    {"--temperature", CLI_NUMBER, &(s).temperature}, {"--top-p", CLI_NUMBER, &(s).top_p},                             \
    {"--min-p", CLI_NUMBER, &(s).min_p}, {"--repeat-penalty", CLI_NUMBER, &(s).repeat_penalty},   \
    {"--grammar", CLI_TEXT, &(s).grammar}, {"--json-schema", CLI_TEXT, &(s).json_schema}

/* A session of the model with these options. EXIT_OK, or EXIT_FAILED or EXIT_USAGE after saying why. */
int cli_session(mm_context *ctx, mm_model *model, const cli_sampling *s, mm_session **out);

/* Make the session hold the conversation as the chat template writes it, ready for the assistant's reply. kinds[i] are the media in front of message i
 * (cli_media_kinds; NULL: none at all), `media` those of all messages in order. */
int cli_set_conversation(mm_context *ctx, mm_model *model, mm_session *session, const char *const *roles, const char *const *contents,
                         const char *const *kinds, size_t count, const cli_media *media);

/* Make the session hold one question, with all the media: in the chat template behind `system` (NULL: none), or as it is where `raw` says so or the model has
 * no template. */
int cli_ask(mm_context *ctx, mm_model *model, mm_session *session, const cli_media *media, const char *system, const char *prompt, int raw);

/* For mm_session_generate: text to standard output as it comes. */
int32_t cli_print_piece(void *user, int32_t id, const char *text, size_t size);

#endif
