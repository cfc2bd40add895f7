/* What the processor can do, as MM_CPU_* levels.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_CPU_H
#define MMI_CPU_H

/* The highest level that processor and operating system support; asks the kernel for AMX tile data where it must be asked. */
int mmi_cpu_best_level(void);

/* The level called `name` ("reference"; "avx2", "avx512", "amx" or "neon", "dotprod"), -1 for none. */
int mmi_cpu_level_from_name(const char *name);
const char *mmi_cpu_level_name(int level);

/* Processors that this process may run on, at least 1. */
int mmi_cpu_count(void);

#endif
