/*
 * trampoline.c
 *	  For hosts of the callback transport that can't make WebAssembly functions at run time: a module of a few bytes that turns
 *	  two functions of the host, which it imports, into functions that can be put into the guest's table.
 */
#include <stdint.h>

#define FROM_HOST(name) __attribute__((import_module("env"), import_name(#name)))
#define TO_TABLE(name) __attribute__((export_name(#name)))

extern int32_t host_read(uint32_t ptr, uint32_t max_length) FROM_HOST(read);
extern int32_t host_write(uint32_t ptr, uint32_t length) FROM_HOST(write);
extern int32_t table_read(uint32_t ptr, uint32_t max_length) TO_TABLE(read);
extern int32_t table_write(uint32_t ptr, uint32_t length) TO_TABLE(write);

int32_t
table_read(uint32_t ptr, uint32_t max_length)
{
	return host_read(ptr, max_length);
}

int32_t
table_write(uint32_t ptr, uint32_t length)
{
	return host_write(ptr, length);
}
