/*
 * tables.c
 *	  See tables.h.  Only the portable link takes this file.
 */
#include "tables.h"

#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "../cell/cell.h"

/* The linker puts what is constant in the conversions' objects between these two (tables-mark.c). */
extern const unsigned char pgcell_tables_start[4],
			pgcell_tables_end[4];

/* for the build of the image */
extern uint32_t pgcell_tables_range(int32_t which) PGCELL_EXPORT(pgcell_tables_range);

uint32_t
pgcell_tables_range(int32_t which)
{
	return (uintptr_t) (which ? pgcell_tables_end : pgcell_tables_start);
}

bool
pgcell_load_tables(void)
{
	static bool are_loaded;
	unsigned char part[4096];
	unsigned char *start = (unsigned char *) pgcell_tables_range(0);
	uint32_t	n = (pgcell_tables_range(1) - pgcell_tables_range(0)) / PGCELL_TABLES_PLANES;
	int			fd;

	if (are_loaded)
		return true;
	fd = open(PGCELL_TABLES_FILE, O_RDONLY);
	if (fd < 0)
		return false;
	are_loaded = true;
	for (int plane = 0; plane < PGCELL_TABLES_PLANES; plane++)
		for (uint32_t done = 0; done < n && are_loaded;)
		{
			uint32_t	len = n - done < sizeof part ? n - done : sizeof part;

			are_loaded = read(fd, part, len) == (ssize_t) len;
			for (uint32_t i = 0; i < len; i++)
				start[(done + i) * PGCELL_TABLES_PLANES + plane] = part[i];
			done += len;
		}
	close(fd);
	return are_loaded;
}
