/* SPDX-License-Identifier: MIT */
#include "semihosting.h"

#include <string.h>

/* Numbers of "Semihosting for AArch32 and AArch64" (Arm, release 2.0). */
enum {
    SYS_OPEN = 1,
    SYS_CLOSE = 2,
    SYS_WRITE0 = 4,
    SYS_WRITE = 5,
    SYS_READ = 6,
    SYS_EXIT_EXTENDED = 0x20
};
#define ADP_STOPPED_APPLICATION_EXIT 0x20026U

static uintptr_t call(uint32_t operation, uintptr_t argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int semihosting_open(const char *path, semihosting_mode mode)
{
    const uintptr_t block[3] = {(uintptr_t)path, (uintptr_t)mode, strlen(path)};
    return (int)call(SYS_OPEN, (uintptr_t)block);
}

size_t semihosting_read(int file, void *data, size_t size)
{
    const uintptr_t block[3] = {(uintptr_t)file, (uintptr_t)data, size};
    return call(SYS_READ, (uintptr_t)block);
}

size_t semihosting_store(int file, const void *data, size_t size)
{
    const uintptr_t block[3] = {(uintptr_t)file, (uintptr_t)data, size};
    return call(SYS_WRITE, (uintptr_t)block);
}

int semihosting_close(int file)
{
    const uintptr_t block[1] = {(uintptr_t)file};
    return (int)call(SYS_CLOSE, (uintptr_t)block);
}

void semihosting_write(const char *text)
{
    (void)call(SYS_WRITE0, (uintptr_t)text);
}

void semihosting_write_number(const char *name, uint32_t value)
{
    char digits[12];
    char *digit = digits + sizeof digits;
    *--digit = '\0';
    *--digit = '\n';
    do {
        *--digit = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    semihosting_write(name);
    semihosting_write(" ");
    semihosting_write(digit);
}

void semihosting_write_hex(const char *name, uint32_t value)
{
    char digits[12] = " 0x";
    for (int i = 0; i < 8; ++i) {
        digits[3 + i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
    }
    digits[11] = '\0';
    semihosting_write(name);
    semihosting_write(digits);
    semihosting_write("\n");
}

void semihosting_exit(int code)
{
    const uintptr_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, (uintptr_t)code};
    (void)call(SYS_EXIT_EXTENDED, (uintptr_t)block);
    for (;;) {
    }
}
