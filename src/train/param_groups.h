/* Settings by the names of tensors.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_PARAM_GROUPS_H
#define MMI_PARAM_GROUPS_H

#include <stddef.h>

#include "context.h"

typedef struct {
    double lr_scale, weight_decay;
    int frozen;
} mmi_param_settings;

/* Patterns as of POSIX fnmatch (*, ?, [...]), where * also takes dots, and what they set. */
typedef struct {
    const char *const *match;
    size_t matches;
    double lr_scale, weight_decay; /* NaN: as it was */
    int frozen;                    /* -1: as it was */
} mmi_param_group;

/* Change settings[i], which hold the defaults, to what the groups say of names[i]: in order, so that later ones win. MM_E_NOT_FOUND names a
 * pattern that no name matches. */
mm_status mmi_param_groups_apply(mm_context *ctx, const mmi_param_group *groups, size_t n_groups, const char *const *names, size_t n,
                                 mmi_param_settings *settings);

#endif
