/*
 * bn.c
 *	  Big numbers for contrib/pgcrypto, by LibTomMath: see openssl/bn.h.
 */
#include "postgres.h"

#include <tommath.h>

#include "openssl/bn.h"

struct bignum
{
	mp_int		n;
};

BIGNUM *
BN_new(void)
{
	BIGNUM	   *a = malloc(sizeof(BIGNUM));

	if (a && mp_init(&a->n) != MP_OKAY)
	{
		free(a);
		a = NULL;
	}
	return a;
}

void
BN_clear_free(BIGNUM *a)
{
	if (a == NULL)
		return;
	/* mp_clear() overwrites it */
	mp_clear(&a->n);
	free(a);
}

BIGNUM *
BN_bin2bn(const unsigned char *data, int len, BIGNUM *out)
{
	BIGNUM	   *a = out ? out : BN_new();

	if (a && mp_from_ubin(&a->n, data, len) != MP_OKAY)
	{
		if (!out)
			BN_clear_free(a);
		return NULL;
	}
	return a;
}

int
BN_bn2bin(const BIGNUM *a, unsigned char *out)
{
	size_t		len = mp_ubin_size(&a->n);

	return mp_to_ubin(&a->n, out, len, NULL) == MP_OKAY ? (int) len : 0;
}

int
BN_num_bits(const BIGNUM *a)
{
	return mp_count_bits(&a->n);
}

/* Of "bits" bits, the highest of which is set: the only form that pgcrypto asks for. */
int
BN_rand(BIGNUM *a, int bits, int top, int bottom)
{
	unsigned char random[8192 / 8];
	int			len = (bits + 7) / 8;
	int			ok;

	if (top != 0 || bottom != 0 || bits <= 0 || len > (int) sizeof random || !pg_strong_random(random, len))
		return 0;
	random[0] &= 0xFF >> (8 * len - bits);
	random[0] |= 1 << ((bits - 1) % 8);
	ok = mp_from_ubin(&a->n, random, len) == MP_OKAY;
	explicit_bzero(random, sizeof random);
	return ok;
}

int
BN_mod_exp(BIGNUM *r, const BIGNUM *a, const BIGNUM *p, const BIGNUM *m, BN_CTX *ctx)
{
	(void) ctx;
	return !mp_iszero(&m->n) && mp_exptmod(&a->n, &p->n, &m->n, &r->n) == MP_OKAY;
}

int
BN_mod_mul(BIGNUM *r, const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx)
{
	(void) ctx;
	return !mp_iszero(&m->n) && mp_mulmod(&a->n, &b->n, &m->n, &r->n) == MP_OKAY;
}

BIGNUM *
BN_mod_inverse(BIGNUM *r, const BIGNUM *a, const BIGNUM *m, BN_CTX *ctx)
{
	(void) ctx;
	return mp_invmod(&a->n, &m->n, &r->n) == MP_OKAY ? r : NULL;
}
