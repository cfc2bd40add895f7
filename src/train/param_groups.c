/* SPDX-License-Identifier: MIT */
#include "param_groups.h"

#include <fnmatch.h>
#include <math.h>

mm_status mmi_param_groups_apply(mm_context *ctx, const mmi_param_group *groups, size_t n_groups, const char *const *names, size_t n,
                                 mmi_param_settings *settings)
{
    for (const mmi_param_group *g = groups; g < groups + n_groups; g++) {
        for (size_t k = 0; k < g->matches; k++) {
            size_t found = 0;
            for (size_t i = 0; i < n; i++) {
                if (fnmatch(g->match[k], names[i], 0)) continue;
                found++;
                if (!isnan(g->lr_scale)) settings[i].lr_scale = g->lr_scale;
                if (!isnan(g->weight_decay)) settings[i].weight_decay = g->weight_decay;
                if (g->frozen >= 0) settings[i].frozen = g->frozen;
            }
            if (!found) return mmi_fail(ctx, MM_E_NOT_FOUND, "no tensor's name matches \"%.200s\"", g->match[k]);
        }
    }
    return MM_OK;
}
