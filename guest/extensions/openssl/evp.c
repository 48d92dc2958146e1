/*
 * evp.c
 *	  Digests and ciphers for contrib/pgcrypto, by LibTomCrypt: see openssl/evp.h.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <tomcrypt.h>

#include "openssl/evp.h"

#define MAX_BLOCK 16

/* ---- digests ---- */

struct evp_md
{
	const char *name;
	const struct ltc_hash_descriptor *hash;
};

struct evp_md_ctx
{
	const EVP_MD *md;
	hash_state	state;
};

/* under the names that OpenSSL knows them by */
static const EVP_MD digests[] = {
	{"md5", &md5_desc},
	{"sha1", &sha1_desc},
	{"sha-1", &sha1_desc},
	{"sha224", &sha224_desc},
	{"sha256", &sha256_desc},
	{"sha384", &sha384_desc},
	{"sha512", &sha512_desc},
	{"sha512-224", &sha512_224_desc},
	{"sha512-256", &sha512_256_desc},
	{"sha3-224", &sha3_224_desc},
	{"sha3-256", &sha3_256_desc},
	{"sha3-384", &sha3_384_desc},
	{"sha3-512", &sha3_512_desc},
	{"ripemd160", &rmd160_desc},
	{"rmd160", &rmd160_desc},
};

const EVP_MD *
EVP_get_digestbyname(const char *name)
{
	for (size_t i = 0; i < sizeof digests / sizeof *digests; i++)
		if (strcasecmp(digests[i].name, name) == 0)
			return &digests[i];
	return NULL;
}

EVP_MD_CTX *
EVP_MD_CTX_create(void)
{
	return calloc(1, sizeof(EVP_MD_CTX));
}

void
EVP_MD_CTX_destroy(EVP_MD_CTX *ctx)
{
	zeromem(ctx, sizeof *ctx);
	free(ctx);
}

int
EVP_MD_CTX_size(const EVP_MD_CTX *ctx)
{
	return ctx->md->hash->hashsize;
}

int
EVP_MD_CTX_block_size(const EVP_MD_CTX *ctx)
{
	return ctx->md->hash->blocksize;
}

int
EVP_DigestInit_ex(EVP_MD_CTX *ctx, const EVP_MD *md, void *engine)
{
	(void) engine;
	ctx->md = md;
	return md->hash->init(&ctx->state) == CRYPT_OK;
}

int
EVP_DigestUpdate(EVP_MD_CTX *ctx, const void *data, unsigned long len)
{
	return len == 0 || ctx->md->hash->process(&ctx->state, data, len) == CRYPT_OK;
}

int
EVP_DigestFinal_ex(EVP_MD_CTX *ctx, unsigned char *out, unsigned int *len)
{
	if (len)
		*len = ctx->md->hash->hashsize;
	return ctx->md->hash->done(&ctx->state, out) == CRYPT_OK;
}

/* ---- ciphers ---- */

enum mode
{
	ECB, CBC, CFB
};

struct evp_cipher
{
	const struct ltc_cipher_descriptor *cipher;
	int			key_len;		/* unless the context says otherwise */
	enum mode	mode;
};

struct evp_cipher_ctx
{
	const EVP_CIPHER *type;
	symmetric_key key;
	bool		has_key;
	int			key_len;
	bool		padding;
	unsigned char iv[MAX_BLOCK];
	unsigned char part[MAX_BLOCK];	/* the start of a block; for CFB the key stream */
	int			part_len;		/* for CFB how much of it is used */
};

#define CIPHER(function, descriptor, key_len, mode) \
const EVP_CIPHER * \
function(void) \
{ \
	static const EVP_CIPHER type = {&descriptor, key_len, mode}; \
\
	return &type; \
}

