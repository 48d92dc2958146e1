/* There is no signal mask to save: sigsetjmp is setjmp.  As macros, since the compiler must see setjmp itself. */
#ifndef PGCELL_SETJMP_H
#define PGCELL_SETJMP_H
#include_next <setjmp.h>
#define sigsetjmp(env, savemask) setjmp(env)
#define siglongjmp(env, value) longjmp(env, value)
#endif
