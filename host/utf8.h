/*
 * UTF-8 text from a server, for people and for JSON. Pure functions; the widths are those of the locale's wcwidth(), so a UTF-8 locale
 * has to be set for anything beyond ASCII.
 */
#ifndef PGCELL_UTF8_H
#define PGCELL_UTF8_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decodes the first character of text[0..len), len > 0, into *code. Returns its bytes, 1 to 4; for what is not UTF-8 1, and *code
 * is UTF8_BAD.
 */
#define UTF8_BAD 0xffffffffu
size_t utf8_decode(const uint8_t *text, size_t len, uint32_t *code);

/* Columns of a terminal: 0, 1 or 2; -1 for what is not printable. */
int utf8_width(uint32_t code);

#endif
