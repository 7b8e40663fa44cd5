/* SPDX-License-Identifier: MIT */
/* A debugger's services (Arm's semihosting), which QEMU offers too: files and the console of the
 * PC, and an exit code. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

typedef enum { SEMIHOSTING_READ = 1, SEMIHOSTING_WRITE = 5 } semihosting_mode; /* "rb" and "wb" */

int semihosting_open(const char *path, semihosting_mode mode); /* a file, or -1 */
size_t semihosting_read(int file, void *data,
                        size_t size); /* how many of `size` bytes did not come */
size_t semihosting_store(int file, const void *data,
                         size_t size);    /* how many of `size` bytes were not written */
int semihosting_close(int file);          /* 0, or -1 */
void semihosting_write(const char *text); /* to the console */
void semihosting_write_number(const char *name, uint32_t value); /* "name value\n" */
void semihosting_write_hex(const char *name, uint32_t value);    /* "name 0x0000001f\n" */
void semihosting_exit(int code) __attribute__((noreturn));

#endif
