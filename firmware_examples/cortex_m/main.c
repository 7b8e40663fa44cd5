/* Self-test, then every face of faces.bin (48x48 bytes each); the logits go to logits.bin (7 bytes each). */
#include "edgeemo_model.h"
#include "semihosting.h"

#define PAINT 0xA5A5A5A5U

extern uint32_t bss_end, stack_top; /* from mps2.ld; the stack grows down towards bss_end */

/* SysTick counts the board's 25 MHz; under `qemu -icount shift=0` an instruction takes 1 ns, so 40 of them are a tick. */
#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014)
#define SYSTICK_NOW (*(volatile uint32_t *)0xE000E018)
#define INSTRUCTIONS_PER_TICK 40U

static uint8_t pixels[EDGEEMO_INPUT_BYTES];
static int8_t logits[EDGEEMO_LABEL_COUNT];

/* Everything below the caller's frame, so that what an inference touches shows. */
__attribute__((noinline)) static void paint_stack(void)
{
    const uint32_t *here = __builtin_frame_address(0);
    for (volatile uint32_t *word = &bss_end; word < here - 16; ++word) {
        *word = PAINT;
    }
}

static uint32_t stack_used(void)
{
    const uint32_t *word = &bss_end;
    while (*word == PAINT) {
        ++word;
    }
    return (uint32_t)((uintptr_t)&stack_top - (uintptr_t)word);
}

/* Instructions of 4 million turns of a loop of two: what says whether the counting is right. */
static uint32_t known_loop(void)
{
    const uint32_t start = SYSTICK_NOW;
    uint32_t turns = 4000000;
    __asm__ volatile("1: subs %0, %0, #1\n bne 1b" : "+r"(turns) : : "cc");
    return ((start - SYSTICK_NOW) & 0xFFFFFFU) * INSTRUCTIONS_PER_TICK;
}

static uint32_t instructions_per_inference(void)
{
    const uint32_t start = SYSTICK_NOW;
    edgeemo_infer(pixels, logits);
    return ((start - SYSTICK_NOW) & 0xFFFFFFU) * INSTRUCTIONS_PER_TICK;
}

static int answer_faces(void)
{
    const int faces = semihosting_open("faces.bin", SEMIHOSTING_READ);
    const int answers = faces < 0 ? -1 : semihosting_open("logits.bin", SEMIHOSTING_WRITE);
    uint32_t count = 0;
    if (answers < 0) {
        semihosting_write(faces < 0 ? "no faces.bin here\n" : "logits.bin cannot be written\n");
        return 1;
    }
    while (semihosting_read(faces, pixels, sizeof pixels) == 0) {
        edgeemo_infer(pixels, logits);
        if (semihosting_store(answers, logits, sizeof logits) != 0) {
            semihosting_write("logits.bin: disk full?\n");
            return 1;
        }
        ++count;
    }
    semihosting_close(answers);
    semihosting_write_number("faces", count);
    return 0;
}

int main(void)
{
    int failed;
    if (edgeemo_init() != 0) {
        semihosting_write("the tables in flash are damaged\n");
        return 1;
    }
    failed = edgeemo_selftest();
    if (failed) {
        semihosting_write_number("self-test failed at pattern", (uint32_t)failed);
        return 1;
    }
    semihosting_write_number("self-test passed, patterns", EDGEEMO_VECTOR_COUNT);
    SYSTICK_RELOAD = 0xFFFFFF;
    SYSTICK_CONTROL = 5;
    semihosting_write_number("instructions of a loop of 8000000", known_loop());
    semihosting_write_number("instructions per inference", instructions_per_inference());
    paint_stack();
    edgeemo_infer(pixels, logits);
    semihosting_write_number("stack bytes", stack_used());
    semihosting_write_number("arena bytes", EDGEEMO_ARENA_BYTES);
    return answer_faces();
}
