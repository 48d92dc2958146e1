/* wasi-libc's sigset_t has eight bits; signals here are numbered as on Linux. */
#ifndef __wasilibc___typedef_sigset_t_h
#define __wasilibc___typedef_sigset_t_h
typedef unsigned int sigset_t;
#endif
