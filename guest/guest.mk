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
GUEST_CODEGEN := -O2 -mbulk-memory -mnontrapping-fptoint -msign-ext -mllvm -wasm-enable-sjlj -ffile-prefix-map=$(ROOT)/=
GUEST_CC := clang-19 --target=wasm32-wasi --sysroot=$(ROOT)/$(TOOLS)/wasi/usr
GUEST_CFLAGS = $(GUEST_CODEGEN) -fno-strict-aliasing -fwrapv -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
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

$(PG_WASM)/compiled: $(PG_WASM)/configured guest/postgresql/objects.mk guest/postgresql/compile.sh guest/postgresql/split-grammar.py
	$(SAY) 'compiling PostgreSQL for wasm32-wasi (5 minutes the first time)'
	@guest/postgresql/compile.sh $(PG_WASM) $(JOBS)
	@touch $@

# ---- modules that are linked in: extensions and the encoding conversions ----

$(BUILD)/src/extensions.version: guest/extensions/fetch.sh guest/extensions/extensions.txt scripts/debian.sh $(wildcard guest/extensions/patches/*.patch)
	@guest/extensions/fetch.sh $(BUILD)/src

$(PG_WASM)/modules.txt: $(PG_WASM)/compiled $(BUILD)/src/extensions.version $(filter-out %/fetch.sh,$(wildcard guest/extensions/* guest/extensions/include/*/*))
	$(SAY) 'compiling extensions for wasm32-wasi (a minute the first time)'
	@guest/extensions/compile.sh $(PG_WASM) $(BUILD)/src $(JOBS)
	@guest/extensions/link.py sizes $(PG_WASM) >$(BUILD)/extension-sizes.txt
	@tail -n 3 $(BUILD)/extension-sizes.txt | awk '{ printf "pgcell: %s %s %s %s: code %.0f kB, data %.0f kB, files %.0f kB\n", $$1, $$2, $$3, $$4, $$6 / 1e3, $$7 / 1e3, $$8 / 1e3 }'

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

.PHONY: peer-extensions
peer-extensions: $(PG_NATIVE)/extensions ## the peer's extensions, for benchmarks and to see what their tests do natively
$(PG_NATIVE)/extensions: $(PG_NATIVE)/complete $(BUILD)/src/extensions.version guest/extensions/native.sh
	$(SAY) 'compiling extensions for this machine'
	@guest/extensions/native.sh $(PG_NATIVE) $(BUILD)/src $(JOBS)
	@touch $@

# ---- our own part of the guest ----

