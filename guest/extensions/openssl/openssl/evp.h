/*
 * evp.h
 *	  What contrib/pgcrypto takes from OpenSSL's libcrypto, made of LibTomCrypt and LibTomMath (../evp.c, ../bn.c).
 *
 * As OpenSSL has it: functions return 1, or 0 on failure; a context is set up first with its cipher, then with key and IV.
 */
#ifndef PGCELL_EVP_H
#define PGCELL_EVP_H

#define OPENSSL_VERSION_NUMBER 0x30000000L

typedef struct evp_md EVP_MD;
typedef struct evp_md_ctx EVP_MD_CTX;
typedef struct evp_cipher EVP_CIPHER;
typedef struct evp_cipher_ctx EVP_CIPHER_CTX;

extern const EVP_MD *EVP_get_digestbyname(const char *name);
extern EVP_MD_CTX *EVP_MD_CTX_create(void);
extern void EVP_MD_CTX_destroy(EVP_MD_CTX *ctx);
extern int	EVP_MD_CTX_size(const EVP_MD_CTX *ctx);
extern int	EVP_MD_CTX_block_size(const EVP_MD_CTX *ctx);
extern int	EVP_DigestInit_ex(EVP_MD_CTX *ctx, const EVP_MD *md, void *engine);
extern int	EVP_DigestUpdate(EVP_MD_CTX *ctx, const void *data, unsigned long len);
extern int	EVP_DigestFinal_ex(EVP_MD_CTX *ctx, unsigned char *out, unsigned int *len);

extern EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
extern void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *ctx);
extern int	EVP_CIPHER_CTX_set_padding(EVP_CIPHER_CTX *ctx, int padding);
extern int	EVP_CIPHER_CTX_set_key_length(EVP_CIPHER_CTX *ctx, int len);
extern int	EVP_EncryptInit_ex(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, void *engine, const unsigned char *key, const unsigned char *iv);
extern int	EVP_EncryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len, const unsigned char *in, int in_len);
extern int	EVP_EncryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len);
extern int	EVP_DecryptInit_ex(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, void *engine, const unsigned char *key, const unsigned char *iv);
extern int	EVP_DecryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len, const unsigned char *in, int in_len);
extern int	EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len);

extern const EVP_CIPHER *EVP_aes_128_ecb(void);
extern const EVP_CIPHER *EVP_aes_128_cbc(void);
extern const EVP_CIPHER *EVP_aes_128_cfb(void);
extern const EVP_CIPHER *EVP_aes_192_ecb(void);
extern const EVP_CIPHER *EVP_aes_192_cbc(void);
extern const EVP_CIPHER *EVP_aes_192_cfb(void);
extern const EVP_CIPHER *EVP_aes_256_ecb(void);
extern const EVP_CIPHER *EVP_aes_256_cbc(void);
extern const EVP_CIPHER *EVP_aes_256_cfb(void);
extern const EVP_CIPHER *EVP_bf_ecb(void);
extern const EVP_CIPHER *EVP_bf_cbc(void);
extern const EVP_CIPHER *EVP_bf_cfb(void);
extern const EVP_CIPHER *EVP_des_ecb(void);
extern const EVP_CIPHER *EVP_des_cbc(void);
extern const EVP_CIPHER *EVP_des_ede3_ecb(void);
extern const EVP_CIPHER *EVP_des_ede3_cbc(void);
extern const EVP_CIPHER *EVP_cast5_ecb(void);
extern const EVP_CIPHER *EVP_cast5_cbc(void);

/* there is no such mode */
#define EVP_default_properties_is_fips_enabled(context) 0

#endif
