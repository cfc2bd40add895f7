/* SPDX-License-Identifier: MIT */
#include "byte_level.h"

static int is_printable(uint32_t b) { return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF); }

uint32_t mmi_byte_level_character(unsigned char b)
{
    if (is_printable(b)) return b;
    if (b <= 0x20) return 0x100u + b;
    if (b <= 0xA0) return 0x100u + 0x21u + (b - 0x7Fu);
    return 0x143; /* 0xAD */
}

int mmi_byte_level_byte(uint32_t c)
{
    if (c < 0x100) return is_printable(c) ? (int)c : -1;
    if (c <= 0x120) return (int)(c - 0x100);
    if (c <= 0x142) return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}
