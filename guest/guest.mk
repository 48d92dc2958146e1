# From PostgreSQL's source to WebAssembly modules.

TOOLS := $(BUILD)/tools
PG_SOURCE := $(BUILD)/src/postgresql
PG_WASM := $(BUILD)/guest/postgresql
PG_NATIVE := $(BUILD)/native
GUEST := $(BUILD)/guest/objects

GUEST_INCLUDE := -isystem $(ROOT)/guest/port/include -include pgcell_atomics.h
GUEST_DEFINES := -D_GNU_SOURCE -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_MMAN -D_WASI_EMULATED_GETPID \
	-D_WASI_EMULATED_PROCESS_CLOCKS
# setjmp is WebAssembly exception handling in its legacy encoding, the one that every engine and wasm2c take
GUEST_CODEGEN := -O2 -mbulk-memory -mnontrapping-fptoint -msign-ext -mllvm -wasm-enable-sjlj
GUEST_CC := clang-19 --target=wasm32-wasi --sysroot=$(ROOT)/$(TOOLS)/wasi/usr
GUEST_CFLAGS := $(GUEST_CODEGEN) -fno-strict-aliasing -fwrapv -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	$(GUEST_INCLUDE) $(GUEST_DEFINES)

$(TOOLS)/versions: scripts/tools.sh scripts/debian.sh
	@scripts/tools.sh $(TOOLS)

$(PG_SOURCE).version: guest/postgresql/fetch.sh scripts/debian.sh $(wildcard guest/postgresql/patches/*.patch)
	@guest/postgresql/fetch.sh $(BUILD)/src

# ---- PostgreSQL for WebAssembly ----

$(PG_WASM)/configured: guest/postgresql/config.site $(TOOLS)/versions $(PG_SOURCE).version
	$(SAY) 'configuring PostgreSQL for wasm32-wasi'
	@rm -rf $(PG_WASM) && mkdir -p $(PG_WASM)
	@cd $(PG_WASM) && CC="ccache $(GUEST_CC)" CPP="$(GUEST_CC) -E" CPPFLAGS="$(GUEST_INCLUDE) $(GUEST_DEFINES)" \
	CFLAGS="$(GUEST_CODEGEN)" LDFLAGS=-lsetjmp AR=llvm-ar-19 RANLIB=llvm-ranlib-19 NM=llvm-nm-19 STRIP=llvm-strip-19 \
	CONFIG_SITE=$(ROOT)/guest/postgresql/config.site ../../src/postgresql/configure -q \
		--host=wasm32-unknown-wasi --with-template=linux --prefix=/pgcell \
		--without-readline --without-zlib --without-icu --disable-rpath >configure.log 2>&1 || { tail -20 configure.log; exit 1; }
	@touch $@

# Headers that every object sees are not among make's dependencies of PostgreSQL's tree: it is configured anew with them.
$(PG_WASM)/configured: $(wildcard guest/port/include/*.h guest/port/include/*/*.h)

$(PG_WASM)/compiled: $(PG_WASM)/configured guest/postgresql/objects.mk guest/postgresql/module.mk guest/postgresql/compile.sh
	$(SAY) 'compiling PostgreSQL for wasm32-wasi (5 minutes the first time)'
	@guest/postgresql/compile.sh $(PG_WASM) $(JOBS)
	@touch $@

# ---- PostgreSQL for this machine: initdb, the time zone compiler, the files of share/; with everything else as a peer for tests ----

$(PG_NATIVE)/configured: $(PG_SOURCE).version
	$(SAY) 'configuring PostgreSQL for this machine'
	@rm -rf $(PG_NATIVE) && mkdir -p $(PG_NATIVE)
	@cd $(PG_NATIVE) && CC="$(CC_HOST)" CFLAGS=-O2 ../src/postgresql/configure -q --prefix=$(ROOT)/$(PG_NATIVE)/install \
		--without-readline --without-zlib --without-icu >configure.log 2>&1 || { tail -20 configure.log; exit 1; }
	@touch $@

