/* SPDX-License-Identifier: MIT */
/* Faces in the camera's frames as the network's input. */
#ifndef CAMERA_PROVIDER_H
#define CAMERA_PROVIDER_H

#include "model_settings.h"

#include <stdint.h>

/* 0, or an error of ESP-IDF. */
int camera_provider_start(void);

#define CAMERA_FACE 0
#define CAMERA_NOBODY 1
#define CAMERA_FAILED (-1)

/* Whether a face detector was generated beside the network: `--detector`. */
#if __has_include("edgeemo_find.h")
#define CAMERA_FINDS_FACES 1
#else
#define CAMERA_FINDS_FACES 0
#endif

/* The largest face of the newest frame as the network's pixels: one of the three above. `arena` is
 * what the face detector works in, of EDGEEMO_FIND_ARENA_BYTES bytes or more. Without a detector
 * the frame's middle square is the face: whoever is looked at stands before the camera. */
int camera_provider_read(uint8_t pixels[EDGEEMO_INPUT_BYTES], int8_t *arena);

#endif
