/* A debugger's services (Arm's semihosting), which QEMU offers too: files and the console of the PC, and an exit code. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

typedef enum { SEMIHOSTING_READ = 1, SEMIHOSTING_WRITE = 5 } semihosting_mode; /* "rb" and "wb" */

int semihosting_open(const char *path, semihosting_mode mode);          /* a file, or -1 */
int semihosting_read(int file, void *data, size_t size);                /* 0 when all `size` bytes came */
int semihosting_store(int file, const void *data, size_t size);         /* 0 when all `size` bytes were written */
void semihosting_close(int file);
void semihosting_write(const char *text);                               /* to the console */
void semihosting_write_number(const char *name, uint32_t value);        /* "name value\n" */
void semihosting_exit(int code) __attribute__((noreturn));

#endif