CIPHER(EVP_aes_128_ecb, aes_desc, 16, ECB)
CIPHER(EVP_aes_128_cbc, aes_desc, 16, CBC)
CIPHER(EVP_aes_128_cfb, aes_desc, 16, CFB)
CIPHER(EVP_aes_192_ecb, aes_desc, 24, ECB)
CIPHER(EVP_aes_192_cbc, aes_desc, 24, CBC)
CIPHER(EVP_aes_192_cfb, aes_desc, 24, CFB)
CIPHER(EVP_aes_256_ecb, aes_desc, 32, ECB)
CIPHER(EVP_aes_256_cbc, aes_desc, 32, CBC)
CIPHER(EVP_aes_256_cfb, aes_desc, 32, CFB)
CIPHER(EVP_bf_ecb, blowfish_desc, 16, ECB)
CIPHER(EVP_bf_cbc, blowfish_desc, 16, CBC)
CIPHER(EVP_bf_cfb, blowfish_desc, 16, CFB)
CIPHER(EVP_des_ecb, des_desc, 8, ECB)
CIPHER(EVP_des_cbc, des_desc, 8, CBC)
CIPHER(EVP_des_ede3_ecb, des3_desc, 24, ECB)
CIPHER(EVP_des_ede3_cbc, des3_desc, 24, CBC)
CIPHER(EVP_cast5_ecb, cast5_desc, 16, ECB)
CIPHER(EVP_cast5_cbc, cast5_desc, 16, CBC)

EVP_CIPHER_CTX *
EVP_CIPHER_CTX_new(void)
{
	EVP_CIPHER_CTX *ctx = calloc(1, sizeof(EVP_CIPHER_CTX));

	if (ctx)
		ctx->padding = true;
	return ctx;
}

void
EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *ctx)
{
	if (ctx == NULL)
		return;
	if (ctx->has_key)
		ctx->type->cipher->done(&ctx->key);
	zeromem(ctx, sizeof *ctx);
	free(ctx);
}

int
EVP_CIPHER_CTX_set_padding(EVP_CIPHER_CTX *ctx, int padding)
{
	ctx->padding = padding != 0;
	return 1;
}

int
EVP_CIPHER_CTX_set_key_length(EVP_CIPHER_CTX *ctx, int len)
{
	const struct ltc_cipher_descriptor *cipher = ctx->type->cipher;
	bool		has_any_length = cipher == &blowfish_desc || cipher == &cast5_desc;

	if (len <= 0 || len > cipher->max_key_length || (!has_any_length && len != ctx->type->key_len))
		return 0;
	ctx->key_len = len;
	return 1;
}

/*
 * Keys that are shorter than LibTomCrypt takes them: Blowfish goes around in a key, so a repeated one is the same; CAST5 fills
 * up with zeros (RFC 2144, 2.5).
 */
static bool
set_key(EVP_CIPHER_CTX *ctx, const unsigned char *key)
{
	const struct ltc_cipher_descriptor *cipher = ctx->type->cipher;
	unsigned char longer[MAXBLOCKSIZE] = {0};
	int			len = ctx->key_len;

	if (len < cipher->min_key_length)
	{
		int			repeated = 0;

		do
		{
			memcpy(longer + repeated, key, ctx->key_len);
			repeated += ctx->key_len;
		} while (cipher == &blowfish_desc && repeated < cipher->min_key_length);
		len = cipher == &blowfish_desc ? repeated : cipher->min_key_length;
		key = longer;
	}
	ctx->has_key = cipher->setup(key, len, 0, &ctx->key) == CRYPT_OK;
	zeromem(longer, sizeof longer);
	return ctx->has_key;
}

int
EVP_EncryptInit_ex(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, void *engine, const unsigned char *key, const unsigned char *iv)
{
	(void) engine;
	if (cipher)
	{
		ctx->type = cipher;
		ctx->key_len = cipher->key_len;
	}
	ctx->part_len = ctx->type->mode == CFB ? ctx->type->cipher->block_length : 0;
	if (iv && ctx->type->mode != ECB)
		memcpy(ctx->iv, iv, ctx->type->cipher->block_length);
	return key == NULL || set_key(ctx, key);
}

int
EVP_DecryptInit_ex(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, void *engine, const unsigned char *key, const unsigned char *iv)
{
	return EVP_EncryptInit_ex(ctx, cipher, engine, key, iv);
}

