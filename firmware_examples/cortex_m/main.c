/* SPDX-License-Identifier: MIT */
/* Self-test, then every face of faces.bin (EDGEEMO_INPUT_BYTES each); the logits go to logits.bin
 * (EDGEEMO_LABEL_COUNT bytes each). */
#include "edgeemo_model.h"
#include "semihosting.h"

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

static uint8_t pixels[EDGEEMO_INPUT_BYTES];
static int8_t logits[EDGEEMO_LABEL_COUNT];

/* Everything below this frame, so that what the program touches of it shows. */
__attribute__((noinline)) static void paint_stack(void)
{
    const uint32_t *here = __builtin_frame_address(0);
    for (volatile uint32_t *word = bss_end; word < here - 16; ++word) {
        *word = PAINT;
    }
}

static uint32_t stack_used(void)
{
    const uint32_t *word = bss_end;
    while (word < stack_top && *word == PAINT) {
        ++word;
    }
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}

static void start_counting(void)
{
    TIMER_RELOAD = TIMER_MOST;
    TIMER_NOW = TIMER_MOST;
    TIMER_CONTROL = TIMER_ON;
}

static uint32_t instructions_since(uint32_t start)
{
    const uint32_t ticks = (start - TIMER_NOW) & TIMER_MOST;
    const uint64_t instructions = (uint64_t)ticks * INSTRUCTIONS_OF_4_TICKS / 4;
    return instructions > UINT32_MAX ? UINT32_MAX : (uint32_t)instructions;
}

/* Instructions of 4 million turns of a loop of two: what says whether the counting is right. */
static uint32_t known_loop(void)
{
    const uint32_t start = TIMER_NOW;
    uint32_t turns = 4000000;
    __asm__ volatile("1: subs %0, %0, #1\n bne 1b" : "+r"(turns) : : "cc");
    return instructions_since(start);
}

static int failed(const char *why)
{
    semihosting_write(why);
    return 1;
}

static int answer(int faces, int answers)
{
    uint32_t count = 0, most = 0;
    size_t missing;
    while ((missing = semihosting_read(faces, pixels, sizeof pixels)) == 0) {
        const uint32_t start = TIMER_NOW;
        edgeemo_infer(pixels, logits);
        const uint32_t instructions = instructions_since(start);
        most = instructions > most ? instructions : most;
        if (semihosting_store(answers, logits, sizeof logits) != 0) {
            return failed("logits.bin: not everything could be written; is the disk full?\n");
        }
        ++count;
    }
    if (missing != sizeof pixels) {
        semihosting_write_number("bytes of a face", EDGEEMO_INPUT_BYTES);
        return failed("faces.bin ends in the middle of a face\n");
    }
    semihosting_write_number("faces", count);
    semihosting_write_number("instructions per inference, at most", most);
    return 0;
}

static int answer_faces(void)
{
    const int faces = semihosting_open("faces.bin", SEMIHOSTING_READ);
    const int answers = faces < 0 ? -1 : semihosting_open("logits.bin", SEMIHOSTING_WRITE);
    if (answers < 0) {
        return failed(faces < 0 ? "no faces.bin here\n" : "logits.bin cannot be written\n");
    }
    const int code = answer(faces, answers);
    if (semihosting_close(answers) != 0) {
        return failed("logits.bin cannot be closed; is the disk full?\n");
    }
    return code;
}

static int check(void)
{
    const uint32_t start = TIMER_NOW;
    if (edgeemo_init() != 0) {
        return failed("the tables in flash are damaged\n");
    }
    semihosting_write_number("instructions of edgeemo_init", instructions_since(start));
    const int pattern = edgeemo_selftest();
    if (pattern != 0) {
        semihosting_write_number("self-test failed at pattern", (uint32_t)pattern);
        return 1;
    }
    semihosting_write_number("self-test passed, patterns", EDGEEMO_VECTOR_COUNT);
    return 0;
}

int main(void)
{
    paint_stack();
    start_counting();
    if (check() != 0) {
        return 1;
    }
    semihosting_write_number("instructions of a loop of 8000000", known_loop());
    const int code = answer_faces();
    const uint32_t stack = stack_used(),
                   statics = (uint32_t)((uintptr_t)bss_end - (uintptr_t)ram_start);
    semihosting_write_number("arena bytes", EDGEEMO_ARENA_BYTES);
    semihosting_write_number("stack bytes", stack);
    semihosting_write_number("RAM bytes in all", statics + stack);
    return code;
}
