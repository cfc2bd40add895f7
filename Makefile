# libmm: `make help` lists the targets.
CC ?= cc
CXX ?= c++
AR ?= ar
PYTHON ?= python3
PKG_CONFIG ?= pkg-config
CLANG_FORMAT ?= clang-format
PREFIX ?= /usr/local
prefix ?= $(PREFIX)
exec_prefix ?= $(prefix)
bindir ?= $(exec_prefix)/bin
libdir ?= $(exec_prefix)/lib
includedir ?= $(prefix)/include
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc/libmm
pkgconfigdir ?= $(libdir)/pkgconfig

VERSION := 0.2.0
SOVERSION := 0
SONAME := libmm.so.mm$(SOVERSION)
SOFILE := $(SONAME).$(VERSION)

# Objects go to B and libraries to L, so that sanitized builds stand beside the plain one.
B ?= build
L ?= lib
CFLAGS ?= -O2 -g
BLAS ?= openblas
SANITIZE ?=
export MM_CACHE ?= $(HOME)/.cache/libmm

Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)  $(2)";)

WARN := -Wall -Wextra -pedantic -Wshadow -Wundef -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wno-sign-conversion \
        $(if $(CI),-Werror)
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
KERNELS := $(wildcard $(if $(filter x86_64% amd64%,$(MACHINE)),src/kernels/x86/*.c) $(if $(filter aarch64% arm64%,$(MACHINE)),src/kernels/arm/*.c))
LIB_SOURCES := $(filter-out src/cli/%,$(wildcard src/*/*.c)) $(KERNELS)
FOLDERS := $(sort $(dir $(LIB_SOURCES) src/cli/cli.c))
DEP_PACKAGES := libpng libjpeg libcjson libutf8proc libpcre2-8
DEP_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(BLAS) 2>/dev/null) $(shell $(PKG_CONFIG) --cflags $(DEP_PACKAGES) 2>/dev/null)
DEP_LIBS := $(shell $(PKG_CONFIG) --libs $(BLAS) 2>/dev/null || echo -l$(BLAS)) \
            $(shell $(PKG_CONFIG) --libs $(DEP_PACKAGES) 2>/dev/null || echo -lpng -ljpeg -lcjson -lutf8proc -lpcre2-8)
# Optional, for FLAC and Ogg; `make SNDFILE=` builds without it.
SNDFILE ?= $(shell $(PKG_CONFIG) --exists sndfile 2>/dev/null && echo sndfile)
ifneq ($(SNDFILE),)
DEP_CFLAGS += -DMMI_WITH_SNDFILE $(shell $(PKG_CONFIG) --cflags $(SNDFILE))
DEP_LIBS += $(shell $(PKG_CONFIG) --libs $(SNDFILE))
endif

# Optional, for the plots of the mm command alone; `make CAIRO=` builds without it.
CAIRO ?= $(shell $(PKG_CONFIG) --exists cairo 2>/dev/null && echo cairo)
CLI_LIBS := $(if $(CAIRO),$(shell $(PKG_CONFIG) --libs $(CAIRO)))

# -ffp-contract=off: what is a fused multiply-add is written as one, so that results do not hang on the compiler.
ALL_CFLAGS = -std=c11 -D_POSIX_C_SOURCE=200809L $(WARN) -fPIC -fvisibility=hidden -ffp-contract=off -pthread -Iinclude \
             $(addprefix -I,$(FOLDERS)) $(DEP_CFLAGS) -MMD -MP $(SANITIZE) $(CFLAGS)
LIBS = $(DEP_LIBS) -lm -pthread
TEST_LIBS := -lcmocka

