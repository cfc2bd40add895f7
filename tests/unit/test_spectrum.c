/* Power spectra against the definition of the discrete Fourier transform. SPDX-License-Identifier: MIT */
#include "spectrum.h"

#include "audio_fixture.h"
#include "blas.h"

/* The power of bin k of the frame below a periodic Hann window, in long double. */
static double power_of(const double *frame, size_t n, size_t k)
{
    const long double circle = 2 * 3.14159265358979323846264338327950288L / (long double)n;
    long double re = 0, im = 0;

    for (size_t i = 0; i < n; i++) {
        const long double x = (0.5L - 0.5L * cosl(circle * (long double)i)) * (long double)frame[i];
        re += x * cosl(circle * (long double)(k * i % n));
        im -= x * sinl(circle * (long double)(k * i % n));
    }
    return (double)(re * re + im * im);
}

static void equals_the_definition(void **state)
{
    static const size_t sizes[] = {2, 4, 6, 8, 10, 62, 64, 254, 400}; /* n / 2 and n / 4 odd and even */

    (void)state;
    for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++) {
        const size_t n = sizes[c], rows = 3;
        float *noise = audio_signal("noise", rows * n);
        double *frames = calloc(rows * n, sizeof *frames), *scratch, *power;
        mmi_spectrum s;

        assert_int_equal(mmi_spectrum_init(ctx, n, &s), MM_OK);
        assert_int_equal(s.bins, n / 2 + 1);
        scratch = malloc(mmi_spectrum_scratch(&s) * sizeof *scratch);
        power = malloc(rows * s.bins * sizeof *power);
        assert_true(frames && scratch && power);
        for (size_t i = 0; i < rows * n; i++) frames[i] = (double)noise[i];
        for (size_t r = 0; r < rows; r++) mmi_spectrum_fold(&s, frames + r * n, r, scratch);
        mmi_blas_enter();
        mmi_spectrum_power(&s, rows, scratch, power);
        mmi_blas_leave();
        for (size_t r = 0; r < rows; r++)
            for (size_t k = 0; k < s.bins; k++)
                assert_true(fabs(power[r * s.bins + k] - power_of(frames + r * n, n, k)) <= 1e-13 * (double)n);
        mmi_spectrum_clear(&s);
        free(noise);
        free(frames);
        free(scratch);
        free(power);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {AUDIO_TEST(equals_the_definition)};
    return cmocka_run_group_tests_name("spectrum", tests, NULL, NULL);
}
