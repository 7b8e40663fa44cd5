/* SPDX-License-Identifier: MIT */
#include "camera_provider.h"

#if CAMERA_FINDS_FACES
#include "edgeemo_find.h"
#else
#include "edgeemo_preprocess.h"
#endif
#include "esp_camera.h"
#include "esp_log.h"
#include "settings.h"

static const char *const TAG = "camera";

int camera_provider_start(void)
{
    const camera_config_t config = {
        .pin_pwdn = -1,
        .pin_reset = -1,
        .pin_xclk = SETTINGS_PIN_XCLK,
        .pin_sccb_sda = SETTINGS_PIN_SIOD,
        .pin_sccb_scl = SETTINGS_PIN_SIOC,
        .pin_d7 = SETTINGS_PIN_D7,
        .pin_d6 = SETTINGS_PIN_D6,
        .pin_d5 = SETTINGS_PIN_D5,
        .pin_d4 = SETTINGS_PIN_D4,
        .pin_d3 = SETTINGS_PIN_D3,
        .pin_d2 = SETTINGS_PIN_D2,
        .pin_d1 = SETTINGS_PIN_D1,
        .pin_d0 = SETTINGS_PIN_D0,
        .pin_vsync = SETTINGS_PIN_VSYNC,
        .pin_href = SETTINGS_PIN_HREF,
        .pin_pclk = SETTINGS_PIN_PCLK,
        .xclk_freq_hz = 20000000,
        .ledc_timer = LEDC_TIMER_0,
        .ledc_channel = LEDC_CHANNEL_0,
        .pixel_format = PIXFORMAT_RGB565,
        .frame_size = FRAMESIZE_QVGA,
        .fb_count = 2,
        .fb_location = CAMERA_FB_IN_PSRAM,
        .grab_mode = CAMERA_GRAB_LATEST, /* never an old frame */
    };
    return esp_camera_init(&config);
}

#if CAMERA_FINDS_FACES

static int face_of(const edgeemo_frame *frame, uint8_t *pixels, int8_t *arena)
{
    static const edgeemo_crop crop = EDGEEMO_FIND_CROP;
    edgeemo_face face;
    const int32_t faces = edgeemo_find_in(frame, &face, 1, arena);
    if (faces == 0) {
        return CAMERA_NOBODY;
    }
    return faces > 0 && edgeemo_face_to_input(frame, &face.box, &crop, pixels) == 0
               ? CAMERA_FACE
               : CAMERA_FAILED;
}

#else

static int face_of(const edgeemo_frame *frame, uint8_t *pixels, int8_t *arena)
{
    static const edgeemo_crop whole = EDGEEMO_CROP_WHOLE;
    const int32_t side = frame->width < frame->height ? frame->width : frame->height;
    const edgeemo_box middle = {(frame->width - side) / 2, (frame->height - side) / 2, side, side};
    (void)arena;
    return edgeemo_face_to_input(frame, &middle, &whole, pixels) == 0 ? CAMERA_FACE : CAMERA_FAILED;
}

#endif

int camera_provider_read(uint8_t pixels[EDGEEMO_INPUT_BYTES], int8_t *arena)
{
    camera_fb_t *taken = esp_camera_fb_get();
    int said = CAMERA_FAILED;
    if (!taken) {
        ESP_LOGE(TAG, "no frame; is the ribbon seated?");
        return CAMERA_FAILED;
    }
    if (taken->format == PIXFORMAT_RGB565 && taken->len >= taken->width * taken->height * 2) {
        const int32_t width = (int32_t)taken->width, height = (int32_t)taken->height;
        const edgeemo_frame frame = {taken->buf, width, height, width * 2, EDGEEMO_RGB565_BE};
        said = face_of(&frame, pixels, arena);
    }
    esp_camera_fb_return(taken);
    return said;
}