# Compiled twice: for the native link, with the host's help for everything that processes need, and for the portable modules,
# with one session in a memory that grows (PGCELL_PORTABLE, guest/port/layout.h).
GUEST_NATIVE_ONLY := port/heap.c port/native.c comm/direct.c
GUEST_PORTABLE_ONLY := port/single.c port/grow.c port/tables.c comm/stream.c cell/serve.c cell/hostfiles.c cell/store.c
# a transport is one object
TRANSPORTS := imports polling callbacks
GUEST_SOURCES := $(patsubst guest/%,%,$(wildcard guest/port/*.c guest/comm/*.c guest/vfs/*.c guest/cell/*.c))
GUEST_COMMON := $(filter-out port/tables-mark.c $(GUEST_NATIVE_ONLY) $(GUEST_PORTABLE_ONLY) $(TRANSPORTS:%=comm/%.c),$(GUEST_SOURCES))
GUEST_NATIVE_OBJECTS := $(patsubst %.c,$(GUEST)/native/%.o,$(GUEST_COMMON) $(GUEST_NATIVE_ONLY) comm/imports.c)
GUEST_PORTABLE_OBJECTS := $(patsubst %.c,$(GUEST)/portable/%.o,$(GUEST_COMMON) $(GUEST_PORTABLE_ONLY))

PGLITE_BUFFER_SIZE ?= 65536
GUEST_COMPILE = @mkdir -p $(dir $@) && ccache $(GUEST_CC) $(GUEST_CFLAGS) -I$(PG_WASM)/src/include -I$(PG_SOURCE)/src/include -MMD -MP -c $< -o $@

# libc's functions must not be made of calls to themselves
$(GUEST)/native/port/native.o: GUEST_CODEGEN += -fno-builtin
$(GUEST)/native/%.o: guest/%.c $(PG_WASM)/compiled
	$(GUEST_COMPILE)

# no mounts: the portable modules import little, and hosts keep what is durable in other ways; 8 MiB are for WAL when memory ends
$(GUEST)/portable/%.o: GUEST_DEFINES += -DPGCELL_PORTABLE -DVFS_HOST_MOUNTS=0 -DVFS_BASE_OUTSIDE -DVFS_RESERVE_BLOCKS=1024 \
	-DVFS_TRACK_CHANGES -DPGLITE_BUFFER_SIZE=$(PGLITE_BUFFER_SIZE)
$(GUEST)/portable/%.o: guest/%.c $(PG_WASM)/compiled guest/guest.mk
	$(GUEST_COMPILE)

# Which modules of extensions.txt are in which link: "portable" is the slim one.
KINDS_native := slim|full|native
KINDS_portable := slim
KINDS_full := slim|full
LINKS := native portable full
$(LINKS:%=$(GUEST)/%/modules.txt): $(GUEST)/%/modules.txt: $(PG_WASM)/modules.txt guest/guest.mk
	@mkdir -p $(dir $@)
	@sed -nE 's/^($(KINDS_$*)) ([^ ]*) .* (.*)/\2=\3/p' $< >$@

# the checksum of a block, which each one that comes into the buffer cache is checked by, is made for vector units; not in the slim modules, which do not want SIMD
CHECKSUM := $(GUEST)/simd/checksum.o
WITH_SIMD = sed 's,^.*/storage/page/checksum\.o$$,$(CHECKSUM),'
$(CHECKSUM): $(PG_SOURCE)/src/backend/storage/page/checksum.c $(PG_WASM)/compiled
	@mkdir -p $(dir $@)
	@ccache $(GUEST_CC) $(GUEST_CFLAGS) -msimd128 -I$(PG_WASM)/src/include -I$(PG_SOURCE)/src/include -c $< -o $@

# the encoding conversions between two marks (port/tables.h)
TABLES_MARKS := $(GUEST)/portable/tables-start.o $(GUEST)/portable/tables-end.o
$(TABLES_MARKS): $(GUEST)/portable/tables-%.o: guest/port/tables-mark.c $(PG_WASM)/compiled
	@mkdir -p $(dir $@)
	@ccache $(GUEST_CC) $(GUEST_CFLAGS) -DMARK=pgcell_tables_$* -c $< -o $@
$(GUEST)/native/ordered.txt: $(GUEST)/native/modules.txt $(CHECKSUM)
	@{ $(WITH_SIMD) $(PG_WASM)/objects.txt; cut -d= -f2 $<; } >$@
$(GUEST)/full/ordered.txt: $(CHECKSUM)
$(GUEST)/full/ordered.txt: OBJECTS = $(WITH_SIMD)
$(GUEST)/portable/ordered.txt: OBJECTS = cat
$(GUEST)/portable/ordered.txt $(GUEST)/full/ordered.txt: $(GUEST)/%/ordered.txt: $(GUEST)/%/modules.txt
	@{ $(OBJECTS) $(PG_WASM)/objects.txt; cut -d= -f2 $< | grep -v /conversion_procs/; echo $(GUEST)/portable/tables-start.o; \
		cut -d= -f2 $< | grep /conversion_procs/; echo $(GUEST)/portable/tables-end.o; } >$@

$(LINKS:%=$(GUEST)/%/modules-table.c): $(GUEST)/%/modules-table.c: $(GUEST)/%/modules.txt guest/extensions/link.py
	@guest/extensions/link.py table $$(cat $<) >$@.tmp && mv $@.tmp $@

.PRECIOUS: $(GUEST)/%/modules-table.c
$(GUEST)/%/modules-table.o: $(GUEST)/%/modules-table.c guest/port/modules.h
	@ccache $(GUEST_CC) $(GUEST_CFLAGS) -Iguest/port -c $< -o $@

-include $(wildcard $(GUEST)/*/*/*.d)

GUEST_LIB := $(TOOLS)/wasi/usr/lib/wasm32-wasi
# usage: $(call GUEST_LINK,native|portable|full,objects,bytes of stack,last object): ours come first, so that libc's versions of what we define are not taken
GUEST_LINK = wasm-ld-19 $(2) $(GUEST)/$(1)/modules-table.o @$(GUEST)/$(1)/ordered.txt $(GUEST_LIB)/crt1-reactor.o -L$(GUEST_LIB) -lc -lm -lsetjmp \
	$$(clang-19 --print-resource-dir)/lib/wasi/libclang_rt.builtins-wasm32.a $(4) \
	--entry=_initialize --stack-first -z stack-size=$(3) --fatal-warnings \
	--wrap=stat --wrap=lstat --wrap=fstat --wrap=fcntl --wrap=chmod --wrap=fchmod --wrap=ShmemInitHash

$(BUILD)/guest/native.wasm: $(GUEST_NATIVE_OBJECTS) $(GUEST)/native/modules-table.o $(GUEST)/native/ordered.txt guest/guest.mk scripts/check-imports.sh
	$(SAY) 'linking the guest for the native host'
	@$(call GUEST_LINK,native,$(GUEST_NATIVE_OBJECTS),8388608) --max-memory=4294967296 --wrap=pg_comp_crc32c_sb8 -o $@.tmp
	@scripts/check-imports.sh $@.tmp native
	@mv $@.tmp $@

PORTABLE_LINK_FLAGS := --max-memory=4026531840 --strip-all --wrap=pgstat_report_stat --export-table --growable-table --export=__heap_base
# The transport comes last: then the three modules' memory is the same, and one image fits all.
$(TRANSPORTS:%=$(BUILD)/guest/portable-%.wasm): $(BUILD)/guest/portable-%.wasm: $(GUEST_PORTABLE_OBJECTS) $(GUEST)/portable/comm/%.o $(GUEST)/portable/modules-table.o $(GUEST)/portable/ordered.txt $(TABLES_MARKS) guest/guest.mk scripts/check-imports.sh
	$(SAY) 'linking the portable module, transport: $*'
	@$(call GUEST_LINK,portable,$(GUEST_PORTABLE_OBJECTS),1048576,$(GUEST)/portable/comm/$*.o) $(PORTABLE_LINK_FLAGS) -o $@.tmp
	@scripts/check-imports.sh $@.tmp $*
	@mv $@.tmp $@

# the same with all extensions, for the transport that the npm package takes
$(BUILD)/guest/full-imports.wasm: $(GUEST_PORTABLE_OBJECTS) $(GUEST)/portable/comm/imports.o $(GUEST)/full/modules-table.o $(GUEST)/full/ordered.txt $(TABLES_MARKS) guest/guest.mk scripts/check-imports.sh
	$(SAY) 'linking the portable module with all extensions'
	@$(call GUEST_LINK,full,$(GUEST_PORTABLE_OBJECTS),1048576,$(GUEST)/portable/comm/imports.o) $(PORTABLE_LINK_FLAGS) -o $@.tmp
	@scripts/check-imports.sh $@.tmp imports
	@mv $@.tmp $@

# ---- the portable modules' image: PostgreSQL is started in one of them, translated to C, and its memory written into all ----

BAKE_PARTS := 12
BAKE_SOURCES := guest/image/bake.c guest/image/tree.c guest/image/wasm_image.c examples/c-host/wasi.c
WASM2C_FLAGS := -std=gnu11 -w -DWASM_RT_MEMCHECK_GUARD_PAGES=1 -DWASM_RT_USE_MMAP=1 -isystem $(TOOLS)/wabt/usr/include

# usage: $(eval $(call BAKE_RULES,FOLDER,MODULE)): FOLDER/bake starts MODULE
define BAKE_RULES
$(1)/done: $(2)
	$$(SAY) 'translating $$(notdir $(2)) to C, to start it once'
	@mkdir -p $(1)
	@$$(TOOLS)/bin/wasm2c $$< -n cell --disable-tail-call --num-outputs=$$(BAKE_PARTS) -o $(1)/cell.c
	@touch $$@

$(1)_OBJECTS := $$(patsubst %,$(1)/cell_%.o,$$(shell seq 0 $$$$(($$(BAKE_PARTS) - 1))))
# it runs for a second: not worth an optimisation
$$($(1)_OBJECTS): $(1)/%.o: $(1)/done
	@$$(CC_HOST) $$(WASM2C_FLAGS) -O0 -fwrapv -fno-strict-aliasing -I$(1) -c $(1)/$$*.c -o $$@

$(1)/bake: $$($(1)_OBJECTS) $$(BAKE_SOURCES) $$(wildcard guest/image/*.h examples/c-host/*.h guest/port/layout.h guest/port/tables.h guest/cell/serve.h)
	@$$(CC_HOST) -std=gnu11 -O2 $$(HOST_WARN) -pthread $$(WASM2C_FLAGS) -I$(1) -Iguest/image -Iexamples/c-host $$(BAKE_SOURCES) \
		$$(addprefix $$(WABT_SHARE)/,wasm-rt-impl.c wasm-rt-mem-impl.c wasm-rt-exceptions-impl.c) $$($(1)_OBJECTS) -lm -o $$@
endef
$(eval $(call BAKE_RULES,$(BUILD)/guest/bake,$(BUILD)/guest/portable-imports.wasm))
$(eval $(call BAKE_RULES,$(BUILD)/guest/bake-full,$(BUILD)/guest/full-imports.wasm))

$(BUILD)/guest/cluster/done: guest/image/initdb.sh guest/image/postgresql.conf $(BUILD)/pgcell $(PG_NATIVE)/installed $(PG_WASM)/modules.txt
	$(SAY) 'initdb'
	@guest/image/initdb.sh $(BUILD) $(BUILD)/guest/cluster
	@touch $@

MODULES := $(BUILD)/pgcell.wasm $(BUILD)/pgcell-polling.wasm $(BUILD)/pgcell-callbacks.wasm $(BUILD)/pgcell-full.wasm
BAKED := $(TRANSPORTS:%=$(BUILD)/guest/baked-%.wasm)
$(BUILD)/guest/modules: $(BUILD)/guest/bake/bake $(TRANSPORTS:%=$(BUILD)/guest/portable-%.wasm) $(BUILD)/guest/cluster/done guest/image/portable.sh guest/image/portable.conf
	$(SAY) 'making the portable modules'
	@guest/image/portable.sh $(BUILD) slim $(foreach t,$(TRANSPORTS),$(BUILD)/guest/portable-$(t).wasm=$(BUILD)/guest/baked-$(t).wasm)
	@touch $@
$(BAKED): $(BUILD)/guest/modules ;
$(BUILD)/guest/baked-full.wasm: $(BUILD)/guest/bake-full/bake $(BUILD)/guest/full-imports.wasm $(BUILD)/guest/cluster/done guest/image/portable.sh guest/image/portable.conf
	$(SAY) 'making the portable module with all extensions'
	@guest/image/portable.sh $(BUILD) full $(BUILD)/guest/full-imports.wasm=$@

# Half a megabyte less code, and a few per cent quicker. What has one caller is not put into it unless it is small: the parts of the grammar
# (guest/postgresql/split-grammar.py) would become one function again.
WASM_OPT := $(TOOLS)/bin/wasm-opt -O2 --one-caller-inline-max-function-size=40 --skip-pass=memory-packing --enable-mutable-globals \
	--enable-sign-ext --enable-bulk-memory --enable-nontrapping-float-to-int --enable-exception-handling
$(BUILD)/pgcell-full.wasm: WASM_OPT += --enable-simd
$(BUILD)/pgcell-full.wasm: $(BUILD)/guest/baked-full.wasm
$(BUILD)/pgcell.wasm: $(BUILD)/guest/baked-imports.wasm
$(BUILD)/pgcell-polling.wasm: $(BUILD)/guest/baked-polling.wasm
$(BUILD)/pgcell-callbacks.wasm: $(BUILD)/guest/baked-callbacks.wasm
$(MODULES): guest/guest.mk
	$(SAY) 'optimising $(notdir $@)'
	@$(WASM_OPT) $(filter %.wasm,$^) -o $@.tmp && mv $@.tmp $@
	@printf 'pgcell: %s: %d bytes, gzip -9 %d\n' $(notdir $@) $$(stat -c %s $@) $$(gzip -9c $@ | wc -c)

$(BUILD)/pgcell-trampoline.wasm: guest/trampoline/trampoline.c $(TOOLS)/versions
	@mkdir -p $(BUILD)
	@clang-19 --target=wasm32 -O2 -nostdlib -Wall -Wextra -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=1024 -o $@ $<

# ---- the polling module made with Asyncify, whose guest can wait inside a command in any engine; optional, see docs/contract.md ----

$(BUILD)/pgcell-asyncify.wasm: $(BUILD)/guest/baked-polling.wasm guest/image/asyncify.sh $(TOOLS)/versions
	$(SAY) 'making the polling module with Asyncify (2 minutes)'
	@guest/image/asyncify.sh $(TOOLS) $< $@