LIB_OBJECTS := $(LIB_SOURCES:%.c=$(B)/%.o)
CLI_OBJECTS := $(patsubst %.c,$(B)/%.o,$(wildcard src/cli/*.c))
UNIT_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
KERNEL_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/kernels/check_*.c))
EXAMPLES := $(patsubst %,$(B)/%,$(basename $(wildcard examples/*.c examples/*.cpp)))

.PHONY: all lib
all: lib $(B)/mm $(B)/mm-uninstalled.pc ## build lib/libmm.so, lib/libmm.a and build/mm
lib: $(L)/libmm.so $(L)/libmm.a

# Only the files named for an instruction set are compiled for more than the baseline processor.
$(B)/%_avx2.o: ISA := -mavx2 -mfma -mf16c
$(B)/%_avx512.o: ISA := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c
$(B)/%_amx.o: ISA := -mamx-tile -mamx-int8 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c
$(B)/%_dotprod.o: ISA := -march=armv8.2-a+dotprod
$(B)/src/api/context_api.o: ISA := -DMM_BUILD_VERSION='"$(VERSION)"'
$(B)/src/cli/plot.o: ISA := $(if $(CAIRO),-DMM_WITH_CAIRO $(shell $(PKG_CONFIG) --cflags $(CAIRO)))

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ISA) -c $< -o $@

$(L)/libmm.a: $(LIB_OBJECTS)
	@mkdir -p $(@D)
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(L)/$(SONAME): $(LIB_OBJECTS) src/libmm.map
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=src/libmm.map $(if $(SANITIZE),,-Wl,--no-undefined) \
	    $(SANITIZE) $(LDFLAGS) -o $@ $(LIB_OBJECTS) $(LIBS)

$(L)/libmm.so: $(L)/$(SONAME)
	$(Q)ln -sf $(SONAME) $@

$(B)/mm: $(CLI_OBJECTS) $(L)/libmm.a
	$(call say,LD,$@)$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^ $(CLI_LIBS) $(LIBS)

$(B)/tests/%: $(B)/tests/%.o $(L)/libmm.a
	$(call say,LD,$@)$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(TEST_LIBS) $(LIBS)

$(B)/tests/unit/test_plot: $(B)/src/cli/plot.o $(B)/src/cli/cli.o
$(B)/tests/unit/test_plot: LIBS := $(CLI_LIBS) $(LIBS)

$(B)/examples/%: $(B)/examples/%.o $(L)/libmm.so
	$(call say,LD,$@)$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $< -L$(L) -lmm -Wl,-rpath,$(abspath $(L)) -lm

$(B)/examples/%: examples/%.cpp $(L)/libmm.so
	@mkdir -p $(@D)
	$(call say,CXX,$@)$(CXX) -std=c++17 -Wall -Wextra -pedantic $(if $(CI),-Werror) -Iinclude $(SANITIZE) $(CFLAGS) $(LDFLAGS) -o $@ $< \
	    -L$(L) -lmm -Wl,-rpath,$(abspath $(L))

.SECONDARY:

.PHONY: deps models demo demo-text demo-vision demo-vlm check check-tests check-all asan ubsan tsan
deps: ## install what is missing to build and test, through apt, dnf, apk or brew
	@sh examples/deps.sh

models: ## fetch the models of the demos by pip into MM_CACHE (default ~/.cache/libmm)
	@sh examples/fetch_models.sh

# What follows `deps` runs in a second make, which then sees what was installed.
demo: deps ## build, and ask the model that libmm trained about a picture; nothing is downloaded
	@$(MAKE) --no-print-directory all
	@sh examples/demo.sh

demo-text: deps ## fetch two models, ask a language model, rank sentences by meaning, print rates
	@$(MAKE) --no-print-directory all models
	@sh examples/demo_text.sh

demo-vision: deps ## the same with pictures: DINOv2
	@$(MAKE) --no-print-directory all
	@sh examples/fetch_models.sh vision
	@sh examples/demo_vision.sh

demo-vlm: deps ## chat about a picture with DINOv2 and SmolLM2, joined by what libmm trained
	@$(MAKE) --no-print-directory all models
	@sh examples/fetch_models.sh vision
	@sh examples/demo_vlm.sh

check: deps ## build and run all tests (minutes)
	@$(MAKE) --no-print-directory check-tests

check-tests: all examples $(UNIT_TESTS) $(KERNEL_TESTS)
	@sh tests/run.sh $(B) $(L) $(UNIT_TESTS) $(KERNEL_TESTS)

.PHONY: tests examples
tests: $(UNIT_TESTS) $(KERNEL_TESTS)
examples: $(EXAMPLES) ## build the example programs

check-all: check asan ubsan tsan fuzz ## check, the sanitizers, and a short fuzzing run

SANITIZED = $(MAKE) --no-print-directory check-sanitized
asan: ## the C tests under AddressSanitizer with leak detection
	@ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions=tests/lsan.supp $(SANITIZED) B=build/asan L=build/asan/lib CFLAGS="-O1 -g" SANITIZE="-fsanitize=address -fno-omit-frame-pointer"
ubsan: ## the C tests under UndefinedBehaviorSanitizer
	@$(SANITIZED) B=build/ubsan L=build/ubsan/lib CFLAGS="-O1 -g" SANITIZE="-fsanitize=undefined -fno-sanitize-recover=undefined"
tsan: ## the C tests under ThreadSanitizer (but those of chat templates and of long texts, which have no threads and take too long so)
	@TSAN_OPTIONS="halt_on_error=1 suppressions=tests/tsan.supp" $(SANITIZED) B=build/tsan L=build/tsan/lib CFLAGS="-O1 -g" SANITIZE="-fsanitize=thread" SLOW="test_chat_template test_tokenizer"

.PHONY: check-sanitized
check-sanitized: $(UNIT_TESTS) $(KERNEL_TESTS)
	@sh tests/run_programs.sh $(filter-out $(addprefix %/,$(SLOW)),$(UNIT_TESTS) $(KERNEL_TESTS))

# Of the library only what the kernels stand on is built, with stand-ins for cmocka and cblas, so that no packages for aarch64 are needed.
.PHONY: check-arm check-levels
check-arm: ## the kernel tests for aarch64 under qemu, without and with dot products (needs aarch64-linux-gnu-gcc and qemu-user)
	@$(MAKE) --no-print-directory check-levels CC=aarch64-linux-gnu-gcc B=build/arm L=build/arm/lib DEP_CFLAGS=-Itests/arm DEP_LIBS= TEST_LIBS= LDFLAGS=-static \
	    LIB_SOURCES="$(wildcard src/base/*.c src/tensor/*.c src/kernels/*.c src/kernels/arm/*.c)"
check-levels: $(KERNEL_TESTS)
	@for cpu in cortex-a72 max; do echo "$$cpu:"; RUN="qemu-aarch64 -cpu $$cpu" sh tests/run_programs.sh $(KERNEL_TESTS) || exit 1; done

.PHONY: check-arrows headers-check check-symbols abi-check fuzz bench bench-kernels
check-arrows: ## fail on an #include that points up or sideways in the house
	@$(PYTHON) tests/abi/check_arrows.py
headers-check: ## each public header alone as C11 and C++17
	@CC="$(CC)" CXX="$(CXX)" sh tests/abi/check_headers.sh
check-symbols: $(L)/libmm.a ## no exit, abort or printing in the library, no bare names
	@sh tests/abi/check_symbols.sh $(L)/libmm.a
abi-check: $(L)/libmm.so ## headers, version script, list and library agree
	@CC="$(CC)" sh tests/abi/check_abi.sh $(L)/$(SONAME)

FUZZ_SECONDS ?= 30
FUZZERS := $(patsubst %.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz: ## run each libFuzzer target for FUZZ_SECONDS (needs clang)
	@$(MAKE) --no-print-directory build-fuzzers CC=clang B=build/fuzz L=build/fuzz/lib CFLAGS="-O1 -g" SANITIZE="-fsanitize=address,undefined,fuzzer-no-link"
	@sh tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZERS)

.PHONY: build-fuzzers
build-fuzzers: $(FUZZERS)
build/fuzz/%: build/fuzz/tests/fuzz/%.o build/fuzz/lib/libmm.a
	$(call say,LD,$@)clang -fsanitize=address,undefined,fuzzer -o $@ $^ $(LIBS)

bench: all $(B)/tests/bench/train_bench $(B)/tests/bench/machine_bench ## ours and its peers in turns on this machine; ROWS="decode prompt512" ROUNDS=2 SAVE=F.jsonl
	@$(or $(MM_BENCH_PYTHON),$(PYTHON)) tests/bench/compare.py --build $(B) --library $(L)/$(SONAME) $(if $(ROWS),--rows "$(ROWS)") \
	    $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SAVE),--save $(SAVE)) $(if $(WAIT),--wait $(WAIT))
bench-kernels: $(KERNEL_TESTS) $(B)/tests/kernels/bench_kernels ## measure the kernels, each level beside the reference
	@$(B)/tests/kernels/check_kernels --bench
	@$(B)/tests/kernels/bench_kernels

.PHONY: install uninstall
install: lib $(B)/mm $(B)/mm.pc ## install below DESTDIR and PREFIX
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir) $(DESTDIR)$(includedir)/libmm $(DESTDIR)$(pkgconfigdir) $(DESTDIR)$(mandir)/man1 $(DESTDIR)$(docdir)
	install -m 755 $(B)/mm $(DESTDIR)$(bindir)/mm
	install -m 755 $(L)/$(SONAME) $(DESTDIR)$(libdir)/$(SOFILE)
	ln -sf $(SOFILE) $(DESTDIR)$(libdir)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(libdir)/libmm.so
	install -m 644 $(L)/libmm.a $(DESTDIR)$(libdir)/libmm.a
	install -m 644 include/mm_*.h $(DESTDIR)$(includedir)/libmm/
	install -m 644 $(B)/mm.pc $(DESTDIR)$(pkgconfigdir)/mm.pc
	install -m 644 docs/mm.1 $(DESTDIR)$(mandir)/man1/mm.1
	install -m 644 README.md CHANGELOG.md LICENSE docs/*.md $(DESTDIR)$(docdir)/

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(bindir)/mm $(DESTDIR)$(libdir)/$(SOFILE) $(DESTDIR)$(libdir)/$(SONAME) $(DESTDIR)$(libdir)/libmm.so \
	    $(DESTDIR)$(libdir)/libmm.a $(DESTDIR)$(pkgconfigdir)/mm.pc $(DESTDIR)$(mandir)/man1/mm.1
	rm -rf $(DESTDIR)$(includedir)/libmm $(DESTDIR)$(docdir)

$(B)/mm.pc: pkgconfig/mm.pc.in Makefile
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(prefix)|; s|@LIBDIR@|$(libdir)|; s|@INCLUDEDIR@|$(includedir)|; s|@VERSION@|$(VERSION)|; s|@BLAS@|$(BLAS)|; s|@SNDFILE@|$(SNDFILE)|' $< > $@

$(B)/mm-uninstalled.pc: pkgconfig/mm-uninstalled.pc.in Makefile
	@mkdir -p $(@D)
	$(Q)sed -e 's|@TOP@|$(CURDIR)|; s|@VERSION@|$(VERSION)|; s|@BLAS@|$(BLAS)|; s|@SNDFILE@|$(SNDFILE)|' $< > $@

.PHONY: format clean help
format: ## lay out the sources by .clang-format
	$(CLANG_FORMAT) -i $$(git ls-files '*.c' '*.h')

clean: ## remove what was built
	rm -rf build lib/*.so lib/*.so.* lib/*.a

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r t d; do printf '%-14s %s\n' "$$t" "$$d"; done

-include $(shell find $(B) -name '*.d' 2>/dev/null)
