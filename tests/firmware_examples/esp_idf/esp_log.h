#ifndef ESP_LOG_H
#define ESP_LOG_H
#include <stdio.h>
#define ESP_LOGE(tag, ...)                                                                         \
    (fprintf(stderr, "E %s: ", tag), fprintf(stderr, __VA_ARGS__), fprintf(stderr, "\n"))
#define ESP_LOGW(tag, ...)                                                                         \
    (fprintf(stderr, "W %s: ", tag), fprintf(stderr, __VA_ARGS__), fprintf(stderr, "\n"))
#define ESP_LOGI(tag, ...)                                                                         \
    (fprintf(stderr, "I %s: ", tag), fprintf(stderr, __VA_ARGS__), fprintf(stderr, "\n"))
#endif
