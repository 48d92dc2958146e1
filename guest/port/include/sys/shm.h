#ifndef PGCELL_SHM_H
#define PGCELL_SHM_H
#include <sys/ipc.h>
#include <time.h>
typedef unsigned long shmatt_t;
#define SHM_R 0400
#define SHM_W 0200
struct shmid_ds
{
	struct ipc_perm shm_perm;
	size_t		shm_segsz;
	time_t		shm_atime, shm_dtime, shm_ctime;
	pid_t		shm_cpid, shm_lpid;
	shmatt_t	shm_nattch;
};
extern int	shmget(key_t key, size_t size, int flags);
extern void *shmat(int id, const void *addr, int flags);
extern int	shmdt(const void *addr);
extern int	shmctl(int id, int cmd, struct shmid_ds *buf);
#endif
