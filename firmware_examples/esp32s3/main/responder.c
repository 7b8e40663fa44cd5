/* SPDX-License-Identifier: MIT */
#include "responder.h"

#include "driver/gpio.h"
#include "settings.h"

#include <stdio.h>

static const char *const labels[EDGEEMO_LABEL_COUNT] = EDGEEMO_LABELS;

/* A label within JSON's quotes. Labels are printable, so that nothing else needs a backslash. */
static void print_escaped(const char *text)
{
    for (; *text; ++text) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar(*text);
    }
}

/* A label and its score, or that nobody is seen. */
static void report(int label, uint32_t score, uint32_t now)
{
    const unsigned per_mille = (unsigned)(score * 1000U / 32768U);
    gpio_set_level(SETTINGS_LED_GPIO, label == SETTINGS_EMOTION);
    if (label < 0) {
        printf("{\"ms\": %lu, \"emotion\": null}\n", (unsigned long)now);
        return;
    }
    printf("{\"ms\": %lu, \"emotion\": \"", (unsigned long)now);
    print_escaped(labels[label]);
    printf("\", \"confidence\": %u.%03u}\n", per_mille / 1000, per_mille % 1000);
}

void responder_start(responder *r, uint32_t hold_ms)
{
    r->shown = r->leading = -1;
    r->since = 0;
    r->hold_ms = hold_ms;
    gpio_reset_pin(SETTINGS_LED_GPIO);
    gpio_set_direction(SETTINGS_LED_GPIO, GPIO_MODE_OUTPUT);
    gpio_set_level(SETTINGS_LED_GPIO, 0);
}

int responder_update(responder *r, const uint16_t *scores, uint32_t now)
{
    int best = scores ? 0 : -1;
    for (int i = 1; scores && i < EDGEEMO_LABEL_COUNT; ++i) {
        best = scores[i] > scores[best] ? i : best;
    }
    if (best != r->leading) {
        r->leading = best;
        r->since = now;
    }
    if (best != r->shown && (r->shown < 0 || now - r->since >= r->hold_ms)) {
        r->shown = best;
        report(best, scores ? scores[best] : 0, now);
    }
    return r->shown;
}
