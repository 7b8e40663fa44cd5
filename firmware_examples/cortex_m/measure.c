/* SPDX-License-Identifier: MIT */
#include "measure.h"

#define PAINT 0xA5A5A5A5U

/* From mps2.ld; the stack grows down towards bss_end. */
extern uint32_t ram_start[], bss_end[], stack_top[];

/* What counts instructions: one takes 1 ns under `qemu -icount shift=0`, so that a tick of 25 MHz
 * is 40 of them. (QEMU 7.2 has no DWT cycle counter.) On the MPS2 boards it is the first timer, of
 * 32 bits; on the MPS3 board of the Cortex-M55 it is SysTick, of 24 bits at 32 MHz: 31.25
 * instructions a tick. */
#ifdef __ARM_FEATURE_MVE
#define TIMER_CONTROL (*(volatile uint32_t *)0xE000E010)
#define TIMER_RELOAD (*(volatile uint32_t *)0xE000E014)
#define TIMER_NOW (*(volatile uint32_t *)0xE000E018)
#define TIMER_ON 5U /* of the processor's clock */
#define TIMER_MOST 0xFFFFFFU
#define INSTRUCTIONS_OF_4_TICKS 125U
#else
#define TIMER_CONTROL (*(volatile uint32_t *)0x40000000)
#define TIMER_NOW (*(volatile uint32_t *)0x40000004)
#define TIMER_RELOAD (*(volatile uint32_t *)0x40000008)
#define TIMER_ON 1U
#define TIMER_MOST UINT32_MAX
#define INSTRUCTIONS_OF_4_TICKS 160U
#endif

__attribute__((noinline)) void paint_stack(void)
{
    const uint32_t *here = __builtin_frame_address(0);
    for (volatile uint32_t *word = bss_end; word < here - 16; ++word) {
        *word = PAINT;
    }
}

uint32_t stack_used(void)
{
    const uint32_t *word = bss_end;
    while (word < stack_top && *word == PAINT) {
        ++word;
    }
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}

uint32_t static_bytes(void)
{
    return (uint32_t)((uintptr_t)bss_end - (uintptr_t)ram_start);
}

uint32_t ticks_now(void)
{
    return TIMER_NOW;
}

void start_counting(void)
{
    TIMER_RELOAD = TIMER_MOST;
    TIMER_NOW = TIMER_MOST;
    TIMER_CONTROL = TIMER_ON;
}

uint32_t instructions_since(uint32_t start)
{
    const uint32_t ticks = (start - TIMER_NOW) & TIMER_MOST;
    const uint64_t instructions = (uint64_t)ticks * INSTRUCTIONS_OF_4_TICKS / 4;
    return instructions > UINT32_MAX ? UINT32_MAX : (uint32_t)instructions;
}

uint32_t known_loop(void)
{
    const uint32_t start = TIMER_NOW;
    uint32_t turns = 4000000;
    __asm__ volatile("1: subs %0, %0, #1\n bne 1b" : "+r"(turns) : : "cc");
    return instructions_since(start);
}
