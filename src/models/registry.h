/* The architectures that libmm knows. SPDX-License-Identifier: MIT */
#ifndef MMI_REGISTRY_H
#define MMI_REGISTRY_H

#include "model.h"

const mmi_architecture *mmi_registry_find_class(const char *class_name);       /* by config.json's "architectures"; NULL: none */
const char *mmi_registry_class_of(const char *model_type, mmi_role role);        /* of a part, by its model_type; NULL: none */
const mmi_architecture *mmi_registry_find_gguf(const char *name, size_t n);    /* by general.architecture; NULL: none */

#endif
