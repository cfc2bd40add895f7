/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cpu.h"

#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "mm_context.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>

/* Linux gives the 8 KiB of tile state only to a process that asked for it (Documentation/arch/x86/xstate.rst). */
static int permit_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

int mmi_cpu_best_level(void)
{
    unsigned a, b, c, d;
    __builtin_cpu_init(); /* checks with XGETBV that the system saves the registers */
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return MM_CPU_REFERENCE;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 29))) return MM_CPU_REFERENCE; /* F16C */
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni")))
        return MM_CPU_AVX2;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return MM_CPU_AVX512;
    if (!((d >> 24) & (d >> 25) & (d >> 22) & 1u) || !permit_tiles()) return MM_CPU_AVX512; /* AMX-TILE, -INT8, -BF16 */
    return MM_CPU_AMX;
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

int mmi_cpu_best_level(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? MM_CPU_DOTPROD : MM_CPU_NEON; }
#else
int mmi_cpu_best_level(void) { return MM_CPU_REFERENCE; }
#endif

#if defined(__aarch64__)
static const char *const level_names[] = {"reference", "neon", "dotprod"};
#else
static const char *const level_names[] = {"reference", "avx2", "avx512", "amx"};
#endif

int mmi_cpu_level_from_name(const char *name)
{
    for (int i = 0; i < (int)(sizeof level_names / sizeof *level_names); i++)
        if (!strcmp(name, level_names[i])) return i;
    return -1;
}

const char *mmi_cpu_level_name(int level)
{
    return level >= 0 && level < (int)(sizeof level_names / sizeof *level_names) ? level_names[level] : "?";
}

int mmi_cpu_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n;
}
