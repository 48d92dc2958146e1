#define _GNU_SOURCE
#include "runtime.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "guest.h"

/* An address plus a constant offset, both 32 bits, plus the widest access. */
#define RESERVATION_BYTES ((8ull << 30) + 65536)
#define MEMORY_BYTES (4ull << 30)

/*
 * PostgreSQL stops recursion at max_stack_depth, of both stacks together, which can be set to 7.5 MB at most (getrlimit() in
 * guest/port/process.c). The rest is for what recurses without asking.
 */
#define STACK_BYTES (64ull << 20)
#define ALT_STACK_BYTES 65536

uint8_t *guest_base;
uint64_t guest_memory_bytes;
char *runtime_stack_top;
struct w2c_guest *runtime_guest;
void (*runtime_trap_hook)(const char *what);
const char runtime_build_id[65] = GUEST_BUILD_ID;

static w2c_guest instance;
static ucontext_t host_context;
static ucontext_t guest_context;
static void (*entered_fn)(void *);
static void *entered_arg;

/* ---- what wasm2c's output asks of its runtime: memory (tables and exceptions are wabt's own) ---- */

void wasm_rt_allocate_memory(
	wasm_rt_memory_t *memory, uint64_t initial_pages, uint64_t max_pages, bool is64, uint32_t page_size)
{
	(void)initial_pages, (void)max_pages, (void)is64;
	memory->data = guest_base;
	memory->data_end = guest_base + RESERVATION_BYTES;
	memory->page_size = page_size;
	memory->size = MEMORY_BYTES;
	memory->pages = memory->max_pages = MEMORY_BYTES / page_size;
}

uint64_t wasm_rt_grow_memory(wasm_rt_memory_t *memory, uint64_t pages)
{
	(void)memory;
	return pages == 0 ? MEMORY_BYTES / WASM_DEFAULT_PAGE_SIZE : UINT32_MAX;
}

void wasm_rt_free_memory(wasm_rt_memory_t *memory)
{
	(void)memory;
}

/* ---- traps ---- */

static _Noreturn void end_trapped(const char *what)
{
	if (runtime_trap_hook)
		runtime_trap_hook(what);
	_exit(RUNTIME_EXIT_TRAP);
}

void runtime_trap(wasm_rt_trap_t trap);
void runtime_trap(wasm_rt_trap_t trap)
{
	end_trapped(wasm_rt_strerror(trap));
}

static char *guest_stack;

static void on_fault(int signo, siginfo_t *info, void *context)
{
	const char *at = info->si_addr;
	struct sigaction standard = {.sa_handler = SIG_DFL};

	(void)context;
	if (signo == SIGBUS && info->si_code == BUS_ADRERR)
		end_trapped("out of memory for shared pages");
	if (at >= (char *)guest_base && at < (char *)guest_base + RESERVATION_BYTES)
		end_trapped("out-of-bounds access in linear memory");
	if (at >= guest_stack && at < guest_stack + 65536)
		end_trapped("call stack exhausted");
	/* ours, or sent by somebody: kills the process, when it happens again or now */
	sigaction(signo, &standard, NULL);
	if (info->si_code <= 0)
		raise(signo);
}

static int install_fault_handler(void)
{
	static char alt_stack[ALT_STACK_BYTES];
	stack_t alt = {.ss_sp = alt_stack, .ss_size = sizeof alt_stack};
	struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	if (sigaltstack(&alt, NULL) < 0 || sigaction(SIGSEGV, &act, NULL) < 0 || sigaction(SIGBUS, &act, NULL) < 0)
		return -errno;
	return 0;
}

/* ---- */

int runtime_open(wasi_ctx *wasi)
{
	void *at = mmap(NULL, RESERVATION_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	guest_base = at;
	guest_memory_bytes = MEMORY_BYTES;
	if (mprotect(guest_base, MEMORY_BYTES, PROT_READ | PROT_WRITE) < 0)
		return -errno;
	at = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (at == MAP_FAILED || mprotect(at, 65536, PROT_NONE) < 0)
		return -errno;
	guest_stack = at;
	/* what the translated code addresses memory by; kept over fork */
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, guest_base) < 0)
		return -errno;
	wasm_rt_init();
	wasm2c_guest_instantiate(&instance, NULL, NULL, wasi);
	runtime_guest = &instance;
	return install_fault_handler();
}

int runtime_map(guest_addr start, uint64_t len_bytes, int prot, int flags, int fd, uint64_t offset)
{
	void *at;

	if (len_bytes == 0)
		return 0;
	if (!guest_range(start, len_bytes))
		return -EINVAL;
	at = mmap(guest_base + start, len_bytes, prot, flags | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset);
	return at == MAP_FAILED ? -errno : 0;
}

static void on_guest_stack(void)
{
	runtime_stack_top = __builtin_frame_address(0);
	entered_fn(entered_arg);
}

void runtime_enter(void (*fn)(void *), void *arg)
{
	entered_fn = fn;
	entered_arg = arg;
	getcontext(&guest_context);
	guest_context.uc_stack.ss_sp = guest_stack;
	guest_context.uc_stack.ss_size = STACK_BYTES;
	guest_context.uc_link = &host_context;
	makecontext(&guest_context, on_guest_stack, 0);
	swapcontext(&host_context, &guest_context);
}
