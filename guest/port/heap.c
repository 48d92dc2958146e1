/*
 * heap.c
 *	  The heap of a native cell.  wasi-libc's sbrk() grows the memory at its end; a native cell has BASE and CLUSTER there, so the
 *	  heap ends where PRIVATE does, or at the limit that the host set for this process.  Only the native link takes this file.
 */
#include <errno.h>
#include <unistd.h>

#include "contract.h"

extern unsigned char __heap_end;

void *
sbrk(intptr_t increment)
{
	static uintptr_t end;
	uintptr_t	old;

	if (end == 0)
		end = (uintptr_t) &__heap_end;
	old = end;
	if (increment == 0)
		return (void *) old;
	if (increment < 0 || (uintptr_t) increment > pgcell_private_limit() - old || old >= pgcell_private_limit())
	{
		errno = ENOMEM;
		return (void *) -1;
	}
	end = old + increment;
	return (void *) old;
}
