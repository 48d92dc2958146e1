/*
 * bn.h
 *	  OpenSSL's big numbers as far as contrib/pgcrypto uses them; see evp.h.
 */
#ifndef PGCELL_BN_H
#define PGCELL_BN_H

typedef struct bignum BIGNUM;
typedef struct bignum_ctx BN_CTX;

/* numbers need no context here; pgcrypto only looks whether it got one */
#define BN_CTX_new() ((BN_CTX *) 1)
#define BN_CTX_free(ctx) ((void) (ctx))

extern BIGNUM *BN_new(void);
extern void BN_clear_free(BIGNUM *a);
extern BIGNUM *BN_bin2bn(const unsigned char *data, int len, BIGNUM *out);
extern int	BN_bn2bin(const BIGNUM *a, unsigned char *out);
extern int	BN_num_bits(const BIGNUM *a);
#define BN_num_bytes(a) ((BN_num_bits(a) + 7) / 8)
extern int	BN_rand(BIGNUM *a, int bits, int top, int bottom);
extern int	BN_mod_exp(BIGNUM *r, const BIGNUM *a, const BIGNUM *p, const BIGNUM *m, BN_CTX *ctx);
extern int	BN_mod_mul(BIGNUM *r, const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx);
extern BIGNUM *BN_mod_inverse(BIGNUM *r, const BIGNUM *a, const BIGNUM *m, BN_CTX *ctx);

#endif
