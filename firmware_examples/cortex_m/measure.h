/* SPDX-License-Identifier: MIT */
/* Memory and instructions of a program in QEMU. */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdint.h>

/* Marks everything below this frame, so that what the program touches of the stack shows. */
void paint_stack(void);
uint32_t stack_used(void);   /* bytes of it that were touched since */
uint32_t static_bytes(void); /* of variables that live as long as the program */

void start_counting(void); /* once, before the two below */
uint32_t ticks_now(void);
uint32_t instructions_since(uint32_t ticks);

/* Instructions of 4 million turns of a loop of two: what says whether the counting is right. */
uint32_t known_loop(void);

#endif
