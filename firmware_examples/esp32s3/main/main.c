/* SPDX-License-Identifier: MIT */
/* Camera, face, network, LED and serial port, over and over. */
#include "camera_provider.h"
#include "edgeemo_kernels.h"
#include "esp_log.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "model_store.h"
#include "responder.h"
#include "settings.h"

#include <stddef.h>

#if CAMERA_FINDS_FACES
#include "edgeemo_find.h"
#endif

/* What both networks work in, one after the other. */
#if CAMERA_FINDS_FACES && EDGEEMO_FIND_ARENA_BYTES > SETTINGS_ARENA_BYTES
#define ARENA_BYTES EDGEEMO_FIND_ARENA_BYTES
#else
#define ARENA_BYTES SETTINGS_ARENA_BYTES
#endif

/* Kernels keep numbers of 8, 16 and 32 bits in it. */
static union {
    int8_t bytes[ARENA_BYTES];
    int16_t halves[1];
    int32_t words[1];
} arena;
static model_store store;

void app_main(void)
{
    static uint8_t pixels[EDGEEMO_INPUT_BYTES];
    responder shown;
    model_store_open(&store, arena.bytes, sizeof arena.bytes);
    responder_start(&shown, store.source == MODEL_STORE_BUILTIN ? EDGEEMO_SMOOTHING_HOLD_MS
                                                                : store.image.smoothing_hold_ms);
    while (camera_provider_start() != 0) {
        ESP_LOGE("main", "no camera; trying again in a second");
        vTaskDelay(pdMS_TO_TICKS(1000));
    }
    for (;;) {
        int8_t logits[EDGEEMO_LABEL_COUNT];
        uint16_t scores[EDGEEMO_LABEL_COUNT];
        const int seen = camera_provider_read(pixels, arena.bytes);
        if (seen == CAMERA_FACE) {
            edgeemo_run(store.network, arena.bytes, pixels, logits);
            edgeemo_scores_q15(store.network->exponentials, logits, scores, EDGEEMO_LABEL_COUNT);
        }
        if (seen != CAMERA_FAILED) {
            responder_update(&shown, seen == CAMERA_FACE ? scores : NULL,
                             (uint32_t)(esp_timer_get_time() / 1000));
        }
        vTaskDelay(1); /* lets the idle task feed the watchdog */
    }
}
