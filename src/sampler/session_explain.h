/* Where in a picture of the session the model looked while it wrote. SPDX-License-Identifier: MIT */
#ifndef MMI_SESSION_EXPLAIN_H
#define MMI_SESSION_EXPLAIN_H

#include "session.h"

/* mm_session_explain. */
mm_status mmi_session_explain(mm_session *s, const mm_image *image, size_t first, mm_tensor **out);

#endif
