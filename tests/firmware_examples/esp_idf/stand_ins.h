#ifndef STAND_INS_H
#define STAND_INS_H
#include "esp_camera.h"
#include <stdint.h>
#define STAND_IN_PARTITION_BYTES 0x100000
uint8_t *stand_in_flash(int number); /* 0: model, 1: model_kept */
extern int stand_in_led, stand_in_mapped, stand_in_writes_left, stand_in_frames_out;
extern int64_t stand_in_microseconds;
extern camera_fb_t *stand_in_frame;
#endif
