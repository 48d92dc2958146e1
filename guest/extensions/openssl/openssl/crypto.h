/* contrib/pgcrypto includes it and uses nothing of it; see evp.h */
