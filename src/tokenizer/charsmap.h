/* The character map that a SentencePiece model carries: strings and what they become, found through a double array (Aoe
 * 1989, as darts-clone lays it out). It is applied as the `tokenizers` package does, which is not quite what
 * SentencePiece does. SPDX-License-Identifier: MIT */
#ifndef MMI_CHARSMAP_H
#define MMI_CHARSMAP_H

#include "text.h"

typedef struct mmi_charsmap mmi_charsmap; /* immutable */

/* From base64 of: the size of the array in bytes (u32, little-endian), the array (u32 each), the replacements, each with
 * a NUL behind it. MM_E_FORMAT when anything in it leads outside; `where` names the file. */
mm_status mmi_charsmap_load(mm_context *ctx, const char *where, const char *base64, mmi_charsmap **out);
void mmi_charsmap_destroy(mmi_charsmap *map); /* NULL allowed */

/* Append in[0..n), valid UTF-8, mapped. Nonzero when out of memory. */
int mmi_charsmap_run(mm_context *ctx, const mmi_charsmap *map, const char *in, size_t n, mmi_text *out);

#endif
