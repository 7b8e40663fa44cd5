/* SPDX-License-Identifier: MIT */
/* What runs before main(): memory is laid out, and every fault ends the program with a word instead
 * of silence. */
#include "semihosting.h"

#include <stdint.h>
#include <string.h>

/* From mps2.ld. */
extern uint32_t stack_top[], data_start[], data_end[], data_load[], bss_start[], bss_end[];

#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88) /* CPACR */
#define FAULT_STATUS (*(volatile uint32_t *)0xE000ED28)       /* CFSR */

int main(void);
void reset(void);

void reset(void)
{
    memcpy(data_start, data_load, (size_t)((uintptr_t)data_end - (uintptr_t)data_start));
    memset(bss_start, 0, (size_t)((uintptr_t)bss_end - (uintptr_t)bss_start));
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    COPROCESSOR_ACCESS |= 0xFU << 20;
    __asm__ volatile("dsb\n isb" : : : "memory");
#endif
    semihosting_exit(main());
}

/* `frame` is what the processor pushed: r0 to r3, r12, lr, pc, psr. addr2line -e build/m4.elf says
 * which line a pc is. */
__attribute__((used)) static void report_fault(const uint32_t frame[8])
{
    uint32_t exception;
    __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
    semihosting_write_hex("fault: exception", exception);
    semihosting_write_hex("fault: status", FAULT_STATUS);
    semihosting_write_hex("fault: pc", frame[6]);
    semihosting_exit(1);
}

__attribute__((naked)) static void fault(void)
{
    __asm__ volatile("mov r0, sp\n b report_fault");
}

/* The vector table: the stack, reset, and the other 14 exceptions of the core. No interrupt is
 * used. */
__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)stack_top, (uintptr_t)reset, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault,     (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault,     (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault,     (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
};
