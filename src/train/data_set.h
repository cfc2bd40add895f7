/* A data set: the lines of a manifest in the order of a seed, with bad ones skipped where that is asked for.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_DATA_SET_H
#define MMI_DATA_SET_H

#include "manifest.h"

typedef struct mmi_data_set mmi_data_set;

typedef struct {
    uint64_t seed; /* of the order; several sets of one run should differ in it */
    int in_order;  /* every epoch in the order of the lines, as validation wants it */
    int skip_bad;
    double validation; /* share of the examples that is held out; 0 to 1 */
    uint64_t split_seed;
    int want_validation; /* the share, or the rest */
} mmi_data_set_options;

/* Examples of a manifest, which must outlive the set. MM_E_ARGUMENT when the split leaves none. */
mm_status mmi_data_set_create(mm_context *ctx, const mmi_manifest *manifest, const mmi_data_set_options *options, mmi_data_set **out);
void mmi_data_set_destroy(mmi_data_set *set);       /* NULL allowed */
size_t mmi_data_set_count(const mmi_data_set *set); /* examples of an epoch */

/* Makes something of an example; a failure leaves nothing of it behind. `index` is the example's number in the manifest: with `epoch` it
 * names what is drawn at random for it. */
typedef mm_status (*mmi_example_fn)(mm_context *ctx, void *arg, const mmi_record *record, uint64_t epoch, size_t index);

/* Give `fn` the example at `position`, counted from the beginning of the run: epoch position / count. With skip_bad, where the line or
 * what fn makes of it is bad (MM_E_FORMAT, _NOT_FOUND, _IO, _LIMIT, _UNSUPPORTED, _SHAPE), the next good example in the order of its epoch
 * takes the place, in addition to its own, so that what stands at a position does not hang on where the run began. The first few skipped
 * lines are logged. Failures that lie in the example name file and line. One thread at a time. */
mm_status mmi_data_set_read(mm_context *ctx, mmi_data_set *set, uint64_t position, mmi_example_fn fn, void *arg);

/* Different lines found bad so far. Any thread. */
size_t mmi_data_set_skipped(const mmi_data_set *set);

#endif