$(PG_NATIVE)/installed: $(PG_NATIVE)/configured guest/postgresql/native.sh
	$(SAY) 'compiling initdb and the files of share/ for this machine'
	@guest/postgresql/native.sh $(PG_NATIVE) $(JOBS) part
	@touch $@

.PHONY: peer
peer: $(PG_NATIVE)/complete ## native PostgreSQL from the same source, for regression tests and benchmarks
$(PG_NATIVE)/complete: $(PG_NATIVE)/installed
	$(SAY) 'compiling native PostgreSQL as a peer (4 minutes the first time)'
	@guest/postgresql/native.sh $(PG_NATIVE) $(JOBS) all
	@touch $@

# ---- our own part of the guest ----

GUEST_SOURCES := $(wildcard guest/port/*.c guest/comm/*.c guest/vfs/*.c guest/cell/*.c)
GUEST_OBJECTS := $(patsubst guest/%.c,$(GUEST)/%.o,$(GUEST_SOURCES)) $(GUEST)/modules-table.o
# what only one of the two links takes
GUEST_PORTABLE_OBJECTS := $(GUEST)/port/single.o
GUEST_NATIVE_OBJECTS := $(GUEST)/port/native.o

# libc's functions must not be made of calls to themselves
$(GUEST)/port/native.o: GUEST_CODEGEN += -fno-builtin
$(GUEST)/%.o: guest/%.c $(PG_WASM)/compiled
	@mkdir -p $(dir $@)
	@ccache $(GUEST_CC) $(GUEST_CFLAGS) -I$(PG_WASM)/src/include -I$(PG_SOURCE)/src/include -MMD -MP -c $< -o $@

$(GUEST)/modules-table.c: guest/port/modules.sh $(PG_WASM)/compiled
	@mkdir -p $(dir $@)
	@guest/port/modules.sh $$(cat $(PG_WASM)/modules.txt) >$@.tmp && mv $@.tmp $@

$(GUEST)/modules-table.o: $(GUEST)/modules-table.c guest/port/modules.h
	@ccache $(GUEST_CC) $(GUEST_CFLAGS) -Iguest/port -c $< -o $@

-include $(wildcard $(GUEST)/*/*.d)

GUEST_LIB := $(TOOLS)/wasi/usr/lib/wasm32-wasi
# usage: $(call GUEST_LINK,objects): ours come first, so that libc's versions of what we define are not taken
GUEST_LINK = wasm-ld-19 $(1) @$(PG_WASM)/objects.txt $(GUEST_LIB)/crt1-reactor.o -L$(GUEST_LIB) -lc -lm -lsetjmp \
	$$(clang-19 --print-resource-dir)/lib/wasi/libclang_rt.builtins-wasm32.a \
	--entry=_initialize --stack-first -z stack-size=8388608 --max-memory=4294967296 --fatal-warnings \
	--wrap=stat --wrap=lstat --wrap=fstat --wrap=fcntl --wrap=chmod --wrap=fchmod

$(BUILD)/guest/native.wasm: $(GUEST_OBJECTS) $(PG_WASM)/compiled
	$(SAY) 'linking the guest for the native host'
	@$(call GUEST_LINK,$(filter-out $(GUEST_PORTABLE_OBJECTS),$(GUEST_OBJECTS))) --wrap=pg_comp_crc32c_sb8 -o $@.tmp
	@scripts/check-imports.sh $@.tmp native
	@mv $@.tmp $@

$(BUILD)/pgcell.wasm: $(GUEST_OBJECTS) $(PG_WASM)/compiled guest/guest.mk scripts/check-imports.sh
	$(SAY) 'linking the portable module'
	@$(call GUEST_LINK,$(filter-out $(GUEST_NATIVE_OBJECTS),$(GUEST_OBJECTS))) --strip-all -o $@.tmp
	@scripts/check-imports.sh $@.tmp portable
	@mv $@.tmp $@
