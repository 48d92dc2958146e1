/*
 * wasi.h - WASI preview 1, as much of it as a portable module imports, for hosts made with wasm2c.
 *
 * The module has its file system inside: WASI gives it clocks, random numbers, sleep and somewhere to write its log.
 */
#ifndef WASI_H
#define WASI_H

#include "cell.h" /* wasm2c's */

/* What the functions below get as their first argument; fill it in before the first call into the module. */
struct w2c_wasi__snapshot__preview1 {
	wasm_rt_memory_t *memory; /* the instance's */
	int log_fd; /* file descriptor for the module's standard output and error; -1: dropped */
};

#endif
