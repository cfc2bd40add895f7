// A conversation on the terminal:  chat MODEL
//
//   c++ -std=c++17 chat.cpp $(pkg-config --cflags --libs mm)
//
// Each turn the whole conversation is written by the model's chat template; the session computes only what it does not
// hold yet. An empty line or the end of input ends it. SPDX-License-Identifier: MIT
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "mm_session.h"

namespace {

template <typename T, void (*destroy)(T *)> struct Destroy {
    void operator()(T *handle) const { destroy(handle); }
};
template <typename T, void (*destroy)(T *)> using Handle = std::unique_ptr<T, Destroy<T, destroy>>;
using Context = Handle<mm_context, mm_context_destroy>;
using Model = Handle<mm_model, mm_model_release>;
using Session = Handle<mm_session, mm_session_destroy>;
using Text = Handle<char, mm_text_free>;
using Ids = Handle<int32_t, mm_ids_free>;

struct Failure {
    mm_status status;
};

void check(mm_status status)
{
    if (status) throw Failure{status};
}

extern "C" int32_t take_piece(void *user, int32_t, const char *text, std::size_t size)
{
    std::cout.write(text, static_cast<std::streamsize>(size)).flush();
    static_cast<std::string *>(user)->append(text, size);
    return !std::cout;
}

void converse(mm_context *ctx, const char *path)
{
    mm_model *opened = nullptr;
    check(mm_model_open(ctx, path, &opened));
    const Model model(opened);

    mm_session *created = nullptr;
    check(mm_session_create(ctx, model.get(), &created));
    const Session session(created);
    check(mm_session_set_f64(session.get(), MM_SESSION_REPEAT_PENALTY, 1.1));

    std::vector<std::string> said; // user and assistant in turn
    std::string line;
    while (std::cout << "> " << std::flush, std::getline(std::cin, line) && !line.empty()) {
        said.push_back(line);
        std::vector<const char *> roles, contents;
        for (std::size_t i = 0; i < said.size(); i++) {
            roles.push_back(i % 2 ? "assistant" : "user");
            contents.push_back(said[i].c_str());
        }
        char *text = nullptr;
        check(mm_model_apply_chat_template(model.get(), ctx, roles.data(), contents.data(), said.size(), 1, &text));
        const Text owns_text(text);

        // The template has written the special tokens: none are added.
        int32_t *ids = nullptr;
        std::size_t count = 0;
        check(mm_tokenizer_encode(mm_model_tokenizer(model.get()), ctx, text, std::char_traits<char>::length(text), MM_TOKENS_PARSE_SPECIAL,
                                  &ids, &count));
        const Ids owns_ids(ids);
        check(mm_session_set_tokens(session.get(), ids, count));

        std::string reply;
        check(mm_session_generate(session.get(), take_piece, &reply, nullptr));
        std::cout << '\n';
        said.push_back(reply);
    }
    std::cout << '\n';
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::cerr << "usage: " << argv[0] << " MODEL\n";
        return 2;
    }
    mm_context *created = nullptr;
    if (mm_context_create(nullptr, &created)) {
        std::cerr << "out of memory\n";
        return 1;
    }
    const Context ctx(created);
    try {
        converse(ctx.get(), argv[1]);
    } catch (const Failure &f) {
        std::cerr << mm_status_name(f.status) << ": " << mm_context_error(ctx.get()) << '\n';
        return 1;
    }
    return std::cout ? EXIT_SUCCESS : EXIT_FAILURE;
}
