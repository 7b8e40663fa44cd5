/* SPDX-License-Identifier: MIT */
/* Self-test, then every face of faces.bin (EDGEEMO_INPUT_BYTES each); the logits go to logits.bin
 * (EDGEEMO_LABEL_COUNT bytes each). */
#include "edgeemo_model.h"
#include "measure.h"
#include "semihosting.h"

static uint8_t pixels[EDGEEMO_INPUT_BYTES];
static int8_t logits[EDGEEMO_LABEL_COUNT];

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
        const uint32_t start = ticks_now();
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
    const uint32_t start = ticks_now();
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
    const uint32_t stack = stack_used();
    semihosting_write_number("arena bytes", EDGEEMO_ARENA_BYTES);
    semihosting_write_number("stack bytes", stack);
    semihosting_write_number("RAM bytes in all", static_bytes() + stack);
    return code;
}
