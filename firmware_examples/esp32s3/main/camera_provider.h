/* SPDX-License-Identifier: MIT */
/* Frames of the camera as the network's input. */
#ifndef CAMERA_PROVIDER_H
#define CAMERA_PROVIDER_H

#include "model_settings.h"

#include <stdint.h>

/* 0, or an error of ESP-IDF. */
int camera_provider_start(void);

/* The newest frame's middle square as the network's pixels: 0, or -1 when the camera gives none.
 * There is no face detector: whoever is looked at stands before the camera, as at a kiosk or a
 * door. */
int camera_provider_read(uint8_t pixels[EDGEEMO_INPUT_BYTES]);

#endif
