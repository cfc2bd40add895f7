// All public headers in one C++17 program, from the top down, used as C++ uses them: handles in unique_ptr, callbacks with C
// linkage, enumerators as int32_t. SPDX-License-Identifier: MIT
#include "mm_session.h"
#include "mm_model.h"
#include "mm_image.h"
#include "mm_audio.h"
#include "mm_tensor.h"
#include "mm_tokenizer.h"
#include "mm_train.h"
#include "mm_video.h"
#include "mm_context.h"

#include <memory>
#include <type_traits>

namespace {

template <typename T, void (*destroy)(T *)> struct Deleter {
    void operator()(T *handle) const { destroy(handle); }
};

using Context = std::unique_ptr<mm_context, Deleter<mm_context, mm_context_destroy>>;
using Model = std::unique_ptr<mm_model, Deleter<mm_model, mm_model_release>>;
using Session = std::unique_ptr<mm_session, Deleter<mm_session, mm_session_destroy>>;

static_assert(std::is_same<mm_status, int32_t>::value, "a status is an int32_t");
static_assert(MM_OK == 0 && MM_E_ARGUMENT < 0, "errors are negative");

extern "C" int32_t count_pieces(void *user, int32_t, const char *, std::size_t)
{
    ++*static_cast<int *>(user);
    return 0;
}

} // namespace

int main(int argc, char **argv)
{
    mm_context *ctx = nullptr;
    mm_model *model = nullptr;
    mm_session *session = nullptr;
    int pieces = 0;

    if (argc != 3 || mm_context_create(nullptr, &ctx)) return 2;
    Context owns_context(ctx);
    if (mm_context_set_i64(ctx, MM_CONTEXT_THREADS, 1) || mm_model_open(ctx, argv[1], &model)) return 1;
    Model owns_model(model);
    if (mm_session_create(ctx, model, &session)) return 1;
    Session owns_session(session);
    if (mm_session_append_text(session, argv[2]) || mm_session_generate(session, count_pieces, &pieces, nullptr)) return 1;
    return pieces == 0;
}
