/* SPDX-License-Identifier: MIT */
/* Self-test, then the faces and emotions in every camera frame of frames.bin; they go to
 * answers.bin. Both are little-endian:
 * frames.bin: width, height, edgeemo_pixel_format and bytes a row (int32 each), then the rows;
 * answers.bin: how many faces (int32), and of each x, y, width, height and score (int32 each) and
 * EDGEEMO_LABEL_COUNT logits (int8 each; 0 where the face cannot be cropped). */
#include "edgeemo_find.h"
#include "edgeemo_model.h"
#include "measure.h"
#include "semihosting.h"

#ifndef FRAME_BYTES
#define FRAME_BYTES (320 * 240 * 3) /* the largest frame that may come */
#endif
#define FACES 8

typedef struct {
    int32_t width, height, format, stride;
} frame_head;

typedef struct {
    uint32_t frames, faces, whole, finding, face; /* instructions, at most */
} totals;

static uint8_t frame_pixels[FRAME_BYTES];

static int failed(const char *why)
{
    semihosting_write(why);
    return 1;
}

static void keep_most(uint32_t *most, uint32_t value)
{
    *most = value > *most ? value : *most;
}

static int store_face(int answers, const edgeemo_face *face, const int8_t *logits)
{
    const int32_t words[5] = {face->box.x, face->box.y, face->box.width, face->box.height,
                              face->score};
    return semihosting_store(answers, words, sizeof words) != 0 ||
           semihosting_store(answers, logits, EDGEEMO_LABEL_COUNT) != 0;
}

/* What a program of yours would do with a camera's frame, and the measuring: 0, or 1 where the
 * answers cannot be written. */
static int answer_frame(const edgeemo_frame *frame, int answers, totals *sum)
{
    static const edgeemo_crop crop = EDGEEMO_FIND_CROP;
    static uint8_t pixels[EDGEEMO_INPUT_BYTES];
    static int8_t logits[FACES][EDGEEMO_LABEL_COUNT];
    edgeemo_face faces[FACES];
    const uint32_t start = ticks_now();
    const int32_t count = edgeemo_find(frame, faces, FACES);
    int unwritten;
    keep_most(&sum->finding, instructions_since(start));
    if (count < 0) {
        return failed("frames.bin: a frame that is none\n");
    }
    for (int32_t i = 0; i < count; ++i) {
        const uint32_t now = ticks_now();
        for (int k = 0; k < EDGEEMO_LABEL_COUNT; ++k) {
            logits[i][k] = 0;
        }
        if (edgeemo_face_to_input(frame, &faces[i].box, &crop, pixels) == 0) {
            edgeemo_infer(pixels, logits[i]);
        }
        keep_most(&sum->face, instructions_since(now));
    }
    keep_most(&sum->whole, instructions_since(start));
    ++sum->frames;
    sum->faces += (uint32_t)count;
    unwritten = semihosting_store(answers, &count, sizeof count) != 0;
    for (int32_t i = 0; i < count; ++i) {
        unwritten |= store_face(answers, &faces[i], logits[i]);
    }
    return unwritten ? failed("answers.bin: not everything could be written; is the disk full?\n")
                     : 0;
}

static int answer(int frames, int answers, totals *sum)
{
    frame_head head;
    size_t missing;
    while ((missing = semihosting_read(frames, &head, sizeof head)) == 0) {
        const edgeemo_frame frame = {frame_pixels, head.width, head.height, head.stride,
                                     (edgeemo_pixel_format)head.format};
        if (head.height < 1 || head.stride < 1 || head.stride > FRAME_BYTES / head.height) {
            return failed("frames.bin: a frame of more than FRAME_BYTES bytes\n");
        }
        if (semihosting_read(frames, frame_pixels, (size_t)(head.stride * head.height)) != 0) {
            return failed("frames.bin ends in the middle of a frame\n");
        }
        if (answer_frame(&frame, answers, sum) != 0) {
            return 1;
        }
    }
    return missing == sizeof head ? 0 : failed("frames.bin ends in the middle of a frame\n");
}

static int answer_frames(void)
{
    totals sum = {0, 0, 0, 0, 0};
    const int frames = semihosting_open("frames.bin", SEMIHOSTING_READ);
    const int answers = frames < 0 ? -1 : semihosting_open("answers.bin", SEMIHOSTING_WRITE);
    if (answers < 0) {
        return failed(frames < 0 ? "no frames.bin here\n" : "answers.bin cannot be written\n");
    }
    if (answer(frames, answers, &sum) != 0) {
        return 1;
    }
    if (semihosting_close(answers) != 0) {
        return failed("answers.bin cannot be closed; is the disk full?\n");
    }
    semihosting_write_number("frames", sum.frames);
    semihosting_write_number("faces", sum.faces);
    semihosting_write_number("instructions per frame, at most", sum.whole);
    semihosting_write_number("instructions of finding, at most", sum.finding);
    semihosting_write_number("instructions per face, at most", sum.face);
    return 0;
}

int main(void)
{
    int code, pattern;
    paint_stack();
    start_counting();
    if (edgeemo_init() != 0 || edgeemo_find_init() != 0) {
        return failed("the tables in flash are damaged\n");
    }
    pattern = edgeemo_selftest();
    if (pattern != 0) {
        semihosting_write_number("self-test failed at pattern", (uint32_t)pattern);
        return 1;
    }
    semihosting_write_number("self-test passed, patterns", EDGEEMO_VECTOR_COUNT);
    semihosting_write_number("instructions of a loop of 8000000", known_loop());
    code = answer_frames();
    semihosting_write_number("arena bytes", EDGEEMO_MEMORY_BYTES);
    semihosting_write_number("frame bytes", FRAME_BYTES);
    semihosting_write_number("stack bytes", stack_used());
    semihosting_write_number("RAM bytes in all", static_bytes() + stack_used());
    return code;
}
