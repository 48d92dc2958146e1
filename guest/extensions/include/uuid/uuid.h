/*
 * uuid.h
 *	  What contrib/uuid-ossp takes from the UUID library of e2fsprogs.
 *
 * A cell has no network card whose address could be in a version 1 UUID: the node is random, one for each session, with the
 * multicast bit as RFC 4122 wants it for such nodes (4.5).
 */
#ifndef PGCELL_UUID_H
#define PGCELL_UUID_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

typedef unsigned char uuid_t[16];

static inline void
uuid_generate_random(uuid_t uu)
{
	if (!pg_strong_random(uu, sizeof(uuid_t)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	uu[6] = (uu[6] & 0x0F) | 0x40;
	uu[8] = (uu[8] & 0x3F) | 0x80;
}

static inline void
uuid_generate_time(uuid_t uu)
{
	static unsigned char node[8];	/* clock sequence, then node */
	static uint64_t last;
	struct timeval now;
	uint64_t	t;

	if (last == 0)
	{
		uuid_t		random;

		uuid_generate_random(random);
		memcpy(node, random + 8, sizeof node);
		node[2] |= 0x01;
	}
	gettimeofday(&now, NULL);
	/* 100 ns since the 15th of October 1582 */
	t = (uint64_t) now.tv_sec * 10000000 + now.tv_usec * 10 + UINT64_C(0x01B21DD213814000);
	/* a clock that stands, or was set back a little, still gives each its own; one that was set back more is another sequence */
	if (t <= last && last - t < 10000000)
		t = last + 1;
	else if (t <= last)
		node[1]++;
	last = t;
	for (int i = 0; i < 4; i++)
		uu[i] = t >> (24 - 8 * i);
	uu[4] = t >> 40;
	uu[5] = t >> 32;
	uu[6] = ((t >> 56) & 0x0F) | 0x10;
	uu[7] = t >> 48;
	memcpy(uu + 8, node, sizeof node);
}

static inline void
uuid_unparse(const uuid_t uu, char *out)
{
	for (int i = 0; i < 16; i++)
		out += sprintf(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uu[i]);
}

#endif
