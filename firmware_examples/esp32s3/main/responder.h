/* SPDX-License-Identifier: MIT */
/* Scores over time become an emotion that does not flicker, on the LED and as JSON lines on the
 * serial port. */
#ifndef RESPONDER_H
#define RESPONDER_H

#include "model_settings.h"

#include <stdint.h>

typedef struct {
    int shown;        /* the label that is reported; -1: nobody */
    int leading;      /* the one that is ahead now */
    uint32_t since;   /* when it took the lead, ms */
    uint32_t hold_ms; /* how long another must lead before it is reported */
} responder;

void responder_start(responder *r, uint32_t hold_ms);

/* The label to report at `now` (ms, may wrap) after scores in Q15, NULL while nobody is seen, which
 * is -1; reports it when it changes. */
int responder_update(responder *r, const uint16_t *scores, uint32_t now);

#endif
