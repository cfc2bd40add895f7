/* Pictures of a training run and of an evaluation, by cairo where the command was built with it. SPDX-License-Identifier: MIT */
#ifndef MM_CLI_PLOT_H
#define MM_CLI_PLOT_H

#include "cli.h"

/* EXIT_OK when plots can be drawn; else EXIT_FAILED after saying that cairo is missing: to be asked before the work of hours. */
int cli_plot_check(void);

/* A line: y over x, which rises. Values that are not finite, and on a logarithmic axis not positive, leave a gap. */
typedef struct {
    const char *name; /* in the legend */
    const double *x, *y;
    size_t count;
    int smooth;       /* a running mean over a fiftieth of the values, over the faint raw ones; else a line with a dot for each value */
} cli_series;

/* Draw the lines over steps as a PNG file, with axes, ticks and a legend. EXIT_OK or EXIT_FAILED after saying why; nothing to draw is a failure. */
int cli_plot_losses(mm_context *ctx, const char *path, const cli_series *series, size_t n_series, int logarithmic);

/* Draw counts [classes, classes] as a PNG file: rows are the right classes, columns what was guessed; the darker a cell, the larger its share of its row.
 * labels NULL: numbers. */
int cli_plot_confusion(mm_context *ctx, const char *path, const char *const *labels, size_t classes, const int64_t *counts);

#endif