static void
encrypt_block(EVP_CIPHER_CTX *ctx, const unsigned char *in, unsigned char *out)
{
	int			size = ctx->type->cipher->block_length;
	unsigned char block[MAX_BLOCK];

	for (int i = 0; i < size; i++)
		block[i] = ctx->type->mode == CBC ? in[i] ^ ctx->iv[i] : in[i];
	ctx->type->cipher->ecb_encrypt(block, out, &ctx->key);
	memcpy(ctx->iv, out, size);
}

static void
decrypt_block(EVP_CIPHER_CTX *ctx, const unsigned char *in, unsigned char *out)
{
	int			size = ctx->type->cipher->block_length;
	unsigned char block[MAX_BLOCK];

	ctx->type->cipher->ecb_decrypt(in, block, &ctx->key);
	for (int i = 0; i < size; i++)
	{
		unsigned char c = in[i];

		out[i] = ctx->type->mode == CBC ? block[i] ^ ctx->iv[i] : block[i];
		ctx->iv[i] = c;
	}
}

static void
feed_back(EVP_CIPHER_CTX *ctx, unsigned char *out, const unsigned char *in, int len, bool is_decryption)
{
	int			size = ctx->type->cipher->block_length;

	for (int i = 0; i < len; i++)
	{
		unsigned char c = in[i];

		if (ctx->part_len == size)
		{
			ctx->type->cipher->ecb_encrypt(ctx->iv, ctx->part, &ctx->key);
			ctx->part_len = 0;
		}
		out[i] = c ^ ctx->part[ctx->part_len];
		ctx->iv[ctx->part_len++] = is_decryption ? c : out[i];
	}
}

/* The last whole block of what is padded waits for EVP_DecryptFinal_ex(). */
static int
update(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len, const unsigned char *in, int in_len, bool is_decryption)
{
	int			size = ctx->type->cipher->block_length;

	if (!ctx->has_key || in_len < 0)
		return 0;
	*out_len = 0;
	if (ctx->type->mode == CFB)
	{
		feed_back(ctx, out, in, in_len, is_decryption);
		*out_len = in_len;
		return 1;
	}
	while (in_len > 0)
	{
		int			n = size - ctx->part_len < in_len ? size - ctx->part_len : in_len;

		memcpy(ctx->part + ctx->part_len, in, n);
		ctx->part_len += n;
		in += n;
		in_len -= n;
		if (ctx->part_len < size || (is_decryption && ctx->padding && in_len == 0))
			break;
		(is_decryption ? decrypt_block : encrypt_block) (ctx, ctx->part, out + *out_len);
		*out_len += size;
		ctx->part_len = 0;
	}
	return 1;
}

int
EVP_EncryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len, const unsigned char *in, int in_len)
{
	return update(ctx, out, out_len, in, in_len, false);
}

int
EVP_DecryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len, const unsigned char *in, int in_len)
{
	return update(ctx, out, out_len, in, in_len, true);
}

int
EVP_EncryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len)
{
	int			size = ctx->type->cipher->block_length;

	*out_len = 0;
	if (ctx->type->mode == CFB)
		return 1;
	if (!ctx->padding)
		return ctx->part_len == 0;
	memset(ctx->part + ctx->part_len, size - ctx->part_len, size - ctx->part_len);
	encrypt_block(ctx, ctx->part, out);
	ctx->part_len = 0;
	*out_len = size;
	return 1;
}

int
EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len)
{
	int			size = ctx->type->cipher->block_length;
	unsigned char block[MAX_BLOCK];
	unsigned char pad,
				bad;

	*out_len = 0;
	if (ctx->type->mode == CFB)
		return 1;
	if (!ctx->padding)
		return ctx->part_len == 0;
	if (ctx->part_len != size)
		return 0;
	decrypt_block(ctx, ctx->part, block);
	ctx->part_len = 0;
	pad = block[size - 1];
	if (pad == 0 || pad > size)
		return 0;
	bad = 0;
	for (int i = size - pad; i < size; i++)
		bad |= block[i] ^ pad;
	if (bad)
		return 0;
	memcpy(out, block, size - pad);
	*out_len = size - pad;
	return 1;
}
