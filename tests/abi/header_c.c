/* All public headers in one C11 program, and the layout of the one public struct, which programs hold compiled in: members
 * may be added behind these, and only there. SPDX-License-Identifier: MIT */
#include "mm_audio.h"
#include "mm_context.h"
#include "mm_image.h"
#include "mm_model.h"
#include "mm_session.h"
#include "mm_tensor.h"
#include "mm_tokenizer.h"
#include "mm_train.h"
#include "mm_video.h"

#include <stddef.h>

_Static_assert(sizeof(mm_status) == 4 && MM_OK == 0 && MM_E_ARGUMENT < 0, "a status has 32 bits, errors are negative");
_Static_assert(offsetof(mm_hooks, struct_size) == 0, "mm_hooks begins with its size");
_Static_assert(offsetof(mm_hooks, alloc_fn) == sizeof(size_t), "mm_hooks.alloc_fn stays where it is");
_Static_assert(offsetof(mm_hooks, free_fn) == sizeof(size_t) + sizeof(void (*)(void)), "mm_hooks.free_fn stays where it is");
_Static_assert(offsetof(mm_hooks, user) == sizeof(size_t) + 2 * sizeof(void (*)(void)), "mm_hooks.user stays where it is");

int main(void) { return mm_build_version() == NULL; }
