/* SPDX-License-Identifier: MIT */
#include "color.h"

#include <math.h>

/* From `from` to `to` by the factor and beyond, cut to bytes towards zero, as Image.blend does it. */
static uint8_t blend(int from, int to, float factor)
{
    const float v = (float)from + factor * (float)(to - from);
    return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
}

/* Luma of ITU-R 601-2 in 16 bits, as convert("L") does it. */
static int gray(const uint8_t *p) { return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16; }

void mmi_image_brightness(mmi_image *image, float factor)
{
    const size_t n = mmi_image_bytes(image);
    for (size_t i = 0; i < n; i++) image->pixels[i] = blend(0, image->pixels[i], factor);
}

void mmi_image_contrast(mmi_image *image, float factor)
{
    const size_t n = mmi_image_bytes(image);
    uint64_t sum = 0;
    int mean;

    for (size_t i = 0; i < n; i += 3) sum += (uint64_t)gray(image->pixels + i);
    mean = (int)((double)sum / (double)(n / 3) + 0.5);
    for (size_t i = 0; i < n; i++) image->pixels[i] = blend(mean, image->pixels[i], factor);
}

void mmi_image_saturation(mmi_image *image, float factor)
{
    const size_t n = mmi_image_bytes(image);

    for (size_t i = 0; i < n; i += 3) {
        uint8_t *p = image->pixels + i;
        const int g = gray(p);
        for (int c = 0; c < 3; c++) p[c] = blend(g, p[c], factor);
    }
}

/* To hue, saturation and value as bytes and back (colorsys: Smith 1978), in the precisions in which convert("HSV") computes. */
static void to_hsv(const uint8_t *p, uint8_t hsv[3])
{
    const int r = p[0], g = p[1], b = p[2];
    const int most = r > g ? (r > b ? r : b) : (g > b ? g : b), least = r < g ? (r < b ? r : b) : (g < b ? g : b);
    const float range = (float)(most - least);
    float red, green, blue, h;

    hsv[0] = hsv[1] = 0;
    hsv[2] = (uint8_t)most;
    if (most == least) return;
    red = (float)(most - r) / range;
    green = (float)(most - g) / range;
    blue = (float)(most - b) / range;
    h = r == most ? blue - green : g == most ? (float)(2.0 + red - blue) : (float)(4.0 + green - red);
    h = (float)fmod(h / 6.0 + 1.0, 1.0);
    hsv[0] = (uint8_t)(h * 255.0);
    hsv[1] = (uint8_t)(range / (float)most * 255.0);
}

static void from_hsv(const uint8_t hsv[3], uint8_t *p)
{
    const double h = hsv[0] * 6.0 / 255.0;
    const int sector = (int)h;
    const float f = (float)(h - sector), s = (float)(hsv[1] / 255.0), v = hsv[2];
    const uint8_t most = hsv[2], least = (uint8_t)round(v * (1.0 - s)), falling = (uint8_t)round(v * (1.0 - s * f)),
                  rising = (uint8_t)round(v * (1.0 - s * (1.0 - f)));
    const uint8_t colors[6][3] = {{most, rising, least},  {falling, most, least}, {least, most, rising},
                                  {least, falling, most}, {rising, least, most},  {most, least, falling}};

    for (int c = 0; c < 3; c++) p[c] = colors[sector % 6][c];
}

void mmi_image_hue(mmi_image *image, double turn)
{
    const size_t n = mmi_image_bytes(image);

    for (size_t i = 0; i < n; i += 3) {
        uint8_t hsv[3];
        to_hsv(image->pixels + i, hsv);
        hsv[0] = (uint8_t)(hsv[0] + (int)(turn * 255));
        from_hsv(hsv, image->pixels + i);
    }
}
