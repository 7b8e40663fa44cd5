/* SPDX-License-Identifier: MIT */
/* What differs from board to board; everything about the model is in the generated
 * model_settings.h. */
#ifndef SETTINGS_H
#define SETTINGS_H

/* The LED that is on while EMOTION is shown, which is a label of the model that is built in. Pins are
 * those of Espressif's ESP32-S3-EYE, whose LCD has 21, 43, 44, 47 and 48. */
#define SETTINGS_LED_GPIO 3
#define SETTINGS_EMOTION EDGEEMO_LABEL_HAPPY

/* RAM for a model's activations: the largest model that may come without new firmware. small needs
 * 56,704. */
#define SETTINGS_ARENA_BYTES 65536

/* 1: a model runs only if a key of main/trusted_keys.pem has signed it (README.md); the one that is
 * built in always may. */
#ifndef SETTINGS_SIGNED_MODELS
#define SETTINGS_SIGNED_MODELS 0
#endif

/* The camera's pins. */
#define SETTINGS_PIN_XCLK 15
#define SETTINGS_PIN_SIOD 4
#define SETTINGS_PIN_SIOC 5
#define SETTINGS_PIN_D0 11
#define SETTINGS_PIN_D1 9
#define SETTINGS_PIN_D2 8
#define SETTINGS_PIN_D3 10
#define SETTINGS_PIN_D4 12
#define SETTINGS_PIN_D5 18
#define SETTINGS_PIN_D6 17
#define SETTINGS_PIN_D7 16
#define SETTINGS_PIN_VSYNC 6
#define SETTINGS_PIN_HREF 7
#define SETTINGS_PIN_PCLK 13

#endif
