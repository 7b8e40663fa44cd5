/* What runs before main(): memory is laid out, and every fault ends the program with a word instead of silence. */
#include "semihosting.h"

#include <stdint.h>
#include <string.h>

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end; /* from mps2.ld */

int main(void);

static void reset(void)
{
    memcpy(&data_start, &data_load, (size_t)((uintptr_t)&data_end - (uintptr_t)&data_start));
    memset(&bss_start, 0, (size_t)((uintptr_t)&bss_end - (uintptr_t)&bss_start));
    semihosting_exit(main());
}

static void fault(void)
{
    semihosting_write("fault: the processor refused an instruction or an address\n");
    semihosting_exit(1);
}

/* The vector table: the stack, reset, and the 14 exceptions of the core. */
__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)&stack_top, (uintptr_t)reset, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault,      (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault,      (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
};
