# libmm: `make help` lists the targets.
CC ?= cc
CXX ?= c++
AR ?= ar
PYTHON ?= python3
PKG_CONFIG ?= pkg-config
PREFIX ?= /usr/local
prefix ?= $(PREFIX)
exec_prefix ?= $(prefix)
bindir ?= $(exec_prefix)/bin
libdir ?= $(exec_prefix)/lib
includedir ?= $(prefix)/include
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc/libmm
pkgconfigdir ?= $(libdir)/pkgconfig

VERSION := 0.1.0
SOVERSION := 0
SONAME := libmm.so.mm$(SOVERSION)

B ?= build
CFLAGS ?= -O2 -g
BLAS ?= openblas
SANITIZE ?=

Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)  $(2)";)

WARN := -Wall -Wextra -pedantic -Wshadow -Wundef -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wno-sign-conversion \
        $(if $(CI),-Werror)
FOLDERS := $(sort $(dir $(wildcard src/*/*.c src/*/*/*.c)))
BLAS_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(BLAS) 2>/dev/null)
BLAS_LIBS := $(shell $(PKG_CONFIG) --libs $(BLAS) 2>/dev/null || echo -l$(BLAS))
DEP_PACKAGES := libpng libjpeg libcjson libutf8proc libpcre2-8
DEP_CFLAGS := $(BLAS_CFLAGS) $(shell $(PKG_CONFIG) --cflags $(DEP_PACKAGES) 2>/dev/null)
DEP_LIBS := $(BLAS_LIBS) $(shell $(PKG_CONFIG) --libs $(DEP_PACKAGES) 2>/dev/null || echo -lpng -ljpeg -lcjson -lutf8proc -lpcre2-8)

ALL_CFLAGS = -std=c11 $(WARN) -fPIC -fvisibility=hidden -ffp-contract=off -pthread -DMM_BUILD_VERSION='"$(VERSION)"' \
             -Iinclude $(addprefix -I,$(FOLDERS)) $(DEP_CFLAGS) -MMD -MP $(SANITIZE) $(CFLAGS)
LIBS = $(DEP_LIBS) -lm -pthread

# Only these files are compiled for more than the baseline processor.
%_avx2.o: ISA := -mavx2 -mfma -mf16c
%_avx512.o: ISA := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c
%_amx.o: ISA := -mamx-tile -mamx-int8 -mamx-bf16 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c

LIB_SOURCES := $(filter-out src/cli/%,$(wildcard src/*/*.c src/*/*/*.c))
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(B)/%.o)
CLI_OBJECTS := $(patsubst %.c,$(B)/%.o,$(wildcard src/cli/*.c))

.PHONY: all lib
all: lib $(if $(CLI_OBJECTS),$(B)/mm) ## build lib/libmm.so, lib/libmm.a and build/mm
lib: lib/libmm.so lib/libmm.a

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ISA) -c $< -o $@

lib/libmm.a: $(LIB_OBJECTS)
	@mkdir -p lib
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

lib/$(SONAME): $(LIB_OBJECTS) src/libmm.map
	@mkdir -p lib
	$(call say,LD,$@)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=src/libmm.map -Wl,--no-undefined $(SANITIZE) $(LDFLAGS) -o $@ $(LIB_OBJECTS) $(LIBS)

lib/libmm.so: lib/$(SONAME)
	$(Q)ln -sf $(SONAME) $@

$(B)/mm: $(CLI_OBJECTS) lib/libmm.a
	$(call say,LD,$@)$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
