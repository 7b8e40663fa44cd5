#ifndef FREERTOS_TASK_H
#define FREERTOS_TASK_H
#include "FreeRTOS.h"
void vTaskDelay(TickType_t ticks);
#endif
