# The native program: the guest translated to C, and the host around it.

HOST := $(BUILD)/host
WABT_SHARE := $(TOOLS)/wabt/usr/share/wabt/wasm2c
PARTS := 24
PART_NUMBERS := $(shell seq 0 $$(($(PARTS) - 1)))

HOST_WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror
HOST_CFLAGS := -std=gnu11 -O2 -g -fno-omit-frame-pointer $(HOST_WARN) $(shell pkg-config --cflags libuv libseccomp libmicrohttpd openssl 2>/dev/null) \
	-I$(HOST)/translated -isystem $(TOOLS)/wabt/usr/include
# Bounds are enforced by the reservation and its guard pages, the stack by its guard and the guest's own check; the memory's
# address is kept in a segment register.  Loads whose result is not used need not trap.
RUNTIME_FLAGS := -DWASM_RT_MEMCHECK_GUARD_PAGES=1 -DWASM_RT_SKIP_SIGNAL_RECOVERY=1 -DWASM_RT_ALLOW_SEGUE=1 \
	-DWASM_RT_NONCONFORMING_UNCHECKED_STACK_EXHAUSTION=1 -DWASM_RT_NONCONFORMING_ALLOW_OOB_READ_ELIMINATION=1 \
	-DWASM_RT_USE_MMAP=1 -DWASM_RT_TRAP_HANDLER=runtime_trap -mfsgsbase
TRANSLATED_CFLAGS := -std=gnu11 -O2 -w -fno-strict-aliasing -fwrapv -fno-math-errno \
	-include $(ROOT)/host/intrinsics.h $(RUNTIME_FLAGS) -I$(HOST)/translated -isystem $(TOOLS)/wabt/usr/include

$(HOST)/translated/done: $(BUILD)/guest/native.wasm host/host.mk
	$(SAY) 'translating the guest to C'
	@mkdir -p $(HOST)/translated
	@$(TOOLS)/bin/wasm2c $(BUILD)/guest/native.wasm -n guest --disable-tail-call --num-outputs=$(PARTS) -o $(HOST)/translated/guest.c
	@# one module and one memory in the process: its address stays in the segment register (runtime.c sets it)
	@echo '#define wasm_rt_segue_write_base(base) ((void) 0)' >>$(HOST)/translated/guest-impl.h
	@sha256sum $(BUILD)/guest/native.wasm | cut -c1-64 >$(HOST)/translated/build-id
	@touch $@

TRANSLATED_OBJECTS := $(patsubst %,$(HOST)/translated/guest_%.o,$(PART_NUMBERS))

$(TRANSLATED_OBJECTS): $(HOST)/translated/%.o: $(HOST)/translated/done host/intrinsics.h
	$(SAY) 'compiling $*.c of $(PARTS) parts'
	@$(CC_HOST) $(TRANSLATED_CFLAGS) -c $(HOST)/translated/$*.c -o $@

RUNTIME_OBJECTS := $(HOST)/wasm-rt-impl.o $(HOST)/wasm-rt-exceptions-impl.o
$(RUNTIME_OBJECTS): $(HOST)/%.o: $(TOOLS)/versions host/host.mk
	@mkdir -p $(HOST)
	@$(CC_HOST) -std=gnu11 -O2 -w $(RUNTIME_FLAGS) -isystem $(TOOLS)/wabt/usr/include -c $(WABT_SHARE)/$*.c -o $@

HOST_SOURCES := $(wildcard host/*.c)
HOST_OBJECTS := $(patsubst host/%.c,$(HOST)/%.o,$(HOST_SOURCES)) $(HOST)/tree.o

$(HOST)/%.o: host/%.c $(HOST)/translated/done
	@$(CC_HOST) $(HOST_CFLAGS) $(RUNTIME_FLAGS) -DGUEST_BUILD_ID="\"$$(cat $(HOST)/translated/build-id)\"" \
		-DPGCELL_POSTGRES_VERSION="\"$$(cut -d' ' -f2 $(PG_SOURCE).version)\"" -MMD -MP -c $< -o $@

$(HOST)/tree.o: guest/image/tree.c $(HOST)/translated/done
	@$(CC_HOST) $(HOST_CFLAGS) -MMD -MP -c $< -o $@

-include $(wildcard $(HOST)/*.d)

$(BUILD)/pgcell: $(HOST_OBJECTS) $(TRANSLATED_OBJECTS) $(RUNTIME_OBJECTS)
	$(SAY) 'linking pgcell'
	@# bound at the start: sessions, which are forked, would bind by themselves, each anew
	@clang-19 -fuse-ld=lld-19 -Wl,-z,relro,-z,now $^ $$(pkg-config --libs libuv libseccomp libmicrohttpd openssl) -lm -o $@

$(BUILD)/pgcell.img: $(BUILD)/pgcell $(BUILD)/guest/cluster/done guest/image/build.sh
	$(SAY) 'making the image'
	@guest/image/build.sh $(BUILD) $@

# the manual page and a sample of the configuration file come from the program's own tables
$(BUILD)/pgcell.1: $(BUILD)/pgcell
	@$< man >$@.tmp && mv $@.tmp $@

$(BUILD)/pgcell.conf.sample: $(BUILD)/pgcell
	@$< serve --print-config >$@.tmp && mv $@.tmp $@
