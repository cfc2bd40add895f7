/* The 256 printable characters that stand for bytes in byte-level vocabularies (GPT-2's bytes_to_unicode).
 * SPDX-License-Identifier: MIT */
#ifndef MMI_BYTE_LEVEL_H
#define MMI_BYTE_LEVEL_H

#include <stdint.h>

/* Printable Latin-1 bytes stand for themselves; the other 68, in order, are U+0100 and following. */
uint32_t mmi_byte_level_character(unsigned char byte);

/* The byte behind a character, -1 for one that stands for none. */
int mmi_byte_level_byte(uint32_t code);

#endif
