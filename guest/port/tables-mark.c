/* Compiled twice, and linked before and behind the objects of the encoding conversions (tables.h). */
extern const unsigned char MARK[4];
const unsigned char MARK[4] __attribute__((aligned(16))) = {1};
